//! What the commands do with a directory that belongs to a pair.

use std::path::Path;
use std::process::Command;

use store::event::Epoch;
use store::pair::protocol::PairRecord;
use store::{Node, NodeOptions};

use crate::fixture::name;

/// Runs `starlog-store` with these words and `--data`: exit code, output and complaint.
fn run(dir: &Path, line: &str) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_starlog-store"));
    let output = command.args(line.split(' ')).arg("--data").arg(dir).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// A directory of a member that knows no configuration yet.
fn member() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::open_member(dir.path(), &NodeOptions::default()).unwrap();
    node.ensure_store(&name("orders"), 1, 0..=0).unwrap();
    let record = rmp_serde::to_vec_named(&PairRecord::default()).unwrap();
    node.save_pair_record(&record, node.lineage(), Epoch(3)).unwrap();
    dir
}

fn incarnation(dir: &Path) -> uuid::Uuid {
    Node::open_member(dir, &NodeOptions::default()).unwrap().incarnation()
}

#[test]
fn a_member_does_not_start_without_its_role() {
    let dir = member();
    let (code, _, said) = run(dir.path(), "--store orders");
    assert_eq!(code, Some(13), "{said}");
    assert!(said.contains("--role"), "{said}");
}

#[test]
fn stores_of_a_member_are_listed_but_not_changed_while_it_is_down() {
    let dir = member();
    assert_eq!(run(dir.path(), "store list").1, "orders 1 0 attached\n");
    for line in ["store add users", "store detach orders", "store remove orders --yes"] {
        let (code, _, said) = run(dir.path(), line);
        assert_eq!(code, Some(1), "{line}: {said}");
        assert!(said.contains("pair"), "{line}: {said}");
    }
    assert_eq!(run(dir.path(), "store list").1, "orders 1 0 attached\n");
}

#[test]
fn renewing_draws_another_incarnation_and_stays_in_the_pair() {
    let dir = member();
    let before = incarnation(dir.path());
    let (code, shown, said) = run(dir.path(), "pair renew");
    assert_eq!(code, Some(0), "{said}");
    let after = incarnation(dir.path());
    assert_ne!(after, before);
    assert!(shown.contains(&after.to_string()), "{shown}");
    assert_eq!(run(dir.path(), "--store orders").0, Some(13), "it is a member still");
}

#[test]
fn leaving_needs_a_yes_and_says_what_may_be_lost() {
    let dir = member();
    let (code, _, said) = run(dir.path(), "pair leave");
    assert_eq!(code, Some(2), "{said}");
    let lineage = || Node::open_member(dir.path(), &NodeOptions::default()).unwrap().lineage();
    let before = lineage();
    let (code, shown, said) = run(dir.path(), "pair leave --accept-loss");
    assert_eq!(code, Some(0), "{said}");
    assert!(shown.contains("MAY BE LOST") && shown.contains("orders/0"), "{shown}");
    let after = lineage();
    assert_ne!(after, before);
    assert!(shown.contains(&after.to_string()), "{shown}");
    // It serves alone from then on, and there is nothing more to leave.
    drop(Node::open(dir.path(), &NodeOptions::default()).unwrap());
    assert_eq!(run(dir.path(), "pair leave --accept-loss").0, Some(1));
}

#[test]
fn commands_about_a_directory_that_is_none_say_so() {
    let dir = tempfile::tempdir().unwrap();
    let nowhere = dir.path().join("nowhere");
    assert_eq!(run(&nowhere, "pair renew").0, Some(2));
    assert_eq!(run(&nowhere, "pair leave --accept-loss").0, Some(2));
    assert_eq!(run(dir.path(), "pair renew").0, Some(4), "an empty directory is no node");
    assert_eq!(run(dir.path(), "pair leave --accept-loss").0, Some(2));
    assert!(!dir.path().join("node").exists());
}
