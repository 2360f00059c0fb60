//! What a witness forgets, and how it comes to know again.

use super::*;

fn beat(of: u128) -> WitnessRequest {
    request(of, Position::default(), Ask::Beat)
}

fn naming(peer: u128, mut request: WitnessRequest) -> WitnessRequest {
    if let Ask::Report { peer: named, .. } = &mut request.ask {
        *named = Some(node(peer));
    }
    request
}

#[test]
fn a_witness_that_comes_back_with_its_record_decides_alike() {
    let mut desk = Desk::holding(configuration(5, &[A, B], 8));
    desk.ask(proposal(3, 5, configuration(6, &[B], 9)));
    let record = desk.saved.clone();
    desk.witness = Witness::new(lineage(), witness_id(1), record);
    assert_eq!(desk.ask(beat(A)).witness, witness_id(0), "its name is in the record");
    desk.ask(proposal(1, 5, configuration(6, &[A], 9)));
    assert_eq!(desk.witness.record().configuration(), Some(&configuration(6, &[B], 9)));
}

#[test]
fn without_a_record_it_waits_for_every_member_of_the_highest() {
    let mut desk = Desk::blank();
    assert_eq!(desk.ask(beat(A)).refusal, Some(WitnessRefusal::Empty));
    let lost = desk.ask(report(A, 0, 4, Some(configuration(5, &[A, B], 8))));
    assert_eq!(lost.refusal, Some(WitnessRefusal::Missing { node: node(B) }));
    assert_eq!(lost.answered, ProposalNumber(4), "the report was read");
    let decided = desk.ask(proposal(5, 5, configuration(6, &[A], 8)));
    assert_eq!(decided.refusal, Some(WitnessRefusal::Missing { node: node(B) }));
    let begun = desk.ask(proposal(6, 0, configuration(1, &[A], 8)));
    assert_eq!(begun.configuration, None, "the pair has begun long ago");
    let new = desk.ask(report(B, 0, 2, None));
    assert_eq!(new.configuration, None, "a report without a configuration does not count");
    let known = desk.ask(report(B, 0, 3, Some(configuration(6, &[B], 9))));
    assert_eq!(known.configuration, Some(configuration(6, &[B], 9)));
    assert_eq!(desk.saved.unwrap().nodes[&node(A)].answered, ProposalNumber(6));
}

#[test]
fn a_node_that_was_asked_to_join_may_know_more() {
    let mut desk = Desk::blank();
    let lonely = Some(configuration(5, &[A], 8));
    let alone = desk.ask(naming(B, report(A, 0, 1, lonely.clone())));
    assert_eq!(alone.refusal, Some(WitnessRefusal::Missing { node: node(B) }));
    desk.ask(report(B, 0, 1, Some(configuration(7, &[B], 9))));
    assert_eq!(desk.epoch(), 7);

    let mut desk = Desk::blank();
    desk.ask(report(A, 0, 1, lonely));
    assert_eq!(desk.epoch(), 5, "whoever names nobody knows all that there is");
}

/// A report that was made before the record was lost may be older than what came after it.
#[test]
fn an_old_report_for_a_former_witness_is_passed_over() {
    let mut desk = Desk::blank();
    let old = desk.ask(report(A, 7, 4, Some(configuration(5, &[A, B], 8))));
    assert_eq!(old.refusal, Some(WitnessRefusal::Missing { node: node(A) }));
    assert_eq!(old.answered, ProposalNumber(0));
    assert!(desk.witness.is_blank());
}

/// A leads alone in epoch 6, which B does not know of. A witness without a record must not take an
/// early report of A, of epoch 5, for all that A knows.
#[test]
fn an_old_report_does_not_bring_an_old_configuration_back() {
    let mut desk = Desk::blank();
    let both = Some(configuration(5, &[A, B], 8));
    desk.ask(report(B, 0, 1, both.clone()));
    desk.ask(report(A, 7, 4, both.clone()));
    assert_eq!(desk.epoch(), 0, "A has told this witness nothing");
    desk.ask(report(A, 0, 5, Some(configuration(6, &[A], 9))));
    assert_eq!(desk.epoch(), 6);

    let mut desk = Desk::blank();
    desk.ask(naming(C, report(A, 0, 5, Some(configuration(6, &[A], 9)))));
    desk.ask(report(A, 0, 4, both.clone()));
    desk.ask(report(B, 0, 1, both));
    assert_eq!(desk.epoch(), 0, "what a node told last counts, whatever comes late");
}

