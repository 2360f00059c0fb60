//! Damage to the files of a partition: refused with the place, never served, never repaired by
//! leaving something out.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use store::{
    Event, ExpectedVersion, Node, OpenError, PartitionNumber, ReadError, Sequence, Store,
    StoreError,
};

use crate::fixture::{all, event_with, name, open, options, partition, stream};

/// A partition with several sealed segments, closed, and the events in it.
struct Closed {
    dir: tempfile::TempDir,
    events: Vec<Event>,
}

impl Closed {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (node, store) = open(dir.path());
        for number in 0..60_u32 {
            let data = format!("{number}").repeat(3000 / (1 + number as usize % 3));
            let stream = stream(&format!("order-{}", number % 5));
            let events = vec![event_with(u128::from(number), &data)];
            store.append(&stream, ExpectedVersion::Any, events).unwrap();
        }
        let events = all(&store);
        drop((node, store));
        Self { dir, events }
    }

    fn folder(&self) -> PathBuf {
        self.dir.path().join("orders").join("0")
    }

    /// Segment files in order; the last one is open.
    fn segments(&self) -> Vec<PathBuf> {
        let mut paths: Vec<_> = std::fs::read_dir(self.folder())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "segment"))
            .collect();
        paths.sort();
        assert!(paths.len() >= 3);
        paths
    }

    fn edit(&self, path: &Path, edit: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = std::fs::read(path).unwrap();
        edit(&mut bytes);
        std::fs::write(path, bytes).unwrap();
    }

    fn open(&self) -> (Node, Store) {
        let node = Node::open(self.dir.path(), &options()).unwrap();
        let store = node.store(&name("orders")).unwrap();
        (node, store)
    }

    /// Opens, expects that the partition is refused, and that no file of it was changed.
    fn refused(&self) -> Arc<OpenError> {
        let before = contents(&self.folder());
        let (_node, store) = self.open();
        assert!(store.partition(PartitionNumber(0)).is_none(), "a damaged partition is served");
        let [(_, error)] = store.problems() else { panic!("{:?}", store.problems()) };
        assert!(before == contents(&self.folder()), "something was changed: {error}");
        Arc::clone(error)
    }

    /// Damages an offset of the n-th segment so that its index has to be made anew.
    fn without_index(&self) -> &Self {
        std::fs::remove_dir_all(self.folder().join("index")).unwrap();
        std::fs::create_dir(self.folder().join("index")).unwrap();
        self
    }
}

/// All files that are not derived.
fn contents(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files
        .filter(|path| path.is_file())
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect();
    files.sort();
    files
}

/// Offset of the n-th record of a segment, and its length.
fn record_at(path: &Path, number: usize) -> (usize, usize) {
    let bytes = std::fs::read(path).unwrap();
    let mut at = 4096;
    for _ in 0..number {
        at += store::record::decode(&bytes[at..]).unwrap().len();
    }
    (at, store::record::decode(&bytes[at..]).unwrap().len())
}

#[test]
fn a_flipped_bit_in_a_sealed_segment_is_never_served() {
    let closed = Closed::new();
    let path = &closed.segments()[1];
    let (at, length) = record_at(path, 2);
    closed.edit(path, |bytes| bytes[at + length - 20] ^= 4);
    // Its index is there, so the segment is not read when it is opened …
    let (node, store) = closed.open();
    let results: Vec<_> =
        store.read_all(PartitionNumber(0), Sequence(1)).unwrap().take(200).collect();
    let bad = results.iter().position(Result::is_err).unwrap();
    match &results[bad] {
        Err(ReadError::Corrupt { file, sequence, .. }) => {
            assert_eq!(file, path);
            assert_eq!(sequence.0, bad as u64 + 1);
        }
        other => panic!("{other:?}"),
    }
    for (result, event) in results[..bad].iter().zip(&closed.events) {
        assert_eq!(result.as_ref().unwrap(), event);
    }
    drop((node, store));
    // … and when it has to be read, the place is named.
    match &*closed.without_index().refused() {
        OpenError::Corrupt { file, offset, sequence, .. } => {
            assert_eq!((file, *offset), (path, at as u64));
            assert_eq!(sequence.0, bad as u64 + 1);
        }
        other => panic!("{other}"),
    }
}

