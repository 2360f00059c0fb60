//! The steps of a command as events.
//!
//! ```text
//! Accepted ──> Dispatched ──> Replied ──> Closed
//!                 ^   └─> Failed ─┐
//!                 └───────────────┤          Closed may follow anything,
//!                  Requeued <── Dead         and nothing follows Closed
//! ```
//!
//! The data of each is one MessagePack map with named fields: `command`, `step`, `session` and
//! `at_ms` in all, the others as in [`Step`].

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use store::event::{ContentType, Event, EventId, NewEvent};
use store::names::EventType;
use thiserror::Error;

use super::body::Body;
use super::id::{CommandId, Session};
use super::pack::{PackError, pack, unpack};
use super::target::Target;

/// Longest reason that is kept, in bytes.
pub const REASON_BYTES_MAX: usize = 1024;

/// One step of one command.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StepEvent {
    /// The command.
    pub command: CommandId,
    /// Place among its steps, from 0.
    pub step: u32,
    /// Who wrote it.
    pub session: Session,
    /// When, in milliseconds since 1970, by the writer's clock.
    pub at_ms: u64,
    /// What happened.
    pub what: Step,
}

/// What happened to a command.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Step {
    /// It was taken in; always step 0.
    Accepted(Accepted),
    /// It is about to be sent to a worker.
    Dispatched {
        /// Which attempt this is, from 1.
        attempt: u32,
    },
    /// An attempt brought no reply.
    Failed {
        /// The attempt.
        attempt: u32,
        /// Why, for people.
        reason: String,
        /// When the next one is due, in milliseconds since 1970.
        retry_ms: u64,
    },
    /// A worker replied. The first one counts.
    Replied {
        /// The attempt that it answers.
        attempt: u32,
        /// The reply.
        body: Body,
    },
    /// It is over: whatever comes later is nobody's business.
    Closed,
    /// It is not tried any more.
    Dead {
        /// Why, for people.
        reason: String,
    },
    /// A dead one is tried again.
    Requeued {
        /// Attempts that it may take in all from now on.
        attempts_max: u32,
        /// When it dies by itself, in milliseconds since 1970; 0 for never.
        expires_ms: u64,
    },
}

/// The content of step 0.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Accepted {
    /// Whom it is meant for.
    pub target: Target,
    /// What it carries.
    pub body: Body,
    /// Not sent before this, in milliseconds since 1970; 0 for at once.
    pub not_before_ms: u64,
    /// When it dies by itself, in milliseconds since 1970; 0 for never.
    pub expires_ms: u64,
    /// Attempts that it may take in all.
    pub attempts_max: u32,
}

/// Why an event is no step, or a step no event.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StepError {
    /// A type that no step has.
    #[error("{event_type:?} is no step of a command")]
    Type {
        /// The event's type.
        event_type: String,
    },
    /// Not the map that belongs there.
    #[error(transparent)]
    Map(#[from] PackError),
    /// The event stands elsewhere or has another id than the step that it claims to be.
    #[error("the event is not where step {step} of command {command} belongs")]
    Misplaced {
        /// The command named in it.
        command: CommandId,
        /// The step named in it.
        step: u32,
    },
}

impl Step {
    /// The type of its event.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Accepted(_) => "Accepted",
            Self::Dispatched { .. } => "Dispatched",
            Self::Failed { .. } => "Failed",
            Self::Replied { .. } => "Replied",
            Self::Closed => "Closed",
            Self::Dead { .. } => "Dead",
            Self::Requeued { .. } => "Requeued",
        }
    }
}

impl StepEvent {
    /// Id of its event.
    #[must_use]
    pub fn id(&self) -> EventId {
        self.command.step_id(self.step)
    }

    /// The event, for the stream of the command's shard. A long reason is cut.
    ///
    /// # Errors
    /// [`StepError::Map`] if the codec fails, which checked fields do not make it.
    pub fn to_event(&self) -> Result<NewEvent, StepError> {
        let data = match &self.what {
            Step::Accepted(accepted) => self.map(AcceptedMap {
                service: accepted.target.clone(),
                body: accepted.body.clone(),
                not_before_ms: accepted.not_before_ms,
                expires_ms: accepted.expires_ms,
                attempts_max: accepted.attempts_max,
            }),
            Step::Dispatched { attempt } => self.map(DispatchedMap { attempt: *attempt }),
            Step::Failed { attempt, reason, retry_ms } => {
                let (attempt, retry_ms) = (*attempt, *retry_ms);
                self.map(FailedMap { attempt, reason: cut(reason), retry_ms })
            }
            Step::Replied { attempt, body } => {
                self.map(RepliedMap { attempt: *attempt, body: body.clone() })
            }
            Step::Closed => self.map(ClosedMap {}),
            Step::Dead { reason } => self.map(DeadMap { reason: cut(reason) }),
            Step::Requeued { attempts_max, expires_ms } => {
                let (attempts_max, expires_ms) = (*attempts_max, *expires_ms);
                self.map(RequeuedMap { attempts_max, expires_ms })
            }
        }?;
        let event_type = EventType::try_from(self.what.name()).map_err(PackError::new)?;
        Ok(NewEvent::new(event_type, ContentType::MessagePack, data).with_id(self.id()))
    }

