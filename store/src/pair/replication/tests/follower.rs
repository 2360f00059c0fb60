use bytes::Bytes;

use super::{Log, name};
use crate::pair::message::{Ack, Commit, CutDone, CutOrder, Mark, RecordsHead};
use crate::pair::replication::follower::Conflict;
use crate::pair::replication::{
    BLOCK_BYTES_MAX, Counted, Follower, FollowerInput, FollowerOutput, LogEnd, Replicated,
};

const EPOCH: u64 = 5;

fn give(follower: &mut Follower, input: FollowerInput) -> Vec<FollowerOutput> {
    let mut out = Vec::new();
    follower.handle(input, &mut out);
    out
}

fn ready(log: &Log, held: u64) -> FollowerInput {
    FollowerInput::Ready(vec![LogEnd { partition: name(0), end: log.end(), held }])
}

fn cut(epoch: u64, to: Mark) -> FollowerInput {
    FollowerInput::Cut(CutOrder { epoch, partition: name(0), to })
}

fn records(epoch: u64, previous: u64, last: u64, bytes: usize) -> FollowerInput {
    let head = RecordsHead { epoch, partition: name(0), previous, last, committed: previous };
    FollowerInput::Records(head, Bytes::from(vec![0; bytes]))
}

fn moved(written: u64, durable: u64) -> FollowerInput {
    FollowerInput::Moved { partition: name(0), written, durable }
}

fn ack(accepted: u64, written: u64, durable: u64, gap: bool) -> Vec<FollowerOutput> {
    let (epoch, partition) = (EPOCH, name(0));
    vec![FollowerOutput::Ack(Ack { epoch, partition, accepted, written, durable, gap })]
}

/// A follower that takes records behind sequence 9.
fn flowing(counts: Counted) -> Follower {
    let mut follower = Follower::new(EPOCH, counts);
    let log = Log::of(&[(1, 9)]);
    give(&mut follower, ready(&log, 0));
    let out = give(&mut follower, cut(EPOCH, log.end()));
    let done = CutDone { epoch: EPOCH, partition: name(0), end: log.end() };
    assert_eq!(out, [FollowerOutput::Aligned, FollowerOutput::CutDone(done)]);
    assert_eq!(give(&mut follower, moved(9, 9)), ack(9, 9, 9, false));
    follower
}

#[test]
fn what_may_be_acknowledged_is_never_cut() {
    let log = Log::of(&[(1, 9)]);
    for (held, to, halts) in [(5, 4, true), (5, 5, false), (9, 8, true), (0, 0, false)] {
        let mut follower = Follower::new(EPOCH, Counted::Durable);
        give(&mut follower, ready(&log, held));
        let out = give(&mut follower, cut(EPOCH, log.mark(to).unwrap()));
        let conflict = Conflict { partition: name(0), held, agreed: to };
        match out.as_slice() {
            [FollowerOutput::Halt(one)] if halts => assert_eq!(*one, conflict),
            [FollowerOutput::Cut(cuts)] if !halts => assert_eq!(cuts.len(), 1),
            other => panic!("{held} {to}: {other:?}"),
        }
    }
    let sentence = Conflict { partition: name(0), held: 5, agreed: 4 }.to_string();
    assert!(sentence.starts_with("orders/0 was committed up to 5"), "{sentence}");
}

#[test]
fn records_of_another_epoch_are_not_taken() {
    let mut follower = flowing(Counted::Durable);
    assert_eq!(give(&mut follower, records(EPOCH - 1, 9, 10, 10)), []);
    assert_eq!(give(&mut follower, records(EPOCH + 1, 9, 10, 10)), []);
    assert_eq!(give(&mut follower, cut(EPOCH - 1, Mark::default())), []);
    let commit = Commit { epoch: EPOCH - 1, partition: name(0), committed: 9, sent: 9, counted: 9 };
    assert_eq!(give(&mut follower, FollowerInput::Commit(commit)), []);
    assert_eq!(give(&mut follower, records(EPOCH, 9, 10, 10)).len(), 2);
}

#[test]
fn a_gap_is_named_once_and_a_double_is_ignored() {
    let mut follower = flowing(Counted::Durable);
    assert_eq!(give(&mut follower, records(EPOCH, 10, 11, 10)), ack(9, 9, 9, true));
    assert_eq!(give(&mut follower, records(EPOCH, 11, 12, 10)), []);
    assert_eq!(give(&mut follower, records(EPOCH, 5, 9, 10)), []);
    let partition = name(0);
    let write = Replicated { partition, previous: 9, records: Bytes::from(vec![0; 10]) };
    let taken = [FollowerOutput::Write(write), FollowerOutput::Told(name(0), 9)];
    assert_eq!(give(&mut follower, records(EPOCH, 9, 11, 10)), taken);
    assert_eq!(give(&mut follower, records(EPOCH, 10, 12, 10)), ack(11, 9, 9, true));
}

#[test]
fn what_counts_is_acknowledged_at_once() {
    let mut follower = flowing(Counted::Durable);
    give(&mut follower, records(EPOCH, 9, 10, 10));
    assert_eq!(give(&mut follower, moved(10, 9)), []);
    assert_eq!(give(&mut follower, moved(10, 10)), ack(10, 10, 10, false));
    give(&mut follower, records(EPOCH, 10, 11, BLOCK_BYTES_MAX));
    assert_eq!(give(&mut follower, moved(11, 10)), ack(11, 11, 10, false));
    let mut follower = flowing(Counted::Written);
    give(&mut follower, records(EPOCH, 9, 10, 10));
    assert_eq!(give(&mut follower, moved(10, 9)), ack(10, 10, 9, false));
}

#[test]
fn what_the_writer_did_not_take_is_asked_for_again() {
    let mut follower = flowing(Counted::Durable);
    give(&mut follower, records(EPOCH, 9, 10, 10));
    give(&mut follower, records(EPOCH, 10, 11, 10));
    let failed =
        |written, parted| FollowerInput::NotWritten { partition: name(0), written, parted };
    assert_eq!(give(&mut follower, failed(9, None)), ack(9, 9, 9, true));
    assert_eq!(give(&mut follower, failed(9, None)), [], "the second batch of the two");
    let end = Log::of(&[(1, 9)]).end();
    let out = give(&mut follower, failed(9, Some(end)));
    assert!(
        matches!(out.as_slice(), [FollowerOutput::Report(report)] if report.at.is_none()),
        "{out:?}"
    );
}

#[test]
fn a_commit_shows_what_was_lost() {
    let rows = [(9, 9, vec![]), (10, 9, ack(9, 9, 9, true)), (9, 8, ack(9, 9, 9, false))];
    for (sent, counted, expected) in rows {
        let mut follower = flowing(Counted::Durable);
        let commit = Commit { epoch: EPOCH, partition: name(0), committed: 7, sent, counted };
        let mut out = give(&mut follower, FollowerInput::Commit(commit));
        assert_eq!(out.remove(0), FollowerOutput::Told(name(0), 7));
        assert_eq!(out, expected);
    }
}
