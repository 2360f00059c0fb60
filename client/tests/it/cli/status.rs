//! `starlog status`.

use serde_json::Value;

use super::{Ended, Topology};

/// The report, the error that follows it if any, and the exit code.
fn parts(ended: Ended) -> (Value, Option<Value>, Option<i32>) {
    let report = serde_json::from_str(&ended.output).unwrap();
    (report, serde_json::from_str(&ended.errors).ok(), ended.code)
}

#[test]
fn ready_is_exit_0_and_shows_every_leader() {
    let topology = Topology::start(&["orders:2", "carts:1"]);
    let append = ["append", "carts", "cart-1", "--type", "T", "--data", "1", "--expect", "none"];
    topology.starlog(&append).run().ok();
    let (report, error, code) = parts(topology.starlog(&["status", "-o", "json"]).run());
    assert_eq!((error, code), (None, Some(0)));
    assert_eq!(report["ready"], true);
    let partitions = report["partitions"].as_array().unwrap();
    assert_eq!(partitions.len(), 3);
    for line in partitions {
        let leader = &line["leader"];
        assert!(leader["epoch"].as_u64().unwrap() >= 1, "{line}");
        assert_eq!(leader["durability"], "local");
        assert_eq!(leader["head"], u64::from(line["store"] == "carts"), "{line}");
        assert!(leader["replay"].as_str().unwrap().starts_with("tcp://127.0.0.1:"));
    }
    let table = topology.starlog(&["status", "orders"]).run().ok();
    assert_eq!(table.lines().count(), 4, "{table}");
    assert!(table.ends_with("All is well: nothing needs doing.\n"), "{table}");
}

#[test]
fn a_partition_without_leader_is_exit_5_and_shown() {
    let topology = Topology::hosting(&["orders:2"], Some(0..=0));
    let (report, error, code) = parts(topology.starlog(&["status", "-o", "json"]).run());
    assert_eq!(code, Some(5));
    assert_eq!(report["ready"], false);
    assert_eq!(report["partitions"][1]["leader"], Value::Null);
    let error = error.unwrap();
    assert_eq!(error["error"]["code"], "NO_WORKER");
    assert_eq!(error["error"]["details"]["partitions"][0], "orders/1");
}

#[test]
fn no_store_at_all_is_exit_5() {
    let topology = Topology::start(&[]);
    let (report, _, code) = parts(topology.starlog(&["status", "-o", "json"]).run());
    assert_eq!(code, Some(5));
    assert_eq!(report["partitions"], Value::Array(Vec::new()));
}
