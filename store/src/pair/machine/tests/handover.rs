//! A leader that hands over, and the follower that takes over.

use super::*;

#[test]
fn a_handover_drains_promises_and_asks() {
    let mut bench = Bench::leading(&[ME, PEER]);
    bench.give(Input::HandOver);
    assert!(matches!(bench.pair.standing(), Standing::HandingOver { .. }));
    bench.give(Input::Follower(FollowerProgress::Drained));
    assert_eq!(bench.saved().unwrap().promised, 7);
    let asks = Output::Peer(PeerMessage::TakeOver { epoch: 6 });
    let asked = bench.place(|output| *output == asks);
    let held = bench.place(|output| *output == Output::Commit(CommitRule::Held));
    assert!(bench.place(is_save) < asked && held < asked);
    assert!(bench.elapsed(Timer::Beat).has(&asks), "the question may have got lost");
    let mut other = Bench { pair: bench.pair.clone(), outputs: Vec::new() };
    bench.told(configuration(7, PEER, &[ME, PEER]), None);
    assert!(bench.has(&Output::Note(Note::HandedOver)));
    other.elapsed(Timer::HandOver);
    assert_eq!(other.proposed(), Some((6, 7, vec![ME, PEER], false)), "it may be granted already");
    assert_eq!(other.pair.rule(), CommitRule::Held);
    other.granted();
    assert_eq!(other.pair.rule(), CommitRule::Both);
}

#[test]
fn a_handover_that_drains_too_slowly_is_given_up() {
    let mut bench = Bench::leading(&[ME, PEER]);
    bench.give(Input::DiskStalled).elapsed(Timer::HandOver);
    assert!(matches!(bench.pair.standing(), Standing::Leading { .. }));
    bench.give(Input::Follower(FollowerProgress::Drained));
    assert_eq!(bench.outputs, []);
    assert!(Bench::leading(&[ME]).give(Input::HandOver).outputs.is_empty(), "to nobody");
}

#[test]
fn brokers_that_reach_only_the_follower_move_the_lead() {
    let unreachable = || Input::Peer { from: PEER, message: PeerMessage::Unreachable { epoch: 6 } };
    let mut bench = Bench::leading(&[ME, PEER]);
    assert!(bench.give(unreachable()).outputs.is_empty(), "brokers know this node");
    bench.give(Input::Brokers(false)).give(unreachable());
    assert!(matches!(bench.pair.standing(), Standing::HandingOver { .. }));
}

#[test]
fn a_follower_takes_over_with_both_members() {
    let mut bench = Bench::following();
    let take = |epoch| Input::Peer { from: PEER, message: PeerMessage::TakeOver { epoch } };
    assert!(bench.give(take(4)).outputs.is_empty(), "an old question");
    bench.give(take(5));
    assert_eq!(bench.proposed(), Some((5, 6, vec![ME, PEER], true)));
    bench.granted();
    assert!(!bench.has(&Output::Note(Note::Failover)));
    assert_eq!(bench.pair.rule(), CommitRule::Both);
}