#[test]
fn damage_to_a_committed_record_of_the_open_segment_is_refused() {
    for at_byte in [0, 5, 30, 100, 130] {
        let closed = Closed::new();
        let path = closed.segments().pop().unwrap();
        let (at, _) = record_at(&path, 1);
        closed.edit(&path, |bytes| bytes[at + at_byte] ^= 0x40);
        match &*closed.refused() {
            OpenError::Corrupt { file, offset, .. } => {
                assert_eq!((file, *offset), (&path, at as u64));
            }
            other => panic!("{other}"),
        }
    }
}

#[test]
fn zeros_over_committed_records_are_refused() {
    let closed = Closed::new();
    let path = closed.segments().pop().unwrap();
    let (at, length) = record_at(&path, 1);
    closed.edit(&path, |bytes| bytes[at..at + length].fill(0));
    assert!(matches!(&*closed.refused(), OpenError::Corrupt { .. }));
}

#[test]
fn a_torn_tail_is_cut_and_kept_aside() {
    let closed = Closed::new();
    let path = closed.segments().pop().unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let mut last = 4096;
    let mut end = last;
    while let Ok(view) = store::record::decode(&bytes[end..]) {
        (last, end) = (end, end + view.len());
    }
    // Closing has promised the last append. A kill leaves no such promise.
    closed.edit(&path, |bytes| bytes[end - 600..end].fill(0));
    assert!(matches!(&*closed.refused(), OpenError::Corrupt { .. }));
    std::fs::remove_file(closed.folder().join("promise")).unwrap();
    let (node, store) = closed.open();
    let (_, but_last) = closed.events.split_last().unwrap();
    assert_eq!(all(&store), but_last);
    assert_eq!(partition(&store).status().torn_bytes as usize, end - 600 - last);
    let torn: Vec<_> = std::fs::read_dir(closed.folder().join("torn")).unwrap().collect();
    let [Ok(kept)] = torn.as_slice() else { panic!("{torn:?}") };
    assert_eq!(std::fs::read(kept.path()).unwrap(), bytes[last..end - 600]);
    // Appending goes on where the log now ends.
    let lost = event_with(59, "again");
    let receipt = store.append(&stream("order-4"), ExpectedVersion::Any, vec![lost]).unwrap();
    assert_eq!(receipt.first, Sequence(60));
    drop((node, store));
    let (_node, store) = closed.open();
    assert_eq!(all(&store).len(), 60);
}

#[test]
fn cut_swapped_missing_and_foreign_segments_are_refused() {
    type Damage = fn(&Closed);
    let rows: [(&str, Damage); 11] = [
        ("a cut sealed segment", |closed| {
            closed.edit(&closed.segments()[0], |bytes| bytes.truncate(30_000));
        }),
        ("a cut open segment", |closed| {
            closed.edit(closed.segments().last().unwrap(), |bytes| bytes.truncate(30_000));
        }),
        ("a longer segment", |closed| {
            closed.edit(&closed.segments()[1], |bytes| bytes.push(0));
        }),
        ("swapped segments", |closed| {
            let [first, second, ..] = &closed.segments()[..] else { panic!() };
            let other = std::fs::read(second).unwrap();
            std::fs::copy(first, second).unwrap();
            std::fs::write(first, other).unwrap();
        }),
        ("a missing first segment", |closed| {
            std::fs::remove_file(&closed.segments()[0]).unwrap();
        }),
        ("a missing middle segment", |closed| {
            std::fs::remove_file(&closed.segments()[1]).unwrap();
        }),
        ("a missing open segment", |closed| {
            std::fs::remove_file(closed.segments().last().unwrap()).unwrap();
        }),
        ("all segments missing", |closed| {
            closed.segments().iter().for_each(|path| std::fs::remove_file(path).unwrap());
        }),
        ("a segment of another partition", |closed| {
            let other = Closed::new();
            let place = closed.segments().len() - 1;
            std::fs::copy(&other.segments()[place], &closed.segments()[place]).unwrap();
        }),
        ("a footer of zeros", |closed| {
            closed.edit(&closed.segments()[0], |bytes| {
                let length = bytes.len();
                bytes[length - 128..].fill(0);
            });
        }),
        ("a damaged header", |closed| {
            closed.edit(&closed.segments()[0], |bytes| bytes[40] ^= 1);
        }),
    ];
    for (what, damage) in rows {
        let closed = Closed::new();
        damage(&closed);
        let error = closed.refused();
        let expected = matches!(&*error, OpenError::Corrupt { .. } | OpenError::Missing { .. });
        assert!(expected, "{what}: {error}");
    }
}

