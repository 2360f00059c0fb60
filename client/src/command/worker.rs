//! What Titanic says to a worker of `NAME+titanic`, and what that may answer.
//!
//! ```text
//! request   {id: 16 bytes, attempt: number} | body+
//! reply     200 | body*          done, this is the reply
//!           503 MS text          not now: try again after so many milliseconds
//!           410 text             never: it becomes a dead letter
//! ```
//!
//! Workers of plain `NAME` know nothing of this: they get the body, and all they say is the reply.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::body::{Body, BodyError};
use super::id::CommandId;
use super::pack::{PackError, pack, unpack};

/// Longest first frame of a reply that is read, in bytes; more of its text is cut off.
const VERDICT_BYTES_MAX: usize = 1024;
/// Longest pause that a worker can ask for; a longer one is shortened to it.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// First frame of a request: which command this is, and for which time it is sent. Both let a
/// worker recognise what it has done before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// The command.
    pub id: CommandId,
    /// From 1.
    pub attempt: u32,
}

impl Delivery {
    /// The frame.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        // Two plain fields always have a form.
        Bytes::from(pack(self).unwrap_or_default())
    }

    /// Reads the frame.
    ///
    /// # Errors
    /// [`PackError`] says what is wrong.
    pub fn decode(frame: &[u8]) -> Result<Self, PackError> {
        unpack(frame)
    }
}

/// What a worker makes of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Done, with this reply.
    Done(Body),
    /// To be sent again later.
    Later {
        /// How much later.
        retry_after: Duration,
        /// Why, for people.
        text: String,
    },
    /// Not to be sent again.
    Never {
        /// Why, for people.
        reason: String,
    },
}

/// Why a reply can't be understood.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WorkerReplyError {
    /// The first frame is none of the three.
    #[error("a reply of a +titanic worker begins with a frame `200`, `503 MS` or `410 TEXT`")]
    Status,
    /// The reply has too much.
    #[error(transparent)]
    Body(#[from] BodyError),
}

impl Verdict {
    /// Reads a reply.
    ///
    /// # Errors
    /// [`WorkerReplyError`] says what is wrong.
    pub fn decode(mut frames: Vec<Bytes>) -> Result<Self, WorkerReplyError> {
        if frames.is_empty() {
            return Err(WorkerReplyError::Status);
        }
        let first = frames.remove(0);
        let front = first.get(..VERDICT_BYTES_MAX).unwrap_or(&first);
        let text = String::from_utf8_lossy(front);
        let (code, rest) = text.split_once(' ').unwrap_or((&text, ""));
        match code {
            "200" => Ok(Self::Done(Body::new(frames)?)),
            "503" => {
                let (pause, text) = rest.split_once(' ').unwrap_or((rest, ""));
                if pause.is_empty() || !pause.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Err(WorkerReplyError::Status);
                }
                // So many digits that they are no number ask for the longest pause, too.
                let pause = Duration::from_millis(pause.parse().unwrap_or(u64::MAX));
                let retry_after = pause.min(RETRY_AFTER_MAX);
                Ok(Self::Later { retry_after, text: text.to_owned() })
            }
            "410" => Ok(Self::Never { reason: rest.to_owned() }),
            _ => Err(WorkerReplyError::Status),
        }
    }

    /// The frames of the reply.
    #[must_use]
    pub fn encode(&self) -> Vec<Bytes> {
        let mut frames = vec![Bytes::from(self.to_string())];
        if let Self::Done(body) = self {
            frames.extend(body.frames().iter().cloned());
        }
        frames
    }
}

/// The first frame.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done(_) => f.write_str("200"),
            Self::Later { retry_after, text } if text.is_empty() => {
                write!(f, "503 {}", retry_after.as_millis())
            }
            Self::Later { retry_after, text } => {
                write!(f, "503 {} {text}", retry_after.as_millis())
            }
            Self::Never { reason } if reason.is_empty() => f.write_str("410"),
            Self::Never { reason } => write!(f, "410 {reason}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_delivery_names_command_and_attempt() {
        let delivery = Delivery { id: CommandId::new(Uuid::from_u128(7)), attempt: 3 };
        let frame = delivery.encode();
        assert_eq!(Delivery::decode(&frame), Ok(delivery));
        let mut expected = b"\x82\xA2id\xC4\x10".to_vec();
        expected.extend_from_slice(Uuid::from_u128(7).as_bytes());
        expected.extend_from_slice(b"\xA7attempt\x03");
        assert_eq!(frame, expected);
        for position in 0..frame.len() * 8 {
            let mut flipped = frame.to_vec();
            flipped[position / 8] ^= 1 << (position % 8);
            let _ = Delivery::decode(&flipped);
        }
        assert!(Delivery::decode(&frame[..10]).is_err());
        assert!(Delivery::decode(b"").is_err());
    }

    #[test]
    fn verdicts() {
        let body = Body::new(vec![Bytes::new(), Bytes::from("x")]).unwrap();
        let later = |milliseconds, text: &str| Verdict::Later {
            retry_after: Duration::from_millis(milliseconds),
            text: text.to_owned(),
        };
        let never = |reason: &str| Verdict::Never { reason: reason.to_owned() };
        let rows: [(Verdict, &[&str]); 6] = [
            (Verdict::Done(body), &["200", "", "x"]),
            (Verdict::Done(Body::default()), &["200"]),
            (later(1500, ""), &["503 1500"]),
            (later(0, "the printer is out of paper"), &["503 0 the printer is out of paper"]),
            (never(""), &["410"]),
            (never("no such account"), &["410 no such account"]),
        ];
        for (verdict, frames) in rows {
            let frames: Vec<Bytes> = frames.iter().map(|f| Bytes::from((*f).to_owned())).collect();
            assert_eq!(verdict.encode(), frames);
            assert_eq!(Verdict::decode(frames), Ok(verdict));
        }
    }

    #[test]
    fn hostile_verdicts() {
        for wrong in ["", "20", "2000", "503", "503 ", "503 x", "503 -1", "503 +1", "404", "410x"] {
            let frames = vec![Bytes::from(wrong)];
            assert_eq!(Verdict::decode(frames), Err(WorkerReplyError::Status), "{wrong:?}");
        }
        assert_eq!(Verdict::decode(Vec::new()), Err(WorkerReplyError::Status));
        let far = Bytes::from("503 99999999999999999999999999");
        let Ok(Verdict::Later { retry_after, .. }) = Verdict::decode(vec![far]) else { panic!() };
        assert_eq!(retry_after, RETRY_AFTER_MAX);
        let long = Bytes::from(format!("410 {}", "x".repeat(1_000_000)));
        let Ok(Verdict::Never { reason }) = Verdict::decode(vec![long]) else { panic!() };
        assert_eq!(reason.len(), VERDICT_BYTES_MAX - 4);
        let many = vec![Bytes::from_static(b"200"); 1026];
        assert_eq!(Verdict::decode(many), Err(BodyError::Frames.into()));
    }
}
