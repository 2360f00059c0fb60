//! Appending, reading and following through the public interface.

use std::time::{Duration, Instant};

use store::{
    Append, AppendError, Direction, ExpectedVersion, Mode, NewEvent, Origin, PartitionNumber,
    ReadError, Sequence, Signature, StreamQuery, StreamWrite, Submission, Version,
};

use crate::fixture::{all, event, event_with, name, open, options, partition, stream};

#[test]
fn what_is_appended_is_read_back_also_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let (node, store) = open(dir.path());
    let receipt = store
        .append(&stream("order-1"), ExpectedVersion::None, vec![event("1"), event("2")])
        .unwrap();
    assert_eq!((receipt.first, receipt.last), (Sequence(1), Sequence(2)));
    assert_eq!(receipt.versions.as_slice(), [Version(2)]);
    assert_eq!(receipt.epoch, node.epoch());
    let before = all(&store);
    drop((node, store));

    let (node, store) = open(dir.path());
    assert_eq!(node.epoch(), receipt.epoch.next());
    assert_eq!(all(&store), before);
    assert!(before.iter().all(store::Event::signature_is_valid));
    let ends: Vec<_> = before.iter().map(|event| event.ends_append).collect();
    assert_eq!(ends, [false, true]);
    let next = store
        .append(&stream("order-1"), ExpectedVersion::Exact(Version(2)), vec![event("3")])
        .unwrap();
    assert_eq!((next.first, next.versions.as_slice()), (Sequence(3), &[Version(3)][..]));
}

#[test]
fn streams_read_in_both_directions_over_many_segments() {
    let dir = tempfile::tempdir().unwrap();
    let (node, store) = open(dir.path());
    for number in 0..1500_u32 {
        let name = stream(&format!("order-{}", number % 7));
        let data = "y".repeat(number as usize % 400);
        store.append(&name, ExpectedVersion::Any, vec![event(&data)]).unwrap();
    }
    assert!(partition(&store).status().segments > 5);
    let before = all(&store);
    assert_eq!(before.len(), 1500);
    drop((node, store));
    let (_node, store) = open(dir.path());
    assert_eq!(all(&store), before);
    for bytes_max in [1, 5_000, 1024 * 1024] {
        let query = StreamQuery { bytes_max, ..StreamQuery::all(stream("order-3")) };
        let read = |query| -> Vec<_> {
            store.read_stream(query).unwrap().collect::<Result<_, _>>().unwrap()
        };
        let of_stream = before.iter().filter(|event| event.stream == query.stream);
        let expected: Vec<_> = of_stream.cloned().collect();
        assert_eq!(read(query.clone()), expected);
        let from = Version(u64::MAX);
        let mut backward = read(StreamQuery { direction: Direction::Backward, from, ..query });
        backward.reverse();
        assert_eq!(backward, expected);
    }
    let last = store.read_stream(StreamQuery::last(stream("order-3"))).unwrap();
    assert_eq!(last.count(), 1);
    let reader = partition(&store).reader();
    assert_eq!(reader.stream_version(&stream("order-3")).unwrap(), Some(Version(214)));
    assert_eq!(reader.stream_version(&stream("order-9")).unwrap(), None);
    let missing = reader.read_stream(&StreamQuery::all(stream("order-9"))).unwrap_err();
    assert!(matches!(missing, ReadError::StreamNotFound { .. }));
}

#[test]
fn the_time_never_goes_back() {
    let dir = tempfile::tempdir().unwrap();
    let (_node, store) = open(dir.path());
    for _ in 0..50 {
        store.append(&stream("a-1"), ExpectedVersion::Any, vec![event("1"), event("2")]).unwrap();
    }
    assert!(all(&store).is_sorted_by_key(|event| event.time_micros));
}

fn write(name: &str, expected: ExpectedVersion, events: Vec<NewEvent>) -> StreamWrite {
    StreamWrite { stream: stream(name), expected, events }
}

#[test]
fn an_append_over_several_streams_is_done_as_a_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let (_node, store) = open(dir.path());
    let partition = partition(&store);
    let transfer = |from: ExpectedVersion, first: u128| Append {
        writes: vec![
            write("account-1", from, vec![event_with(first, "-5")]),
            write("account-2", ExpectedVersion::Any, vec![event_with(first + 1, "+5")]),
            write("account-3", ExpectedVersion::None, vec![]),
        ],
        durability: None,
    };
    let receipt = partition.append(transfer(ExpectedVersion::None, 10)).unwrap();
    assert_eq!(receipt.versions.as_slice(), [Version(1), Version(1), Version::ZERO]);
    let error = partition.append(transfer(ExpectedVersion::Exact(Version(5)), 20)).unwrap_err();
    assert_eq!(
        error,
        AppendError::WrongExpectedVersion {
            stream: stream("account-1"),
            expected: ExpectedVersion::Exact(Version(5)),
            actual: Some(Version(1)),
        }
    );
    store.append(&stream("account-3"), ExpectedVersion::None, vec![event("closed")]).unwrap();
    let error = partition.append(transfer(ExpectedVersion::Any, 30)).unwrap_err();
    assert!(matches!(error, AppendError::WrongExpectedVersion { .. }), "a mere check counts");
    assert_eq!(all(&store).len(), 3);
}

