//! Flags of `starlog read`, `replay` and `tail`.

use std::str::FromStr;

use clap::Args;
use client::{CategoryName, EventType, Sequence, StoreName, StreamName};

/// `starlog read`.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit 4 means that there is no such stream.

Examples:
  starlog read orders order-17
  starlog read orders order-17 --from 2 --limit 10 -o ndjson
  starlog read orders order-17 --type OrderPlaced --last -o json")]
pub struct ReadFlags {
    /// Store to read from.
    pub store: StoreName,
    /// Stream to read.
    pub stream: StreamName,
    /// First version to print [default: 1, or the newest with --backward].
    #[arg(long, value_name = "VERSION", value_parser = clap::value_parser!(u64).range(1..))]
    pub from: Option<u64>,
    /// Newest first.
    #[arg(long)]
    pub backward: bool,
    /// At most this many events.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    /// Only the newest event.
    #[arg(long, conflicts_with_all = ["from", "backward", "limit"])]
    pub last: bool,
    /// Only events of this type; may be repeated. The tool drops the others as they arrive.
    #[arg(long = "type", value_name = "TYPE")]
    pub types: Vec<EventType>,
}

/// `starlog replay`.
#[derive(Debug, Args)]
#[command(after_help = "\
Events are in order within a partition; partitions follow each other.

Examples:
  starlog replay orders
  starlog replay orders --partition 0 --from 1 --to 1000 -o ndjson
  starlog replay orders --backward --limit 3
  starlog replay orders --category order --type OrderPlaced --limit 3")]
pub struct ReplayFlags {
    /// Store to read.
    pub store: StoreName,
    /// Only events of streams of this category: whose names begin with it, up to the first dash.
    #[arg(long, value_name = "NAME")]
    pub category: Option<CategoryName>,
    /// Only this partition.
    #[arg(long, value_name = "P")]
    pub partition: Option<u16>,
    /// First sequence to print; needs --partition where the store has several.
    #[arg(long, value_name = "SEQUENCE", value_parser = clap::value_parser!(u64).range(1..))]
    pub from: Option<u64>,
    /// Last sequence to print, inclusive; needs --partition where the store has several.
    #[arg(long, value_name = "SEQUENCE", value_parser = clap::value_parser!(u64).range(1..))]
    pub to: Option<u64>,
    /// Newest first.
    #[arg(long)]
    pub backward: bool,
    /// At most this many events of each partition.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    /// Print events of system streams ($…) too.
    #[arg(long)]
    pub system: bool,
    /// Only events of this type; may be repeated. The tool drops the others as they arrive.
    #[arg(long = "type", value_name = "TYPE")]
    pub types: Vec<EventType>,
}

/// `starlog tail`.
#[derive(Debug, Args)]
#[command(after_help = "\
An interrupt (Ctrl-C) ends it with exit code 0; what was missed on the feed and repaired by replay
is counted on standard error.

Examples:
  starlog tail orders --from start --limit 3
  starlog tail orders --category order --from start --limit 1
  starlog tail orders --stream order-17 --from start --limit 1 -o ndjson")]
pub struct TailFlags {
    /// Store to follow.
    pub store: StoreName,
    /// Where to start: now, start, or after the event before this sequence (needs --partition
    /// where the store has several).
    #[arg(long, value_name = "now|start|SEQUENCE", default_value = "now")]
    pub from: TailFrom,
    /// Only events of streams of this category: whose names begin with it, up to the first dash.
    #[arg(long, value_name = "NAME", conflicts_with = "stream")]
    pub category: Option<CategoryName>,
    /// Only events of this stream; --from still counts sequences of its partition.
    #[arg(long, value_name = "NAME", conflicts_with = "partition")]
    pub stream: Option<StreamName>,
    /// Only this partition.
    #[arg(long, value_name = "P")]
    pub partition: Option<u16>,
    /// End after this many events.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    /// Print events of system streams ($…) too.
    #[arg(long)]
    pub system: bool,
    /// Only events of this type; may be repeated. The tool drops the others as they arrive.
    #[arg(long = "type", value_name = "TYPE")]
    pub types: Vec<EventType>,
}

/// Where `tail` starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TailFrom {
    /// With the next event that is committed.
    Now,
    /// With the first event of the log.
    Start,
    /// With this sequence.
    At(Sequence),
}

impl FromStr for TailFrom {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.parse()) {
            ("now", _) => Ok(Self::Now),
            ("start", _) => Ok(Self::Start),
            (_, Ok(sequence @ 1..)) => Ok(Self::At(Sequence(sequence))),
            _ => Err("expected now, start, or a sequence from 1".to_owned()),
        }
    }
}
