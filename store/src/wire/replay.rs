//! Reads of history: a client's DEALER asks, the store's ROUTER answers.
//!
//! ```text
//! message       from    frames after the routing id
//! READ          client  [head | read]                 starts a read under a request number
//! CREDIT        client  [head | u64 bytes]            may now send up to `bytes`, cumulative
//! CANCEL        client  [head]                        forget this read; no answer
//! STATUS        client  [head]                        how is this process?
//! HAND_OVER     client  [head]                        let the other node of the pair lead
//! BLOCK         store   [head | block] [records]      a part of the answer, or its end
//! FAIL          store   [head] [MessagePack error]    the end of a read that can't go on
//! STATUS_REPLY  store   [head] [MessagePack status]
//! DONE          store   [head] []                     a HAND_OVER is done: the other node leads
//!
//! head   0  3 "SLR"    3  1 version (1)    4  1 kind    5  1 flags
//!        6  2 error code (FAIL only)       8  8 request number, chosen by the client
//!
//! read  16  8 from       first place wanted (inclusive): a sequence, or a version of a stream;
//!                        0 = from the end at which the direction begins
//!       24  8 to         last place wanted (inclusive); 0 = as far as there is
//!       32  8 count_max  most records; 0 = no limit
//!       40  8 at_least   sequence that the head must have reached before the answer begins
//!       48  8 credit     bytes of records that may be sent, cumulative for this read
//!       56  8 epoch      in which the reader came to its place; 0 = it does not say
//!       64  4 block_max  most bytes of records in one block (a larger record comes alone)
//!       68  2 partition  70  1 source (0 all, 1 stream, 2 ids,
//!                              3 category, 4 stream, but with sequences as places)
//!       71  1 direction (0 forward, 1 backward; forward for ids)
//!       72  1 store length   73  1 zero
//!       74  2 length of the stream name or category, or 16 × the number of ids
//!       76 .. store name | stream name, category, or event ids
//!
//! block 16 16 lineage   32 16 incarnation of the node   48  8 epoch
//!       56  8 first     64  8 last     sequences of the first and last record, as sent; 0 if none
//!       72  8 head      newest committed sequence when the block was made
//!       80  4 count     84  4 zero
//! ```
//!
//! A read by ids gives the events that have them, in the order of the ids; an id that no committed
//! event of the partition has is passed over. Its places are those of the ids, from 1; `to`,
//! `count_max` and `epoch` don't apply.
//!
//! Sources 3 and 4 are for who follows a filtered topic of the feed: `from`, `to` and `epoch` mean
//! the same as for source 0, and what lies between two records sent is none of the filter's. At
//! the end everything up to the head of the last block was looked at.
//!
//! Flags: READ 1 = strong; BLOCK 1 = end: nothing more follows, the limit or the head is reached.

use bytes::Bytes;
use uuid::Uuid;

use super::cursor::Cursor;
use super::{Refusal, WireError};
use crate::event::{Epoch, EventId, Sequence};
use crate::filter::Filter;
use crate::names::{CategoryName, StoreName, StreamName};

/// The version in every head.
pub const REPLAY_VERSION: u8 = 1;
/// Most bytes of records in one block, unless a single record is larger.
pub const BLOCK_BYTES_MAX: u32 = 1024 * 1024;

/// Most ids in one read.
pub const READ_IDS_MAX: usize = 256;

const MAGIC: [u8; 3] = *b"SLR";
const HEAD_BYTES: usize = 16;
const BLOCK_BYTES: usize = 88;
const FLAG: u8 = 1;

const READ: u8 = 1;
const CREDIT: u8 = 2;
const CANCEL: u8 = 3;
const STATUS: u8 = 4;
const BLOCK: u8 = 5;
const FAIL: u8 = 6;
const STATUS_REPLY: u8 = 7;
const HAND_OVER: u8 = 8;
const DONE: u8 = 9;

/// Number of a read, unique within the client's socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestNumber(pub u64);

/// Which way a read goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReadDirection {
    /// Towards the head.
    Forward,
    /// Towards the first record.
    Backward,
}

/// What a read covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadSource {
    /// Every record of the partition; places are sequences.
    All,
    /// The events of one stream; places are versions.
    Stream(StreamName),
    /// The events with these ids, at least one and at most [`READ_IDS_MAX`]; places are those of
    /// the ids, from 1.
    Ids(Vec<EventId>),
    /// Some of the partition's records; places are sequences.
    Filtered(Filter),
}

