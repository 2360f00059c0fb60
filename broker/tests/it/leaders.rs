use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use broker::dialect::{WorkerInput, WorkerOffer, WorkerOutput, WorkerRequest};

use super::links::*;
use super::process::{ANY, endpoint, program};
use super::support::*;

/// What a member of `orders/0` offers.
fn member(node: u128, leader: bool, epoch: u64) -> WorkerInput {
    let mut offer: WorkerOffer = offer(epoch, 100_000);
    offer.window.bytes = u64::MAX;
    let partition = offer.registration.partition.as_mut().unwrap();
    (partition.leader, partition.incarnation) = (leader, uuid::Uuid::from_u128(node));
    WorkerInput::Offer(offer)
}

/// Turns everything until the condition holds; says how long that took.
fn turn_until(
    stores: &mut [&mut Store],
    askers: &mut [&mut Asker],
    mut done: impl FnMut(&[&mut Store], &[&mut Asker]) -> bool,
) -> Duration {
    let start = Instant::now();
    while !done(stores, askers) {
        assert!(start.elapsed() < PATIENCE, "it does not come about");
        stores.iter_mut().for_each(|store| store.turn());
        askers.iter_mut().for_each(|asker| asker.turn());
    }
    start.elapsed()
}

fn was_asked_to_vote(store: &Store) -> bool {
    store.events.iter().any(|event| matches!(event, WorkerOutput::Vote { .. }))
}

fn numbers(requests: &[WorkerRequest]) -> Vec<u64> {
    requests.iter().map(|request| request.number).collect()
}

/// A leader, a follower and a client, all of them welcomed by a broker that beats seldom, so that
/// it is not its heartbeats that find out who is gone.
fn pair(endpoint: &str) -> (Store, Store, Asker) {
    let (mut leader, mut follower, mut asker) = (store(endpoint), store(endpoint), asker(endpoint));
    leader.input(member(1, true, 3));
    follower.input(member(2, false, 3));
    turn_until(&mut [&mut leader, &mut follower], &mut [&mut asker], |stores, askers| {
        stores.iter().all(|store| store.link.is_up()) && askers[0].link.is_up()
    });
    (leader, follower, asker)
}

#[test]
fn under_load_the_loss_of_a_leader_is_noticed_by_the_next_request() {
    let broker = broker_with(|config| config.routing.heartbeat = Duration::from_millis(500));
    let (mut leader, mut follower, mut asker) = pair(&broker.endpoint);
    for number in 1..=50 {
        asker.input(ask(number, b"x"));
    }
    turn_until(&mut [&mut leader, &mut follower], &mut [&mut asker], |stores, _| {
        requests(stores[0]).len() == 50
    });
    drop(leader);
    let mut number = 50;
    let noticed = turn_until(&mut [&mut follower], &mut [&mut asker], |stores, _| {
        was_asked_to_vote(stores[0])
    });
    // Not even a new request was needed: the leader that holds some is spoken to all the time.
    assert!(noticed < Duration::from_millis(400), "{noticed:?}");
    for _ in 0..10 {
        number += 1;
        asker.input(ask(number, b"x"));
    }
    follower.input(member(2, true, 4));
    turn_until(&mut [&mut follower], &mut [&mut asker], |stores, _| {
        requests(stores[0]).len() == 60
    });
    let again = requests(&follower);
    assert_eq!(numbers(&again), (1..=60).collect::<Vec<_>>(), "in order");
    again.iter().for_each(|request| follower.input(reply(request)));
    turn_until(&mut [&mut follower], &mut [&mut asker], |_, askers| replies(askers[0]).len() == 60);
}

#[test]
fn a_leader_that_takes_nothing_any_more_and_dies_loses_nothing_that_was_meant_for_it() {
    let broker = broker_with(|config| config.routing.heartbeat = Duration::from_millis(500));
    let (mut leader, mut follower, mut asker) = pair(&broker.endpoint);
    // So much that neither libzmq nor the system holds it: it waits in the broker's outbox.
    const REQUESTS: u64 = 600;
    let body = vec![7; 50_000];
    for number in 1..=REQUESTS {
        asker.input(ask(number, &body));
    }
    turn_until(&mut [&mut follower], &mut [&mut asker], |_, askers| askers[0].is_idle());
    drop(leader.socket.take());
    drop(leader);
    let noticed = turn_until(&mut [&mut follower], &mut [&mut asker], |stores, _| {
        was_asked_to_vote(stores[0])
    });
    assert!(noticed < Duration::from_millis(1_000), "{noticed:?}");
    follower.input(member(2, true, 4));
    turn_until(&mut [&mut follower], &mut [&mut asker], |stores, _| {
        requests(stores[0]).len() == REQUESTS as usize
    });
    assert_eq!(numbers(&requests(&follower)), (1..=REQUESTS).collect::<Vec<_>>(), "in order");
}

