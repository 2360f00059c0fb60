//! A scripted run that crashes at each of its disk operations, and what must be true afterwards.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use store::{
    Append, AppendError, Durability, Event, EventId, ExpectedVersion, Node, NodeOptions, OpenError,
    Receipt, Sequence, Store, StreamWrite,
};

use crate::crashing_disk::{CrashingDisk, Leaves, Random};
use crate::fixture::{all, event_with, name, options, partition, stream};

const DIR: &str = "/node";
/// Data of an event: some fill a segment.
const DATA_BYTES: usize = 6000;

fn dir() -> PathBuf {
    PathBuf::from(DIR)
}

/// What the script knows of its appends, each named by the first of its ids.
#[derive(Default)]
struct Script {
    /// Acknowledged ones, with their receipts.
    done: BTreeMap<u128, Receipt>,
    /// Tried, with an unknown outcome.
    unknown: HashSet<u128>,
}

/// Number of appends in the script; together they fill several segments.
const APPENDS: u128 = 24;

/// The n-th append: one event, or three over two streams.
fn script_append(number: u128) -> Append {
    let data = "x".repeat(DATA_BYTES);
    let first = number * 10;
    let shop = |id: u128| stream(&format!("{{shop}}-{}", id % 3));
    if number.is_multiple_of(4) {
        let write = |id: u128, events| StreamWrite {
            stream: shop(id),
            expected: ExpectedVersion::Any,
            events,
        };
        let writes = vec![
            write(0, vec![event_with(first, &data), event_with(first + 1, "1")]),
            write(1, vec![event_with(first + 2, "2")]),
        ];
        return Append { writes, durability: None };
    }
    Append::to(shop(number), ExpectedVersion::Any, vec![event_with(first, &data)])
}

fn open_on(disk: &CrashingDisk, options: &NodeOptions) -> Result<(Node, Store), OpenError> {
    let node = Node::open_on(Arc::new(disk.clone()), Path::new(DIR), options)?;
    match node.ensure_store(&name("orders"), 1, 0..=0) {
        Ok(store) => Ok((node, store)),
        Err(store::StoreError::Open(error)) => Err(error),
        Err(error) => panic!("{error}"),
    }
}

impl Script {
    /// Runs the script until its end or the crash.
    fn run(&mut self, disk: &CrashingDisk, options: &NodeOptions) -> Result<(), OpenError> {
        let (_node, store) = open_on(disk, options)?;
        let Some(partition) = store.partition(store::PartitionNumber(0)) else { return Ok(()) };
        for number in 1..=APPENDS {
            match partition.append(script_append(number)) {
                Ok(receipt) => {
                    self.unknown.remove(&number);
                    self.done.insert(number, receipt);
                }
                Err(AppendError::Unknown) => {
                    self.unknown.insert(number);
                }
                Err(AppendError::Poisoned | AppendError::DiskFull) => {}
                Err(error) => panic!("append {number}: {error}"),
            }
        }
        Ok(())
    }

    /// What must hold of a log after a crash.
    fn check(&self, events: &[Event]) {
        let mut versions: BTreeMap<String, u64> = BTreeMap::new();
        let mut ids = HashSet::new();
        for (event, sequence) in events.iter().zip(1..) {
            assert_eq!(event.sequence, Sequence(sequence), "gapless");
            let version = versions.entry(event.stream.to_string()).or_default();
            *version += 1;
            assert_eq!(event.version.0, *version, "gapless in {}", event.stream);
            assert!(ids.insert(event.id), "{} is there twice", event.id);
            assert!(event.signature_is_valid());
        }
        for (number, receipt) in &self.done {
            for (sequence, (stream, event)) in
                (receipt.first.0..).zip(script_append(*number).events())
            {
                let at = usize::try_from(sequence - 1).unwrap();
                let found = events.get(at).unwrap_or_else(|| panic!("{number} is lost"));
                assert_eq!((&found.id, &found.stream), (&event.id, stream), "{number}");
            }
        }
        for number in 1..=APPENDS {
            let append = script_append(number);
            let there = append.events().filter(|(_, event)| ids.contains(&event.id)).count();
            assert!(there == 0 || there == append.event_count(), "{number} is there in part");
            let tried = self.done.contains_key(&number) || self.unknown.contains(&number);
            assert!(there == 0 || tried, "{number} was refused, yet it is there");
        }
    }
}

