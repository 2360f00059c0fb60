//! What the engine says, in the words of the wire: results, error codes, details.

use std::time::Duration;

use broker::dialect::{Detail, ErrorBody, encode_body};
use broker::error_code::ErrorCode;
use bytes::Bytes;
use uuid::Uuid;

use super::reign::ReignState;
use crate::wire::append::{AppendDone, AppendReply, AppendResult};
use crate::wire::plain::{PlainAppended, PlainDetail, PlainError, PlainFailure};
use crate::wire::{Refusal, WireError};
use crate::{AppendError, Durability, IndexError, ReadError, Receipt};

/// How long a client should wait after BUSY.
const RETRY_AFTER: Duration = Duration::from_millis(50);

/// The answer to one request, ready to be sent; cloning it copies nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The error, if it is one; the body then is an [`ErrorBody`].
    pub code: Option<ErrorCode>,
    /// With an error: when to try again.
    pub retry_after: Duration,
    /// The one body frame.
    pub body: Bytes,
}

impl Answer {
    /// A positive answer.
    pub const fn done(body: Bytes) -> Self {
        Self { code: None, retry_after: Duration::ZERO, body }
    }

    /// The refusal of a whole message.
    pub(super) fn failed(failure: &Failure) -> Self {
        let busy = failure.code == ErrorCode::BUSY;
        Self {
            code: Some(failure.code),
            retry_after: if busy { RETRY_AFTER } else { Duration::ZERO },
            body: encode_body(&failure.body),
        }
    }

    /// The refusal of a whole message for a reason that may last.
    pub(super) fn retry_later(failure: &Failure, retry_after: Duration) -> Self {
        Self { retry_after, ..Self::failed(failure) }
    }

    /// How much it weighs.
    pub fn bytes(&self) -> usize {
        self.body.len()
    }
}

/// An error code with its sentence and details.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) code: ErrorCode,
    pub(super) body: ErrorBody,
}

impl Failure {
    pub(super) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, body: ErrorBody::new(message) }
    }

    #[must_use]
    pub(super) fn number(mut self, name: &str, value: u64) -> Self {
        self.body = self.body.with(name, Detail::Number(value));
        self
    }

    #[must_use]
    pub(super) fn text(mut self, name: &str, value: impl ToString) -> Self {
        self.body = self.body.with(name, Detail::Text(value.to_string()));
        self
    }

    /// As it stands in a result or in the replay protocol.
    pub(super) fn refusal(&self) -> Refusal {
        Refusal { code: self.code.number(), body: encode_body(&self.body) }
    }

    /// As an ordinary client gets it.
    pub(super) fn plain(&self) -> Bytes {
        let details = self.body.details.iter().map(|(name, detail)| {
            let detail = match detail {
                Detail::Number(number) => PlainDetail::Number(*number),
                Detail::Text(text) => PlainDetail::Text(text.clone()),
            };
            (name.clone(), detail)
        });
        let failure = PlainFailure {
            error: PlainError {
                code: self.code.as_str().to_owned(),
                message: self.body.message.clone(),
                retry: self.code.retry(),
                details: details.collect(),
            },
        };
        // Plain maps into memory: the encoder has nothing to refuse.
        failure.encode().map(Bytes::from).unwrap_or_default()
    }
}

impl From<&WireError> for Failure {
    fn from(error: &WireError) -> Self {
        let code = match error {
            WireError::TooMany { .. } => ErrorCode::BATCH_TOO_LARGE,
            WireError::Version { .. } => ErrorCode::UNSUPPORTED,
            _ => ErrorCode::INVALID_ARGUMENT,
        };
        Self::new(code, error.to_string())
    }
}

impl From<&AppendError> for Failure {
    fn from(error: &AppendError) -> Self {
        let failure = |code| Self::new(code, error.to_string());
        match error {
            AppendError::WrongExpectedVersion { stream, expected, actual } => {
                let failure = failure(ErrorCode::WRONG_EXPECTED_VERSION)
                    .text("stream", stream)
                    .text("expected", expected);
                match actual {
                    Some(actual) => failure.number("actual", actual.0),
                    None => failure,
                }
            }
            AppendError::IdReused { ids } => {
                let ids = ids.iter().map(ToString::to_string).collect::<Vec<_>>();
                failure(ErrorCode::ID_REUSED).text("ids", ids.join(","))
            }
            AppendError::InvalidArgument { .. } => failure(ErrorCode::INVALID_ARGUMENT),
            AppendError::EventTooLarge { field, bytes, bytes_max } => {
                failure(ErrorCode::EVENT_TOO_LARGE)
                    .text("field", field)
                    .number("bytes", number(*bytes))
                    .number("max", number(*bytes_max))
            }
            AppendError::BatchTooLarge { what, value, max } => failure(ErrorCode::BATCH_TOO_LARGE)
                .text("what", what)
                .number("count", number(*value))
                .number("max", number(*max)),
            AppendError::CrossPartition { stream, partition } => {
                failure(ErrorCode::CROSS_PARTITION)
                    .text("stream", stream)
                    .number("partition", u64::from(partition.0))
            }
            AppendError::BadSignature { id } => failure(ErrorCode::BAD_SIGNATURE).text("id", id),
            AppendError::NotHosted { .. } | AppendError::NotLeader | AppendError::Closed => {
                failure(ErrorCode::NOT_LEADER)
            }
            AppendError::LogUnreadable { .. } => {
                log::error!("an append was refused: {error}");
                let sentence = "the log can't be read where this append must be compared: the \
                                store's log says where, and what to do";
                Self::new(ErrorCode::CORRUPT, sentence)
            }
            AppendError::DiskFull => failure(ErrorCode::DISK_FULL),
            AppendError::Busy => failure(ErrorCode::BUSY),
            AppendError::Poisoned => failure(ErrorCode::POISONED),
            AppendError::Unknown => failure(ErrorCode::TIMEOUT_UNKNOWN),
        }
    }
}

