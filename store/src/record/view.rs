//! Reading records where they lie.

use bytes::Bytes;
use thiserror::Error;
use uuid::Uuid;

use super::{
    AT_BODY_CRC, AT_CHAIN, AT_COMMITTED, AT_CONTENT_TYPE, AT_DATA_LENGTH, AT_EPOCH, AT_FLAGS,
    AT_HEADER_CRC, AT_ID, AT_KIND, AT_LENGTH, AT_METADATA_LENGTH, AT_RESERVED, AT_SEQUENCE,
    AT_SIGNATURE, AT_STREAM_LENGTH, AT_TIME, AT_TYPE_LENGTH, AT_VERSION, Chain, FLAG_ENDS_APPEND,
    FLAG_SIGNED_BY_STORE, KIND_EVENT, RECORD_ALIGNMENT, RECORD_HEADER_BYTES, aligned, chain_after,
    header_crc,
};
use crate::event::{
    ContentType, EVENT_DATA_BYTES_MAX, EVENT_METADATA_BYTES_MAX, Epoch, Event, EventId, Sequence,
    Signature, Version,
};
use crate::names::{EVENT_TYPE_BYTES_MAX, EventType, STREAM_NAME_BYTES_MAX, StreamName};

/// Why bytes are not a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RecordError {
    /// The bytes end before the record does.
    #[error("the bytes end within a record: {have} of {needed} are there")]
    Truncated {
        /// Bytes that are there.
        have: usize,
        /// Bytes that the record needs.
        needed: usize,
    },
    /// The header is not what was written; nothing in it is believed.
    #[error("the header's checksum is wrong")]
    HeaderChecksum,
    /// Names, metadata or data are not what was written.
    #[error("the body's checksum is wrong")]
    BodyChecksum,
    /// The checksum is right, yet a field breaks the format: written by something else.
    #[error("the field {field:?} breaks the format: was this written by a newer version?")]
    Field {
        /// Which one.
        field: &'static str,
    },
}

/// A record whose header has been checked, borrowed from a block, a file or a message.
#[derive(Debug, Clone, Copy)]
pub struct RecordView<'a> {
    header: &'a [u8; RECORD_HEADER_BYTES],
    body: &'a [u8],
    stream: usize,
    event_type: usize,
    metadata: usize,
    data: usize,
}

/// Decodes the record at the start of `bytes`; header checksum first, then limits, then the body.
///
/// # Errors
/// [`RecordError`]: these bytes are no record.
pub fn decode(bytes: &[u8]) -> Result<RecordView<'_>, RecordError> {
    let view = RecordView::frame(bytes)?;
    view.check_body()?;
    Ok(view)
}

impl<'a> RecordView<'a> {
    /// Like [`decode`] without the checksum over the body: for those who only walk from record to
    /// record, or look at numbers and the chain.
    ///
    /// # Errors
    /// [`RecordError`]: these bytes do not start with a record.
    pub fn frame(bytes: &'a [u8]) -> Result<Self, RecordError> {
        let truncated = |needed| RecordError::Truncated { have: bytes.len(), needed };
        let (header, rest) = bytes
            .split_first_chunk::<RECORD_HEADER_BYTES>()
            .ok_or_else(|| truncated(RECORD_HEADER_BYTES))?;
        let length = Self::length_in(header)?;
        let sized = |at, max, field| match usize::try_from(u32_at(header, at)) {
            Ok(size) if size <= max => Ok(size),
            _ => Err(RecordError::Field { field }),
        };
        let names = usize::from(u16_at(header, AT_STREAM_LENGTH));
        let types = usize::from(u16_at(header, AT_TYPE_LENGTH));
        if !(1..=STREAM_NAME_BYTES_MAX).contains(&names) {
            return Err(RecordError::Field { field: "stream length" });
        }
        if !(1..=EVENT_TYPE_BYTES_MAX).contains(&types) {
            return Err(RecordError::Field { field: "type length" });
        }
        let metadata = sized(AT_METADATA_LENGTH, EVENT_METADATA_BYTES_MAX, "metadata length")?;
        let data = sized(AT_DATA_LENGTH, EVENT_DATA_BYTES_MAX, "data length")?;
        if aligned(RECORD_HEADER_BYTES + names + types + metadata + data) != length {
            return Err(RecordError::Field { field: "length" });
        }
        let body = rest.get(..length - RECORD_HEADER_BYTES).ok_or_else(|| truncated(length))?;
        let view = Self { header, body, stream: names, event_type: types, metadata, data };
        view.check_fields()?;
        Ok(view)
    }

