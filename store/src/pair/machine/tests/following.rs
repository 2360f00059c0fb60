//! A follower that hears its leader, suspects it, stands for its place, and what becomes of that.

use super::*;

#[test]
fn a_follower_stands_when_its_leader_is_silent_and_somebody_waits() {
    let mut bench = Bench::following();
    bench.give(Input::Vote);
    let unreachable = Output::Peer(PeerMessage::Unreachable { epoch: 5 });
    assert!(bench.has(&unreachable), "the leader is heard");
    bench.beat(Some(configuration(5, PEER, &[ME, PEER])), true);
    assert!(bench.has(&Output::Arm(Timer::Suspect)) && bench.has(&Output::Arm(Timer::Abandon)));
    bench.elapsed(Timer::Suspect);
    assert_eq!(bench.proposed(), None, "silence alone starts nothing yet");
    bench.give(Input::Vote);
    assert_eq!(bench.proposed(), Some((5, 6, vec![ME], false)));
    let record = bench.saved().unwrap();
    assert_eq!((record.promised, record.number), (6, ProposalNumber(2)));
    let holds = bench.place(|output| *output == Output::Commit(CommitRule::Held));
    assert!(bench.place(is_save) < bench.place(is_question) && holds < bench.place(is_question));
    assert_eq!(bench.pair.follows(), None);

    let mut bench = Bench::following();
    bench.give(Input::Vote).elapsed(Timer::Suspect);
    assert!(bench.proposed().is_some(), "the vote came first");
    let mut bench = Bench::following();
    bench.elapsed(Timer::Suspect).elapsed(Timer::Abandon);
    assert!(bench.proposed().is_some(), "three times S, and nobody voted");
}

#[test]
fn only_a_leader_that_leads_is_heard() {
    let mut bench = Bench::following();
    for (epoch, leads) in [(5, false), (4, true)] {
        bench.beat(Some(configuration(epoch, PEER, &[ME, PEER])), leads);
        assert!(!bench.has(&Output::Arm(Timer::Suspect)), "{epoch} {leads}");
    }
}

#[test]
fn a_node_that_is_no_member_never_stands() {
    let alone = configuration(5, PEER, &[PEER]);
    let mut bench = Bench::new(setup(), Some(alone.clone()));
    bench.told(alone.clone(), None).elapsed(Timer::Suspect).give(Input::Vote);
    assert_eq!(bench.proposed(), None);
    assert_eq!(bench.pair.standing(), &Standing::Stalled(Stall::NotMember));
    bench.beat(Some(alone), true);
    assert!(matches!(bench.pair.standing(), Standing::Following { .. }));
}

#[test]
fn a_candidate_stays_bound_until_its_newest_number_is_decided() {
    let mut bench = Bench::following();
    bench.elapsed(Timer::Abandon);
    bench.elapsed(Timer::Ask);
    assert!(bench.proposed().is_some() && bench.saved().is_none(), "the same number again");
    let mut early = bench.answer(WITNESS, bench.pair.configuration().cloned(), None);
    early.answered = ProposalNumber(1);
    bench.give(Input::Witness(early));
    bench.beat(Some(configuration(5, PEER, &[ME, PEER])), true);
    assert_eq!(
        (bench.pair.standing(), bench.pair.rule()),
        (&Standing::Candidate, CommitRule::Held)
    );
    bench.refused(WitnessRefusal::LeaderAlive);
    assert!(bench.has(&Output::Note(Note::LeaderKept)));
    assert_eq!(bench.saved().unwrap().promised, 5);
    assert_eq!((bench.pair.follows(), bench.pair.rule()), (Some((PEER, 5)), CommitRule::Told));
}

#[test]
fn a_candidate_leads_or_follows_the_winner() {
    let mut bench = Bench::following();
    bench.elapsed(Timer::Abandon).granted();
    assert!(bench.has(&Output::Note(Note::Failover)));
    assert_eq!((bench.pair.epoch(), bench.pair.rule()), (6, CommitRule::Alone));

    let mut bench = Bench::following();
    bench.elapsed(Timer::Abandon).told(configuration(6, PEER, &[PEER]), None);
    assert!(bench.has(&Output::Note(Note::LostRace)));
    assert_eq!(bench.pair.follows(), Some((PEER, 6)));
}
