//! Leading and following: who takes what, and when answers are given.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use store::{
    AppendError, CommitRule, Durability, Epoch, LogMark, Moved, NodeOptions, ReplicateError,
    Replicated, Sequence, Submission,
};

use crate::fixture::{all, options};
use crate::members::{Member, PATIENCE, disk, one, three, wait_for};

fn with_level(durability: Durability) -> NodeOptions {
    NodeOptions { durability, ..options() }
}

/// A leader by itself with some records, and a follower without any.
fn two(level: Durability) -> (Member, Member) {
    let leader = Member::open(&disk(), &with_level(level)).unwrap();
    let follower = Member::open(&disk(), &with_level(level)).unwrap();
    leader.lead(3, CommitRule::Alone);
    follower.follow(3);
    (leader, follower)
}

#[test]
fn a_member_follows_until_it_is_told_to_lead() {
    let (leader, follower) = two(Durability::Pair);
    assert_eq!(follower.partition.append(one(1, 10)), Err(AppendError::NotLeader));
    leader.partition.append(three(1, 10)).unwrap();
    follower.copy_all(&leader);
    assert_eq!(follower.log(), leader.log());
    assert_eq!(follower.partition.mark(), leader.partition.mark());
    assert_eq!(all(&follower.store), [], "what nobody called committed is not shown");
    follower.sync();
    follower.partition.raise_told(Sequence(3));
    assert_eq!(all(&follower.store), all(&leader.store));

    let batch = Replicated { records: leader.log().into(), previous: Sequence(3) };
    assert_eq!(leader.take(batch), Err(ReplicateError::Leading));
    follower.lead(4, CommitRule::Alone);
    let again = follower.partition.append(three(1, 10)).unwrap();
    assert!(again.duplicate, "what was copied is known");
    assert_eq!((again.first, again.epoch), (Sequence(1), Epoch(3)));
    let receipt = follower.partition.append(one(9, 10)).unwrap();
    assert_eq!((receipt.first, receipt.epoch, receipt.copied), (Sequence(4), Epoch(4), false));
    assert!(follower.partition.leads() && follower.partition.epoch() == Epoch(4));
    leader.follow(4);
    leader.copy_all(&follower);
    assert_eq!(leader.log(), follower.log());
}

#[test]
fn an_answer_is_said_by_whoever_moves_the_head() {
    let (leader, _) = two(Durability::Pair);
    leader.partition.set_rule(CommitRule::Both);
    let answer = leader.submit(one(1, 10));
    wait_for(|| leader.partition.watermarks().durable() == Sequence(1));
    assert!(answer.try_recv().is_err(), "the other node does not have it");
    leader.partition.raise_copied(Sequence(1));
    let receipt = answer.try_recv().unwrap().unwrap();
    assert!(receipt.copied && receipt.durability == Durability::Pair);
    assert_eq!(leader.partition.held(), Sequence(1));

    let answer = leader.submit(one(2, 10));
    wait_for(|| leader.partition.watermarks().durable() == Sequence(2));
    leader.partition.set_rule(CommitRule::Alone);
    assert!(!answer.try_recv().unwrap().unwrap().copied);
}

#[test]
fn an_append_that_asks_for_the_pair_keeps_no_other_waiting() {
    for level in [Durability::Memory, Durability::Local] {
        let (leader, _) = two(level);
        leader.partition.set_rule(CommitRule::Both);
        leader.partition.raise_copied(Sequence(0));
        let asking = leader.submit(one(1, 10).with_durability(Durability::Pair));
        let plain = leader.submit(one(2, 10));
        leader.sync_if_local(level);
        if level == Durability::Memory {
            leader.partition.raise_copied(Sequence(2));
        }
        assert!(!plain.recv_timeout(PATIENCE).unwrap().unwrap().duplicate, "{level}");
        assert!(asking.try_recv().is_err(), "{level}: it is not synced everywhere");
        leader.partition.raise_synced(Sequence(1));
        let receipt = asking.recv_timeout(PATIENCE).unwrap().unwrap();
        assert_eq!((receipt.durability, receipt.copied), (Durability::Pair, true));
    }
}

