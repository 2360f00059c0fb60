//! The body of an append's REQUEST and of its REPLY, as our own clients send them.
//!
//! Session, number, deadline and epoch stand in the dialect's header around it.
//!
//! ```text
//! message   u8 1 | u8 durability asked (0 the store's level, 1 memory, 2 local, 3 pair)
//!           | u16 appends | append …
//! append    u16 writes | write …
//! write     u8 expected kind (0 any, 1 none, 2 exists, 3 exact) | u8 0 | u16 stream length
//!           | u32 events | u64 exact version (0 unless exact) | stream | event …
//! event     16 id | 20 signature (zeros unless given) | u8 content type
//!           | u8 flags (1 signature given) | u16 type length | u32 metadata length
//!           | u32 data length | type | metadata | data
//!
//! reply     u8 1 | u8 nodes | nodes × 16 incarnation on which it is durable
//!           | u16 results | result …          one for each append, in order
//! done      u8 0 | u8 flags (1 duplicate) | u8 durability | u8 0 | u64 first | u64 last
//!           | u16 writes | writes × u64 newest version of that stream
//! refused   u8 1 | u8 0 | u16 error code | u32 length | MessagePack error body
//! ```

use bytes::Bytes;
use uuid::Uuid;

use super::cursor::Cursor;
use super::{Refusal, WireError};
use crate::event::{
    ContentType, EventId, ExpectedVersion, NewEvent, Sequence, Signature, Version, Versions,
};
use crate::names::{EventType, StreamName};
pub use crate::partition::{Durability, StreamWrite};

/// The version of both bodies.
pub const APPEND_VERSION: u8 = 1;
/// Most appends in one message.
pub const MESSAGE_APPENDS_MAX: usize = 4096;
/// Most writes in one append.
pub const APPEND_WRITES_MAX: usize = crate::event::APPEND_EVENTS_MAX;
/// Most nodes that can be named in a reply.
pub const REPLY_NODES_MAX: usize = 8;

const MESSAGE_HEADER_BYTES: usize = 4;
const APPEND_HEADER_BYTES: usize = 2;
const WRITE_HEADER_BYTES: usize = 16;
const EVENT_HEADER_BYTES: usize = 48;
const SIGNATURE_GIVEN: u8 = 1;
const RESULT_DONE: u8 = 0;
const RESULT_REFUSED: u8 = 1;
const RESULT_BYTES_MIN: usize = 8;
const DUPLICATE: u8 = 1;

/// The body of a REQUEST: several appends, each atomic and with a result of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppendMessage {
    /// Asked durability, for all of them; `None` for the store's own level.
    pub durability: Option<Durability>,
    /// The appends: each a list of writes to streams of one partition.
    pub appends: Vec<Vec<StreamWrite>>,
}

/// The body of a REPLY.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppendReply {
    /// Incarnations of the nodes on which the appends are durable.
    pub durable_on: Vec<Uuid>,
    /// One result for each append of the message, in order.
    pub results: Vec<AppendResult>,
}

/// What became of one append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AppendResult {
    /// It is in the log.
    Done(AppendDone),
    /// It is not, or it is unknown whether it is: the code says which.
    Refused(Refusal),
}

/// Where an append stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppendDone {
    /// Sequence of its first record (inclusive; zero if it had no events).
    pub first: Sequence,
    /// Sequence of its last record (inclusive).
    pub last: Sequence,
    /// Newest version of each written stream, in the order of the writes.
    pub versions: Versions,
    /// Durability that it has reached.
    pub durability: Durability,
    /// Whether it was in the log already, from an earlier attempt.
    pub duplicate: bool,
}

impl AppendMessage {
    /// The body as bytes.
    ///
    /// # Errors
    /// [`WireError::TooMany`] when a count or length does not fit its field.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        let bytes = self.appends.iter().map(|append| encoded_bytes(append)).sum::<usize>();
        let mut out = Vec::with_capacity(MESSAGE_HEADER_BYTES + bytes);
        out.extend_from_slice(&message_header(self.durability, self.appends.len())?);
        for append in &self.appends {
            encode_append(append, &mut out)?;
        }
        Ok(out)
    }

    /// Cuts a body into appends. Names and payloads share its memory.
    ///
    /// # Errors
    /// [`WireError`] says what is wrong; nothing was allocated beyond what the body can hold.
    pub fn decode(body: Bytes) -> Result<Self, WireError> {
        let mut cursor = Cursor::new(body);
        check_version(cursor.u8("version")?)?;
        let durability = durability_from(cursor.u8("durability")?)?;
        let count = usize::from(cursor.u16("number of appends")?);
        if count > MESSAGE_APPENDS_MAX {
            let max = MESSAGE_APPENDS_MAX;
            return Err(WireError::TooMany { what: "appends", count, max });
        }
        cursor.check_count(count, APPEND_HEADER_BYTES, "appends")?;
        let mut appends = Vec::with_capacity(count);
        for _ in 0..count {
            appends.push(decode_append(&mut cursor)?);
        }
        cursor.finish()?;
        Ok(Self { durability, appends })
    }
}

