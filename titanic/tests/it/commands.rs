use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use client::command::wire::{CommandState, List, Purge, Requeue, Selection};
use client::command::worker::Delivery;
use client::command::{CommandError, CommandId, CommandReply, NewCommand};

use crate::mdp::{Answer, Frames, Mdp, MdpWorker, body};
use crate::process::PATIENCE;
use crate::world::{World, wait_for, wait_until};

fn command(service: &str, text: &str) -> NewCommand {
    NewCommand::new(service, vec![bytes::Bytes::copy_from_slice(text.as_bytes())])
}

fn done(text: &str) -> CommandReply {
    CommandReply::Done(vec![bytes::Bytes::copy_from_slice(text.as_bytes())])
}

#[test]
fn the_same_id_is_the_same_command() {
    let world = World::start();
    let commands = world.commands();
    let worker = MdpWorker::echo(&world.endpoint, Mdp::V1, "echo");
    let first = command("echo", "x").attempts(3);
    for _ in 0..3 {
        assert_eq!(commands.submit(first.clone()).wait(), Ok(first.id()));
    }
    assert_eq!(commands.reply(first.id(), PATIENCE), Ok(done("x")));
    assert_eq!(commands.submit(first.clone()).wait(), Ok(first.id()));
    let other = command("echo", "y").with_id(first.id());
    assert!(matches!(commands.submit(other).wait(), Err(CommandError::Refused { .. })));
    assert_eq!(commands.reply(first.id(), Duration::ZERO), Ok(done("x")));
    assert_eq!(worker.requests.try_iter().count(), 1);
    // An id from elsewhere works over TSP, too.
    assert_eq!(world.mdp().collect(&first.id().to_string()), body(&["x"]));
}

#[test]
fn a_fetch_waits_for_the_reply() {
    let world = World::start();
    let commands = world.commands();
    let id = commands.submit(command("echo", "x")).wait().unwrap();
    assert_eq!(commands.reply(id, Duration::from_millis(50)), Ok(CommandReply::Pending));
    let waiting = commands.pending_reply(id, PATIENCE);
    let _worker = MdpWorker::echo(&world.endpoint, Mdp::V1, "echo");
    assert_eq!(waiting.wait(), Ok(done("x")));
    let waiting = commands.pending_reply(CommandId::generate(), PATIENCE);
    assert!(matches!(waiting.wait(), Err(CommandError::Unknown { .. })));
}

#[test]
fn a_delayed_command_is_not_sent_before_its_time() {
    const DELAY: Duration = Duration::from_millis(800);
    let world = World::start();
    let commands = world.commands();
    let worker = MdpWorker::echo(&world.endpoint, Mdp::V1, "echo");
    let sent = Instant::now();
    let late = commands.submit(command("echo", "late").delayed(DELAY)).wait().unwrap();
    let soon = commands.submit(command("echo", "soon")).wait().unwrap();
    assert_eq!(commands.reply(soon, PATIENCE), Ok(done("soon")));
    assert!(commands.status(late).unwrap().due_ms.is_some());
    assert_eq!(commands.reply(late, PATIENCE), Ok(done("late")));
    // The calendar counts in whole milliseconds.
    assert!(sent.elapsed() >= DELAY - Duration::from_millis(2));
    assert_eq!([worker.next(), worker.next()], [body(&["soon"]), body(&["late"])]);
}

#[test]
fn what_nobody_does_in_time_is_dead_and_can_be_tried_again() {
    let world = World::start();
    let commands = world.commands();
    let short = command("absent", "x").time_to_live(Duration::from_millis(100));
    let id = commands.submit(short).wait().unwrap();
    wait_for(&commands, id, "it expires", |info| info.state == CommandState::Dead);
    assert!(matches!(commands.reply(id, PATIENCE), Err(CommandError::Dead { .. })));
    assert_eq!(world.mdp().reply(&id.to_string()), body(&["400 dead expired"]));
    let dead = List { state: Some(CommandState::Dead), ..List::default() };
    let listed = commands.list(&dead).unwrap().commands;
    assert_eq!(listed.iter().map(|info| info.id).collect::<Vec<_>>(), [id]);
    let requeue = |dry_run| {
        let which = Selection::Ids(vec![id]);
        commands.requeue(&Requeue { which, limit: 10, dry_run, attempts: None }).unwrap()
    };
    let dry = requeue(true);
    assert_eq!((dry.matched, dry.done), (1, 0));
    assert_eq!(commands.status(id).unwrap().state, CommandState::Dead);
    assert_eq!(requeue(false).done, 1);
    let _worker = MdpWorker::echo(&world.endpoint, Mdp::V1, "absent");
    assert_eq!(commands.reply(id, PATIENCE), Ok(done("x")));
}