#[test]
fn a_newer_format_is_refused_as_such() {
    let newer = |bytes: &mut Vec<u8>| bytes[12] = 3;
    let closed = Closed::new();
    closed.edit(&closed.segments()[0], newer);
    assert!(matches!(&*closed.refused(), OpenError::NewerFormat { found: 3, known: 2, .. }));
    let closed = Closed::new();
    closed.edit(&closed.folder().join("control"), newer);
    assert!(matches!(&*closed.refused(), OpenError::NewerFormat { found: 3, known: 2, .. }));
    let closed = Closed::new();
    closed.edit(&closed.dir.path().join("node"), newer);
    let error = Node::open(closed.dir.path(), &options()).unwrap_err();
    assert!(matches!(error, OpenError::NewerFormat { found: 3, known: 2, .. }));
}

#[test]
fn a_missing_or_exchanged_partition_is_refused_and_the_node_is_another_incarnation() {
    let closed = Closed::new();
    let incarnation = |closed: &Closed| closed.open().0.incarnation();
    let before = incarnation(&closed);
    assert_eq!(incarnation(&closed), before);

    let away = closed.dir.path().join("away");
    std::fs::rename(closed.folder(), &away).unwrap();
    let (node, store) = closed.open();
    assert!(matches!(&*store.problems()[0].1, OpenError::Missing { .. }));
    assert_ne!(node.incarnation(), before);
    assert!(!closed.folder().exists(), "nothing is started empty");
    drop((node, store));

    let other = Closed::new();
    std::fs::rename(other.folder(), closed.folder()).unwrap();
    assert!(matches!(&*closed.refused(), OpenError::Exchanged { .. }));

    // A person can decide to take it as it is.
    let (node, _) = closed.open();
    node.detach_store(&name("orders")).unwrap();
    let store = node.attach_store(&name("orders")).unwrap();
    assert_eq!(all(&store), other.events);
    drop((node, store));
    let (_node, store) = closed.open();
    assert_eq!(all(&store), other.events);
}

#[test]
fn a_damaged_index_is_made_anew() {
    let closed = Closed::new();
    let files: Vec<_> = std::fs::read_dir(closed.folder().join("index"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert!(!files.is_empty());
    for path in files {
        closed.edit(&path, |bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0xff;
        });
    }
    let (_node, store) = closed.open();
    let again = event_with(3, &"3".repeat(3000));
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    let receipt = loop {
        let append = store.append(&stream("order-3"), ExpectedVersion::Any, vec![again.clone()]);
        match append {
            Ok(receipt) => break receipt,
            // The run is being made from its segments.
            Err(store::AppendError::LogUnreadable { .. }) => {
                assert!(std::time::Instant::now() < deadline);
            }
            Err(error) => panic!("{error}"),
        }
    };
    assert!(receipt.duplicate);
    assert_eq!(receipt.first, Sequence(4));
}

#[test]
fn a_node_file_that_is_gone_is_not_replaced_by_an_empty_one() {
    let closed = Closed::new();
    std::fs::remove_file(closed.dir.path().join("node")).unwrap();
    let error = Node::open(closed.dir.path(), &options()).unwrap_err();
    assert!(matches!(error, OpenError::NodeFileMissing { .. }));
    assert!(!closed.dir.path().join("node").exists());
}

#[test]
fn a_node_file_older_than_the_log_is_refused() {
    let closed = Closed::new();
    let path = closed.dir.path().join("node");
    let old = std::fs::read(&path).unwrap();
    for number in 100..103 {
        let (_node, store) = closed.open();
        let events = vec![event_with(number, "later")];
        store.append(&stream("order-1"), ExpectedVersion::Any, events).unwrap();
    }
    std::fs::write(&path, old).unwrap();
    assert!(matches!(&*closed.refused(), OpenError::EpochBehind { .. }));
}

#[test]
fn another_number_of_partitions_is_refused() {
    let closed = Closed::new();
    let (node, _) = closed.open();
    for (partitions, hosted) in [(2, 0..=0), (2, 0..=1)] {
        let error = node.ensure_store(&name("orders"), partitions, hosted).unwrap_err();
        assert!(matches!(error, StoreError::OtherPartitions { .. }), "{error}");
    }
}
