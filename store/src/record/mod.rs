//! An event as bytes: the one encoding for disk, feed, replay and replication.
//!
//! ```text
//!   0   4  length of the whole record      4   4  CRC-32 of bytes 0..4 and 8..120
//!   8   4  CRC-32 of bytes 120..length    12   1  kind: 1 event (2 tombstone, 3 truncate-before)
//!  13   1  flags: 1 last of its append, 2 signature made by the store
//!  14   1  content type                   15   1  zero
//!  16   8  epoch                          24   8  sequence
//!  32   8  committed up to                40   8  time, µs since 1970, never going back
//!  48   8  version in the stream          56  16  event id
//!  72   2  stream length                  74   2  type length
//!  76   4  metadata length                80   4  data length
//!  84  20  signature                     104  16  chain
//! 120  ..  stream, type, metadata, data, zeros up to a multiple of 8
//! ```
//!
//! Integers are little-endian. *Committed up to* is inclusive: the writer's head when it wrote the
//! record, which lets recovery tell a torn tail from damage. The chain is the first 16 bytes of
//! SHA-1(chain of the record before ‖ bytes 12..104), so two logs with one chain at one sequence
//! have the same history. Kinds 2 and 3 are reserved: no version of this crate writes them yet.

mod view;

use crate::event::{
    EVENT_DATA_BYTES_MAX, EVENT_METADATA_BYTES_MAX, Epoch, NewEvent, Sequence, Signature, Version,
};
use crate::names::{EVENT_TYPE_BYTES_MAX, STREAM_NAME_BYTES_MAX, StreamName};

pub use view::{RecordError, RecordView, Records, decode, iterate, views};

/// Bytes of a record before its stream name.
pub const RECORD_HEADER_BYTES: usize = 120;
/// Records start at multiples of this, so that a scan after damage knows where to look.
pub const RECORD_ALIGNMENT: usize = 8;
/// Longest record.
pub const RECORD_BYTES_MAX: usize = aligned(
    RECORD_HEADER_BYTES
        + STREAM_NAME_BYTES_MAX
        + EVENT_TYPE_BYTES_MAX
        + EVENT_METADATA_BYTES_MAX
        + EVENT_DATA_BYTES_MAX,
);

const _: () = assert!(RECORD_HEADER_BYTES.is_multiple_of(RECORD_ALIGNMENT));
const _: () = assert!(RECORD_BYTES_MAX <= crate::event::APPEND_BYTES_MAX);

const KIND_EVENT: u8 = 1;
const FLAG_ENDS_APPEND: u8 = 1;
const FLAG_SIGNED_BY_STORE: u8 = 2;

const AT_LENGTH: usize = 0;
const AT_HEADER_CRC: usize = 4;
const AT_BODY_CRC: usize = 8;
const AT_KIND: usize = 12;
const AT_FLAGS: usize = 13;
const AT_CONTENT_TYPE: usize = 14;
const AT_RESERVED: usize = 15;
const AT_EPOCH: usize = 16;
const AT_SEQUENCE: usize = 24;
const AT_COMMITTED: usize = 32;
const AT_TIME: usize = 40;
const AT_VERSION: usize = 48;
const AT_ID: usize = 56;
const AT_STREAM_LENGTH: usize = 72;
const AT_TYPE_LENGTH: usize = 74;
const AT_METADATA_LENGTH: usize = 76;
const AT_DATA_LENGTH: usize = 80;
const AT_SIGNATURE: usize = 84;
const AT_CHAIN: usize = 104;

/// Digest of everything up to and including a record; zeros before the first.
///
/// The members of a pair have folders with ids of their own, yet equal chains where their histories
/// are equal: no id goes into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Chain(pub [u8; 16]);

/// An event with all numbers that the writer gives it.
#[derive(Debug, Clone, Copy)]
pub struct Numbered<'a> {
    /// Stream that it goes to.
    pub stream: &'a StreamName,
    /// The event.
    pub event: &'a NewEvent,
    /// Place in the partition's log.
    pub sequence: Sequence,
    /// Place in the stream.
    pub version: Version,
    /// Reign under which it is appended.
    pub epoch: Epoch,
    /// Inclusive: the head at the time of writing.
    pub committed_up_to: Sequence,
    /// Microseconds since 1970.
    pub time_micros: u64,
    /// Whether it is the last event of its append.
    pub ends_append: bool,
}

