//! `starlog read` and `starlog replay`.

use std::io::{BufRead as _, BufReader};

use serde_json::Value;

use super::Topology;

/// Appends `count` events to a stream in one append.
fn fill(topology: &Topology, stream: &str, count: u32) {
    let lines: String =
        (1..=count).map(|n| format!("{{\"type\":\"Counted\",\"data\":{{\"n\":{n}}}}}\n")).collect();
    let append = ["append", "orders", stream, "--ndjson", "--expect", "none"];
    topology.starlog(&append).input(lines).run().ok();
}

fn numbers(lines: &[Value], field: &str) -> Vec<u64> {
    lines.iter().map(|line| line[field].as_u64().unwrap()).collect()
}

#[test]
fn a_stream_in_all_directions() {
    let topology = Topology::start(&["orders:1"]);
    fill(&topology, "order-0", 2);
    fill(&topology, "order-1", 5);
    let rows: [(&[&str], &[u64]); 6] = [
        (&[], &[1, 2, 3, 4, 5]),
        (&["--from", "4"], &[4, 5]),
        (&["--limit", "2"], &[1, 2]),
        (&["--backward", "--limit", "2"], &[5, 4]),
        (&["--backward", "--from", "3"], &[3, 2, 1]),
        (&["--last"], &[5]),
    ];
    for (rest, versions) in rows {
        let read = [&["read", "orders", "order-1", "-o", "ndjson"], rest].concat();
        let lines = topology.starlog(&read).run().lines();
        assert_eq!(numbers(&lines, "version"), versions, "{rest:?}");
        assert_eq!(lines[0]["sequence"], versions[0] + 2, "{rest:?}");
        assert_eq!(lines[0]["data"]["n"], versions[0], "{rest:?}");
        assert_eq!(lines[0]["store"], "orders");
        assert!(lines[0]["time"].as_str().unwrap().ends_with('Z'));
    }
}

#[test]
fn nothing_in_a_range_is_not_an_absent_stream() {
    let topology = Topology::start(&["orders:1"]);
    fill(&topology, "order-1", 2);
    let beyond = ["read", "orders", "order-1", "--from", "3", "-o", "json"];
    assert_eq!(topology.starlog(&beyond).run().json(), Value::Array(Vec::new()));
    let error = topology.starlog(&["read", "orders", "order-2", "-o", "json"]).run().error(4);
    assert_eq!(error["code"], "STREAM_NOT_FOUND");
}

#[test]
fn history_of_one_partition_and_of_all() {
    let topology = Topology::start(&["orders:2"]);
    for stream in ["order-1", "order-2", "order-3", "order-20", "order-21", "order-22"] {
        fill(&topology, stream, 2);
    }
    let all = topology.starlog(&["replay", "orders", "-o", "ndjson"]).run().lines();
    assert_eq!(all.len(), 12);
    let of = |partition: u64| {
        let lines: Vec<Value> =
            all.iter().filter(|line| line["partition"] == partition).cloned().collect();
        numbers(&lines, "sequence")
    };
    for partition in [0, 1] {
        let sequences = of(partition);
        assert!(!sequences.is_empty(), "no stream lies in partition {partition}");
        assert!((1..).zip(&sequences).all(|(expected, sequence)| expected == *sequence));
        let name = partition.to_string();
        let one = ["replay", "orders", "--partition", &name, "-o", "ndjson"];
        assert_eq!(numbers(&topology.starlog(&one).run().lines(), "sequence"), sequences);
    }
    let range =
        ["replay", "orders", "--partition", "0", "--from", "2", "--to", "3", "-o", "ndjson"];
    let lines = topology.starlog(&range).run().lines();
    assert_eq!(numbers(&lines, "sequence"), [2, 3]);
    let newest = ["replay", "orders", "--backward", "--limit", "1", "-o", "ndjson"];
    let lines = topology.starlog(&newest).run().lines();
    assert_eq!(numbers(&lines, "partition"), [0, 1]);

    // A sequence without its partition means nothing, and there is no third partition.
    for wrong in [["--from", "2"], ["--partition", "2"]] {
        let replay = [&["replay", "orders", "-o", "json"], &wrong[..]].concat();
        assert_eq!(topology.starlog(&replay).run().error(2)["code"], "INVALID_ARGUMENT");
    }
}

