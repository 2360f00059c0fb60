//! One partition's log as the engine keeps it, without its threads and files: records with epoch,
//! sequence and chain, a written and a durable end, and the rule by which it commits.
//!
//! It follows the engine's interface to the pair: `lead`, `follow`, `set_rule`, `raise_copied`,
//! `raise_told`, `replicate`, `mark`, `held`, `cut`. The records are real ones.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use starlog_examples::random::Random;
use store::event::{EventId, ExpectedVersion, Sequence, Signature, Version, Versions};
use store::names::StreamName;
use store::record::{self, Chain, Numbered};
use store::wire::append::AppendDone;
use store::{Append, Durability, Epoch};

/// What a log's owner waits for before it shows something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    Held,
    Alone,
    Both,
    Told,
}

/// A place in a log, and the history up to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Mark {
    pub sequence: u64,
    pub epoch: u64,
    pub chain: [u8; 16],
}

/// A record in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub bytes: Bytes,
    pub epoch: u64,
    pub sequence: u64,
    pub stream: StreamName,
    pub version: Version,
    pub id: EventId,
    pub signature: Signature,
    pub chain: [u8; 16],
    /// Up to here everything was committed and with every member when this was written.
    pub held: u64,
    pub ends_append: bool,
}

impl Entry {
    fn mark(&self) -> Mark {
        Mark { sequence: self.sequence, epoch: self.epoch, chain: self.chain }
    }

    /// Cuts records that stand back to back into entries.
    pub fn parse(records: &Bytes) -> Vec<Entry> {
        let mut entries = Vec::new();
        let mut offset = 0;
        for view in record::views(records).map(Result::unwrap) {
            let bytes = records.slice(offset..offset + view.len());
            offset += view.len();
            entries.push(Entry {
                epoch: view.epoch().0,
                sequence: view.sequence().0,
                stream: StreamName::new(Bytes::copy_from_slice(view.stream())).unwrap(),
                version: view.version(),
                id: view.id(),
                signature: view.signature(),
                chain: view.chain().0,
                held: view.committed_up_to().0,
                ends_append: view.ends_append(),
                bytes,
            });
        }
        entries
    }
}

/// What an append turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Done { done: AppendDone, epoch: u64 },
    WrongVersion { stream: StreamName, expected: ExpectedVersion, actual: Option<Version> },
    IdReused(Vec<EventId>),
    Unknown,
}

/// A message's outcomes, and how far the log must be committed before they may be said.
#[derive(Debug)]
struct Waiting<T> {
    needs: u64,
    outcomes: Vec<Outcome>,
    token: T,
}

/// The follower was given records that do not fit its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misfit {
    /// It ends elsewhere.
    Place,
    /// They continue another history.
    Chain,
    /// They are of a reign that it does not follow.
    Epoch,
}

/// A cut that must not be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CutRefused {
    /// Nothing like that is in the log.
    OtherHistory,
}

/// See the module's comment. `T` says whom an answer is for.
#[derive(Debug)]
pub struct Partition<T> {
    entries: Vec<Entry>,
    /// Records on the disk (inclusive).
    durable: u64,
    /// What was set aside.
    pub parked: Vec<Entry>,
    epoch: u64,
    leading: bool,
    rule: Rule,
    copied: u64,
    told: u64,
    committed: u64,
    held: u64,
    waiting: VecDeque<Waiting<T>>,
    /// How far the sync under way reaches.
    syncing: Option<u64>,
    /// Counts cuts: a sync from before one says nothing.
    cuts: u64,
    versions: HashMap<StreamName, Version>,
    places: HashMap<EventId, u64>,
}

impl<T> Default for Partition<T> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            durable: 0,
            parked: Vec::new(),
            epoch: 0,
            leading: false,
            rule: Rule::Held,
            copied: 0,
            told: 0,
            committed: 0,
            held: 0,
            waiting: VecDeque::new(),
            syncing: None,
            cuts: 0,
            versions: HashMap::new(),
            places: HashMap::new(),
        }
    }
}

impl<T> Partition<T> {
    pub fn written(&self) -> u64 {
        self.entries.last().map_or(0, |entry| entry.sequence)
    }

    pub fn durable(&self) -> u64 {
        self.durable
    }

    pub fn committed(&self) -> u64 {
        self.committed
    }

    pub fn held(&self) -> u64 {
        self.held
    }

    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    pub fn rule(&self) -> Rule {
        self.rule
    }

    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The end of what is written.
    pub fn mark(&self) -> Mark {
        self.entries.last().map(Entry::mark).unwrap_or_default()
    }

    pub fn mark_at(&self, sequence: u64) -> Option<Mark> {
        match sequence {
            0 => Some(Mark::default()),
            _ => self.entry(sequence).map(Entry::mark),
        }
    }

    pub fn entry(&self, sequence: u64) -> Option<&Entry> {
        let place = usize::try_from(sequence).unwrap().checked_sub(1)?;
        self.entries.get(place)
    }

