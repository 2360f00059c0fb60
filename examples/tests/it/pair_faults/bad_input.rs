//! What operators get wrong: refused at start or handshake with a sentence that says what is
//! wrong and what to do; nothing is deleted, and the node that is right goes on.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
};

use starlog_examples::{
    clock::Deadline,
    faults::Side,
    process::{Launch, Process},
};
use store::{ContentType, ExpectedVersion, NewEvent, Node, NodeOptions, StoreName, StreamName};

use super::trial::{PATIENCE, Trial, id, node};

/// The value behind a flag.
fn value<'a>(launch: &'a mut Launch, flag: &str) -> &'a mut OsString {
    let at = launch.arguments.iter().position(|argument| argument == flag);
    let at = at.unwrap_or_else(|| panic!("no {flag} in {:?}", launch.arguments));
    &mut launch.arguments[at + 1]
}

/// Every file below a folder that holds what must not get lost, with its bytes.
fn kept(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "segment") {
                files.insert(path.clone(), fs::read(&path).unwrap());
            }
        }
    }
    assert!(!files.is_empty(), "there is something to lose");
    files
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}

/// A pair whose follower has been stopped, while the leader goes on.
fn without_follower() -> (Trial, Side) {
    let mut trial = Trial::start();
    let leader = trial.leader();
    trial.topology.terminate(node(leader.other())).unwrap();
    trial.wait_led_by(leader, 1);
    (trial, leader.other())
}

fn folder(trial: &Trial, side: Side) -> PathBuf {
    trial.topology.config().store_folder(id(side))
}

/// How a node would be started, with a log of its own: only what it says then is read.
fn launch(trial: &mut Trial, side: Side) -> Launch {
    let launch = trial.topology.launch(node(side)).unwrap();
    Launch { log: launch.log.with_file_name("wrong.log"), ..launch }
}

/// Starts what is wrong, waits for the words that tell so, and watches that the leader goes on
/// and that no file with records is touched.
fn refused(trial: &mut Trial, launch: &Launch, words: &[&str]) {
    let data = launch.arguments.iter().position(|argument| argument == "--data").unwrap();
    let data = PathBuf::from(&launch.arguments[data + 1]);
    let before = kept(&data);
    let wrong = Process::start(launch).unwrap();
    let text = || String::from_utf8_lossy(&fs::read(&launch.log).unwrap_or_default()).into_owned();
    let told = || words.iter().all(|word| text().contains(word)).then_some(());
    let told = Deadline::after(PATIENCE).wait_for(told);
    assert_eq!(told, Some(()), "{words:?} is not said:\n{}", text());
    trial.wait_progress();
    assert_eq!(trial.topology.view(0).members(), 1, "it does not become a member");
    drop(wrong);
    assert!(kept(&data) == before, "files with records have been changed");
}

/// Starts the follower as it should be, and makes the proof.
fn right_again(mut trial: Trial, follower: Side) {
    trial.restart(follower);
    trial.wait_led_by(follower.other(), 2);
    trial.prove();
}

#[test]
fn two_nodes_of_one_role() {
    let (mut trial, follower) = without_follower();
    let mut wrong = launch(&mut trial, follower);
    let role = value(&mut wrong, "--role");
    *role = if role == "primary" { "backup".into() } else { "primary".into() };
    refused(&mut trial, &wrong, &["both nodes are configured as", "--role"]);
    right_again(trial, follower);
}

#[test]
fn swapped_addresses() {
    let (mut trial, follower) = without_follower();
    let mut wrong = launch(&mut trial, follower);
    let listen = value(&mut wrong, "--pair-listen").clone();
    let peer = std::mem::replace(value(&mut wrong, "--peer"), listen);
    *value(&mut wrong, "--pair-listen") = peer;
    refused(&mut trial, &wrong, &["in use"]);
    right_again(trial, follower);
}

#[test]
fn a_node_that_is_its_own_peer() {
    let (mut trial, follower) = without_follower();
    let mut wrong = launch(&mut trial, follower);
    let listen = value(&mut wrong, "--pair-listen").clone();
    *value(&mut wrong, "--peer") = listen;
    refused(&mut trial, &wrong, &["--peer is the --pair-listen of the other node"]);
    right_again(trial, follower);
}

