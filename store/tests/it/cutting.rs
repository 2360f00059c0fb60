//! A follower's log cut back to where it agrees with its leader's, whenever a crash comes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use store::disk::{Disk, OpenMode};
use store::verify::{Verdict, verify_partition};
use store::{
    CommitRule, CutError, Durability, Epoch, ExpectedVersion, LogMark, NodeOptions,
    PartitionNumber, Sequence,
};

use crate::crashing_disk::{CrashingDisk, Leaves};
use crate::fixture::{all, event, name, options, stream};
use crate::members::{Member, disk, folder, three};

const ZERO: PartitionNumber = PartitionNumber(0);

fn at_level_local() -> NodeOptions {
    NodeOptions { durability: Durability::Local, ..options() }
}

/// Appends of the log that is cut: three records each, two appends to a segment.
const APPENDS: u128 = 8;
const RECORDS: u64 = 24;
const DATA_BYTES: usize = 13_000;

/// A member whose log fills several segments, under two epochs; nothing of it is known to be
/// with another node.
fn filled(disk: &CrashingDisk) -> Member {
    let member = Member::open(disk, &at_level_local()).unwrap();
    member.lead(1, CommitRule::Both);
    for id in 1..=APPENDS {
        if id == 5 {
            member.lead(2, CommitRule::Both);
        }
        member.partition.append(three(id * 10, DATA_BYTES)).unwrap();
    }
    assert!(member.partition.status().segments > 3);
    member.follow(3);
    member
}

fn mark(member: &Member, sequence: u64) -> LogMark {
    member.partition.log_reader().mark(Sequence(sequence)).unwrap().unwrap()
}

/// Names and contents of what is parked.
fn parked(disk: &CrashingDisk) -> Vec<(String, Vec<u8>)> {
    let dir = folder().join("parked");
    let names = disk.list(&dir).unwrap_or_default();
    let finished = names.into_iter().filter(|name| !name.ends_with(".tmp"));
    finished.map(|name| (name.clone(), content(disk, &dir.join(name)))).collect()
}

fn content(disk: &CrashingDisk, path: &Path) -> Vec<u8> {
    let file = disk.open(path, OpenMode::Read).unwrap();
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.read_at(&mut bytes, 0).unwrap();
    bytes
}

/// The log up to a mark, and what comes after it.
fn split(member: &Member, last: u64) -> (Vec<u8>, Vec<u8>) {
    let log = member.log();
    if last == RECORDS {
        return (log, Vec::new());
    }
    let tail = member.log_from(Sequence(last + 1));
    (log[..log.len() - tail.len()].to_vec(), tail)
}

/// What must hold of a log that was cut.
fn check(disk: &CrashingDisk, member: &Member, (kept, tail): (&[u8], &[u8]), to: LogMark) {
    let log = if to.sequence == Sequence(0) { Vec::new() } else { member.log() };
    assert!(log == kept, "the log ends elsewhere");
    assert_eq!(member.partition.mark(), to);
    let files = parked(disk);
    assert_eq!(files.len(), 1, "{:?}", files.iter().map(|(name, _)| name).collect::<Vec<_>>());
    assert!(files[0].1 == tail, "other records were set aside");
    let status = member.partition.status();
    assert_eq!((status.parked_files, status.parked_records), (1, RECORDS - to.sequence.0));

    // It goes on like any other log: what is kept is known, what was cut is new again.
    member.lead(4, CommitRule::Alone);
    let mut appended = 0;
    for id in 1..=APPENDS {
        let receipt = member.partition.append(three(id * 10, DATA_BYTES)).unwrap();
        let known = u64::try_from(id * 3).unwrap() <= to.sequence.0;
        assert_eq!(receipt.duplicate, known, "{id}");
        appended += u64::from(!known) * 3;
    }
    assert_eq!(member.partition.mark().sequence, Sequence(to.sequence.0 + appended));
    member.partition.close();
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let report = verify_partition(&disk, &folder()).unwrap();
    assert_eq!(report.verdict(), Verdict::Clean, "{report:?}");
    assert_eq!(report.last, Sequence(to.sequence.0 + appended));
}

#[test]
fn a_log_is_cut_at_any_append_over_any_number_of_segments() {
    for last in (0..RECORDS).step_by(3) {
        let disk = disk();
        let mut member = filled(&disk);
        let (to, (kept, tail)) = (mark(&member, last), split(&member, last));
        let before = member.partition.clone();
        let (store, parked) = member.node.cut(&name("orders"), ZERO, to).unwrap();
        assert_eq!(parked.records, RECORDS - last);
        assert_eq!((parked.first, parked.last), (Sequence(last + 1), Sequence(RECORDS)));
        let file = parked.file.unwrap();
        let epoch = 2;
        let expected = format!("{epoch:020}-{:020}-{RECORDS:020}.records", last + 1);
        assert_eq!(file, folder().join("parked").join(expected));
        assert!(before.log_reader().read(Sequence(1), 10).is_err(), "the former one is closed");
        member.partition = store.partition(ZERO).unwrap().clone();
        member.store = store;
        check(&disk, &member, (&kept, &tail), to);
    }
}