    /// Whole appends from a sequence on, at least one if there is one, as they stand on disk; and
    /// the last sequence of them.
    pub fn read(&self, from: u64, up_to: u64, bytes_max: usize) -> (Bytes, u64) {
        let mut bytes = Vec::new();
        let (mut whole, mut last) = (0, from.saturating_sub(1));
        for entry in self.entries.iter().skip(usize::try_from(from.max(1) - 1).unwrap()) {
            let full = whole > 0 && bytes.len() + entry.bytes.len() > bytes_max;
            if entry.sequence > up_to || full {
                break;
            }
            bytes.extend_from_slice(&entry.bytes);
            if entry.ends_append {
                (whole, last) = (bytes.len(), entry.sequence);
            }
        }
        bytes.truncate(whole);
        (Bytes::from(bytes), last)
    }

    /// Last committed sequence whose record is of this epoch or an earlier one.
    pub fn last_of_epoch(&self, epoch: u64) -> u64 {
        let committed = usize::try_from(self.committed).unwrap();
        let last = self.entries.iter().take(committed).rev().find(|entry| entry.epoch <= epoch);
        last.map_or(0, |entry| entry.sequence)
    }

    pub fn lead(&mut self, epoch: u64) {
        assert!(epoch >= self.epoch, "epochs never fall");
        self.epoch = epoch;
        self.leading = true;
    }

    /// Takes no appends any more; what waits is given back.
    pub fn follow(&mut self, epoch: u64) -> Vec<(T, Vec<Outcome>)> {
        assert!(epoch >= self.epoch, "epochs never fall: {} after {}", epoch, self.epoch);
        self.epoch = epoch;
        self.leading = false;
        let unknown = |waiting: Waiting<T>| {
            let outcomes = waiting.outcomes.iter().map(|_| Outcome::Unknown).collect();
            (waiting.token, outcomes)
        };
        self.waiting.drain(..).map(unknown).collect()
    }

    pub fn set_rule(&mut self, rule: Rule) {
        self.rule = rule;
        self.commit();
    }

    pub fn raise_copied(&mut self, up_to: u64) {
        self.copied = self.copied.max(up_to);
        self.commit();
    }

    pub fn reset_copied(&mut self) {
        self.copied = 0;
    }

    pub fn raise_told(&mut self, committed: u64) {
        self.told = self.told.max(committed);
        self.commit();
    }

    /// The one place that decides what is committed.
    fn commit(&mut self) {
        let reached = match self.rule {
            Rule::Held => 0,
            Rule::Alone => self.durable,
            Rule::Both => self.durable.min(self.copied),
            Rule::Told => self.durable.min(self.told),
        };
        let reached = self.whole_up_to(reached.min(self.written()));
        self.committed = self.committed.max(reached);
        self.held = self.held.max(reached);
    }

    /// The last end of an append at or before a sequence.
    fn whole_up_to(&self, sequence: u64) -> u64 {
        let before = self.entries.iter().take(usize::try_from(sequence).unwrap());
        before.rev().find(|entry| entry.ends_append).map_or(0, |entry| entry.sequence)
    }

    /// Takes a message of a client; its answer comes out of [`Partition::take_answers`].
    pub fn submit(&mut self, appends: &[Append], token: T, look_up: bool) {
        assert!(self.leading, "only a leader numbers events");
        let outcomes: Vec<Outcome> =
            appends.iter().map(|append| self.append(append, look_up)).collect();
        self.waiting.push_back(Waiting { needs: self.written(), outcomes, token });
    }

    fn append(&mut self, append: &Append, look_up: bool) -> Outcome {
        if let Some(known) = self.known(append) {
            return known;
        }
        if look_up {
            return Outcome::Unknown;
        }
        for write in &append.writes {
            let actual = self.versions.get(&write.stream).copied();
            if !write.expected.accepts(actual) {
                let (stream, expected) = (write.stream.clone(), write.expected);
                return Outcome::WrongVersion { stream, expected, actual };
            }
        }
        self.write(append)
    }

    fn known(&self, append: &Append) -> Option<Outcome> {
        let ids: Vec<EventId> = append.events().map(|(_, event)| event.id).collect();
        let found: Vec<EventId> =
            ids.iter().copied().filter(|id| self.places.contains_key(id)).collect();
        let first = *self.places.get(found.first()?)?;
        let entry = |offset: u64| self.entry(first + offset);
        let whole = (0..).zip(append.events()).all(|(offset, (_, event))| {
            entry(offset).is_some_and(|at| {
                at.id == event.id && event.signature.is_none_or(|signed| signed == at.signature)
            })
        });
        let count = u64::try_from(ids.len()).unwrap();
        let last = entry(count - 1).filter(|last| last.ends_append);
        let (true, Some(last)) = (whole, last) else { return Some(Outcome::IdReused(found)) };
        let mut at = first;
        let versions = append.writes.iter().map(|write| {
            at += u64::try_from(write.events.len()).unwrap();
            self.entry(at - 1).map_or(Version::ZERO, |entry| entry.version)
        });
        let done = AppendDone {
            versions: versions.collect(),
            first: Sequence(first),
            last: Sequence(last.sequence),
            durability: Durability::Local,
            duplicate: true,
        };
        Some(Outcome::Done { done, epoch: last.epoch })
    }

