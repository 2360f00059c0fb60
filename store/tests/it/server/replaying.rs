//! History and status on request.

use broker::error_code::ErrorCode;
use store::wire::replay::{
    Read, ReadDirection, ReadSource, ReplayAnswer, ReplayRequest, RequestNumber,
};
use store::wire::status::StatusReply;
use store::{ExpectedVersion, Sequence};

use super::bench::{Bench, RawClient, ReplayClient, message, read_all, write};
use crate::fixture::{event, name, stream};

/// Three streams in turn: stream `s-k` has every third sequence.
fn fill(client: &mut RawClient, count: usize) {
    let appends = (0..count).map(|number| {
        let stream = format!("s-{}", number % 3);
        vec![write(&stream, ExpectedVersion::Any, vec![event(&"x".repeat(100))])]
    });
    client.send(1, 1, message(appends.collect()));
    assert_eq!(client.reply().code, None);
}

fn fail(answer: ReplayAnswer) -> ErrorCode {
    match answer {
        ReplayAnswer::Fail { refusal, .. } => ErrorCode::from_number(refusal.code).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_partition_is_read_both_ways_from_anywhere_to_anywhere() {
    let bench = Bench::start();
    fill(&mut bench.client(), 30);
    let replay = bench.replay();
    let backward = ReadDirection::Backward;
    let rows = [
        (read_all(), (1..=30).collect::<Vec<u64>>()),
        (Read { from: 28, ..read_all() }, vec![28, 29, 30]),
        (Read { from: 31, ..read_all() }, vec![]),
        (Read { from: 5, to: 7, ..read_all() }, vec![5, 6, 7]),
        (Read { from: 7, to: 5, ..read_all() }, vec![]),
        (Read { from: 5, count_max: 2, ..read_all() }, vec![5, 6]),
        (Read { direction: backward, count_max: 3, ..read_all() }, vec![30, 29, 28]),
        (Read { direction: backward, from: 3, ..read_all() }, vec![3, 2, 1]),
        (Read { direction: backward, from: 9, to: 8, ..read_all() }, vec![9, 8]),
        (Read { direction: backward, from: 900, to: 29, ..read_all() }, vec![30, 29]),
    ];
    for (read, expected) in rows {
        assert_eq!(replay.sequences(read.clone()), expected, "{read:?}");
    }
}

#[test]
fn a_stream_is_read_both_ways_and_its_last_event() {
    let bench = Bench::start();
    fill(&mut bench.client(), 30);
    let replay = bench.replay();
    let one = || Read { source: ReadSource::Stream(stream("s-1")), ..read_all() };
    let backward = ReadDirection::Backward;
    let rows = [
        (one(), vec![2, 5, 8, 11, 14, 17, 20, 23, 26, 29]),
        (Read { from: 9, ..one() }, vec![26, 29]),
        (Read { from: 11, ..one() }, vec![]),
        (Read { from: 2, to: 3, ..one() }, vec![5, 8]),
        (Read { direction: backward, count_max: 1, ..one() }, vec![29]),
        (Read { direction: backward, from: 2, ..one() }, vec![5, 2]),
        (Read { direction: backward, to: 9, ..one() }, vec![29, 26]),
    ];
    for (read, expected) in rows {
        assert_eq!(replay.sequences(read.clone()), expected, "{read:?}");
    }
}

#[test]
fn blocks_keep_to_credit_and_size() {
    let bench = Bench::start();
    fill(&mut bench.client(), 300);
    let replay = bench.replay();
    let read = Read { credit_bytes: 6000, block_bytes_max: 4096, ..read_all() };
    replay.send(&ReplayRequest::Read(read));
    let (mut sequences, mut bytes, mut credit) = (0, 0, 6000);
    loop {
        let ReplayAnswer::Block(block) = replay.answer() else { panic!("no block") };
        assert!(block.records.len() <= 4096, "{} bytes", block.records.len());
        sequences += block.count;
        bytes += u64::try_from(block.records.len()).unwrap();
        assert!(bytes <= credit + 4096, "{bytes} bytes for a credit of {credit}");
        assert_eq!(block.head, Sequence(300));
        if block.end {
            break;
        }
        if bytes >= credit {
            credit += 10_000;
            let request = RequestNumber(1);
            replay.send(&ReplayRequest::Credit { request, credit_bytes: credit });
        }
    }
    assert_eq!(sequences, 300);
}

#[test]
fn a_cancelled_read_makes_room_for_another() {
    let bench = Bench::start();
    fill(&mut bench.client(), 3);
    let replay = bench.replay();
    let read = |number| Read { request: RequestNumber(number), credit_bytes: 0, ..read_all() };
    for number in 1..=257 {
        replay.send(&ReplayRequest::Read(read(number)));
    }
    assert_eq!(fail(replay.answer()), ErrorCode::BUSY);
    replay.send(&ReplayRequest::Cancel { request: RequestNumber(2) });
    let again = Read { credit_bytes: 1_000_000, ..read(1000) };
    assert_eq!(replay.sequences(again), [1, 2, 3]);
}

#[test]
fn what_cannot_be_read_says_why() {
    let bench = Bench::start();
    fill(&mut bench.client(), 3);
    let replay = bench.replay();
    let absent = ReadSource::Stream(stream("absent"));
    let rows = [
        (Read { source: absent, ..read_all() }, ErrorCode::STREAM_NOT_FOUND),
        (Read { store: name("others"), ..read_all() }, ErrorCode::STORE_NOT_FOUND),
        (Read { partition: 1, ..read_all() }, ErrorCode::STALE_TOPOLOGY),
        (Read { at_least: Sequence(4), ..read_all() }, ErrorCode::INDEX_BEHIND),
    ];
    for (read, code) in rows {
        replay.send(&ReplayRequest::Read(read.clone()));
        assert_eq!(fail(replay.answer()), code, "{read:?}");
    }
}

#[test]
fn a_read_waits_for_the_sequence_that_it_needs() {
    let bench = Bench::start();
    let mut client = bench.client();
    fill(&mut client, 3);
    let replay = bench.replay();
    replay.send(&ReplayRequest::Read(Read { at_least: Sequence(4), ..read_all() }));
    client.append(2, write("s-0", ExpectedVersion::Any, vec![event("late")]));
    let ReplayAnswer::Block(block) = replay.answer() else { panic!("no block") };
    assert_eq!((block.last, block.end), (Sequence(4), true));
}

#[test]
fn an_empty_partition_has_an_end() {
    let bench = Bench::start();
    let replay = bench.replay();
    assert_eq!(replay.sequences(read_all()), Vec::<u64>::new());
    let backward = Read { direction: ReadDirection::Backward, ..read_all() };
    assert_eq!(replay.sequences(backward), Vec::<u64>::new());
}

#[test]
fn a_process_says_how_it_is() {
    let bench = Bench::start();
    fill(&mut bench.client(), 3);
    let replay = ReplayClient::connect(bench.store.replay());
    replay.send(&ReplayRequest::Status { request: RequestNumber(9) });
    let ReplayAnswer::Status { request, body } = replay.answer() else { panic!("no status") };
    assert_eq!(request, RequestNumber(9));
    let status = StatusReply::decode(&body).unwrap();
    assert_eq!((status.durability.as_str(), status.partitions.len()), ("local", 1));
    let partition = &status.partitions[0];
    assert_eq!((partition.store.as_str(), partition.partition), ("orders", 0));
    assert_eq!((partition.committed, partition.durable, partition.written), (3, 3, 3));
    assert_eq!(partition.degraded, Vec::<String>::new());
}
