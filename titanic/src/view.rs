//! The table of open commands: what the shard streams say, and our own steps a moment earlier.
//!
//! A step is learned from the subscription, in the order of the log; from the answer to our own
//! append; or by looking its id up. All three are committed records, and the number of a step says
//! whether it is news. A closed command leaves when the *subscription* shows the close: until then
//! the subscription may still bring its first steps, which would open it once more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use broker::slot;
use client::command::{Accepted, CommandId, Info, Shard, Step, StepEvent};
use client::{PartitionNumber, Sequence};
use serde::{Deserialize, Serialize};

use crate::life::{CommandLife, Effect, Illegal, State};

/// An open or dead command.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    /// What became of it.
    pub life: CommandLife,
    /// Where it is sent to. The name is shared by all commands to that service.
    pub service: Arc<str>,
    /// Whether a checkpoint holds it.
    is_stored: bool,
}

#[derive(Serialize, Deserialize)]
struct StoredRecord {
    life: CommandLife,
    service: String,
}

/// A checkpoint that this version cannot have written.
#[derive(Debug, thiserror::Error)]
#[error(
    "the checkpoint is damaged or of another version ({0}); remove the file, it is made anew by \
     a replay"
)]
pub struct Damaged(pub String);

/// Where a step was learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The subscription, in order.
    Log,
    /// The answer to an append of ours, or a look-up; either may be older than what is known.
    Aside,
}

/// Something became known of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which command.
    pub command: CommandId,
    /// Where it is sent to.
    pub service: Arc<str>,
    /// What it was; nothing if it was not known.
    pub before: Option<State>,
    /// What it is.
    pub life: CommandLife,
}

/// What a step did to the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Learned {
    /// The command is in another state.
    Changed(Change),
    /// Known before, or of no importance.
    Nothing,
    /// No Titanic writes this.
    Illegal(Illegal),
}

/// What a walk over a command's steps found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Walked {
    /// No step 0: never accepted, as far as anything is committed.
    Unknown,
    /// Over; this is what it was.
    Closed(Box<Record>),
    /// It is in the table now.
    Open(Change),
    /// The subscription was faster: look again.
    Outdated,
}

/// All that is open, by shard and id.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct View {
    /// Partition of each shard.
    partitions: BTreeMap<Shard, PartitionNumber>,
    shards: BTreeMap<Shard, BTreeMap<CommandId, Record>>,
    dead: BTreeSet<CommandId>,
    /// Names of services, and how many commands go there.
    services: BTreeMap<Arc<str>, usize>,
    /// How far the subscription is, inclusive.
    positions: BTreeMap<u16, Sequence>,
    /// Commands that changed since the last checkpoint, and whether that holds them; `None` if
    /// nobody asks.
    changed: Option<BTreeMap<CommandId, bool>>,
}

impl View {
    /// Empty, for a store of so many partitions. `keeps_changes`: [`View::take_changed`] is called.
    #[must_use]
    pub fn new(partitions: u16, keeps_changes: bool) -> View {
        let partition = |shard: Shard| {
            (shard, PartitionNumber(slot::partition(shard.stream().as_str(), partitions)))
        };
        View {
            partitions: Shard::all().map(partition).collect(),
            shards: BTreeMap::new(),
            dead: BTreeSet::new(),
            services: BTreeMap::new(),
            positions: BTreeMap::new(),
            changed: keeps_changes.then(BTreeMap::new),
        }
    }

    /// A command that is open or dead, or closed a moment ago.
    #[must_use]
    pub fn get(&self, command: CommandId) -> Option<&Record> {
        self.shards.get(&command.shard())?.get(&command)
    }

    /// All commands of a shard, by id.
    pub fn shard(&self, shard: Shard) -> impl Iterator<Item = (CommandId, &Record)> {
        self.shards.get(&shard).into_iter().flatten().map(|(id, record)| (*id, record))
    }

