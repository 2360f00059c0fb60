//! The live feed: the store's XPUB publishes committed records, a subscriber's SUB listens.
//!
//! ```text
//! frame 0  topic    'P' | store name | 0x00 | u16 partition (big-endian)
//!                   'C' | store name | 0x00 | u16 partition (big-endian) | category | 0x00
//!                   'S' | store name | 0x00 | u16 partition (big-endian) | stream name | 0x00
//! frame 1  header    0  3 "SLF"      3  1 version (1)   4  1 kind (1 records, 2 heartbeat)
//!                    5  3 zero       8 16 lineage      24  8 epoch
//!                   32  8 previous   last sequence of the chain before this message (exclusive)
//!                   40  8 last       last sequence of this message (inclusive); in a heartbeat
//!                                    the head, equal to `previous` in a 'P' topic
//!                   48  4 count of records              52  4 heartbeat interval, ms
//!                   56  8 cut        last sequence before the first record of this epoch
//!                                    (inclusive; 0 in the first epoch)
//! frame 2  records  (kind 1 only) whole records back to back, exactly as on disk
//! ```
//!
//! The 0x00 keeps a prefix match from confusing `order` and `orders`; both bytes of the partition
//! are always there, so that partition 1 is no prefix of 10. A subscriber that sees `previous`
//! above the last sequence it knows has missed something and asks the replayer for it. One whose
//! place, reached in a lower epoch, lies above `cut` has records that this history does not hold.
//!
//! The filtered topics ('C', 'S') exist while somebody subscribes to them, and follow the same
//! rule: nothing of theirs lies between `previous` and `last` but the records of the message. A
//! heartbeat's `previous` is the last record of the topic, its `last` the partition's head, so
//! that a checkpoint goes on where a topic is quiet. They chain by sequence, also that of a stream:
//! one rule and one kind of checkpoint serve all topics, and the records tell their versions.

use bytes::Bytes;
use uuid::Uuid;

use super::WireError;
use super::cursor::Cursor;
use crate::event::{Epoch, Sequence};
use crate::filter::Filter;
use crate::names::{
    CategoryName, NameError, STORE_NAME_BYTES, STREAM_NAME_BYTES_MAX, StoreName, StreamName,
};

/// The version in every header.
pub const FEED_VERSION: u8 = 1;
/// Most bytes of records in one message, unless a single record is larger.
pub const FEED_BYTES_MAX: usize = 64 * 1024;
/// Longest topic, in bytes.
pub const TOPIC_BYTES_MAX: usize = 1 + *STORE_NAME_BYTES.end() + 3 + STREAM_NAME_BYTES_MAX + 1;

const MAGIC: [u8; 3] = *b"SLF";
const HEADER_BYTES: usize = 64;
const TOPIC_PARTITION: u8 = b'P';
const TOPIC_CATEGORY: u8 = b'C';
const TOPIC_STREAM: u8 = b'S';

/// What can be subscribed to: one partition, or some of its events.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic {
    /// The store.
    pub store: StoreName,
    /// The partition.
    pub partition: u16,
    /// Which of its events; `None` for all.
    pub filter: Option<Filter>,
}