/// Opens after a crash and checks. What was shown is not lost by a power loss after that. Sends
/// everything again, and checks again.
fn recover(script: &mut Script, disk: &CrashingDisk, options: &NodeOptions) {
    let (node, store) = open_on(disk, options).unwrap();
    let shown = all(&store);
    script.check(&shown);
    let disk = disk.reboot(Leaves::Nothing);
    drop((node, store));
    let (node, store) = open_on(&disk, options).unwrap();
    assert_eq!(all(&store), shown);
    for number in 1..=APPENDS {
        let receipt = partition(&store).append(script_append(number)).unwrap();
        if let Some(before) = script.done.get(&number) {
            assert!(receipt.duplicate);
            assert_eq!((receipt.first, receipt.last), (before.first, before.last));
        }
        script.unknown.remove(&number);
        script.done.insert(number, receipt);
    }
    let events = all(&store);
    script.check(&events);
    let expected: usize = (1..=APPENDS).map(|number| script_append(number).event_count()).sum();
    assert_eq!(events.len(), expected, "nothing is doubled");
    drop((node, store));
}

/// Operations of the script when nothing goes wrong.
fn operations(options: &NodeOptions) -> u64 {
    let disk = CrashingDisk::new(&dir());
    Script::default().run(&disk, options).unwrap();
    disk.operations()
}

fn crash_and_recover(operation: u64, leaves: Leaves, options: &NodeOptions) {
    let disk = CrashingDisk::new(&dir());
    disk.crash_at(operation);
    let mut script = Script::default();
    // An error means that the crash came while opening.
    let _ = script.run(&disk, options);
    let disk = disk.reboot(leaves);
    recover(&mut script, &disk, options);
}

#[test]
fn a_crash_at_any_operation_loses_nothing_acknowledged() {
    let options = options();
    for operation in 1..=operations(&options) {
        let seeds = [operation * 2 + 1_000_000, operation * 2 + 1_000_001];
        let torn = seeds.map(Leaves::Some);
        for leaves in [Leaves::All, Leaves::Nothing].into_iter().chain(torn) {
            eprintln!("operation {operation}, {leaves:?}");
            crash_and_recover(operation, leaves, &options);
        }
    }
}

#[test]
fn a_power_loss_after_a_crash_of_the_process_loses_nothing_either() {
    let options = options();
    for operation in 1..=operations(&options) {
        eprintln!("operation {operation}");
        let disk = CrashingDisk::new(&dir());
        disk.crash_at(operation);
        let mut script = Script::default();
        let _ = script.run(&disk, &options);
        // The next process builds on what the killed one has left in the page cache.
        let disk = disk.reboot(Leaves::All);
        script.run(&disk, &options).unwrap();
        recover(&mut script, &disk.reboot(Leaves::Nothing), &options);
    }
}

#[test]
fn a_crash_of_the_process_loses_nothing_acknowledged_at_level_memory() {
    let options = NodeOptions { durability: Durability::Memory, ..options() };
    for operation in 1..=operations(&options) {
        eprintln!("operation {operation}");
        crash_and_recover(operation, Leaves::All, &options);
    }
}

