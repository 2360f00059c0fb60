//! What an ordinary Majordomo client sends to the plain service `NAME`: the stream name in one
//! frame, one MessagePack map in the next. The answer is one map.
//!
//! ```text
//! {op: "append", expected: "any" | "none" | "exists" | number,
//!  events: [{id, type, content_type?, metadata?, data?, signature?}], durability?}
//!     -> {partition, first_sequence, last_sequence, version, epoch, durability, durable_on,
//!         duplicate}
//! {op: "read", from?: version, limit?: number, direction?: "forward" | "backward"}
//!     -> {events: [{sequence, version, epoch, time_us, id, type, content_type, metadata, data,
//!                   signature}], head, end}
//! either -> {error: {code, message, retry, details}}
//! ```
//!
//! An event must carry its `id` (16 bytes, or UUID text): the broker may deliver a request twice,
//! and equal ids make the second delivery harmless. `content_type` is `bytes` (default), `json`
//! or `messagepack`; `metadata` and `data` are binary or text. Unknown fields are ignored.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, de};
use uuid::Uuid;

use super::append::{Durability, StreamWrite};
use super::{WireError, map};
use crate::event::{
    APPEND_EVENTS_MAX, ContentType, Event, EventId, ExpectedVersion, NewEvent, Signature, Version,
};
use crate::names::{EventType, StreamName};

/// Most events in the answer to a read.
pub const PLAIN_READ_EVENTS_MAX: u32 = 1000;

/// A request of an ordinary client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlainRequest {
    /// Add events to the stream.
    Append {
        /// What to write.
        write: StreamWrite,
        /// Asked durability.
        durability: Option<Durability>,
    },
    /// Read the stream.
    Read(PlainRead),
}

/// A bounded read of one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlainRead {
    /// The stream.
    pub stream: StreamName,
    /// First version wanted (inclusive); `None` for the end at which the direction begins.
    pub from: Option<Version>,
    /// Most events, at most [`PLAIN_READ_EVENTS_MAX`].
    pub limit: u32,
    /// Whether from new to old.
    pub backward: bool,
}

impl PlainRequest {
    /// Reads the stream name's frame and the map's frame.
    ///
    /// # Errors
    /// [`WireError`] says what is wrong.
    pub fn decode(stream: Bytes, body: &Bytes) -> Result<Self, WireError> {
        let stream = StreamName::new(stream)?;
        let fields: RequestMap<'_> = map::decode(body)?;
        match fields.op {
            "append" => fields.into_append(stream, body),
            "read" => fields.into_read(stream),
            op => Err(wrong(&format!("op {op:?} is neither \"append\" nor \"read\""))),
        }
    }
}

#[derive(Deserialize)]
struct RequestMap<'a> {
    op: &'a str,
    expected: Option<Expected<'a>>,
    #[serde(borrow, default)]
    events: Vec<EventMap<'a>>,
    durability: Option<&'a str>,
    from: Option<u64>,
    limit: Option<u64>,
    direction: Option<&'a str>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Expected<'a> {
    Number(u64),
    Word(&'a str),
}

#[derive(Deserialize)]
struct EventMap<'a> {
    #[serde(borrow)]
    id: Blob<'a>,
    #[serde(rename = "type", borrow)]
    event_type: &'a str,
    content_type: Option<&'a str>,
    #[serde(borrow, default)]
    metadata: Blob<'a>,
    #[serde(borrow, default)]
    data: Blob<'a>,
    #[serde(borrow)]
    signature: Option<Blob<'a>>,
}

/// Binary or text, borrowed from the frame.
#[derive(Default)]
struct Blob<'a>(&'a [u8]);

impl<'de: 'a, 'a> Deserialize<'de> for Blob<'a> {
    fn deserialize<D: Deserializer<'de>>(decoder: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Blob<'de>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("binary or text")
            }
            fn visit_borrowed_bytes<E>(self, bytes: &'de [u8]) -> Result<Self::Value, E> {
                Ok(Blob(bytes))
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Blob(text.as_bytes()))
            }
        }
        decoder.deserialize_any(Visitor)
    }
}

impl RequestMap<'_> {
    fn into_append(self, stream: StreamName, body: &Bytes) -> Result<PlainRequest, WireError> {
        let count = self.events.len();
        if count > APPEND_EVENTS_MAX {
            return Err(WireError::TooMany { what: "events", count, max: APPEND_EVENTS_MAX });
        }
        let expected = match self.expected {
            None => return Err(wrong("expected is missing: say any, none, exists or a version")),
            Some(Expected::Number(version)) => ExpectedVersion::Exact(Version(version)),
            Some(Expected::Word("any")) => ExpectedVersion::Any,
            Some(Expected::Word("none")) => ExpectedVersion::None,
            Some(Expected::Word("exists")) => ExpectedVersion::Exists,
            Some(Expected::Word(word)) => {
                return Err(wrong(&format!(
                    "expected {word:?} is no any, none, exists or version"
                )));
            }
        };
        let durability = match self.durability {
            None => None,
            Some("memory") => Some(Durability::Memory),
            Some("local") => Some(Durability::Local),
            Some("pair") => Some(Durability::Pair),
            Some(word) => {
                return Err(wrong(&format!("durability {word:?} is none of memory, local, pair")));
            }
        };
        let events = self.events.iter().map(|event| event.to_event(body));
        let events = events.collect::<Result<Vec<_>, _>>()?;
        Ok(PlainRequest::Append { write: StreamWrite { stream, expected, events }, durability })
    }

    fn into_read(self, stream: StreamName) -> Result<PlainRequest, WireError> {
        let backward = match self.direction {
            None | Some("forward") => false,
            Some("backward") => true,
            Some(word) => {
                return Err(wrong(&format!("direction {word:?} is neither forward nor backward")));
            }
        };
        let from = self.from.filter(|from| *from > 0).map(Version);
        let limit = self.limit.unwrap_or(u64::from(PLAIN_READ_EVENTS_MAX));
        let limit = u32::try_from(limit).unwrap_or(PLAIN_READ_EVENTS_MAX);
        let limit = limit.min(PLAIN_READ_EVENTS_MAX);
        Ok(PlainRequest::Read(PlainRead { stream, from, limit, backward }))
    }
}

