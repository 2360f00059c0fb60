//! Both machines with logs and a link that loses messages.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use proptest::prelude::*;

use super::{Log, name};
use crate::pair::message::{Body, Commit, CutOrder, Probe, RecordsHead};
use crate::pair::protocol::FollowerProgress;
use crate::pair::replication::{
    Counted, Follower, FollowerInput, FollowerOutput, Leader, LeaderInput, LeaderOutput, LogEnd,
    PATIENCE_TICKS,
};
use broker::witness::PartitionName;

/// Records read at once.
const BLOCK_RECORDS: u64 = 3;

struct World {
    leader: Leader,
    follower: Follower,
    ours: BTreeMap<PartitionName, Log>,
    theirs: BTreeMap<PartitionName, Log>,
    to_follower: VecDeque<Body>,
    to_leader: VecDeque<Body>,
    progress: Vec<FollowerProgress>,
    copied: BTreeMap<PartitionName, u64>,
    told: BTreeMap<PartitionName, u64>,
    probes: usize,
    cuts: Vec<(PartitionName, u64)>,
    aligned: usize,
    halted: bool,
}

impl World {
    fn new(epoch: u64, logs: &[(Log, Log)]) -> Self {
        let named = |side: fn(&(Log, Log)) -> Log| {
            let number = |at| u8::try_from(at).unwrap();
            logs.iter().enumerate().map(|(at, both)| (name(number(at)), side(both))).collect()
        };
        let mut world = Self {
            leader: Leader::new(epoch, Counted::Durable),
            follower: Follower::new(epoch, Counted::Durable),
            ours: named(|both| both.0.clone()),
            theirs: named(|both| both.1.clone()),
            to_follower: VecDeque::new(),
            to_leader: VecDeque::new(),
            progress: Vec::new(),
            copied: BTreeMap::new(),
            told: BTreeMap::new(),
            probes: 0,
            cuts: Vec::new(),
            aligned: 0,
            halted: false,
        };
        world.move_all();
        world
    }

    fn move_all(&mut self) {
        let moves: Vec<_> =
            self.ours.iter().map(|(name, log)| (name.clone(), log.end().sequence)).collect();
        for (partition, written) in moves {
            self.lead(LeaderInput::Moved { partition, written, committed: written });
        }
    }

    /// The follower hears of the catalogue.
    fn catalogue(&mut self) {
        let ends = self.theirs.iter().map(|(name, log)| LogEnd {
            partition: name.clone(),
            end: log.end(),
            held: 0,
        });
        self.follow(FollowerInput::Ready(ends.collect()));
    }

