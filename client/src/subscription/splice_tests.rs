use proptest::prelude::*;
use uuid::Uuid;

use super::*;

const HEARTBEAT: Duration = Duration::from_millis(500);

fn lineage(number: u128) -> Lineage {
    Lineage(Uuid::from_u128(number))
}

fn span(epoch: u64, previous: u64, last: u64) -> Span {
    Span { epoch: Epoch(epoch), previous: Sequence(previous), last: Sequence(last) }
}

/// A feed message whose payload is its sequences.
fn message(epoch: u64, previous: u64, last: u64) -> FeedMessage<Vec<u64>> {
    FeedMessage {
        lineage: lineage(1),
        span: span(epoch, previous, last),
        heartbeat: HEARTBEAT,
        bytes: 100,
        records: (previous < last).then(|| (previous + 1..=last).collect()),
    }
}

fn feed(epoch: u64, previous: u64, last: u64) -> SpliceInput<Vec<u64>> {
    SpliceInput::Feed(message(epoch, previous, last))
}

fn heartbeat(epoch: u64, head: u64) -> SpliceInput<Vec<u64>> {
    feed(epoch, head, head)
}

fn block(epoch: u64, previous: u64, last: u64, head: u64) -> SpliceInput<Vec<u64>> {
    SpliceInput::Block(ReplayedBlock {
        lineage: lineage(1),
        span: span(epoch, previous, last),
        head: Sequence(head),
        end: last >= head,
        records: (previous + 1..=last).collect(),
    })
}

fn replay(from: u64) -> SpliceOutput<Vec<u64>> {
    SpliceOutput::Replay { from: Sequence(from) }
}

fn at(epoch: u64, sequence: u64) -> Position {
    let lineage = (sequence > 0).then(|| lineage(1));
    Position { lineage, epoch: Epoch(epoch), sequence: Sequence(sequence) }
}

/// A splice with what it delivered so far.
struct Bench {
    splice: Splice<Vec<u64>>,
    now: Instant,
    delivered: Vec<u64>,
}

impl Bench {
    #[expect(clippy::disallowed_methods, reason = "an arbitrary point to count from")]
    fn new(position: Position) -> Self {
        let now = Instant::now();
        Self { splice: Splice::new(now, position, OnGap::Repair), now, delivered: Vec::new() }
    }

    /// Following at `sequence`, in epoch 3.
    fn following(sequence: u64) -> Self {
        let mut bench = Self::new(at(3, sequence));
        assert_eq!(bench.give(heartbeat(3, sequence)), []);
        assert!(bench.splice.is_following());
        bench
    }

    /// What comes out, but for deliveries, which are collected.
    fn give(&mut self, input: SpliceInput<Vec<u64>>) -> Vec<SpliceOutput<Vec<u64>>> {
        let mut outputs = Vec::new();
        self.splice.handle(self.now, input, &mut outputs);
        outputs.retain(|output| match output {
            SpliceOutput::Deliver { after, records, position } => {
                let new = records.iter().filter(|sequence| **sequence > after.0);
                self.delivered.extend(new);
                assert_eq!(Some(&position.sequence.0), self.delivered.last());
                false
            }
            _ => true,
        });
        outputs
    }

    fn after(&mut self, time: Duration) -> Vec<SpliceOutput<Vec<u64>>> {
        self.now += time;
        self.give(SpliceInput::Tick { feed_drained: true })
    }
}

#[test]
fn an_empty_log_is_followed_from_its_first_record() {
    let mut bench = Bench::new(Position::START);
    assert!(!bench.splice.is_following());
    assert_eq!(bench.give(heartbeat(1, 0)), []);
    assert!(bench.splice.is_following());
    assert_eq!(bench.give(feed(1, 0, 2)), []);
    assert_eq!(bench.delivered, [1, 2]);
    assert_eq!(bench.splice.position(), at(1, 2));
}

#[test]
fn history_is_asked_for_once_the_subscription_is_proven() {
    let mut bench = Bench::new(at(1, 2));
    assert_eq!(bench.give(heartbeat(3, 6)), [replay(3)]);
    assert_eq!(bench.give(block(3, 2, 4, 6)), []);
    assert!(!bench.splice.is_following());
    assert_eq!(bench.give(block(3, 4, 6, 6)), []);
    assert!(bench.splice.is_following());
    assert_eq!(bench.give(feed(3, 6, 7)), []);
    assert_eq!(bench.delivered, [3, 4, 5, 6, 7]);
    assert_eq!(bench.splice.counters(), SpliceCounters::default(), "history is no gap");
}

