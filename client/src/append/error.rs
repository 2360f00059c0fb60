//! Why an append was not acknowledged.

use std::collections::BTreeMap;
use std::time::Duration;

use broker::dialect::Detail;
use broker::error_code::{ErrorCode, Outcome};
use store::event::{EventId, ExpectedVersion, Version};
use store::names::StreamName;
use store::slot::PartitionNumber;
use thiserror::Error;

use crate::error::{Details, LookupError, Refusal, Unavailable};

/// Why an append was not acknowledged, and whether it may have happened all the same.
///
/// [`AppendError::outcome`] is the question to ask first: after [`Outcome::NotDone`] nothing was
/// or will be written; after [`Outcome::Unknown`] only the same append with the same event ids
/// can tell (it then returns the original sequences).
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AppendError {
    /// Somebody else was faster.
    #[error(
        "WRONG_EXPECTED_VERSION: stream {stream} is at {}, expected was {expected}: read the \
         stream again and decide anew",
        Actual(*actual)
    )]
    WrongExpectedVersion {
        /// The stream whose condition failed.
        stream: StreamName,
        /// The condition.
        expected: ExpectedVersion,
        /// Its newest version; `None` if there is no such stream.
        actual: Option<Version>,
    },
    /// The streams do not live together.
    #[error(
        "CROSS_PARTITION: the streams live in different partitions ({}): put the same {{key}} \
         into the names of streams that must be appended together",
        list(streams, |(stream, partition)| format!("{stream} in {partition}"))
    )]
    CrossPartition {
        /// Each stream with its partition.
        streams: Vec<(StreamName, PartitionNumber)>,
    },
    /// One event is larger than a store takes.
    #[error("EVENT_TOO_LARGE: {field} of event {id} has {bytes} bytes, at most {max} are taken")]
    EventTooLarge {
        /// The event.
        id: EventId,
        /// `data` or `metadata`.
        field: &'static str,
        /// Its size.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// The append is larger than a store takes.
    #[error("BATCH_TOO_LARGE: {count} {what} in one append, at most {max} are taken: split it")]
    BatchTooLarge {
        /// `events` or `bytes`.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// The limit.
        max: usize,
    },
    /// Something in the append can't be right, e.g. a bad name or an id twice.
    #[error("INVALID_ARGUMENT: {0}")]
    InvalidArgument(String),
    /// Ids of this append are in the log as parts of something else.
    #[error(
        "ID_REUSED: known with other content: {}: give new events new ids",
        list(ids, ToString::to_string)
    )]
    IdReused {
        /// The ids.
        ids: Vec<EventId>,
    },
    /// This client has too much waiting already; nothing was queued.
    #[error("BUSY: {appends} appends with {bytes} bytes wait in this client: wait for some")]
    QueueFull {
        /// Appends that wait.
        appends: usize,
        /// Their bytes.
        bytes: usize,
    },
    /// Nobody could be reached, and nothing left this process.
    #[error("NO_WORKER: nothing was sent, {0}")]
    Unavailable(Unavailable),
    /// Every attempt was refused, the last one like this.
    #[error("{0}")]
    Refused(Refusal),
    /// Whether it happened is not known.
    #[error(
        "TIMEOUT_UNKNOWN: whether this append happened is not known after {waited:.1?} ({reason}): \
         append the same events with the same ids again"
    )]
    Unknown {
        /// How long was waited.
        waited: Duration,
        /// What is known.
        reason: String,
    },
    /// The store could not be looked up, so nothing was sent.
    #[error("{0}")]
    Lookup(#[from] LookupError),
}

impl AppendError {
    /// Nobody is there any more who could say what became of it.
    pub(crate) fn abandoned() -> Self {
        let reason = "the client's thread ended".to_owned();
        Self::Unknown { waited: Duration::ZERO, reason }
    }

    /// The stable code.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::WrongExpectedVersion { .. } => ErrorCode::WRONG_EXPECTED_VERSION,
            Self::CrossPartition { .. } => ErrorCode::CROSS_PARTITION,
            Self::EventTooLarge { .. } => ErrorCode::EVENT_TOO_LARGE,
            Self::BatchTooLarge { .. } => ErrorCode::BATCH_TOO_LARGE,
            Self::InvalidArgument(_) => ErrorCode::INVALID_ARGUMENT,
            Self::IdReused { .. } => ErrorCode::ID_REUSED,
            Self::QueueFull { .. } => ErrorCode::BUSY,
            Self::Unavailable(_) => ErrorCode::NO_WORKER,
            Self::Refused(refusal) => refusal.code,
            Self::Unknown { .. } => ErrorCode::TIMEOUT_UNKNOWN,
            Self::Lookup(error) => error.code(),
        }
    }

    /// What the error tells, as data.
    #[must_use]
    pub fn details(&self) -> BTreeMap<String, Detail> {
        let none = Details::none();
        match self {
            Self::WrongExpectedVersion { stream, expected, actual } => {
                let details = none.text("stream", stream);
                let details = match expected {
                    ExpectedVersion::Exact(version) => details.number("expected", version.0),
                    word => details.text("expected", word),
                };
                actual.iter().fold(details, |d, actual| d.number("actual", actual.0)).done()
            }
            Self::CrossPartition { streams } => {
                let place = |(stream, partition): &(_, _)| format!("{stream} in {partition}");
                none.text("streams", list(streams, place)).done()
            }
            Self::EventTooLarge { id, field, bytes, max } => {
                let details = none.text("id", id).text("field", field);
                details.number("size", *bytes).number("max", *max).done()
            }
            Self::BatchTooLarge { what, count, max } => {
                none.text("field", what).number("size", *count).number("max", *max).done()
            }
            Self::InvalidArgument(_) => none.done(),
            Self::IdReused { ids } => none.text("ids", list(ids, ToString::to_string)).done(),
            Self::QueueFull { appends, bytes } => {
                none.number("appends", *appends).number("bytes", *bytes).done()
            }
            Self::Unavailable(unavailable) => unavailable.details(),
            Self::Refused(refusal) => refusal.details.clone(),
            Self::Unknown { waited, reason } => {
                none.number("waited_ms", waited.as_millis()).text("reason", reason).done()
            }
            Self::Lookup(error) => error.details(),
        }
    }

    /// Whether the append may have happened.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Unknown { .. } => Outcome::Unknown,
            // `Refused` is built only when every attempt was refused definitely.
            _ => Outcome::NotDone,
        }
    }

    /// Whether the same append, with the same ids, can succeed later.
    #[must_use]
    pub fn retry(&self) -> bool {
        match self {
            Self::QueueFull { .. } | Self::Unavailable(_) | Self::Unknown { .. } => true,
            Self::Lookup(error) => error.retry(),
            _ => self.code().retry(),
        }
    }
}

fn list<T>(items: &[T], text: impl Fn(&T) -> String) -> String {
    items.iter().map(text).collect::<Vec<_>>().join(", ")
}

struct Actual(Option<Version>);

impl std::fmt::Display for Actual {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(version) => write!(f, "version {version}"),
            None => f.write_str("no version (it does not exist)"),
        }
    }
}
