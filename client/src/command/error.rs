//! Why Titanic did not do what it was asked.

use std::collections::BTreeMap;

use broker::dialect::Detail;
use broker::error_code::{ErrorCode, Outcome};
use thiserror::Error;

use super::id::CommandId;
use crate::call::CallError;
use crate::error::Details;

/// Why Titanic did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CommandError {
    /// Something in the request can't be right; nothing was sent.
    #[error("INVALID_ARGUMENT: {0}")]
    InvalidArgument(String),
    /// No answer came.
    #[error("{0}")]
    Call(#[from] CallError),
    /// Nobody knows such a command.
    #[error("CONDITION_FAILED: no command {id} is known: check the id, and which store is asked")]
    Unknown {
        /// The command.
        id: CommandId,
    },
    /// It is over, and its reply is not given out any more.
    #[error("CONDITION_FAILED: command {id} is closed: its reply was to be fetched before")]
    Closed {
        /// The command.
        id: CommandId,
    },
    /// It is not tried any more.
    #[error("CONDITION_FAILED: command {id} is a dead letter ({reason}): requeue or purge it")]
    Dead {
        /// The command.
        id: CommandId,
        /// Why.
        reason: String,
    },
    /// It will not be done, now or later.
    #[error("INVALID_ARGUMENT: {text}")]
    Refused {
        /// What Titanic says.
        text: String,
    },
    /// Titanic could not do it now, or does not know whether it was done.
    #[error("INTERNAL: Titanic says {text:?}: ask again, with the same id, later")]
    Internal {
        /// What Titanic says.
        text: String,
    },
    /// The answer is none that this client knows.
    #[error("UNSUPPORTED: the answer can't be understood ({0}): check the versions of both sides")]
    Malformed(String),
}

impl CommandError {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::InvalidArgument(_) | Self::Refused { .. } => ErrorCode::INVALID_ARGUMENT,
            Self::Call(error) => error.code(),
            Self::Unknown { .. } | Self::Closed { .. } | Self::Dead { .. } => {
                ErrorCode::CONDITION_FAILED
            }
            Self::Internal { .. } => ErrorCode::INTERNAL,
            Self::Malformed(_) => ErrorCode::UNSUPPORTED,
        }
    }

    /// What the error tells, as data.
    #[must_use]
    pub fn details(&self) -> BTreeMap<String, Detail> {
        let none = Details::none();
        match self {
            Self::InvalidArgument(_) | Self::Malformed(_) => none.done(),
            Self::Call(error) => error.details(),
            Self::Unknown { id } => none.text("id", id).text("state", "unknown").done(),
            Self::Closed { id } => none.text("id", id).text("state", "closed").done(),
            Self::Dead { id, reason } => {
                none.text("id", id).text("state", "dead").text("reason", reason).done()
            }
            Self::Refused { text } | Self::Internal { text } => none.text("text", text).done(),
        }
    }

    /// Whether it may have been done all the same.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Call(error) => error.outcome(),
            // It was answered, only not in words that are understood.
            Self::Malformed(_) => Outcome::Unknown,
            _ => self.code().outcome(),
        }
    }

    /// Whether the same request can succeed later. Repeating it does no harm: a command carries
    /// its id, and all else is told or done as often as it is asked.
    #[must_use]
    pub fn retry(&self) -> bool {
        match self {
            Self::Call(error) => error.retry(),
            _ => self.code().retry(),
        }
    }
}