impl Member {
    fn sync_if_local(&self, level: Durability) {
        if level != Durability::Memory {
            self.sync();
        }
    }
}

#[test]
fn whoever_stops_leading_answers_all_and_writes_nothing_more() {
    for round in 0..40 {
        let disk = disk();
        let leader = Member::open(&disk, &with_level(Durability::Pair)).unwrap();
        leader.lead(1, CommitRule::Both);
        let pause = (round % 2 == 0).then(|| disk.pause());
        let answers: Vec<_> = (1..=30).map(|id| leader.submit(one(id, 10))).collect();
        std::thread::scope(|scope| {
            let stopping = scope.spawn(|| {
                leader.partition.set_rule(CommitRule::Held);
                leader.partition.follow(Epoch(1));
            });
            drop(pause);
            stopping.join().unwrap();
        });
        let mut written = 0;
        for answer in &answers {
            match answer.try_recv().expect("answered when it has stopped") {
                Err(AppendError::Unknown) => written += 1,
                Err(AppendError::NotLeader) => {}
                other => panic!("{other:?}"),
            }
            assert!(answer.recv().is_err(), "answered once");
        }
        assert_eq!(leader.partition.mark().sequence, Sequence(written));
        leader.lead(2, CommitRule::Alone);
        leader.partition.append(one(99, 10)).unwrap();
        assert_eq!(leader.partition.mark().sequence, Sequence(written + 1));
        let epochs: Vec<_> = leader.events().iter().map(|event| event.epoch.0).collect();
        assert!(epochs.is_sorted() && epochs.last() == Some(&2), "{epochs:?}");
    }
}

#[test]
fn nothing_commits_by_a_rule_that_has_ended() {
    let leader = Member::open(&disk(), &with_level(Durability::Local)).unwrap();
    leader.lead(1, CommitRule::Alone);
    let (stop, acknowledged) = (AtomicBool::new(false), AtomicU64::new(0));
    let ids = AtomicU64::new(1);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.load(Ordering::SeqCst) {
                    let id = u128::from(ids.fetch_add(1, Ordering::SeqCst));
                    if let Ok(receipt) = leader.partition.append(one(id, 10)) {
                        acknowledged.fetch_max(receipt.last.0, Ordering::SeqCst);
                    }
                }
            });
        }
        for _ in 0..100 {
            let before = acknowledged.load(Ordering::SeqCst);
            wait_for(|| acknowledged.load(Ordering::SeqCst) > before);
            leader.partition.set_rule(CommitRule::Held);
            let head = leader.partition.watermarks().committed();
            // Those that wait at the rule can't go on, so this settles.
            std::thread::sleep(Duration::from_micros(300));
            assert_eq!(leader.partition.watermarks().committed(), head);
            assert!(acknowledged.load(Ordering::SeqCst) <= head.0);
            leader.partition.set_rule(CommitRule::Alone);
        }
        stop.store(true, Ordering::SeqCst);
    });
}

/// A batch with one byte changed.
fn changed(batch: &Replicated, at: usize) -> Replicated {
    let mut bytes = batch.records.to_vec();
    bytes[at] ^= 1;
    Replicated { records: bytes.into(), previous: batch.previous }
}

