use uuid::Uuid;

use super::*;
use crate::position::Lineage;

const HEARTBEAT: Duration = Duration::from_millis(500);
/// Longer than the first pauses before a replay is tried again.
const PAUSE: Duration = Duration::from_millis(200);

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
        cut: Sequence::ZERO,
        heartbeat: HEARTBEAT,
        first: Sequence(previous + 1),
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

/// A message of a reign that began behind `cut`.
fn behind_cut(cut: u64, input: SpliceInput<Vec<u64>>) -> SpliceInput<Vec<u64>> {
    match input {
        SpliceInput::Feed(message) => {
            SpliceInput::Feed(FeedMessage { cut: Sequence(cut), ..message })
        }
        other => other,
    }
}

/// History asked for in the name of epoch 3.
fn replay(from: u64) -> SpliceOutput<Vec<u64>> {
    replay_of(from, 3)
}

fn replay_of(from: u64, epoch: u64) -> SpliceOutput<Vec<u64>> {
    SpliceOutput::Replay { from: Sequence(from), epoch: Epoch(epoch) }
}

const LEFT: SpliceOutput<Vec<u64>> = SpliceOutput::StopReplay { behind: true };
const ENOUGH: SpliceOutput<Vec<u64>> = SpliceOutput::StopReplay { behind: false };

fn at(epoch: u64, sequence: u64) -> Position {
    let lineage = (sequence > 0).then(|| lineage(1));
    Position { lineage, epoch: Epoch(epoch), sequence: Sequence(sequence) }
}

/// A splice with what it delivered so far.
struct Bench {
    splice: Splice<Vec<u64>>,
    now: Instant,
    delivered: Vec<u64>,
    /// Whether positions lie behind what was delivered.
    filtered: bool,
}

impl Bench {
    #[expect(clippy::disallowed_methods, reason = "an arbitrary point to count from")]
    fn new(position: Position) -> Self {
        let now = Instant::now();
        let splice = Splice::new(now, position, OnGap::Repair, 1);
        Self { splice, now, delivered: Vec::new(), filtered: false }
    }

    fn filtered_at(sequence: u64) -> Self {
        Self { filtered: true, ..Self::new(at(3, sequence)) }
    }

