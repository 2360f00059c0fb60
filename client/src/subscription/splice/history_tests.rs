//! A splice in a simulated world: a log that grows, leaders that change and may lose its end, a
//! former leader that has not noticed, a feed that loses, doubles and mixes up its messages, and
//! replays by any member. The feed and the history are those of the partition, or of a filter.

use std::collections::BTreeMap;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::position::Lineage;

const LINEAGE: Lineage = Lineage(Uuid::from_u128(1));
const HEARTBEAT: Duration = Duration::from_millis(500);

/// A record as a subscriber sees it: its sequence and its epoch.
type Record = (u64, u64);
type Records = Vec<Record>;

#[derive(Debug, Clone)]
enum Step {
    /// The log grows by so many records; the feed message is kept in the network.
    Append(u64),
    /// The former leader does the same to its own log.
    FormerAppend(u64),
    /// The network delivers the message at this place, and keeps it (a double) or not.
    Deliver { place: usize, keep: bool },
    /// The network loses the message at this place.
    Lose(usize),
    /// A heartbeat arrives.
    Heartbeat,
    /// A member sends up to so many records of what was asked for.
    Replay { count: u64, member: Member },
    /// The replay breaks off.
    Break,
    /// A new leader takes over, so many epochs later and with so many records less, and
    /// publishes so many records anew.
    Failover { epochs: u64, less: u64, anew: u64 },
    /// Time passes, in milliseconds.
    Wait(u64),
}

#[derive(Debug, Clone, Copy)]
enum Member {
    Leader,
    /// Of the same reign, with so many records less.
    Follower(u64),
    Former,
}

fn steps(less_max: u64) -> impl Strategy<Value = Vec<Step>> {
    let member = prop_oneof![
        3 => Just(Member::Leader),
        1 => (0..6u64).prop_map(Member::Follower),
        1 => Just(Member::Former),
    ];
    let failover = (1..3u64, 0..=less_max, 0..3u64);
    let step = prop_oneof![
        4 => (1..5u64).prop_map(Step::Append),
        1 => (1..5u64).prop_map(Step::FormerAppend),
        6 => (0..4usize, any::<bool>()).prop_map(|(place, keep)| Step::Deliver { place, keep }),
        2 => (0..4usize).prop_map(Step::Lose),
        2 => Just(Step::Heartbeat),
        5 => (1..7u64, member).prop_map(|(count, member)| Step::Replay { count, member }),
        1 => Just(Step::Break),
        1 => failover.prop_map(|(epochs, less, anew)| Step::Failover { epochs, less, anew }),
        2 => (1..1500u64).prop_map(Step::Wait),
    ];
    proptest::collection::vec(step, 1..200)
}

/// Which records are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    All,
    /// Some, with gaps of all sizes between them.
    Some,
}

impl Asked {
    fn takes(self, (sequence, epoch): Record) -> bool {
        match self {
            Self::All => true,
            Self::Some => (sequence * sequence + 3 * epoch) % 7 < 3,
        }
    }
}

fn asked() -> impl Strategy<Value = Asked> {
    prop_oneof![Just(Asked::All), Just(Asked::Some)]
}

/// A node's committed log and the epoch that it is in.
#[derive(Debug, Clone)]
struct Log {
    asked: Asked,
    epoch: u64,
    /// Epoch of each record.
    records: Vec<u64>,
}

impl Log {
    fn head(&self) -> u64 {
        u64::try_from(self.records.len()).unwrap()
    }

    /// Last sequence of the reigns up to this one.
    fn last_of_epoch(&self, epoch: u64) -> u64 {
        u64::try_from(self.records.partition_point(|of| *of <= epoch)).unwrap()
    }

    /// All records behind `previous` up to `last`.
    fn whole(&self, previous: u64, last: u64) -> Records {
        (1..)
            .zip(self.records.iter().copied())
            .filter(|(s, _)| (previous + 1..=last).contains(s))
            .collect()
    }

    /// Those of them that are asked for.
    fn part(&self, previous: u64, last: u64) -> Records {
        let mut records = self.whole(previous, last);
        records.retain(|record| self.asked.takes(*record));
        records
    }

    /// What the publisher says of the records behind `previous` up to `last`.
    fn message(&self, previous: u64, last: u64) -> FeedMessage<Records> {
        let records = self.part(previous, last);
        let previous = match self.asked {
            Asked::All => previous,
            Asked::Some => self.part(0, previous).last().map_or(0, |(sequence, _)| *sequence),
        };
        FeedMessage {
            lineage: LINEAGE,
            span: Span {
                epoch: Epoch(self.epoch),
                previous: Sequence(previous),
                last: Sequence(last),
            },
            cut: Sequence(self.last_of_epoch(self.epoch - 1)),
            heartbeat: HEARTBEAT,
            first: Sequence(records.first().map_or(0, |(sequence, _)| *sequence)),
            bytes: 100,
            records: (!records.is_empty()).then_some(records),
        }
    }

