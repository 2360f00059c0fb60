//! What is true, whoever says what: the records that were ever committed, and what clients were
//! told. Whatever contradicts it fails the run on the spot.

use std::collections::{BTreeMap, HashMap, HashSet};

use starlog_examples::history::{Acknowledged, History, LogEntry, SentEvent, Verdict};
use store::StreamWrite;
use store::event::{EventId, Sequence, Version};
use store::wire::append::AppendDone;
use uuid::Uuid;

use crate::engine::{Entry, Partition};

/// How often something worth knowing happened.
#[derive(Debug, Default, Clone)]
pub struct Counters {
    /// A follower became leader.
    pub failovers: u64,
    /// A leader went on alone.
    pub solo: u64,
    /// A follower became member again.
    pub rejoined: u64,
    /// A leader found its place taken.
    pub deposed: u64,
    /// The witness preferred another proposal.
    pub lost_races: u64,
    /// The witness kept a leader that it heard.
    pub leaders_kept: u64,
    /// A leader handed over.
    pub handovers: u64,
    /// Requests that a node took while it led and did not answer because it no longer did.
    pub zombie_refusals: u64,
    /// Messages that a client sent again.
    pub resends: u64,
    /// Appends that were in the log already when they came.
    pub duplicates: u64,
    /// Appends whose first outcome was unknown.
    pub unknown: u64,
    /// Expected versions that did not hold.
    pub conflicts: u64,
    /// Cuts that set records aside.
    pub cuts_with_parked: u64,
    /// Gaps in the feed that were filled by replay.
    pub gaps_repaired: u64,
    pub acknowledged: u64,
    pub crashes: u64,
    pub wipes: u64,
    pub amnesias: u64,
    pub failed_syncs: u64,
    pub halts: u64,
    /// Seeds that ended with everything well.
    pub recovered: u64,
}

impl Counters {
    fn rows(&self) -> [(&'static str, u64); 21] {
        [
            ("failovers", self.failovers),
            ("solo", self.solo),
            ("rejoined", self.rejoined),
            ("deposed", self.deposed),
            ("lost races", self.lost_races),
            ("leaders kept", self.leaders_kept),
            ("handovers", self.handovers),
            ("zombie refusals", self.zombie_refusals),
            ("resends", self.resends),
            ("duplicates", self.duplicates),
            ("unknown", self.unknown),
            ("conflicts", self.conflicts),
            ("cuts with parked records", self.cuts_with_parked),
            ("gaps repaired", self.gaps_repaired),
            ("acknowledged", self.acknowledged),
            ("crashes", self.crashes),
            ("wipes", self.wipes),
            ("amnesias", self.amnesias),
            ("failed syncs", self.failed_syncs),
            ("halts", self.halts),
            ("recovered", self.recovered),
        ]
    }

    /// Adds those of another run.
    pub fn add(&mut self, other: &Counters) {
        self.failovers += other.failovers;
        self.solo += other.solo;
        self.rejoined += other.rejoined;
        self.deposed += other.deposed;
        self.lost_races += other.lost_races;
        self.leaders_kept += other.leaders_kept;
        self.handovers += other.handovers;
        self.zombie_refusals += other.zombie_refusals;
        self.resends += other.resends;
        self.duplicates += other.duplicates;
        self.unknown += other.unknown;
        self.conflicts += other.conflicts;
        self.cuts_with_parked += other.cuts_with_parked;
        self.gaps_repaired += other.gaps_repaired;
        self.acknowledged += other.acknowledged;
        self.crashes += other.crashes;
        self.wipes += other.wipes;
        self.amnesias += other.amnesias;
        self.failed_syncs += other.failed_syncs;
        self.halts += other.halts;
        self.recovered += other.recovered;
    }

    /// Names of those that never happened.
    pub fn missing(&self) -> Vec<&'static str> {
        self.rows().into_iter().filter(|(_, count)| *count == 0).map(|(name, _)| name).collect()
    }
}

impl std::fmt::Display for Counters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rows = self.rows().map(|(name, count)| format!("{count} {name}"));
        f.write_str(&rows.join(", "))
    }
}

/// A client was told that its append is committed.
#[derive(Debug)]
pub struct Acknowledgement {
    pub partition: u16,
    pub writes: Vec<StreamWrite>,
    pub done: AppendDone,
}

/// See the module's comment.
#[derive(Debug)]
pub struct Oracle {
    pub counters: Counters,
    /// Committed records of each partition, in order.
    truth: Vec<Vec<Entry>>,
    /// Who committed in which epoch.
    leaders: BTreeMap<u64, Uuid>,
    /// Ids that a client was told are not in the log and never will be.
    refused: HashSet<EventId>,
    history: History,
}

impl Oracle {
    pub fn new(partitions: u16) -> Self {
        Self {
            counters: Counters::default(),
            truth: vec![Vec::new(); usize::from(partitions)],
            leaders: BTreeMap::new(),
            refused: HashSet::new(),
            history: History::default(),
        }
    }

    /// Newest committed sequence of a partition.
    pub fn head(&self, partition: usize) -> u64 {
        u64::try_from(self.truth[partition].len()).unwrap()
    }