#[test]
fn a_power_loss_at_level_memory_leaves_whole_appends_and_those_that_asked_for_more() {
    let options = NodeOptions { durability: Durability::Memory, ..options() };
    for operation in 1..=operations(&options) {
        eprintln!("operation {operation}");
        let mut random = Random(operation);
        let disk = CrashingDisk::new(&dir());
        disk.crash_at(operation);
        let mut script = Script::default();
        if let Ok((_node, store)) = open_on(&disk, &options)
            && let Some(partition) = store.partition(store::PartitionNumber(0))
        {
            for number in 1..=APPENDS {
                let mut append = script_append(number);
                append.durability = (random.below(4) == 0).then_some(Durability::Local);
                let asked = append.durability;
                script.unknown.insert(number);
                if let Ok(receipt) = partition.append(append)
                    && asked.is_some()
                {
                    assert_eq!(receipt.durability, Durability::Local);
                    script.done.insert(number, receipt);
                }
            }
        }
        recover(&mut script, &disk.reboot(Leaves::Some(operation)), &options);
    }
}

#[test]
fn recovery_can_crash_anywhere_and_be_done_again() {
    let options = options();
    let total = operations(&options);
    for seed in 0..24 {
        let mut random = Random(seed);
        let disk = CrashingDisk::new(&dir());
        disk.crash_at(1 + random.below(total));
        let mut script = Script::default();
        let _ = script.run(&disk, &options);
        let mut disk = disk.reboot(Leaves::Some(seed));
        for operation in 1.. {
            eprintln!("seed {seed}, operation {operation}");
            disk.crash_at(operation);
            let opened = open_on(&disk, &options);
            let done = opened.as_ref().is_ok_and(|(_, store)| store.problems().is_empty());
            drop(opened);
            disk = disk.reboot(Leaves::Some(seed * 1000 + operation));
            if done {
                break;
            }
        }
        recover(&mut script, &disk, &options);
    }
}

#[test]
fn a_failed_sync_stops_the_partition_and_is_never_retried() {
    // The first syncs make the node and the partition.
    let disk = CrashingDisk::new(&dir());
    let (node, store) = open_on(&disk, &options()).unwrap();
    let partition = partition(&store);
    let before = partition.append(script_append(1)).unwrap();
    let told = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let tell = Arc::clone(&told);
    partition.on_poison(Arc::new(move || tell.store(true, std::sync::atomic::Ordering::SeqCst)));
    disk.fail_sync(1);
    assert_eq!(partition.append(script_append(2)), Err(AppendError::Unknown));
    assert!(partition.is_poisoned() && told.load(std::sync::atomic::Ordering::SeqCst));
    assert_eq!(partition.append(script_append(3)), Err(AppendError::Poisoned));
    assert_eq!(partition.watermarks().committed(), before.last, "not shown");
    assert_eq!(all(&store).len(), 1, "reads go on");
    drop((partition, node, store));

    // After a restart the outcome is decided by what the disk has.
    let (_node, store) = open_on(&disk.reboot(Leaves::Nothing), &options()).unwrap();
    assert_eq!(all(&store).len(), 1);
}

#[test]
fn a_full_disk_refuses_before_a_partial_record_and_recovers() {
    let disk = CrashingDisk::new(&dir());
    let (_node, store) = open_on(&disk, &options()).unwrap();
    disk.set_capacity(Some(disk.used() + 1000));
    let partition = partition(&store);
    let mut number = 0;
    let refused = loop {
        number += 1;
        match partition.append(script_append(number)) {
            Ok(_) => assert!(number < APPENDS, "the segment never fills"),
            Err(error) => break error,
        }
    };
    assert_eq!(refused, AppendError::DiskFull);
    assert!(!partition.is_poisoned());
    assert!(partition.status().disk_full);
    let kept = all(&store);
    assert!(kept.iter().all(|event| event.id != EventId(uuid::Uuid::from_u128(number * 10))));
    // A small one still fits the open segment.
    let small = Append::to(stream("small-1"), ExpectedVersion::None, vec![event_with(1, "1")]);
    partition.append(small).unwrap();

    disk.set_capacity(None);
    let deadline = Instant::now() + Duration::from_secs(10);
    while let Err(error) = partition.append(script_append(number)) {
        assert_eq!(error, AppendError::DiskFull);
        assert!(Instant::now() < deadline, "appends go on when there is space again");
        std::thread::yield_now();
    }
    assert_eq!(all(&store).len(), kept.len() + 1 + script_append(number).event_count());
}