#[test]
fn a_batch_that_is_not_what_comes_next_changes_nothing() {
    let (leader, follower) = two(Durability::Pair);
    leader.partition.append(three(1, 100)).unwrap();
    let batch = leader.next_for(LogMark::default(), 10_000).unwrap();
    let (length, records) = (batch.records.len(), &batch.records);
    for at in 0..length {
        let result = follower.take(changed(&batch, at));
        assert!(matches!(result, Err(ReplicateError::Invalid { .. })), "byte {at}: {result:?}");
    }
    let cut = |end| Replicated { records: records.slice(..end), previous: Sequence(0) };
    for end in 1..length {
        assert!(matches!(follower.take(cut(end)), Err(ReplicateError::Invalid { .. })), "{end}");
    }
    let twice = Bytes::from([&records[..], &records[..]].concat());
    let twice = follower.take(Replicated { records: twice, previous: Sequence(0) });
    assert!(matches!(twice, Err(ReplicateError::Invalid { .. })));
    let gap = follower.take(Replicated { previous: Sequence(2), ..batch.clone() });
    let expected = ReplicateError::Gap { previous: Sequence(2), last: Sequence(0) };
    assert_eq!(gap, Err(expected));
    leader.lead(5, CommitRule::Alone);
    leader.partition.append(one(10, 10)).unwrap();
    assert_eq!(follower.take(batch.clone()), Ok(Sequence(3)));
    let later = leader.next_for(follower.partition.mark(), 10_000).unwrap();
    let (sequence, found, known) = (Sequence(4), Epoch(5), Epoch(3));
    let ahead = Err(ReplicateError::EpochAhead { sequence, found, known });
    assert_eq!(follower.take(later.clone()), ahead);

    let other = Member::open(&disk(), &options()).unwrap();
    other.lead(3, CommitRule::Alone);
    for id in 21..=24 {
        other.partition.append(one(id, 10)).unwrap();
    }
    let stranger = other.partition.log_reader().read(Sequence(4), 10_000).unwrap();
    let stranger = Replicated { records: stranger.records, previous: Sequence(3) };
    let expected = ReplicateError::OtherHistory { sequence: Sequence(4) };
    assert_eq!(follower.take(stranger), Err(expected));
    follower.follow(5);
    assert_eq!(follower.take(later), Ok(Sequence(4)));
    assert_eq!(follower.log(), leader.log());
}

#[test]
fn a_full_disk_lets_a_follower_go_on_when_there_is_space_again() {
    let disk = disk();
    let follower = Member::open(&disk, &options()).unwrap();
    let leader = Member::open(&crate::members::disk(), &options()).unwrap();
    leader.lead(1, CommitRule::Alone);
    follower.follow(1);
    for id in 1..=60 {
        leader.partition.append(one(id * 10, 6000)).unwrap();
    }
    disk.set_capacity(Some(disk.used() + 1000));
    let error = loop {
        let batch = leader.next_for(follower.partition.mark(), 100_000).unwrap();
        if let Err(error) = follower.take(batch) {
            break error;
        }
    };
    assert_eq!(error, ReplicateError::DiskFull);
    assert!(!follower.partition.is_poisoned());
    disk.set_capacity(None);
    wait_for(|| {
        let batch = leader.next_for(follower.partition.mark(), 100_000);
        batch.is_none_or(|batch| match follower.take(batch) {
            Ok(_) | Err(ReplicateError::DiskFull) => false,
            Err(error) => panic!("{error}"),
        })
    });
    assert_eq!(follower.log(), leader.log());
}

#[test]
fn a_failed_sync_stops_a_follower() {
    let disk = disk();
    let follower = Member::open(&disk, &options()).unwrap();
    let leader = Member::open(&crate::members::disk(), &options()).unwrap();
    leader.lead(1, CommitRule::Alone);
    follower.follow(1);
    leader.partition.append(one(1, 10)).unwrap();
    let batch = leader.next_for(LogMark::default(), 10_000).unwrap();
    disk.fail_sync(1);
    assert_eq!(follower.take(batch), Ok(Sequence(1)), "written, which says nothing of the disk");
    wait_for(|| follower.partition.is_poisoned());
    assert_eq!(follower.partition.watermarks().durable(), Sequence(0));
    leader.partition.append(one(2, 10)).unwrap();
    let batch = leader.next_for(follower.partition.mark(), 10_000).unwrap();
    assert_eq!(follower.take(batch), Err(ReplicateError::Poisoned));
}

#[test]
fn a_closed_or_full_partition_answers_or_gives_back() {
    let (leader, follower) = two(Durability::Pair);
    leader.partition.append(one(1, 10)).unwrap();
    let batch = leader.next_for(LogMark::default(), 10_000).unwrap();
    follower.partition.close();
    assert_eq!(follower.take(batch.clone()), Err(ReplicateError::Closed));
    assert!(leader.partition.log_reader().read(Sequence(1), 10).is_ok());
    leader.partition.close();
    assert!(leader.partition.log_reader().read(Sequence(1), 10).is_err());

    let disk = disk();
    let small = NodeOptions { queue_messages_max: 2, ..options() };
    let follower = Member::open(&disk, &small).unwrap();
    follower.follow(3);
    let pause = disk.pause();
    let mut given_back = None;
    for _ in 0..10 {
        if let Err(back) = follower.partition.replicate(batch.clone(), Box::new(|_| {})) {
            given_back = Some(back);
        }
    }
    assert_eq!(given_back, Some(batch));
    drop(pause);
}

