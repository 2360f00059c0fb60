//! `starlog doctor` about those who follow the log, and about versions and room.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use client::views::{
    HandleError, HostOptions, Projection, ProjectionHost, StopFlag, ViewBatch, ViewStore,
};
use client::{Batch, Client, Epoch, ExpectedVersion, Sequence, StoreHandle, StoreName};
use serde_json::Value;
use store::wire::replay::{Read, ReadDirection, ReadSource, ReplayRequest, RequestNumber};

use super::{Tool, Topology, starlog};
use crate::pair_world::PairWorld;
use crate::world::{counted, wait_until};

/// What the doctor finds: part and text of each finding, and its exit code.
fn findings(doctor: Tool) -> (Option<i32>, Vec<(String, String)>) {
    let ended = doctor.run();
    let report: Value = serde_json::from_str(&ended.output).unwrap();
    let text = |finding: &Value, field: &str| finding[field].as_str().unwrap().to_owned();
    let findings = report["findings"].as_array().unwrap().iter();
    (ended.code, findings.map(|it| (text(it, "part"), text(it, "text"))).collect())
}

fn doctor(broker: &str) -> (Option<i32>, Vec<(String, String)>) {
    findings(starlog(&["doctor", "--broker", broker, "-o", "json"]))
}

/// A projection that keeps nothing: it takes what its test lets it take, or fails.
struct Gated {
    /// Hung up once everything may pass.
    gate: Receiver<()>,
    fails: bool,
}

impl Projection for Gated {
    fn name(&self) -> &str {
        "gated"
    }

    fn version(&self) -> u32 {
        1
    }

    fn views(&self) -> &[&str] {
        &[]
    }

    fn handle(&mut self, _: &Batch, _: &mut ViewBatch<'_>) -> Result<(), HandleError> {
        if self.fails {
            return Err("it does not like this event".into());
        }
        match self.gate.recv_timeout(Duration::from_secs(60)) {
            Err(RecvTimeoutError::Disconnected) => Ok(()),
            other => Err(format!("the gate stays shut: {other:?}").into()),
        }
    }
}

/// Raises the flag when the test is over, also when it fails: its host would run for ever.
struct Raised<'a>(&'a StopFlag);

impl Drop for Raised<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

fn host(orders: &StoreHandle, folder: &tempfile::TempDir) -> ProjectionHost {
    let views = ViewStore::open(folder.path().join("views.redb")).unwrap();
    ProjectionHost::new(orders.clone(), views, HostOptions::default())
}

fn append(orders: &StoreHandle, number: u64) {
    orders.append("order-1", ExpectedVersion::Any, vec![counted(number)]).wait().unwrap();
}

#[test]
fn a_projection_that_stands_still_is_named_until_it_moves() {
    let topology = Topology::start(&["orders:1"]);
    let broker = topology.endpoint();
    let orders = Client::connect([broker.as_str()]).unwrap().store("orders").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let host = host(&orders, &folder);
    let _told = host.tell_progress("gated").unwrap();
    let (open, gate) = mpsc::channel();
    let stop = StopFlag::new();
    append(&orders, 1);
    std::thread::scope(|scope| {
        let raised = Raised(&stop);
        let running = scope.spawn(|| host.run(&mut Gated { gate, fails: false }, &stop));
        wait_until("the projection is found stuck", || {
            let (code, found) = doctor(&broker);
            let stuck = |(part, text): &(String, String)| {
                part == "subscriber" && text.contains("projection gated of orders, process ")
            };
            code == Some(1) && found.len() == 1 && found.iter().all(stuck)
        });
        drop(open);
        wait_until("all is well again", || doctor(&broker) == (Some(0), vec![]));
        drop(raised);
        assert_eq!(running.join().unwrap().unwrap().events, 1);
    });
}

#[test]
fn a_projection_that_has_failed_says_why() {
    let topology = Topology::start(&["orders:1"]);
    let broker = topology.endpoint();
    let orders = Client::connect([broker.as_str()]).unwrap().store("orders").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let host = host(&orders, &folder);
    let told = host.tell_progress("gated").unwrap();
    append(&orders, 1);
    let (_open, gate) = mpsc::channel();
    assert!(host.run(&mut Gated { gate, fails: true }, &StopFlag::new()).is_err());
    wait_until("its reason is told", || {
        let (_, found) = doctor(&broker);
        found.iter().any(|(_, text)| text.contains("it does not like this event"))
    });
    // What is not there any more is not missed: nobody knows that it should be.
    drop(told);
    wait_until("it is gone", || doctor(&broker) == (Some(0), vec![]));
}

