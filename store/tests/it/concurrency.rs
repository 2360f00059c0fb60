//! Many writers at once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::time::{Duration, Instant};

use store::{
    Append, AppendError, Durability, ExpectedVersion, Node, NodeOptions, Receipt, Sequence,
    Submission, Version,
};

use crate::crashing_disk::CrashingDisk;
use crate::fixture::{all, event, event_with, name, open, options, partition, stream};

#[test]
fn of_writers_with_one_expected_version_exactly_one_wins() {
    let dir = tempfile::tempdir().unwrap();
    let (_node, store) = open(dir.path());
    for round in 0..8 {
        let barrier = Arc::new(Barrier::new(64));
        let writers: Vec<_> = (0..64)
            .map(|_| {
                let (store, barrier) = (store.clone(), Arc::clone(&barrier));
                std::thread::spawn(move || {
                    let expected = ExpectedVersion::Exact(Version(round));
                    barrier.wait();
                    store.append(&stream("contended"), expected, vec![event("1")])
                })
            })
            .collect();
        let results: Vec<_> = writers.into_iter().map(|writer| writer.join().unwrap()).collect();
        let won = results.iter().filter(|result| result.is_ok()).count();
        assert_eq!(won, 1, "round {round}");
        for result in &results {
            let actual = Some(Version(round + 1));
            let conflict = matches!(
                result,
                Err(AppendError::WrongExpectedVersion { actual: found, .. }) if *found == actual
            );
            assert!(result.is_ok() || conflict, "{result:?}");
        }
    }
    assert_eq!(all(&store).len(), 8);
}

#[test]
fn one_thread_s_appends_keep_their_order_among_others() {
    let dir = tempfile::tempdir().unwrap();
    let (_node, store) = open(dir.path());
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let partition = partition(&store);
            std::thread::spawn(move || {
                let (sender, answers) = mpsc::channel();
                let mut results: Vec<(u64, Vec<Result<Receipt, AppendError>>)> = Vec::new();
                for number in 0..200_u64 {
                    let stream = stream(&format!("writer-{writer}"));
                    let expected = ExpectedVersion::Exact(Version(number));
                    let append = Append::to(stream, expected, vec![event("1")]);
                    let sender = sender.clone();
                    let answer = Box::new(move |results| sender.send((number, results)).unwrap());
                    // Now on this thread, now queued: whichever way is free.
                    partition.append_here(vec![Submission::new(vec![append], answer)]);
                    if number % 16 == 15 {
                        // The queue has room for so many of all writers.
                        results.extend(answers.iter().take(16));
                    }
                }
                drop(sender);
                results.extend(answers.iter());
                assert_eq!(results.len(), 200);
                for (number, result) in results {
                    let receipt = result[0].as_ref().unwrap_or_else(|error| panic!("{error}"));
                    assert_eq!(receipt.versions.as_slice(), [Version(number + 1)]);
                }
            })
        })
        .collect();
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    assert_eq!(all(&store).len(), 1600);
}

#[test]
fn the_same_append_sent_by_many_at_once_is_done_once() {
    let dir = tempfile::tempdir().unwrap();
    let (_node, store) = open(dir.path());
    let barrier = Arc::new(Barrier::new(16));
    let senders: Vec<_> = (0..16)
        .map(|_| {
            let (store, barrier) = (store.clone(), Arc::clone(&barrier));
            std::thread::spawn(move || {
                barrier.wait();
                (0..50_u128)
                    .map(|id| {
                        let events = vec![event_with(id, "1"), event_with(1000 + id, "2")];
                        store.append(&stream("s-1"), ExpectedVersion::Any, events).unwrap()
                    })
                    .collect::<Vec<_>>()
            })
        })
        .collect();
    let receipts: Vec<_> = senders.into_iter().map(|sender| sender.join().unwrap()).collect();
    for id in 0..50 {
        let firsts = receipts.iter().filter(|receipts| !receipts[id].duplicate).count();
        assert_eq!(firsts, 1);
        let first = receipts[0][id].first;
        assert!(receipts.iter().all(|receipts| receipts[id].first == first));
    }
    assert_eq!(all(&store).len(), 100);
}

#[test]
fn readers_never_see_more_than_the_head() {
    let dir = tempfile::tempdir().unwrap();
    let (_node, store) = open(dir.path());
    let partition = partition(&store);
    let reading = {
        let partition = partition.clone();
        std::thread::spawn(move || {
            let reader = partition.reader();
            let mut next = Sequence(1);
            while next.0 <= 600 {
                let head =
                    partition.watermarks().wait_past(Sequence(next.0 - 1), Duration::from_secs(20));
                assert!(head >= next, "the head stands still at {head}");
                let block = reader.read(next, 10_000).unwrap();
                assert!(block.last <= partition.watermarks().durable());
                assert!(block.last <= block.head);
                next = block.last.next();
            }
        })
    };
    for number in 0..200_u32 {
        let events = (0..3).map(|_| event(&number.to_string())).collect();
        store.append(&stream("s-1"), ExpectedVersion::Any, events).unwrap();
    }
    reading.join().unwrap();
}