#[test]
fn the_log_is_read_in_whole_appends_over_all_segments() {
    let (leader, _) = two(Durability::Pair);
    leader.partition.set_rule(CommitRule::Held);
    let answer: store::Answer = Box::new(|_| {});
    let appends = (1..=40).map(|id| three(id * 10, 3000)).collect();
    assert!(leader.partition.submit(Submission::new(appends, answer)).is_ok());
    wait_for(|| leader.partition.mark().sequence == Sequence(120));
    assert_eq!(leader.partition.watermarks().committed(), Sequence(0));
    let reader = leader.partition.log_reader();
    assert!(leader.partition.status().segments > 3);
    for bytes_max in [1, 7000, 20_000, 1_000_000] {
        let mut next = Sequence(1);
        while next <= Sequence(120) {
            let block = reader.read(next, bytes_max).unwrap();
            assert_eq!((block.first, block.last.0 % 3), (next, 0), "{bytes_max}");
            assert!(block.count == 3 || block.records.len() <= bytes_max, "{bytes_max}");
            assert_eq!(block.at_end, block.last == Sequence(120));
            next = block.last.next();
        }
        assert_eq!(reader.read(next, bytes_max).unwrap().count, 0);
    }
    for event in leader.events() {
        let mark = reader.mark(event.sequence).unwrap().unwrap();
        assert_eq!((mark.sequence, mark.epoch), (event.sequence, event.epoch));
    }
    assert_eq!(reader.mark(Sequence(120)).unwrap(), Some(leader.partition.mark()));
    assert_eq!(reader.mark(Sequence(0)).unwrap(), Some(LogMark::default()));
    assert_eq!(reader.mark(Sequence(121)).unwrap(), None);
}

#[test]
fn the_last_record_of_an_epoch_is_found() {
    let leader = Member::open(&disk(), &options()).unwrap();
    let reader = leader.partition.reader();
    assert_eq!(reader.last_of_epoch(Epoch(9)).unwrap(), Sequence(0));
    let mut lasts = Vec::new();
    for (epoch, appends) in [(2, 3), (5, 1), (6, 90), (9, 2)] {
        leader.lead(epoch, CommitRule::Alone);
        for id in 0..appends {
            leader.partition.append(one(u128::from(epoch) * 1000 + id, 2000)).unwrap();
        }
        lasts.push((epoch, leader.partition.mark().sequence));
    }
    for epoch in 0..12 {
        let last = lasts.iter().rev().find(|(of, _)| *of <= epoch).map_or(Sequence(0), |of| of.1);
        assert_eq!(reader.last_of_epoch(Epoch(epoch)).unwrap(), last, "{epoch}");
    }
}

#[test]
fn listeners_hear_of_every_move() {
    let (leader, follower) = two(Durability::Pair);
    let marks = follower.partition.watermarks();
    let (written, durable, committed) = (counter(), counter(), counter());
    let moves = (Arc::clone(&written), Arc::clone(&durable));
    marks.on_move(Arc::new(move |moved| {
        let count = if moved == Moved::Written { &moves.0 } else { &moves.1 };
        count.fetch_add(1, Ordering::SeqCst);
    }));
    let commits = Arc::clone(&committed);
    marks.on_commit(Arc::new(move || {
        commits.fetch_add(1, Ordering::SeqCst);
    }));
    leader.partition.append(one(1, 10)).unwrap();
    follower.copy_all(&leader);
    follower.sync();
    wait_for(|| written.load(Ordering::SeqCst) == 1 && durable.load(Ordering::SeqCst) == 1);
    assert_eq!(committed.load(Ordering::SeqCst), 0);
    follower.partition.raise_told(Sequence(1));
    assert_eq!(committed.load(Ordering::SeqCst), 1);
}

fn counter() -> Arc<AtomicU64> {
    Arc::new(AtomicU64::new(0))
}
