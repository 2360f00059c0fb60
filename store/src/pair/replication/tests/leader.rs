use bytes::Bytes;

use super::{Log, name};
use crate::pair::message::{Ack, CutDone, MarkReport};
use crate::pair::protocol::FollowerProgress;
use crate::pair::replication::{
    BLOCK_BYTES_MAX, Counted, Leader, LeaderInput, LeaderOutput, WINDOW_BYTES,
};

const EPOCH: u64 = 5;

fn give(leader: &mut Leader, input: LeaderInput) -> Vec<LeaderOutput> {
    let mut out = Vec::new();
    leader.handle(input, &mut out);
    out
}

fn moved(written: u64, committed: u64) -> LeaderInput {
    LeaderInput::Moved { partition: name(0), written, committed }
}

fn ack(epoch: u64, written: u64, durable: u64) -> LeaderInput {
    let (partition, accepted, gap) = (name(0), written, false);
    LeaderInput::Ack(Ack { epoch, partition, accepted, written, durable, gap })
}

/// A leader with nine records whose follower has none of them, and waits for them.
fn streaming(counts: Counted) -> (Leader, Vec<LeaderOutput>) {
    let mut leader = Leader::new(EPOCH, counts);
    give(&mut leader, moved(9, 9));
    let end = Log::default().end();
    let (epoch, partition) = (EPOCH, name(0));
    let report = MarkReport { epoch, partition, at: None, mark: Some(end), end };
    let out = give(&mut leader, LeaderInput::Mark(report));
    assert_eq!(out, [LeaderOutput::Cut(name(0), end)], "an empty log needs no question");
    let done = CutDone { epoch, partition: name(0), end };
    let out = give(&mut leader, LeaderInput::CutDone(done));
    (leader, out)
}

fn block(leader: &mut Leader, from: u64, last: u64, bytes: usize) -> Vec<LeaderOutput> {
    let block = Some((last, Bytes::from(vec![0; bytes])));
    give(leader, LeaderInput::Block { partition: name(0), from, block })
}

fn reads(out: &[LeaderOutput]) -> Vec<u64> {
    let read = |output: &LeaderOutput| match output {
        LeaderOutput::Read(_, from) => Some(*from),
        _ => None,
    };
    out.iter().filter_map(read).collect()
}

fn copied(out: &[LeaderOutput]) -> Option<u64> {
    out.iter().find_map(|output| match output {
        LeaderOutput::Copied { counted, .. } => Some(*counted),
        _ => None,
    })
}

#[test]
fn the_window_closes_and_opens_again() {
    let (mut leader, out) = streaming(Counted::Durable);
    give(&mut leader, moved(1000, 1000));
    assert_eq!(reads(&out), [1]);
    let mut next = 1;
    let blocks = WINDOW_BYTES / BLOCK_BYTES_MAX;
    for number in 1..=blocks {
        let out = block(&mut leader, next, next, BLOCK_BYTES_MAX);
        next += 1;
        let more = if number < blocks { vec![next] } else { vec![] };
        assert_eq!(reads(&out), more, "block {number}");
    }
    let out = give(&mut leader, ack(EPOCH, 1, 0));
    assert_eq!(reads(&out), [next], "written is enough to send on");
    assert_eq!(copied(&out), None, "but does not count");
}

#[test]
fn only_acknowledgements_of_the_present_epoch_count() {
    for (counts, expected) in [(Counted::Durable, 4), (Counted::Written, 6)] {
        let (mut leader, _) = streaming(counts);
        block(&mut leader, 1, 9, 100);
        assert_eq!(copied(&give(&mut leader, ack(EPOCH - 1, 9, 9))), None);
        assert_eq!(copied(&give(&mut leader, ack(EPOCH + 1, 9, 9))), None);
        assert_eq!(copied(&give(&mut leader, ack(EPOCH, 6, 4))), Some(expected));
        assert_eq!(copied(&give(&mut leader, ack(EPOCH, 6, 4))), None, "said once");
        give(&mut leader, LeaderInput::Epoch(EPOCH + 1));
        assert_eq!(copied(&give(&mut leader, ack(EPOCH, 9, 9))), None);
        assert_eq!(copied(&give(&mut leader, ack(EPOCH + 1, 9, 9))), Some(9));
    }
}

fn progress(out: &[LeaderOutput]) -> Vec<FollowerProgress> {
    let one = |output: &LeaderOutput| match output {
        LeaderOutput::Progress(progress) => Some(*progress),
        _ => None,
    };
    out.iter().filter_map(one).collect()
}