/// A worker of `NAME+titanic` with a script: one verdict for each attempt. What it was told.
fn scripted(
    world: &World,
    service: &str,
    script: Vec<&'static str>,
) -> (MdpWorker, Arc<Mutex<Vec<Delivery>>>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let (heard, mut script) = (Arc::clone(&told), script.into_iter());
    let service = format!("{service}+titanic");
    let work = move |request: &Frames| {
        heard.lock().unwrap().push(Delivery::decode(&request[0]).unwrap());
        let mut answer = body(&[script.next().unwrap_or("200")]);
        answer.extend(request[1..].iter().cloned());
        Answer::Reply(answer)
    };
    (MdpWorker::start(&world.endpoint, (Mdp::V2, &service), work), told)
}

#[test]
fn a_worker_that_asks_for_it_learns_id_and_attempt_and_can_say_later() {
    let world = World::start();
    let commands = world.commands();
    let (_worker, told) = scripted(&world, "picky", vec!["503 10 not yet", "503 10", "200"]);
    // Where both are, the one that knows more is asked.
    let plain = MdpWorker::echo(&world.endpoint, Mdp::V1, "picky");
    for service in ["picky", "picky+titanic"] {
        wait_until("both are registered", || {
            world.mdp().ask("mmi.service", body(&[service])) == body(&["200"])
        });
    }
    let id = commands.submit(command("picky", "x")).wait().unwrap();
    assert_eq!(commands.reply(id, PATIENCE), Ok(done("x")));
    let told = told.lock().unwrap().clone();
    let expected: Vec<Delivery> = (1..=3).map(|attempt| Delivery { id, attempt }).collect();
    assert_eq!(told, expected);
    assert_eq!(plain.requests.try_iter().count(), 0);
}

#[test]
fn a_worker_can_say_never_and_attempts_have_a_limit() {
    let world = World::start();
    let commands = world.commands();
    let (_worker, _) = scripted(&world, "never", vec!["410 no such account"]);
    let id = commands.submit(command("never", "x")).wait().unwrap();
    let reason = |id| match commands.reply(id, PATIENCE) {
        Err(CommandError::Dead { reason, .. }) => reason,
        other => panic!("{other:?}"),
    };
    assert!(reason(id).contains("no such account"));
    let (_worker, told) = scripted(&world, "later", vec!["503 1 busy"; 20]);
    let id = commands.submit(command("later", "x").attempts(3)).wait().unwrap();
    assert!(reason(id).contains("busy"), "the last reason is told");
    assert_eq!(told.lock().unwrap().len(), 3);
    let purge = Purge { which: Selection::Ids(vec![id]), limit: 1, dry_run: false };
    assert_eq!(commands.purge(&purge).unwrap().done, 1);
    assert!(matches!(commands.reply(id, PATIENCE), Err(CommandError::Closed { .. })));
}

#[test]
fn lists_come_in_pages() {
    let world = World::start();
    let commands = world.commands();
    let pending: Vec<_> = (0..25).map(|_| commands.submit(command("absent", "x"))).collect();
    let mut ids: Vec<CommandId> = pending.iter().map(|one| one.wait().unwrap()).collect();
    ids.sort();
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let list = List { after, limit: 10, ..List::default() };
        let listed = commands.list(&list).unwrap();
        assert!(listed.commands.len() <= 10);
        found.extend(listed.commands.iter().map(|info| info.id));
        after = listed.next;
        if after.is_none() {
            break;
        }
    }
    found.sort();
    assert_eq!(found, ids, "all of them, and each of them once");
}