#[test]
fn different_settings() {
    let (mut trial, follower) = without_follower();
    for (flag, other, words) in [
        ("--durability", "local", ["--durability", "start both with the same"]),
        ("--segment", "2097152", ["--segment", "start both with the same"]),
    ] {
        let mut wrong = launch(&mut trial, follower);
        *value(&mut wrong, flag) = other.into();
        refused(&mut trial, &wrong, &words);
        fs::remove_file(&wrong.log).unwrap();
    }
    let mut wrong = launch(&mut trial, follower);
    wrong.arguments.extend(["--min-copies", "2"].map(OsString::from));
    refused(&mut trial, &wrong, &["--min-copies", "start both with the same"]);
    right_again(trial, follower);
}

#[test]
fn one_directory_copied_to_both() {
    let (mut trial, follower) = without_follower();
    let (own, kept_aside) = (folder(&trial, follower), trial.data().join("kept-aside"));
    fs::rename(&own, &kept_aside).unwrap();
    copy(&folder(&trial, follower.other()), &own);
    let wrong = launch(&mut trial, follower);
    refused(&mut trial, &wrong, &["copy", "renew"]);
    fs::remove_dir_all(&own).unwrap();
    fs::rename(&kept_aside, &own).unwrap();
    right_again(trial, follower);
}

#[test]
fn a_directory_put_back_to_an_earlier_state() {
    let (mut trial, follower) = without_follower();
    let (own, older) = (folder(&trial, follower), trial.data().join("older"));
    copy(&own, &older);
    trial.restart(follower);
    trial.wait_led_by(follower.other(), 2);
    // By its next heartbeats the witness learns what this node has now. One that went back behind
    // something that nobody was told of would only have a little more to catch up with.
    let leader = follower.other();
    trial.wait_stays(|view| view.leader() == Some(leader) && view.members() == 2);
    trial.topology.terminate(node(follower)).unwrap();
    trial.wait_led_by(follower.other(), 1);
    let newer = trial.data().join("newer");
    fs::rename(&own, &newer).unwrap();
    fs::rename(&older, &own).unwrap();
    let wrong = launch(&mut trial, follower);
    refused(&mut trial, &wrong, &["put back to an earlier", "renew"]);
    fs::remove_dir_all(&own).unwrap();
    fs::rename(&newer, &own).unwrap();
    right_again(trial, follower);
}

#[test]
fn the_directory_of_another_store() {
    let (mut trial, follower) = without_follower();
    let (own, kept_aside) = (folder(&trial, follower), trial.data().join("kept-aside"));
    fs::rename(&own, &kept_aside).unwrap();
    {
        let options = NodeOptions { segment_bytes: 1 << 20, ..NodeOptions::default() };
        let other = Node::open(&own, &options).unwrap();
        let orders = other.ensure_store(&StoreName::new("orders").unwrap(), 2, 0..=1).unwrap();
        let stream = StreamName::try_from("order-other").unwrap();
        let event = NewEvent::new("OrderPlaced".parse().unwrap(), ContentType::Json, "{}");
        orders.append(&stream, ExpectedVersion::None, vec![event]).unwrap();
    }
    let wrong = launch(&mut trial, follower);
    refused(&mut trial, &wrong, &["lineage", "empty directory"]);
    fs::remove_dir_all(&own).unwrap();
    fs::rename(&kept_aside, &own).unwrap();
    right_again(trial, follower);
}

#[test]
fn a_third_node() {
    let mut trial = Trial::start();
    let leader = trial.leader();
    let mut third = launch(&mut trial, leader.other());
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    *value(&mut third, "--pair-listen") = format!("tcp://{free}").into();
    *value(&mut third, "--data") = trial.data().join("third").into();
    for flag in ["--listen", "--feed"] {
        *value(&mut third, flag) = "tcp://127.0.0.1:*".into();
    }
    // Once it knocks at the leader, once at the follower.
    for at in [leader, leader.other()] {
        let door = value(&mut launch(&mut trial, at), "--pair-listen").clone();
        *value(&mut third, "--peer") = door;
        *value(&mut third, "--role") = match at {
            Side::A => "backup".into(),
            Side::B => "primary".into(),
        };
        let knocking = Process::start(&third).unwrap();
        let text =
            || String::from_utf8_lossy(&fs::read(&third.log).unwrap_or_default()).into_owned();
        let told = || text().contains("this node would be a third one").then_some(());
        let told = Deadline::after(PATIENCE).wait_for(told);
        assert_eq!(told, Some(()), "{}", text());
        trial.wait_stays(|view| view.leader() == Some(leader) && view.members() == 2);
        drop(knocking);
        fs::remove_file(&third.log).unwrap();
    }
    trial.prove();
}
