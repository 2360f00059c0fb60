//! History of categories and streams in the order of the log.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use broker::error_code::ErrorCode;
use store::wire::replay::{
    Read, ReadDirection, ReadSource, ReplayAnswer, ReplayRequest, RequestNumber,
};
use store::{ExpectedVersion, Filter, Sequence};

use super::bench::{
    Bench, PATIENCE, RawClient, ReplayClient, TestBroker, config, deadline, is_past, message,
    read_all, start, write,
};
use crate::fixture::{event, stream};

/// Every third event is of category `user`, the others of `order`, in streams of their own.
fn fill(client: &mut RawClient, number: u64, count: usize, bytes: usize) {
    let appends = (0..count).map(|at| {
        let name = if at % 3 == 2 { format!("user-{at}") } else { format!("order-{at}") };
        vec![write(&name, ExpectedVersion::Any, vec![event(&"x".repeat(bytes))])]
    });
    client.send(number, number, message(appends.collect()));
    assert_eq!(client.reply().code, None);
}

fn category(name: &str) -> Read {
    let filter = Filter::Category(name.parse().unwrap());
    Read { source: ReadSource::Filtered(filter), ..read_all() }
}

fn one_stream(name: &str) -> Read {
    Read { source: ReadSource::Filtered(Filter::Stream(stream(name))), ..read_all() }
}

