//! The life of a pair whose nodes are stopped and started.

use std::time::Duration;

use store::Durability;
use store::wire::replay::{ReplayAnswer, ReplayRequest, RequestNumber};

use super::Which::{Backup, Primary};
use super::{TestPair, Which, wait};
use crate::server::bench::{Subscriber, read_all};

#[test]
fn a_new_pair_acknowledges_with_both_nodes() {
    let pair = TestPair::start();
    assert_eq!(pair.leader(), Primary);
    let mut client = pair.around.client();
    for (done, copies) in client.append(1..20) {
        assert_eq!((copies, done.duplicate), (2, false));
    }
    let status = pair.status(Primary);
    assert_eq!((status.copies, status.degraded.as_slice()), (2, [].as_slice()), "{status:?}");
    pair.assert_same();
}

#[test]
fn the_follower_takes_over_and_the_former_leader_comes_back() {
    let mut pair = TestPair::start();
    let mut client = pair.around.client();
    client.append(1..10);
    let mut next = 10;
    for leader in [Primary, Backup] {
        assert_eq!(pair.leader(), leader);
        pair.stop(leader);
        // What is sent into the gap is answered by the new leader.
        client.send(next..next + 20);
        for _ in 0..20 {
            assert_eq!(client.done().1, 1, "one node is left");
        }
        assert_eq!(pair.leader(), leader.other());
        assert!(!pair.status(leader.other()).degraded.is_empty());
        pair.up(leader);
        assert_eq!(pair.wait_whole(), leader.other());
        assert_eq!(client.append(next + 20..next + 21)[0].1, 2);
        pair.assert_same();
        next += 21;
    }
}

#[test]
fn a_follower_that_leaves_costs_a_moment_and_comes_back() {
    let mut pair = TestPair::start();
    let mut client = pair.around.client();
    client.append(1..10);
    pair.stop(Backup);
    for (_, copies) in client.append(10..20) {
        assert_eq!(copies, 1);
    }
    pair.up(Backup);
    pair.wait_whole();
    assert_eq!(client.append(20..21)[0].1, 2);
    pair.assert_same();
}

#[test]
fn a_wiped_follower_is_filled_while_appends_go_on() {
    let mut pair = TestPair::start();
    let mut client = pair.around.client();
    // As many as a socket takes at a time.
    for first in (0..2000).step_by(500) {
        client.send(first..first + 500);
        (0..500).for_each(|_| drop(client.done()));
    }
    let before = pair.status(Backup).peer.incarnation;
    pair.stop(Backup);
    pair.wipe(Backup);
    client.append(2000..2002);
    pair.up(Backup);
    let mut next = 2002;
    while pair.status(Primary).members.len() < 2 {
        client.append(next..next + 1);
        next += 1;
    }
    pair.wait_whole();
    assert_eq!(client.append(next..next + 1)[0].1, 2);
    assert_eq!(pair.status(Backup).peer.incarnation, before, "the leader is who it was");
    pair.assert_same();
}

#[test]
fn a_pair_that_stood_still_goes_on() {
    let mut pair = TestPair::start();
    let mut client = pair.around.client();
    client.append(1..5);
    for first in [Primary, Backup] {
        pair.stop(Primary);
        pair.stop(Backup);
        pair.up(first);
        pair.up(first.other());
        pair.wait_whole();
        pair.assert_same();
    }
    let (done, copies) = client.append(5..6).remove(0);
    assert_eq!((copies, done.duplicate), (2, false));
}

fn hand_over(pair: &TestPair, leader: Which) -> ReplayAnswer {
    let replay = pair.replay(leader);
    replay.send(&ReplayRequest::HandOver { request: RequestNumber(3) });
    replay.answer()
}

#[test]
fn other_levels_of_durability_make_whole_pairs() {
    for level in [Durability::Memory, Durability::Local] {
        let mut pair = TestPair::start_at(level);
        let mut client = pair.around.client();
        client.append(1..20);
        pair.stop(Backup);
        client.append(20..40);
        pair.up(Backup);
        pair.wait_whole();
        client.append(40..50);
        pair.assert_same();
    }
}

