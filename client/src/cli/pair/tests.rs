use std::collections::BTreeMap;

use client::{
    NeighbourStatus, PairStatus, PairTopology, PartitionStatus, ProcessStatus, Status, StatusReply,
    Topology, WitnessTopology,
};
use uuid::Uuid;

use super::*;
use crate::cli::exit;

const LINEAGE: Uuid = Uuid::from_u128(0x7f3a21c8 << 96);
const ONE: &str = "11111111-0000-0000-0000-000000000000";
const OTHER: &str = "22222222-0000-0000-0000-000000000000";

fn heard(ms: u64) -> NeighbourStatus {
    let words = if ms < 1000 { format!("heard {ms} ms ago") } else { "silent for 9 s".to_owned() };
    let endpoint = "tcp://10.0.0.9:7500".to_owned();
    NeighbourStatus { endpoint, incarnation: None, words, heard_ms: Some(ms) }
}

/// A node in epoch 7 whose standing and members are given.
fn node(name: &str, standing: &str, members: &[&str]) -> ProcessStatus {
    let partition = PartitionStatus {
        store: "orders".to_owned(),
        partition: 0,
        partitions: 1,
        leader: standing.starts_with("leading"),
        first: 1,
        written: 10,
        durable: 10,
        committed: 10,
        segments: 1,
        parked_records: 0,
        parked_files: 0,
        degraded: Vec::new(),
    };
    let peer = if name == ONE { OTHER } else { ONE };
    let pair = PairStatus {
        role: "primary".to_owned(),
        standing: standing.to_owned(),
        epoch: 7,
        leader: None,
        members: members.iter().map(|member| (*member).to_owned()).collect(),
        peer: NeighbourStatus { incarnation: Some(peer.to_owned()), ..heard(35) },
        witness: heard(40),
        lag_events: standing.starts_with("leading").then_some(12),
        lag_bytes: standing.starts_with("leading").then_some(4096),
        copies: u8::try_from(members.len()).unwrap(),
        counts: BTreeMap::new(),
        degraded: Vec::new(),
    };
    let reply = StatusReply {
        incarnation: name.to_owned(),
        lineage: LINEAGE.to_string(),
        epoch: 7,
        durability: "pair".to_owned(),
        version: "0.1.0".to_owned(),
        partitions: vec![partition],
        disk: None,
        reads: Default::default(),
        pair: Some(pair),
    };
    ProcessStatus { endpoint: format!("tcp://{name}"), answer: Ok(reply) }
}

fn reply(process: &mut ProcessStatus) -> &mut StatusReply {
    process.answer.as_mut().unwrap()
}

fn pair_of(process: &mut ProcessStatus) -> &mut PairStatus {
    reply(process).pair.as_mut().unwrap()
}

fn whole() -> Vec<ProcessStatus> {
    let both = [ONE, OTHER];
    vec![node(OTHER, "following: has everything", &both), node(ONE, "leading", &both)]
}

fn report(processes: Vec<ProcessStatus>) -> PairReport {
    report_with(processes, Topology::default())
}

fn report_with(processes: Vec<ProcessStatus>, topology: Topology) -> PairReport {
    let mut pairs = pairs(&Status { topology, processes });
    assert_eq!(pairs.len(), 1);
    pairs.remove(0)
}

/// The signs of the remarks, and their texts in one.
fn said(pair: &PairReport) -> (String, String) {
    let signs = pair.remarks.iter().map(|remark| remark.urgency.sign()).collect();
    (signs, pair.remarks.iter().map(|remark| remark.text.as_str()).collect::<Vec<_>>().join("; "))
}

#[test]
fn a_whole_pair_needs_nothing() {
    let pair = report(whole());
    assert_eq!(pair.leader.as_deref(), Some(ONE));
    assert_eq!((pair.epoch, pair.copies, pair.is_whole()), (7, 2, true));
    assert_eq!(pair.nodes.iter().map(|node| node.node.as_str()).collect::<Vec<_>>(), [ONE, OTHER]);
    assert_eq!(pair.nodes[1].lag_events, Some(12), "what the leader says of its follower");
    assert_eq!(pair.remarks, []);
    assert_eq!(verdict(&pair.remarks), "All is well: nothing needs doing.");
    let table = pairs_table(&[pair]);
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[1].starts_with("7f3a21c8  11111111  primary  leading"), "{table}");
    assert!(
        lines[2].contains("following    yes") || lines[2].contains("following  yes"),
        "{table}"
    );
    assert!(lines[2].contains("12 events, 4 KiB"), "{table}");
}

