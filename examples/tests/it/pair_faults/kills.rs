//! kill -9 of each node, and of both.

use starlog_examples::faults::Side;

use super::trial::Trial;

#[test]
fn a_killed_leader_is_succeeded_and_returns_as_a_member() {
    let mut trial = Trial::start();
    let leader = trial.leader();
    trial.kill(leader);
    trial.wait_led_by(leader.other(), 1);
    trial.restart(leader);
    trial.wait_led_by(leader.other(), 2);
    trial.prove();
}

#[test]
fn a_killed_follower_is_done_without_and_returns_as_a_member() {
    let mut trial = Trial::start();
    let leader = trial.leader();
    trial.kill(leader.other());
    trial.wait_led_by(leader, 1);
    trial.restart(leader.other());
    trial.wait_led_by(leader, 2);
    trial.prove();
}

#[test]
fn a_leader_that_is_back_at_once_makes_the_pair_whole_again() {
    let mut trial = Trial::start();
    let leader = trial.leader();
    trial.kill(leader);
    trial.restart(leader);
    trial.wait_whole();
    trial.prove();
}

#[test]
fn both_nodes_take_their_turn_in_being_killed() {
    let mut trial = Trial::start();
    for _ in 0..2 {
        let leader = trial.leader();
        trial.kill(leader);
        trial.wait_led_by(leader.other(), 1);
        trial.restart(leader);
        trial.wait_led_by(leader.other(), 2);
    }
    trial.prove();
}

/// Kills both and starts one of them; it goes on alone before the other one comes.
fn both_killed(first: impl Fn(Side) -> Side) {
    let mut trial = Trial::start();
    let leader = trial.leader();
    trial.kill(leader);
    trial.kill(leader.other());
    let first = first(leader);
    trial.restart(first);
    trial.wait_led_by(first, 1);
    trial.restart(first.other());
    trial.wait_led_by(first, 2);
    trial.prove();
}

#[test]
fn both_killed_and_the_leader_started_first() {
    both_killed(|leader| leader);
}

#[test]
fn both_killed_and_the_follower_started_first() {
    both_killed(Side::other);
}

#[test]
fn a_survivor_that_was_alone_is_waited_for() {
    let mut trial = Trial::start();
    let leader = trial.leader();
    trial.kill(leader);
    trial.wait_led_by(leader.other(), 1);
    trial.kill(leader.other());
    // It lacks what the other one acknowledged alone: it may not lead, however long it waits.
    trial.restart(leader);
    trial.expect_silence();
    assert_eq!(trial.topology.view(0).leader(), None);
    trial.restart(leader.other());
    trial.wait_led_by(leader.other(), 2);
    trial.prove();
}
