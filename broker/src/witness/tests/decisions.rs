//! Which proposals are granted.

use super::*;

fn cosigned(mut request: WitnessRequest) -> WitnessRequest {
    if let Ask::Propose { cosigned, .. } = &mut request.ask {
        *cosigned = true;
    }
    request
}

#[test]
fn every_proposal_is_granted_or_refused_for_its_reason() {
    use WitnessRefusal as Not;
    let both = configuration(5, &[A, B], 8);
    let lonely = configuration(5, &[A], 8);
    let foreign = Configuration { leader: node(A), ..configuration(6, &[B, C], 8) };
    let put_back = |of| Not::PutBack { node: node(of) };
    let short = |mut request: WitnessRequest, count| {
        request.position = position(0, count);
        request
    };
    let table: Vec<(&str, &Configuration, WitnessRequest, Option<Not>)> = vec![
        ("the leader goes on", &both, proposal(1, 5, configuration(6, &[A, B], 9)), None),
        ("the leader shrinks", &both, proposal(1, 5, configuration(6, &[A], 9)), None),
        ("the leader grows", &lonely, proposal(1, 5, configuration(6, &[A, B], 9)), None),
        ("a member takes over", &both, proposal(1, 5, configuration(6, &[B], 9)), None),
        ("a member takes over whole", &both, proposal(1, 5, configuration(6, &[B, A], 9)), None),
        ("an earlier base", &both, proposal(1, 4, configuration(5, &[A], 9)), Some(Not::Lost)),
        ("a later base", &both, proposal(1, 6, configuration(7, &[A], 9)), Some(Not::Lost)),
        ("to begin again", &both, proposal(1, 0, configuration(1, &[A], 9)), Some(Not::Lost)),
        ("an epoch left out", &both, proposal(1, 5, configuration(7, &[A], 9)), Some(Not::Invalid)),
        ("a lower floor", &both, proposal(1, 5, configuration(6, &[A], 7)), Some(Not::Invalid)),
        ("a stranger", &both, proposal(1, 5, configuration(6, &[C], 9)), Some(Not::NotMember)),
        (
            "a former member",
            &lonely,
            proposal(1, 5, configuration(6, &[B], 9)),
            Some(Not::NotMember),
        ),
        (
            "a follower's joiner",
            &both,
            proposal(1, 5, configuration(6, &[B, C], 9)),
            Some(Not::Invalid),
        ),
        (
            "below the floor",
            &both,
            short(proposal(1, 5, configuration(6, &[B], 8)), 7),
            Some(Not::BelowFloor),
        ),
        (
            "below its own floor",
            &both,
            proposal(1, 5, configuration(6, &[B], 11)),
            Some(Not::BelowFloor),
        ),
        (
            "below what is known",
            &both,
            short(proposal(1, 5, configuration(6, &[B], 8)), 9),
            Some(put_back(B)),
        ),
    ];
    for (name, holds, request, refusal) in table {
        let mut desk = Desk::holding(holds.clone());
        desk.ask(request_beat(B, position(5, 10)));
        if refusal != Some(put_back(B)) {
            desk.witness = Desk::holding(holds.clone()).witness;
        }
        let member = request.member;
        let answer = desk.ask(request);
        assert_eq!(answer.refusal, refusal, "{name}");
        assert_eq!(desk.epoch(), if refusal.is_none() { 6 } else { 5 }, "{name}");
        assert_eq!(answer.configuration.as_ref(), desk.witness.record().configuration(), "{name}");
        let saved = desk.saved.as_ref().unwrap();
        assert_eq!(saved.nodes[&member].answered, ProposalNumber(1), "{name}: refusals, too");
    }
    let mut desk = Desk::holding(both);
    let mut outputs = Vec::new();
    let request = WitnessRequest { member: node(A), ..proposal(1, 5, foreign) };
    let input = WitnessInput { request, leader_heard: false, other_process: false };
    desk.witness.handle(input, &mut outputs);
    assert!(outputs.is_empty(), "a leader outside its members is malformed");
}

fn request_beat(of: u128, position: Position) -> WitnessRequest {
    request(of, position, Ask::Beat)
}

#[test]
fn a_leader_that_is_heard_stays_unless_it_agrees() {
    let takes_over = || proposal(1, 5, configuration(6, &[B], 9));
    let mut desk = Desk::holding(configuration(5, &[A, B], 8));
    let heard = |request| WitnessInput { request, leader_heard: true, other_process: false };
    assert_eq!(desk.hear(heard(takes_over())).refusal, Some(WitnessRefusal::LeaderAlive));
    let again = proposal(2, 5, configuration(6, &[B, A], 9));
    assert_eq!(desk.hear(heard(cosigned(again))).refusal, None);
    let own = proposal(1, 6, configuration(7, &[B], 9));
    assert_eq!(desk.hear(heard(own)).refusal, None, "the leader itself is heard, of course");
}

#[test]
fn a_number_is_decided_once() {
    let mut desk = Desk::holding(configuration(5, &[A, B], 8));
    let heard = |request| WitnessInput { request, leader_heard: true, other_process: false };
    let takes_over = proposal(3, 5, configuration(6, &[B], 9));
    assert_eq!(desk.hear(heard(takes_over.clone())).answered, ProposalNumber(3));
    assert_eq!(desk.ask(takes_over).answered, ProposalNumber(3));
    assert_eq!(desk.epoch(), 5, "what was refused is never granted");
    desk.ask(proposal(2, 5, configuration(6, &[B], 9)));
    assert_eq!(desk.epoch(), 5, "nor what was asked earlier");
    desk.ask(proposal(4, 5, configuration(6, &[B], 9)));
    assert_eq!(desk.epoch(), 6);
    let late = desk.ask(proposal(4, 5, configuration(6, &[B], 9)));
    assert_eq!((desk.epoch(), late.configuration.unwrap().epoch), (6, 6));
}

