//! How a leader takes its peer in, and what it does when that one goes away meanwhile.

use super::*;

#[test]
fn a_leader_takes_a_node_in() {
    let near = || Input::Follower(FollowerProgress::Near);
    let caught_up = || Input::Follower(FollowerProgress::CaughtUp);
    let mut bench = Bench::leading(&[ME]);
    bench.is_heard().give(near());
    assert_eq!(bench.pair.rule(), CommitRule::Alone, "not before the timer ran out");
    bench.elapsed(Timer::Grow { attempt: 0 }).give(near());
    assert_eq!(bench.pair.rule(), CommitRule::Both);
    bench.give(caught_up());
    assert_eq!(bench.saved().unwrap().peer, Some(PEER), "a name for a witness without a record");
    assert_eq!(bench.proposed(), Some((6, 7, vec![ME, PEER], false)));
    bench.elapsed(Timer::Silence);
    assert_eq!((bench.pair.rule(), bench.pair.asks()), (CommitRule::Both, true), "it is bound");
    bench.refused(WitnessRefusal::PutBack { node: PEER });
    assert_eq!((bench.pair.rule(), bench.saved().unwrap().peer), (CommitRule::Alone, None));
    assert!(bench.has(&Output::Arm(Timer::Grow { attempt: 1 })));
    bench.is_heard().elapsed(Timer::Grow { attempt: 1 });
    bench.give(near()).give(caught_up()).granted();
    assert!(bench.has(&Output::Note(Note::Rejoined)) && bench.has(&Output::Arm(Timer::Settled)));
    assert_eq!(bench.pair.rule(), CommitRule::Both);
}

#[test]
fn a_joiner_that_goes_away_is_given_up() {
    let stranger = Incarnation(Uuid::from_u128(3));
    for gone in [
        Input::Elapsed(Timer::Silence),
        Input::Elapsed(Timer::Patience),
        Input::PeerUp { peer: stranger },
    ] {
        let mut bench = Bench::leading(&[ME]);
        bench.is_heard().elapsed(Timer::Grow { attempt: 0 });
        bench.give(Input::Follower(FollowerProgress::Near));
        assert_eq!(bench.pair.rule(), CommitRule::Both);
        bench.give(gone);
        assert_eq!(bench.pair.rule(), CommitRule::Alone);
    }
}

/// What was asked of the witness may be granted, whatever becomes of the joiner.
#[test]
fn a_joiner_that_goes_away_once_it_was_asked_for_is_waited_for_until_that_is_decided() {
    let stranger = Incarnation(Uuid::from_u128(3));
    let mut bench = Bench::leading(&[ME]);
    bench.is_heard().elapsed(Timer::Grow { attempt: 0 });
    bench.give(Input::Follower(FollowerProgress::Near));
    bench.give(Input::Follower(FollowerProgress::CaughtUp));
    for gone in [
        Input::Elapsed(Timer::Silence),
        Input::Elapsed(Timer::Patience),
        Input::PeerUp { peer: stranger },
    ] {
        bench.give(gone);
        assert_eq!((bench.pair.rule(), bench.pair.asks()), (CommitRule::Both, true));
    }
    bench.elapsed(Timer::Ask);
    assert_eq!(bench.proposed(), Some((6, 7, vec![ME, PEER], false)), "the same question again");
    assert!(bench.has(&Output::Arm(Timer::Ask)) && bench.saved().is_none());
    let mut other = Bench { pair: bench.pair.clone(), outputs: Vec::new() };
    bench.refused(WitnessRefusal::PutBack { node: PEER });
    assert_eq!((bench.pair.rule(), bench.pair.asks()), (CommitRule::Alone, false));
    other.granted();
    assert_eq!(
        (other.pair.rule(), other.has(&Output::Arm(Timer::Silence))),
        (CommitRule::Both, true)
    );
    other.elapsed(Timer::Silence).granted();
    assert_eq!((other.pair.epoch(), other.pair.rule()), (8, CommitRule::Alone));
}

#[test]
fn a_peer_that_is_not_heard_is_not_taken_in() {
    let near = || Input::Follower(FollowerProgress::Near);
    let mut bench = Bench::leading(&[ME]);
    bench.elapsed(Timer::Grow { attempt: 0 }).give(near());
    assert_eq!(bench.pair.rule(), CommitRule::Alone);
    bench.is_heard();
    assert!(bench.has(&Output::Arm(Timer::Silence)));
    bench.elapsed(Timer::Silence).give(near());
    assert_eq!(bench.pair.rule(), CommitRule::Alone);
    bench.is_heard().give(near());
    assert_eq!(bench.pair.rule(), CommitRule::Both);
}

/// It may beat, and yet acknowledge nothing.
#[test]
fn a_joiner_that_owes_is_waited_for_no_longer_than_a_member() {
    let mut bench = Bench::leading(&[ME]);
    bench.give(Input::Follower(FollowerProgress::Owes)).elapsed(Timer::Patience);
    bench.is_heard().elapsed(Timer::Grow { attempt: 0 });
    bench.give(Input::Follower(FollowerProgress::Near));
    assert!(bench.has(&Output::Arm(Timer::Patience)), "it has owed since before it was asked");
    bench.is_heard().elapsed(Timer::Patience);
    assert_eq!(bench.pair.rule(), CommitRule::Alone);
}

#[test]
fn two_copies_are_asked_for() {
    let mut bench = Bench::leading_as(PairSetup { copies_min: 2, ..setup() }, &[ME]);
    assert_eq!(bench.pair.rule(), CommitRule::Held);
    bench.is_heard().elapsed(Timer::Grow { attempt: 0 });
    bench.give(Input::Follower(FollowerProgress::Near));
    assert_eq!(bench.pair.rule(), CommitRule::Both);

    let mut bench = Bench::following();
    bench.pair.setup.copies_min = 2;
    bench.elapsed(Timer::Abandon).granted();
    let alone = bench.place(|output| *output == Output::Commit(CommitRule::Alone));
    let held = bench.outputs.iter().rposition(|it| *it == Output::Commit(CommitRule::Held));
    assert!(Some(alone) < held, "what is there may have been acknowledged");
}
