//! Each thing that can be stuck, and the finding that names it.

use std::time::Duration;

use broker::error_code::ErrorCode;
use client::{
    LookupError, MemberTopology, PartitionStatus, ProcessStatus, ReadError, Refusal,
    ServiceTopology, Status, StatusReply, StoreTopology, Topology, Unavailable, WitnessTopology,
};
use uuid::Uuid;

use super::examine::Part;
use super::probe::Probe;
use super::*;
use crate::cli::brokers::Broker;
use crate::cli::pair::Urgency;

const REPLAY: &str = "tcp://127.0.0.1:7501";
const FEED: &str = "tcp://127.0.0.1:7502";

fn topology() -> Topology {
    let member = MemberTopology {
        partition: 0,
        leader: true,
        epoch: 1,
        incarnation: Uuid::from_u128(1),
        lineage: Uuid::from_u128(2),
        durability: "local".into(),
        feed: FEED.into(),
        replay: REPLAY.into(),
        alive_ms: 3,
    };
    let orders = StoreTopology { name: "orders".into(), partitions: 1, members: vec![member] };
    let echo = ServiceTopology { name: "echo".into(), workers: 1, waiting: 4 };
    Topology { stores: vec![orders], services: vec![echo], ..Topology::default() }
}

fn reply(degraded: &[&str]) -> StatusReply {
    StatusReply {
        incarnation: Uuid::from_u128(1).to_string(),
        lineage: Uuid::from_u128(2).to_string(),
        epoch: 1,
        durability: "local".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        partitions: vec![PartitionStatus {
            store: "orders".into(),
            partition: 0,
            partitions: 1,
            leader: true,
            first: 1,
            written: 9,
            durable: 9,
            committed: 9,
            segments: 1,
            parked_records: 0,
            parked_files: 0,
            degraded: degraded.iter().map(|words| (*words).to_owned()).collect(),
        }],
        pair: None,
    }
}

fn status(topology: Topology, answer: Result<StatusReply, String>) -> Option<Status> {
    let process = ProcessStatus { endpoint: REPLAY.into(), answer };
    Some(Status { topology, processes: vec![process] })
}

fn broker(port: u16, topology: Option<Topology>) -> Broker {
    let endpoint = format!("tcp://127.0.0.1:{port}");
    let unavailable =
        Unavailable { brokers: vec![endpoint.clone()], waited: Duration::from_secs(1) };
    let answer = topology.ok_or(LookupError::Unavailable(unavailable));
    Broker { endpoint: endpoint.parse().unwrap(), answer }
}

fn probe(read: Result<(), ReadError>, feed_heard: bool) -> Probe {
    Probe { partition: "orders/0".into(), feed: FEED.into(), read, feed_heard }
}

/// What is found of one broker and one store that both answer like this.
fn found(topology: Topology, answer: Result<StatusReply, String>) -> Vec<Finding> {
    let brokers = [broker(1, Some(topology.clone()))];
    examine(&Facts { brokers: &brokers, status: status(topology, answer), probes: vec![] })
}

#[track_caller]
fn assert_only(findings: &[Finding], part: Part, stops_appends: bool, words: &[&str]) {
    let [finding] = findings else { panic!("{findings:#?}") };
    assert_eq!((finding.part, finding.stops_appends), (part, stops_appends), "{finding:?}");
    for words in words {
        assert!(finding.remark.text.contains(words), "{words}: {finding:?}");
    }
}

#[test]
fn nothing_is_found_where_all_is_well() {
    let brokers = [broker(1, Some(topology()))];
    let status = status(topology(), Ok(reply(&["a torn tail of 7 bytes was cut off"])));
    let facts = Facts { brokers: &brokers, status, probes: vec![probe(Ok(()), true)] };
    assert_eq!(examine(&facts), []);
}

#[test]
fn brokers_that_are_silent_or_know_less() {
    let silent = [broker(1, None)];
    let facts = Facts { brokers: &silent, ..Facts::default() };
    assert_only(&examine(&facts), Part::Broker, true, &["127.0.0.1:1", "start one"]);

    // With another broker that answers, appends go on.
    let one_silent = [broker(1, None), broker(2, Some(topology()))];
    let facts = Facts { brokers: &one_silent, ..Facts::default() };
    assert_only(&examine(&facts), Part::Broker, false, &["127.0.0.1:1"]);

    let one_knows_less = [broker(1, Some(topology())), broker(2, Some(Topology::default()))];
    let facts = Facts { brokers: &one_knows_less, ..Facts::default() };
    let words = ["tcp://127.0.0.1:2 does not know store orders", "--broker tcp://127.0.0.1:2"];
    assert_only(&examine(&facts), Part::Broker, false, &words);
}

