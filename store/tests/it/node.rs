//! A node and its stores: the lock, creating, removing, detaching, copying.

use std::path::Path;
use std::sync::Arc;

use store::{
    AppendError, Durability, Epoch, ExpectedVersion, Node, NodeOptions, OpenError, Store,
    StoreError,
};
use uuid::Uuid;

use crate::crashing_disk::{CrashingDisk, Leaves};
use crate::fixture::{all, event, name, open, options, partition, stream};

fn append(store: &Store, data: &str) -> Result<store::Receipt, AppendError> {
    store.append(&stream("s-1"), ExpectedVersion::Any, vec![event(data)])
}

#[test]
fn a_directory_has_one_process() {
    let dir = tempfile::tempdir().unwrap();
    let (node, store) = open(dir.path());
    match Node::open(dir.path(), &options()) {
        Err(OpenError::Locked { pid, .. }) => assert_eq!(pid, std::process::id().to_string()),
        other => panic!("{other:?}"),
    }
    append(&store, "1").unwrap();
    drop((node, store));
    let (_node, store) = open(dir.path());
    assert_eq!(all(&store).len(), 1);
}

#[test]
fn epoch_and_identity_over_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let (node, _) = open(dir.path());
    let (epoch, incarnation, lineage) = (node.epoch(), node.incarnation(), node.lineage());
    drop(node);
    let (node, store) = open(dir.path());
    assert_eq!(
        (node.epoch(), node.incarnation(), node.lineage()),
        (epoch.next(), incarnation, lineage)
    );
    let receipt = append(&store, "1").unwrap();
    assert_eq!(receipt.epoch, node.epoch());
}

#[test]
fn a_member_of_a_pair_keeps_its_record_and_is_not_opened_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (node, store) = open(dir.path());
    append(&store, "1").unwrap();
    let (epoch, incarnation, lineage) = (node.epoch(), node.incarnation(), node.lineage());
    drop((node, store));

    let node = Node::open_member(dir.path(), &options()).unwrap();
    let store = node.store(&name("orders")).unwrap();
    assert_eq!(
        (node.epoch(), node.pair_record()),
        (epoch, None),
        "a member's start counts nothing"
    );
    assert_eq!(append(&store, "2"), Err(AppendError::NotLeader));
    let shared = Uuid::from_u128(9);
    let behind = node.save_pair_record(b"early", shared, Epoch(0)).unwrap_err();
    assert!(matches!(behind, OpenError::EpochBehind { log: Epoch(1), node: Epoch(0), .. }));
    assert_eq!((node.lineage(), node.pair_record()), (lineage, None));
    node.save_pair_record(b"record", shared, Epoch(7)).unwrap();
    assert_eq!((node.epoch(), node.lineage()), (Epoch(7), shared));
    drop((node, store));

    let error = Node::open(dir.path(), &options()).unwrap_err();
    assert!(matches!(error, OpenError::PairMember { .. }));
    assert!(error.to_string().contains("--role"), "{error}");
    let node = Node::open_member(dir.path(), &options()).unwrap();
    assert_eq!((node.epoch(), node.lineage()), (Epoch(7), shared));
    assert_eq!((node.incarnation(), node.pair_record()), (incarnation, Some(b"record".to_vec())));
    drop(node);

    let memory = NodeOptions { durability: Durability::Memory, ..options() };
    let node = Node::open_member(dir.path(), &memory).unwrap();
    assert_ne!(node.incarnation(), incarnation, "a restart may have lost what it had");
}

#[test]
fn a_directory_gets_another_identity_or_leaves_its_pair_offline() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(Node::renew(&dir.path().join("x")), Err(OpenError::NoNode { .. })));
    assert!(!dir.path().join("x").exists(), "nothing is made for a wrong path");
    let node = Node::open_member(dir.path(), &options()).unwrap();
    let store = node.ensure_store(&name("orders"), 1, 0..=0).unwrap();
    node.save_pair_record(b"record", node.lineage(), Epoch(7)).unwrap();
    let (incarnation, lineage) = (node.incarnation(), node.lineage());
    assert!(matches!(Node::renew(dir.path()), Err(OpenError::Locked { .. })));
    drop((node, store));

    let renewed = Node::renew(dir.path()).unwrap();
    let node = Node::open_member(dir.path(), &options()).unwrap();
    assert_eq!((node.incarnation(), node.lineage()), (renewed, lineage));
    assert!(renewed != incarnation && node.pair_record().is_some());
    drop(node);

    let own = Node::leave_pair(dir.path()).unwrap();
    let node = Node::open(dir.path(), &options()).unwrap();
    assert_eq!((node.lineage(), node.epoch(), node.pair_record()), (own, Epoch(8), None));
    assert!(own != lineage && node.incarnation() != renewed);
    append(&node.store(&name("orders")).unwrap(), "1").unwrap();
}