    fn write(&mut self, append: &Append) -> Outcome {
        let (mut sequence, mut chain) = (self.written(), Chain(self.mark().chain));
        let (first, mut left) = (sequence + 1, append.event_count());
        let (mut buffer, mut versions) = (Vec::new(), Versions::new());
        for write in &append.writes {
            let mut version = self.versions.get(&write.stream).copied().unwrap_or_default();
            for event in &write.events {
                (sequence, left, version) = (sequence + 1, left - 1, version.next());
                let numbered = Numbered {
                    stream: &write.stream,
                    event,
                    sequence: Sequence(sequence),
                    version,
                    epoch: Epoch(self.epoch),
                    committed_up_to: Sequence(self.held),
                    time_micros: 0,
                    ends_append: left == 0,
                };
                chain = record::encode(&numbered, chain, &mut buffer);
            }
            versions.push(version);
        }
        self.extend(Entry::parse(&Bytes::from(buffer)));
        let done = AppendDone {
            first: Sequence(first),
            last: Sequence(sequence),
            versions,
            durability: Durability::Local,
            duplicate: false,
        };
        Outcome::Done { done, epoch: self.epoch }
    }

    fn extend(&mut self, entries: Vec<Entry>) {
        for entry in entries {
            assert_eq!(entry.sequence, self.written() + 1, "a log has no gaps");
            assert!(entry.epoch >= self.mark().epoch, "epochs never fall along a log");
            self.versions.insert(entry.stream.clone(), entry.version);
            self.places.insert(entry.id, entry.sequence);
            self.entries.push(entry);
        }
    }

    /// The follower's way in: whole appends behind `previous`.
    pub fn replicate(&mut self, records: &Bytes, previous: u64) -> Result<u64, Misfit> {
        if previous != self.written() {
            return Err(Misfit::Place);
        }
        let entries = Entry::parse(records);
        let chain = Chain(self.mark().chain);
        let fits = record::views(records).next().is_none_or(|view| view.unwrap().continues(chain));
        if !fits {
            return Err(Misfit::Chain);
        }
        if self.leading || entries.last().is_some_and(|last| last.epoch > self.epoch) {
            return Err(Misfit::Epoch);
        }
        self.extend(entries);
        Ok(self.written())
    }

    /// Answers that may be said now, in the order of their messages.
    pub fn take_answers(&mut self) -> Vec<(T, Vec<Outcome>)> {
        let mut ready = Vec::new();
        while let Some(waiting) = self.waiting.pop_front() {
            if waiting.needs > self.committed {
                self.waiting.push_front(waiting);
                break;
            }
            ready.push((waiting.token, waiting.outcomes));
        }
        ready
    }

    /// A sync that should begin: what it is known by, and nothing if none is due.
    pub fn begin_sync(&mut self) -> Option<u64> {
        if self.syncing.is_some() || self.durable == self.written() {
            return None;
        }
        self.syncing = Some(self.written());
        Some(self.cuts)
    }

    /// The sync that began before has ended well.
    pub fn synced(&mut self, cuts: u64) {
        if cuts == self.cuts
            && let Some(target) = self.syncing.take()
        {
            self.durable = self.durable.max(target);
            self.commit();
        }
    }

    /// Sets aside everything behind `to`; returns it.
    pub fn cut(&mut self, to: Mark) -> Result<Vec<Entry>, CutRefused> {
        if self.mark_at(to.sequence) != Some(to) {
            return Err(CutRefused::OtherHistory);
        }
        let parked = self.entries.split_off(usize::try_from(to.sequence).unwrap());
        self.parked.extend(parked.iter().cloned());
        self.cuts += 1;
        self.syncing = None;
        // Park and cut are synced before the partition is opened again.
        self.durable = self.written();
        self.reopen();
        Ok(parked)
    }

    /// The process is gone: what was not synced may be there in part, up to the end of an append.
    pub fn crash(&mut self, random: &mut Random) {
        let kept = random.between(self.durable, self.written());
        self.entries.truncate(usize::try_from(self.whole_up_to(kept)).unwrap());
        self.cuts += 1;
        self.syncing = None;
        self.durable = self.written();
        self.epoch = 0;
        self.reopen();
    }

    /// What follows from the records alone.
    fn reopen(&mut self) {
        self.leading = false;
        self.rule = Rule::Held;
        (self.copied, self.told) = (0, 0);
        self.waiting.clear();
        self.held = self.entries.iter().map(|entry| entry.held).max().unwrap_or(0);
        self.committed = self.held;
        self.versions.clear();
        self.places.clear();
        for entry in &self.entries {
            self.versions.insert(entry.stream.clone(), entry.version);
            self.places.insert(entry.id, entry.sequence);
        }
    }

    /// What holds at all times.
    pub fn assert_sound(&self) {
        assert!(self.durable <= self.written());
        assert!(self.committed <= self.durable, "nothing is shown before it is synced here");
        assert!(self.held <= self.committed);
    }
}
