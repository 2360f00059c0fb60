//! `starlog pair`, and what `starlog status` says of pairs.

use std::time::Duration;

use serde_json::Value;
use store::Durability;

use super::{Tool, Topology, starlog};
use crate::pair_world::PairWorld;
use crate::world::wait_until;

fn tool(world: &PairWorld, arguments: &[&str]) -> Tool {
    starlog(arguments).environment("STARLOG_BROKER", world.endpoint().as_str())
}

#[test]
fn a_pair_is_shown_handed_over_and_missed() {
    let mut world = PairWorld::start(1, Durability::Pair);
    let require = ["pair", "status", "--require-whole", "-o", "json"];
    let report = tool(&world, &require).run().json();
    let pair = &report["pairs"][0];
    assert_eq!(pair["partitions"][0], "orders/0");
    assert_eq!((pair["copies"].as_u64(), pair["durability"].as_str()), (Some(2), Some("pair")));
    assert_eq!(report["verdict"], "All is well: nothing needs doing.", "{report:#}");
    let leader = pair["leader"].as_str().unwrap().to_owned();
    let other = pair["nodes"][1]["node"].as_str().unwrap().to_owned();

    let hand_over = ["pair", "handover", "--store", "orders", "--to", &other[..8], "-o", "json"];
    let done = tool(&world, &hand_over).run().json();
    assert_eq!((&done["from"], &done["to"]), (&Value::from(leader), &Value::from(other.clone())));
    assert_eq!(tool(&world, &hand_over).run().json()["led_already"], true);
    wait_until("the pair is whole", || world.leader_of_whole().is_some());

    let status = tool(&world, &["status", "orders"]).run().ok();
    assert!(status.contains("PAIR") && status.contains(&other[..8]), "{status}");
    let follower = 1 - world.leader_of_whole().unwrap();
    world.stop_node(follower);
    let silent = || tool(&world, &["status", "-o", "json"]).run().json();
    wait_until("somebody is told to act", || {
        silent()["verdict"].as_str().unwrap().starts_with("One thing needs doing")
    });
    let error = tool(&world, &["pair", "status", "--require-whole"]).run();
    assert_eq!(error.code, Some(5), "{error:?}");
    assert!(error.output.contains("is silent"), "{error:?}");
    assert_eq!(tool(&world, &["pair", "status"]).run().code, Some(0));
}

#[test]
fn a_store_without_a_peer_is_no_pair() {
    let topology = Topology::start(&["orders:1"]);
    let report = topology.starlog(&["pair", "status", "-o", "json"]).run().json();
    assert_eq!(report["pairs"], Value::Array(Vec::new()));
    let error =
        topology.starlog(&["pair", "handover", "--store", "orders", "-o", "json"]).run().error(1);
    assert_eq!(error["code"], "UNSUPPORTED");
    let absent = ["pair", "handover", "--store", "absent", "-o", "json"];
    assert_eq!(topology.starlog(&absent).run().error(4)["code"], "STORE_NOT_FOUND");
    let wrong = ["pair", "handover", "--store", "orders", "--to", "ffffffff", "-o", "json"];
    assert_eq!(topology.starlog(&wrong).run().error(2)["code"], "INVALID_ARGUMENT");
}

/// Figures of so short a run mean nothing; that they come, and that the pair lives, does.
#[test]
fn failovers_and_rejoins_are_measured_with_processes_of_its_own() {
    let servers = super::bench::servers();
    let own = ["--bin-dir", servers.to_str().unwrap(), "-o", "json"];
    let kills = ["bench", "failover", "--kills", "1", "--between", "100ms"];
    let long = Duration::from_secs(120);
    let report = starlog(&[&kills[..], &own].concat()).run_for(long).json();
    assert_eq!(report["kills"]["taken_over"], 1, "{report:#}");
    assert_eq!((&report["refused"], &report["unknown"]), (&Value::from(0), &Value::from(0)));
    assert!(report["kills"]["outage"]["max_ms"].as_f64().unwrap() > 0.0);
    let rejoin = ["bench", "rejoin", "--fill", "4MiB", "--probe", "300ms"];
    let report = starlog(&[&rejoin[..], &own].concat()).run_for(long).json();
    assert!(report["received_bytes"].as_u64().unwrap() > 1_000_000, "{report:#}");
    assert!(report["member_after_seconds"].as_f64().unwrap() > 0.0);
}