#[test]
fn a_report_cancels_what_was_asked() {
    let mut desk = Desk::holding(configuration(5, &[A], 8));
    desk.ask(report(A, 0, 7, Some(configuration(5, &[A], 8))));
    desk.ask(proposal(7, 5, configuration(6, &[A, B], 8)));
    assert_eq!(desk.epoch(), 5);
    assert_eq!(desk.saved.unwrap().nodes[&node(A)].answered, ProposalNumber(7));
}

#[test]
fn a_pair_begins_once_and_alone() {
    let mut desk = Desk::blank();
    let both = desk.ask(proposal(1, 0, configuration(4, &[A, B], 0)));
    assert_eq!(both.refusal, Some(WitnessRefusal::Invalid));
    let early = desk.ask(proposal(2, 3, configuration(4, &[A], 0)));
    assert_eq!(early.refusal, Some(WitnessRefusal::Empty));
    assert_eq!((desk.epoch(), desk.saved.is_none()), (0, true));
    desk.ask(proposal(3, 0, configuration(4, &[A], 0)));
    assert_eq!(desk.epoch(), 4);
    let second = desk.ask(proposal(1, 0, configuration(4, &[B], 0)));
    assert_eq!(second.refusal, Some(WitnessRefusal::Lost));
}

#[test]
fn a_directory_that_was_put_back_is_told_and_never_leads_or_joins() {
    let mut desk = Desk::holding(configuration(5, &[A, B], 8));
    desk.ask(request_beat(B, position(5, 12)));
    let reports = desk.ask(report(B, 0, 1, Some(configuration(5, &[A, B], 8))));
    let put_back = Some(WitnessRefusal::PutBack { node: node(B) });
    assert_eq!(reports.refusal, put_back, "it reported 10 after 12");
    desk.ask(proposal(1, 5, configuration(6, &[A], 8)));
    assert_eq!(desk.ask(proposal(2, 6, configuration(7, &[A, B], 8))).refusal, put_back);
    desk.ask(request_beat(B, position(6, 4)));
    assert_eq!(desk.ask(proposal(3, 6, configuration(7, &[A, B], 8))).refusal, None);

    let mut desk = Desk::holding(configuration(5, &[A, B], 11));
    let below = desk.ask(report(B, 0, 1, Some(configuration(5, &[A, B], 11))));
    assert_eq!(below.refusal, put_back, "a member holds at least the floor");
}

/// A late copy of what a process once reported is older than what it said since.
#[test]
fn a_late_report_of_a_process_that_is_known_puts_nobody_back() {
    let holds = configuration(5, &[A, B], 8);
    let mut desk = Desk::holding(holds.clone());
    assert_eq!(desk.ask(report(B, 0, 1, Some(holds.clone()))).refusal, None);
    desk.ask(request_beat(B, position(5, 12)));
    let copy = desk.ask(report(B, 0, 1, Some(holds.clone())));
    assert_eq!(copy.refusal, None, "it reported 10 before it was at 12");

    // So is a report that comes late for the first time: the floor has risen meanwhile.
    desk.ask(proposal(
        1,
        5,
        Configuration { floor: sequences(10), ..configuration(6, &[A, B], 8) },
    ));
    assert_eq!(desk.epoch(), 6);
    let mut late = report(B, 0, 2, Some(holds.clone()));
    late.position = position(1, 9);
    assert_eq!(desk.ask(late).refusal, None);
    let record = desk.saved.clone();
    desk.witness = Witness::new(lineage(), witness_id(1), record);
    assert_eq!(desk.ask(report(B, 0, 2, Some(holds.clone()))).refusal, None, "nor after a restart");

    let mut other = report(B, 0, 2, Some(holds));
    other.process = ProcessId(Uuid::from_u128(99));
    let put_back = Some(WitnessRefusal::PutBack { node: node(B) });
    assert_eq!(desk.ask(other.clone()).refusal, put_back, "another process: a restored directory");
    desk.ask(request_beat(B, position(6, 12)));
    assert_eq!(desk.ask(other).refusal, put_back, "a beat of its former process is older");
}

#[test]
fn a_second_process_changes_nothing() {
    let mut desk = Desk::holding(configuration(5, &[A, B], 8));
    let before = desk.witness.clone();
    let request = proposal(1, 5, configuration(6, &[A], 9));
    let answer = desk.hear(WitnessInput { request, leader_heard: true, other_process: true });
    assert_eq!(answer.refusal, Some(WitnessRefusal::SecondProcess));
    assert_eq!(desk.witness, before);
}

#[test]
fn numbers_at_the_end_of_their_range_do_no_harm() {
    let mut desk = Desk::holding(configuration(u64::MAX, &[A, B], u64::MAX));
    let next = configuration(u64::MAX, &[A], u64::MAX);
    let answer = desk.ask(proposal(u64::MAX, u64::MAX, next));
    assert_eq!(answer.refusal, Some(WitnessRefusal::Invalid));
}
