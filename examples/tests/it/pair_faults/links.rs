//! Each link cut alone, in one direction, two at a time, and healed in each order.

use starlog_examples::{
    faults::{SIDES, Side},
    link::{DIRECTIONS, Link},
};

use super::trial::Trial;

#[test]
fn nodes_that_do_not_hear_each_other_go_on_with_the_leader() {
    for severed in [false, true] {
        let mut trial = Trial::start();
        let leader = trial.leader();
        let break_link = if severed { Link::sever } else { Link::cut };
        trial.peer_links().into_iter().for_each(break_link);
        // The witness hears the leader and prefers it.
        trial.wait_led_by(leader, 1);
        trial.heal();
        trial.wait_led_by(leader, 2);
        trial.prove();
    }
}

#[test]
fn a_follower_that_hears_nothing_does_not_take_over() {
    let mut trial = Trial::start();
    let leader = trial.leader();
    trial.hold_peer_from(leader);
    trial.wait_led_by(leader, 1);
    trial.heal();
    trial.wait_led_by(leader, 2);
    trial.prove();
}

#[test]
fn a_leader_that_hears_nothing_of_its_follower_goes_on_alone() {
    let mut trial = Trial::start();
    let leader = trial.leader();
    trial.hold_peer_from(leader.other());
    trial.wait_led_by(leader, 1);
    trial.heal();
    trial.wait_led_by(leader, 2);
    trial.prove();
}

#[test]
fn a_pair_that_hears_each_other_needs_no_witness() {
    let mut trial = Trial::start();
    let leader = trial.leader();
    let epoch = trial.topology.view(0).epoch();
    for side in SIDES {
        trial.witness_link(side).cut();
        trial.wait_stays(|view| view.leader() == Some(leader) && view.epoch() == epoch);
        trial.wait_progress();
        trial.witness_link(side).heal();
        for direction in DIRECTIONS {
            trial.witness_link(side).hold(direction);
            trial.wait_stays(|view| view.leader() == Some(leader) && view.epoch() == epoch);
            trial.wait_progress();
            trial.witness_link(side).heal();
        }
    }
    trial.prove();
}

#[test]
fn a_leader_that_no_broker_reaches_hands_over() {
    let mut trial = Trial::start();
    let leader = trial.leader();
    trial.links(leader).brokers.iter().for_each(Link::cut);
    trial.wait_led_by(leader.other(), 2);
    trial.heal();
    trial.wait_progress();
    trial.prove();
}

#[test]
fn a_leader_that_no_broker_hears_or_reaches_hands_over() {
    for direction in DIRECTIONS {
        let mut trial = Trial::start();
        let leader = trial.leader();
        trial.links(leader).brokers.iter().for_each(|link| link.hold(direction));
        trial.wait_led_by(leader.other(), 2);
        trial.heal();
        trial.wait_progress();
        trial.prove();
    }
}

#[test]
fn a_follower_that_no_broker_reaches_is_a_member_all_the_same() {
    let mut trial = Trial::start();
    let leader = trial.leader();
    let epoch = trial.topology.view(0).epoch();
    trial.links(leader.other()).brokers.iter().for_each(Link::cut);
    trial.wait_stays(|view| view.leader() == Some(leader) && view.epoch() == epoch);
    trial.wait_progress();
    trial.heal();
    trial.prove();
}

/// Cuts a leader from its follower and from the witness; clients reach it as before.
fn lonely_leader() -> (Trial, Side) {
    let mut trial = Trial::start();
    let leader = trial.leader();
    trial.peer_links().into_iter().for_each(Link::cut);
    trial.witness_link(leader).cut();
    trial.wait_led_by(leader.other(), 1);
    (trial, leader)
}

#[test]
fn a_leader_cut_from_all_is_succeeded_and_hears_of_it_from_its_peer() {
    let (mut trial, leader) = lonely_leader();
    trial.peer_links().into_iter().for_each(Link::heal);
    trial.wait_led_by(leader.other(), 2);
    trial.heal();
    trial.prove();
}

#[test]
fn a_leader_cut_from_all_is_succeeded_and_hears_of_it_from_the_witness() {
    let (mut trial, leader) = lonely_leader();
    trial.witness_link(leader).heal();
    trial.wait_deposed(leader);
    trial.heal();
    trial.wait_led_by(leader.other(), 2);
    trial.prove();
}

#[test]
fn a_follower_cut_from_all_is_done_without_in_each_order_of_healing() {
    for peer_first in [true, false] {
        let mut trial = Trial::start();
        let leader = trial.leader();
        trial.peer_links().into_iter().for_each(Link::cut);
        trial.witness_link(leader.other()).cut();
        trial.wait_led_by(leader, 1);
        if peer_first {
            trial.peer_links().into_iter().for_each(Link::heal);
            trial.wait_led_by(leader, 2);
        } else {
            trial.witness_link(leader.other()).heal();
            trial.wait_stays(|view| view.leader() == Some(leader));
        }
        trial.heal();
        trial.wait_led_by(leader, 2);
        trial.prove();
    }
}

#[test]
fn a_pair_cut_from_each_other_and_from_the_witness_acknowledges_nothing() {
    let mut trial = Trial::start();
    let leader = trial.leader();
    trial.peer_links().into_iter().for_each(Link::cut);
    SIDES.iter().for_each(|&side| trial.witness_link(side).cut());
    trial.expect_silence();
    trial.witness_link(leader.other()).heal();
    trial.wait_progress();
    trial.heal();
    trial.wait_whole();
    trial.prove();
}
