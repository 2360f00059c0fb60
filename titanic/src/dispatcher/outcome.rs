//! What the answer of a service means for the attempt.

use std::time::Duration;

use broker::error_code::ErrorCode;
use bytes::Bytes;
use client::command::Body;
use client::command::worker::Verdict;

use crate::protocol::CallFailure;

/// First frame of a broker's error for peers that know no errors, see `broker/PROTOCOL.md` §1.3.
const ERROR_FRAME: &[u8] = b"#starlog-error";

/// What came of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Done.
    Replied(Body),
    /// It reached no worker: the same attempt can be sent again.
    NotSent(NotSent),
    /// It may have been carried out, or was refused: the next attempt, after so long or after the
    /// usual pause.
    Failed { reason: String, after: Option<Duration> },
    /// No attempt is going to succeed.
    Hopeless { reason: String },
}

/// Why a request reached no worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotSent {
    /// Nobody offers the service there.
    NobodyThere,
    /// There was no room, or no time.
    NotNow,
}

/// Judges an answer. `is_aware`: it comes from a worker of `NAME+titanic`, which says a status.
pub(crate) fn judge(result: Result<Vec<Bytes>, CallFailure>, is_aware: bool) -> Outcome {
    let frames = match result {
        Ok(frames) => frames,
        Err(failure) => return judge_failure(failure),
    };
    if let [first, rest @ ..] = frames.as_slice()
        && first == ERROR_FRAME
    {
        // Somebody had the request and sends this, so it is spent.
        let text = rest.first().map(|text| String::from_utf8_lossy(text).into_owned());
        return Outcome::Failed { reason: text.unwrap_or_default(), after: None };
    }
    if !is_aware {
        return match Body::new(frames) {
            Ok(body) => Outcome::Replied(body),
            Err(error) => too_large(&error),
        };
    }
    match Verdict::decode(frames) {
        Ok(Verdict::Done(body)) => Outcome::Replied(body),
        Ok(Verdict::Later { retry_after, text }) => {
            Outcome::Failed { reason: text, after: Some(retry_after) }
        }
        Ok(Verdict::Never { reason }) => Outcome::Hopeless { reason },
        Err(client::command::worker::WorkerReplyError::Body(error)) => too_large(&error),
        Err(error) => Outcome::Failed { reason: error.to_string(), after: None },
    }
}

/// A worker that replies too much does so every time.
fn too_large(error: &dyn std::fmt::Display) -> Outcome {
    Outcome::Hopeless { reason: format!("its reply cannot be kept: {error}") }
}

fn judge_failure(CallFailure { code, text }: CallFailure) -> Outcome {
    match code {
        ErrorCode::NO_WORKER | ErrorCode::SERVICE_NOT_FOUND => {
            Outcome::NotSent(NotSent::NobodyThere)
        }
        ErrorCode::EXPIRED | ErrorCode::BUSY => Outcome::NotSent(NotSent::NotNow),
        _ => Outcome::Failed { reason: format!("{} {text}", code.as_str()), after: None },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(texts: &[&str]) -> Vec<Bytes> {
        texts.iter().map(|text| Bytes::copy_from_slice(text.as_bytes())).collect()
    }

    fn replied(texts: &[&str]) -> Outcome {
        Outcome::Replied(Body::new(frames(texts)).unwrap())
    }

    fn failed(reason: &str) -> Outcome {
        Outcome::Failed { reason: reason.to_owned(), after: None }
    }

    #[test]
    fn every_failure_says_whether_the_attempt_is_spent() {
        for code in ErrorCode::ALL {
            let failure = CallFailure { code: *code, text: "why".to_owned() };
            let outcome = judge(Err(failure), false);
            let expected = match code {
                ErrorCode::NO_WORKER | ErrorCode::SERVICE_NOT_FOUND => {
                    Outcome::NotSent(NotSent::NobodyThere)
                }
                ErrorCode::EXPIRED | ErrorCode::BUSY => Outcome::NotSent(NotSent::NotNow),
                other => failed(&format!("{} why", other.as_str())),
            };
            assert_eq!(outcome, expected);
        }
    }

    #[test]
    fn a_plain_worker_replies_with_anything() {
        for texts in [&[][..], &["200"], &["", "", "x"], &["410 never"]] {
            assert_eq!(judge(Ok(frames(texts)), false), replied(texts));
        }
        let error = frames(&["#starlog-error", "WORKER_LOST thrice"]);
        assert_eq!(judge(Ok(error), false), failed("WORKER_LOST thrice"));
        let error = frames(&["#starlog-error", "NO_WORKER says the worker"]);
        assert_eq!(judge(Ok(error), false), failed("NO_WORKER says the worker"));
        assert_eq!(judge(Ok(frames(&["#starlog-error"])), true), failed(""));
    }

    #[test]
    fn an_aware_worker_says_a_status() {
        assert_eq!(judge(Ok(frames(&["200", "a", ""])), true), replied(&["a", ""]));
        assert_eq!(judge(Ok(frames(&["200"])), true), replied(&[]));
        let never = judge(Ok(frames(&["410 no such account"])), true);
        assert_eq!(never, Outcome::Hopeless { reason: "no such account".to_owned() });
        let later = judge(Ok(frames(&["503 1500 at night"])), true);
        let after = Some(Duration::from_millis(1500));
        assert_eq!(later, Outcome::Failed { reason: "at night".to_owned(), after });
        for wrong in [&[][..], &["hello"], &["503"], &["999"]] {
            let outcome = judge(Ok(frames(wrong)), true);
            assert!(matches!(outcome, Outcome::Failed { after: None, .. }), "{outcome:?}");
        }
    }

    #[test]
    fn a_reply_that_cannot_be_kept_ends_it() {
        let large = vec![Bytes::from(vec![0; client::command::BODY_BYTES_MAX])];
        assert!(matches!(judge(Ok(large), false), Outcome::Hopeless { .. }));
        let large = vec![Bytes::from("200"), Bytes::from(vec![0; client::command::BODY_BYTES_MAX])];
        assert!(matches!(judge(Ok(large), true), Outcome::Hopeless { .. }));
    }
}