    fn map<T: Serialize>(&self, what: T) -> Result<Vec<u8>, PackError> {
        let (command, step, session, at_ms) = (self.command, self.step, self.session, self.at_ms);
        pack(&Map { command, step, session, at_ms, what })
    }

    /// Reads an event of a shard stream.
    ///
    /// # Errors
    /// [`StepError`]: whoever may append to the store can write anything there, so an event counts
    /// only if it is where, and is called as, the step that it claims to be.
    pub fn decode(event: &Event) -> Result<Self, StepError> {
        let data = &event.data[..];
        let decoded = match event.event_type.as_str() {
            "Accepted" => step(data, |map: AcceptedMap| {
                Step::Accepted(Accepted {
                    target: map.service,
                    body: map.body,
                    not_before_ms: map.not_before_ms,
                    expires_ms: map.expires_ms,
                    attempts_max: map.attempts_max,
                })
            }),
            "Dispatched" => {
                step(data, |map: DispatchedMap| Step::Dispatched { attempt: map.attempt })
            }
            "Failed" => step(data, |map: FailedMap| {
                let FailedMap { attempt, reason, retry_ms } = map;
                Step::Failed { attempt, reason: cut(&reason), retry_ms }
            }),
            "Replied" => step(data, |map: RepliedMap| {
                let RepliedMap { attempt, body } = map;
                Step::Replied { attempt, body }
            }),
            "Closed" => step(data, |ClosedMap {}| Step::Closed),
            "Dead" => step(data, |map: DeadMap| Step::Dead { reason: cut(&map.reason) }),
            "Requeued" => step(data, |map: RequeuedMap| {
                let RequeuedMap { attempts_max, expires_ms } = map;
                Step::Requeued { attempts_max, expires_ms }
            }),
            other => return Err(StepError::Type { event_type: other.to_owned() }),
        }?;
        let StepEvent { command, step, .. } = decoded;
        if event.id != decoded.id() || event.stream != command.shard().stream() {
            return Err(StepError::Misplaced { command, step });
        }
        Ok(decoded)
    }
}

fn step<T: DeserializeOwned>(data: &[u8], what: fn(T) -> Step) -> Result<StepEvent, PackError> {
    // A flattened map would be read through a buffer that knows no limits, so it is read twice:
    // each pass passes over the fields of the other.
    let Common { command, step, session, at_ms } = unpack(data)?;
    Ok(StepEvent { command, step, session, at_ms, what: what(unpack(data)?) })
}

/// The front of a text, as much as is kept of it.
fn cut(reason: &str) -> String {
    let end =
        (0..=REASON_BYTES_MAX.min(reason.len())).rev().find(|at| reason.is_char_boundary(*at));
    reason.get(..end.unwrap_or(0)).unwrap_or_default().to_owned()
}

#[derive(Deserialize)]
struct Common {
    command: CommandId,
    step: u32,
    session: Session,
    at_ms: u64,
}

#[derive(Serialize)]
struct Map<T> {
    command: CommandId,
    step: u32,
    session: Session,
    at_ms: u64,
    #[serde(flatten)]
    what: T,
}

#[derive(Serialize, Deserialize)]
struct AcceptedMap {
    service: Target,
    body: Body,
    not_before_ms: u64,
    expires_ms: u64,
    attempts_max: u32,
}

#[derive(Serialize, Deserialize)]
struct DispatchedMap {
    attempt: u32,
}

#[derive(Serialize, Deserialize)]
struct FailedMap {
    attempt: u32,
    reason: String,
    retry_ms: u64,
}

#[derive(Serialize, Deserialize)]
struct RepliedMap {
    attempt: u32,
    body: Body,
}

#[derive(Serialize, Deserialize)]
struct ClosedMap {}

#[derive(Serialize, Deserialize)]
struct DeadMap {
    reason: String,
}

#[derive(Serialize, Deserialize)]
struct RequeuedMap {
    attempts_max: u32,
    expires_ms: u64,
}

#[cfg(test)]
mod tests;
