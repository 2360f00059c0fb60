//! One fault after the other befalls the same pair, as a seed decides. `SLOW_TESTS=1` for many.

use starlog_examples::{faults::Side, link::Link, random::Random};
use store::wire::status::StatusReply;

use super::trial::{Trial, node};

const ROUNDS: u64 = 4;
const ROUNDS_SLOW: u64 = 60;

#[test]
fn a_pair_survives_one_trouble_after_the_other() {
    let slow = std::env::var("SLOW_TESTS").is_ok_and(|value| value == "1");
    let mut random = Random::new(if slow { 1 } else { 2 });
    let mut trial = Trial::start();
    for _ in 0..if slow { ROUNDS_SLOW } else { ROUNDS } {
        befall(&mut trial, random.below(8));
        trial.heal();
        trial.wait_whole();
    }
    trial.prove();
}

/// Waits until the follower leads. On a busy machine a pair may have shrunk just before it lost its
/// leader: then the follower waits for it, as it must.
fn wait_succeeded(trial: &mut Trial, follower: Side) {
    trial.wait_pair("succeeded", |view| {
        let is_member = |node: &StatusReply| {
            node.pair.as_ref().is_some_and(|pair| pair.members.contains(&node.incarnation))
        };
        let waits = view.nodes.get(&follower).is_some_and(|node| !is_member(node));
        waits || view.leader() == Some(follower)
    });
}

fn befall(trial: &mut Trial, trouble: u64) {
    let leader = trial.leader();
    let follower = leader.other();
    match trouble {
        0 => {
            trial.kill(leader);
            wait_succeeded(trial, follower);
            trial.restart(leader);
        }
        1 => {
            trial.kill(follower);
            trial.restart(follower);
        }
        2 => {
            trial.kill(leader);
            trial.kill(follower);
            trial.restart(follower);
            trial.restart(leader);
        }
        3 => {
            trial.topology.pause(node(leader)).unwrap();
            wait_succeeded(trial, follower);
            trial.topology.resume(node(leader)).unwrap();
        }
        4 => {
            trial.peer_links().into_iter().for_each(Link::sever);
            trial.wait_progress();
        }
        5 => {
            trial.peer_links().into_iter().for_each(Link::cut);
            trial.witness_link(leader).cut();
            wait_succeeded(trial, follower);
        }
        6 => {
            trial.hold_peer_from(leader);
            trial.wait_progress();
        }
        _ => trial.hand_over_to(follower),
    }
}
