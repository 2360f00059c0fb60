//! What somebody wants to become of a command, and the step that this takes now.
//!
//! Steps are written without a lock: two writers may want step k, and the second is refused. It
//! reads what is there and asks its intent again, which then may want another step, or none.

use client::command::{Body, Step};

use crate::life::{CommandLife, State};

/// Somebody wants this.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Intent {
    /// Begin this attempt.
    Dispatch {
        /// From 1.
        attempt: u32,
    },
    /// Say that this attempt failed: another follows at `retry_ms`, or none if it was the last.
    Fail {
        /// From 1.
        attempt: u32,
        /// Why.
        reason: String,
        /// When to try again (Unix, milliseconds).
        retry_ms: u64,
    },
    /// Keep the reply of this attempt.
    Reply {
        /// From 1.
        attempt: u32,
        /// The reply.
        body: Body,
    },
    /// Give it up, unless it got its reply meanwhile.
    Kill {
        /// The attempt that showed it to be hopeless.
        attempt: u32,
        /// Why.
        reason: String,
    },
    /// Give it up because its time is over, unless an attempt other than this one was begun.
    Expire {
        /// The newest attempt, which definitely reached no worker; 0 if there was none.
        attempt: u32,
    },
    /// End it.
    Close,
    /// Give a dead one another chance.
    Requeue {
        /// How many more attempts.
        attempts: u32,
        /// From when on it is not sent any more (Unix, milliseconds); 0 is never.
        expires_ms: u64,
    },
}

/// What an intent takes now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// This step, with the life's next number.
    Write(Step),
    /// Nothing: it came otherwise, or somebody else did it.
    Moot,
}

/// Reason of a command whose time was over.
pub const EXPIRED: &str = "expired";

impl Intent {
    /// The step for a command with this life.
    #[must_use]
    pub fn verdict(&self, life: &CommandLife) -> Verdict {
        let is_waiting = matches!(life.state(), State::Queued { .. });
        let is_dispatched = matches!(life.state(), State::Dispatched { .. });
        match self {
            Intent::Dispatch { attempt } => {
                let follows = life.attempt().checked_add(1) == Some(*attempt);
                write_if(is_waiting && follows, || Step::Dispatched { attempt: *attempt })
            }
            Intent::Fail { attempt, reason, retry_ms } => {
                let is_last = *attempt >= life.attempts_max();
                write_if(is_dispatched && life.attempt() == *attempt, || match is_last {
                    true => Step::Dead { reason: reason.clone() },
                    false => Step::Failed {
                        attempt: *attempt,
                        reason: reason.clone(),
                        retry_ms: *retry_ms,
                    },
                })
            }
            Intent::Reply { attempt, body } => {
                let is_kept = matches!(life.state(), State::Replied { .. });
                write_if(is_waiting || is_dispatched || is_kept, || Step::Replied {
                    attempt: *attempt,
                    body: body.clone(),
                })
            }
            Intent::Kill { reason, .. } => {
                write_if(is_waiting || is_dispatched, || Step::Dead { reason: reason.clone() })
            }
            Intent::Expire { attempt } => {
                let is_same = life.attempt() == *attempt;
                write_if((is_waiting || is_dispatched) && is_same, || Step::Dead {
                    reason: EXPIRED.to_owned(),
                })
            }
            Intent::Close => write_if(*life.state() != State::Closed, || Step::Closed),
            Intent::Requeue { attempts, expires_ms } => {
                write_if(*life.state() == State::Dead, || Step::Requeued {
                    attempts_max: life.attempt().saturating_add(*attempts),
                    expires_ms: *expires_ms,
                })
            }
        }
    }
}

fn write_if(applies: bool, step: impl FnOnce() -> Step) -> Verdict {
    if applies { Verdict::Write(step()) } else { Verdict::Moot }
}

#[cfg(test)]
#[path = "intent_tests.rs"]
mod tests;