#[test]
fn what_the_feed_brings_meanwhile_is_spliced_on() {
    let mut bench = Bench::new(at(3, 0));
    assert_eq!(bench.give(feed(3, 10, 12)), [replay(1)]);
    assert_eq!(bench.give(feed(3, 12, 13)), []);
    assert_eq!(bench.give(block(3, 0, 6, 14)), []);
    // The block reaches into what is buffered; the rest of the replay is not needed.
    assert_eq!(bench.give(block(3, 6, 11, 14)), [SpliceOutput::StopReplay]);
    assert!(bench.splice.is_following());
    assert_eq!(bench.give(feed(3, 13, 14)), []);
    assert_eq!(bench.delivered, (1..=14).collect::<Vec<_>>());
}

#[test]
fn a_gap_is_repaired_and_counted() {
    let mut bench = Bench::following(10);
    assert_eq!(bench.give(feed(3, 10, 11)), []);
    assert_eq!(bench.give(feed(3, 13, 15)), [replay(12)]);
    assert_eq!(bench.give(block(3, 11, 15, 15)), []);
    let counters = bench.splice.counters();
    assert_eq!((counters.gaps_found, counters.gaps_repaired), (1, 1));
    assert_eq!(counters.pull_mode_blocks, 1);
    assert_eq!(bench.delivered, [11, 12, 13, 14, 15]);
}

#[test]
fn a_lost_last_message_shows_in_the_heartbeat() {
    let mut bench = Bench::following(10);
    assert_eq!(bench.give(heartbeat(3, 12)), [replay(11)]);
    assert_eq!(bench.give(block(3, 10, 12, 12)), []);
    assert_eq!(bench.delivered, [11, 12]);
    assert_eq!(bench.splice.counters().gaps_repaired, 1);
}

#[test]
fn a_gap_stops_those_who_want_to_be_told() {
    let mut bench = Bench::following(10);
    bench.splice.on_gap = OnGap::Stop;
    let gap = StopReason::Gap { from: Sequence(11), to: Sequence(12) };
    assert_eq!(bench.give(feed(3, 12, 13)), [SpliceOutput::Stop(gap)]);
    assert_eq!(bench.give(feed(3, 10, 13)), [], "it is over");
    assert_eq!(bench.splice.deadline(), None);
}

#[test]
fn doubles_and_overlaps_are_delivered_once() {
    let mut bench = Bench::following(10);
    for input in [feed(3, 10, 12), feed(3, 10, 12), feed(3, 8, 11), feed(3, 11, 14)] {
        assert_eq!(bench.give(input), []);
    }
    assert_eq!(bench.delivered, [11, 12, 13, 14]);
    assert_eq!(bench.splice.counters().duplicates_dropped, 3);
}

#[test]
fn reigns_that_are_over_are_ignored_and_do_not_count_as_life() {
    let mut bench = Bench::following(10);
    assert_eq!(bench.give(heartbeat(4, 10)), []);
    let silent_at = bench.splice.deadline();
    bench.now += Duration::from_millis(900);
    assert_eq!(bench.give(feed(3, 10, 99)), []);
    assert_eq!(bench.give(heartbeat(2, 500)), []);
    assert_eq!(bench.splice.deadline(), silent_at);
    assert_eq!(bench.delivered, [0_u64; 0]);
}

#[test]
fn a_log_that_does_not_reach_us_is_not_ours() {
    let other = |input: SpliceInput<Vec<u64>>| match input {
        SpliceInput::Feed(message) => {
            SpliceInput::Feed(FeedMessage { lineage: lineage(2), ..message })
        }
        other => other,
    };
    // What a subscriber at sequence 10, epoch 3 hears, and whether it stops.
    let rows = [
        ("a new reign with our records", heartbeat(4, 10), false),
        ("a new reign with fewer", heartbeat(4, 9), true),
        ("the same reign, said earlier", heartbeat(3, 9), false),
        ("an older reign", heartbeat(2, 3), false),
        ("another lineage", other(heartbeat(4, 50)), true),
        ("another lineage's old reign", other(heartbeat(2, 50)), false),
        ("a new reign publishes again", feed(4, 4, 6), false),
    ];
    for (name, input, stops) in rows {
        let mut bench = Bench::new(at(3, 10));
        let outputs = bench.give(input);
        let stopped = matches!(
            outputs[..],
            [SpliceOutput::Stop(StopReason::AheadOfLog { position, .. })] if position == at(3, 10)
        );
        assert_eq!(stopped, stops, "{name}: {outputs:?}");
    }
    let mut fresh = Bench::new(Position::START);
    assert_eq!(fresh.give(other(heartbeat(1, 0))), [], "who has read nothing has lost nothing");
}

