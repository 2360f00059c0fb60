use std::collections::BTreeSet;
use std::sync::mpsc;

use rustix::process::Signal;

use crate::mdp::{Answer, Frames, Mdp, MdpClient, MdpWorker, body};
use crate::process::{PATIENCE, Process};
use crate::world::{World, wait_until};

/// A second process, which serves too.
fn second(world: &World) -> Process {
    let second = world.launch_titanic("second");
    second.wait_for("starlog-titanic serving");
    second
}

fn hand_in(client: &MdpClient, count: usize) -> Vec<String> {
    for number in 0..count {
        client.send_request("echo", body(&[number.to_string()]));
    }
    (0..count).map(|_| client.accepted()).collect()
}

fn replies(client: &MdpClient, ids: &[String]) -> BTreeSet<Frames> {
    ids.iter().map(|id| client.collect(id)).collect()
}

fn numbers(count: usize) -> BTreeSet<Frames> {
    (0..count).map(|number| body(&[number.to_string()])).collect()
}

#[test]
fn what_one_accepts_every_one_knows() {
    let mut world = World::start();
    let second = second(&world);
    let client = world.mdp();
    // The broker spreads requests over both, and asks either of them for replies.
    let ids = hand_in(&client, 100);
    let worker = MdpWorker::echo(&world.endpoint, Mdp::V1, "echo");
    assert_eq!(replies(&client, &ids), numbers(100));
    assert_eq!(worker.requests.try_iter().count(), 100, "both dispatch, and nothing twice");
    for id in &ids {
        assert_eq!(client.close(id), body(&["200"]));
    }
    for id in &ids {
        // The broker asks them in turn. The one that did not close it hears of it a moment later.
        for _ in 0..2 {
            wait_until("both know that it is closed", || client.reply(id) == body(&["400 closed"]));
        }
    }
    assert_eq!(second.terminate().0, Some(0));
    assert_eq!(world.titanic.take().unwrap().terminate().0, Some(0));
}

#[test]
fn the_one_that_is_left_takes_over_from_a_killed_one() {
    let mut world = World::start();
    let _second = second(&world);
    let client = world.mdp();
    let ids = hand_in(&client, 64);
    world.kill_titanic();
    let worker = MdpWorker::echo(&world.endpoint, Mdp::V1, "echo");
    assert_eq!(replies(&client, &ids), numbers(64));
    assert_eq!(worker.requests.try_iter().count(), 64);
}

#[test]
fn one_that_leaves_hands_over_at_once() {
    // Nobody waits for a lease that runs for as long as this.
    let mut world = World::with(&["--claim-lease", "10m"]);
    let _second = second(&world);
    let client = world.mdp();
    let ids = hand_in(&client, 64);
    assert_eq!(world.titanic.take().unwrap().terminate().0, Some(0));
    let worker = MdpWorker::echo(&world.endpoint, Mdp::V1, "echo");
    assert_eq!(replies(&client, &ids), numbers(64));
    assert_eq!(worker.requests.try_iter().count(), 64);
}

#[test]
fn one_that_stood_still_doubles_no_reply() {
    let world = World::start();
    let (release, held) = mpsc::channel::<()>();
    let worker = MdpWorker::start(&world.endpoint, (Mdp::V1, "echo"), move |request| {
        let _ = held.recv_timeout(PATIENCE);
        Answer::Reply(request.clone())
    });
    let client = world.mdp();
    let ids = hand_in(&client, 64);
    // The first process has all shards, and this request is one of its.
    worker.next();
    let first = world.titanic.as_ref().unwrap();
    first.signal(Signal::STOP);
    let second = second(&world);
    for _ in 0..1_000 {
        // An error says that nobody holds a request any more, and all is well.
        let _ = release.send(());
    }
    let taken = replies(&client, &ids);
    assert_eq!(taken, numbers(64));
    first.signal(Signal::CONT);
    // What is fetched from now on, from either of them, is what was fetched before.
    let again: Vec<Frames> = ids.iter().map(|id| client.collect(id)).collect();
    second.signal(Signal::STOP);
    let alone: Vec<Frames> = ids.iter().map(|id| world.mdp().collect(id)).collect();
    assert_eq!(again, alone);
    second.signal(Signal::CONT);
    assert_eq!(again.into_iter().collect::<BTreeSet<_>>(), taken);
}
