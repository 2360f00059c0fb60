//! `starlog bench`, small.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::command::Titanic;
use super::{Tool, Topology, starlog};

/// Building the servers from nothing.
const BUILD_WAIT_MAX: Duration = Duration::from_secs(600);

#[test]
fn limits_are_measured_with_processes_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let limits = ["bench", "limits", "--data", data, "--duration", "50ms", "-o", "json"];
    let report = starlog(&limits).run().json();
    let names: Vec<&Value> =
        report["limits"].as_array().unwrap().iter().map(|limit| &limit["name"]).collect();
    let all = ["S", "S2", "S4", "R", "P", "RT64", "RB", "R40", "R40x16", "W64K", "W1M", "SHA1"];
    assert_eq!(names, all);
    for limit in report["limits"].as_array().unwrap() {
        assert!(limit["latency"]["p50_us"].as_f64().unwrap() > 0.0, "{limit}");
        assert!(limit["per_second"].as_f64().unwrap() > 0.0, "{limit}");
        assert!(limit["bytes_per_second"].as_f64().unwrap() > 0.0, "{limit}");
    }
    assert!(report["machine"]["cores"].as_u64().unwrap() > 0);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "files stay behind");
}

#[test]
fn every_event_of_a_load_is_appended_once() {
    let topology = Topology::start(&["bench:2"]);
    let load = [
        "bench",
        "append",
        "--events",
        "1000",
        "--warmup",
        "0s",
        "--clients",
        "2",
        "--in-flight",
        "8",
        "--batch",
        "3",
        "--streams",
        "50",
        "--skew",
        "1",
        "-o",
        "json",
    ];
    let report = topology.starlog(&load).run().json();
    assert_eq!(report["events"], 1000);
    assert_eq!(report["system"]["own"], false);
    let latency = &report["latency"];
    assert!(latency["p50_us"].as_f64().unwrap() <= latency["p999_us"].as_f64().unwrap());
    let replay = ["bench", "replay", "--rounds", "1", "-o", "json"];
    let report = topology.starlog(&replay).run().json();
    assert_eq!(report["rounds"][0]["events"], 1000);
    assert_eq!(report["signatures_checked"], true);
}

#[test]
fn a_load_that_fails_gives_no_figures() {
    let topology = Topology::start(&["orders:1"]);
    let load = ["bench", "append", "--store", "absent", "--events", "10", "-o", "json"];
    assert_eq!(topology.starlog(&load).run().error(4)["code"], "STORE_NOT_FOUND");
}

/// The folder of the servers. They are binaries of other packages: tests of the whole workspace
/// have built them beside the tool, and where this package is tested alone they are built here.
pub fn servers() -> PathBuf {
    let beside = Path::new(env!("CARGO_BIN_EXE_starlog")).parent().unwrap();
    let servers = ["starlog-broker", "starlog-store", "starlog-titanic"];
    if servers.iter().all(|name| beside.join(name).exists()) {
        return beside.to_owned();
    }
    let mut command = Command::new(env!("CARGO"));
    let packages = servers.iter().flat_map(|name| ["--package", name]);
    command.args(["build", "--bins"]).args(packages).current_dir(env!("CARGO_MANIFEST_DIR"));
    Tool::of(command).run_for(BUILD_WAIT_MAX).ok();
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("debug")
}

#[test]
fn it_starts_and_ends_servers_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let servers = servers();
    let own = ["--bin-dir", servers.to_str().unwrap(), "--data", data, "-o", "json"];
    let load = ["bench", "append", "--events", "500", "--warmup", "0s", "--durability", "memory"];
    let report = starlog(&[&load[..], &own].concat()).run().json();
    assert_eq!(report["events"], 500);
    assert_eq!(report["system"]["own"], true);
    assert_eq!(report["system"]["durability"], "memory");

    // The data stays where it was asked to be, and a second run finds it free of locks.
    let replay = ["bench", "replay", "--events", "100", "--rounds", "2"];
    let report = starlog(&[&replay[..], &own].concat()).run().json();
    assert_eq!(report["rounds"].as_array().unwrap().len(), 2);
    assert_eq!(report["rounds"][1]["events"], 100);
}

#[test]
fn ratios_rest_on_limits_of_the_same_run() {
    let topology = Topology::start(&["bench:1"]);
    let load = ["bench", "append", "--events", "100", "--warmup", "0s", "--in-flight", "1"];
    let limits = ["--with-limits", "-o", "json"];
    let report = topology.starlog(&[&load[..], &limits].concat()).run().json();
    let p50 = |name: &str| {
        let limits = report["limits"].as_array().unwrap();
        let limit = limits.iter().find(|limit| limit["name"] == name).unwrap();
        limit["latency"]["p50_us"].as_f64().unwrap()
    };
    let ratio = report["latency"]["p50_us"].as_f64().unwrap() / (p50("S") + p50("R"));
    assert_eq!(report["ratios"]["basis"], "S + R");
    assert!((report["ratios"]["p50_to_basis"].as_f64().unwrap() - ratio).abs() < 0.01);

    // What a batch takes is told against a batch that is only carried there and back.
    let load = ["bench", "append", "--events", "200", "--warmup", "0s", "--batch", "20"];
    let report = topology.starlog(&[&load[..], &limits].concat()).run().json();
    assert!(report["data_rate_to_batches"].as_f64().is_some(), "{report}");
    let replay = ["bench", "replay", "--rounds", "1"];
    let report = topology.starlog(&[&replay[..], &limits].concat()).run().json();
    assert!(report["ratios"]["events_to_sha1"].as_f64().is_some(), "{report}");
    assert!(report["ratios"]["data_to_w1m"].as_f64().is_some(), "{report}");
}

#[test]
fn commands_are_measured_with_a_titanic_of_its_own() {
    let servers = servers();
    let own = ["--bin-dir", servers.to_str().unwrap(), "--durability", "memory", "-o", "json"];
    let load = ["bench", "commands", "--duration", "100ms", "--open", "300", "--closed", "300"];
    let report = starlog(&[&load[..], &own].concat()).run_for(Duration::from_secs(120)).json();
    let checked = |round: &Value| {
        for figure in ["accept", "accept64", "reply"] {
            assert!(round[figure]["count"].as_u64().unwrap() > 0, "{figure}: {round}");
        }
        for ratio in ["accept_p50", "accept64_rate", "reply_p50"] {
            assert!(round["ratios"][ratio].as_f64().unwrap() > 0.0, "{ratio}: {round}");
        }
    };
    checked(&report);
    let filled = report["filled"].as_array().unwrap();
    for (filled, state) in filled.iter().zip(["closed", "open"]) {
        assert_eq!(filled["state"], state);
        assert_eq!(filled["commands"], 300);
        assert!(filled["start_seconds"].as_f64().unwrap() > 0.0);
        assert!(filled["memory_bytes"].as_u64().unwrap() > 0);
        checked(&filled["round"]);
    }
    assert_eq!(filled.len(), 2);
}

#[test]
fn a_titanic_of_others_is_not_started_again() {
    let topology = Topology::start(&["commands:1"]);
    let _titanic = Titanic::start(&topology.endpoint());
    let load = ["bench", "commands", "--duration", "50ms", "--open", "10", "-o", "json"];
    assert_eq!(topology.starlog(&load).run().error(2)["code"], "INVALID_ARGUMENT");
}
