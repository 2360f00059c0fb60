//! What the store keeps: events, the numbers that place them, and the names that group them.
//!
//! Everything here is pure. Byte fields are [`Bytes`], so an event cut out of a received message
//! or a block read from disk shares its memory instead of copying it.

use bytes::Bytes;
use sha1::{Digest, Sha1};
use smallvec::SmallVec;
use uuid::Uuid;

use crate::names::{EventType, StreamName};

/// Largest `data` of one event, in bytes.
pub const EVENT_DATA_BYTES_MAX: usize = 1024 * 1024;
/// Largest `metadata` of one event, in bytes.
pub const EVENT_METADATA_BYTES_MAX: usize = 64 * 1024;
/// Most events in one append.
pub const APPEND_EVENTS_MAX: usize = 1000;
/// Most record bytes in one append.
pub const APPEND_BYTES_MAX: usize = 4 * 1024 * 1024;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub u64);

        impl $name {
            /// Before the first one.
            pub const ZERO: Self = Self(0);

            /// The one after this.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// Place in a partition's log: from 1, gapless. 0 stands for "before the first record".
    Sequence
}
number! {
    /// Place in a stream: from 1, gapless. 0 stands for "before the first event".
    Version
}

/// One version for each stream that an append writes to. Nearly always that is one stream, whose
/// version needs no memory of its own.
pub type Versions = SmallVec<[Version; 1]>;

number! {
    /// Number of one leader's reign; it never decreases along a log.
    Epoch
}

/// A place in a log, with the history up to it: equal marks mean equal records up to there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct LogMark {
    /// Sequence of a record; 0 stands for "before the first".
    pub sequence: Sequence,
    /// Epoch of that record; 0 before the first.
    pub epoch: Epoch,
    /// Chain after that record; zeros before the first.
    pub chain: [u8; 16],
}

/// The identity of an event: the key of permanent duplicate detection within its partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(pub Uuid);

impl EventId {
    /// A new id that sorts by time (UUID version 7, RFC 9562).
    #[must_use]
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }

    /// The 16 bytes as they stand in a record.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl std::fmt::Display for EventId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// How `data` is to be read. The store never looks into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum ContentType {
    /// Opaque bytes.
    #[default]
    Bytes = 0,
    /// JSON text (RFC 8259).
    Json = 1,
    /// One MessagePack value.
    MessagePack = 2,
}

impl ContentType {
    /// The byte in a record.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Bytes => 0,
            Self::Json => 1,
            Self::MessagePack => 2,
        }
    }

    /// The content type of a record's byte, if it is one that we know.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Bytes),
            1 => Some(Self::Json),
            2 => Some(Self::MessagePack),
            _ => None,
        }
    }
}

/// The SHA-1 over an event's content that travels with it from producer to consumer.
///
/// It finds corruption in transfer and on disk; it is no defence against an attacker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signature(pub [u8; 20]);

impl Signature {
    /// Signs an event: SHA-1(id ‖ content type ‖ len+stream ‖ len+type ‖ len+metadata ‖ len+data),
    /// with lengths as u32 little-endian.
    #[must_use]
    pub fn of(stream: &StreamName, event: &NewEvent) -> Self {
        Self::of_parts(&SignedParts {
            id: event.id,
            content_type: event.content_type,
            stream: stream.as_bytes(),
            event_type: event.event_type.as_bytes(),
            metadata: &event.metadata,
            data: &event.data,
        })
    }

    /// The same over borrowed parts, for records that are checked where they lie.
    #[must_use]
    pub fn of_parts(parts: &SignedParts<'_>) -> Self {
        let mut sha = Sha1::new();
        sha.update(parts.id.as_bytes());
        sha.update([parts.content_type.number()]);
        for field in [parts.stream, parts.event_type, parts.metadata, parts.data] {
            // No field can be longer than u32: the limits above are checked before signing.
            let length = u32::try_from(field.len()).unwrap_or(u32::MAX);
            sha.update(length.to_le_bytes());
            sha.update(field);
        }
        Self(sha.finalize().into())
    }
}

/// What a [`Signature`] covers.
#[derive(Debug, Clone, Copy)]
pub struct SignedParts<'a> {
    /// Identity of the event.
    pub id: EventId,
    /// How the data is to be read.
    pub content_type: ContentType,
    /// Name of the stream.
    pub stream: &'a [u8],
    /// Type of the event.
    pub event_type: &'a [u8],
    /// Metadata bytes.
    pub metadata: &'a [u8],
    /// Data bytes.
    pub data: &'a [u8],
}

/// An event before it has a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// Identity; a resend carries the same one.
    pub id: EventId,
    /// What happened, e.g. `OrderPlaced`.
    pub event_type: EventType,
    /// How `data` is to be read.
    pub content_type: ContentType,
    /// Facts about the event, by convention a JSON object; may be empty.
    pub metadata: Bytes,
    /// The event itself.
    pub data: Bytes,
    /// The producer's signature; the store makes one, and flags it, where it is absent.
    pub signature: Option<Signature>,
}