    /// All commands by shard and id, after this one.
    pub fn after(&self, after: Option<CommandId>) -> impl Iterator<Item = (CommandId, &Record)> {
        let place = after.map(|id| (id.shard(), id));
        let first = place.map_or_else(|| Shard::all().next(), |(shard, _)| Some(shard));
        let shards = first.map(|first| self.shards.range(first..)).into_iter().flatten();
        shards.flat_map(move |(shard, records)| {
            let from = match place {
                Some((of, id)) if of == *shard => std::ops::Bound::Excluded(id),
                _ => std::ops::Bound::Unbounded,
            };
            records.range((from, std::ops::Bound::Unbounded)).map(|(id, record)| (*id, record))
        })
    }

    /// The dead ones, by id.
    pub fn dead(&self) -> impl Iterator<Item = (CommandId, &Record)> {
        self.dead.iter().filter_map(|id| Some((*id, self.get(*id)?)))
    }

    /// Number of dead ones.
    #[must_use]
    pub fn dead_len(&self) -> usize {
        self.dead.len()
    }

    /// Number of commands.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shards.values().map(BTreeMap::len).sum()
    }

    /// Whether nothing is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The subscription is past this sequence of a partition (inclusive).
    pub fn passed(&mut self, partition: PartitionNumber, through: Sequence) {
        let position = self.positions.entry(partition.0).or_default();
        *position = through.max(*position);
    }

    /// Takes a committed step.
    pub fn learn(&mut self, source: Source, sequence: Sequence, event: &StepEvent) -> Learned {
        // What the subscription has passed is known, or was and is over.
        if source == Source::Aside && sequence <= self.position(event.command) {
            return Learned::Nothing;
        }
        let shard = self.shards.entry(event.command.shard()).or_default();
        let Some(record) = shard.get_mut(&event.command) else {
            return self.open(event);
        };
        let before = record.life.state().clone();
        let learned = match record.life.apply(event) {
            Err(Illegal::Number { expected, found }) if found < expected => Learned::Nothing,
            Err(illegal) => Learned::Illegal(illegal),
            Ok(Effect::LateReply) => Learned::Nothing,
            Ok(Effect::Moved) => Learned::Changed(Change {
                command: event.command,
                service: record.service.clone(),
                before: Some(before),
                life: record.life.clone(),
            }),
        };
        let is_known = event.step < record.life.next();
        let is_closed = *record.life.state() == State::Closed;
        let is_end = event.what == Step::Closed && is_known && is_closed;
        match record.life.state() {
            State::Dead => self.dead.insert(event.command),
            _ => self.dead.remove(&event.command),
        };
        self.touch(event.command);
        if source == Source::Log && is_end {
            self.leave(event.command);
        }
        learned
    }

    /// All steps of a command that is not in the table, as a walk found them, in order.
    pub fn adopt(&mut self, steps: &[(Sequence, StepEvent)]) -> Walked {
        let Some(((_, first), rest)) = steps.split_first() else {
            return Walked::Unknown;
        };
        let Ok(mut life) = CommandLife::begin(first) else {
            return Walked::Unknown;
        };
        for (_, event) in rest {
            // An illegal one has no effect here either.
            let _ = life.apply(event);
        }
        let Step::Accepted(Accepted { target, .. }) = &first.what else {
            return Walked::Unknown;
        };
        if *life.state() == State::Closed {
            let service = target.as_str().into();
            return Walked::Closed(Box::new(Record { life, service, is_stored: false }));
        }
        let newest = steps.last().map_or(Sequence::ZERO, |(sequence, _)| *sequence);
        if self.get(first.command).is_some() || newest <= self.position(first.command) {
            return Walked::Outdated;
        }
        Walked::Open(self.insert(first.command, target.as_str(), life))
    }

    /// Commands that changed since the last call: as they are, or nothing if they are over.
    pub fn take_changed(&mut self) -> Vec<(CommandId, Option<Vec<u8>>)> {
        let changed = self.changed.as_mut().map(std::mem::take).unwrap_or_default();
        let mut taken = Vec::with_capacity(changed.len());
        for (command, was_stored) in changed {
            let record =
                self.shards.get_mut(&command.shard()).and_then(|shard| shard.get_mut(&command));
            match record {
                Some(record) => {
                    record.is_stored = true;
                    taken.push((command, Some(encode(record))));
                }
                // What opened and closed in between was never written.
                None if was_stored => taken.push((command, None)),
                None => {}
            }
        }
        taken
    }

    /// A command as a checkpoint holds it.
    ///
    /// # Errors
    /// Bytes that are no record.
    pub fn restore(&mut self, command: CommandId, bytes: &[u8]) -> Result<(), Damaged> {
        let stored: StoredRecord =
            rmp_serde::from_slice(bytes).map_err(|error| Damaged(error.to_string()))?;
        if *stored.life.state() == State::Dead {
            self.dead.insert(command);
        }
        let service = self.intern(&stored.service);
        let record = Record { life: stored.life, service, is_stored: true };
        self.shards.entry(command.shard()).or_default().insert(command, record);
        Ok(())
    }

    fn position(&self, command: CommandId) -> Sequence {
        let partition = self.partitions.get(&command.shard());
        let position = partition.and_then(|partition| self.positions.get(&partition.0));
        position.copied().unwrap_or_default()
    }

    fn open(&mut self, event: &StepEvent) -> Learned {
        let life = match CommandLife::begin(event) {
            Ok(life) => life,
            // A late step of a command that is over, or whose beginning is illegal.
            Err(Illegal::Number { .. }) => return Learned::Nothing,
            Err(illegal) => return Learned::Illegal(illegal),
        };
        match &event.what {
            Step::Accepted(accepted) => {
                let service = accepted.target.as_str();
                Learned::Changed(self.insert(event.command, service, life))
            }
            _ => Learned::Nothing,
        }
    }

    fn insert(&mut self, command: CommandId, service: &str, life: CommandLife) -> Change {
        let service = self.intern(service);
        if *life.state() == State::Dead {
            self.dead.insert(command);
        }
        let record = Record { life: life.clone(), service: service.clone(), is_stored: false };
        self.shards.entry(command.shard()).or_default().insert(command, record);
        self.touch(command);
        Change { command, service, before: None, life }
    }

    fn touch(&mut self, command: CommandId) {
        let is_stored = self.get(command).is_some_and(|record| record.is_stored);
        if let Some(changed) = &mut self.changed {
            changed.entry(command).or_insert(is_stored);
        }
    }

    fn leave(&mut self, command: CommandId) {
        self.dead.remove(&command);
        let record = self.shards.get_mut(&command.shard()).and_then(|all| all.remove(&command));
        let Some(Record { service, .. }) = record else {
            return;
        };
        match self.services.get_mut(&service) {
            Some(commands) if *commands > 1 => *commands -= 1,
            _ => {
                self.services.remove(&service);
            }
        }
    }

    fn intern(&mut self, service: &str) -> Arc<str> {
        if let Some((known, _)) = self.services.get_key_value(service) {
            let known = known.clone();
            self.services.entry(known.clone()).and_modify(|commands| *commands += 1);
            return known;
        }
        let name: Arc<str> = service.into();
        self.services.insert(name.clone(), 1);
        name
    }
}

fn encode(record: &Record) -> Vec<u8> {
    let stored =
        StoredRecord { life: record.life.clone(), service: record.service.as_ref().to_owned() };
    // Nothing in it can fail to be encoded; an empty one would be refused when it is restored.
    rmp_serde::to_vec(&stored).unwrap_or_default()
}

impl Record {
    /// What clients are told.
    #[must_use]
    pub fn info(&self, id: CommandId) -> Info {
        let due_ms = match self.life.state() {
            State::Queued { due_ms } if *due_ms > 0 => Some(*due_ms),
            _ => None,
        };
        Info {
            id,
            state: self.life.state().told(),
            service: self.service.as_ref().to_owned(),
            attempt: self.life.attempt(),
            attempts_max: self.life.attempts_max(),
            accepted_ms: self.life.accepted_ms(),
            due_ms,
            expires_ms: Some(self.life.expires_ms()).filter(|ms| *ms > 0),
            reason: self.life.reason().map(str::to_owned),
        }
    }
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