    fn lead(&mut self, input: LeaderInput) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let mut out = Vec::new();
            self.leader.handle(input, &mut out);
            for output in out {
                self.carry_out(output, &mut inputs);
            }
        }
    }

    fn carry_out(&mut self, output: LeaderOutput, inputs: &mut VecDeque<LeaderInput>) {
        let epoch = self.leader.epoch();
        match output {
            LeaderOutput::Probe(partition, at) => {
                self.probes += 1;
                self.to_follower.push_back(Body::Probe(Probe { epoch, partition, at }));
            }
            LeaderOutput::Look(partition, at) => {
                let mark = self.ours[&partition].mark(at);
                inputs.push_back(LeaderInput::Own { partition, at, mark });
            }
            LeaderOutput::Cut(partition, to) => {
                self.to_follower.push_back(Body::Cut(CutOrder { epoch, partition, to }));
            }
            LeaderOutput::Read(partition, from) => inputs.push_back(self.read(partition, from)),
            LeaderOutput::Send(sending) => {
                let head = RecordsHead {
                    epoch,
                    partition: sending.partition,
                    previous: sending.previous,
                    last: sending.last,
                    committed: sending.committed,
                };
                self.to_follower.push_back(Body::Records(head, sending.records));
            }
            LeaderOutput::Commit { partition, committed, sent, counted } => {
                let commit = Commit { epoch, partition, committed, sent, counted };
                self.to_follower.push_back(Body::Commit(commit));
            }
            LeaderOutput::Copied { partition, counted, .. } => {
                self.copied.insert(partition, counted);
            }
            LeaderOutput::Catalogue => self.catalogue(),
            LeaderOutput::Progress(progress) => self.progress.push(progress),
        }
    }

    fn read(&self, partition: PartitionName, from: u64) -> LeaderInput {
        let log = &self.ours[&partition];
        let last = (from + BLOCK_RECORDS - 1).min(log.end().sequence);
        let chains = (from..=last).flat_map(|at| log.mark(at).unwrap().chain);
        let block = Some((last, chains.collect::<Bytes>()));
        LeaderInput::Block { partition, from, block }
    }

    fn follow(&mut self, input: FollowerInput) {
        let mut out = Vec::new();
        self.follower.handle(input, &mut out);
        for output in out {
            match output {
                FollowerOutput::Report(report) => self.to_leader.push_back(Body::Mark(report)),
                FollowerOutput::Look(partition, at) => {
                    let mark = self.theirs[&partition].mark(at);
                    self.follow(FollowerInput::Own { partition, at, mark });
                }
                FollowerOutput::Cut(cuts) => {
                    for (partition, to) in cuts {
                        let log = self.theirs.get_mut(&partition).unwrap();
                        assert_eq!(log.mark(to.sequence), Some(to), "cut where both agree");
                        log.0.truncate(usize::try_from(to.sequence).unwrap());
                        self.cuts.push((partition.clone(), to.sequence));
                        self.follow(FollowerInput::CutDone { partition, end: to });
                    }
                }
                FollowerOutput::Aligned => self.aligned += 1,
                FollowerOutput::CutDone(done) => {
                    let partition = done.partition.clone();
                    self.to_leader.push_back(Body::CutDone(done));
                    self.moved(partition);
                }
                FollowerOutput::Write(write) => {
                    let log = self.theirs.get_mut(&write.partition).unwrap();
                    let ours = &self.ours[&write.partition];
                    assert_eq!(log.end(), ours.mark(write.previous).unwrap(), "no hole, no fork");
                    let count = u64::try_from(write.records.len() / 16).unwrap();
                    for at in 1..=count {
                        log.0.push(ours.mark(write.previous + at).unwrap());
                    }
                    self.moved(write.partition);
                }
                FollowerOutput::Ack(ack) => self.to_leader.push_back(Body::Ack(ack)),
                FollowerOutput::Told(partition, committed) => {
                    self.told.insert(partition, committed);
                }
                FollowerOutput::Halt(_) => self.halted = true,
            }
        }
    }

    fn moved(&mut self, partition: PartitionName) {
        let written = self.theirs[&partition].end().sequence;
        self.follow(FollowerInput::Moved { partition, written, durable: written });
    }

    /// Delivers one message, or loses it.
    fn deliver(&mut self, to_follower: bool, lose: bool) {
        let queue = if to_follower { &mut self.to_follower } else { &mut self.to_leader };
        let Some(body) = queue.pop_front().filter(|_| !lose) else {
            return;
        };
        match body {
            Body::Probe(body) => self.follow(FollowerInput::Probe(body)),
            Body::Cut(body) => self.follow(FollowerInput::Cut(body)),
            Body::Records(head, records) => self.follow(FollowerInput::Records(head, records)),
            Body::Commit(body) => self.follow(FollowerInput::Commit(body)),
            Body::Mark(body) => self.lead(LeaderInput::Mark(body)),
            Body::CutDone(body) => self.lead(LeaderInput::CutDone(body)),
            Body::Ack(body) => self.lead(LeaderInput::Ack(body)),
            other => panic!("not sent here: {other:?}"),
        }
    }

    /// Delivers everything; with lost messages some ticks are needed.
    fn settle(&mut self, ticks: u32) {
        for _ in 0..=ticks {
            self.deliver_all();
            self.lead(LeaderInput::Tick);
        }
        self.deliver_all();
    }

    fn deliver_all(&mut self) {
        while !self.to_follower.is_empty() || !self.to_leader.is_empty() {
            self.deliver(true, false);
            self.deliver(false, false);
        }
    }

    fn assert_equal(&self) {
        for (name, ours) in &self.ours {
            assert_eq!(self.theirs[name].0, ours.0, "{name:?}");
            assert_eq!(self.copied.get(name).copied().unwrap_or(0), ours.end().sequence);
        }
        assert_eq!(self.leader.lag_records(), Some(0));
    }
}

#[test]
fn the_logs_become_equal_whatever_they_were() {
    let rows = [
        ("both empty", Log::default(), Log::default(), None),
        ("a new follower", Log::of(&[(1, 20)]), Log::default(), None),
        ("one that lacks a little", Log::of(&[(1, 20)]), Log::of(&[(1, 17)]), None),
        ("one with a tail", Log::of(&[(1, 20), (2, 5)]), Log::of(&[(1, 23)]), Some(20)),
        ("one that is longer", Log::of(&[(1, 20)]), Log::of(&[(1, 23)]), Some(20)),
        ("one that shares nothing", Log::of(&[(2, 9)]), Log::of(&[(1, 12)]), Some(0)),
        ("an empty leader", Log::default(), Log::of(&[(1, 3)]), Some(0)),
    ];
    for (row, ours, theirs, cut) in rows {
        let mut world = World::new(5, &[(ours, theirs)]);
        world.catalogue();
        world.settle(1);
        world.assert_equal();
        assert_eq!(world.aligned, 1, "{row}");
        assert_eq!(
            world.cuts,
            cut.map(|to| (name(0), to)).into_iter().collect::<Vec<_>>(),
            "{row}"
        );
        assert!(world.progress.contains(&FollowerProgress::Near), "{row}");
    }
}

