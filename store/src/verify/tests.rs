//! A sound folder is clean, and whatever is changed in it is found where it was changed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Verdict, VerifyReport, verify_partition};
use crate::disk::{Disk, FileDisk};
use crate::log::appender::LogEnd;
use crate::log::scan::walk;
use crate::log::segment::{SEGMENT_FOOTER_BYTES, SegmentHeader};
use crate::{
    Append, ContentType, EventType, ExpectedVersion, NewEvent, Node, NodeOptions, PartitionNumber,
    Sequence, Signature, SignatureCheck, StoreName, StreamName, Submission,
};

const SEGMENT_BYTES: u32 = 64 * 1024;

/// A closed node with some segments, and the folder of its only partition.
struct Fixture {
    dir: tempfile::TempDir,
    partition: PathBuf,
}

impl Fixture {
    fn new(events: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let partition = dir.path().join("orders").join("0");
        let fixture = Self { dir, partition };
        fixture.with_node(|store| {
            for number in 0..events {
                let stream =
                    StreamName::try_from(format!("order-{}", number % 7).as_str()).unwrap();
                let event = event(&"x".repeat(200 + number % 50));
                store.append(&stream, ExpectedVersion::Any, vec![event]).unwrap();
            }
        });
        fixture
    }

    fn with_node(&self, work: impl FnOnce(&crate::Store)) {
        let options = NodeOptions { segment_bytes: SEGMENT_BYTES, ..NodeOptions::default() };
        let node = Node::open(self.dir.path(), &options).unwrap();
        work(&node.ensure_store(&StoreName::new("orders").unwrap(), 1, 0..=0).unwrap());
        node.close();
    }

    fn verify(&self) -> VerifyReport {
        let before = files(&self.partition);
        let disk: Arc<dyn Disk> = Arc::new(FileDisk);
        let report = verify_partition(&disk, &self.partition).unwrap();
        assert!(files(&self.partition) == before, "verify changed something");
        report
    }

    /// Segment files, ascending.
    fn segments(&self) -> Vec<PathBuf> {
        let files = files(&self.partition).into_keys();
        files.filter(|path| path.extension().is_some_and(|end| end == "segment")).collect()
    }

    /// Offset after the last record of a segment.
    fn end(&self, segment: &Path) -> usize {
        let file = FileDisk.open(segment, crate::disk::OpenMode::Read).unwrap();
        let header = SegmentHeader::decode(&std::fs::read(segment).unwrap()[..4096]).unwrap();
        let last = Sequence(header.first.0 - 1);
        let start = LogEnd { last, chain: header.chain, ..LogEnd::EMPTY };
        let walk = walk(&*file, start, SEGMENT_BYTES, &mut |_| ()).unwrap();
        usize::try_from(walk.extent.end).unwrap()
    }

    fn change(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = std::fs::read(path).unwrap();
        change(&mut bytes);
        std::fs::write(path, bytes).unwrap();
    }

    /// Verifies with a byte of a file changed, and changes it back.
    fn with_flip(&self, path: &Path, at: usize) -> VerifyReport {
        self.change(path, |bytes| bytes[at] ^= 0x10);
        let report = self.verify();
        self.change(path, |bytes| bytes[at] ^= 0x10);
        report
    }
}

fn event(data: &str) -> NewEvent {
    let event_type = EventType::try_from("Placed").unwrap();
    NewEvent::new(event_type, ContentType::Bytes, data.as_bytes().to_vec())
}

fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else {
            files.insert(path.clone(), std::fs::read(path).unwrap());
        }
    }
    files
}

#[test]
fn a_sound_folder_is_clean() {
    for events in [0, 1, 700] {
        let report = Fixture::new(events).verify();
        assert_eq!(report.verdict(), Verdict::Clean, "{report:?}");
        assert_eq!(report.index_problems, []);
        let events = u64::try_from(events).unwrap();
        assert_eq!((report.records, report.last), (events, Sequence(events)));
        assert_eq!(report.first, Sequence(events.min(1)));
        assert_eq!(report.number, PartitionNumber(0));
    }
}

