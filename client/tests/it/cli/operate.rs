//! `starlog verify`, `topology`, `doctor`, `completions`, and `--trace`.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use store::{ContentType, ExpectedVersion, NewEvent, Node, NodeOptions, StoreName, StreamName};

use super::{Ended, Topology, silent_endpoint, starlog};
use crate::pair_world::PairWorld;
use crate::world::wait_until;

/// A data directory of a store `orders` with three events in its only partition.
pub fn data_directory(dir: &Path) {
    let options = NodeOptions { segment_bytes: 64 * 1024, ..NodeOptions::default() };
    let node = Node::open(dir, &options).unwrap();
    let orders = node.ensure_store(&StoreName::new("orders").unwrap(), 1, 0..=0).unwrap();
    let stream = StreamName::try_from("order-1").unwrap();
    for number in 1..=3 {
        let data = format!("{{\"n\":{number}}}");
        let event = NewEvent::new("Counted".parse().unwrap(), ContentType::Json, data);
        orders.append(&stream, ExpectedVersion::Any, vec![event]).unwrap();
    }
}

fn verify(dir: &Path) -> (Option<i32>, Value, Value) {
    let ended = starlog(&["verify", dir.to_str().unwrap(), "-o", "json"]).run();
    let json = |text: &str| serde_json::from_str(text).unwrap_or(Value::Null);
    (ended.code, json(&ended.output), json(&ended.errors))
}

#[test]
fn a_directory_is_clean_torn_or_damaged_at_a_place_that_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    data_directory(dir);
    let (code, report, _) = verify(dir);
    assert_eq!(code, Some(0), "{report:#}");
    assert_eq!(report["verdict"], "clean");
    let partition = &report["partitions"][0];
    assert_eq!((&partition["store"], &partition["records"]), (&json!("orders"), &json!(3)));
    let people = starlog(&["verify", dir.to_str().unwrap()]).run().ok();
    assert_eq!(people, "orders/0: clean, 3 records in 1 segments, sequences 1 to 3\n");

    // Without the promise of an orderly close, a broken last append is what a crash leaves.
    let segment = dir.join("orders/0/00000000000000000001.segment");
    let sound = std::fs::read(&segment).unwrap();
    std::fs::remove_file(dir.join("orders/0/promise")).unwrap();
    let mut torn = sound.clone();
    let end = torn.iter().rposition(|byte| *byte != 0).unwrap();
    torn[end] ^= 1;
    std::fs::write(&segment, &torn).unwrap();
    let (code, report, error) = verify(&dir.join("orders"));
    assert_eq!((code, error), (Some(12), Value::Null));
    let tail = &report["partitions"][0]["torn_tail"];
    assert_eq!(tail["after_sequence"], 2, "{report:#}");
    assert_eq!(tail["file"], segment.to_str().unwrap());

    let mut damaged = sound;
    damaged[4096 + 120] ^= 1;
    std::fs::write(&segment, &damaged).unwrap();
    let (code, report, error) = verify(&dir.join("orders/0"));
    assert_eq!((code, &report["verdict"]), (Some(6), &json!("damaged")));
    let place = json!({"file": segment.to_str().unwrap(), "offset": 4096, "sequence": 1});
    assert_eq!(error["error"]["details"], place);
    assert_eq!(error["error"]["code"], "CORRUPT");

    let empty = tempfile::tempdir().unwrap();
    let (code, report, error) = verify(empty.path());
    assert_eq!((code, report), (Some(4), Value::Null), "{error:#}");
    assert_eq!(verify(&dir.join("nowhere")).0, Some(1));
}

#[test]
fn every_broker_is_shown_with_all_that_it_knows() {
    let world = PairWorld::start(1, store::Durability::Pair);
    let (_listener, silent) = silent_endpoint();
    let both = format!("{silent},{}", world.endpoint());
    let topology = ["topology", "--broker", &both, "--timeout", "2s"];
    // The broker renews its picture of the witness a few times a second.
    let mut report = Value::Null;
    wait_until("the broker shows the witness's pair", || {
        report = starlog(&[&topology[..], &["-o", "json"]].concat()).run().json();
        let nodes = report["brokers"][1]["witness"]["pairs"][0]["nodes"].as_array();
        nodes.is_some_and(|nodes| nodes.len() == 2)
    });
    let brokers = report["brokers"].as_array().unwrap();
    assert!(brokers[0]["error"].as_str().unwrap().contains("no broker answered"), "{report:#}");
    assert_eq!(brokers[1]["endpoint"], world.endpoint().as_str());
    let members = brokers[1]["stores"][0]["members"].as_array().unwrap();
    assert_eq!(members.len(), 2, "{report:#}");
    assert_eq!(members.iter().filter(|member| member["leader"] == true).count(), 1);

    let table = starlog(&topology).run().ok();
    for words in ["does not answer", "leader", "follower", "witness tcp://", "orders"] {
        assert!(table.contains(words), "{words}:\n{table}");
    }
    let nobody = ["topology", "--broker", &silent, "--timeout", "500ms", "-o", "json"];
    assert_eq!(starlog(&nobody).run().error(5)["code"], "NO_WORKER");
}

