//! What is known about an append at its end.

use std::sync::Arc;

use broker::error_code::Outcome;
use store::event::{Epoch, ExpectedVersion, Version};
use store::wire::append::AppendDone;
use uuid::Uuid;

use super::{Message, OutboxOutput, State};
use crate::append::AppendError;
use crate::error::Refusal;

/// How an append ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conclusion {
    /// It is committed.
    Committed {
        /// Where it stands.
        done: AppendDone,
        /// Epoch that answered.
        epoch: Epoch,
        /// Nodes on which it is durable.
        durable_on: Arc<[Uuid]>,
    },
    /// It is not in the log and never will be.
    NotDone(AppendError),
    /// It was never sent.
    NeverLeft,
    /// It may be in the log, or get there.
    Unknown {
        /// What is known.
        reason: String,
    },
}

/// Judges an answered append. `doubt`: an earlier attempt may still be delivered.
pub(super) fn conclude_result(
    result: Result<(AppendDone, Epoch, Arc<[Uuid]>), AppendError>,
    doubt: bool,
    conflicts_last: bool,
) -> Conclusion {
    match result {
        Ok((done, epoch, durable_on)) => Conclusion::Committed { done, epoch, durable_on },
        Err(error) if error.code().outcome() == Outcome::Unknown => {
            Conclusion::Unknown { reason: error.to_string() }
        }
        Err(error) if doubt && !(conflicts_last && can_never_succeed(&error)) => {
            Conclusion::Unknown {
                reason: format!("an earlier attempt got no answer, then {error}"),
            }
        }
        Err(error) => Conclusion::NotDone(error),
    }
}

/// Whether the conflict rules out every attempt, also one that is still on its way: versions
/// never go back, and had an attempt been done its ids would have been found before the conflict.
fn can_never_succeed(error: &AppendError) -> bool {
    let AppendError::WrongExpectedVersion { expected, actual: Some(actual), .. } = error else {
        return false;
    };
    match expected {
        ExpectedVersion::None => *actual > Version::ZERO,
        ExpectedVersion::Exact(version) => actual > version,
        ExpectedVersion::Any | ExpectedVersion::Exists => false,
    }
}

/// Ends a message that was refused as a whole, for good.
pub(super) fn conclude_refused<T>(
    message: Message<T>,
    refusal: &Refusal,
    outputs: &mut Vec<OutboxOutput<T>>,
) {
    let unknown = message.doubt || refusal.code.outcome() == Outcome::Unknown;
    for append in message.appends {
        let conclusion = if unknown {
            Conclusion::Unknown { reason: refusal.to_string() }
        } else {
            Conclusion::NotDone(AppendError::Refused(refusal.clone()))
        };
        outputs.push(OutboxOutput::Concluded { append, conclusion });
    }
}

/// Ends a message whose time is over.
pub(super) fn conclude_expired<T>(message: Message<T>, outputs: &mut Vec<OutboxOutput<T>>) {
    let unanswered = message.doubt || message.state != State::ToSend;
    for append in message.appends {
        let conclusion = match &message.refusal {
            _ if !message.sent => Conclusion::NeverLeft,
            Some(refusal) if unanswered => Conclusion::Unknown { reason: refusal.to_string() },
            Some(refusal) => Conclusion::NotDone(AppendError::Refused(refusal.clone())),
            None => Conclusion::Unknown { reason: "no answer came".to_owned() },
        };
        outputs.push(OutboxOutput::Concluded { append, conclusion });
    }
}

#[cfg(test)]
mod tests {
    use broker::error_code::ErrorCode;
    use store::event::{Sequence, Versions};
    use store::names::StreamName;

    use super::*;
    use crate::append::Durability;

    fn conflict(expected: ExpectedVersion, actual: Option<u64>) -> AppendError {
        let stream = StreamName::try_from("order-1").unwrap();
        AppendError::WrongExpectedVersion { stream, expected, actual: actual.map(Version) }
    }

    #[test]
    fn only_success_or_a_lasting_conflict_end_a_doubt() {
        let exact = |version| ExpectedVersion::Exact(Version(version));
        let refused = |code| AppendError::Refused(Refusal::new(code, "no"));
        // error, in doubt, conflicts last, definitely not done
        let rows = [
            (conflict(exact(3), Some(5)), false, false, true),
            (conflict(exact(3), Some(5)), true, true, true),
            (conflict(exact(3), Some(5)), true, false, false),
            (conflict(exact(3), Some(2)), true, true, false),
            (conflict(exact(3), None), true, true, false),
            (conflict(exact(3), Some(2)), false, true, true),
            (conflict(ExpectedVersion::None, Some(1)), true, true, true),
            (conflict(ExpectedVersion::Exists, None), true, true, false),
            (refused(ErrorCode::BUSY), false, true, true),
            (refused(ErrorCode::BUSY), true, true, false),
            (refused(ErrorCode::POISONED), false, true, false),
            (AppendError::IdReused { ids: vec![] }, true, true, false),
        ];
        for (error, doubt, conflicts_last, not_done) in rows {
            let conclusion = conclude_result(Err(error.clone()), doubt, conflicts_last);
            assert_eq!(
                matches!(conclusion, Conclusion::NotDone(_)),
                not_done,
                "{error} doubt {doubt} lasting {conflicts_last}: {conclusion:?}"
            );
        }
    }

    #[test]
    fn success_ends_every_doubt() {
        let done = AppendDone {
            first: Sequence(4),
            last: Sequence(5),
            versions: Versions::from([Version(2)]),
            durability: Durability::Local,
            duplicate: true,
        };
        let conclusion = conclude_result(Ok((done, Epoch(1), Arc::default())), true, false);
        assert!(matches!(conclusion, Conclusion::Committed { .. }));
    }
}