impl From<&ReadError> for Failure {
    /// Paths are for the log and the operator, not for remote callers.
    fn from(error: &ReadError) -> Self {
        let failure = |code| Self::new(code, error.to_string());
        match error {
            ReadError::BeforeFirst { first } => {
                failure(ErrorCode::INVALID_ARGUMENT).number("first", first.0)
            }
            ReadError::StreamNotFound { stream } => {
                failure(ErrorCode::STREAM_NOT_FOUND).text("stream", stream)
            }
            ReadError::NotHosted { .. } | ReadError::Closed => failure(ErrorCode::NOT_LEADER),
            ReadError::Corrupt { sequence, .. } => {
                log::error!("a read failed: {error}");
                let sentence = "a record is damaged: the store's log says where, and what to do";
                Self::new(ErrorCode::CORRUPT, sentence).number("sequence", sequence.0)
            }
            ReadError::Undecodable { .. } => {
                log::error!("a read failed: {error}");
                failure(ErrorCode::CORRUPT)
            }
            ReadError::Index(IndexError::Damaged { .. }) => Self::new(
                ErrorCode::INDEX_BEHIND,
                "the index is being made anew from the log: try again",
            ),
            ReadError::Index(_) | ReadError::Io { .. } => {
                log::error!("a read failed: {error}");
                Self::new(ErrorCode::IO, "the store's disk failed this read: see the store's log")
            }
        }
    }
}

/// The nodes that have synced every one of these. At level `memory` no disk has it yet.
fn durable_on<'a>(state: &ReignState, receipts: impl Iterator<Item = &'a Receipt>) -> Vec<Uuid> {
    let (mut synced, mut copied) = (true, None);
    for receipt in receipts {
        synced &= receipt.durability >= Durability::Local;
        copied = Some(copied.unwrap_or(true) && receipt.copied);
    }
    match (synced, copied) {
        (false, _) => Vec::new(),
        (true, Some(true)) => state.members.clone(),
        (true, _) => vec![state.incarnation],
    }
}

/// The body of the reply to a message.
pub(super) fn append_reply(state: &ReignState, results: &[Result<Receipt, AppendError>]) -> Answer {
    let receipts = results.iter().flatten();
    let durable_on = durable_on(state, receipts);
    let results = results.iter().map(|result| match result {
        Ok(receipt) => AppendResult::Done(AppendDone {
            first: receipt.first,
            last: receipt.last,
            versions: receipt.versions.clone(),
            durability: receipt.durability,
            duplicate: receipt.duplicate,
        }),
        Err(error) => AppendResult::Refused(Failure::from(error).refusal()),
    });
    let results = results.collect::<Vec<_>>();
    match (AppendReply { durable_on, results }).encode() {
        Ok(body) => Answer::done(Bytes::from(body)),
        Err(error) => Answer::failed(&Failure::new(ErrorCode::INTERNAL, error.to_string())),
    }
}

/// The map that an ordinary client gets for its append.
pub(super) fn plain_appended(
    partition: u16,
    state: &ReignState,
    result: Option<&Result<Receipt, AppendError>>,
) -> Bytes {
    match result {
        Some(Ok(receipt)) => {
            let durable_on = durable_on(state, std::iter::once(receipt));
            let appended = PlainAppended {
                partition,
                first_sequence: receipt.first.0,
                last_sequence: receipt.last.0,
                version: receipt.versions.first().map_or(0, |version| version.0),
                epoch: receipt.epoch.0,
                durability: receipt.durability.as_str().to_owned(),
                durable_on: durable_on.iter().map(ToString::to_string).collect(),
                duplicate: receipt.duplicate,
            };
            appended.encode().map(Bytes::from).unwrap_or_default()
        }
        Some(Err(error)) => Failure::from(error).plain(),
        None => Failure::from(&AppendError::Unknown).plain(),
    }
}

fn number(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}
