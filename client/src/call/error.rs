//! Why a call has no reply.

use std::collections::BTreeMap;
use std::time::Duration;

use broker::dialect::Detail;
use broker::error_code::{ErrorCode, Outcome};
use thiserror::Error;

use crate::error::{Details, Refusal, Unavailable};

/// Why a call has no reply, and whether it may have been carried out all the same.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CallError {
    /// Something in the call can't be right.
    #[error("INVALID_ARGUMENT: {0}")]
    InvalidArgument(String),
    /// This client has too much waiting already; nothing was queued.
    #[error("BUSY: {requests} requests with {bytes} bytes wait in this client: wait for some")]
    QueueFull {
        /// Requests that wait.
        requests: usize,
        /// Their bytes.
        bytes: usize,
    },
    /// No broker could be reached, and nothing left this process.
    #[error("NO_WORKER: nothing was sent, {0}")]
    Unavailable(Unavailable),
    /// The broker or the worker refused, the last time like this.
    #[error("{0}")]
    Refused(Refusal),
    /// Whether it was carried out is not known.
    #[error(
        "TIMEOUT_UNKNOWN: whether this call was carried out is not known after {waited:.1?} \
         ({reason}): ask the service, or call again if that does no harm"
    )]
    Unknown {
        /// How long was waited.
        waited: Duration,
        /// What is known.
        reason: String,
    },
}

impl CallError {
    /// Nobody is there any more who could say what became of it.
    pub(crate) fn abandoned() -> Self {
        let reason = "the client's thread ended".to_owned();
        Self::Unknown { waited: Duration::ZERO, reason }
    }

    /// The stable code.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::InvalidArgument(_) => ErrorCode::INVALID_ARGUMENT,
            Self::QueueFull { .. } => ErrorCode::BUSY,
            Self::Unavailable(_) => ErrorCode::NO_WORKER,
            Self::Refused(refusal) => refusal.code,
            Self::Unknown { .. } => ErrorCode::TIMEOUT_UNKNOWN,
        }
    }

    /// What the error tells, as data.
    #[must_use]
    pub fn details(&self) -> BTreeMap<String, Detail> {
        let none = Details::none();
        match self {
            Self::InvalidArgument(_) => none.done(),
            Self::QueueFull { requests, bytes } => {
                none.number("requests", *requests).number("bytes", *bytes).done()
            }
            Self::Unavailable(unavailable) => unavailable.details(),
            Self::Refused(refusal) => refusal.details.clone(),
            Self::Unknown { waited, reason } => {
                none.number("waited_ms", waited.as_millis()).text("reason", reason).done()
            }
        }
    }

    /// Whether the call may have been carried out.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.code().outcome()
    }

    /// Whether the same call can succeed later.
    #[must_use]
    pub fn retry(&self) -> bool {
        self.code().retry()
    }
}