    /// Sequence and length of the record that starts with these bytes, of which only the header
    /// must be there.
    pub(crate) fn header(bytes: &[u8]) -> Result<(Sequence, usize), RecordError> {
        let truncated = RecordError::Truncated { have: bytes.len(), needed: RECORD_HEADER_BYTES };
        let header = bytes.first_chunk().ok_or(truncated)?;
        Ok((Sequence(u64_at(header, AT_SEQUENCE)), Self::length_in(header)?))
    }

    /// Length of the record with this header, believed only after the header's checksum.
    fn length_in(header: &[u8; RECORD_HEADER_BYTES]) -> Result<usize, RecordError> {
        let length = usize::try_from(u32_at(header, AT_LENGTH)).unwrap_or(0);
        // Zeros are what a preallocated file is full of: spare them the checksum.
        if length < RECORD_HEADER_BYTES + RECORD_ALIGNMENT
            || u32_at(header, AT_HEADER_CRC) != header_crc(header)
        {
            return Err(RecordError::HeaderChecksum);
        }
        Ok(length)
    }

    fn check_fields(&self) -> Result<(), RecordError> {
        let field = |field| Err(RecordError::Field { field });
        if self.header[AT_KIND] != KIND_EVENT {
            return field("kind");
        }
        if self.header[AT_FLAGS] & !(FLAG_ENDS_APPEND | FLAG_SIGNED_BY_STORE) != 0 {
            return field("flags");
        }
        if ContentType::from_number(self.header[AT_CONTENT_TYPE]).is_none() {
            return field("content type");
        }
        if self.header[AT_RESERVED] != 0 {
            return field("reserved");
        }
        Ok(())
    }

    /// Checks the checksum over names, metadata, data and padding.
    ///
    /// # Errors
    /// [`RecordError::BodyChecksum`].
    pub fn check_body(&self) -> Result<(), RecordError> {
        if crc32fast::hash(self.body) == u32_at(self.header, AT_BODY_CRC) {
            Ok(())
        } else {
            Err(RecordError::BodyChecksum)
        }
    }

    /// Bytes of the whole record.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a record is never empty")]
    pub const fn len(&self) -> usize {
        RECORD_HEADER_BYTES + self.body.len()
    }

    /// Place in the partition's log.
    #[must_use]
    pub fn sequence(&self) -> Sequence {
        Sequence(u64_at(self.header, AT_SEQUENCE))
    }

    /// Place in the stream.
    #[must_use]
    pub fn version(&self) -> Version {
        Version(u64_at(self.header, AT_VERSION))
    }