/// The bytes before a message's appends, for a sender that keeps its appends encoded.
///
/// # Errors
/// [`WireError::TooMany`] above [`MESSAGE_APPENDS_MAX`].
pub fn message_header(
    durability: Option<Durability>,
    appends: usize,
) -> Result<[u8; MESSAGE_HEADER_BYTES], WireError> {
    let [low, high] = count_u16(appends, "appends", MESSAGE_APPENDS_MAX)?.to_le_bytes();
    Ok([APPEND_VERSION, durability_number(durability), low, high])
}

/// How many bytes [`encode_append`] adds.
#[must_use]
pub fn encoded_bytes(append: &[StreamWrite]) -> usize {
    let event = |event: &NewEvent| {
        let payload = event.metadata.len() + event.data.len();
        EVENT_HEADER_BYTES + event.event_type.as_bytes().len() + payload
    };
    let write = |write: &StreamWrite| {
        let events = write.events.iter().map(event).sum::<usize>();
        WRITE_HEADER_BYTES + write.stream.as_bytes().len() + events
    };
    APPEND_HEADER_BYTES + append.iter().map(write).sum::<usize>()
}

/// Adds one append to a message.
///
/// # Errors
/// [`WireError::TooMany`] when a count or length does not fit its field; `out` is then useless.
pub fn encode_append(append: &[StreamWrite], out: &mut Vec<u8>) -> Result<(), WireError> {
    let writes = count_u16(append.len(), "writes", APPEND_WRITES_MAX)?;
    out.extend_from_slice(&writes.to_le_bytes());
    for write in append {
        let (kind, exact) = expected_numbers(write.expected);
        let stream = write.stream.as_bytes();
        let stream_length = count_u16(stream.len(), "bytes of a name", usize::from(u16::MAX))?;
        out.extend_from_slice(&[kind, 0]);
        out.extend_from_slice(&stream_length.to_le_bytes());
        out.extend_from_slice(&count_u32(write.events.len(), "events")?.to_le_bytes());
        out.extend_from_slice(&exact.to_le_bytes());
        out.extend_from_slice(stream);
        for event in &write.events {
            encode_event(event, out)?;
        }
    }
    Ok(())
}

fn encode_event(event: &NewEvent, out: &mut Vec<u8>) -> Result<(), WireError> {
    let event_type = event.event_type.as_bytes();
    let type_length = count_u16(event_type.len(), "bytes of a type", usize::from(u16::MAX))?;
    let flags = if event.signature.is_some() { SIGNATURE_GIVEN } else { 0 };
    out.extend_from_slice(event.id.as_bytes());
    out.extend_from_slice(&event.signature.map_or([0; 20], |signature| signature.0));
    out.extend_from_slice(&[event.content_type.number(), flags]);
    out.extend_from_slice(&type_length.to_le_bytes());
    out.extend_from_slice(&count_u32(event.metadata.len(), "bytes of metadata")?.to_le_bytes());
    out.extend_from_slice(&count_u32(event.data.len(), "bytes of data")?.to_le_bytes());
    out.extend_from_slice(event_type);
    out.extend_from_slice(&event.metadata);
    out.extend_from_slice(&event.data);
    Ok(())
}

fn decode_append(cursor: &mut Cursor) -> Result<Vec<StreamWrite>, WireError> {
    let count = usize::from(cursor.u16("number of writes")?);
    if count > APPEND_WRITES_MAX {
        return Err(WireError::TooMany { what: "writes", count, max: APPEND_WRITES_MAX });
    }
    cursor.check_count(count, WRITE_HEADER_BYTES, "writes")?;
    let mut writes = Vec::with_capacity(count);
    for _ in 0..count {
        writes.push(decode_write(cursor)?);
    }
    Ok(writes)
}

