//! Steps 0 on their way to the log.
//!
//! An id that a client chose may be taken: by the same command, sent before, or by another one.
//! Which it is shows in the step 0 that is there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use client::Sequence;
use client::command::{CommandId, Session, Step, StepEvent};

use super::parse::Asked;
use crate::protocol::{AppendFailure, Now};

/// Pause before the same event is appended again.
const PAUSE: Duration = Duration::from_millis(250);

/// What comes of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AcceptOutput {
    Nothing,
    /// The id is taken: read step 0.
    Read,
    /// Our event is committed.
    Ours {
        sequence: Sequence,
        event: StepEvent,
    },
    /// This one is.
    Theirs(StepEvent),
    /// It is not accepted, for this reason.
    Refused(String),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Stage {
    Appending,
    Pausing,
    Reading,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Accept {
    event: StepEvent,
    stage: Stage,
}

/// All commands that are being accepted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Accepts {
    session: Session,
    /// For those who do not say how many.
    attempts: u32,
    accepts: BTreeMap<CommandId, Accept>,
    pauses: BTreeSet<(Instant, CommandId)>,
}

impl Accepts {
    pub(super) fn new(session: Session, attempts: u32) -> Accepts {
        Accepts { session, attempts, accepts: BTreeMap::new(), pauses: BTreeSet::new() }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.pauses.first().map(|(at, _)| *at)
    }

    /// The event to append, unless one for this id is on its way: that settles this one too.
    pub(super) fn begin(
        &mut self,
        now: Now,
        command: CommandId,
        asked: &Asked,
    ) -> Option<StepEvent> {
        if self.accepts.contains_key(&command) {
            return None;
        }
        let what = Step::Accepted(asked.accepted(now.unix_ms, self.attempts));
        let (session, at_ms) = (self.session, now.unix_ms);
        let event = StepEvent { command, step: 0, session, at_ms, what };
        let accept = Accept { event: event.clone(), stage: Stage::Appending };
        self.accepts.insert(command, accept);
        Some(event)
    }

    /// The answer to an append. `is_wanted`: somebody still waits for it.
    pub(super) fn appended(
        &mut self,
        now: Now,
        command: CommandId,
        result: Result<Sequence, AppendFailure>,
        is_wanted: bool,
    ) -> AcceptOutput {
        let Some(accept) = self.accepts.get_mut(&command) else {
            return AcceptOutput::Nothing;
        };
        match result {
            Ok(sequence) => match self.accepts.remove(&command) {
                Some(Accept { event, .. }) => AcceptOutput::Ours { sequence, event },
                None => AcceptOutput::Nothing,
            },
            Err(AppendFailure::Reused) => {
                accept.stage = Stage::Reading;
                AcceptOutput::Read
            }
            Err(AppendFailure::Refused(reason)) => {
                self.accepts.remove(&command);
                AcceptOutput::Refused(reason)
            }
            Err(AppendFailure::Again | AppendFailure::WrongVersion) => {
                self.again(now, command, is_wanted);
                AcceptOutput::Nothing
            }
        }
    }

    /// Step 0 was looked up.
    pub(super) fn read(
        &mut self,
        now: Now,
        command: CommandId,
        found: Option<&StepEvent>,
        is_wanted: bool,
    ) -> AcceptOutput {
        let is_reading =
            self.accepts.get(&command).is_some_and(|accept| accept.stage == Stage::Reading);
        match found {
            _ if !is_reading => AcceptOutput::Nothing,
            Some(event) => {
                self.accepts.remove(&command);
                AcceptOutput::Theirs(event.clone())
            }
            // The id belongs to something that is no step.
            None => {
                self.again(now, command, is_wanted);
                AcceptOutput::Nothing
            }
        }
    }

    /// What is to be appended again.
    pub(super) fn tick(&mut self, now: Now) -> Vec<StepEvent> {
        let mut events = Vec::new();
        while let Some((at, command)) = self.pauses.first().copied()
            && at <= now.instant
        {
            self.pauses.pop_first();
            if let Some(accept) = self.accepts.get_mut(&command) {
                accept.stage = Stage::Appending;
                events.push(accept.event.clone());
            }
        }
        events
    }

    /// The same event, after a pause: it may be there already. Once nobody waits any more, nobody
    /// needs to know.
    fn again(&mut self, now: Now, command: CommandId, is_wanted: bool) {
        if !is_wanted {
            self.accepts.remove(&command);
        } else if let Some(accept) = self.accepts.get_mut(&command) {
            accept.stage = Stage::Pausing;
            self.pauses.insert((now.instant + PAUSE, command));
        }
    }
}
