//! The life of one command: what its steps make of it.
//!
//! ```text
//!                      Failed (attempts left)
//!               ┌───────────────<──────────────┐
//!  Accepted     v        Dispatched            │        Replied
//! ─────────> Queued ────────────────────> Dispatched ───────────> Replied ──┐
//!             ^  │ └──────────────────────────────────────>──────────┘      │ Closed
//!    Requeued │  │        Dead                 │       (a late reply)       ├────────> Closed
//!             │  └───────────────────> Dead <──┘                            │
//!             └──────────────────────────┘ └────────────────────────────────┘
//! ```
//!
//! Every step has a number, and the id of its event is made of the command's id and that number. So
//! the log holds one step of each number at most, and whoever writes one knows all before it.

use std::fmt;

use client::command::{Accepted, CommandState, Session, Step, StepEvent};
use serde::{Deserialize, Serialize};

/// What a command is doing.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum State {
    /// Waits to be sent, at `due_ms` (Unix, milliseconds) at the earliest.
    Queued {
        /// When it may be sent; 0 is at once.
        due_ms: u64,
    },
    /// Is, or was, with a worker.
    Dispatched {
        /// The process that sends it.
        session: Session,
    },
    /// Its reply is kept.
    Replied {
        /// Number of the step that holds the reply.
        step: u32,
    },
    /// Given up; somebody has to requeue or to purge it.
    Dead,
    /// Over.
    Closed,
}

/// Why a step has no effect. No Titanic writes such steps.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Illegal {
    /// A hole, or a step that was seen already. Nothing changed.
    #[error("step {found} comes where {expected} belongs")]
    Number {
        /// The number that the next step has.
        expected: u32,
        /// The number it has.
        found: u32,
    },
    /// The step does not fit the state. Its number is used up, else nothing changed.
    #[error("{step} of attempt {attempt} cannot follow {state}")]
    Order {
        /// Word for the state.
        state: &'static str,
        /// Name of the step.
        step: &'static str,
        /// The attempt that the step is about, or the newest one.
        attempt: u32,
    },
}

/// What a legal step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The command is in another state now.
    Moved,
    /// A reply after the first: it stays in the log, and counts for nothing.
    LateReply,
}

/// One command, as far as its steps are known. Bodies stay in the store.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CommandLife {
    state: State,
    next: u32,
    attempt: u32,
    attempts_max: u32,
    accepted_ms: u64,
    expires_ms: u64,
    reason: Option<Box<str>>,
}

impl CommandLife {
    /// It begins with step 0.
    ///
    /// # Errors
    /// Any other step.
    pub fn begin(event: &StepEvent) -> Result<CommandLife, Illegal> {
        match (&event.what, event.step) {
            (Step::Accepted(accepted), 0) => Ok(Self::accepted(accepted, event.at_ms)),
            (_, 0) => Err(Illegal::Order {
                state: "nothing",
                step: event.what.name(),
                attempt: attempt_of(&event.what).unwrap_or_default(),
            }),
            (_, found) => Err(Illegal::Number { expected: 0, found }),
        }
    }

    fn accepted(accepted: &Accepted, at_ms: u64) -> CommandLife {
        CommandLife {
            state: State::Queued { due_ms: accepted.not_before_ms },
            next: 1,
            attempt: 0,
            attempts_max: accepted.attempts_max,
            accepted_ms: at_ms,
            expires_ms: accepted.expires_ms,
            reason: None,
        }
    }

    /// Takes the next step.
    ///
    /// # Errors
    /// A step that changes nothing; see [`Illegal`].
    pub fn apply(&mut self, event: &StepEvent) -> Result<Effect, Illegal> {
        if event.step != self.next {
            return Err(Illegal::Number { expected: self.next, found: event.step });
        }
        self.next = self.next.saturating_add(1);
        self.step(event).ok_or_else(|| Illegal::Order {
            state: self.state.word(),
            step: event.what.name(),
            attempt: attempt_of(&event.what).unwrap_or(self.attempt),
        })
    }

    fn step(&mut self, event: &StepEvent) -> Option<Effect> {
        let state = match (&event.what, &self.state) {
            (Step::Dispatched { attempt }, State::Queued { .. })
                if self.attempt.checked_add(1) == Some(*attempt) =>
            {
                self.attempt = *attempt;
                State::Dispatched { session: event.session }
            }
            (Step::Failed { attempt, reason, retry_ms }, State::Dispatched { .. })
                if *attempt == self.attempt =>
            {
                self.reason = Some(reason.as_str().into());
                State::Queued { due_ms: *retry_ms }
            }
            (Step::Replied { attempt, .. }, _) if *attempt == 0 || *attempt > self.attempt => {
                return None;
            }
            (Step::Replied { .. }, State::Queued { .. } | State::Dispatched { .. }) => {
                self.reason = None;
                State::Replied { step: event.step }
            }
            (Step::Replied { .. }, State::Replied { .. }) => return Some(Effect::LateReply),
            (Step::Dead { reason }, State::Queued { .. } | State::Dispatched { .. }) => {
                self.reason = Some(reason.as_str().into());
                State::Dead
            }
            (Step::Requeued { attempts_max, expires_ms }, State::Dead) => {
                self.attempts_max = *attempts_max;
                self.expires_ms = *expires_ms;
                State::Queued { due_ms: 0 }
            }
            (
                Step::Closed,
                State::Queued { .. }
                | State::Dispatched { .. }
                | State::Replied { .. }
                | State::Dead,
            ) => State::Closed,
            _ => return None,
        };
        self.state = state;
        Some(Effect::Moved)
    }

    /// What it is doing.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Number of its next step.
    #[must_use]
    pub fn next(&self) -> u32 {
        self.next
    }

    /// The newest attempt, from 1; 0 before the first.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The last attempt that may be made.
    #[must_use]
    pub fn attempts_max(&self) -> u32 {
        self.attempts_max
    }

    /// When it was accepted (Unix, milliseconds).
    #[must_use]
    pub fn accepted_ms(&self) -> u64 {
        self.accepted_ms
    }

    /// From when on it is not sent any more (Unix, milliseconds); 0 is never.
    #[must_use]
    pub fn expires_ms(&self) -> u64 {
        self.expires_ms
    }

    /// Why the last attempt failed, or why it is dead.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }
}

fn attempt_of(step: &Step) -> Option<u32> {
    match step {
        Step::Dispatched { attempt }
        | Step::Failed { attempt, .. }
        | Step::Replied { attempt, .. } => Some(*attempt),
        Step::Accepted(_) | Step::Closed | Step::Dead { .. } | Step::Requeued { .. } => None,
    }
}

impl State {
    /// The state as clients are told it.
    #[must_use]
    pub fn told(&self) -> CommandState {
        match self {
            State::Queued { .. } => CommandState::Queued,
            State::Dispatched { .. } => CommandState::Dispatched,
            State::Replied { .. } => CommandState::Replied,
            State::Dead => CommandState::Dead,
            State::Closed => CommandState::Closed,
        }
    }

    fn word(&self) -> &'static str {
        match self {
            State::Queued { .. } => "Queued",
            State::Dispatched { .. } => "Dispatched",
            State::Replied { .. } => "Replied",
            State::Dead => "Dead",
            State::Closed => "Closed",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

#[cfg(test)]
#[path = "life_tests.rs"]
mod tests;
