//! `starlog bench read`, `fanout`, `start` and `preset`, small.

use std::time::Duration;

use serde_json::Value;

use super::bench::servers;
use super::{Tool, Topology, starlog};

/// Some of these start servers of their own, again and again.
const RUN_WAIT_MAX: Duration = Duration::from_secs(120);

fn json(tool: Tool) -> Value {
    tool.run_for(RUN_WAIT_MAX).json()
}

/// Arguments as one line of words.
fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

fn has_percentiles(latency: &Value) {
    let names = ["p50_us", "p95_us", "p99_us", "p999_us", "max_us"];
    let values = names.map(|name| latency[name].as_f64().unwrap());
    assert!(values[0] > 0.0, "{latency}");
    assert!(values.is_sorted(), "{latency}");
}

#[test]
fn whole_streams_are_read_in_three_ways() {
    let topology = Topology::start(&["bench:2"]);
    let line = "bench read --events 190 --length 10 --in-flight 5 --duration 100ms -o json";
    // Every read is checked to be whole, so a second run must not add to the streams of the first.
    for _ in 0..2 {
        let report = json(topology.starlog(&words(line)));
        assert_eq!(report["streams"], 19);
        assert_eq!(report["events"], 190);
        assert!(report["machine"]["cores"].as_u64().unwrap() > 0);
        let figures = report["figures"].as_array().unwrap();
        let names: Vec<&Value> = figures.iter().map(|figure| &figure["name"]).collect();
        assert_eq!(names, ["alone", "many", "bare"]);
        for figure in figures {
            assert!(figure["streams"].as_u64().unwrap() > 0, "{figure}");
            has_percentiles(&figure["latency"]);
        }
        let limits = report["limits"].as_array().unwrap();
        let names: Vec<&Value> = limits.iter().map(|limit| &limit["name"]).collect();
        assert_eq!(names, ["R40", "R40x16"]);
        let p50 = |of: &Value| of["latency"]["p50_us"].as_f64().unwrap();
        let ratio = p50(&figures[0]) / p50(&limits[0]);
        assert!((report["ratios"]["alone_p50"].as_f64().unwrap() - ratio).abs() < 0.01);
    }
}

#[test]
fn every_subscriber_gets_every_event() {
    let topology = Topology::start(&["bench:2"]);
    let line = "bench fanout --rate 500 --subscribers 3 --duration 300ms --streams 20 -o json";
    let report = json(topology.starlog(&words(line)));
    assert!(report["events"].as_u64().unwrap() > 0, "{report}");
    assert_eq!(report["subscribers"], 3);
    assert_eq!(report["ratios"]["basis"], "S + R");
    assert!(report["ratios"]["p50_to_basis"].as_f64().unwrap() > 0.0, "{report}");
    has_percentiles(&report["latency"]);
    let small = topology.starlog(&words("bench fanout --size 23 -o json")).run();
    assert_eq!(small.error(2)["code"], "INVALID_ARGUMENT");
}

#[test]
fn a_killed_store_serves_again() {
    let folder = tempfile::tempdir().unwrap();
    let servers = servers();
    let line = format!(
        "bench start --events 300 --streams 7 --size 100 --rounds 2 --bin-dir {} --data {} -o json",
        servers.display(),
        folder.path().display()
    );
    let report = json(starlog(&words(&line)));
    assert_eq!(report["events"], 300);
    let rounds = report["rounds"].as_array().unwrap();
    assert_eq!(rounds.len(), 2);
    for (number, round) in (1..).zip(rounds) {
        let number: u64 = number;
        assert!(round["serving_seconds"].as_f64().unwrap() > 0.0, "{round}");
        // 300 events over 7 streams, and one more in each round.
        assert_eq!(round["first_read_events"], 43 + number);
        assert!(round["memory"]["own_bytes"].as_u64().unwrap() > 0, "{round}");
    }
    // A record has 120 bytes beyond its content, and a segment has a header.
    let per_record = report["disk_per_record"]["without_indexes"].as_f64().unwrap();
    assert!((120.0..150.0).contains(&per_record), "{per_record}");
    assert!(report["disk"]["ahead_bytes"].as_u64().unwrap() > 0);

    // What an earlier run left would count as this one's.
    assert_eq!(starlog(&words(&line)).run().error(2)["code"], "INVALID_ARGUMENT");
}

#[test]
fn a_store_of_others_is_not_killed() {
    let topology = Topology::start(&["bench:1"]);
    let ended = topology.starlog(&words("bench start --events 10 -o json")).run();
    assert_eq!(ended.error(2)["code"], "INVALID_ARGUMENT");
}

#[test]
fn presets_have_their_loads() {
    let topology = Topology::start(&["bench:2"]);
    let rows = |preset: &str| {
        let line = format!("bench preset {preset} --events 300 -o json");
        let report = json(topology.starlog(&words(&line)));
        assert_eq!(report["preset"], preset);
        report
    };
    let of = |report: &Value, field: &str| -> Vec<Value> {
        report["rows"].as_array().unwrap().iter().map(|row| row[field].clone()).collect()
    };

    let seed = rows("seed-20000");
    assert_eq!(of(&seed, "count"), [300]);
    assert!(seed["comparison"]["ratio"].as_f64().is_some(), "{seed}");
    has_percentiles(&seed["rows"][0]["latency"]);

    let history = rows("seed-300k");
    assert_eq!(of(&history, "name"), ["write", "read back"]);
    assert_eq!(of(&history, "count"), [300, 300]);

    let streams = rows("streams-100k");
    assert_eq!(of(&streams, "name"), ["one stream", "100,000 streams"]);
    assert!(streams["comparison"]["ratio"].as_f64().unwrap() > 0.0, "{streams}");

    let lokad = rows("lokad");
    let mut names = of(&lokad, "name");
    names.dedup();
    let floods = ["write", "batch", "import", "enumerate", "view write", "view read", "pointer"];
    assert_eq!(names, floods);
    assert_eq!(of(&lokad, "count")[..6], [100, 100, 100, 100, 100, 100]);
    assert_eq!(of(&lokad, "count")[6..], [300, 300, 300, 300, 300, 300, 50, 2500, 200]);

    let absent = topology.starlog(&words("bench preset fastest -o json")).run();
    assert_eq!(absent.error(2)["code"], "INVALID_ARGUMENT");
}
