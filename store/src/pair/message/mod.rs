//! What the two nodes of a pair say to each other.
//!
//! ```text
//! frame 0  header    0  3 "SLP"      3  1 version (1)    4  1 kind    5  3 zero
//!                    8 16 process that sends
//!                   24 16 process that shall read it; zero while the sender knows none
//!                   40  8 epoch of the newest configuration that the sender knows
//!                   48  8 token      of the sender; rises with every beat
//!                   56  8 echo       newest token that the sender has had from the reader
//! frame 1  body      a MessagePack map with named fields, see [`Body`]
//! frame 2  records   (kind 10 only) whole appends, exactly as on disk
//! ```
//!
//! | kind | body | from | says |
//! |---|---|---|---|
//! | 1, 2 | [`Hello`] | both | who I am; you are accepted, and who I am |
//! | 3 | [`Refused`] | both | why not |
//! | 4 | [`Beat`] | both | I live; a message between the machines |
//! | 5 | [`Catalogue`] | leader | these partitions there are: tell me how yours end |
//! | 6, 7 | [`Probe`], [`MarkReport`] | leader, follower | what is at this place of your log? |
//! | 8, 9 | [`CutOrder`], [`CutDone`] | leader, follower | all behind this mark is to go |
//! | 10 | [`RecordsHead`] | leader | append these |
//! | 11 | [`Ack`] | follower | what I have |
//! | 12 | [`Commit`] | leader | what is committed |
//!
//! A message for another process, or of one that was not accepted, is dropped: whatever an earlier
//! run of a node left in a socket has no effect.

mod body;

use broker::net::Frames;
use broker::witness::ProcessId;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

pub use body::{
    Ack, Beat, Catalogue, Commit, CutDone, CutOrder, Hello, Listing, Mark, MarkReport, Probe,
    RecordsHead, Refused, Settings,
};

/// The version in every header, and the only one that this program speaks.
pub const PAIR_VERSION: u8 = 1;
/// Most bytes of records in one message: the largest append, and as much again.
pub const RECORDS_BYTES_MAX: usize = 2 * crate::event::APPEND_BYTES_MAX;

const MAGIC: [u8; 3] = *b"SLP";
const HEADER_BYTES: usize = 64;
/// Deepest nesting that is followed, so that a peer's brackets can't exhaust our stack.
const DEPTH_MAX: usize = 24;
/// Bodies that list partitions: names of 16 Ki partitions, twice.
const LIST_BYTES_MAX: usize = 4 * 1024 * 1024;
/// All other bodies.
const BODY_BYTES_MAX: usize = 4 * 1024;

/// Why a peer's bytes are not a message.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MessageError {
    /// Another number of frames.
    #[error("a message between nodes has 2 or 3 frames, this one has {0}")]
    Frames(usize),
    /// Not our header.
    #[error("these bytes are no message of a node: is --peer the --pair-listen of the other node?")]
    Header,
    /// Another version.
    #[error("the other node speaks version {0}, this one speaks 1: run the same release on both")]
    Version(u8),
    /// A kind that we don't know.
    #[error("{0} is no known kind of message between nodes")]
    Kind(u8),
    /// A frame is too long.
    #[error("a frame has {bytes} bytes, at most {max} are allowed")]
    TooLong {
        /// How many it has.
        bytes: usize,
        /// How many it may have.
        max: usize,
    },
    /// The body is not the map that the kind stands for.
    #[error("the body is malformed: {0}")]
    Body(String),
}

/// What stands in front of every message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Who sends.
    pub from: ProcessId,
    /// Who shall read it; `None` while the sender knows nobody.
    pub to: Option<ProcessId>,
    /// Epoch of the newest configuration that the sender knows.
    pub epoch: u64,
    /// Newest token of the sender.
    pub token: u64,
    /// Newest token that the sender has had from the reader.
    pub echo: u64,
}

/// What a message says.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the table of this module says what each is")]
pub enum Body {
    Hello(Hello),
    Welcome(Hello),
    Refused(Refused),
    Beat(Beat),
    Catalogue(Catalogue),
    Probe(Probe),
    Mark(MarkReport),
    Cut(CutOrder),
    CutDone(CutDone),
    Records(RecordsHead, Bytes),
    Ack(Ack),
    Commit(Commit),
}

/// Makes a message.
///
/// # Errors
/// [`MessageError::Body`] if the encoder refuses.
pub fn encode(header: &Header, body: &Body) -> Result<Frames, MessageError> {
    let (kind, map) = match body {
        Body::Hello(body) => (1, pack(body)?),
        Body::Welcome(body) => (2, pack(body)?),
        Body::Refused(body) => (3, pack(body)?),
        Body::Beat(body) => (4, pack(body)?),
        Body::Catalogue(body) => (5, pack(body)?),
        Body::Probe(body) => (6, pack(body)?),
        Body::Mark(body) => (7, pack(body)?),
        Body::Cut(body) => (8, pack(body)?),
        Body::CutDone(body) => (9, pack(body)?),
        Body::Records(body, _) => (10, pack(body)?),
        Body::Ack(body) => (11, pack(body)?),
        Body::Commit(body) => (12, pack(body)?),
    };
    let mut frames = vec![header.encode(kind), map];
    if let Body::Records(_, records) = body {
        frames.push(records.clone());
    }
    Ok(frames)
}

