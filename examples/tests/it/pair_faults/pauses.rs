//! SIGSTOP and SIGCONT, longer than everybody's patience.

use starlog_examples::clock::now;
use store::Epoch;

use super::trial::{Trial, node};

#[test]
fn a_stopped_leader_acknowledges_nothing_when_it_wakes() {
    let mut trial = Trial::start();
    let leader = trial.leader();
    let epoch = Epoch(trial.topology.view(0).epoch().unwrap());
    // The load goes on: what it sent last lies in the stopped process's sockets.
    trial.topology.pause(node(leader)).unwrap();
    trial.wait_led_by(leader.other(), 1);
    let woken = now();
    trial.topology.resume(node(leader)).unwrap();
    trial.wait_led_by(leader.other(), 2);
    for ((partition, of), reign) in trial.meter.reigns() {
        let silent = of > epoch || reign.last < woken;
        assert!(silent, "partition {partition} was answered in epoch {of} by the one that woke");
    }
    trial.prove();
}

#[test]
fn a_stopped_follower_is_done_without_and_returns_as_a_member() {
    let mut trial = Trial::start();
    let leader = trial.leader();
    trial.topology.pause(node(leader.other())).unwrap();
    trial.wait_led_by(leader, 1);
    trial.topology.resume(node(leader.other())).unwrap();
    trial.wait_led_by(leader, 2);
    trial.prove();
}

#[test]
fn both_stopped_for_long_go_on_without_a_loss() {
    let mut trial = Trial::start();
    let leader = trial.leader();
    for side in [leader, leader.other()] {
        trial.topology.pause(node(side)).unwrap();
    }
    trial.expect_silence();
    for side in [leader.other(), leader] {
        trial.topology.resume(node(side)).unwrap();
    }
    trial.wait_whole();
    trial.prove();
}