fn fail(answer: ReplayAnswer) -> ErrorCode {
    match answer {
        ReplayAnswer::Fail { refusal, .. } => ErrorCode::from_number(refusal.code).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_category_is_read_both_ways_from_anywhere_to_anywhere() {
    let bench = Bench::start();
    fill(&mut bench.client(), 1, 30, 100);
    let replay = bench.replay();
    let user = || category("user");
    let backward = || Read { direction: ReadDirection::Backward, ..user() };
    let rows = [
        (user(), vec![3, 6, 9, 12, 15, 18, 21, 24, 27, 30]),
        (Read { from: 24, ..user() }, vec![24, 27, 30]),
        (Read { from: 25, ..user() }, vec![27, 30]),
        (Read { from: 31, ..user() }, vec![]),
        (Read { from: 5, to: 12, ..user() }, vec![6, 9, 12]),
        (Read { from: 7, to: 8, ..user() }, vec![]),
        (Read { from: 5, count_max: 2, ..user() }, vec![6, 9]),
        (Read { count_max: 3, ..backward() }, vec![30, 27, 24]),
        (Read { from: 8, ..backward() }, vec![6, 3]),
        (Read { from: 1, ..backward() }, vec![]),
        (Read { from: 9, to: 6, ..backward() }, vec![9, 6]),
        (Read { from: 900, to: 29, ..backward() }, vec![30]),
        (one_stream("user-5"), vec![6]),
        (Read { from: 7, ..one_stream("user-5") }, vec![]),
        (category("nobody"), vec![]),
        (one_stream("nobody"), vec![]),
    ];
    for (read, expected) in rows {
        for block_bytes_max in [0, 64 * 1024] {
            let read = Read { block_bytes_max, ..read.clone() };
            assert_eq!(replay.sequences(read.clone()), expected, "{read:?}");
        }
    }
}

/// Blocks are as full as they may be although the records are far apart, and the last one says up
/// to where was looked.
#[test]
fn blocks_keep_to_credit_and_size_and_say_how_far_they_look() {
    let bench = Bench::start();
    fill(&mut bench.client(), 1, 600, 200);
    let replay = bench.replay();
    let read = Read { credit_bytes: 6000, block_bytes_max: 4096, ..category("user") };
    replay.send(&ReplayRequest::Read(read));
    let (mut last, mut count, mut bytes, mut credit) = (0, 0, 0, 6000);
    loop {
        let ReplayAnswer::Block(block) = replay.answer() else { panic!("no block") };
        let length = block.records.len();
        assert!(length <= 4096 && (block.end || length > 3000), "{length} bytes");
        assert_eq!((block.first.0, block.head), (last + 3, Sequence(600)));
        last = block.last.0;
        count += block.count;
        bytes += u64::try_from(length).unwrap();
        assert!(bytes <= credit + 4096, "{bytes} bytes for a credit of {credit}");
        if block.end {
            break;
        }
        if bytes >= credit {
            credit += 20_000;
            let request = RequestNumber(1);
            replay.send(&ReplayRequest::Credit { request, credit_bytes: credit });
        }
    }
    assert_eq!((count, last), (200, 600));
    let absent = Read { from: 7, ..category("nobody") };
    replay.send(&ReplayRequest::Read(absent));
    let ReplayAnswer::Block(block) = replay.answer() else { panic!("no block") };
    let places = (block.first, block.last, block.head, block.end);
    assert_eq!(places, (Sequence(0), Sequence(0), Sequence(600), true));
}

/// A category has events in every partition, a stream in one.
#[test]
fn a_stream_is_asked_for_in_its_partition() {
    let (broker, dir) = (TestBroker::start(), tempfile::tempdir().unwrap());
    let mut config = config(dir.path(), &[&broker]);
    config.stores = vec!["orders:2".parse().unwrap()];
    let store = start(&config);
    let replay = ReplayClient::connect(store.replay());
    let answers = [0, 1].map(|partition| {
        assert_eq!(replay.sequences(Read { partition, ..category("user") }), [0_u64; 0]);
        replay.send(&ReplayRequest::Read(Read { partition, ..one_stream("user-1") }));
        matches!(replay.answer(), ReplayAnswer::Block(_))
    });
    assert_eq!(answers.iter().filter(|answered| **answered).count(), 1);
    store.stop().unwrap();
}

/// As many small reads at a time as a client likes: they wait for each other, and none is refused.
#[test]
fn many_small_reads_may_be_under_way() {
    let bench = Bench::start();
    fill(&mut bench.client(), 1, 300, 100);
    let replay = bench.replay();
    let last = |number: u64| Read {
        request: RequestNumber(number),
        source: ReadSource::Stream(stream(&format!("user-{}", 3 * number - 1))),
        direction: ReadDirection::Backward,
        count_max: 1,
        ..read_all()
    };
    (1..=100).for_each(|number| replay.send(&ReplayRequest::Read(last(number))));
    let mut answered: Vec<u64> = (1..=100)
        .map(|_| match replay.answer() {
            ReplayAnswer::Block(block) => {
                assert_eq!((block.last.0, block.end), (3 * block.request.0, true));
                block.request.0
            }
            other => panic!("{other:?}"),
        })
        .collect();
    answered.sort_unstable();
    assert_eq!(answered, (1..=100).collect::<Vec<_>>());
}

/// A store with sealed segments, and the run file of the oldest of them.
fn sealed(dir: &Path, client: &mut RawClient) -> PathBuf {
    (1..=6).for_each(|number| fill(client, number, 60, 1000));
    let first = "run-00000000000000000001-";
    let index = dir.join("orders/0/index");
    let deadline = deadline(PATIENCE);
    loop {
        let files = std::fs::read_dir(&index).into_iter().flatten().map(|file| file.unwrap());
        let run = files.map(|file| file.path()).find(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            name.starts_with(first) && name.ends_with(".index")
        });
        // Runs that wait to be merged would come and go.
        if let Some(run) = run.filter(|_| quiet(&index)) {
            return run;
        }
        assert!(!is_past(deadline), "no run is built");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

/// Whether all sealed segments have their runs.
fn quiet(index: &Path) -> bool {
    let names = |dir: &Path| -> Vec<String> {
        let files = std::fs::read_dir(dir).unwrap();
        files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
    };
    let runs = names(index);
    let covered = |segment: &str| {
        let first = &segment[..20];
        runs.iter().any(|run| run.len() == 51 && &run[4..24] <= first && first <= &run[25..45])
    };
    let segments = names(index.parent().unwrap());
    let mut segments: Vec<&String> =
        segments.iter().filter(|name| name.ends_with(".segment")).collect();
    segments.sort();
    // The last one is open, and there may be a spare one.
    segments.iter().filter(|segment| !covered(segment)).count() <= 2
}

/// Flips a bit of every page of a file but those that are read when it is opened.
fn damage(path: &Path, from_page: u64) {
    let file = std::fs::File::options().read(true).write(true).open(path).unwrap();
    let pages = file.metadata().unwrap().len() / 4096;
    for page in from_page..pages {
        let mut byte = [0];
        file.read_exact_at(&mut byte, page * 4096 + 7).unwrap();
        file.write_all_at(&[byte[0] ^ 1], page * 4096 + 7).unwrap();
    }
}

/// Reads wait while a damaged part of the index is made anew, and are answered right.
#[test]
fn reads_wait_for_the_index() {
    let bench = Bench::start();
    let run = sealed(bench.dir.path(), &mut bench.client());
    damage(&run, 1);
    let replay = bench.replay();
    let users: Vec<u64> = (1..=360).filter(|sequence| sequence % 3 == 0).collect();
    let stream = Read { source: ReadSource::Stream(stream("user-2")), ..read_all() };
    assert_eq!(replay.sequences(stream), [3, 63, 123, 183, 243, 303]);
    assert_eq!(replay.sequences(category("user")), users);
    assert_eq!(replay.sequences(one_stream("user-2")), [3, 63, 123, 183, 243, 303]);
}

/// Where the index can't be made anew, because its segment is damaged too, reads say so after a
/// while; others are not concerned.
#[test]
fn reads_that_wait_in_vain_for_the_index_say_so() {
    let bench = Bench::start();
    let run = sealed(bench.dir.path(), &mut bench.client());
    damage(&run, 1);
    damage(&bench.dir.path().join("orders/0/00000000000000000001.segment"), 1);
    let replay = bench.replay();
    let stream = Read { source: ReadSource::Stream(stream("user-2")), ..read_all() };
    for (number, read) in (1..).zip([stream, category("user"), one_stream("user-2")]) {
        replay.send(&ReplayRequest::Read(Read { request: RequestNumber(number), ..read }));
    }
    for _ in 0..3 {
        assert_eq!(fail(replay.answer()), ErrorCode::INDEX_BEHIND);
    }
    let newest = Read { direction: ReadDirection::Backward, count_max: 1, ..category("user") };
    assert_eq!(replay.sequences(newest), [360]);
}
