//! Why a subscription ended.

use std::collections::BTreeMap;

use broker::dialect::Detail;
use broker::error_code::ErrorCode;
use store::event::Sequence;
use store::names::StreamName;
use store::slot::PartitionNumber;
use thiserror::Error;

use crate::error::{Details, LookupError, Refusal};
use crate::position::Position;

/// Why a subscription ended. Being cut off from the store is no reason: a subscription waits.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SubscriptionError {
    /// The checkpoint is not in the log: the log was cut, or is another one.
    #[error(
        "AHEAD_OF_LOG: partition {partition} was read up to {position}, but {}; it now ends at \
         {head}: what was built from it may hold events that no longer exist; rebuild it from \
         the start",
        Parting { cut: *cut, other_lineage: *other_lineage }
    )]
    AheadOfLog {
        /// The partition.
        partition: PartitionNumber,
        /// Where the subscriber stands.
        position: Position,
        /// Where the log stands now.
        head: Position,
        /// Last sequence up to which the log may hold what was read (inclusive).
        cut: Sequence,
        /// Whether the log is of another lineage than the checkpoint.
        other_lineage: bool,
    },
    /// Feed messages are missing, and the subscriber wanted to stop then.
    #[error(
        "partition {partition} misses sequences {from} to {to} of its feed: subscribe again from \
         the checkpoint to have them replayed"
    )]
    Gap {
        /// The partition.
        partition: PartitionNumber,
        /// First missing sequence (inclusive).
        from: Sequence,
        /// Last missing sequence (inclusive).
        to: Sequence,
    },
    /// The store refused the history that is needed.
    #[error("partition {partition}: {refusal}")]
    Refused {
        /// The partition.
        partition: PartitionNumber,
        /// What it said.
        refusal: Refusal,
    },
    /// What the store sent is not what was asked for, or damaged.
    #[error(
        "CORRUPT: history of partition {partition} is damaged: {reason}; run `starlog-store \
         verify` on the store's directory"
    )]
    Corrupt {
        /// The partition.
        partition: PartitionNumber,
        /// What is wrong.
        reason: String,
    },
    /// An event is not what its producer signed.
    #[error(
        "BAD_SIGNATURE: event at sequence {sequence} of partition {partition} is not what was \
         signed: run `starlog-store verify` on the store's directory"
    )]
    BadSignature {
        /// The partition.
        partition: PartitionNumber,
        /// Where the event stands.
        sequence: Sequence,
    },
    /// A partition that the store does not have.
    #[error("the store has {partitions} partitions, so there is no partition {partition}")]
    NoSuchPartition {
        /// The one asked for.
        partition: PartitionNumber,
        /// How many there are.
        partitions: u16,
    },
    /// A filter for a stream, and a partition where it does not live.
    #[error("stream {stream} lives in partition {home}: it has no events in partition {partition}")]
    NotInPartition {
        /// The stream.
        stream: StreamName,
        /// Where it lives.
        home: PartitionNumber,
        /// The one asked for.
        partition: PartitionNumber,
    },
    /// The store could not be looked up.
    #[error("{0}")]
    Lookup(#[from] LookupError),
    /// The operating system refused a socket.
    #[error("a socket could not be made: {0}")]
    Socket(String),
}

impl SubscriptionError {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::AheadOfLog { .. } => ErrorCode::AHEAD_OF_LOG,
            Self::Gap { .. } => ErrorCode::CONDITION_FAILED,
            Self::Refused { refusal, .. } => refusal.code,
            Self::Corrupt { .. } => ErrorCode::CORRUPT,
            Self::BadSignature { .. } => ErrorCode::BAD_SIGNATURE,
            Self::NoSuchPartition { .. } | Self::NotInPartition { .. } => {
                ErrorCode::INVALID_ARGUMENT
            }
            Self::Lookup(error) => error.code(),
            Self::Socket(_) => ErrorCode::INTERNAL,
        }
    }

    /// What the error tells, as data.
    #[must_use]
    pub fn details(&self) -> BTreeMap<String, Detail> {
        let of = |partition: &PartitionNumber| Details::none().number("partition", partition.0);
        match self {
            Self::AheadOfLog { partition, position, head, cut, other_lineage } => of(partition)
                .number("sequence", position.sequence.0)
                .number("epoch", position.epoch.0)
                .number("head", head.sequence.0)
                .number("head_epoch", head.epoch.0)
                .number("cut", cut.0)
                .text("other_lineage", other_lineage)
                .done(),
            Self::Gap { partition, from, to } => {
                of(partition).number("from", from.0).number("to", to.0).done()
            }
            Self::Refused { refusal, .. } => refusal.details.clone(),
            Self::Corrupt { partition, .. } => of(partition).done(),
            Self::BadSignature { partition, sequence } => {
                of(partition).number("sequence", sequence.0).done()
            }
            Self::NoSuchPartition { partition, partitions } => {
                of(partition).number("partitions", *partitions).done()
            }
            Self::NotInPartition { stream, home, partition } => {
                of(partition).text("stream", stream).number("home", home.0).done()
            }
            Self::Lookup(error) => error.details(),
            Self::Socket(_) => BTreeMap::new(),
        }
    }

    /// Whether subscribing again, from the same checkpoint, can help.
    #[must_use]
    pub fn retry(&self) -> bool {
        match self {
            Self::Gap { .. } | Self::Socket(_) => true,
            Self::Lookup(error) => error.retry(),
            Self::Refused { refusal, .. } => refusal.code.retry(),
            _ => false,
        }
    }
}

/// Where a log and what was read of it part.
struct Parting {
    cut: Sequence,
    other_lineage: bool,
}

impl std::fmt::Display for Parting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.other_lineage {
            true => f.write_str("its log is of another lineage"),
            false => write!(f, "its log was cut behind sequence {}", self.cut),
        }
    }
}