#[test]
fn a_changed_byte_is_found_where_it_is() {
    let fixture = Fixture::new(700);
    let segments = fixture.segments();
    assert!(segments.len() >= 4);
    let [_, sealed, .., newest] = segments.as_slice() else { panic!("{segments:?}") };
    let length = usize::try_from(SEGMENT_BYTES).unwrap();
    let footer = length - usize::try_from(SEGMENT_FOOTER_BYTES).unwrap();
    let end = fixture.end(sealed);
    // What is changed, and where the damage begins.
    let rows = [
        (sealed, 0, 0, "header of the segment"),
        (sealed, 4096, 4096, "header of the first record"),
        (sealed, 4096 + 130, 4096, "body of the first record"),
        (sealed, end, end, "filling"),
        (sealed, footer - 1, footer - 4 * 3, "table"),
        (sealed, footer, footer, "footer"),
        (newest, 4096 + 30, 4096, "a committed record of the open segment"),
    ];
    for (path, at, begins, what) in rows {
        let report = fixture.with_flip(path, at);
        let [damage] = report.damages.as_slice() else { panic!("{what}: {report:?}") };
        assert_eq!(&damage.file, path, "{what}");
        let begins = u64::try_from(begins).unwrap();
        assert!(damage.offset.abs_diff(begins) <= 8, "{what}: {damage:?}, expected {begins}");
        assert_eq!(report.verdict(), Verdict::Damaged);
    }
    assert_eq!(fixture.verify().verdict(), Verdict::Clean);
}

#[test]
fn every_damaged_segment_is_named() {
    let fixture = Fixture::new(900);
    let segments = fixture.segments();
    for segment in [&segments[0], &segments[2]] {
        fixture.change(segment, |bytes| bytes[9000] ^= 1);
    }
    let report = fixture.verify();
    let named: Vec<_> = report.damages.iter().map(|damage| damage.file.clone()).collect();
    assert_eq!(named, [segments[0].clone(), segments[2].clone()], "{report:?}");
}

#[test]
fn a_missing_segment_is_named() {
    for lost in [0, 1] {
        let fixture = Fixture::new(700);
        let path = fixture.segments()[lost].clone();
        std::fs::remove_file(&path).unwrap();
        let report = fixture.verify();
        assert_eq!(report.damages[0].file, path, "{report:?}");
        assert_eq!(report.damages[0].reason, "the segment is missing");
    }
    let fixture = Fixture::new(700);
    let newest = fixture.segments().pop().unwrap();
    std::fs::remove_file(newest).unwrap();
    let report = fixture.verify();
    assert!(report.damages[0].reason.contains("one after it is missing"), "{report:?}");
}

#[test]
fn a_torn_tail_is_measured_and_opening_cuts_just_that() {
    let fixture = Fixture::new(300);
    let newest = fixture.segments().pop().unwrap();
    let end = fixture.end(&newest);
    // Half of a record that was never acknowledged.
    fixture.change(&newest, |bytes| {
        let (before, after) = bytes.split_at_mut(end);
        after[..100].copy_from_slice(&before[4096..4196]);
        after[100] = 1;
    });
    let report = fixture.verify();
    let torn = report.torn_tail.clone().unwrap();
    assert_eq!(report.verdict(), Verdict::TornTail);
    assert_eq!((torn.file, torn.offset), (newest, u64::try_from(end).unwrap()));
    assert_eq!((torn.bytes, torn.after), (104, Sequence(300)));
    fixture.with_node(|_| ());
    assert_eq!(fixture.verify().verdict(), Verdict::Clean);
    assert_eq!(fixture.verify().records, 300);
}

#[test]
fn a_wrong_signature_is_found_although_all_checksums_are_right() {
    let fixture = Fixture::new(5);
    fixture.with_node(|store| {
        let partition = store.partition(PartitionNumber(0)).unwrap();
        let forged = NewEvent { signature: Some(Signature([1; 20])), ..event("forged") };
        let stream = StreamName::try_from("order-1").unwrap();
        let append = Append::to(stream, ExpectedVersion::Any, vec![forged]);
        let (answer, answered) = std::sync::mpsc::channel();
        let answer = Box::new(move |results| answer.send(results).unwrap());
        let mut submission = Submission::new(vec![append], answer);
        submission.signatures = SignatureCheck::Done;
        assert!(partition.submit(submission).is_ok());
        let results = answered.recv_timeout(std::time::Duration::from_secs(10)).unwrap();
        assert!(results.iter().all(Result::is_ok));
    });
    let report = fixture.verify();
    let [damage] = report.damages.as_slice() else { panic!("{report:?}") };
    assert_eq!(
        (damage.sequence, damage.reason.as_str()),
        (Sequence(6), "a record's signature is wrong")
    );
}

#[test]
fn a_damaged_index_file_is_named_and_is_no_damage_to_the_log() {
    let fixture = Fixture::new(700);
    let run = files(&fixture.partition.join("index")).into_keys().next().unwrap();
    let report = fixture.with_flip(&run, 4096);
    assert_eq!(report.verdict(), Verdict::Clean);
    let [problem] = report.index_problems.as_slice() else { panic!("{report:?}") };
    assert_eq!(problem.file, run);
}