    /// A leader's head has moved from `from`: nothing else may ever stand at these places.
    pub fn commits<T>(&mut self, who: Uuid, number: usize, log: &Partition<T>, from: u64) {
        if log.committed() > from {
            let leader = *self.leaders.entry(log.epoch()).or_insert(who);
            assert_eq!(leader, who, "two leaders commit in epoch {}", log.epoch());
        }
        let committed = usize::try_from(log.committed()).unwrap();
        let from = usize::try_from(from).unwrap();
        for entry in log.entries().iter().take(committed).skip(from) {
            let truth = &mut self.truth[number];
            let place = usize::try_from(entry.sequence - 1).unwrap();
            match truth.get(place) {
                Some(known) => assert_same(number, known, entry),
                None => {
                    assert_eq!(place, truth.len(), "what was committed is not in the log");
                    assert!(!self.refused.contains(&entry.id), "{} was refused", entry.id);
                    truth.push(entry.clone());
                }
            }
        }
    }

    /// A follower shows records up to its head, of which those up to `from` were checked.
    pub fn shows<T>(&self, number: usize, log: &Partition<T>, from: u64) {
        assert!(log.committed() <= self.head(number), "a follower is ahead of its leader");
        for sequence in from + 1..=log.committed() {
            let entry = log.entry(sequence).unwrap();
            assert_same(number, &self.truth[number][usize::try_from(sequence - 1).unwrap()], entry);
        }
    }

    /// A reader was given records.
    pub fn delivered(&self, number: usize, entry: &Entry) {
        let known = self.truth[number].get(usize::try_from(entry.sequence - 1).unwrap());
        assert_same(number, known.expect("only what is committed is shown"), entry);
    }

    /// Records are set aside.
    pub fn parks(&mut self, number: usize, parked: &[Entry]) {
        self.counters.cuts_with_parked += u64::from(!parked.is_empty());
        for entry in parked {
            let known = self.truth[number].get(usize::try_from(entry.sequence - 1).unwrap());
            let same = known.is_some_and(|known| known.chain == entry.chain);
            assert!(!same, "{number}/{} is committed and was cut", entry.sequence);
        }
    }

    /// Events that the store itself makes.
    pub fn system_events(&mut self, ids: impl IntoIterator<Item = EventId>) {
        self.history.leave_open(ids);
    }

    /// A client's append is over and definitely not done.
    pub fn refused(&mut self, ids: impl IntoIterator<Item = EventId>) {
        for id in ids {
            let done = self.truth.iter().flatten().any(|entry| entry.id == id);
            assert!(!done, "{id} was refused and is in the log");
            self.refused.insert(id);
        }
    }

    pub fn acknowledged(&mut self, acknowledgement: Acknowledgement) {
        let Acknowledgement { partition, writes, done } = acknowledgement;
        self.counters.acknowledged += 1;
        self.counters.duplicates += u64::from(done.duplicate);
        let truth = &self.truth[usize::from(partition)];
        let [write] = &writes[..] else { panic!("the clients write to one stream at a time") };
        for (event, sequence) in write.events.iter().zip(done.first.0..) {
            let known = truth.get(usize::try_from(sequence - 1).unwrap());
            let known = known.expect("acknowledged before it was committed");
            assert_eq!(known.id, event.id, "acknowledged as {partition}/{sequence}");
        }
        let digest = |event: &store::NewEvent| event.signature.unwrap();
        let count = u64::try_from(write.events.len()).unwrap();
        self.history.acknowledge(Acknowledged {
            partition,
            stream: write.stream.clone(),
            first_version: Version(done.versions.first().unwrap().0 + 1 - count),
            first_sequence: done.first,
            events: write
                .events
                .iter()
                .map(|event| SentEvent { id: event.id, digest: digest(event) })
                .collect(),
        });
    }

    /// Holds everything that clients were told against the log of a node.
    pub fn verdict<T>(&self, logs: &[Partition<T>]) -> Verdict {
        let mut entries = Vec::new();
        for (partition, log) in (0..).zip(logs) {
            entries.extend(log.entries().iter().map(|entry| LogEntry {
                partition,
                sequence: Sequence(entry.sequence),
                stream: entry.stream.clone(),
                version: entry.version,
                id: entry.id,
                digest: entry.signature,
                ends_append: entry.ends_append,
            }));
        }
        // `$topology` has a stream in each partition, and versions of its own there.
        let names: HashMap<u16, store::StreamName> = (0..logs.len())
            .map(|number| (u16::try_from(number).unwrap(), system_name(number)))
            .collect();
        for entry in entries.iter_mut().filter(|entry| entry.stream.is_system()) {
            entry.stream = names[&entry.partition].clone();
        }
        self.history.check(&entries)
    }
}

fn system_name(partition: usize) -> store::StreamName {
    store::StreamName::new(format!("$topology-{partition}")).unwrap()
}

fn assert_same(partition: usize, known: &Entry, entry: &Entry) {
    assert_eq!(
        known.chain, entry.chain,
        "{partition}/{}: epoch {} and epoch {} have different records there",
        entry.sequence, known.epoch, entry.epoch
    );
}