/// A READ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// Its number.
    pub request: RequestNumber,
    /// The store.
    pub store: StoreName,
    /// The partition; for a stream, the one that its slot falls into. Ids are known to theirs only.
    pub partition: u16,
    /// What is read.
    pub source: ReadSource,
    /// Which way.
    pub direction: ReadDirection,
    /// First place wanted (inclusive); 0 for the end at which the direction begins.
    pub from: u64,
    /// Last place wanted (inclusive); 0 for no limit.
    pub to: u64,
    /// Most records; 0 for no limit.
    pub count_max: u64,
    /// The head must have reached this before the answer begins.
    pub at_least: Sequence,
    /// Bytes of records that may be sent, cumulative.
    pub credit_bytes: u64,
    /// The epoch in which the reader came to the place before `from`; zero if it does not say. A
    /// history that went on below that place is told apart by it.
    pub epoch: Epoch,
    /// Most bytes of records in one block.
    pub block_bytes_max: u32,
    /// Whether the leader must have been confirmed since the request arrived.
    pub strong: bool,
}

/// What a client sends: always one frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplayRequest {
    /// Start a read.
    Read(Read),
    /// Raise a read's credit.
    Credit {
        /// The read.
        request: RequestNumber,
        /// Bytes of records that may be sent, cumulative.
        credit_bytes: u64,
    },
    /// Forget a read.
    Cancel {
        /// The read.
        request: RequestNumber,
    },
    /// Ask for [`super::status::StatusReply`].
    Status {
        /// Number that the answer will carry.
        request: RequestNumber,
    },
    /// Ask the leader of a pair to let the other node lead.
    HandOver {
        /// Number that the answer will carry.
        request: RequestNumber,
    },
}

/// What the store sends: two frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplayAnswer {
    /// Records.
    Block(Block),
    /// The end of a read that can't go on.
    Fail {
        /// The read.
        request: RequestNumber,
        /// Why.
        refusal: Refusal,
    },
    /// How the process is: a [`super::status::StatusReply`] in MessagePack.
    Status {
        /// The question's number.
        request: RequestNumber,
        /// The map.
        body: Bytes,
    },
    /// What was asked for is done.
    Done {
        /// The question's number.
        request: RequestNumber,
    },
}

/// Part of a read's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The read.
    pub request: RequestNumber,
    /// Lineage of the history.
    pub lineage: Uuid,
    /// Incarnation of the node that answers.
    pub incarnation: Uuid,
    /// Its epoch.
    pub epoch: Epoch,
    /// Sequence of the first record, as sent; zero if there is none.
    pub first: Sequence,
    /// Sequence of the last record, as sent; zero if there is none.
    pub last: Sequence,
    /// Newest committed sequence when the block was made (inclusive).
    pub head: Sequence,
    /// How many records there are.
    pub count: u32,
    /// Whether nothing more follows.
    pub end: bool,
    /// Whole records back to back, exactly as on disk.
    pub records: Bytes,
}

impl ReplayRequest {
    /// The one frame.
    ///
    /// # Errors
    /// [`WireError::TooMany`] when a name does not fit its field.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        Ok(match self {
            Self::Read(read) => return encode_read(read),
            Self::Credit { request, credit_bytes } => {
                let mut out = head(CREDIT, 0, 0, *request);
                out.extend_from_slice(&credit_bytes.to_le_bytes());
                out
            }
            Self::Cancel { request } => head(CANCEL, 0, 0, *request),
            Self::Status { request } => head(STATUS, 0, 0, *request),
            Self::HandOver { request } => head(HAND_OVER, 0, 0, *request),
        })
    }

    /// Reads the one frame.
    ///
    /// # Errors
    /// [`WireError`] says what is wrong.
    pub fn decode(frame: Bytes) -> Result<Self, WireError> {
        let mut cursor = Cursor::new(frame);
        let Head { kind, flags, request, .. } = decode_head(&mut cursor)?;
        let decoded = match kind {
            READ => return decode_read(cursor, request, flags).map(Self::Read),
            CREDIT => Self::Credit { request, credit_bytes: cursor.u64("credit")? },
            CANCEL => Self::Cancel { request },
            STATUS => Self::Status { request },
            HAND_OVER => Self::HandOver { request },
            kind => return Err(unknown("kind of replay request", kind)),
        };
        cursor.finish()?;
        Ok(decoded)
    }
}

