//! What travels between clients and the store: append messages, replay, feed, and the MessagePack
//! maps of ordinary Majordomo clients.
//!
//! Pure codecs: no socket, no clock, no thread, so that both ends share them. A decoder checks
//! every length against what has really arrived before it allocates, never panics, and cuts
//! [`bytes::Bytes`] out of the message instead of copying. `PROTOCOL.md` has worked examples.
//!
//! All integers are little-endian, except the partition in a feed topic, which is big-endian so
//! that topics sort by partition.
//!
//! An error body is MessagePack that the layer below defines (`broker::dialect`); here it is only
//! carried, as [`Refusal`].

pub mod append;
mod cursor;
pub mod feed;
mod map;
#[cfg(test)]
mod page_tests;
pub mod plain;
pub mod replay;
pub mod status;

use bytes::Bytes;
use thiserror::Error;

use crate::names::NameError;

/// Why a peer's bytes are not a message.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WireError {
    /// The bytes end inside of a field.
    #[error("the message ends inside of its {what}: send it whole")]
    Truncated {
        /// The field.
        what: &'static str,
    },
    /// Bytes are left over.
    #[error("the message has {bytes} bytes too many at its end: send nothing after the last field")]
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// It does not begin as such a message does.
    #[error("these bytes do not begin like {what}: check which socket they were sent to")]
    Magic {
        /// What was expected here.
        what: &'static str,
    },
    /// A version that we don't speak.
    #[error("version {found} of {what} is not spoken here: use version {spoken}")]
    Version {
        /// The message.
        what: &'static str,
        /// Its version.
        found: u8,
        /// Ours.
        spoken: u8,
    },
    /// A number without a meaning in its field.
    #[error("{number} is no known {what}: see store/PROTOCOL.md for the numbers in use")]
    Unknown {
        /// The field.
        what: &'static str,
        /// Its content.
        number: u64,
    },
    /// More of something than allowed.
    #[error("{count} {what} are more than the {max} allowed in one message: send several")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        count: usize,
        /// How many are allowed.
        max: usize,
    },
    /// A name breaks the rules for names.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A MessagePack body that is not the map we expect.
    #[error("the MessagePack map is malformed ({reason}): see store/PROTOCOL.md for its fields")]
    MessagePack {
        /// What the decoder says.
        reason: String,
    },
}

/// A definite or unknown "no" as it stands in a message: an error code and its details.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Number of a `broker::ErrorCode`.
    pub code: u16,
    /// A `broker::dialect::ErrorBody` in MessagePack.
    pub body: Bytes,
}