/// A disk whose syncs are counted.
fn syncs_of(submissions: usize) -> (u64, Vec<Receipt>) {
    let dir = std::path::Path::new("/node");
    let disk = CrashingDisk::new(dir);
    let node = Node::open_on(Arc::new(disk.clone()), dir, &options()).unwrap();
    let store = node.ensure_store(&name("orders"), 1, 0..=0).unwrap();
    let partition = partition(&store);
    let (sender, answers) = mpsc::channel();
    let before = disk.syncs();
    let appends =
        (0..submissions).map(|_| Append::to(stream("s-1"), ExpectedVersion::Any, vec![event("1")]));
    let answer = Box::new(move |results| sender.send(results).unwrap());
    partition.submit(Submission::new(appends.collect(), answer)).unwrap();
    let results: Vec<Result<Receipt, AppendError>> =
        answers.recv_timeout(Duration::from_secs(20)).unwrap();
    (disk.syncs() - before, results.into_iter().map(Result::unwrap).collect())
}

#[test]
fn what_arrives_together_shares_one_sync() {
    let (syncs, receipts) = syncs_of(50);
    assert_eq!(syncs, 1);
    let firsts: Vec<_> = receipts.iter().map(|receipt| receipt.first.0).collect();
    assert_eq!(firsts, (1..=50).collect::<Vec<_>>());
}

#[test]
fn a_refusal_waits_for_the_record_that_it_rests_on() {
    let dir = std::path::Path::new("/node");
    let disk = CrashingDisk::new(dir);
    let node = Node::open_on(Arc::new(disk.clone()), dir, &options()).unwrap();
    let store = node.ensure_store(&name("orders"), 1, 0..=0).unwrap();
    let partition = partition(&store);
    disk.fail_sync(1);
    // The second rests on the first, which never commits: nobody may learn that it was there.
    let append = |_| Append::to(stream("s-1"), ExpectedVersion::None, vec![event("1")]);
    let (sender, answers) = mpsc::channel();
    let answer = Box::new(move |results| sender.send(results).unwrap());
    let invalid = Append::to(stream("s-1"), ExpectedVersion::Any, vec![]);
    let appends = vec![append(1), append(2), invalid];
    partition.submit(Submission::new(appends, answer)).unwrap();
    let results: Vec<Result<Receipt, AppendError>> =
        answers.recv_timeout(Duration::from_secs(20)).unwrap();
    assert_eq!(results[..2], [Err(AppendError::Unknown), Err(AppendError::Unknown)]);
    assert!(matches!(results[2], Err(AppendError::InvalidArgument { .. })));
}

#[test]
fn a_full_queue_gives_the_submission_back() {
    let dir = std::path::Path::new("/node");
    let disk = CrashingDisk::new(dir);
    let options = NodeOptions { queue_messages_max: 4, ..options() };
    let node = Node::open_on(Arc::new(disk.clone()), dir, &options).unwrap();
    let store = node.ensure_store(&name("orders"), 1, 0..=0).unwrap();
    let partition = partition(&store);
    let answered = Arc::new(AtomicUsize::new(0));
    let mut taken = 0;
    let pause = disk.pause();
    let deadline = Instant::now() + Duration::from_secs(20);
    let full = loop {
        let answered = Arc::clone(&answered);
        let append = Append::to(stream("s-1"), ExpectedVersion::Any, vec![event("1")]);
        let answer = Box::new(move |_| {
            answered.fetch_add(1, Ordering::SeqCst);
        });
        match partition.submit(Submission::new(vec![append], answer)) {
            Ok(()) => taken += 1,
            Err(back) => break back,
        }
        assert!(Instant::now() < deadline, "the queue has no limit");
    };
    assert_eq!(full.appends.len(), 1);
    assert!(partition.status().queued_messages >= 4);
    drop(pause);
    partition.close();
    assert_eq!(answered.load(Ordering::SeqCst), taken);
    let late = Append::to(stream("s-1"), ExpectedVersion::Any, vec![event("1")]);
    assert_eq!(partition.append(late), Err(AppendError::Closed));
}

#[test]
fn level_memory_commits_without_a_sync_unless_more_is_asked_for() {
    let dir = std::path::Path::new("/node");
    let disk = CrashingDisk::new(dir);
    let options = NodeOptions { durability: Durability::Memory, ..options() };
    let node = Node::open_on(Arc::new(disk.clone()), dir, &options).unwrap();
    let store = node.ensure_store(&name("orders"), 1, 0..=0).unwrap();
    let partition = partition(&store);
    let before = disk.syncs();
    let append = |durability| Append {
        durability,
        ..Append::to(stream("s-1"), ExpectedVersion::Any, vec![event("1")])
    };
    let receipt = partition.append(append(None)).unwrap();
    assert_eq!((receipt.durability, disk.syncs()), (Durability::Memory, before));
    assert_eq!(partition.watermarks().committed(), Sequence(1));
    assert_eq!(partition.watermarks().durable(), Sequence(0));
    let receipt = partition.append(append(Some(Durability::Local))).unwrap();
    assert_eq!((receipt.durability, disk.syncs()), (Durability::Local, before + 1));
    assert_eq!(partition.watermarks().durable(), Sequence(2));
}