/// The request number of a frame that begins like a request, even if the rest of it is malformed:
/// so that its sender can be told.
#[must_use]
pub fn request_number(frame: &Bytes) -> Option<RequestNumber> {
    decode_head(&mut Cursor::new(frame.clone())).ok().map(|head| head.request)
}

impl ReplayAnswer {
    /// The two frames.
    #[must_use]
    pub fn encode(&self) -> (Vec<u8>, Bytes) {
        match self {
            Self::Block(block) => (encode_block(block), block.records.clone()),
            Self::Fail { request, refusal } => {
                (head(FAIL, 0, refusal.code, *request), refusal.body.clone())
            }
            Self::Status { request, body } => (head(STATUS_REPLY, 0, 0, *request), body.clone()),
            Self::Done { request } => (head(DONE, 0, 0, *request), Bytes::new()),
        }
    }

    /// Reads the two frames.
    ///
    /// # Errors
    /// [`WireError`] says what is wrong.
    pub fn decode(frame: Bytes, body: Bytes) -> Result<Self, WireError> {
        let mut cursor = Cursor::new(frame);
        let Head { kind, flags, code, request } = decode_head(&mut cursor)?;
        let decoded = match kind {
            BLOCK => {
                let end = flag(flags)?;
                let lineage = Uuid::from_bytes(cursor.array("lineage")?);
                let incarnation = Uuid::from_bytes(cursor.array("incarnation")?);
                let epoch = Epoch(cursor.u64("epoch")?);
                let first = Sequence(cursor.u64("first sequence")?);
                let last = Sequence(cursor.u64("last sequence")?);
                let head = Sequence(cursor.u64("head")?);
                let count = cursor.u32("count")?;
                let _zero = cursor.u32("reserved field")?;
                let records = body;
                Self::Block(Block {
                    request,
                    lineage,
                    incarnation,
                    epoch,
                    first,
                    last,
                    head,
                    count,
                    end,
                    records,
                })
            }
            FAIL => Self::Fail { request, refusal: Refusal { code, body } },
            STATUS_REPLY => Self::Status { request, body },
            DONE if body.is_empty() => Self::Done { request },
            DONE => return Err(WireError::Trailing { bytes: body.len() }),
            kind => return Err(unknown("kind of replay answer", kind)),
        };
        cursor.finish()?;
        Ok(decoded)
    }
}

struct Head {
    kind: u8,
    flags: u8,
    code: u16,
    request: RequestNumber,
}

fn head(kind: u8, flags: u8, code: u16, request: RequestNumber) -> Vec<u8> {
    let mut out = Vec::with_capacity(BLOCK_BYTES);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[REPLAY_VERSION, kind, flags]);
    out.extend_from_slice(&code.to_le_bytes());
    out.extend_from_slice(&request.0.to_le_bytes());
    debug_assert_eq!(out.len(), HEAD_BYTES);
    out
}

fn decode_head(cursor: &mut Cursor) -> Result<Head, WireError> {
    if cursor.array("magic")? != MAGIC {
        return Err(WireError::Magic { what: "a replay message" });
    }
    let found = cursor.u8("version")?;
    if found != REPLAY_VERSION {
        let spoken = REPLAY_VERSION;
        return Err(WireError::Version { what: "the replay protocol", found, spoken });
    }
    Ok(Head {
        kind: cursor.u8("kind")?,
        flags: cursor.u8("flags")?,
        code: cursor.u16("error code")?,
        request: RequestNumber(cursor.u64("request number")?),
    })
}

fn encode_read(read: &Read) -> Result<Vec<u8>, WireError> {
    let store = read.store.as_str().as_bytes();
    let ids: Vec<u8>;
    let (source, stream): (u8, &[u8]) = match &read.source {
        ReadSource::All => (0, &[]),
        ReadSource::Stream(stream) => (1, stream.as_bytes()),
        ReadSource::Ids(wanted) => {
            check_ids(wanted.len())?;
            ids = wanted.iter().flat_map(EventId::as_bytes).copied().collect();
            (2, &ids)
        }
        ReadSource::Filtered(Filter::Category(category)) => (3, category.as_bytes()),
        ReadSource::Filtered(Filter::Stream(stream)) => (4, stream.as_bytes()),
    };
    let too_long = |count| WireError::TooMany { what: "bytes of a name", count, max: 255 };
    let store_length = u8::try_from(store.len()).map_err(|_| too_long(store.len()))?;
    let stream_length = u16::try_from(stream.len()).map_err(|_| too_long(stream.len()))?;
    let direction = match read.direction {
        ReadDirection::Forward => 0,
        ReadDirection::Backward => 1,
    };
    let mut out = head(READ, if read.strong { FLAG } else { 0 }, 0, read.request);
    let Read { from, to, count_max, at_least, credit_bytes, epoch, .. } = read;
    for place in [*from, *to, *count_max, at_least.0, *credit_bytes, epoch.0] {
        out.extend_from_slice(&place.to_le_bytes());
    }
    out.extend_from_slice(&read.block_bytes_max.to_le_bytes());
    out.extend_from_slice(&read.partition.to_le_bytes());
    out.extend_from_slice(&[source, direction, store_length, 0]);
    out.extend_from_slice(&stream_length.to_le_bytes());
    out.extend_from_slice(store);
    out.extend_from_slice(stream);
    Ok(out)
}

