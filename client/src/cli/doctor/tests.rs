//! Each thing that can be stuck, and the finding that names it.

use std::time::Duration;

use broker::error_code::ErrorCode;
use client::views::{ProjectionPosition, ProjectionProgress};
use client::{
    AgentTopology, DiskStatus, LookupError, MemberTopology, PartitionStatus, ProcessStatus,
    ReadError, ReadsStatus, Refusal, ServiceTopology, Status, StatusReply, StoreTopology, Topology,
    Unavailable, WitnessTopology,
};
use uuid::Uuid;

use super::examine::Part;
use super::probe::Probe;
use super::projections::{Projections, Watched};
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
    let agents = [("starlog-store", 1), ("starlog-client", 3), ("their-own", 1)]
        .map(|(name, connections)| agent(name, env!("CARGO_PKG_VERSION"), connections))
        .to_vec();
    let version = env!("CARGO_PKG_VERSION").into();
    Topology { version, stores: vec![orders], services: vec![echo], agents, ..Topology::default() }
}

fn agent(name: &str, version: &str, connections: u32) -> AgentTopology {
    AgentTopology { agent: format!("{name}/{version}"), connections }
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
        disk: Some(DiskStatus {
            free_bytes: 4 << 30,
            total_bytes: 9 << 30,
            segment_bytes: 1 << 26,
        }),
        reads: ReadsStatus::default(),
        pair: None,
    }
}

/// What a broker says that knows nobody.
fn empty() -> Topology {
    Topology { version: env!("CARGO_PKG_VERSION").into(), ..Topology::default() }
}

/// A projection at this sequence, and where it was some seconds later.
fn watched(first: u64, later: Option<u64>) -> Watched {
    let at = |sequence| ProjectionProgress {
        host: Uuid::from_u128(3),
        process: 4711,
        store: "orders".into(),
        projection: "sales".into(),
        events: sequence,
        error: None,
        positions: vec![ProjectionPosition { partition: 0, epoch: 1, sequence }],
    };
    Watched { first: at(first), later: later.map(at) }
}

/// What is found of projections, while the log is at 9.
fn found_of(watched: Watched) -> Vec<Finding> {
    let projections = Projections { watched: vec![watched], silent: vec![] };
    let status = status(topology(), Ok(reply(&[])));
    examine(&Facts { status, projections, ..Facts::default() })
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
    let status = status(topology, answer);
    examine(&Facts { brokers: &brokers, status, ..Facts::default() })
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
    let probes = vec![probe(Ok(()), true)];
    let projections = Projections { watched: vec![watched(9, Some(9))], silent: vec![] };
    let facts = Facts { brokers: &brokers, status, probes, projections };
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

    let one_knows_less = [broker(1, Some(topology())), broker(2, Some(empty()))];
    let facts = Facts { brokers: &one_knows_less, ..Facts::default() };
    let words = ["tcp://127.0.0.1:2 does not know store orders", "--broker tcp://127.0.0.1:2"];
    assert_only(&examine(&facts), Part::Broker, false, &words);
}

#[test]
fn stores_that_are_absent_leaderless_or_silent() {
    let nothing = [broker(1, Some(empty()))];
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
fn other_versions_anywhere() {
    let old = StatusReply { version: "0.0.1".into(), ..reply(&[]) };
    let words = [REPLAY, "version 0.0.1", "install the newer one"];
    assert_only(&found(topology(), Ok(old.clone())), Part::Version, false, &words);

    for (version, said) in [("9.9.9", "version 9.9.9"), ("", "an older version")] {
        let broker = Topology { version: version.into(), ..topology() };
        let words = ["the broker at tcp://127.0.0.1:1 has", said];
        assert_only(&found(broker, Ok(reply(&[]))), Part::Version, false, &words);
    }

    let with = |name, connections| {
        let mut topology = topology();
        topology.agents.push(agent(name, "0.0.1", connections));
        topology
    };
    for (connections, words) in [(1, "one starlog-titanic that"), (4, "4 of starlog-titanic")] {
        let titanic = found(with("starlog-titanic", connections), Ok(reply(&[])));
        assert_only(&titanic, Part::Version, false, &[words, "0.0.1"]);
    }
    assert_eq!(found(with("their-own", 1), Ok(reply(&[]))), [], "whose versions are their own");
    // A store that has said so itself is not named twice; one that can't be asked is.
    let twice = found(with("starlog-store", 1), Ok(old));
    assert_only(&twice, Part::Version, false, &["the store at"]);
    let unasked = found(with("starlog-store", 1), Ok(reply(&[])));
    assert_only(&unasked, Part::Version, false, &["one starlog-store that is connected"]);
}

#[test]
fn a_process_at_two_brokers_is_one_finding() {
    let mut topology = topology();
    topology.agents.push(agent("starlog-titanic", "0.0.1", 2));
    let brokers = [broker(1, Some(topology.clone())), broker(2, Some(topology))];
    let findings = examine(&Facts { brokers: &brokers, ..Facts::default() });
    assert_only(&findings, Part::Version, false, &["2 of starlog-titanic"]);
}

#[test]
fn a_disk_that_is_nearly_full() {
    let disk =
        Some(DiskStatus { free_bytes: 3 << 26, total_bytes: 9 << 30, segment_bytes: 1 << 26 });
    let findings = found(topology(), Ok(StatusReply { disk, ..reply(&[]) }));
    let words = [REPLAY, "192 MiB of 9216 MiB", "3 segments", "make room"];
    assert_only(&findings, Part::Disk, false, &words);
    assert_eq!(found(topology(), Ok(StatusReply { disk: None, ..reply(&[]) })), []);
}

#[test]
fn readers_and_projections_that_stand_still() {
    let reads = ReadsStatus { open: 3, stalled: 2, stalled_ms: 12_345 };
    let findings = found(topology(), Ok(StatusReply { reads, ..reply(&[]) }));
    let words = ["2 of 3 replays", REPLAY, "12 s"];
    assert_only(&findings, Part::Subscriber, false, &words);
    assert_eq!(findings[0].remark.urgency, Urgency::Wait);

    let stuck = found_of(watched(4, Some(4)));
    let words = ["projection sales of orders, process 4711", "at 4 of orders/0", "log is at 9"];
    assert_only(&stuck, Part::Subscriber, false, &words);
    for (name, well) in [
        ("at the head", watched(9, None)),
        ("beyond a head that was asked for before", watched(11, Some(11))),
        ("catching up", watched(4, Some(5))),
        ("gone before the second look", watched(4, None)),
    ] {
        assert_eq!(found_of(well), [], "{name}");
    }

    let mut ended = watched(4, None);
    ended.first.error = Some("its file is gone".into());
    let words = ["sales", "has ended: its file is gone", "start it again"];
    assert_only(&found_of(ended), Part::Subscriber, false, &words);

    let silent = vec!["projection.orders.sales".into()];
    let projections = Projections { watched: vec![], silent };
    let findings = examine(&Facts { projections, ..Facts::default() });
    assert_only(&findings, Part::Subscriber, false, &["projection.orders.sales", "process"]);
}

#[test]
fn services_and_a_witness_that_has_stopped() {
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