    /// What a store sends of so many records behind `place`, and whether that is the end.
    fn block(&self, place: u64, count: u64) -> ReplayedBlock<Records> {
        let head = self.head();
        let mut records = self.part(place, head);
        records.truncate(usize::try_from(count).unwrap());
        let last = records.last().map_or(place, |(sequence, _)| *sequence);
        let end = self.part(last, head).is_empty();
        // At the end of a filtered read everything up to the head was looked at.
        let last = if end { last.max(head) } else { last };
        let (previous, last) = (Sequence(place), Sequence(last));
        let span = Span { epoch: Epoch(self.epoch), previous, last };
        ReplayedBlock { lineage: LINEAGE, span, head: Sequence(head), end, records }
    }

    fn append(&mut self, count: u64) -> FeedMessage<Records> {
        let previous = self.head();
        self.records.extend((0..count).map(|_| self.epoch));
        self.message(previous, self.head())
    }
}

/// What was asked for and has not come yet.
#[derive(Debug, Clone, Copy)]
struct Read {
    from: u64,
    epoch: u64,
    fresh: bool,
}

struct World {
    splice: Splice<Records>,
    now: Instant,
    delivered: Records,
    stopped: Option<StopReason>,
    leader: Log,
    former: Log,
    /// The log of each epoch, as far as it came.
    logs: BTreeMap<u64, Log>,
    network: Vec<FeedMessage<Records>>,
    read: Option<Read>,
}

impl World {
    #[expect(clippy::disallowed_methods, reason = "an arbitrary point to count from")]
    fn new(asked: Asked, start: u64) -> Self {
        let now = Instant::now();
        let position =
            Position { lineage: Some(LINEAGE), epoch: Epoch(1), sequence: Sequence(start) };
        let log = Log { asked, epoch: 1, records: vec![1; 5] };
        Self {
            splice: Splice::new(now, position, OnGap::Repair, start),
            now,
            delivered: log.part(0, start),
            stopped: None,
            leader: log.clone(),
            former: log.clone(),
            logs: BTreeMap::from([(1, log)]),
            network: Vec::new(),
            read: None,
        }
    }

    fn give(&mut self, input: SpliceInput<Records>) {
        let mut outputs = Vec::new();
        self.splice.handle(self.now, input, &mut outputs);
        for output in outputs {
            match output {
                SpliceOutput::Deliver { after, records, position } => {
                    self.delivered.extend(records.iter().filter(|(s, _)| *s > after.0));
                    self.check(position);
                }
                SpliceOutput::Moved { position } => self.check(position),
                SpliceOutput::Replay { from, epoch } => {
                    self.read = Some(Read { from: from.0, epoch: epoch.0, fresh: true });
                }
                SpliceOutput::StopReplay { .. } => self.read = None,
                SpliceOutput::Subscribe { .. } => {}
                SpliceOutput::Stop(reason) => {
                    let lost = !self.is_prefix();
                    assert!(lost, "stopped with all in the log: {reason:?} {:?}", self.leader);
                    self.stopped = Some(reason);
                }
            }
        }
    }

    /// Everything up to the position was delivered, and nothing else.
    fn check(&self, Position { epoch, sequence, .. }: Position) {
        let log = &self.logs[&epoch.0];
        assert!(sequence.0 <= log.head());
        assert_eq!(self.delivered, log.part(0, sequence.0));
    }

    /// Whether what was covered is how the newest log begins, whoever was asked for.
    fn is_prefix(&self) -> bool {
        let Position { epoch, sequence, .. } = self.splice.position();
        let covered = self.logs[&epoch.0].whole(0, sequence.0);
        sequence.0 <= self.leader.head() && covered == self.leader.whole(0, sequence.0)
    }