fn decode_read(mut cursor: Cursor, request: RequestNumber, flags: u8) -> Result<Read, WireError> {
    let strong = flag(flags)?;
    let from = cursor.u64("from")?;
    let to = cursor.u64("to")?;
    let count_max = cursor.u64("count")?;
    let at_least = Sequence(cursor.u64("at_least")?);
    let credit_bytes = cursor.u64("credit")?;
    let epoch = Epoch(cursor.u64("epoch")?);
    let block_bytes_max = cursor.u32("block size")?;
    let partition = cursor.u16("partition")?;
    let source = cursor.u8("source")?;
    let direction = match cursor.u8("direction")? {
        0 => ReadDirection::Forward,
        1 => ReadDirection::Backward,
        number => return Err(unknown("direction", number)),
    };
    let store_length = usize::from(cursor.u8("store length")?);
    let _zero = cursor.u8("reserved byte")?;
    let stream_length = usize::from(cursor.u16("stream length")?);
    let store = cursor.take(store_length, "store name")?;
    let store = std::str::from_utf8(&store)
        .map_err(|_| crate::names::NameError::NotUtf8 { what: "a store name" })?;
    let store = StoreName::new(store)?;
    let stream = cursor.take(stream_length, "stream name")?;
    let source = match (source, stream.is_empty()) {
        (0, true) => ReadSource::All,
        (1, false) => ReadSource::Stream(StreamName::new(stream)?),
        (2, false) if direction == ReadDirection::Forward => ReadSource::Ids(decode_ids(&stream)?),
        (3, false) => ReadSource::Filtered(Filter::Category(CategoryName::new(stream)?)),
        (4, false) => ReadSource::Filtered(Filter::Stream(StreamName::new(stream)?)),
        (number, _) => return Err(unknown("source with such a stream name", number)),
    };
    cursor.finish()?;
    Ok(Read {
        request,
        store,
        partition,
        source,
        direction,
        from,
        to,
        count_max,
        at_least,
        credit_bytes,
        epoch,
        block_bytes_max,
        strong,
    })
}

fn decode_ids(bytes: &[u8]) -> Result<Vec<EventId>, WireError> {
    let (ids, rest) = bytes.as_chunks::<16>();
    if !rest.is_empty() {
        return Err(WireError::Truncated { what: "last id" });
    }
    check_ids(ids.len())?;
    Ok(ids.iter().map(|id| EventId(Uuid::from_bytes(*id))).collect())
}

fn check_ids(count: usize) -> Result<(), WireError> {
    match count {
        0 => Err(WireError::Truncated { what: "ids" }),
        1..=READ_IDS_MAX => Ok(()),
        _ => Err(WireError::TooMany { what: "ids", count, max: READ_IDS_MAX }),
    }
}

fn encode_block(block: &Block) -> Vec<u8> {
    let mut out = head(BLOCK, if block.end { FLAG } else { 0 }, 0, block.request);
    out.extend_from_slice(block.lineage.as_bytes());
    out.extend_from_slice(block.incarnation.as_bytes());
    for number in [block.epoch.0, block.first.0, block.last.0, block.head.0] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(&block.count.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    debug_assert_eq!(out.len(), BLOCK_BYTES);
    out
}

fn flag(flags: u8) -> Result<bool, WireError> {
    match flags {
        0 => Ok(false),
        FLAG => Ok(true),
        flags => Err(unknown("flag of a replay message", flags)),
    }
}

fn unknown(what: &'static str, number: u8) -> WireError {
    WireError::Unknown { what, number: u64::from(number) }
}

#[cfg(test)]
mod tests;
