use std::collections::BTreeSet;
use std::sync::mpsc;

use client::command::wire::{CommandState, List, Purge, Selection};
use rustix::process::Signal;

use crate::mdp::{Answer, Frames, Mdp, MdpClient, MdpWorker, body};
use crate::process::PATIENCE;
use crate::world::{World, wait_until};

/// Hands in commands with the numbers as bodies; the ids.
fn hand_in(client: &MdpClient, service: &str, numbers: std::ops::Range<usize>) -> Vec<String> {
    for number in numbers.clone() {
        client.send_request(service, body(&[number.to_string()]));
    }
    numbers.map(|_| client.accepted()).collect()
}

/// The replies to these commands, in the order of the numbers in them.
fn collect(client: &MdpClient, ids: &[String]) -> BTreeSet<Frames> {
    ids.iter().map(|id| client.collect(id)).collect()
}

fn numbers(numbers: std::ops::Range<usize>) -> BTreeSet<Frames> {
    numbers.map(|number| body(&[number.to_string()])).collect()
}

/// A worker that holds every request until it is told what to reply.
fn held_worker(world: &World, service: &str) -> (MdpWorker, mpsc::Sender<Frames>) {
    let (release, held) = mpsc::channel();
    let worker = MdpWorker::start(&world.endpoint, (Mdp::V1, service), move |_| {
        held.recv_timeout(PATIENCE).map_or(Answer::Die, Answer::Reply)
    });
    (worker, release)
}

#[test]
fn killed_between_accept_and_dispatch() {
    let mut world = World::start();
    let client = world.mdp();
    let ids = hand_in(&client, "echo", 0..50);
    world.kill_titanic();
    let worker = MdpWorker::echo(&world.endpoint, Mdp::V1, "echo");
    world.start_titanic();
    assert_eq!(collect(&client, &ids), numbers(0..50));
    assert_eq!(worker.requests.try_iter().count(), 50, "nothing was delivered twice");
}

#[test]
fn killed_while_it_accepts() {
    let mut world = World::start();
    let client = world.mdp();
    for number in 0..300 {
        client.send_request("echo", body(&[number.to_string()]));
    }
    let mut ids: Vec<String> = (0..20).map(|_| client.accepted()).collect();
    world.kill_titanic();
    world.start_titanic();
    // What was not answered is still with the broker, and comes again under the same number: what
    // had been accepted without an answer gets the same id, and is no second command.
    ids.extend((20..300).map(|_| client.accepted()));
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 300);
    let worker = MdpWorker::echo(&world.endpoint, Mdp::V2, "echo");
    assert_eq!(collect(&client, &ids), numbers(0..300));
    let all = List { limit: 1_000, ..List::default() };
    assert_eq!(world.commands().list(&all).unwrap().commands.len(), 300);
    assert_eq!(worker.requests.try_iter().count(), 300);
}

#[test]
fn killed_between_reply_and_record() {
    let mut world = World::start();
    let (worker, release) = held_worker(&world, "slow");
    let client = world.mdp();
    let id = client.request("slow", body(&["x"]));
    assert_eq!(worker.next(), body(&["x"]));
    // It stands still while the reply comes, and never wakes again.
    world.titanic.as_ref().unwrap().signal(Signal::STOP);
    release.send(body(&["first"])).unwrap();
    world.kill_titanic();
    world.start_titanic();
    assert_eq!(worker.next(), body(&["x"]), "a second attempt");
    release.send(body(&["second"])).unwrap();
    assert_eq!(client.collect(&id), body(&["second"]));
    // What has been fetched once never changes.
    world.kill_titanic();
    world.start_titanic();
    assert_eq!(client.collect(&id), body(&["second"]));
    assert_eq!(client.close(&id), body(&["200"]));
    assert_eq!(worker.requests.try_iter().count(), 0);
}

#[test]
fn killed_between_dispatch_and_reply() {
    let mut world = World::start();
    let (worker, release) = held_worker(&world, "slow");
    let client = world.mdp();
    let id = client.request("slow", body(&["x"]));
    worker.next();
    world.kill_titanic();
    // Nobody waits for this one any more.
    release.send(body(&["late"])).unwrap();
    world.start_titanic();
    worker.next();
    release.send(body(&["second"])).unwrap();
    assert_eq!(client.collect(&id), body(&["second"]));
}