#[test]
fn a_follower_of_which_nothing_is_known_has_not_caught_up() {
    let mut leader = Leader::new(EPOCH, Counted::Durable);
    assert_eq!(progress(&give(&mut leader, LeaderInput::Both)), []);
    assert_eq!(progress(&give(&mut leader, LeaderInput::Tick)), [], "nor is it near");
    let out = give(&mut leader, moved(9, 9));
    assert_eq!(progress(&out), [FollowerProgress::Owes]);
}

#[test]
fn an_answer_to_an_earlier_question_is_not_given() {
    let stops: [fn(&mut Leader); 2] = [
        |leader| drop(give(leader, LeaderInput::Epoch(EPOCH + 1))),
        |leader| drop(give(leader, LeaderInput::Alone)),
    ];
    for stop in stops {
        let mut leader = Leader::new(EPOCH, Counted::Durable);
        give(&mut leader, moved(0, 0));
        // Nothing is committed, so nothing is lacking, but the logs were not compared yet.
        assert_eq!(progress(&give(&mut leader, LeaderInput::Both)), []);
        stop(&mut leader);
        let epoch = leader.epoch();
        give(&mut leader, moved(25, 25));
        let end = Log::of(&[(1, 2)]).end();
        let (partition, at) = (name(0), None);
        let report = MarkReport { epoch, partition, at, mark: Some(end), end };
        let mut out = give(&mut leader, LeaderInput::Mark(report));
        let (partition, at, mark) = (name(0), end.sequence, Some(end));
        out.extend(give(&mut leader, LeaderInput::Own { partition, at, mark }));
        let done = CutDone { epoch, partition: name(0), end };
        out.extend(give(&mut leader, LeaderInput::CutDone(done)));
        assert_eq!(progress(&out), [FollowerProgress::Near], "it lacks 23 records");
        assert_eq!(progress(&give(&mut leader, LeaderInput::Both)), []);
        block(&mut leader, 3, 25, 100);
        let out = give(&mut leader, ack(epoch, 25, 25));
        let owes = FollowerProgress::Acknowledged { owes: false };
        assert_eq!(progress(&out), [FollowerProgress::CaughtUp, owes]);
    }
}

#[test]
fn progress_is_told_as_it_happens() {
    let mut leader = Leader::new(EPOCH, Counted::Durable);
    assert_eq!(progress(&give(&mut leader, moved(9, 9))), [FollowerProgress::Owes]);
    let (mut leader, out) = streaming(Counted::Durable);
    assert_eq!(progress(&out), [FollowerProgress::Near]);
    block(&mut leader, 1, 9, 100);
    assert_eq!(progress(&give(&mut leader, LeaderInput::Both)), []);
    let owes = |owes| FollowerProgress::Acknowledged { owes };
    assert_eq!(progress(&give(&mut leader, ack(EPOCH, 9, 8))), [owes(true)]);
    let out = give(&mut leader, ack(EPOCH, 9, 9));
    assert_eq!(progress(&out), [FollowerProgress::CaughtUp, owes(false)]);
    assert_eq!(progress(&give(&mut leader, moved(10, 9))), [FollowerProgress::Owes]);
    assert_eq!(progress(&give(&mut leader, moved(11, 9))), [], "it owes already");
    let out = give(&mut leader, LeaderInput::Tick);
    assert_eq!(progress(&out), [FollowerProgress::Near], "for whoever did not listen");
}

#[test]
fn a_block_that_could_not_be_read_or_is_no_longer_wanted_is_read_again() {
    let (mut leader, out) = streaming(Counted::Durable);
    assert_eq!(reads(&out), [1]);
    let partition = name(0);
    let out = give(&mut leader, LeaderInput::Block { partition, from: 1, block: None });
    assert!(reads(&out).is_empty());
    assert_eq!(reads(&give(&mut leader, LeaderInput::Tick)), [1], "at the next heartbeat");
    let out = block(&mut leader, 1, 5, 100);
    assert_eq!(reads(&out), [6]);
    // A gap is reported while a later block is being read.
    let (epoch, partition) = (EPOCH, name(0));
    let gap = Ack { epoch, partition, accepted: 0, written: 0, durable: 0, gap: true };
    give(&mut leader, LeaderInput::Ack(gap));
    let out = block(&mut leader, 6, 9, 100);
    assert!(!out.iter().any(|output| matches!(output, LeaderOutput::Send(_))), "{out:?}");
    assert_eq!(reads(&out), [1]);
}