#[test]
fn silence_ends_in_subscribing_again() {
    let mut bench = Bench::following(10);
    assert_eq!(bench.after(HEARTBEAT * 2 - Duration::from_millis(1)), []);
    let again = |attempt| [SpliceOutput::Subscribe { attempt }];
    assert_eq!(bench.after(Duration::from_millis(1)), again(1));
    assert_eq!(bench.after(HEARTBEAT * 2), again(2));
    assert_eq!(bench.after(HEARTBEAT * 2), [], "the pauses grow");
    assert_eq!(bench.after(HEARTBEAT * 2), again(3));
    assert_eq!(bench.give(heartbeat(4, 10)), []);
    assert_eq!(bench.after(HEARTBEAT * 2), again(1));
    assert_eq!(bench.splice.counters().reconnects, 4);
}

#[test]
fn a_busy_subscriber_does_not_take_its_own_silence_for_the_feeds() {
    let mut bench = Bench::following(10);
    bench.now += HEARTBEAT * 20;
    assert_eq!(bench.give(SpliceInput::Tick { feed_drained: false }), []);
    assert_eq!(bench.give(heartbeat(3, 10)), []);
    assert_eq!(bench.give(SpliceInput::Tick { feed_drained: true }), []);
}

#[test]
fn a_failed_replay_is_repeated_from_where_it_broke() {
    let mut bench = Bench::new(at(3, 0));
    assert_eq!(bench.give(heartbeat(3, 9)), [replay(1)]);
    bench.give(block(3, 0, 4, 9));
    assert_eq!(bench.give(SpliceInput::ReplayFailed(None)), []);
    assert_eq!(bench.after(REPLAY_PAUSE), [replay(5)]);
    let busy = Refusal::new(broker::error_code::ErrorCode::BUSY, "later");
    assert_eq!(bench.give(SpliceInput::ReplayFailed(Some(busy))), []);
    assert_eq!(bench.after(REPLAY_PAUSE), [replay(5)]);
    let corrupt = Refusal::new(broker::error_code::ErrorCode::CORRUPT, "damaged");
    let outputs = bench.give(SpliceInput::ReplayFailed(Some(corrupt.clone())));
    assert_eq!(outputs, [SpliceOutput::Stop(StopReason::Refused(corrupt))]);
}

#[test]
fn a_replay_that_ends_too_early_is_continued() {
    let mut bench = Bench::new(at(3, 0));
    assert_eq!(bench.give(heartbeat(3, 9)), [replay(1)]);
    assert_eq!(bench.give(block(3, 0, 5, 5)), [replay(6)]);
    assert_eq!(bench.give(block(3, 5, 5, 5)), [], "nothing new: not again at once");
    assert_eq!(bench.after(REPLAY_PAUSE), [replay(6)]);
    assert_eq!(bench.give(block(3, 5, 9, 9)), []);
    assert!(bench.splice.is_following());
}

#[test]
fn a_member_behind_the_newest_reign_is_not_believed() {
    let mut bench = Bench::new(at(3, 0));
    assert_eq!(bench.give(heartbeat(4, 9)), [replay(1)]);
    assert_eq!(bench.give(block(3, 0, 9, 9)), [SpliceOutput::StopReplay]);
    assert_eq!(bench.delivered, [0_u64; 0]);
    assert_eq!(bench.after(REPLAY_PAUSE), [replay(1)]);
}