#[test]
fn a_leader_that_hands_over_answers_nothing_more_and_the_next_one_everything() {
    let broker = broker();
    let (mut old, mut new, mut asker) = pair(&broker.endpoint);
    for number in 1..=20 {
        asker.input(ask(number, b"x"));
    }
    turn_until(&mut [&mut old, &mut new], &mut [&mut asker], |stores, _| {
        requests(stores[0]).len() == 20
    });
    let held = requests(&old);
    held[..5].iter().for_each(|request| old.input(reply(request)));
    old.input(member(1, false, 3));
    held[5..].iter().for_each(|request| old.input(reply(request)));
    new.input(member(2, true, 4));
    turn_until(&mut [&mut old, &mut new], &mut [&mut asker], |stores, askers| {
        requests(stores[1]).len() == 15 && replies(askers[0]).len() == 5
    });
    assert_eq!(numbers(&requests(&new)), (6..=20).collect::<Vec<_>>());
    // Back again, twice: the requests that nobody answers move each time.
    new.input(member(2, false, 4));
    old.input(member(1, true, 5));
    turn_until(&mut [&mut old, &mut new], &mut [&mut asker], |stores, _| {
        requests(stores[0]).len() == 20 + 15
    });
    let again = requests(&old).split_off(20);
    assert_eq!(numbers(&again), (6..=20).collect::<Vec<_>>());
    again.iter().for_each(|request| old.input(reply(request)));
    turn_until(&mut [&mut old, &mut new], &mut [&mut asker], |_, askers| {
        replies(askers[0]).len() == 20
    });
}

#[test]
fn of_two_brokers_one_is_killed_and_no_call_is_lost_beyond_its_retry() {
    let data = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let mut children = [program(data[0].path(), &ANY), program(data[1].path(), &ANY)];
    let endpoints = [endpoint(&mut children[0]), endpoint(&mut children[1])];
    // The store is registered with both; the client has one link for each, and one session.
    let [mut a, mut b] = [store(&endpoints[0]), store(&endpoints[1])];
    a.input(member(1, true, 3));
    b.input(member(1, true, 3));
    let [mut first, mut second] = [asker(&endpoints[0]), asker(&endpoints[1])];
    turn_until(&mut [&mut a, &mut b], &mut [&mut first, &mut second], |stores, askers| {
        stores.iter().all(|store| store.link.is_up())
            && askers.iter().all(|asker| asker.link.is_up())
    });
    for number in 1..=40 {
        first.input(ask(number, b"x"));
    }
    turn_until(&mut [&mut a, &mut b], &mut [&mut first, &mut second], |stores, _| {
        requests(stores[0]).len() == 40
    });
    // Half of them are executed and answered, some executed and the answer does not get out.
    let arrived = requests(&a);
    let executed: BTreeSet<u64> = numbers(&arrived[..30]).into_iter().collect();
    arrived[..20].iter().for_each(|request| a.input(reply(request)));
    turn_until(&mut [&mut a, &mut b], &mut [&mut first, &mut second], |_, askers| {
        replies(askers[0]).len() == 20
    });
    children[0].kill().unwrap();
    children[0].wait().unwrap();
    let answered: BTreeSet<u64> = replies(&first).iter().map(|reply| reply.number).collect();
    for number in (1..=40).filter(|number| !answered.contains(number)) {
        second.input(ask(number, b"x"));
    }
    turn_until(&mut [&mut a, &mut b], &mut [&mut second], |stores, _| {
        requests(stores[1]).len() == 20
    });
    let retried = requests(&b);
    assert_eq!(numbers(&retried), (21..=40).collect::<Vec<_>>(), "in order");
    assert!(executed.iter().filter(|number| **number > 20).count() == 10, "those come twice");
    retried.iter().for_each(|request| b.input(reply(request)));
    turn_until(&mut [&mut a, &mut b], &mut [&mut second], |_, askers| {
        replies(askers[0]).len() == 20
    });
    assert!(replies(&second).iter().all(|reply| reply.code.is_none()));
    children[1].kill().unwrap();
    children[1].wait().unwrap();
}