    /// Reign under which it was appended.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        Epoch(u64_at(self.header, AT_EPOCH))
    }

    /// Inclusive: the leader's head when it wrote the record.
    #[must_use]
    pub fn committed_up_to(&self) -> Sequence {
        Sequence(u64_at(self.header, AT_COMMITTED))
    }

    /// Microseconds since 1970.
    #[must_use]
    pub fn time_micros(&self) -> u64 {
        u64_at(self.header, AT_TIME)
    }

    /// Identity of the event.
    #[must_use]
    pub fn id(&self) -> EventId {
        EventId(Uuid::from_bytes(array_at(self.header, AT_ID)))
    }

    /// How the data is to be read.
    #[must_use]
    pub fn content_type(&self) -> ContentType {
        // Checked by `frame`.
        ContentType::from_number(self.header[AT_CONTENT_TYPE]).unwrap_or_default()
    }

    /// Whether this is the last record of its append.
    #[must_use]
    pub fn ends_append(&self) -> bool {
        self.header[AT_FLAGS] & FLAG_ENDS_APPEND != 0
    }

    /// Whether the store had to make the signature.
    #[must_use]
    pub fn signed_by_store(&self) -> bool {
        self.header[AT_FLAGS] & FLAG_SIGNED_BY_STORE != 0
    }

    /// Signature as stored.
    #[must_use]
    pub fn signature(&self) -> Signature {
        Signature(array_at(self.header, AT_SIGNATURE))
    }

    /// Digest of the log up to and including this record.
    #[must_use]
    pub fn chain(&self) -> Chain {
        Chain(array_at(self.header, AT_CHAIN))
    }

    /// Whether the record continues a log whose last record has the chain `previous`.
    #[must_use]
    pub fn continues(&self, previous: Chain) -> bool {
        chain_after(previous, self.header) == self.chain()
    }

    /// Name of the stream.
    #[must_use]
    pub fn stream(&self) -> &'a [u8] {
        self.part(0, self.stream)
    }

    /// Type of the event.
    #[must_use]
    pub fn event_type(&self) -> &'a [u8] {
        self.part(self.stream, self.event_type)
    }

    /// Metadata.
    #[must_use]
    pub fn metadata(&self) -> &'a [u8] {
        self.part(self.stream + self.event_type, self.metadata)
    }

    /// Data.
    #[must_use]
    pub fn data(&self) -> &'a [u8] {
        self.part(self.stream + self.event_type + self.metadata, self.data)
    }

    fn part(&self, at: usize, length: usize) -> &'a [u8] {
        self.body.get(at..at + length).unwrap_or_default()
    }

    /// The event of this record, sharing the memory of `block`, which must start with the record.
    ///
    /// # Errors
    /// [`RecordError::Field`] when a name in it is not one.
    pub fn event_in(&self, block: &Bytes) -> Result<Event, RecordError> {
        let mut at = RECORD_HEADER_BYTES;
        let mut cut = |length| {
            at += length;
            block.slice(at - length..at)
        };
        let (stream, event_type) = (cut(self.stream), cut(self.event_type));
        Ok(Event {
            sequence: self.sequence(),
            stream: StreamName::new(stream).map_err(|_| RecordError::Field { field: "stream" })?,
            version: self.version(),
            epoch: self.epoch(),
            time_micros: self.time_micros(),
            id: self.id(),
            event_type: EventType::new(event_type)
                .map_err(|_| RecordError::Field { field: "type" })?,
            content_type: self.content_type(),
            metadata: cut(self.metadata),
            data: cut(self.data),
            signature: self.signature(),
            signed_by_store: self.signed_by_store(),
            ends_append: self.ends_append(),
        })
    }
}

/// The events of a block of whole records, sharing its memory. Ends after the first error.
#[must_use]
pub fn iterate(records: &Bytes) -> Records {
    Records { rest: records.clone() }
}

/// See [`iterate`].
#[derive(Debug, Clone, Default)]
pub struct Records {
    rest: Bytes,
}

impl Records {
    fn decode_first(&mut self) -> Result<Event, RecordError> {
        let view = decode(&self.rest)?;
        let length = view.len();
        let event = view.event_in(&self.rest)?;
        let _ = self.rest.split_to(length);
        Ok(event)
    }
}

impl Iterator for Records {
    type Item = Result<Event, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let result = self.decode_first();
        if result.is_err() {
            self.rest.clear();
        }
        Some(result)
    }
}

/// The records of a block where they lie, with full checks. Ends after the first error.
pub fn views(mut records: &[u8]) -> impl Iterator<Item = Result<RecordView<'_>, RecordError>> {
    std::iter::from_fn(move || {
        if records.is_empty() {
            return None;
        }
        let view = decode(records);
        let done = view.as_ref().map_or(records.len(), RecordView::len);
        records = records.get(done..).unwrap_or_default();
        Some(view)
    })
}

/// Bytes at a constant place of a header; the compiler removes the checks.
fn array_at<const N: usize>(header: &[u8; RECORD_HEADER_BYTES], at: usize) -> [u8; N] {
    header.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
}

fn u64_at(header: &[u8; RECORD_HEADER_BYTES], at: usize) -> u64 {
    u64::from_le_bytes(array_at(header, at))
}

fn u32_at(header: &[u8; RECORD_HEADER_BYTES], at: usize) -> u32 {
    u32::from_le_bytes(array_at(header, at))
}

fn u16_at(header: &[u8; RECORD_HEADER_BYTES], at: usize) -> u16 {
    u16::from_le_bytes(array_at(header, at))
}