#[test]
fn what_a_member_has_acted_on_survives_a_kill_and_a_power_loss_after_it() {
    let dir = Path::new("/node");
    for operation in 1.. {
        let disk = CrashingDisk::new(dir);
        let node = Node::open_member_on(Arc::new(disk.clone()), dir, &options()).unwrap();
        node.save_pair_record(b"first", Uuid::from_u128(1), Epoch(1)).unwrap();
        disk.crash_at(operation);
        let done = node.save_pair_record(b"second", Uuid::from_u128(1), Epoch(2)).is_ok();
        drop(node);
        // The process was killed; the next one reads what may be in memory only, and acts on it.
        let disk = disk.reboot(Leaves::All);
        let node = Node::open_member_on(Arc::new(disk.clone()), dir, &options()).unwrap();
        let acted_on = (node.pair_record(), node.epoch());
        let disk = disk.reboot(Leaves::Nothing);
        let node = Node::open_member_on(Arc::new(disk), dir, &options()).unwrap();
        assert_eq!((node.pair_record(), node.epoch()), acted_on, "operation {operation}");
        if done {
            break;
        }
    }
}

#[test]
fn options_out_of_range() {
    let dir = tempfile::tempdir().unwrap();
    for segment_bytes in [0, 4096, 100_000, 1024 * 1024 * 1024 + 4096] {
        let options = store::NodeOptions { segment_bytes, ..options() };
        assert!(matches!(Node::open(dir.path(), &options), Err(OpenError::Options { .. })));
    }
}

#[test]
fn stores_are_isolated_and_come_and_go() {
    let dir = tempfile::tempdir().unwrap();
    let (node, orders) = open(dir.path());
    let users = node.create_store(&name("users"), 3, 1..=2).unwrap();
    assert_eq!(users.hosted().count(), 2);
    let exists = node.create_store(&name("users"), 3, 1..=2).unwrap_err();
    assert!(matches!(exists, StoreError::Exists { .. }));
    for (partitions, hosted) in [(0, 0..=0), (2, 1..=2), (1025, 0..=0)] {
        let error = node.create_store(&name("other"), partitions, hosted).unwrap_err();
        assert!(matches!(error, StoreError::Partitions { .. }));
    }
    let elsewhere = (0..).map(|number| stream(&format!("s-{number}")));
    let elsewhere = elsewhere.into_iter().find(|name| users.partition_of(name).0 == 0).unwrap();
    let error = users.append(&elsewhere, ExpectedVersion::Any, vec![event("1")]).unwrap_err();
    assert!(matches!(error, AppendError::NotHosted { .. }));

    append(&orders, "1").unwrap();
    let kept = node.remove_store(&name("users")).unwrap();
    assert!(kept.join("1").join("control").exists(), "{}", kept.display());
    assert!(matches!(node.store(&name("users")), Err(StoreError::NotFound { .. })));
    append(&orders, "2").unwrap();
    let again = node.create_store(&name("users"), 1, 0..=0).unwrap();
    assert_eq!(all(&again).len(), 0);
    drop((node, orders, users, again));
    let (node, orders) = open(dir.path());
    assert_eq!(all(&orders).len(), 2);
    assert_eq!(node.stores().len(), 2);

    std::fs::create_dir(dir.path().join("stranger")).unwrap();
    let error = node.create_store(&name("stranger"), 1, 0..=0).unwrap_err();
    assert!(matches!(error, StoreError::FolderExists { .. }));
}

#[test]
fn a_detached_store_can_be_copied_and_replaced_while_others_run() {
    let dir = tempfile::tempdir().unwrap();
    let (node, orders) = open(dir.path());
    let users = node.create_store(&name("users"), 1, 0..=0).unwrap();
    append(&users, "1").unwrap();
    let handle = partition(&users);
    let incarnation = node.incarnation();
    node.detach_store(&name("users")).unwrap();
    assert_eq!(append(&users, "2"), Err(AppendError::Closed));
    assert!(handle.reader().read(store::Sequence(1), 100).is_err(), "its files are let go");
    assert!(matches!(node.store(&name("users")), Err(StoreError::Detached { .. })));
    assert!(matches!(node.detach_store(&name("users")), Err(StoreError::Detached { .. })));
    append(&orders, "1").unwrap();

    let (folder, copy) = (dir.path().join("users"), dir.path().join("users.copy"));
    copy_folder(&folder, &copy);
    let users = node.attach_store(&name("users")).unwrap();
    assert!(matches!(node.attach_store(&name("users")), Err(StoreError::Attached { .. })));
    append(&users, "later").unwrap();
    assert_eq!(all(&users).len(), 2);
    assert_ne!(node.incarnation(), incarnation, "what lies there may be older");

    // Back to the copy; the node stays detached over a restart meanwhile.
    node.detach_store(&name("users")).unwrap();
    drop((node, orders, users, handle));
    let (node, _orders) = open(dir.path());
    assert!(node.stores().iter().any(|store| store.detached));
    std::fs::remove_dir_all(&folder).unwrap();
    std::fs::rename(&copy, &folder).unwrap();
    let users = node.attach_store(&name("users")).unwrap();
    assert_eq!(all(&users).len(), 1);

    // A folder of another store is not accepted.
    node.detach_store(&name("users")).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    copy_folder(&dir.path().join("orders"), &folder);
    let error = node.attach_store(&name("users")).unwrap_err();
    assert!(matches!(error, StoreError::Open(OpenError::OtherPartition { .. })), "{error}");
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_folder(&path, &target);
        } else {
            std::fs::copy(&path, target).unwrap();
        }
    }
}