fn decode_write(cursor: &mut Cursor) -> Result<StreamWrite, WireError> {
    let kind = cursor.u8("expected version")?;
    reserved_zero(cursor.u8("expected version")?)?;
    let stream_length = usize::from(cursor.u16("stream length")?);
    let count = cursor.size("number of events")?;
    let expected = expected_from(kind, cursor.u64("exact version")?)?;
    let stream = StreamName::new(cursor.take(stream_length, "stream name")?)?;
    cursor.check_count(count, EVENT_HEADER_BYTES, "events")?;
    let mut events = Vec::with_capacity(count);
    for _ in 0..count {
        events.push(decode_event(cursor)?);
    }
    Ok(StreamWrite { stream, expected, events })
}

fn decode_event(cursor: &mut Cursor) -> Result<NewEvent, WireError> {
    let id = EventId(Uuid::from_bytes(cursor.array("event id")?));
    let signature = Signature(cursor.array("signature")?);
    let content_type = content_type_from(cursor.u8("content type")?)?;
    let signature = match cursor.u8("event flags")? {
        0 => None,
        SIGNATURE_GIVEN => Some(signature),
        flags => return Err(unknown("event flag", flags)),
    };
    let type_length = usize::from(cursor.u16("type length")?);
    let metadata_length = cursor.size("metadata length")?;
    let data_length = cursor.size("data length")?;
    let event_type = EventType::new(cursor.take(type_length, "event type")?)?;
    let metadata = cursor.take(metadata_length, "metadata")?;
    let data = cursor.take(data_length, "data")?;
    Ok(NewEvent { id, event_type, content_type, metadata, data, signature })
}

impl AppendReply {
    /// The body as bytes.
    ///
    /// # Errors
    /// [`WireError::TooMany`] when a count or length does not fit its field.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        let nodes = count_u8(self.durable_on.len(), "nodes", REPLY_NODES_MAX)?;
        let results = count_u16(self.results.len(), "results", MESSAGE_APPENDS_MAX)?;
        let mut out = Vec::with_capacity(64 + self.results.len() * 32);
        out.extend_from_slice(&[APPEND_VERSION, nodes]);
        for node in &self.durable_on {
            out.extend_from_slice(node.as_bytes());
        }
        out.extend_from_slice(&results.to_le_bytes());
        for result in &self.results {
            match result {
                AppendResult::Done(done) => encode_done(done, &mut out)?,
                AppendResult::Refused(refusal) => encode_refusal(refusal, &mut out)?,
            }
        }
        Ok(out)
    }

    /// Cuts a body into results.
    ///
    /// # Errors
    /// [`WireError`] says what is wrong.
    pub fn decode(body: Bytes) -> Result<Self, WireError> {
        let mut cursor = Cursor::new(body);
        check_version(cursor.u8("version")?)?;
        let nodes = usize::from(cursor.u8("number of nodes")?);
        if nodes > REPLY_NODES_MAX {
            return Err(WireError::TooMany { what: "nodes", count: nodes, max: REPLY_NODES_MAX });
        }
        let mut durable_on = Vec::with_capacity(nodes);
        for _ in 0..nodes {
            durable_on.push(Uuid::from_bytes(cursor.array("node")?));
        }
        let count = usize::from(cursor.u16("number of results")?);
        cursor.check_count(count, RESULT_BYTES_MIN, "results")?;
        let mut results = Vec::with_capacity(count);
        for _ in 0..count {
            results.push(decode_result(&mut cursor)?);
        }
        cursor.finish()?;
        Ok(Self { durable_on, results })
    }
}

fn encode_done(done: &AppendDone, out: &mut Vec<u8>) -> Result<(), WireError> {
    let flags = if done.duplicate { DUPLICATE } else { 0 };
    let versions = count_u16(done.versions.len(), "writes", usize::from(u16::MAX))?;
    out.extend_from_slice(&[RESULT_DONE, flags, durability_number(Some(done.durability)), 0]);
    out.extend_from_slice(&done.first.0.to_le_bytes());
    out.extend_from_slice(&done.last.0.to_le_bytes());
    out.extend_from_slice(&versions.to_le_bytes());
    for version in &done.versions {
        out.extend_from_slice(&version.0.to_le_bytes());
    }
    Ok(())
}

fn encode_refusal(refusal: &Refusal, out: &mut Vec<u8>) -> Result<(), WireError> {
    out.extend_from_slice(&[RESULT_REFUSED, 0]);
    out.extend_from_slice(&refusal.code.to_le_bytes());
    out.extend_from_slice(&count_u32(refusal.body.len(), "bytes of an error")?.to_le_bytes());
    out.extend_from_slice(&refusal.body);
    Ok(())
}

