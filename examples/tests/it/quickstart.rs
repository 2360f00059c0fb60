//! The main job, with few events.

use std::{ffi::OsString, fs, time::Duration};

use client::{Client, EncodeEvent, ExpectedVersion, NewEvent};
use starlog_examples::{
    process::{Launch, Process},
    table::grouped,
};

use crate::program::{self, QUICKSTART};

const PATIENCE: Duration = Duration::from_secs(90);

/// The number behind `label` in a report.
fn number(report: &str, label: &str) -> u64 {
    let rest = report.split_once(label).unwrap_or_else(|| panic!("no {label:?}:\n{report}")).1;
    let digits: String =
        rest.chars().take_while(|letter| letter.is_ascii_digit() || *letter == ' ').collect();
    digits.replace(' ', "").parse().unwrap()
}

#[test]
fn a_load_with_kills_and_dropped_messages_is_proved_sound() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["--events", "6000", "--seed", "11", "--drop-one-in", "5"];
    let ended = program::quickstart(&arguments, (folder.path(), PATIENCE));
    assert!(ended.status.success(), "{}", ended.words());
    let report = &ended.output;
    assert!(number(report, "events   ") >= 6_000, "{report}");
    for part in [
        "lost 0, doubled 0, altered 0, out of order 0",
        "kill -9 of host 1",
        "kill -9 of store 2",
        "the leader of pair 2",
        " outage ",
        "a member again",
        "the same bytes on both nodes of each pair",
        "host 1: ",
        "host 2: ",
        "equal to a full replay",
        "Best sellers",
        "commands 300 accepted while their worker was away",
        "300 replies collected",
    ] {
        assert!(report.contains(part), "{part:?} is missing:\n{report}");
    }
    assert!(number(report, "feed     ") > 0, "messages were dropped:\n{report}");
    assert!(number(report, "gaps found ") > 0, "and noticed:\n{report}");
    let data = folder.path().join("data");
    for kept in ["store-1a", "store-2b", "host-1/views.redb", "logs/broker-1.log"] {
        assert!(data.join(kept).exists(), "{kept} is kept");
    }
}

#[test]
fn the_same_seed_on_the_same_data_appends_nothing_new() {
    let folder = tempfile::tempdir().unwrap();
    let load = ["--events", "1500", "--seed", "3", "--drop-one-in", "0"];
    let arguments = [&load[..], &["--copies", "1"]].concat();
    let first = program::quickstart(&arguments, (folder.path(), PATIENCE));
    assert!(first.status.success(), "{}", first.words());
    let again = program::quickstart(&arguments, (folder.path(), PATIENCE));
    assert!(again.status.success(), "{}", again.words());
    for ended in [first, again] {
        let acknowledged = number(&ended.output, "events   ");
        let in_log = format!("{} records in the log", grouped(acknowledged));
        assert!(ended.output.contains(&in_log), "{}", ended.words());
    }
}

#[test]
fn serving_goes_on_until_sigterm_and_ends_clean() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let typed = ["--serve", "--listen", "tcp://127.0.0.1:*", "--events", "500", "--data"];
    let mut serving = Process::start(&Launch {
        name: String::from("quickstart"),
        program: QUICKSTART.into(),
        arguments: typed.iter().map(OsString::from).chain([data.into()]).collect(),
        log: folder.path().join("quickstart.log"),
    })
    .unwrap();
    let told = serving.wait_for_line("The broker listens on ", PATIENCE).unwrap();
    let (endpoint, _) = told.split_once(';').unwrap();
    let orders = Client::connect([endpoint]).unwrap().store("orders").unwrap();
    let event = NewEvent::json("OrderPlaced", "by hand").unwrap();
    let receipt = orders.append("order-17", ExpectedVersion::None, vec![event]).wait().unwrap();
    assert_eq!(receipt.version().0, 1);
    serving.terminate(PATIENCE).unwrap();
}

#[test]
fn an_endpoint_in_use_is_told_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("tcp://{}", taken.local_addr().unwrap());
    let arguments = ["--events", "10", "--listen", &endpoint];
    let ended = program::quickstart(&arguments, (folder.path(), PATIENCE));
    assert_eq!(ended.status.code(), Some(1), "{}", ended.words());
    for part in [&endpoint, "in use", "--listen"] {
        assert!(ended.errors.contains(part), "{part:?}: {}", ended.words());
    }
}

#[test]
fn a_data_folder_that_cannot_be_used_is_told() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("data"), "a file").unwrap();
    let ended = program::quickstart(&["--events", "10"], (folder.path(), PATIENCE));
    assert_eq!(ended.status.code(), Some(1), "{}", ended.words());
    assert!(ended.errors.contains("--data"), "{}", ended.words());
}

#[test]
fn wrong_usage_is_code_2() {
    let folder = tempfile::tempdir().unwrap();
    let ended = program::run(QUICKSTART, &["--event", "10"], (folder.path(), PATIENCE));
    assert_eq!(ended.status.code(), Some(2), "{}", ended.words());
}
