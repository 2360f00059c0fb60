//! Configurations that are no pair: refused with a sentence that says what to do.

use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::Which::{Backup, Primary};
use super::processes::command;
use super::{Surroundings, TestPair, Which};
use crate::server::bench::{PATIENCE, deadline, is_past};

/// Waits for the first of these processes to end, ends the others; what all of them said.
fn said(mut children: Vec<Child>) -> String {
    let deadline = deadline(PATIENCE);
    let ended = |children: &mut Vec<Child>| {
        children.iter_mut().any(|child| child.try_wait().unwrap().is_some())
    };
    while !ended(&mut children) && !is_past(deadline) {
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut said = String::new();
    let any = ended(&mut children);
    for child in &mut children {
        let _ = child.kill();
        child.wait().unwrap();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    }
    assert!(any, "nobody was refused: {said}");
    said
}

/// Starts a node with other flags than usual.
fn spawn(around: &Surroundings, which: Which, dir: &Path, other: &[(&str, &str)]) -> Child {
    let mut command = command(around, which, dir, other);
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

/// What two new nodes say of which the second was given other flags.
fn both(other: &[(&str, &str)]) -> String {
    let around = Surroundings::new();
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let primary = spawn(&around, Primary, dirs[0].path(), &[]);
    said(vec![primary, spawn(&around, Backup, dirs[1].path(), other)])
}

#[test]
fn two_primaries() {
    let words = both(&[("--role", "primary")]);
    assert!(words.contains("both nodes are configured as primary"), "{words}");
}

#[test]
fn swapped_addresses() {
    let around = Surroundings::new();
    let dir = tempfile::tempdir().unwrap();
    // Another name of the same place.
    let other = format!("ipc://{}/./Primary", around.addresses.path().display());
    let words = said(vec![spawn(&around, Primary, dir.path(), &[("--peer", &other)])]);
    assert!(words.contains("this node has reached itself"), "{words}");
}

#[test]
fn different_settings() {
    let words = both(&[("--min-copies", "2")]);
    assert!(words.contains("the two nodes differ in --min-copies"), "{words}");
}

#[test]
fn one_directory_on_both_sides() {
    let mut pair = TestPair::start();
    pair.stop(Backup);
    let copy = tempfile::tempdir().unwrap();
    // The leader goes on while its directory is copied.
    let mut cp = Command::new("cp");
    let copied = cp.arg("-r").arg(pair.dirs[0].path().join(".")).arg(copy.path()).status();
    assert!(copied.unwrap().success());
    let child = spawn(&pair.around, Backup, copy.path(), &[]);
    let words = said(vec![child]);
    assert!(words.contains("one data directory is a copy of the other"), "{words}");
    assert_eq!(pair.leader(), Primary, "the node that serves goes on");
}

#[test]
fn another_stores_directory() {
    let mut pair = TestPair::start();
    let mut other = TestPair::start();
    pair.stop(Backup);
    other.stop(Backup);
    other.around.client().append(1..3);
    let child = spawn(&pair.around, Backup, other.dirs[1].path(), &[]);
    let words = said(vec![child]);
    assert!(words.contains("lineage"), "{words}");
}

#[test]
fn data_on_both_sides() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    for dir in &dirs {
        let (node, store) = crate::fixture::open(dir.path());
        crate::fixture::partition(&store)
            .append(store::Append::to(
                crate::fixture::stream("s"),
                store::ExpectedVersion::Any,
                vec![crate::fixture::event("x")],
            ))
            .unwrap();
        drop((store, node));
    }
    let around = Surroundings::new();
    let node = |(which, dir): (Which, &tempfile::TempDir)| spawn(&around, which, dir.path(), &[]);
    let words = said([Primary, Backup].into_iter().zip(&dirs).map(node).collect());
    assert!(words.contains("both nodes bring events of their own"), "{words}");
}