    /// Following a filter, covered up to `sequence`, in epoch 3.
    fn filtered(sequence: u64) -> Self {
        Self { filtered: true, ..Self::following(sequence) }
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
                let ends_there = self.delivered.last() == Some(&position.sequence.0);
                assert!(ends_there || self.filtered, "{position} {:?}", self.delivered);
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
    let mut bench = Bench::new(at(3, 2));
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
    assert_eq!(bench.give(block(3, 6, 11, 14)), [ENOUGH]);
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
    assert_eq!(bench.give(behind_cut(10, heartbeat(4, 10))), []);
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
        ("a new reign with our records", behind_cut(10, heartbeat(4, 10)), false),
        ("a new reign that has not committed them", behind_cut(10, heartbeat(4, 9)), false),
        ("a new reign with fewer", behind_cut(9, heartbeat(4, 9)), true),
        ("a new reign that has filled up", behind_cut(9, heartbeat(4, 99)), true),
        ("a later reign with fewer", behind_cut(9, heartbeat(7, 99)), true),
        ("the same reign, said earlier", heartbeat(3, 9), false),
        ("an older reign", heartbeat(2, 3), false),
        ("another lineage", other(heartbeat(4, 50)), true),
        ("another lineage's old reign", other(heartbeat(2, 50)), false),
        ("a new reign publishes again", behind_cut(10, feed(4, 4, 6)), false),
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
    assert_eq!(bench.give(behind_cut(10, heartbeat(4, 10))), []);
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
    assert_eq!(bench.after(Duration::from_millis(24)), [], "half of a pause at least");
    assert_eq!(bench.after(PAUSE), [replay(5)]);
    let busy = Refusal::new(broker::error_code::ErrorCode::BUSY, "later");
    assert_eq!(bench.give(SpliceInput::ReplayFailed(Some(busy))), []);
    assert_eq!(bench.after(PAUSE), [replay(5)]);
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
    assert_eq!(bench.after(PAUSE), [replay(6)]);
    assert_eq!(bench.give(block(3, 5, 9, 9)), []);
    assert!(bench.splice.is_following());
}

#[test]
fn a_member_behind_the_newest_reign_is_not_believed() {
    let mut bench = Bench::new(at(3, 0));
    assert_eq!(bench.give(heartbeat(4, 9)), [replay_of(1, 4)]);
    assert_eq!(bench.give(block(3, 0, 9, 9)), [LEFT]);
    assert_eq!(bench.delivered, [0_u64; 0]);
    assert_eq!(bench.after(PAUSE), [replay_of(1, 4)]);
}

#[test]
fn a_failover_shows_in_a_counter_and_nowhere_else() {
    let mut bench = Bench::following(10);
    assert_eq!(bench.give(feed(3, 10, 12)), []);
    // The new leader goes on from what it knew to be committed, which may be less.
    assert_eq!(bench.give(behind_cut(13, feed(4, 11, 15))), []);
    assert_eq!(bench.give(feed(3, 12, 14)), [], "the former leader has not noticed");
    assert_eq!(bench.give(behind_cut(13, heartbeat(4, 15))), []);
    assert_eq!(bench.delivered, [11, 12, 13, 14, 15]);
    assert_eq!(bench.splice.position(), at(4, 15));
    let expected = SpliceCounters { failovers: 1, duplicates_dropped: 1, ..Default::default() };
    assert_eq!(bench.splice.counters(), expected);
}

#[test]
fn what_was_lost_with_the_former_leader_is_replayed_from_the_new_one() {
    let mut bench = Bench::following(10);
    assert_eq!(bench.give(behind_cut(13, feed(4, 13, 15))), [replay_of(11, 4)]);
    assert_eq!(bench.give(block(3, 10, 13, 13)), [LEFT], "asked of the former one");
    assert_eq!(bench.after(PAUSE), [replay_of(11, 4)]);
    assert_eq!(bench.give(block(4, 10, 15, 15)), []);
    assert!(bench.splice.is_following());
    assert_eq!(bench.delivered, [11, 12, 13, 14, 15]);
}

#[test]
fn a_cut_behind_our_place_ends_it_and_says_where() {
    let mut bench = Bench::following(10);
    let reason = StopReason::AheadOfLog {
        position: at(3, 10),
        head: at(4, 40),
        cut: Sequence(7),
        other_lineage: false,
    };
    assert_eq!(bench.give(behind_cut(7, feed(4, 30, 40))), [SpliceOutput::Stop(reason)]);
}

/// Following at 10 in epoch 3 when epoch 5 is heard of, whose cut says nothing of epoch 4's.
fn unsure() -> Bench {
    let mut bench = Bench::following(10);
    assert_eq!(bench.give(behind_cut(20, feed(5, 20, 22))), [replay(11)]);
    assert_eq!(bench.splice.position(), at(3, 10), "not before it is certain");
    assert_eq!(bench.give(behind_cut(20, feed(5, 22, 23))), [], "one question is enough");
    bench
}

#[test]
fn whoever_missed_a_reign_has_its_place_compared_first() {
    let mut bench = unsure();
    assert_eq!(bench.give(block(5, 10, 20, 23)), [ENOUGH]);
    assert_eq!(bench.delivered, (11..=23).collect::<Vec<_>>());
    assert_eq!(bench.splice.position(), at(5, 23));
    let counters = bench.splice.counters();
    assert_eq!((counters.failovers, counters.gaps_found), (1, 0));
}

#[test]
fn a_store_that_finds_the_place_cut_off_ends_it_and_a_confused_one_does_not() {
    let refusal = |cut: u64, epoch: u64| {
        let mut refusal = Refusal::new(ErrorCode::AHEAD_OF_LOG, "the log was cut");
        for (name, number) in [("head", 23), ("cut", cut), ("epoch", epoch)] {
            refusal.details.insert(name.to_owned(), broker::dialect::Detail::Number(number));
        }
        SpliceInput::ReplayFailed(Some(refusal))
    };
    let mut bench = unsure();
    for (cut, epoch) in [(10, 5), (12, 5), (7, 4)] {
        assert_eq!(bench.give(refusal(cut, epoch)), []);
        assert_eq!(bench.after(PAUSE), [replay(11)], "cut {cut} in epoch {epoch}");
    }
    let reason = StopReason::AheadOfLog {
        position: at(3, 10),
        head: at(5, 23),
        cut: Sequence(7),
        other_lineage: false,
    };
    assert_eq!(bench.give(refusal(7, 5)), [SpliceOutput::Stop(reason)]);
    let bare = Refusal::new(ErrorCode::AHEAD_OF_LOG, "the log was cut");
    let stop = SpliceOutput::Stop(StopReason::Refused(bare.clone()));
    assert_eq!(unsure().give(SpliceInput::ReplayFailed(Some(bare))), [stop]);
}

#[test]
fn a_member_that_does_not_reach_the_place_can_not_vouch_for_it() {
    let mut bench = unsure();
    assert_eq!(bench.give(block(5, 10, 10, 9)), [LEFT]);
    assert_eq!(bench.splice.position(), at(3, 10));
    assert_eq!(bench.after(PAUSE), [replay(11)]);
    // Within a read nobody compares: a reign that shows there is asked about anew.
    assert_eq!(bench.give(block(5, 10, 12, 30)), []);
    assert_eq!(bench.give(block(6, 12, 14, 30)), [replay_of(13, 5)]);
    assert_eq!(bench.delivered, [11, 12]);
    assert_eq!(bench.give(block(6, 12, 30, 30)), []);
    assert_eq!(bench.splice.position(), at(6, 30));
}

#[test]
fn what_a_former_reign_announced_is_not_waited_for() {
    let mut bench = Bench::following(10);
    assert_eq!(bench.give(feed(3, 29, 30)), [replay(11)]);
    assert_eq!(bench.give(block(3, 10, 12, 30)), []);
    // Of 30 records the new leader has 15.
    assert_eq!(bench.give(behind_cut(15, heartbeat(4, 16))), []);
    assert_eq!(bench.give(block(4, 12, 16, 16)), []);
    assert!(bench.splice.is_following());
    assert_eq!(bench.delivered, (11..=16).collect::<Vec<_>>());
}

/// A message of a filtered feed, with these records.
fn filtered(previous: u64, records: &[u64], last: u64) -> SpliceInput<Vec<u64>> {
    let (span, first) = (span(3, previous, last), records.first().copied().unwrap_or_default());
    let records = (!records.is_empty()).then(|| records.to_vec());
    SpliceInput::Feed(FeedMessage { span, first: Sequence(first), records, ..message(3, 0, 0) })
}

/// A filtered block that covers what lies behind `previous` up to `last`.
fn filtered_block(previous: u64, records: &[u64], last: u64, head: u64) -> SpliceInput<Vec<u64>> {
    let (span, end) = (span(3, previous, last), last >= head);
    let (head, records) = (Sequence(head), records.to_vec());
    SpliceInput::Block(ReplayedBlock { lineage: lineage(1), span, head, end, records })
}

fn moved(sequence: u64) -> SpliceOutput<Vec<u64>> {
    SpliceOutput::Moved { position: at(3, sequence) }
}

#[test]
fn a_quiet_filter_moves_on_with_its_heartbeats() {
    let mut bench = Bench::filtered(10);
    assert_eq!(bench.give(filtered(4, &[], 25)), [moved(25)]);
    assert_eq!(bench.give(filtered(4, &[], 25)), [], "nothing new");
    assert_eq!(bench.give(filtered(4, &[26, 30], 34)), []);
    assert_eq!((bench.delivered.clone(), bench.splice.position()), (vec![26, 30], at(3, 34)));
    assert_eq!(bench.give(filtered(30, &[], 40)), [moved(40)]);
    assert_eq!(bench.splice.counters(), SpliceCounters::default());
    assert!(bench.splice.is_following());
}

#[test]
fn a_lost_message_of_a_filter_shows_in_what_follows() {
    for (next, wanted) in [(filtered(30, &[], 40), 40), (filtered(30, &[38], 40), 40)] {
        let mut bench = Bench::filtered(25);
        assert_eq!(bench.give(next), [replay(26)]);
        assert_eq!(bench.give(filtered_block(25, &[28, 30, 38], wanted, 40)), []);
        assert!(bench.splice.is_following());
        assert_eq!(bench.delivered, [28, 30, 38]);
        let counters = bench.splice.counters();
        assert_eq!((counters.gaps_found, counters.gaps_repaired), (1, 1));
    }
}

#[test]
fn filtered_history_meets_what_the_feed_brings_meanwhile() {
    let mut bench = Bench::filtered_at(0);
    assert_eq!(bench.give(filtered(50, &[], 60)), [replay(1)]);
    assert_eq!(bench.give(filtered(50, &[62], 63)), []);
    assert_eq!(bench.give(filtered(62, &[70], 72)), [], "unbroken, though 62 is not 63");
    assert_eq!(bench.give(filtered_block(0, &[5, 20], 20, 61)), []);
    assert_eq!(bench.give(filtered_block(20, &[50], 61, 61)), []);
    assert!(bench.splice.is_following());
    assert_eq!(bench.delivered, [5, 20, 50, 62, 70]);
    assert_eq!(bench.splice.position(), at(3, 72));
    assert_eq!(bench.give(filtered(50, &[62], 63)), []);
    assert_eq!(bench.splice.counters().duplicates_dropped, 1);
}

#[test]
fn filtered_history_without_events_is_history() {
    let mut bench = Bench::filtered_at(0);
    assert_eq!(bench.give(filtered(50, &[], 60)), [replay(1)]);
    assert_eq!(bench.give(filtered_block(0, &[50], 55, 55)), [replay(56)], "more is known of");
    assert_eq!(bench.give(filtered_block(55, &[], 60, 60)), []);
    assert!(bench.splice.is_following());
    assert_eq!((bench.delivered.clone(), bench.splice.position()), (vec![50], at(3, 60)));
}