#[test]
fn appends_that_are_refused_for_their_shape() {
    let dir = tempfile::tempdir().unwrap();
    let node = store::Node::open(dir.path(), &options()).unwrap();
    let store = node.ensure_store(&name("orders"), 8, 0..=7).unwrap();
    let home = stream("{a}-1");
    let partition = store.partition(store.partition_of(&home)).unwrap();
    let elsewhere = (0..).map(|number| stream(&format!("{{b{number}}}-1")));
    let elsewhere =
        elsewhere.into_iter().find(|name| store.partition_of(name) != partition.number()).unwrap();
    let any = ExpectedVersion::Any;
    let one = |events| Append::to(home.clone(), any, events);
    let of_two = |first: &str, second: &store::StreamName| Append {
        writes: vec![
            write(first, any, vec![event("1")]),
            StreamWrite { stream: second.clone(), expected: any, events: vec![event("2")] },
        ],
        durability: None,
    };
    let signed = |right: bool| {
        let mut event = event("1");
        event.signature = Some(Signature::of(&home, &event));
        if !right {
            event.data = "2".into();
        }
        event
    };
    let large =
        |data: usize, metadata: usize| event(&"x".repeat(data)).with_metadata(vec![b' '; metadata]);
    type Check = fn(&AppendError) -> bool;
    let rows: [(&str, Append, Check); 11] = [
        ("no event", one(vec![]), |e| matches!(e, AppendError::InvalidArgument { .. })),
        ("an id twice", one(vec![event_with(1, "1"), event_with(1, "1")]), |e| {
            matches!(e, AppendError::InvalidArgument { .. })
        }),
        ("a stream twice", of_two("{a}-1", &home), |e| {
            matches!(e, AppendError::InvalidArgument { .. })
        }),
        ("a system stream", of_two("{a}-1", &stream("$topology")), |e| {
            matches!(e, AppendError::InvalidArgument { .. })
        }),
        ("two partitions", of_two("{a}-1", &elsewhere), |e| {
            matches!(e, AppendError::CrossPartition { .. })
        }),
        ("a wrong signature", one(vec![signed(false)]), |e| {
            matches!(e, AppendError::BadSignature { .. })
        }),
        ("long data", one(vec![large(1024 * 1024 + 1, 0)]), |e| {
            matches!(e, AppendError::EventTooLarge { field: "data", .. })
        }),
        ("long metadata", one(vec![large(1, 64 * 1024 + 1)]), |e| {
            matches!(e, AppendError::EventTooLarge { field: "metadata", .. })
        }),
        ("many events", one((0..1001).map(|_| event("1")).collect()), |e| {
            matches!(e, AppendError::BatchTooLarge { what: "events", .. })
        }),
        ("many bytes", one((0..7).map(|_| large(9000, 0)).collect()), |e| {
            matches!(e, AppendError::BatchTooLarge { what: "bytes", .. })
        }),
        (
            "a stream of another partition",
            Append::to(elsewhere.clone(), any, vec![event("1")]),
            |e| matches!(e, AppendError::CrossPartition { .. }),
        ),
    ];
    for (what, append, check) in rows {
        let error = partition.append(append).expect_err(what);
        assert!(check(&error), "{what}: {error}");
    }
    assert_eq!(partition.watermarks().written(), Sequence::ZERO, "nothing was written");
    partition.append(one(vec![signed(true)])).unwrap();
}

#[test]
fn the_largest_event_and_append_fit_a_default_segment() {
    let dir = tempfile::tempdir().unwrap();
    let options = store::NodeOptions { segment_bytes: 8 * 1024 * 1024, ..options() };
    let node = store::Node::open(dir.path(), &options).unwrap();
    let store = node.ensure_store(&name("orders"), 1, 0..=0).unwrap();
    let long = stream(&"s".repeat(256));
    for _ in 0..3 {
        let largest = || event(&"x".repeat(1024 * 1024)).with_metadata(vec![b' '; 64 * 1024]);
        let events = (0..3).map(|_| largest()).collect();
        store.append(&long, ExpectedVersion::Any, events).unwrap();
    }
    let events = all(&store);
    assert!(events.len() == 9 && events.iter().all(store::Event::signature_is_valid));
    let backward = partition(&store).reader().read_backward(Sequence(9), 16_000_000).unwrap();
    assert_eq!((backward.count, backward.first), (9, Sequence(9)));
}

