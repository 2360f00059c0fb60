//! Appends: what the machine wants written, and what the store made of it in the machine's words.

use broker::error_code::{ErrorCode, Outcome};
use broker::net::Queue;
use client::{AppendError, AppendReceipt, ExpectedVersion, StoreHandle};

use super::event_loop::Event;
use crate::{AppendFailure, AppendTicket, Entry};

/// Has an entry appended; one [`Event::Appended`] follows.
///
/// Nothing waits: the client puts what comes close together into one message, and the store writes
/// and syncs it once.
pub(super) fn append(
    store: &StoreHandle,
    queue: &Queue<Event>,
    (ticket, entry, expected): (AppendTicket, &Entry, ExpectedVersion),
) {
    match entry.new_event() {
        Ok(event) => {
            let queue = queue.clone();
            let pending = store.append(entry.stream(), expected, vec![event]);
            pending.on_ready(move |result| {
                let result = result.map(|receipt: AppendReceipt| receipt.last_sequence);
                queue.send(Event::Appended(ticket, result.map_err(|error| judge(&error))));
            });
        }
        Err(error) => {
            let refused = AppendFailure::Refused(error.to_string());
            queue.send(Event::Appended(ticket, Err(refused)));
        }
    }
}

/// What an error means to somebody who may append the same entry again.
fn judge(error: &AppendError) -> AppendFailure {
    match error {
        AppendError::IdReused { .. } => AppendFailure::Reused,
        AppendError::WrongExpectedVersion { .. } => AppendFailure::WrongVersion,
        _ if error.outcome() == Outcome::NotDone && is_for_good(error.code()) => {
            AppendFailure::Refused(error.to_string())
        }
        _ => {
            log::debug!("an append is repeated: {error}");
            AppendFailure::Again
        }
    }
}

/// Whether the same append is refused whenever it comes. The store itself was there when the
/// process started, so its absence is a passing one.
fn is_for_good(code: ErrorCode) -> bool {
    !code.retry() && code != ErrorCode::STORE_NOT_FOUND
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use client::{EventId, Refusal, Version};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn what_may_pass_is_tried_again_and_what_can_not_is_told() {
        let refused = |code| {
            let (message, details) = ("no".to_owned(), std::collections::BTreeMap::new());
            AppendError::Refused(Refusal { code, message, details, retry_after: None })
        };
        let stream = client::command::process_stream();
        let conflict = AppendError::WrongExpectedVersion {
            stream,
            expected: ExpectedVersion::None,
            actual: Some(Version(1)),
        };
        let reused = AppendError::IdReused { ids: vec![EventId(Uuid::nil())] };
        let unknown =
            AppendError::Unknown { waited: Duration::from_secs(1), reason: String::new() };
        let full = AppendError::QueueFull { appends: 1, bytes: 1 };
        let cases = [
            (reused, AppendFailure::Reused),
            (conflict, AppendFailure::WrongVersion),
            (unknown, AppendFailure::Again),
            (full, AppendFailure::Again),
            (refused(ErrorCode::BUSY), AppendFailure::Again),
            (refused(ErrorCode::NO_WORKER), AppendFailure::Again),
            (refused(ErrorCode::STORE_NOT_FOUND), AppendFailure::Again),
            (refused(ErrorCode::DISK_FULL), AppendFailure::Again),
            (refused(ErrorCode::INTERNAL), AppendFailure::Again),
        ];
        for (error, expected) in cases {
            assert_eq!(judge(&error), expected, "{error}");
        }
        for code in [ErrorCode::EVENT_TOO_LARGE, ErrorCode::INVALID_ARGUMENT] {
            assert!(matches!(judge(&refused(code)), AppendFailure::Refused(_)), "{code}");
        }
    }
}
