use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use broker::mdp::{Worker, WorkerConfig};
use broker::net::Endpoint;
use bytes::Bytes;
use client::command::tsp::{self, Status};
use client::command::wire::{CommandAnswer, CommandRequest, Submit};
use client::command::{CommandId, NewCommand};
use client::saga::{Reaction, Saga, SagaHost, SendError};
use client::views::{HandleError, HostCounters, HostError, HostOptions, StopFlag, ViewStore};
use client::{Client, ClientConfig, DecodeEvent, ExpectedVersion, StoreHandle};

use crate::world::{World, counted, wait_until};

/// What a Titanic has accepted: id → service and body.
type Accepted = BTreeMap<CommandId, (String, Vec<Bytes>)>;

/// Accepts commands as Titanic does, and keeps them in memory.
struct Keeper {
    accepted: Arc<Mutex<Accepted>>,
    submissions: Arc<AtomicU64>,
    closed: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Of `one_in` answers one is that it failed, though the command was kept.
    fn start(broker: &Endpoint, one_in: u64) -> Self {
        let accepted = Arc::new(Mutex::new(Accepted::new()));
        let submissions = Arc::new(AtomicU64::new(0));
        let closed = Arc::new(AtomicBool::new(false));
        let mut config = WorkerConfig::new(broker.clone(), tsp::COMMAND);
        config.heartbeat = Duration::from_millis(100);
        let mut worker = Worker::ready(config).unwrap();
        let (kept, count, end) = (accepted.clone(), submissions.clone(), closed.clone());
        let thread = std::thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                let Some(job) = worker.receive_for(Duration::from_millis(20)).unwrap() else {
                    continue;
                };
                let CommandRequest::Submit(submit) = CommandRequest::decode(&job.body[0]).unwrap()
                else {
                    panic!("something else than a command");
                };
                let number = count.fetch_add(1, Ordering::Relaxed) + 1;
                let answer = keep(&mut kept.lock().unwrap(), submit);
                let answer = match number.is_multiple_of(one_in) {
                    true => CommandAnswer::new(Status::internal("try again")),
                    false => answer,
                };
                worker.reply(job, vec![answer.encode()]).unwrap();
            }
        });
        Self { accepted, submissions, closed, thread: Some(thread) }
    }

    fn accepted(&self) -> Accepted {
        self.accepted.lock().unwrap().clone()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

fn keep(accepted: &mut Accepted, submit: Submit) -> CommandAnswer {
    let id = submit.id.unwrap();
    let command = (submit.target.as_str().to_owned(), submit.body.frames().to_vec());
    let kept = accepted.entry(id).or_insert_with(|| command.clone());
    match *kept == command {
        true => CommandAnswer { id: Some(id), ..CommandAnswer::new(Status::ok()) },
        false => CommandAnswer::new(Status::refused("id belongs to another command")),
    }
}

/// Two commands per number; what it has added up so far goes with the second.
struct Sums {
    /// Fails at this number, to end a host in the middle of a transaction.
    fail_at: Option<u64>,
    greeting: &'static str,
}

impl Saga for Sums {
    fn name(&self) -> &str {
        "sums"
    }

    fn views(&self) -> &[&str] {
        &["sums"]
    }

    fn react(&mut self, reaction: &mut Reaction<'_, '_>) -> Result<(), HandleError> {
        let number: u64 = reaction.event().decode()?;
        if self.fail_at == Some(number) {
            return Err("this number is not liked".into());
        }
        let sum = reaction.views().get_json::<u64>("sums", "sum")?.unwrap_or(0) + number;
        reaction.views().put_json("sums", "sum", &sum)?;
        reaction.send(NewCommand::new("greeter", vec![self.greeting.into()]));
        reaction.send(NewCommand::new("adder", vec![sum.to_string().into()]));
        Ok(())
    }
}

fn sums() -> Sums {
    Sums { fail_at: None, greeting: "hello" }
}

fn append(orders: &StoreHandle, numbers: std::ops::RangeInclusive<u64>) {
    let events = numbers.map(counted).collect();
    orders.append("order-1", ExpectedVersion::Any, events).wait().unwrap();
}

fn orders(world: &World) -> StoreHandle {
    let config = ClientConfig { request_timeout: Duration::from_secs(1), ..world.config() };
    Client::with_config(config).unwrap().store("orders").unwrap()
}

/// Runs the saga until so many events are handled.
fn run_until(host: &SagaHost, saga: &mut Sums, events: u64) -> Result<HostCounters, HostError> {
    let (stop, progress) = (StopFlag::new(), host.progress());
    std::thread::scope(|scope| {
        let running = scope.spawn(|| host.run(saga, &stop));
        wait_until("the events are handled", || {
            progress.counters().events >= events || running.is_finished()
        });
        stop.stop();
        running.join().unwrap()
    })
}

/// The sums that were sent, in order of size.
fn sent_sums(accepted: &Accepted) -> Vec<u64> {
    let adder = accepted.values().filter(|(service, _)| service == "adder");
    let sum = |body: &Vec<Bytes>| std::str::from_utf8(&body[0]).unwrap().parse::<u64>().unwrap();
    let mut sums: Vec<u64> = adder.map(|(_, body)| sum(body)).collect();
    sums.sort_unstable();
    sums
}

#[test]
fn every_command_is_sent_once_whatever_fails() {
    let world = World::start(1);
    let keeper = Keeper::start(&world.endpoint, 7);
    let (store, views) = (orders(&world), ViewStore::open(world.path("saga.redb")).unwrap());
    append(&store, 1..=20);
    let host = || SagaHost::new(store.clone(), views.clone(), HostOptions::default());

    // It ends in the middle: the commands of the first numbers are kept, its checkpoint is not.
    let mut failing = Sums { fail_at: Some(15), ..sums() };
    let ended = run_until(&host(), &mut failing, 20);
    assert!(matches!(ended, Err(HostError::Handle { .. })), "{ended:?}");
    let counters = run_until(&host(), &mut sums(), 20).unwrap();
    assert_eq!(counters.events, 20);

    append(&store, 21..=30);
    assert_eq!(run_until(&host(), &mut sums(), 10).unwrap().events, 10);
    let accepted = keeper.accepted();
    assert_eq!(accepted.len(), 60, "two for each number");
    let expected: Vec<u64> = (1..=30).map(|number| number * (number + 1) / 2).collect();
    assert_eq!(sent_sums(&accepted), expected);
    assert!(keeper.submissions.load(Ordering::Relaxed) > 60, "failures were answered");
}

#[test]
fn a_saga_waits_for_titanic_and_can_be_stopped_meanwhile() {
    let world = World::start(1);
    let (store, views) = (orders(&world), ViewStore::open(world.path("saga.redb")).unwrap());
    append(&store, 1..=3);
    let host = SagaHost::new(store, views, HostOptions::default());
    let stop = StopFlag::new();
    let counters = std::thread::scope(|scope| {
        let running = scope.spawn(|| host.run(&mut sums(), &stop));
        std::thread::sleep(Duration::from_millis(300));
        assert!(!running.is_finished(), "there is no Titanic yet");
        stop.stop();
        running.join().unwrap()
    });
    assert_eq!(counters.unwrap().events, 0);
    let keeper = Keeper::start(&world.endpoint, 100);
    assert_eq!(run_until(&host, &mut sums(), 3).unwrap().events, 3);
    assert_eq!(sent_sums(&keeper.accepted()), [1, 3, 6]);
}

#[test]
fn another_command_under_a_known_id_is_told() {
    let world = World::start(1);
    let keeper = Keeper::start(&world.endpoint, 100);
    let store = orders(&world);
    append(&store, 1..=3);
    let host = |file: &str| {
        let views = ViewStore::open(world.path(file)).unwrap();
        SagaHost::new(store.clone(), views, HostOptions::default())
    };
    run_until(&host("saga.redb"), &mut sums(), 3).unwrap();
    // A lost file alone does no harm: the same ids, the same commands.
    run_until(&host("again.redb"), &mut sums(), 3).unwrap();
    assert_eq!(keeper.accepted().len(), 6);

    let mut changed = Sums { greeting: "good day", ..sums() };
    let ended = run_until(&host("changed.redb"), &mut changed, 3);
    let Err(HostError::Handle { source, .. }) = ended else { panic!("{ended:?}") };
    assert_eq!(source.downcast_ref::<SendError>().unwrap().service, "greeter");
    assert_eq!(keeper.accepted().len(), 6);
}
