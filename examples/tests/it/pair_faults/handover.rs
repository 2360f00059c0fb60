//! A planned change of the leader, under load.

use starlog_examples::faults::Side;

use super::trial::Trial;

#[test]
fn a_handover_there_and_back_loses_nothing() {
    let mut trial = Trial::start();
    let leader = trial.leader();
    for side in [leader.other(), leader] {
        trial.hand_over_to(side);
    }
    trial.prove();
}

#[test]
fn a_follower_cannot_hand_over() {
    let mut trial = Trial::start();
    let follower: Side = trial.leader().other();
    let refused = trial.topology.hand_over(super::trial::id(follower), super::trial::PATIENCE);
    let words = refused.unwrap_err().to_string();
    assert!(words.contains("does not lead"), "{words}");
    trial.prove();
}
