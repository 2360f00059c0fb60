use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use broker::mdp::{Worker, WorkerConfig};
use broker::net::Endpoint;
use bytes::Bytes;
use client::ErrorCode;
use client::command::tsp::{self, Status};
use client::command::wire::{CommandAnswer, CommandRequest, List, Purge, Requeue, Selection};
use client::command::{
    Body, CommandError, CommandId, CommandReply, CommandState, Info, NewCommand,
};

use crate::world::{PATIENCE, World};

/// Answers `titanic.command` with what a test prepared, and notes what it was asked.
struct Script {
    asked: Arc<Mutex<Vec<CommandRequest>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Script {
    fn start(broker: &Endpoint, answers: Vec<Vec<Bytes>>) -> Self {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (notes, end, broker) = (Arc::clone(&asked), Arc::clone(&stop), broker.clone());
        let thread = std::thread::spawn(move || {
            let mut worker = Worker::ready(WorkerConfig::new(broker, tsp::COMMAND)).unwrap();
            let mut answers = answers.into_iter();
            while !end.load(Ordering::Relaxed) {
                let Some(job) = worker.receive_for(Duration::from_millis(20)).unwrap() else {
                    continue;
                };
                let request = CommandRequest::decode(&job.body[0]).unwrap();
                notes.lock().unwrap().push(request);
                worker.reply(job, answers.next().unwrap()).unwrap();
            }
        });
        Self { asked, stop, thread: Some(thread) }
    }

    fn asked(&self) -> Vec<CommandRequest> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking(), "it was asked more than was expected");
    }
}

fn says(status: Status) -> CommandAnswer {
    CommandAnswer::new(status)
}

fn answer(answer: &CommandAnswer) -> Vec<Bytes> {
    vec![answer.encode()]
}

fn info(id: CommandId) -> Info {
    Info {
        id,
        state: CommandState::Dead,
        service: "mailer".to_owned(),
        attempt: 3,
        attempts_max: 3,
        accepted_ms: 1_000,
        due_ms: None,
        expires_ms: None,
        reason: Some("no such account".to_owned()),
    }
}

#[test]
fn a_command_keeps_its_id_however_often_it_is_sent() {
    let world = World::without_store(1);
    let command = NewCommand::new("mailer", vec![Bytes::from("to: ann"), Bytes::new()]);
    let id = command.id();
    let accepted = CommandAnswer { id: Some(id), ..says(Status::ok()) };
    let answers = vec![
        answer(&says(Status::internal("the store does not answer"))),
        answer(&accepted),
        answer(&says(Status::refused("id belongs to another command"))),
    ];
    let script = Script::start(&world.endpoint, answers);
    let commands = world.client().commands();
    let error = commands.submit(command.clone()).wait().unwrap_err();
    assert!(error.retry() && error.code() == ErrorCode::INTERNAL, "{error}");
    assert_eq!(commands.submit(command.clone()).wait(), Ok(id));
    let error = commands.submit(command.clone().attempts(2)).wait().unwrap_err();
    assert!(!error.retry() && error.code() == ErrorCode::INVALID_ARGUMENT, "{error}");
    let asked = script.asked();
    assert_eq!(asked.len(), 3);
    for request in asked {
        let CommandRequest::Submit(submit) = request else { panic!() };
        assert_eq!(submit.id, Some(id));
        assert_eq!(submit.body.frames(), command.body());
    }
    let unsendable = NewCommand::new("titanic.request", vec![Bytes::new()]);
    let error = commands.submit(unsendable).wait().unwrap_err();
    assert!(matches!(error, CommandError::InvalidArgument(_)), "{error}");
}