/// The parts that the doctor finds stuck, and its exit code.
fn stuck(ended: &Ended) -> (Option<i32>, Vec<String>) {
    let report: Value = serde_json::from_str(&ended.output).unwrap();
    let findings = report["findings"].as_array().unwrap().iter();
    (ended.code, findings.map(|finding| finding["part"].as_str().unwrap().to_owned()).collect())
}

#[test]
fn a_doctor_finds_nothing_where_nothing_is_wrong() {
    let topology = Topology::start(&["orders:2", "carts:1"]);
    let append = ["append", "orders", "order-1", "--type", "T", "--data", "1", "--expect", "none"];
    topology.starlog(&append).run().ok();
    let said = topology.starlog(&["doctor"]).run().ok();
    assert_eq!(said, "All is well: nothing needs doing.\n");
    assert_eq!(topology.starlog(&["doctor", "-o", "json"]).run().json()["healthy"], true);
}

#[test]
fn a_doctor_names_what_is_stuck() {
    let (_listener, silent) = silent_endpoint();
    let doctor = |brokers: &str| {
        starlog(&["doctor", "--broker", brokers, "--timeout", "1s", "-o", "json"]).run()
    };
    assert_eq!(stuck(&doctor(&silent)), (Some(5), vec!["broker".to_owned()]));

    let empty = Topology::start(&[]);
    assert_eq!(stuck(&doctor(&empty.endpoint())), (Some(5), vec!["store".to_owned()]));

    // One partition of two is hosted by nobody; the other is read and heard all the same.
    let half = Topology::hosting(&["orders:2"], Some(0..=0));
    let ended = doctor(&half.endpoint());
    assert_eq!(stuck(&ended), (Some(5), vec!["store".to_owned()]));
    assert!(ended.output.contains("orders/1"), "{}", ended.output);

    let well = Topology::start(&["orders:1"]);
    let both = format!("{},{silent}", well.endpoint());
    assert_eq!(stuck(&doctor(&both)), (Some(1), vec!["broker".to_owned()]));
    let apart = format!("{},{}", well.endpoint(), empty.endpoint());
    let ended = doctor(&apart);
    assert_eq!(stuck(&ended), (Some(1), vec!["broker".to_owned()]));
    assert!(ended.output.contains("does not know store orders"), "{}", ended.output);
}

#[test]
fn a_doctor_sees_a_pair_that_has_lost_a_node() {
    let mut world = PairWorld::start(1, store::Durability::Pair);
    let endpoint = world.endpoint().to_string();
    let doctor = || starlog(&["doctor", "--broker", &endpoint, "-o", "json"]).run();
    assert_eq!(stuck(&doctor()), (Some(0), vec![]));
    let follower = 1 - world.leader_of_whole().unwrap();
    world.stop_node(follower);
    wait_until("the pair is found degraded", || {
        stuck(&doctor()) == (Some(1), vec!["pair".to_owned()])
    });
}

#[test]
fn shells_accept_what_they_are_given() {
    let script = starlog(&["completions", "bash"]).run().ok();
    let check = "bash -n 2>&1 && echo sound";
    let mut shell = std::process::Command::new("/bin/sh");
    shell.args(["-c", check]);
    let ended = super::Tool::of(shell).input(script).run_for(Duration::from_secs(10));
    assert_eq!(ended.ok(), "sound\n");
    for shell in ["zsh", "fish"] {
        assert!(starlog(&["completions", shell]).run().ok().contains("handover"));
    }
    assert_eq!(starlog(&["completions", "cmd"]).run().code, Some(2));
}

#[test]
fn frames_are_printed_when_asked_for_and_only_then() {
    let topology = Topology::start(&["orders:1"]);
    let append = ["append", "orders", "order-1", "--type", "T", "--data", "1", "--expect", "any"];
    let ended = topology.starlog(&[&append[..], &["--trace"]].concat()).run();
    let has = |words: &str| assert!(ended.errors.contains(words), "{words}: {}", ended.errors);
    has("> HELLO");
    has("< WELCOME");
    has("> REQUEST mmi.topology #");
    has("> REQUEST orders/0 #1 80+");
    has("< REPLY orders/0 #1 80+");
    has(" bytes: 01 ");
    ended.ok();
    for silent in [&[][..], &["-vvv"]] {
        let ended = topology.starlog(&[&append[..], silent].concat()).run();
        assert!(!ended.errors.contains("REQUEST"), "{}", ended.errors);
    }
}