/// Reads a message.
///
/// # Errors
/// [`MessageError`] says what is wrong; nothing is allocated before the lengths are checked.
pub fn decode(frames: &[Bytes]) -> Result<(Header, Body), MessageError> {
    let (first, map, records) = match frames {
        [first, map] => (first, map, None),
        [first, map, records] => (first, map, Some(records)),
        other => return Err(MessageError::Frames(other.len())),
    };
    let (header, kind) = Header::decode(first)?;
    let bytes_max = if matches!(kind, 1 | 2 | 4 | 5) { LIST_BYTES_MAX } else { BODY_BYTES_MAX };
    check_length(map, bytes_max)?;
    let body = match (kind, records) {
        (10, Some(records)) => {
            check_length(records, RECORDS_BYTES_MAX)?;
            Body::Records(unpack(map)?, records.clone())
        }
        (1..=9 | 11 | 12, Some(_)) => return Err(MessageError::Frames(3)),
        (10, None) => return Err(MessageError::Frames(2)),
        (1, None) => Body::Hello(unpack(map)?),
        (2, None) => Body::Welcome(unpack(map)?),
        (3, None) => Body::Refused(unpack(map)?),
        (4, None) => Body::Beat(unpack(map)?),
        (5, None) => Body::Catalogue(unpack(map)?),
        (6, None) => Body::Probe(unpack(map)?),
        (7, None) => Body::Mark(unpack(map)?),
        (8, None) => Body::Cut(unpack(map)?),
        (9, None) => Body::CutDone(unpack(map)?),
        (11, None) => Body::Ack(unpack(map)?),
        (12, None) => Body::Commit(unpack(map)?),
        (kind, _) => return Err(MessageError::Kind(kind)),
    };
    Ok((header, body))
}

impl Header {
    fn encode(&self, kind: u8) -> Bytes {
        let mut out = Vec::with_capacity(HEADER_BYTES);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[PAIR_VERSION, kind, 0, 0, 0]);
        out.extend_from_slice(self.from.0.as_bytes());
        out.extend_from_slice(self.to.map_or(Uuid::nil(), |to| to.0).as_bytes());
        for number in [self.epoch, self.token, self.echo] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        debug_assert_eq!(out.len(), HEADER_BYTES);
        out.into()
    }

    fn decode(frame: &[u8]) -> Result<(Self, u8), MessageError> {
        let frame: &[u8; HEADER_BYTES] = frame.try_into().map_err(|_| MessageError::Header)?;
        let (start, rest) = frame.split_at(8);
        let &[a, b, c, version, kind, ..] = start else {
            return Err(MessageError::Header);
        };
        if [a, b, c] != MAGIC {
            return Err(MessageError::Header);
        }
        if version != PAIR_VERSION {
            return Err(MessageError::Version(version));
        }
        let (processes, numbers) = rest.split_at(32);
        let (from, to) = processes.split_at(16);
        let id = |bytes| Uuid::from_slice(bytes).map_err(|_| MessageError::Header);
        let (from, to) = (ProcessId(id(from)?), id(to)?);
        let to = (!to.is_nil()).then_some(ProcessId(to));
        let (words, _) = numbers.as_chunks::<8>();
        let &[epoch, token, echo] = words else {
            return Err(MessageError::Header);
        };
        let [epoch, token, echo] = [epoch, token, echo].map(u64::from_le_bytes);
        Ok((Self { from, to, epoch, token, echo }, kind))
    }
}

fn check_length(frame: &[u8], max: usize) -> Result<(), MessageError> {
    match frame.len() {
        bytes if bytes > max => Err(MessageError::TooLong { bytes, max }),
        _ => Ok(()),
    }
}

fn pack<T: Serialize>(body: &T) -> Result<Bytes, MessageError> {
    let packed = rmp_serde::to_vec_named(body);
    packed.map(Bytes::from).map_err(|error| MessageError::Body(error.to_string()))
}

fn unpack<'a, T: Deserialize<'a>>(map: &'a [u8]) -> Result<T, MessageError> {
    let mut decoder = rmp_serde::Deserializer::from_read_ref(map);
    decoder.set_max_depth(DEPTH_MAX);
    T::deserialize(&mut decoder).map_err(|error| MessageError::Body(error.to_string()))
}

#[cfg(test)]
mod tests;