#[test]
fn replies_come_or_will_come_or_never_will() {
    let world = World::without_store(1);
    let id = CommandId::generate();
    let body = Body::new(vec![Bytes::new(), Bytes::from("sent")]).unwrap();
    let replied = CommandAnswer { body: Some(body.clone()), ..says(Status::ok()) };
    let answers = vec![
        answer(&says(Status::pending())),
        answer(&replied),
        answer(&says(Status::refused("closed"))),
        answer(&says(Status::refused("unknown"))),
        answer(&says(Status::refused("dead no such account"))),
        vec![Bytes::from("rubbish")],
        vec![Bytes::new(), Bytes::new()],
    ];
    let script = Script::start(&world.endpoint, answers);
    let commands = world.client().commands();
    let wait = Duration::from_millis(1500);
    assert_eq!(commands.reply(id, wait), Ok(CommandReply::Pending));
    assert_eq!(commands.reply(id, wait), Ok(CommandReply::Done(body.into_frames())));
    let reason = "no such account".to_owned();
    for error in [
        CommandError::Closed { id },
        CommandError::Unknown { id },
        CommandError::Dead { id, reason },
    ] {
        assert_eq!(commands.reply(id, wait), Err(error.clone()));
        assert_eq!((error.code(), error.retry()), (ErrorCode::CONDITION_FAILED, false));
    }
    for _ in 0..2 {
        let error = commands.reply(id, wait).unwrap_err();
        assert!(matches!(error, CommandError::Malformed(_)), "{error}");
    }
    let asked = script.asked();
    assert_eq!(asked.len(), 7);
    for request in asked {
        let CommandRequest::Reply { id: of, wait_ms: 1000..=1500 } = request else { panic!() };
        assert_eq!(of, id);
    }
}

#[test]
fn operators_see_and_sweep() {
    let world = World::without_store(1);
    let id = CommandId::generate();
    let commands_of = || vec![info(id)];
    let answers = vec![
        answer(&says(Status::ok())),
        answer(&CommandAnswer { command: Some(info(id)), ..says(Status::ok()) }),
        answer(&says(Status::refused("unknown"))),
        answer(&CommandAnswer { commands: commands_of(), next: Some(id), ..says(Status::ok()) }),
        answer(&CommandAnswer { matched: 1, commands: commands_of(), ..says(Status::ok()) }),
        answer(&CommandAnswer {
            matched: 1,
            done: 1,
            commands: commands_of(),
            ..says(Status::ok())
        }),
    ];
    let script = Script::start(&world.endpoint, answers);
    let commands = world.client().commands();
    commands.close(id).unwrap();
    assert_eq!(commands.status(id), Ok(info(id)));
    assert_eq!(commands.status(id), Err(CommandError::Unknown { id }));
    let list = List { state: Some(CommandState::Dead), ..List::default() };
    let listed = commands.list(&list).unwrap();
    assert_eq!((listed.commands, listed.next), (vec![info(id)], Some(id)));
    let (state, service) = (CommandState::Dead, None);
    let which = Selection::Matching { state, service, older_ms: 0 };
    let requeue = Requeue { which: which.clone(), limit: 10, dry_run: true, attempts: Some(5) };
    let swept = commands.requeue(&requeue).unwrap();
    assert_eq!((swept.matched, swept.done, swept.commands), (1, 0, vec![info(id)]));
    let purge = Purge { which, limit: 10, dry_run: false };
    assert_eq!(commands.purge(&purge).unwrap().done, 1);
    let expected = [
        CommandRequest::Close { id },
        CommandRequest::Status { id },
        CommandRequest::Status { id },
        CommandRequest::List(list),
        CommandRequest::Requeue(requeue),
        CommandRequest::Purge(purge),
    ];
    assert_eq!(script.asked(), expected);
    let beyond = List { limit: 1001, ..List::default() };
    assert!(matches!(commands.list(&beyond), Err(CommandError::InvalidArgument(_))));
}

#[test]
fn without_a_titanic_nothing_is_done() {
    let world = World::without_store(1);
    let mut config = world.config();
    config.request_timeout = Duration::from_millis(300);
    let commands = client::Client::with_config(config).unwrap().commands();
    let command = NewCommand::new("mailer", vec![Bytes::new()]);
    let pending = commands.submit(command);
    let error = pending.wait_timeout(PATIENCE).unwrap().unwrap_err();
    assert!(matches!(error, CommandError::Call(_)) && error.retry(), "{error}");
}