#[test]
fn the_buffer_is_bounded_and_unbroken() {
    let mut bench = Bench::new(at(3, 0));
    bench.give(feed(3, 10, 11));
    bench.give(feed(3, 13, 14));
    assert_eq!(bench.splice.buffer.len(), 1, "a break throws the older part away");
    let mut large = message(3, 14, 15);
    large.bytes = BUFFER_BYTES_MAX;
    bench.give(SpliceInput::Feed(large));
    assert_eq!(bench.splice.buffer.len(), 1, "so does an overflow");
    assert_eq!(bench.splice.buffer_bytes, BUFFER_BYTES_MAX);
    bench.give(block(3, 0, 14, 20));
    assert_eq!(bench.delivered, (1..=15).collect::<Vec<_>>());
    assert_eq!(bench.splice.buffer_bytes, 0);
}

/// One step of a simulated world: a log that grows, a feed that loses, doubles, and mixes up its
/// messages, a replayer that breaks off, and leaders that change.
#[derive(Debug, Clone)]
enum Step {
    /// The log grows by so many records; the feed message is kept in the network.
    Append(u64),
    /// The network delivers the message at this place, and keeps it (a double) or not.
    Deliver { place: usize, keep: bool },
    /// The network loses the message at this place.
    Lose(usize),
    /// A heartbeat arrives.
    Heartbeat,
    /// The replayer sends up to so many records.
    Replay(u64),
    /// The replay breaks off.
    Break,
    /// A new leader takes over with the same log.
    Restart,
    /// Time passes, in milliseconds.
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1..5u64).prop_map(Step::Append),
        6 => (0..4usize, any::<bool>()).prop_map(|(place, keep)| Step::Deliver { place, keep }),
        2 => (0..4usize).prop_map(Step::Lose),
        2 => Just(Step::Heartbeat),
        4 => (1..7u64).prop_map(Step::Replay),
        1 => Just(Step::Break),
        1 => Just(Step::Restart),
        2 => (1..1500u64).prop_map(Step::Wait),
    ];
    proptest::collection::vec(step, 1..200)
}

/// The world around a splice.
struct World {
    bench: Bench,
    epoch: u64,
    head: u64,
    network: Vec<FeedMessage<Vec<u64>>>,
    /// Next sequence that the replay under way will bring.
    replaying: Option<u64>,
}

impl World {
    fn take(&mut self, outputs: Vec<SpliceOutput<Vec<u64>>>) {
        for output in outputs {
            match output {
                SpliceOutput::Replay { from } => self.replaying = Some(from.0),
                SpliceOutput::StopReplay => self.replaying = None,
                SpliceOutput::Subscribe { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn give(&mut self, input: SpliceInput<Vec<u64>>) {
        let outputs = self.bench.give(input);
        self.take(outputs);
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Append(count) => {
                self.network.push(message(self.epoch, self.head, self.head + count));
                self.head += count;
            }
            Step::Deliver { place, keep } if place < self.network.len() => {
                let message = self.network[place].clone();
                if !keep {
                    self.network.remove(place);
                }
                self.give(SpliceInput::Feed(message));
            }
            Step::Lose(place) if place < self.network.len() => drop(self.network.remove(place)),
            Step::Heartbeat => self.give(heartbeat(self.epoch, self.head)),
            Step::Replay(count) => {
                if let Some(next) = self.replaying {
                    let last = (next - 1 + count).min(self.head);
                    self.replaying = (last < self.head).then_some(last + 1);
                    self.give(block(self.epoch, next - 1, last, self.head));
                }
            }
            Step::Break if self.replaying.take().is_some() => {
                self.give(SpliceInput::ReplayFailed(None));
            }
            Step::Restart => self.epoch += 1,
            Step::Wait(milliseconds) => {
                let outputs = self.bench.after(Duration::from_millis(milliseconds));
                self.take(outputs);
            }
            _ => {}
        }
    }
}

proptest! {
    #[test]
    fn every_record_is_delivered_once_and_in_order(start in 0..4u64, steps in steps()) {
        let bench = Bench::new(at(1, start));
        let mut world =
            World { bench, epoch: 1, head: 5, network: Vec::new(), replaying: None };
        for step in steps {
            world.step(step);
        }
        // Calm weather: heartbeats arrive and replays end.
        for _ in 0..20 {
            world.step(Step::Wait(100));
            world.step(Step::Heartbeat);
            world.step(Step::Replay(1000));
        }
        let expected: Vec<u64> = (start + 1..=world.head).collect();
        prop_assert_eq!(&world.bench.delivered, &expected);
        prop_assert!(world.bench.splice.is_following());
        let counters = world.bench.splice.counters();
        prop_assert_eq!(counters.gaps_found, counters.gaps_repaired);
    }
}