/// Records of the system's count as places, and nobody is given them.
#[test]
fn a_projection_of_a_pair_is_not_taken_for_stuck_at_its_last_event() {
    let world = PairWorld::start(1, store::Durability::Pair);
    let broker = world.endpoint().to_string();
    let orders = world.orders();
    let folder = tempfile::tempdir().unwrap();
    let host = host(&orders, &folder);
    let _told = host.tell_progress("gated").unwrap();
    let (open, gate) = mpsc::channel();
    drop(open);
    let (progress, stop) = (host.progress(), StopFlag::new());
    append(&orders, 1);
    std::thread::scope(|scope| {
        let _raised = Raised(&stop);
        scope.spawn(|| host.run(&mut Gated { gate, fails: false }, &stop));
        wait_until("it has the event", || progress.counters().events == 1);
        let handover = ["pair", "handover", "--store", "orders", "--broker", &broker];
        starlog(&handover).run().ok();
        wait_until("nothing is found", || doctor(&broker) == (Some(0), vec![]));
    });
}

#[test]
fn a_reader_that_takes_nothing_is_seen() {
    let topology = Topology::start(&["orders:1"]);
    let broker = topology.endpoint();
    let orders = Client::connect([broker.as_str()]).unwrap().store("orders").unwrap();
    for number in 0..200 {
        append(&orders, number);
    }
    let status = topology.starlog(&["status", "-o", "json"]).run().json();
    let replay = status["partitions"][0]["leader"]["replay"].as_str().unwrap();
    let reader = zmq::Context::new().socket(zmq::DEALER).unwrap();
    reader.connect(replay).unwrap();
    let read = Read {
        request: RequestNumber(1),
        store: StoreName::new("orders").unwrap(),
        partition: 0,
        source: ReadSource::All,
        direction: ReadDirection::Forward,
        from: 1,
        to: 0,
        count_max: 0,
        at_least: Sequence::ZERO,
        // Enough for one block, and there are more.
        credit_bytes: 1,
        epoch: Epoch::ZERO,
        block_bytes_max: 0,
        strong: false,
    };
    reader.send(ReplayRequest::Read(read).encode().unwrap(), 0).unwrap();
    wait_until("the reader is found", || {
        let (code, found) = doctor(&broker);
        let seen = |(part, text): &(String, String)| {
            part == "subscriber" && text.contains("1 of 1 replays")
        };
        code == Some(1) && found.iter().any(seen)
    });
}

#[test]
fn versions_and_room_are_told() {
    let topology = Topology::start(&["orders:1"]);
    let version = env!("CARGO_PKG_VERSION");
    let known = topology.starlog(&["topology", "-o", "json"]).run().json();
    let broker = &known["brokers"][0];
    assert_eq!(broker["version"], version);
    let agents = broker["agents"].as_array().unwrap();
    let agent = |name: &str| agents.iter().find(|it| it["agent"] == format!("{name}/{version}"));
    assert_eq!(agent("starlog-store").unwrap()["connections"], 1, "{broker:#}");
    assert!(agent("starlog-client").is_some(), "{broker:#}");
    let table = topology.starlog(&["topology"]).run().ok();
    assert!(table.contains(&format!(", version {version}\n")), "{table}");
    assert!(table.contains("PROGRAM") && table.contains("starlog-store"), "{table}");

    let status = topology.starlog(&["status", "-o", "json"]).run().json();
    let process = &status["processes"][0];
    assert_eq!((&process["version"], &process["error"]), (&version.into(), &Value::Null));
    let (free, total) = (&process["disk"]["free_bytes"], &process["disk"]["total_bytes"]);
    assert!(free.as_u64() > Some(0) && free.as_u64() <= total.as_u64(), "{process:#}");
    assert_eq!(process["reads"]["stalled"], 0);
}
