//! Steps on their way to the log: one of a command at a time, until it is there.
//!
//! ```text
//! intent ─> verdict on the life as it is known ─> append ─┬─ committed ─> the view learns it
//!              ^                                          ├─ id reused ─> walk on, verdict anew
//!              └─ after the walk ─────────────────────────┴─ not known ─> the same event again
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use client::Sequence;
use client::command::{CommandId, Session, StepEvent};

use crate::intent::{Intent, Verdict};
use crate::protocol::{AppendFailure, Now};
use crate::view::{Change, Learned, Source, View};

/// Pause before the same event is appended again.
pub(crate) const PAUSE: Duration = Duration::from_millis(250);

/// Something that happened.
#[derive(Clone, Debug)]
pub(crate) enum WriteInput {
    /// Somebody wants this.
    Want { command: CommandId, intent: Intent },
    /// The answer to an append.
    Appended { command: CommandId, step: u32, result: Result<Sequence, AppendFailure> },
    /// The view has what was in the way.
    Walked(CommandId),
    /// Its time came.
    Tick,
}

/// Something to do, or to know.
#[derive(Clone, Debug)]
pub(crate) enum WriteOutput {
    Append(StepEvent),
    /// Somebody else wrote the next step: read on from this one.
    Walk {
        command: CommandId,
        from: u32,
    },
    /// The intent is over: its step is committed, or it became moot.
    Ended {
        command: CommandId,
        intent: Intent,
        /// The step that was written for it.
        written: Option<u32>,
    },
    /// The view learned our own step.
    Learned {
        change: Change,
        event: StepEvent,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Stage {
    /// Not begun.
    New,
    /// This event is on its way; nobody knows yet whether it is there.
    Appending(StepEvent),
    /// It is given again then.
    Pausing { event: StepEvent, until: Instant },
    /// Another step stands in its place.
    Walking(StepEvent),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Write {
    intent: Intent,
    stage: Stage,
}

/// All intents that are not over. Only the first of each command is acted upon.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Writes {
    session: Session,
    lanes: BTreeMap<CommandId, VecDeque<Write>>,
    pauses: BTreeSet<(Instant, CommandId)>,
}

impl Writes {
    pub(crate) fn new(session: Session) -> Writes {
        Writes { session, lanes: BTreeMap::new(), pauses: BTreeSet::new() }
    }

    /// When to hand in a tick.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.pauses.first().map(|(at, _)| *at)
    }

    /// Commands with something on its way.
    pub(crate) fn len(&self) -> usize {
        self.lanes.len()
    }

    pub(crate) fn handle(
        &mut self,
        now: Now,
        input: WriteInput,
        view: &mut View,
        outputs: &mut Vec<WriteOutput>,
    ) {
        match input {
            WriteInput::Want { command, intent } => {
                let lane = self.lanes.entry(command).or_default();
                lane.push_back(Write { intent, stage: Stage::New });
                if lane.len() == 1 {
                    self.begin(now, command, view, outputs);
                }
            }
            WriteInput::Appended { command, step, result } => {
                self.appended(now, (command, step), result, view, outputs);
            }
            WriteInput::Walked(command) => {
                self.walked(now, command, view, outputs);
            }
            WriteInput::Tick => self.tick(now, outputs),
        }
    }

    fn tick(&mut self, now: Now, outputs: &mut Vec<WriteOutput>) {
        while let Some((at, command)) = self.pauses.first().copied()
            && at <= now.instant
        {
            self.pauses.pop_first();
            let Some(write) = self.lanes.get_mut(&command).and_then(VecDeque::front_mut) else {
                continue;
            };
            if let Stage::Pausing { event, .. } = &write.stage {
                let event = event.clone();
                write.stage = Stage::Appending(event.clone());
                outputs.push(WriteOutput::Append(event));
            }
        }
    }

    fn walked(
        &mut self,
        now: Now,
        command: CommandId,
        view: &View,
        outputs: &mut Vec<WriteOutput>,
    ) {
        let Some(write) = self.lanes.get_mut(&command).and_then(VecDeque::front_mut) else {
            return;
        };
        let Stage::Walking(event) = &write.stage else {
            return;
        };
        if view.get(command).is_some_and(|record| record.life.next() == event.step) {
            // Something has the id and is no step; that is for a person to put right.
            let until = now.instant + PAUSE;
            write.stage = Stage::Pausing { event: event.clone(), until };
            self.pauses.insert((until, command));
        } else {
            self.begin(now, command, view, outputs);
        }
    }

    fn appended(
        &mut self,
        now: Now,
        (command, step): (CommandId, u32),
        result: Result<Sequence, AppendFailure>,
        view: &mut View,
        outputs: &mut Vec<WriteOutput>,
    ) {
        let Some(write) = self.lanes.get_mut(&command).and_then(VecDeque::front_mut) else {
            return;
        };
        let event = match &write.stage {
            Stage::Appending(event) if event.step == step => event.clone(),
            _ => return,
        };
        match result {
            Ok(sequence) => {
                if let Learned::Changed(change) = view.learn(Source::Aside, sequence, &event) {
                    outputs.push(WriteOutput::Learned { change, event });
                }
                self.end(command, Some(step), outputs);
                self.begin(now, command, view, outputs);
            }
            Err(AppendFailure::Reused) => {
                write.stage = Stage::Walking(event);
                outputs.push(WriteOutput::Walk { command, from: step });
            }
            // What is refused now was accepted in the same size and shape before: it is for a
            // person to put right, and then goes on.
            Err(AppendFailure::Again | AppendFailure::WrongVersion | AppendFailure::Refused(_)) => {
                let until = now.instant + PAUSE;
                write.stage = Stage::Pausing { event, until };
                self.pauses.insert((until, command));
            }
        }
    }

    /// Begins the first intent of a lane, and those after it that come to nothing.
    fn begin(&mut self, now: Now, command: CommandId, view: &View, outputs: &mut Vec<WriteOutput>) {
        while let Some(write) = self.lanes.get_mut(&command).and_then(VecDeque::front_mut) {
            let life = view.get(command).map(|record| &record.life);
            let verdict = life.map_or(Verdict::Moot, |life| write.intent.verdict(life));
            if let (Verdict::Write(what), Some(life)) = (verdict, life) {
                let (step, at_ms) = (life.next(), now.unix_ms);
                let event = StepEvent { command, step, session: self.session, at_ms, what };
                write.stage = Stage::Appending(event.clone());
                outputs.push(WriteOutput::Append(event));
                return;
            }
            self.end(command, None, outputs);
        }
    }

    fn end(&mut self, command: CommandId, written: Option<u32>, outputs: &mut Vec<WriteOutput>) {
        let Some(lane) = self.lanes.get_mut(&command) else {
            return;
        };
        if let Some(Write { intent, .. }) = lane.pop_front() {
            outputs.push(WriteOutput::Ended { command, intent, written });
        }
        if lane.is_empty() {
            self.lanes.remove(&command);
        }
    }
}

#[cfg(test)]
#[path = "writes_tests.rs"]
mod tests;