impl NewEvent {
    /// An event with a generated id, no metadata and no signature.
    #[must_use]
    pub fn new(event_type: EventType, content_type: ContentType, data: impl Into<Bytes>) -> Self {
        Self {
            id: EventId::generate(),
            event_type,
            content_type,
            metadata: Bytes::new(),
            data: data.into(),
            signature: None,
        }
    }

    /// The same event with another id, for producers that derive ids from their input.
    #[must_use]
    pub fn with_id(mut self, id: EventId) -> Self {
        self.id = id;
        self
    }

    /// The same event with metadata.
    #[must_use]
    pub fn with_metadata(mut self, metadata: impl Into<Bytes>) -> Self {
        self.metadata = metadata.into();
        self
    }
}

/// An event with its place: what readers, subscribers and projections get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Place in the partition's log.
    pub sequence: Sequence,
    /// Stream that it belongs to.
    pub stream: StreamName,
    /// Place in that stream.
    pub version: Version,
    /// Reign under which it was appended.
    pub epoch: Epoch,
    /// When the leader numbered it: microseconds since 1970-01-01 UTC, never going back in a log.
    pub time_micros: u64,
    /// Identity.
    pub id: EventId,
    /// What happened.
    pub event_type: EventType,
    /// How `data` is to be read.
    pub content_type: ContentType,
    /// Facts about the event.
    pub metadata: Bytes,
    /// The event itself.
    pub data: Bytes,
    /// Signature as stored.
    pub signature: Signature,
    /// Whether the store had to make the signature because the producer sent none.
    pub signed_by_store: bool,
    /// Whether this is the last event of its append.
    pub ends_append: bool,
}

impl Event {
    /// Whether the content still is what was signed.
    #[must_use]
    pub fn signature_is_valid(&self) -> bool {
        Signature::of_parts(&SignedParts {
            id: self.id,
            content_type: self.content_type,
            stream: self.stream.as_bytes(),
            event_type: self.event_type.as_bytes(),
            metadata: &self.metadata,
            data: &self.data,
        }) == self.signature
    }
}

/// The condition under which an append to a stream is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExpectedVersion {
    /// No condition.
    Any,
    /// The stream must not exist.
    None,
    /// The stream must exist, at whatever version.
    Exists,
    /// The stream's newest event must have exactly this version.
    Exact(Version),
}

impl ExpectedVersion {
    /// Whether a stream at `actual` (`None` = it does not exist) satisfies the condition.
    #[must_use]
    pub fn accepts(self, actual: Option<Version>) -> bool {
        match self {
            Self::Any => true,
            Self::None => actual.is_none(),
            Self::Exists => actual.is_some(),
            Self::Exact(version) => actual.unwrap_or(Version::ZERO) == version,
        }
    }
}

impl std::fmt::Display for ExpectedVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::None => f.write_str("none"),
            Self::Exists => f.write_str("exists"),
            Self::Exact(version) => version.fmt(f),
        }
    }
}

/// Which way a read goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Direction {
    /// Towards the newest.
    #[default]
    Forward,
    /// Towards the oldest.
    Backward,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expected_version_table() {
        let at = |version| Some(Version(version));
        let rows = [
            (ExpectedVersion::Any, None, true),
            (ExpectedVersion::Any, at(3), true),
            (ExpectedVersion::None, None, true),
            (ExpectedVersion::None, at(1), false),
            (ExpectedVersion::Exists, None, false),
            (ExpectedVersion::Exists, at(1), true),
            (ExpectedVersion::Exact(Version(3)), at(3), true),
            (ExpectedVersion::Exact(Version(3)), at(4), false),
            (ExpectedVersion::Exact(Version(3)), None, false),
            (ExpectedVersion::Exact(Version::ZERO), None, true),
        ];
        for (expected, actual, accepted) in rows {
            assert_eq!(expected.accepts(actual), accepted, "{expected} against {actual:?}");
        }
    }

    #[test]
    fn the_signature_covers_every_field() {
        let stream = StreamName::new("order-1").unwrap();
        let event = NewEvent::new(EventType::new("Placed").unwrap(), ContentType::Json, "{}");
        let signature = Signature::of(&stream, &event);
        let other_stream = StreamName::new("order-2").unwrap();
        assert_ne!(Signature::of(&other_stream, &event), signature);
        let mut changed = event.clone();
        changed.content_type = ContentType::Bytes;
        assert_ne!(Signature::of(&stream, &changed), signature);
        assert_ne!(Signature::of(&stream, &event.clone().with_metadata("{}")), signature);
        assert_ne!(Signature::of(&stream, &event.clone().with_id(EventId::generate())), signature);
    }
}