/// What is refused because readers stood at the first sequence, and the log ended at the second.
#[track_caller]
fn cut(result: Result<Store, StoreError>) -> (u64, u64) {
    match result {
        Err(StoreError::Cut { stood, end, .. }) => (stood.0, end.0),
        other => panic!("{other:?}"),
    }
}

/// Puts a copy in the place of a folder.
fn replace(folder: &Path, copy: &Path) {
    std::fs::remove_dir_all(folder).unwrap();
    copy_folder(copy, folder);
}

fn spoil_segments(partition: &Path) {
    for entry in std::fs::read_dir(partition).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "segment") {
            std::fs::write(path, [7; 8192]).unwrap();
        }
    }
}

#[test]
fn a_log_that_comes_back_goes_on_from_where_it_was() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (node, store) = open(dir.path());
    append(&store, "1").unwrap();
    drop((node, store));
    // Two nodes that go on with one history, in the same epoch.
    std::fs::remove_dir(other.path()).unwrap();
    copy_folder(dir.path(), other.path());
    let earlier = dir.path().join("earlier");
    copy_folder(&dir.path().join("orders"), &earlier);
    let (node, store) = open(dir.path());
    append(&store, "2").unwrap();
    let (fork, forked) = open(other.path());
    append(&forked, "another 2").unwrap();
    append(&forked, "3").unwrap();
    assert_eq!(fork.epoch(), node.epoch());
    drop((fork, forked));

    let (orders, folder) = (name("orders"), dir.path().join("orders"));
    let newest = dir.path().join("newest");
    node.detach_store(&orders).unwrap();
    let incarnation = node.incarnation();
    copy_folder(&folder, &newest);
    replace(&folder, &earlier);
    assert_eq!(cut(node.attach_store(&orders)), (2, 1));
    replace(&folder, &other.path().join("orders"));
    let refused = node.attach_store(&orders);
    let sentence = refused.as_ref().unwrap_err().to_string();
    assert!(sentence.contains("does not hold what they have read"), "{sentence}");
    assert_eq!(cut(refused), (2, 3));
    assert!(matches!(node.store(&orders), Err(StoreError::Detached { .. })));
    assert_eq!(node.incarnation(), incarnation, "nothing has come of it");

    // A log that can't be opened is not served, and its end is not forgotten over it.
    spoil_segments(&folder.join("0"));
    let damaged = node.attach_store(&orders).unwrap();
    assert_eq!((damaged.hosted().count(), damaged.problems().len()), (0, 1));
    node.detach_store(&orders).unwrap();
    replace(&folder, &earlier);
    assert_eq!(cut(node.attach_store(&orders)), (2, 1));

    replace(&folder, &newest);
    let store = node.attach_store(&orders).unwrap();
    append(&store, "3").unwrap();
    assert_eq!(all(&store).len(), 3);
    node.remove_store(&orders).unwrap();
    assert_eq!(cut(node.create_store(&orders, 1, 0..=0)), (3, 0));
    assert!(node.stores().is_empty());
    drop((node, store, damaged));

    let node = Node::open(dir.path(), &options()).unwrap();
    let store = node.create_store(&orders, 1, 0..=0).unwrap();
    assert_eq!(all(&store).len(), 0);
}

#[test]
fn a_crash_while_stores_come_and_go_leaves_each_there_or_not() {
    let dir = Path::new("/node");
    for seed in 0..4 {
        for operation in 1.. {
            eprintln!("seed {seed}, operation {operation}");
            let disk = CrashingDisk::new(dir);
            let node = Node::open_on(Arc::new(disk.clone()), dir, &options()).unwrap();
            let orders = node.create_store(&name("orders"), 1, 0..=0).unwrap();
            append(&orders, "1").unwrap();
            disk.crash_at(operation);
            let mut done = node.create_store(&name("users"), 2, 0..=1).is_ok();
            done = done && node.detach_store(&name("users")).is_ok();
            done = done && node.attach_store(&name("users")).is_ok();
            done = done && node.remove_store(&name("users")).is_ok();
            drop((node, orders));

            let disk = disk.reboot(Leaves::Some(seed));
            let node = Node::open_on(Arc::new(disk), dir, &options()).unwrap();
            assert_eq!(all(&node.store(&name("orders")).unwrap()).len(), 1);
            let users = node.stores().into_iter().find(|store| store.name == name("users"));
            match users {
                Some(info) if info.detached => drop(node.attach_store(&info.name).unwrap()),
                Some(info) => assert_eq!(node.store(&info.name).unwrap().problems().len(), 0),
                None => match node.create_store(&name("users"), 2, 0..=1) {
                    Ok(_) | Err(StoreError::FolderExists { .. }) => {}
                    Err(error) => panic!("{error}"),
                },
            }
            if done {
                break;
            }
        }
    }
}