/// Bytes that an event takes as a record.
#[must_use]
pub fn encoded_length(stream: &StreamName, event: &NewEvent) -> usize {
    aligned(
        RECORD_HEADER_BYTES
            + stream.as_bytes().len()
            + event.event_type.as_bytes().len()
            + event.metadata.len()
            + event.data.len(),
    )
}

/// Appends one record to `buffer` and returns its chain.
///
/// The caller has checked the event against the limits; a field that is longer than its length
/// field can say would be cut, and the decoder refuses such a record.
pub fn encode(record: &Numbered<'_>, previous: Chain, buffer: &mut Vec<u8>) -> Chain {
    let Numbered { stream, event, .. } = record;
    let start = buffer.len();
    let length = encoded_length(stream, event);
    buffer.reserve(length);
    buffer.resize(start + RECORD_HEADER_BYTES, 0);
    buffer.extend_from_slice(stream.as_bytes());
    buffer.extend_from_slice(event.event_type.as_bytes());
    buffer.extend_from_slice(&event.metadata);
    buffer.extend_from_slice(&event.data);
    buffer.resize(start + length, 0);

    let mut header = header_of(record, length);
    let (_, body) = buffer.split_at(start + RECORD_HEADER_BYTES);
    put(&mut header, AT_BODY_CRC, &crc32fast::hash(body).to_le_bytes());
    let chain = chain_after(previous, &header);
    put(&mut header, AT_CHAIN, &chain.0);
    let crc = header_crc(&header);
    put(&mut header, AT_HEADER_CRC, &crc.to_le_bytes());
    put(buffer, start, &header);
    chain
}

/// The header without checksums and chain.
fn header_of(record: &Numbered<'_>, length: usize) -> [u8; RECORD_HEADER_BYTES] {
    let Numbered { stream, event, .. } = record;
    let (signature, made_here) = match event.signature {
        Some(signature) => (signature, 0),
        None => (Signature::of(stream, event), FLAG_SIGNED_BY_STORE),
    };
    let ends = if record.ends_append { FLAG_ENDS_APPEND } else { 0 };
    let mut header = [0; RECORD_HEADER_BYTES];
    let out = &mut header;
    put(out, AT_LENGTH, &length_u32(length).to_le_bytes());
    put(out, AT_KIND, &[KIND_EVENT, ends | made_here, event.content_type.number()]);
    put(out, AT_EPOCH, &record.epoch.0.to_le_bytes());
    put(out, AT_SEQUENCE, &record.sequence.0.to_le_bytes());
    put(out, AT_COMMITTED, &record.committed_up_to.0.to_le_bytes());
    put(out, AT_TIME, &record.time_micros.to_le_bytes());
    put(out, AT_VERSION, &record.version.0.to_le_bytes());
    put(out, AT_ID, event.id.as_bytes());
    put(out, AT_STREAM_LENGTH, &length_u16(stream.as_bytes().len()).to_le_bytes());
    put(out, AT_TYPE_LENGTH, &length_u16(event.event_type.as_bytes().len()).to_le_bytes());
    put(out, AT_METADATA_LENGTH, &length_u32(event.metadata.len()).to_le_bytes());
    put(out, AT_DATA_LENGTH, &length_u32(event.data.len()).to_le_bytes());
    put(out, AT_SIGNATURE, &signature.0);
    header
}

/// The chain after a record with this header.
fn chain_after(previous: Chain, header: &[u8; RECORD_HEADER_BYTES]) -> Chain {
    use sha1::{Digest, Sha1};
    let (before_chain, _) = header.split_at(AT_CHAIN);
    let (_, chained) = before_chain.split_at(AT_KIND);
    let digest: [u8; 20] =
        Sha1::new().chain_update(previous.0).chain_update(chained).finalize().into();
    let mut chain = Chain::default();
    chain.0.copy_from_slice(digest.split_at(16).0);
    chain
}

/// CRC-32 of a header without the field that holds it.
fn header_crc(header: &[u8; RECORD_HEADER_BYTES]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(header.split_at(AT_HEADER_CRC).0);
    crc.update(header.split_at(AT_BODY_CRC).1);
    crc.finalize()
}

const fn aligned(length: usize) -> usize {
    length.next_multiple_of(RECORD_ALIGNMENT)
}

/// Overwrites part of `out`; both ends are constants of this file.
fn put(out: &mut [u8], at: usize, bytes: &[u8]) {
    let (_, rest) = out.split_at_mut(at);
    rest.split_at_mut(bytes.len()).0.copy_from_slice(bytes);
}

fn length_u32(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

fn length_u16(length: usize) -> u16 {
    u16::try_from(length).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests;