#[test]
fn killed_between_close_and_purge() {
    let mut world = World::start();
    let worker = MdpWorker::echo(&world.endpoint, Mdp::V1, "echo");
    let client = world.mdp();
    let ids = hand_in(&client, "echo", 0..40);
    collect(&client, &ids);
    let (closed, kept) = ids.split_at(20);
    for id in closed {
        assert_eq!(client.close(id), body(&["200"]));
    }
    world.kill_titanic();
    world.start_titanic();
    let commands = world.commands();
    let purge = |dry_run| {
        let (state, service, older_ms) = (CommandState::Replied, Some("echo".to_owned()), 0);
        let which = Selection::Matching { state, service, older_ms };
        commands.purge(&Purge { which, limit: 100, dry_run }).unwrap()
    };
    let answers = |ids: &[String], status: &[u8]| {
        ids.iter().filter(|id| client.reply(id)[0] == status).count()
    };
    assert_eq!((answers(closed, b"400 closed"), answers(kept, b"200")), (20, 20));
    let dry = purge(true);
    assert_eq!((dry.matched, dry.done, answers(kept, b"200")), (20, 0, 20));
    assert_eq!(purge(false).done, 20);
    world.kill_titanic();
    world.start_titanic();
    assert_eq!(answers(&ids, b"400 closed"), 40);
    assert!(commands.list(&List::default()).unwrap().commands.is_empty());
    assert_eq!(worker.requests.try_iter().count(), 40, "nothing is dispatched after its close");
}

#[test]
fn without_its_file_it_makes_the_view_anew() {
    let mut world = World::start();
    let worker = MdpWorker::echo(&world.endpoint, Mdp::V1, "echo");
    let client = world.mdp();
    let ids = hand_in(&client, "echo", 0..20);
    collect(&client, &ids);
    let open = hand_in(&client, "absent", 0..20);
    world.kill_titanic();
    std::fs::remove_dir_all(world.path("titanic")).unwrap();
    world.start_titanic();
    assert_eq!(collect(&client, &ids), numbers(0..20));
    let _absent = MdpWorker::echo(&world.endpoint, Mdp::V2, "absent");
    assert_eq!(collect(&client, &open), numbers(0..20));
    assert_eq!(worker.requests.try_iter().count(), 20);
}

#[test]
fn the_broker_is_killed_and_comes_back() {
    let mut world = World::start();
    let client = world.mdp();
    let ids = hand_in(&client, "echo", 0..100);
    let worker = MdpWorker::echo(&world.endpoint, Mdp::V1, "echo");
    worker.next();
    world.broker.take().unwrap().kill();
    world.start_broker();
    let client = world.mdp();
    wait_until("Titanic is back", || {
        client.ask("mmi.service", body(&["titanic.reply"])) == body(&["200"])
    });
    assert_eq!(collect(&client, &ids), numbers(0..100));
    let more = hand_in(&client, "echo", 100..120);
    assert_eq!(collect(&client, &more), numbers(100..120));
}

#[test]
fn the_store_is_killed_and_comes_back() {
    let mut world = World::start();
    let client = world.mdp();
    let ids = hand_in(&client, "echo", 0..30);
    world.store.take().unwrap().kill();
    let _worker = MdpWorker::echo(&world.endpoint, Mdp::V1, "echo");
    world.start_store();
    assert_eq!(collect(&client, &ids), numbers(0..30));
}

#[test]
fn all_are_killed_together() {
    let mut world = World::start();
    for round in 0..2 {
        let worker = MdpWorker::echo(&world.endpoint, Mdp::V2, "echo");
        let client = world.mdp();
        let from = round * 200;
        let ids = hand_in(&client, "echo", from..from + 200);
        // Some are done, some are under way, and some wait.
        worker.next();
        world.titanic.take().unwrap().kill();
        world.store.take().unwrap().kill();
        world.broker.take().unwrap().kill();
        world.start_broker();
        world.start_store();
        world.start_titanic();
        let client = world.mdp();
        assert_eq!(collect(&client, &ids), numbers(from..from + 200));
    }
}