#[test]
fn the_number_of_questions_grows_with_the_logarithm() {
    for (behind, most) in [(0_u64, 0), (1, 2), (1000, 22), (60_000, 34)] {
        let ours = Log::of(&[(1, 100_000), (2, behind)]);
        let theirs = Log::of(&[(1, 100_000), (3, behind)]);
        let mut world = World::new(5, &[(ours, theirs)]);
        world.catalogue();
        while world.cuts.is_empty() && world.aligned == 0 {
            world.deliver(true, false);
            world.deliver(false, false);
        }
        assert!(world.probes <= most, "{behind}: {} probes", world.probes);
    }
}

#[test]
fn no_partition_changes_before_all_are_answered_for() {
    let mut world = World::new(
        5,
        &[(Log::of(&[(1, 5)]), Log::of(&[(2, 6)])), (Log::default(), Log::default())],
    );
    world.catalogue();
    // What the follower says of the second partition gets lost, however often it says it.
    for _ in 0..3 * PATIENCE_TICKS {
        world
            .to_leader
            .retain(|body| !matches!(body, Body::Mark(mark) if mark.partition == name(1)));
        world.deliver_all();
        world.lead(LeaderInput::Tick);
    }
    assert_eq!((world.cuts.len(), world.aligned), (0, 0));
    world.settle(PATIENCE_TICKS);
    assert_eq!((world.cuts.len(), world.aligned), (1, 1));
    world.assert_equal();
}

#[test]
fn a_new_epoch_of_the_same_leader_costs_an_acknowledgement() {
    let mut world = World::new(5, &[(Log::of(&[(1, 9)]), Log::default())]);
    world.catalogue();
    world.settle(1);
    let (probes, cuts) = (world.probes, world.cuts.len());
    world.progress.clear();
    world.lead(LeaderInput::Epoch(6));
    assert_eq!(world.leader.lag_records(), Some(9), "nothing counts yet");
    world.lead(LeaderInput::Both);
    assert!(!world.progress.contains(&FollowerProgress::CaughtUp));
    world.follow(FollowerInput::Epoch(6));
    world.settle(0);
    world.assert_equal();
    assert_eq!((world.probes, world.cuts.len(), world.aligned), (probes, cuts, 2));
    assert!(world.progress.contains(&FollowerProgress::CaughtUp));
}

#[test]
fn everything_is_drained_once_all_is_acknowledged() {
    let mut world = World::new(5, &[(Log::of(&[(1, 9)]), Log::default())]);
    world.catalogue();
    world.lead(LeaderInput::Draining(true));
    assert!(!world.progress.contains(&FollowerProgress::Drained));
    world.settle(0);
    assert!(world.progress.contains(&FollowerProgress::Drained));
}

#[derive(Debug, Clone)]
enum Event {
    Deliver { to_follower: bool, lose: bool },
    Append { partition: u8, count: u64 },
    Tick,
    Epoch,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let deliver = (any::<bool>(), prop::bool::weighted(0.2));
    let deliver = deliver.prop_map(|(to_follower, lose)| Event::Deliver { to_follower, lose });
    let append = (0..2_u8, 1..9_u64);
    let append = append.prop_map(|(partition, count)| Event::Append { partition, count });
    let one = prop_oneof![
        12 => deliver, 2 => append, 2 => Just(Event::Tick), 1 => Just(Event::Epoch)
    ];
    prop::collection::vec(one, 0..120)
}

proptest! {
    #[test]
    fn lost_messages_are_made_up_for(
        shared in 0..20_u64, ours in 0..20_u64, theirs in 0..20_u64, events in events(),
    ) {
        let both = (Log::of(&[(1, shared), (3, ours)]), Log::of(&[(1, shared), (2, theirs)]));
        let mut world = World::new(5, &[both, (Log::of(&[(4, 3)]), Log::default())]);
        world.catalogue();
        let mut epoch = 5;
        for event in events {
            match event {
                Event::Deliver { to_follower, lose } => world.deliver(to_follower, lose),
                Event::Append { partition, count } => {
                    world.ours.get_mut(&name(partition)).unwrap().add(epoch, count);
                    world.move_all();
                }
                Event::Tick => world.lead(LeaderInput::Tick),
                Event::Epoch => {
                    epoch += 1;
                    world.lead(LeaderInput::Epoch(epoch));
                    world.follow(FollowerInput::Epoch(epoch));
                }
            }
        }
        world.settle(8 * PATIENCE_TICKS);
        world.assert_equal();
        prop_assert!(!world.halted);
    }
}