#[test]
fn a_resent_append_is_answered_with_its_first_receipt_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let (node, store) = open(dir.path());
    let append = || {
        let events = vec![event_with(1, "1"), event_with(2, "2")];
        Append::to(stream("order-1"), ExpectedVersion::None, events)
    };
    let first = partition(&store).append(append()).unwrap();
    let again = partition(&store).append(append()).unwrap();
    assert!(again.duplicate && !first.duplicate);
    assert_eq!(store::Receipt { duplicate: false, ..again }, first);
    drop((node, store));

    for _ in 0..2 {
        let (_node, store) = open(dir.path());
        // Enough to move the original into a sealed segment with an index run.
        for _ in 0..400 {
            let data = "z".repeat(300);
            store.append(&stream("other"), ExpectedVersion::Any, vec![event(&data)]).unwrap();
        }
        let again = partition(&store).append(append()).unwrap();
        assert_eq!(store::Receipt { duplicate: false, ..again }, first);
        let part = Append::to(stream("order-1"), ExpectedVersion::Any, vec![event_with(2, "2")]);
        let error = partition(&store).append(part).unwrap_err();
        let ids = vec![store::EventId(uuid::Uuid::from_u128(2))];
        assert_eq!(error, AppendError::IdReused { ids });
    }
}

#[test]
fn a_look_up_answers_from_the_log_and_never_appends() {
    let dir = tempfile::tempdir().unwrap();
    let (_node, store) = open(dir.path());
    let append =
        |id| Append::to(stream("order-1"), ExpectedVersion::Any, vec![event_with(id, "1")]);
    let done = partition(&store).append(append(1)).unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    let answer = Box::new(move |results| sender.send(results).unwrap());
    let mut submission = Submission::new(vec![append(1), append(2)], answer);
    submission.mode = Mode::LookUp;
    partition(&store).submit(submission).unwrap();
    let results = receiver.recv_timeout(Duration::from_secs(20)).unwrap();
    let found = results[0].as_ref().unwrap();
    assert!(found.duplicate && found.first == done.first);
    assert_eq!(results[1], Err(AppendError::Unknown));
    assert_eq!(all(&store).len(), 1);
}

#[test]
fn only_the_store_itself_writes_system_streams() {
    let dir = tempfile::tempdir().unwrap();
    let (_node, store) = open(dir.path());
    let (sender, receiver) = std::sync::mpsc::channel();
    let append = Append::to(stream("$topology"), ExpectedVersion::Any, vec![event("{}")]);
    let answer = Box::new(move |results| sender.send(results).unwrap());
    let mut submission = Submission::new(vec![append], answer);
    submission.origin = Origin::System;
    partition(&store).submit(submission).unwrap();
    assert!(receiver.recv_timeout(Duration::from_secs(20)).unwrap()[0].is_ok());
}

#[test]
fn subscriptions_give_what_is_there_and_what_comes_once_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let node = store::Node::open(dir.path(), &options()).unwrap();
    let store = node.ensure_store(&name("orders"), 4, 0..=3).unwrap();
    let append = |number: u32| {
        let name = stream(&format!("order-{number}"));
        store.append(&name, ExpectedVersion::None, vec![event(&number.to_string())]).unwrap();
    };
    (0..200).for_each(append);
    let from: Vec<_> = (0..4).map(|number| (PartitionNumber(number), Sequence(1))).collect();
    let mut subscription = store.subscribe(&from).unwrap();
    let reading = std::thread::spawn(move || {
        let deadline = Instant::now() + Duration::from_secs(30);
        let mut seen = Vec::new();
        while seen.len() < 400 && Instant::now() < deadline {
            seen.extend(subscription.next_timeout(Duration::from_secs(1)).unwrap());
        }
        assert!(subscription.next_timeout(Duration::from_millis(1)).unwrap().is_none());
        seen
    });
    (200..400).for_each(append);
    let seen = reading.join().unwrap();
    for partition in store.hosted() {
        let mine =
            seen.iter().filter(|event| store.partition_of(&event.stream) == partition.number());
        let expected: Vec<_> = partition.read_all(Sequence(1)).collect::<Result<_, _>>().unwrap();
        assert!(mine.eq(expected.iter()));
    }
    let missing = store.subscribe(&[(PartitionNumber(9), Sequence(1))]);
    assert!(matches!(missing, Err(ReadError::NotHosted { .. })));
}
