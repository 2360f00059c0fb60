//! What is looked up in the store by event id: bodies, and the steps of commands that the view
//! does not know or knows too little of.

use std::collections::{BTreeMap, BTreeSet, VecDeque, btree_map};
use std::time::{Duration, Instant};

use client::Sequence;
use client::command::{CommandId, StepEvent};

use crate::protocol::Now;
use crate::record::{Entry, Logged};

/// Most look-ups under way; the others wait.
const UNDER_WAY_MAX: usize = 256;
/// Most that wait or are under way before no more are wanted for requests.
pub(crate) const WANTED_MAX: usize = 16_384;
/// Steps that a walk looks up at once.
const STRIDE: u32 = 16;
/// Most steps that are walked over: far more than any command has.
const STEPS_MAX: u32 = 65_536;
/// Pause after a look-up that did not work.
const PAUSE: Duration = Duration::from_millis(250);

/// What is looked up. It is the same look-up for all that want it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Read {
    /// All steps from this one on.
    Walk {
        /// Of this command.
        command: CommandId,
        /// The first.
        from: u32,
    },
    /// One step, for its body.
    Body {
        /// Of this command.
        command: CommandId,
        /// Its number.
        step: u32,
    },
}

impl Read {
    /// The command.
    #[must_use]
    pub fn command(&self) -> CommandId {
        match self {
            Read::Walk { command, .. } | Read::Body { command, .. } => *command,
        }
    }
}

/// A look-up under way: what for, and which steps it asks for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FindTicket {
    pub(crate) read: Read,
    pub(crate) from: u32,
    pub(crate) count: u32,
}

/// Something that happened.
#[derive(Clone, Debug)]
pub(crate) enum ReadInput {
    Want(Read),
    Found { ticket: FindTicket, result: Result<Vec<Option<Logged>>, ()> },
    Tick,
}

/// Something to do, or to know.
#[derive(Clone, Debug)]
pub(crate) enum ReadOutput {
    Find(FindTicket),
    /// The steps from the first wanted on, without a hole. A body is one step, or none.
    Done {
        read: Read,
        steps: Vec<(Sequence, StepEvent)>,
    },
}

/// All look-ups that are wanted and not done.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub(crate) struct Reads {
    /// With what was found so far.
    wanted: BTreeMap<Read, Vec<(Sequence, StepEvent)>>,
    under_way: BTreeSet<Read>,
    queue: VecDeque<Read>,
    pauses: BTreeSet<(Instant, Read)>,
}

impl Reads {
    /// When to hand in a tick.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.pauses.first().map(|(at, _)| *at)
    }

    /// Look-ups that are not done.
    pub(crate) fn len(&self) -> usize {
        self.wanted.len()
    }

    pub(crate) fn handle(&mut self, now: Now, input: ReadInput, outputs: &mut Vec<ReadOutput>) {
        match input {
            ReadInput::Want(read) => {
                if let btree_map::Entry::Vacant(place) = self.wanted.entry(read) {
                    place.insert(Vec::new());
                    self.queue.push_back(read);
                }
            }
            ReadInput::Found { ticket, result } => self.found(now, ticket, result, outputs),
            ReadInput::Tick => {
                while let Some((at, read)) = self.pauses.first().copied()
                    && at <= now.instant
                {
                    self.pauses.pop_first();
                    self.queue.push_back(read);
                }
            }
        }
        self.send(outputs);
    }

    fn send(&mut self, outputs: &mut Vec<ReadOutput>) {
        while self.under_way.len() < UNDER_WAY_MAX
            && let Some(read) = self.queue.pop_front()
        {
            let known = self.wanted.get(&read).map_or(0, Vec::len);
            let known = u32::try_from(known).unwrap_or(u32::MAX);
            let (from, count) = match read {
                Read::Walk { from, .. } => (from.saturating_add(known), STRIDE),
                Read::Body { step, .. } => (step, 1),
            };
            self.under_way.insert(read);
            outputs.push(ReadOutput::Find(FindTicket { read, from, count }));
        }
    }

    fn found(
        &mut self,
        now: Now,
        ticket: FindTicket,
        result: Result<Vec<Option<Logged>>, ()>,
        outputs: &mut Vec<ReadOutput>,
    ) {
        let read = ticket.read;
        if !self.under_way.remove(&read) {
            return;
        }
        let Ok(found) = result else {
            self.pauses.insert((now.instant + PAUSE, read));
            return;
        };
        let steps = self.wanted.entry(read).or_default();
        let mut expected = ticket.from;
        for logged in found {
            let Some((sequence, event)) = logged.and_then(step_of) else {
                break;
            };
            if event.command != read.command() || event.step != expected {
                break;
            }
            expected = expected.saturating_add(1);
            steps.push((sequence, event));
        }
        let is_full = expected.saturating_sub(ticket.from) == ticket.count;
        let is_walk = matches!(read, Read::Walk { .. });
        if is_walk && is_full && expected < STEPS_MAX {
            self.queue.push_front(read);
        } else if let Some(steps) = self.wanted.remove(&read) {
            outputs.push(ReadOutput::Done { read, steps });
        }
    }
}

fn step_of(logged: Logged) -> Option<(Sequence, StepEvent)> {
    match logged.entry {
        Some(Entry::Step(event)) => Some((logged.sequence, event)),
        _ => None,
    }
}

#[cfg(test)]
#[path = "reads_tests.rs"]
mod tests;
