//! Why a read ended before its end.

use std::collections::BTreeMap;
use std::time::Duration;

use broker::dialect::Detail;
use broker::error_code::{ErrorCode, Outcome};
use store::event::Sequence;
use store::slot::PartitionNumber;
use thiserror::Error;

use crate::error::{Details, LookupError, Refusal};

/// Why a read ended before its end.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReadError {
    /// A stream name or a range that can't be.
    #[error("INVALID_ARGUMENT: {0}")]
    InvalidArgument(String),
    /// The store could not be looked up.
    #[error("{0}")]
    Lookup(#[from] LookupError),
    /// No member serves the partition, or none answers.
    #[error(
        "NO_WORKER: partition {partition} of {store} gave no answer within {waited:.1?}{}: check \
         with `starlog status` that its store runs",
        endpoint.as_ref().map(|endpoint| format!(" at {endpoint}")).unwrap_or_default()
    )]
    Unavailable {
        /// The store.
        store: String,
        /// The partition.
        partition: PartitionNumber,
        /// Where it was asked last, if anywhere.
        endpoint: Option<String>,
        /// For how long.
        waited: Duration,
    },
    /// The store refused.
    #[error("{0}")]
    Refused(Refusal),
    /// Another leader took over in the middle of the read, and it lacks what was read already.
    #[error(
        "EPOCH_CHANGED: partition {partition} of {store} has another leader since this read began, \
         which lacks some of what was read: read again from the start"
    )]
    EpochChanged {
        /// The store.
        store: String,
        /// The partition.
        partition: PartitionNumber,
    },
    /// What arrived is not what was asked for, or damaged.
    #[error(
        "CORRUPT: what partition {partition} sent is not what was asked for: {reason}; run \
         `starlog-store verify` on the store's directory"
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
}

impl ReadError {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::InvalidArgument(_) => ErrorCode::INVALID_ARGUMENT,
            Self::Lookup(error) => error.code(),
            Self::Unavailable { .. } => ErrorCode::NO_WORKER,
            Self::Refused(refusal) => refusal.code,
            Self::EpochChanged { .. } => ErrorCode::EPOCH_CHANGED,
            Self::Corrupt { .. } => ErrorCode::CORRUPT,
            Self::BadSignature { .. } => ErrorCode::BAD_SIGNATURE,
        }
    }

    /// What the error tells, as data.
    #[must_use]
    pub fn details(&self) -> BTreeMap<String, Detail> {
        let none = Details::none();
        match self {
            Self::InvalidArgument(_) => none.done(),
            Self::Lookup(error) => error.details(),
            Self::Unavailable { store, partition, endpoint, waited } => {
                let details = none.text("store", store).number("partition", partition.0);
                let details = details.number("waited_ms", waited.as_millis());
                endpoint.iter().fold(details, |d, endpoint| d.text("endpoint", endpoint)).done()
            }
            Self::Refused(refusal) => refusal.details.clone(),
            Self::EpochChanged { store, partition } => {
                none.text("store", store).number("partition", partition.0).done()
            }
            Self::Corrupt { partition, .. } => none.number("partition", partition.0).done(),
            Self::BadSignature { partition, sequence } => {
                none.number("partition", partition.0).number("sequence", sequence.0).done()
            }
        }
    }

    /// A read changes nothing, so it never is in doubt.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        Outcome::NotDone
    }

    /// Whether the same read can succeed later.
    #[must_use]
    pub fn retry(&self) -> bool {
        match self {
            Self::Unavailable { .. } => true,
            Self::Lookup(error) => error.retry(),
            Self::Refused(refusal) => refusal.code.retry(),
            _ => false,
        }
    }
}