impl EventMap<'_> {
    fn to_event(&self, body: &Bytes) -> Result<NewEvent, WireError> {
        let content_type = match self.content_type {
            None | Some("bytes") => ContentType::Bytes,
            Some("json") => ContentType::Json,
            Some("messagepack") => ContentType::MessagePack,
            Some(word) => {
                let reason = format!("content_type {word:?} is no bytes, json or messagepack");
                return Err(wrong(&reason));
            }
        };
        let signature = match &self.signature {
            None => None,
            Some(Blob(bytes)) => {
                let bytes = <[u8; 20]>::try_from(*bytes)
                    .map_err(|_| wrong("a signature is the 20 bytes of a SHA-1"))?;
                Some(Signature(bytes))
            }
        };
        Ok(NewEvent {
            id: self.id.to_id()?,
            event_type: EventType::new(body.slice_ref(self.event_type.as_bytes()))?,
            content_type,
            metadata: body.slice_ref(self.metadata.0),
            data: body.slice_ref(self.data.0),
            signature,
        })
    }
}

impl Blob<'_> {
    fn to_id(&self) -> Result<EventId, WireError> {
        if let Ok(bytes) = <[u8; 16]>::try_from(self.0) {
            return Ok(EventId(Uuid::from_bytes(bytes)));
        }
        let id = std::str::from_utf8(self.0).ok().and_then(|text| Uuid::parse_str(text).ok());
        id.map(EventId).ok_or_else(|| wrong("an id is 16 bytes or UUID text"))
    }
}

fn wrong(reason: &str) -> WireError {
    WireError::MessagePack { reason: reason.to_owned() }
}

/// The answer to an append.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlainAppended {
    /// Partition that the stream belongs to.
    pub partition: u16,
    /// Sequence of the first record (inclusive).
    pub first_sequence: u64,
    /// Sequence of the last record (inclusive).
    pub last_sequence: u64,
    /// Newest version of the stream.
    pub version: u64,
    /// Epoch of the leader.
    pub epoch: u64,
    /// Durability that was reached.
    pub durability: String,
    /// Incarnations of the nodes on which it is durable, as UUID text.
    pub durable_on: Vec<String>,
    /// Whether it was in the log already.
    pub duplicate: bool,
}

/// The answer to a read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlainEvents {
    /// The events, in the direction asked for.
    pub events: Vec<PlainEvent>,
    /// Newest committed sequence of the partition.
    pub head: u64,
    /// Whether the stream has no more in this direction.
    pub end: bool,
}

/// One event of a read's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlainEvent {
    /// Place in the partition.
    pub sequence: u64,
    /// Place in the stream.
    pub version: u64,
    /// Epoch of its append.
    pub epoch: u64,
    /// Microseconds since 1970-01-01 UTC.
    pub time_us: u64,
    /// Identity, as UUID text.
    pub id: String,
    /// Type.
    #[serde(rename = "type")]
    pub event_type: String,
    /// `bytes`, `json` or `messagepack`.
    pub content_type: String,
    /// Metadata, binary.
    #[serde(with = "serde_bytes")]
    pub metadata: Vec<u8>,
    /// Data, binary.
    #[serde(with = "serde_bytes")]
    pub data: Vec<u8>,
    /// The 20 bytes of its signature.
    #[serde(with = "serde_bytes")]
    pub signature: Vec<u8>,
}

/// The answer to a request that was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlainFailure {
    /// What went wrong.
    pub error: PlainError,
}

/// An error with its stable code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlainError {
    /// Stable code, e.g. `WRONG_EXPECTED_VERSION`.
    pub code: String,
    /// A sentence for people.
    pub message: String,
    /// Whether the same request may succeed later.
    pub retry: bool,
    /// Data for programs: numbers and texts by name.
    pub details: BTreeMap<String, PlainDetail>,
}

/// One detail of an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PlainDetail {
    /// A number.
    Number(u64),
    /// A text.
    Text(String),
}

impl From<&Event> for PlainEvent {
    fn from(event: &Event) -> Self {
        let content_type = match event.content_type {
            ContentType::Bytes => "bytes",
            ContentType::Json => "json",
            ContentType::MessagePack => "messagepack",
        };
        Self {
            sequence: event.sequence.0,
            version: event.version.0,
            epoch: event.epoch.0,
            time_us: event.time_micros,
            id: event.id.to_string(),
            event_type: event.event_type.to_string(),
            content_type: content_type.to_owned(),
            metadata: event.metadata.to_vec(),
            data: event.data.to_vec(),
            signature: event.signature.0.to_vec(),
        }
    }
}

macro_rules! answer {
    ($name:ident) => {
        impl $name {
            /// The map as bytes.
            ///
            /// # Errors
            /// [`WireError::MessagePack`] if the encoder refuses.
            pub fn encode(&self) -> Result<Vec<u8>, WireError> {
                map::encode(self)
            }

            /// Reads a map.
            ///
            /// # Errors
            /// [`WireError::MessagePack`] says what is wrong.
            pub fn decode(body: &[u8]) -> Result<Self, WireError> {
                map::decode(body)
            }
        }
    };
}

answer!(PlainAppended);
answer!(PlainEvents);
answer!(PlainFailure);

#[cfg(test)]
mod tests;