#[test]
fn what_nobody_tells_of_itself_is_told_by_broker_and_witness() {
    let mut taken_over = whole();
    pair_of(&mut taken_over[1]).standing = "following: has everything".to_owned();
    let member = client::MemberTopology {
        partition: 0,
        leader: true,
        epoch: 8,
        incarnation: OTHER.parse().unwrap(),
        lineage: LINEAGE,
        durability: "pair".to_owned(),
        feed: String::new(),
        replay: String::new(),
        alive_ms: 0,
    };
    let members = vec![member];
    let store = client::StoreTopology { name: "orders".to_owned(), partitions: 1, members };
    let topology = Topology { stores: vec![store], ..Topology::default() };
    let pair = report_with(taken_over, topology);
    assert_eq!((pair.leader.as_deref(), pair.copies), (Some(OTHER), 2));

    let node =
        client::WitnessedNode { incarnation: ONE.parse().unwrap(), member: true, heard_ms: None };
    let known = PairTopology {
        lineage: LINEAGE,
        epoch: 7,
        leader: Some(node.incarnation),
        nodes: vec![node],
        ready: true,
    };
    let witness = Some(WitnessTopology { pairs: vec![known], ..WitnessTopology::default() });
    let pair = report_with(Vec::new(), Topology { witness, ..Topology::default() });
    assert_eq!((pair.leader, pair.nodes[0].standing.as_str()), (None, "silent"));
    assert!(pair.remarks[0].text.contains("nobody leads"), "{:?}", pair.remarks);
}

#[test]
fn degraded_states_are_told_in_sentences() {
    let alone = || vec![node(ONE, "leading alone", &[ONE])];
    let catching_up =
        vec![node(ONE, "leading alone", &[ONE]), node(OTHER, "catching up: no copy", &[ONE])];
    let mut deaf = whole();
    deaf.iter_mut().for_each(|process| pair_of(process).witness = heard(9_000));
    let mut held = alone();
    pair_of(&mut held[0]).copies = 0;
    let mut refused = whole();
    pair_of(&mut refused[0]).degraded =
        vec!["one copy only: lost".to_owned(), "two primaries".to_owned()];
    let mut parked = whole();
    reply(&mut parked[0]).partitions[0].parked_records = 3;
    let mut zombie = whole();
    pair_of(&mut zombie[0]).standing = "leading".to_owned();
    pair_of(&mut zombie[0]).epoch = 6;
    let nobody = vec![node(OTHER, "candidate: asks", &[ONE, OTHER])];
    let mut nobody_deaf = nobody.clone();
    pair_of(&mut nobody_deaf[0]).witness = heard(9_000);
    // Name, nodes, signs, words that must occur.
    let rows = [
        ("follower gone", alone(), "!", "22222222 is silent"),
        ("catching up", catching_up, "~", "catching up (12 events, 4 KiB behind)"),
        ("witness gone", deaf, "!", "start the starlog-broker that has --witness-listen"),
        ("held", held, "!!", "acknowledges nothing"),
        ("refused", refused, "!", "22222222 says: two primaries"),
        ("parked", parked, "-", "none of them was acknowledged"),
        ("zombie", zombie, "~", "still believes that it leads"),
        ("leader gone", nobody, "~", "11111111 is silent, and the other takes over"),
        ("leader and witness gone", nobody_deaf, "!!", "start 11111111 again, or the witness"),
    ];
    for (name, processes, signs, words) in rows {
        let pair = report(processes);
        let (found, text) = said(&pair);
        assert_eq!(found, signs, "{name}: {text}");
        assert!(text.contains(words), "{name}: {text}");
    }
}

#[test]
fn a_witness_that_decides_nothing_is_told() {
    let lost =
        PairTopology { lineage: LINEAGE, epoch: 0, leader: None, nodes: vec![], ready: false };
    let witness = |stopped: Option<&str>| WitnessTopology {
        pairs: vec![lost.clone()],
        stopped: stopped.map(str::to_owned),
        ..WitnessTopology::default()
    };
    let with = |witness| Topology { witness: Some(witness), ..Topology::default() };
    let (signs, text) = said(&report_with(whole(), with(witness(None))));
    assert!(signs == "~" && text.contains("lost its record"), "{text}");
    let pair = report_with(whole(), with(witness(Some("its register is damaged"))));
    let (signs, text) = said(&pair);
    assert!(signs == "!" && text.contains("its register is damaged"), "{text}");
    assert!(!pair.is_whole());
}

#[test]
fn exit_codes() {
    let of = |processes| Report { pairs: vec![report(processes)], verdict: String::new() };
    let code =
        |report: &Report, whole| report.check(whole).err().map(|failure| failure.exit_code());
    let alone = of(vec![node(ONE, "leading alone", &[ONE])]);
    let nobody = of(vec![node(ONE, "joining: asks", &[ONE, OTHER])]);
    let none = Report { pairs: vec![], verdict: String::new() };
    let rows = [
        ("whole", of(whole()), None, None),
        ("alone", alone, None, Some(exit::UNAVAILABLE)),
        ("nobody leads", nobody, Some(exit::UNAVAILABLE), Some(exit::UNAVAILABLE)),
        ("no pair", none, None, Some(exit::UNAVAILABLE)),
    ];
    for (name, report, plain, require_whole) in rows {
        assert_eq!((code(&report, false), code(&report, true)), (plain, require_whole), "{name}");
    }
}

#[test]
fn the_verdict_counts() {
    let remark = |urgency| Remark::new(urgency, "x");
    let (act, wait, know) = (remark(Urgency::Act), remark(Urgency::Wait), remark(Urgency::Know));
    assert!(verdict([&know]).starts_with("All is well"));
    assert!(verdict([&know, &wait]).starts_with("Nothing needs doing"));
    assert!(verdict([&act, &wait]).starts_with("One thing"));
    assert!(verdict([&act, &act]).starts_with("2 things"));
}