#[test]
fn a_handover_while_all_is_quiet_costs_one_epoch_and_no_copy() {
    let pair = TestPair::start();
    let mut epoch = pair.status(Primary).epoch;
    for leader in [Primary, Backup, Primary] {
        let done = hand_over(&pair, leader);
        assert_eq!(done, ReplayAnswer::Done { request: RequestNumber(3) });
        epoch += 1;
        let next = leader.other();
        wait("the new leader has its follower", || {
            let status = pair.status(next);
            (status.copies, status.lag_events) == (2, Some(0))
        });
        // Longer than a follower is waited for.
        std::thread::sleep(Duration::from_millis(500));
        let status = pair.status(next);
        assert_eq!((status.epoch, status.members.len()), (epoch, 2), "{status:?}");
    }
}

#[test]
fn the_lead_is_handed_over_and_back() {
    let pair = TestPair::start();
    let mut client = pair.around.client();
    client.append(1..5);
    let mut next = 5;
    for leader in [Primary, Backup] {
        client.send(next..next + 50);
        let done = hand_over(&pair, leader);
        assert_eq!(done, ReplayAnswer::Done { request: RequestNumber(3) });
        for _ in 0..50 {
            assert_eq!(client.done().1, 2, "no copy is lost");
        }
        assert_eq!(pair.wait_whole(), leader.other());
        next += 50;
    }
    pair.assert_same();
    assert!(matches!(hand_over(&pair, Backup), ReplayAnswer::Fail { .. }), "it does not lead");
}

/// No message of a feed, and no block of a replay, has a record of a later epoch than it says.
#[test]
fn records_never_come_before_their_epoch() {
    let mut pair = TestPair::start();
    let mut client = pair.around.client();
    let subscriber = Subscriber::connect(pair.node(Primary).unwrap().feed());
    subscriber.subscribe("orders", 0);
    let mut next = 1;
    for leaves in [true, false, true, false] {
        if leaves {
            pair.stop(Backup);
        } else {
            pair.up(Backup);
        }
        let members = if leaves { 1 } else { 2 };
        while pair.status(Primary).members.len() != members {
            client.send(next..next + 20);
            (0..20).for_each(|_| drop(client.done()));
            next += 20;
            let replay = pair.replay(Primary);
            replay.send(&ReplayRequest::Read(read_all()));
            while let ReplayAnswer::Block(block) = replay.answer() {
                assert!(newest_epoch(&block.records) <= block.epoch.0);
                if block.end {
                    break;
                }
            }
        }
    }
    let last_epoch = pair.status(Primary).epoch;
    assert!(last_epoch >= 6, "each change is an epoch: {last_epoch}");
    loop {
        let (_, header, records) = subscriber.message();
        assert!(newest_epoch(&records) <= header.epoch.0, "{header:?}");
        if header.epoch.0 == last_epoch {
            break;
        }
    }
}

fn newest_epoch(records: &bytes::Bytes) -> u64 {
    let epochs = store::record::iterate(records).map(|event| event.unwrap().epoch.0);
    epochs.max().unwrap_or(0)
}

#[test]
fn what_the_pair_was_stands_in_its_logs() {
    let mut pair = TestPair::start();
    let mut client = pair.around.client();
    client.append(1..3);
    pair.stop(Primary);
    client.append(3..5);
    let replay = pair.replay(Backup);
    let records = bytes::Bytes::from(super::records(&replay));
    let events = store::record::iterate(&records).collect::<Result<Vec<_>, _>>().unwrap();
    let topology: Vec<_> =
        events.iter().filter(|event| event.stream.as_str() == "$topology").collect();
    let epochs: Vec<_> = topology.iter().map(|event| event.version.0).collect();
    // Alone, then both, then the other one alone.
    assert_eq!(epochs, [1, 2, 3], "{topology:?}");
    let members = |at: usize| {
        let text = std::str::from_utf8(&topology[at].data).unwrap();
        text.split_once("members").unwrap().1.matches('-').count() / 4
    };
    assert_eq!([members(0), members(1), members(2)], [1, 2, 1]);
    wait("the epoch of the records rises", || events.last().unwrap().epoch.0 >= 3);
}
