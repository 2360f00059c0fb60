//! One event, printed.

use std::io::{self, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use client::{ContentType, Event, StoreName};
use serde::Serialize;
use serde_json::value::RawValue;

use super::table::printable;

/// The columns of [`EventLine::write_row`].
pub const TABLE_HEADER: &str = concat!(
    "PARTITION  SEQUENCE  TIME                         STREAM                ",
    "VERSION  TYPE                  DATA"
);

/// Most characters of data in a row of a table.
const ROW_DATA_CHARACTERS_MAX: usize = 80;

/// Where an event was read from.
#[derive(Debug, Clone, Copy)]
pub struct EventPlace<'a> {
    /// The store.
    pub store: &'a StoreName,
    /// The partition.
    pub partition: u16,
}

/// One event as a JSON object: what `read`, `replay` and `tail` print and what
/// `append --ndjson` takes.
#[derive(Debug, Serialize)]
pub struct EventLine<'a> {
    store: &'a str,
    partition: u16,
    sequence: u64,
    stream: &'a str,
    version: u64,
    epoch: u64,
    id: String,
    #[serde(rename = "type")]
    event_type: &'a str,
    /// RFC 3339, in UTC, with microseconds.
    time: String,
    content_type: &'static str,
    /// Metadata as it was sent, or null.
    metadata: Option<Box<RawValue>>,
    /// Metadata that is no JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata_base64: Option<String>,
    /// Data of JSON events as it was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
    /// Data of all others.
    #[serde(skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
    #[serde(skip)]
    data_bytes: usize,
}

impl<'a> EventLine<'a> {
    /// The printed form of an event.
    #[must_use]
    pub fn new(place: EventPlace<'a>, event: &'a Event) -> Self {
        let data = match event.content_type {
            ContentType::Json => json_on_one_line(&event.data),
            ContentType::Bytes | ContentType::MessagePack => None,
        };
        let metadata = json_on_one_line(&event.metadata);
        let metadata_base64 = (metadata.is_none() && !event.metadata.is_empty())
            .then(|| STANDARD.encode(&event.metadata));
        Self {
            store: place.store.as_str(),
            partition: place.partition,
            sequence: event.sequence.0,
            stream: event.stream.as_str(),
            version: event.version.0,
            epoch: event.epoch.0,
            id: event.id.to_string(),
            event_type: event.event_type.as_str(),
            time: rfc3339(event.time_micros),
            content_type: content_type_name(event.content_type),
            metadata,
            metadata_base64,
            data_base64: data.is_none().then(|| STANDARD.encode(&event.data)),
            data,
            data_bytes: event.data.len(),
        }
    }

    /// Writes the event as a row of a table, its data cut to fit.
    ///
    /// # Errors
    /// Whatever `out` says.
    pub fn write_row(&self, out: &mut impl Write) -> io::Result<()> {
        let data = match &self.data {
            Some(json) => shortened(json.get()),
            None => format!("<{} bytes>", self.data_bytes),
        };
        writeln!(
            out,
            "{:>9}  {:>8}  {:<27}  {:<20}  {:>7}  {:<20}  {}",
            self.partition,
            self.sequence,
            self.time,
            self.stream,
            self.version,
            self.event_type,
            printable(&data)
        )
    }
}

/// The name of a content type in flags and output.
const fn content_type_name(content_type: ContentType) -> &'static str {
    match content_type {
        ContentType::Json => "json",
        ContentType::Bytes => "bytes",
        ContentType::MessagePack => "msgpack",
    }
}

/// JSON as its producer wrote it, digits and order of keys kept, on one line. Strings can't hold
/// a raw line break, so each one found is space between tokens.
pub fn json_on_one_line(bytes: &[u8]) -> Option<Box<RawValue>> {
    let text = std::str::from_utf8(bytes).ok()?;
    RawValue::from_string(text.replace(['\n', '\r'], " ")).ok()
}

/// A time in RFC 3339 form.
pub fn rfc3339(micros: u64) -> String {
    let timestamp = i64::try_from(micros)
        .ok()
        .and_then(|micros| jiff::Timestamp::from_microsecond(micros).ok());
    // Beyond the year 9999 no such form exists; the record is shown all the same.
    let timestamp = timestamp.unwrap_or(jiff::Timestamp::MAX);
    format!("{timestamp:.6}")
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(ROW_DATA_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