fn decode_result(cursor: &mut Cursor) -> Result<AppendResult, WireError> {
    match cursor.u8("result")? {
        RESULT_DONE => {
            let duplicate = match cursor.u8("result flags")? {
                0 => false,
                DUPLICATE => true,
                flags => return Err(unknown("result flag", flags)),
            };
            let durability = cursor.u8("durability")?;
            let durability = durability_from(durability)?
                .ok_or_else(|| unknown("reached durability", durability))?;
            reserved_zero(cursor.u8("result")?)?;
            let first = Sequence(cursor.u64("first sequence")?);
            let last = Sequence(cursor.u64("last sequence")?);
            let count = usize::from(cursor.u16("number of writes")?);
            cursor.check_count(count, 8, "versions")?;
            let mut versions = Versions::with_capacity(count);
            for _ in 0..count {
                versions.push(Version(cursor.u64("version")?));
            }
            let done = AppendDone { first, last, versions, durability, duplicate };
            Ok(AppendResult::Done(done))
        }
        RESULT_REFUSED => {
            reserved_zero(cursor.u8("result")?)?;
            let code = cursor.u16("error code")?;
            let length = cursor.size("error length")?;
            let body = cursor.take(length, "error body")?;
            Ok(AppendResult::Refused(Refusal { code, body }))
        }
        kind => Err(unknown("kind of result", kind)),
    }
}

fn check_version(found: u8) -> Result<(), WireError> {
    if found != APPEND_VERSION {
        let spoken = APPEND_VERSION;
        return Err(WireError::Version { what: "the append body", found, spoken });
    }
    Ok(())
}

fn unknown(what: &'static str, number: u8) -> WireError {
    WireError::Unknown { what, number: u64::from(number) }
}

fn reserved_zero(byte: u8) -> Result<(), WireError> {
    if byte != 0 {
        return Err(unknown("content of a reserved byte", byte));
    }
    Ok(())
}

fn content_type_from(number: u8) -> Result<ContentType, WireError> {
    ContentType::from_number(number).ok_or_else(|| unknown("content type", number))
}

const fn expected_numbers(expected: ExpectedVersion) -> (u8, u64) {
    match expected {
        ExpectedVersion::Any => (0, 0),
        ExpectedVersion::None => (1, 0),
        ExpectedVersion::Exists => (2, 0),
        ExpectedVersion::Exact(version) => (3, version.0),
    }
}

fn expected_from(kind: u8, exact: u64) -> Result<ExpectedVersion, WireError> {
    match (kind, exact) {
        (0, 0) => Ok(ExpectedVersion::Any),
        (1, 0) => Ok(ExpectedVersion::None),
        (2, 0) => Ok(ExpectedVersion::Exists),
        (3, version) => Ok(ExpectedVersion::Exact(Version(version))),
        (0..=2, number) => Err(WireError::Unknown { what: "exact version here", number }),
        (kind, _) => Err(unknown("kind of expected version", kind)),
    }
}

const fn durability_number(durability: Option<Durability>) -> u8 {
    match durability {
        None => 0,
        Some(Durability::Memory) => 1,
        Some(Durability::Local) => 2,
        Some(Durability::Pair) => 3,
    }
}

fn durability_from(number: u8) -> Result<Option<Durability>, WireError> {
    match number {
        0 => Ok(None),
        1 => Ok(Some(Durability::Memory)),
        2 => Ok(Some(Durability::Local)),
        3 => Ok(Some(Durability::Pair)),
        number => Err(unknown("durability", number)),
    }
}

fn count_u8(count: usize, what: &'static str, max: usize) -> Result<u8, WireError> {
    let number = u8::try_from(count).ok().filter(|_| count <= max);
    number.ok_or(WireError::TooMany { what, count, max })
}

fn count_u16(count: usize, what: &'static str, max: usize) -> Result<u16, WireError> {
    let number = u16::try_from(count).ok().filter(|_| count <= max);
    number.ok_or(WireError::TooMany { what, count, max })
}

fn count_u32(count: usize, what: &'static str) -> Result<u32, WireError> {
    let max = usize::try_from(u32::MAX).unwrap_or(usize::MAX);
    u32::try_from(count).map_err(|_| WireError::TooMany { what, count, max })
}

#[cfg(test)]
mod tests;
