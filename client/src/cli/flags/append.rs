//! Flags of `starlog append`.

use std::convert::Infallible;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use client::{ContentType, EventType, ExpectedVersion, StoreName, StreamName, Version};
use uuid::Uuid;

/// `starlog append`.
#[derive(Debug, Args)]
#[command(after_help = "\
The append is done when this says so and exits 0. Exit 3 means that the stream is at another
version: nothing was done. Exit 5 with \"outcome\":\"unknown\" means that it may have been done:
send the same again with the same --id, which can't double it.

With --ndjson, each line of standard input is one event of one atomic append, in the form that
`starlog read -o ndjson` prints: type, data or data_base64, and if wanted metadata or
metadata_base64, id and content_type.

Examples:
  starlog append orders order-17 --type OrderPlaced --data '{\"total\":12}' --expect none
  starlog append orders order-17 --type OrderPaid --data @paid.json --expect 1 -o json
  starlog append orders order-18 --ndjson --expect none < events.ndjson")]
pub struct AppendFlags {
    /// Store to append to.
    pub store: StoreName,
    /// Stream to append to.
    pub stream: StreamName,
    /// What happened, for example OrderPlaced.
    #[arg(long = "type", value_name = "TYPE", required_unless_present = "ndjson")]
    pub event_type: Option<EventType>,
    /// The event: text, @FILE, or - for standard input.
    #[arg(long, value_name = "DATA", required_unless_present = "ndjson")]
    pub data: Option<Source>,
    /// Facts about the event as JSON: text, @FILE, or - for standard input.
    #[arg(long, value_name = "JSON")]
    pub metadata: Option<Source>,
    /// Condition: any, none (the stream must be new), exists, or its version N.
    #[arg(long, value_name = "any|none|exists|N", value_parser = parse_expected)]
    pub expect: ExpectedVersion,
    /// Id of the event; sending the same event with the same id twice stores it once
    /// [default: a new one].
    #[arg(long, value_name = "UUID")]
    pub id: Option<Uuid>,
    /// How the data is to be read [default: json].
    #[arg(long, value_name = "TYPE")]
    pub content_type: Option<ContentTypeFlag>,
    /// Ask for more durability than the store's own level.
    #[arg(long, value_name = "LEVEL")]
    pub durability: Option<DurabilityFlag>,
    /// Read events from standard input, one JSON object per line.
    #[arg(long, conflicts_with_all = ["event_type", "data", "metadata", "id", "content_type"])]
    pub ndjson: bool,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// It was typed.
    Inline(String),
    /// It is the content of a file.
    File(PathBuf),
    /// It is what arrives on standard input.
    StandardInput,
}

impl FromStr for Source {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match (text, text.strip_prefix('@')) {
            ("-", _) => Self::StandardInput,
            (_, Some(path)) => Self::File(path.into()),
            _ => Self::Inline(text.to_owned()),
        })
    }
}

/// How an event's data is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ContentTypeFlag {
    /// JSON text; it is checked before it is sent.
    Json,
    /// Opaque bytes.
    Bytes,
    /// One MessagePack value.
    Msgpack,
}

impl From<ContentTypeFlag> for ContentType {
    fn from(flag: ContentTypeFlag) -> Self {
        match flag {
            ContentTypeFlag::Json => Self::Json,
            ContentTypeFlag::Bytes => Self::Bytes,
            ContentTypeFlag::Msgpack => Self::MessagePack,
        }
    }
}

/// When an append counts as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DurabilityFlag {
    /// Handed to the operating system on the leader.
    Memory,
    /// Synced to the leader's disk.
    Local,
    /// Synced to the disk of every member of the pair.
    Pair,
}

fn parse_expected(text: &str) -> Result<ExpectedVersion, String> {
    match text {
        "any" => Ok(ExpectedVersion::Any),
        "none" => Ok(ExpectedVersion::None),
        "exists" => Ok(ExpectedVersion::Exists),
        number => number
            .parse()
            .map(|version| ExpectedVersion::Exact(Version(version)))
            .map_err(|_| "expected any, none, exists, or the stream's version".to_owned()),
    }
}