impl Topic {
    /// The topic frame, which is also what to subscribe to.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (kind, name): (u8, Option<&[u8]>) = match &self.filter {
            None => (TOPIC_PARTITION, None),
            Some(Filter::Category(category)) => (TOPIC_CATEGORY, Some(category.as_bytes())),
            Some(Filter::Stream(stream)) => (TOPIC_STREAM, Some(stream.as_bytes())),
        };
        let mut out = Vec::with_capacity(TOPIC_BYTES_MAX);
        out.push(kind);
        out.extend_from_slice(self.store.as_str().as_bytes());
        out.push(0);
        out.extend_from_slice(&self.partition.to_be_bytes());
        if let Some(name) = name {
            out.extend_from_slice(name);
            out.push(0);
        }
        out
    }

    /// Reads a topic frame.
    ///
    /// # Errors
    /// [`WireError`] says what is wrong.
    pub fn decode(frame: &[u8]) -> Result<Self, WireError> {
        let not_a_topic = || WireError::Magic { what: "a feed topic" };
        let (kind, rest) = frame.split_first().ok_or_else(not_a_topic)?;
        let end = rest.iter().position(|byte| *byte == 0).ok_or_else(not_a_topic)?;
        let (store, rest) = rest.split_at(end);
        let store =
            std::str::from_utf8(store).map_err(|_| NameError::NotUtf8 { what: "a store name" })?;
        let store = StoreName::new(store)?;
        let rest = rest.get(1..).unwrap_or_default();
        let (partition, rest) = rest.split_first_chunk::<2>().ok_or_else(not_a_topic)?;
        let name = match rest.split_last() {
            None => None,
            Some((0, name)) => Some(Bytes::copy_from_slice(name)),
            Some(_) => return Err(not_a_topic()),
        };
        let filter = match (*kind, name) {
            (TOPIC_PARTITION, None) => None,
            (TOPIC_CATEGORY, Some(name)) => Some(Filter::Category(CategoryName::new(name)?)),
            (TOPIC_STREAM, Some(name)) => Some(Filter::Stream(StreamName::new(name)?)),
            _ => return Err(not_a_topic()),
        };
        Ok(Self { store, partition: u16::from_be_bytes(*partition), filter })
    }
}

/// What a feed message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FeedKind {
    /// Records follow in the next frame.
    Records,
    /// No records; the header shows the head.
    Heartbeat,
}

/// Frame 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedHeader {
    /// What the message is.
    pub kind: FeedKind,
    /// Lineage of the history.
    pub lineage: Uuid,
    /// Epoch of the leader that publishes.
    pub epoch: Epoch,
    /// Last sequence of the topic before this message (exclusive start).
    pub previous: Sequence,
    /// Last sequence of this message (inclusive); the head in a heartbeat.
    pub last: Sequence,
    /// How many records.
    pub count: u32,
    /// How often heartbeats come: after four of them without a word, the publisher is silent.
    pub heartbeat_ms: u32,
    /// Where the reigns before this epoch end (inclusive): a place above it that was reached in a
    /// lower epoch is not in this history.
    pub cut: Sequence,
}

impl FeedHeader {
    /// The frame.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let kind = match self.kind {
            FeedKind::Records => 1,
            FeedKind::Heartbeat => 2,
        };
        let mut out = Vec::with_capacity(HEADER_BYTES);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[FEED_VERSION, kind, 0, 0, 0]);
        out.extend_from_slice(self.lineage.as_bytes());
        for number in [self.epoch.0, self.previous.0, self.last.0] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.count.to_le_bytes());
        out.extend_from_slice(&self.heartbeat_ms.to_le_bytes());
        out.extend_from_slice(&self.cut.0.to_le_bytes());
        debug_assert_eq!(out.len(), HEADER_BYTES);
        out
    }

    /// Reads the frame.
    ///
    /// # Errors
    /// [`WireError`] says what is wrong.
    pub fn decode(frame: Bytes) -> Result<Self, WireError> {
        let mut cursor = Cursor::new(frame);
        if cursor.array("magic")? != MAGIC {
            return Err(WireError::Magic { what: "a feed message" });
        }
        let found = cursor.u8("version")?;
        if found != FEED_VERSION {
            return Err(WireError::Version { what: "the feed", found, spoken: FEED_VERSION });
        }
        let kind = match cursor.u8("kind")? {
            1 => FeedKind::Records,
            2 => FeedKind::Heartbeat,
            number => {
                let number = u64::from(number);
                return Err(WireError::Unknown { what: "kind of feed message", number });
            }
        };
        let _zero: [u8; 3] = cursor.array("reserved bytes")?;
        let decoded = Self {
            kind,
            lineage: Uuid::from_bytes(cursor.array("lineage")?),
            epoch: Epoch(cursor.u64("epoch")?),
            previous: Sequence(cursor.u64("previous sequence")?),
            last: Sequence(cursor.u64("last sequence")?),
            count: cursor.u32("count")?,
            heartbeat_ms: cursor.u32("heartbeat interval")?,
            cut: Sequence(cursor.u64("cut")?),
        };
        cursor.finish()?;
        Ok(decoded)
    }
}

#[cfg(test)]
mod tests;