#[test]
fn history_of_a_category_and_of_types() {
    let topology = Topology::start(&["orders:2"]);
    // Names that lie in both partitions.
    for number in [1, 2, 3, 20, 21, 22] {
        fill(&topology, &format!("order-{number}"), 2);
        fill(&topology, &format!("cart-{number}"), 1);
    }
    let paid = ["append", "orders", "order-3", "--type", "Paid", "--data", "1", "--expect", "any"];
    topology.starlog(&paid).run().ok();
    let replay = |rest: &[&str]| {
        let line = [&["replay", "orders", "--category", "order", "-o", "ndjson"], rest].concat();
        topology.starlog(&line).run().lines()
    };
    let all = replay(&[]);
    assert_eq!(all.len(), 13);
    assert!(all.iter().all(|line| line["stream"].as_str().unwrap().starts_with("order-")));
    let of = |partition: &str| numbers(&replay(&["--partition", partition]), "sequence");
    assert_eq!([of("0"), of("1")].concat(), numbers(&all, "sequence"));
    assert!(of("0").is_sorted() && !of("0").is_empty() && !of("1").is_empty());
    let newest = replay(&["--backward", "--limit", "1", "--partition", "0"]);
    assert_eq!(numbers(&newest, "sequence"), of("0").into_iter().rev().take(1).collect::<Vec<_>>());
    // A limit counts what is printed.
    let typed = replay(&["--type", "Paid", "--limit", "1"]);
    assert_eq!((typed.len(), &typed[0]["stream"]), (1, &Value::from("order-3")));
    assert_eq!(replay(&["--type", "Paid", "--type", "Counted"]).len(), 13);
    let absent = ["replay", "orders", "--category", "absent", "-o", "json"];
    assert_eq!(topology.starlog(&absent).run().json(), Value::Array(Vec::new()));
    let read = ["read", "orders", "order-3", "--type", "Counted", "--last", "-o", "ndjson"];
    assert_eq!(numbers(&topology.starlog(&read).run().lines(), "version"), [2]);
    let none = ["read", "orders", "order-3", "--type", "Absent", "-o", "json"];
    assert_eq!(topology.starlog(&none).run().json(), Value::Array(Vec::new()));
    let from = ["replay", "orders", "--category", "order", "--from", "2", "-o", "json"];
    assert_eq!(topology.starlog(&from).run().error(2)["code"], "INVALID_ARGUMENT");
}

#[test]
fn a_reader_that_has_had_enough_is_no_failure() {
    let topology = Topology::start(&["orders:1"]);
    // More than a pipe holds, so that the tool must notice.
    let line = format!("{{\"type\":\"T\",\"data\":\"{}\"}}\n", "x".repeat(1000));
    let append = ["append", "orders", "order-1", "--ndjson", "--expect", "none"];
    topology.starlog(&append).input(line.repeat(1000)).run().ok();
    let mut running = topology.starlog(&["replay", "orders", "-o", "ndjson"]).spawn();
    let mut first = String::new();
    BufReader::new(running.child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.contains("\"sequence\":1"), "{first}");
    let (status, errors) = running.wait();
    assert_eq!((status.code(), errors.as_str()), (Some(0), ""));
}

#[test]
fn tables_for_people() {
    let topology = Topology::start(&["orders:1"]);
    fill(&topology, "order-1", 2);
    let text = topology.starlog(&["read", "orders", "order-1"]).run().ok();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3);
    assert!(lines[0].starts_with("PARTITION"), "{text}");
    assert!(lines[2].contains("Counted ") && lines[2].ends_with(" {\"n\":2}"), "{text}");
}