#[test]
fn a_crash_at_any_operation_of_a_cut_leads_to_the_same_end() {
    // In the open segment; at the end of a sealed one and within it; before the first record.
    for last in [RECORDS - 3, 12, 9, 6, 0] {
        for leaves in [Leaves::All, Leaves::Nothing, Leaves::Some(last), Leaves::Some(last + 100)] {
            for operation in 1.. {
                eprintln!("cut to {last}, {leaves:?}, operation {operation}");
                if !crash_and_cut_again(last, operation, leaves) {
                    break;
                }
            }
        }
    }
}

/// Returns whether the crash came before the end.
fn crash_and_cut_again(last: u64, operation: u64, leaves: Leaves) -> bool {
    let before = disk();
    let member = filled(&before);
    member.sync();
    let (to, (kept, tail)) = (mark(&member, last), split(&member, last));
    before.crash_at(operation);
    let crashed = member.node.cut(&name("orders"), ZERO, to).is_err();
    drop(member);
    let mut disk = before.reboot(leaves);
    // Opening goes on with the cut, and may crash as well.
    disk.crash_at(operation);
    if Member::open(&disk, &at_level_local()).is_err() {
        disk = disk.reboot(leaves);
    } else {
        disk = disk.reboot(Leaves::All);
    }
    if parked(&disk).len() == 1 {
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let report = verify_partition(&shared, &folder()).unwrap();
        assert_ne!(report.verdict(), Verdict::Damaged, "{report:?}");
    }
    let mut member = Member::open(&disk, &at_level_local()).unwrap();
    assert_eq!(member.partition.held(), Sequence(0));
    member.follow(3);
    let (store, _) = member.node.cut(&name("orders"), ZERO, to).unwrap();
    member.partition = store.partition(ZERO).unwrap().clone();
    member.store = store;
    check(&disk, &member, (&kept, &tail), to);
    crashed
}

#[test]
fn what_must_not_be_cut_stays() {
    let disk = disk();
    let member = filled(&disk);
    let log = member.log();
    let cut = |to| member.node.cut(&name("orders"), ZERO, to);
    let good = mark(&member, 9);
    let other = LogMark { chain: [9; 16], ..good };
    assert!(matches!(cut(other), Err(CutError::OtherHistory { sequence: Sequence(9) })));
    let beyond = LogMark { sequence: Sequence(RECORDS + 1), ..good };
    assert!(matches!(cut(beyond), Err(CutError::OtherHistory { .. })));
    let within = cut(mark(&member, 8));
    assert!(matches!(within, Err(CutError::WithinAppend { sequence: Sequence(8) })));
    let nowhere = member.node.cut(&name("users"), ZERO, good);
    assert!(matches!(nowhere, Err(CutError::NotHosted { .. })));

    let (_, parked_now) = cut(member.partition.mark()).unwrap();
    assert_eq!((parked_now.records, parked_now.file), (0, None::<PathBuf>));
    assert!(!member.partition.log_reader().read(Sequence(1), 10).unwrap().at_end, "still open");

    disk.set_capacity(Some(disk.used() + 5000));
    assert!(matches!(cut(good), Err(CutError::Parking(_))));
    assert_eq!(parked(&disk), []);
    disk.set_capacity(None);

    member.partition.raise_told(Sequence(12));
    assert_eq!(member.partition.held(), Sequence(12));
    let below = cut(good);
    let (sequence, held) = (Sequence(9), Sequence(12));
    assert!(matches!(
        below,
        Err(CutError::BelowHeld { sequence: s, held: h }) if (s, h) == (sequence, held)
    ));
    member.lead(4, CommitRule::Alone);
    assert!(matches!(cut(mark(&member, 15)), Err(CutError::Leads)));
    assert!(member.log() == log, "nothing has changed");
}

#[test]
fn other_partitions_and_their_subscriptions_go_on() {
    let disk = disk();
    let member = filled(&disk);
    let users = member.node.create_store(&name("users"), 2, 0..=1).unwrap();
    let other = users.partition(PartitionNumber(1)).unwrap();
    other.lead(Epoch(3));
    other.set_rule(CommitRule::Alone);
    let (store, _) = member.node.cut(&name("orders"), ZERO, mark(&member, 6)).unwrap();
    let mut names = (0..).map(|number| stream(&format!("user-{number}")));
    let user = names.find(|name| users.partition_of(name) == PartitionNumber(1)).unwrap();
    users.append(&user, ExpectedVersion::None, vec![event("1")]).unwrap();
    assert_eq!(other.watermarks().committed(), Sequence(1));
    let fresh = member.node.store(&name("orders")).unwrap();
    assert_eq!(fresh.partition(ZERO).unwrap().mark(), store.partition(ZERO).unwrap().mark());
    assert_eq!(all(&fresh), []);
}

#[test]
fn two_tails_of_the_same_place_are_both_kept() {
    let disk = disk();
    let mut member = filled(&disk);
    let to = mark(&member, 6);
    for _ in 0..2 {
        let (store, parked) = member.node.cut(&name("orders"), ZERO, to).unwrap();
        assert!(parked.records > 0);
        member.partition = store.partition(ZERO).unwrap().clone();
        member.partition.lead(Epoch(3));
        member.partition.set_rule(CommitRule::Both);
        for id in 3..=APPENDS {
            member.partition.append(three(id * 10 + 1000, DATA_BYTES)).unwrap();
        }
        member.partition.follow(Epoch(3));
    }
    let (_, third) = member.node.cut(&name("orders"), ZERO, to).unwrap();
    assert!(third.file.unwrap().to_string_lossy().ends_with("-2.records"));
    assert_eq!(parked(&disk).len(), 3);
}