#[test]
fn stores_that_are_absent_leaderless_or_silent() {
    let nothing = [broker(1, Some(Topology::default()))];
    let facts = Facts { brokers: &nothing, ..Facts::default() };
    assert_only(&examine(&facts), Part::Store, true, &["start a starlog-store"]);

    let mut half = topology();
    half.stores[0].partitions = 2;
    assert_only(&found(half, Ok(reply(&[]))), Part::Store, true, &["orders/1 has no leader"]);

    let silent = found(topology(), Err("no answer".into()));
    assert_only(&silent, Part::Store, false, &[REPLAY, "no answer", "--listen"]);

    let gone = ReadError::Refused(refusal(ErrorCode::NO_WORKER));
    let facts = Facts { probes: vec![probe(Err(gone), true)], ..Facts::default() };
    assert_only(&examine(&facts), Part::Store, false, &["orders/0: NO_WORKER"]);
}

fn refusal(code: ErrorCode) -> Refusal {
    Refusal { code, message: "no".into(), details: Default::default(), retry_after: None }
}

#[test]
fn disks_and_damage() {
    let rows = [
        ("the disk is full: appends are refused", Part::Disk, true, "make room"),
        ("the disk failed: the process is about to end", Part::Disk, false, "replace"),
        ("damaged or missing, not served", Part::Store, false, "starlog verify"),
        ("something new", Part::Store, false, "orders/0: something new"),
    ];
    for (words, part, stops_appends, advice) in rows {
        assert_only(&found(topology(), Ok(reply(&[words]))), part, stops_appends, &[advice]);
    }
}

#[test]
fn an_index_that_is_behind_and_a_feed_that_is_silent() {
    let behind = ReadError::Refused(refusal(ErrorCode::INDEX_BEHIND));
    let facts = Facts { probes: vec![probe(Err(behind), true)], ..Facts::default() };
    let findings = examine(&facts);
    assert_only(&findings, Part::Index, false, &["orders/0", "catches up"]);
    assert_eq!(findings[0].remark.urgency, Urgency::Wait);

    let facts = Facts { probes: vec![probe(Ok(()), false)], ..Facts::default() };
    assert_only(&examine(&facts), Part::Feed, false, &["orders/0", FEED, "--advertise-feed"]);
}

#[test]
fn versions_services_and_a_witness_that_has_stopped() {
    let old = StatusReply { version: "0.0.1".into(), ..reply(&[]) };
    assert_only(&found(topology(), Ok(old)), Part::Version, false, &[REPLAY, "0.0.1"]);

    let mut nobody = topology();
    nobody.services[0].workers = 0;
    let words = ["echo has 4 requests waiting", "start one"];
    assert_only(&found(nobody, Ok(reply(&[]))), Part::Service, false, &words);

    let stopped = Some("its disk failed".to_owned());
    let witness = Some(WitnessTopology { stopped, ..Default::default() });
    let stopped = found(Topology { witness, ..topology() }, Ok(reply(&[])));
    assert_only(&stopped, Part::Witness, false, &["its disk failed"]);
}

#[test]
fn the_worst_stands_first_and_decides_the_exit_code() {
    let mut half = topology();
    half.stores[0].partitions = 2;
    half.services[0].workers = 0;
    let report = |findings: Vec<Finding>| Report {
        healthy: findings.is_empty(),
        verdict: verdict(findings.iter().map(|finding| &finding.remark)),
        findings,
    };
    let both = report(found(half.clone(), Ok(reply(&[]))));
    assert_eq!(both.exit_code(), exit::UNAVAILABLE);
    let table = both.to_table();
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("! store: orders/1"), "{table}");
    assert!(lines[1].starts_with("! service: echo"), "{table}");
    assert!(lines[2].starts_with("2 things need doing"), "{table}");

    half.stores[0].partitions = 1;
    assert_eq!(report(found(half, Ok(reply(&[])))).exit_code(), exit::FAILED);
    let well = report(found(topology(), Ok(reply(&[]))));
    assert_eq!(well.exit_code(), exit::OK);
    assert_eq!(well.to_table(), "All is well: nothing needs doing.\n");
}