#[test]
fn proposals_for_a_former_witness_are_passed_over() {
    let mut desk = Desk::holding(configuration(5, &[A, B], 8));
    let mut request = proposal(1, 5, configuration(6, &[A], 9));
    if let Ask::Propose { witness, .. } = &mut request.ask {
        *witness = witness_id(7);
    }
    let answer = desk.ask(request);
    assert_eq!(answer.refusal, Some(WitnessRefusal::Missing { node: node(A) }));
    assert_eq!((desk.epoch(), answer.answered), (5, ProposalNumber(0)));
}

#[test]
fn a_record_that_was_put_back_is_forgotten_once_somebody_knows_more() {
    let mut desk = Desk::holding(configuration(5, &[A, B], 8));
    let told = desk.ask(report(A, 0, 9, Some(configuration(7, &[A], 9))));
    assert_eq!(told.configuration, None);
    assert_ne!(told.witness, witness_id(0), "whoever was answered by the old one reports again");
    assert!(desk.saved.as_ref().unwrap().history.is_empty());
    let mut again = report(A, 0, 10, Some(configuration(7, &[A], 9)));
    if let Ask::Report { witness, .. } = &mut again.ask {
        *witness = Some(told.witness);
    }
    desk.ask(again);
    assert_eq!(desk.epoch(), 7);
}

#[test]
fn two_configurations_of_one_epoch_are_left_to_people() {
    let mut desk = Desk::blank();
    desk.ask(report(A, 0, 1, Some(configuration(5, &[A, B], 8))));
    let other = desk.ask(report(B, 0, 1, Some(configuration(5, &[B, A], 8))));
    assert_eq!((other.refusal, desk.epoch()), (Some(WitnessRefusal::Invalid), 0));
}

#[test]
fn history_and_nodes_are_bounded() {
    let mut desk = Desk::holding(configuration(5, &[A, B], 8));
    for stranger in 0..1000 {
        desk.ask(report(1000 + stranger, 0, 1, None));
        desk.ask(request(1000 + stranger, position(9, 9), Ask::Beat));
    }
    assert_eq!(desk.witness.record().nodes.len(), record::NODES_MAX);
    let strangers = desk.witness.record().nodes.iter();
    assert!(strangers.filter(|(of, _)| **of > node(C)).all(|(_, it)| it.known.aligned == 0));
    for epoch in 5..40 {
        desk.ask(proposal(epoch, epoch, configuration(epoch + 1, &[A, B], 8)));
    }
    let new = desk.ask(report(77, 0, 1, None));
    assert_eq!(new.answered, ProposalNumber(1), "a new node finds room");
    let answer = desk.ask(report(A, 0, 99, Some(configuration(40, &[A, B], 8))));
    let epochs: Vec<u64> = answer.history.iter().map(|held| held.epoch).collect();
    assert_eq!(epochs, (25..=40).collect::<Vec<u64>>());
    assert!(desk.ask(beat(A)).history.is_empty());
    desk.ask(proposal(100, 40, configuration(41, &[A, C], 8)));
    assert_eq!(desk.epoch(), 41, "a joiner finds room");
    assert!(desk.witness.record().nodes.contains_key(&node(C)));
}

#[test]
fn reports_without_a_record_are_bounded() {
    let mut desk = Desk::blank();
    for stranger in 1000..2000 {
        desk.ask(report(stranger, 0, 1, Some(configuration(5, &[stranger, 1], 8))));
    }
    assert!(desk.witness.record().nodes.len() <= record::NODES_MAX);
    assert_eq!(desk.epoch(), 0);
}

/// Its numbers are answered already if its directory was put back, so only the witness can tell it
/// that the report it made beside its former self was not taken.
#[test]
fn a_process_that_has_not_reported_is_told_so_by_its_first_beat() {
    let mut desk = Desk::holding(configuration(5, &[A, B], 8));
    let unread = report(B, 0, 3, Some(configuration(5, &[A, B], 8)));
    let beside = WitnessInput { request: unread.clone(), leader_heard: true, other_process: true };
    assert_eq!(desk.hear(beside).refusal, Some(WitnessRefusal::SecondProcess));
    let must_report = Some(WitnessRefusal::Missing { node: node(B) });
    assert_eq!(desk.ask(beat(B)).refusal, must_report);
    assert_eq!(desk.ask(unread).refusal, None);
    assert_eq!(desk.ask(beat(B)).refusal, None);
}