    /// A store answers.
    fn replay(&mut self, count: u64, member: Member) {
        let Some(read) = self.read else { return };
        let log = match member {
            Member::Leader => self.leader.clone(),
            Member::Former => self.former.clone(),
            Member::Follower(less) => {
                let mut log = self.leader.clone();
                log.records
                    .truncate(log.records.len().saturating_sub(usize::try_from(less).unwrap()));
                log
            }
        };
        let (place, head) = (read.from - 1, log.head());
        let cut = log.last_of_epoch(read.epoch);
        if read.fresh && read.epoch > log.epoch {
            self.read = None;
            let refusal = Refusal::new(ErrorCode::NOT_LEADER, "this node lags");
            self.give(SpliceInput::ReplayFailed(Some(refusal)));
        } else if read.fresh && read.epoch > 0 && place > cut && cut < head {
            self.read = None;
            let mut refusal = Refusal::new(ErrorCode::AHEAD_OF_LOG, "the log was cut");
            for (name, number) in [("head", head), ("cut", cut), ("epoch", log.epoch)] {
                refusal.details.insert(name.to_owned(), broker::dialect::Detail::Number(number));
            }
            self.give(SpliceInput::ReplayFailed(Some(refusal)));
        } else {
            let block = log.block(place, count);
            let from = block.span.last.0 + 1;
            self.read = (!block.end).then_some(Read { from, fresh: false, ..read });
            self.give(SpliceInput::Block(block));
        }
    }

    fn failover(&mut self, epochs: u64, less: u64, anew: u64) {
        self.former = self.leader.clone();
        let kept = self.leader.head().saturating_sub(less);
        self.leader.records.truncate(usize::try_from(kept).unwrap());
        self.leader.epoch += epochs;
        let _topology_event = self.leader.append(1);
        let head = self.leader.head();
        self.network.push(self.leader.message(kept.saturating_sub(anew), head));
    }

    fn step(&mut self, step: Step) {
        self.happen(step);
        for log in [&self.former, &self.leader] {
            self.logs.insert(log.epoch, log.clone());
        }
    }

    fn happen(&mut self, step: Step) {
        match step {
            Step::Append(count) => {
                let message = self.leader.append(count);
                self.network.push(message);
            }
            Step::FormerAppend(count) if self.former.epoch < self.leader.epoch => {
                let message = self.former.append(count);
                self.network.push(message);
            }
            Step::Deliver { place, keep } if place < self.network.len() => {
                let message = self.network[place].clone();
                if !keep {
                    self.network.remove(place);
                }
                self.give(SpliceInput::Feed(message));
            }
            Step::Lose(place) if place < self.network.len() => drop(self.network.remove(place)),
            Step::Heartbeat => {
                let head = self.leader.head();
                self.give(SpliceInput::Feed(self.leader.message(head, head)));
            }
            Step::Replay { count, member } => self.replay(count, member),
            Step::Break if self.read.take().is_some() => {
                self.give(SpliceInput::ReplayFailed(None));
            }
            Step::Failover { epochs, less, anew } => self.failover(epochs, less, anew),
            Step::Wait(milliseconds) => {
                self.now += Duration::from_millis(milliseconds);
                self.give(SpliceInput::Tick { feed_drained: true });
            }
            _ => {}
        }
    }

    /// Calm weather: heartbeats arrive and the leader's replays end.
    fn calm(&mut self) {
        for _ in 0..20 {
            self.step(Step::Wait(1000));
            self.step(Step::Heartbeat);
            self.step(Step::Replay { count: 1000, member: Member::Leader });
        }
    }
}

/// The former leader of a pair acknowledges and shows nothing once it is replaced, and nothing
/// that it showed is lost.
fn at_level_pair(steps: Vec<Step>) -> impl Iterator<Item = Step> {
    steps.into_iter().filter(|step| !matches!(step, Step::FormerAppend(_)))
}

impl World {
    /// Everything that was asked for is here, and more is not missing.
    fn is_complete(&self) -> bool {
        let head = self.leader.head();
        let position = self.splice.position().sequence;
        self.delivered == self.leader.part(0, head) && position == Sequence(head)
    }
}

proptest! {
    #[test]
    fn every_record_is_delivered_once_and_in_order(
        asked in asked(), start in 0..4u64, steps in steps(0),
    ) {
        let mut world = World::new(asked, start);
        for step in at_level_pair(steps) {
            world.step(step);
        }
        world.calm();
        prop_assert!(world.is_complete(), "{:?} of {:?}", world.delivered, world.leader);
        prop_assert!(world.splice.is_following());
        let counters = world.splice.counters();
        prop_assert_eq!(counters.gaps_found, counters.gaps_repaired);
    }

    #[test]
    fn a_cut_is_never_read_over(asked in asked(), start in 0..4u64, steps in steps(6)) {
        let mut world = World::new(asked, start);
        for step in steps {
            world.step(step);
        }
        world.calm();
        match world.stopped {
            Some(StopReason::AheadOfLog { .. }) => prop_assert!(!world.is_prefix()),
            Some(other) => prop_assert!(false, "{other:?}"),
            None => {
                prop_assert!(world.is_complete(), "{:?} of {:?}", world.delivered, world.leader);
                prop_assert!(world.splice.is_following());
            }
        }
    }
}
