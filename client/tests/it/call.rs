use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use broker::mdp::{Version, Worker, WorkerConfig};
use broker::net::Endpoint;
use bytes::Bytes;
use client::{CallError, ErrorCode, Outcome};

use crate::world::{PATIENCE, World, wait_until};

/// An MDP worker on a thread of its own that answers with what it was sent.
struct Echo {
    taken: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    /// `pause`: how long it works on each request. In version 0.2 it answers in parts.
    fn start(broker: &Endpoint, version: Version, pause: Duration) -> Self {
        let (taken, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let mut config = WorkerConfig::new(broker.clone(), "echo");
        config.heartbeat = Duration::from_millis(100);
        config.patience = Duration::from_millis(400);
        config.reconnect = Duration::from_millis(50);
        config.version = version;
        let (count, end) = (Arc::clone(&taken), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut worker = Worker::ready(config).unwrap();
            while !end.load(Ordering::Relaxed) {
                let Some(mut job) = worker.receive_for(Duration::from_millis(20)).unwrap() else {
                    continue;
                };
                count.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(pause);
                let body = job.body.clone();
                if version == Version::V02 {
                    worker.partial(&mut job, vec![Bytes::from("part")]).unwrap();
                }
                // A broker that is gone can't be answered; it asks again.
                let _ = worker.reply(job, body);
            }
        });
        Self { taken, stop, thread: Some(thread) }
    }

    fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

fn frames(texts: &[&'static str]) -> Vec<Bytes> {
    texts.iter().map(|text| Bytes::from(*text)).collect()
}

#[test]
fn many_calls_are_under_way_at_once_and_each_has_its_reply() {
    let world = World::without_store(1);
    let _workers = [(); 4].map(|()| Echo::start(&world.endpoint, Version::V01, Duration::ZERO));
    let client = world.client();
    let body = |number: u32| vec![Bytes::from(number.to_le_bytes().to_vec()), Bytes::new()];
    let calls: Vec<_> =
        (0..500).map(|number| client.call("echo", body(number), PATIENCE)).collect();
    for (number, call) in (0..500).zip(calls) {
        assert_eq!(call.wait().unwrap(), body(number));
    }
    // And without waiting.
    let (sender, replies) = std::sync::mpsc::channel();
    for number in 0..500 {
        let sender = sender.clone();
        let call = client.call("echo", body(number), PATIENCE);
        call.on_ready(move |reply| sender.send((number, reply)).unwrap());
    }
    for _ in 0..500 {
        let (number, reply) = replies.recv_timeout(PATIENCE).unwrap();
        assert_eq!(reply.unwrap(), body(number));
    }
}

#[test]
fn parts_of_a_reply_are_put_together() {
    let world = World::without_store(1);
    let _worker = Echo::start(&world.endpoint, Version::V02, Duration::ZERO);
    let reply = world.client().call("echo", frames(&["one", "two"]), PATIENCE).wait();
    assert_eq!(reply.unwrap(), frames(&["part", "one", "two"]));
}

#[test]
fn a_call_waits_for_its_service_but_not_for_ever() {
    let world = World::without_store(1);
    let client = world.client();
    let short = client.call("echo", frames(&["x"]), Duration::from_millis(300)).wait();
    let error = short.unwrap_err();
    assert_eq!(error.outcome(), Outcome::NotDone, "{error}");
    assert!(error.retry(), "{error}");
    let once = client.call_once("echo", frames(&["x"]), PATIENCE).wait().unwrap_err();
    assert_eq!(once.code(), ErrorCode::SERVICE_NOT_FOUND, "{once}");
    let long = client.call("echo", frames(&["x"]), PATIENCE);
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(long.result(), None);
    let _worker = Echo::start(&world.endpoint, Version::V01, Duration::ZERO);
    assert_eq!(long.wait().unwrap(), frames(&["x"]));
}

#[test]
fn what_a_lost_broker_held_is_called_again_or_in_doubt() {
    let mut world = World::without_store(1);
    let pause = Duration::from_secs(1);
    let workers = [(); 2].map(|()| Echo::start(&world.endpoint, Version::V01, pause));
    let client = world.client();
    let again = client.call("echo", frames(&["again"]), PATIENCE);
    let once = client.call_once("echo", frames(&["once"]), PATIENCE);
    wait_until("both were delivered", || workers.iter().map(Echo::taken).sum::<u64>() == 2);
    world.stop_broker();
    world.start_broker();
    assert_eq!(again.wait().unwrap(), frames(&["again"]));
    let error = once.wait().unwrap_err();
    assert_eq!(error.outcome(), Outcome::Unknown, "{error}");
}

#[test]
fn what_can_not_be_called_is_refused_at_once() {
    let world = World::without_store(1);
    let client = world.client();
    let long = "x".repeat(129);
    for service in ["", "a\nb", &long, "mmi.topology", "orders/0"] {
        let error = client.call(service, frames(&["x"]), PATIENCE).wait().unwrap_err();
        assert_eq!(error.code(), ErrorCode::INVALID_ARGUMENT, "{service:?}");
    }
    assert!(client.call("echo", Vec::new(), PATIENCE).wait().is_err());
    let present = client.call("mmi.service", frames(&["echo"]), PATIENCE).wait().unwrap();
    assert_eq!(present, frames(&["404"]));
}

#[test]
fn nobody_there_is_said_after_the_time() {
    let mut world = World::without_store(1);
    world.stop_broker();
    let error = world.client().call("echo", frames(&["x"]), Duration::from_millis(200)).wait();
    assert!(matches!(error, Err(CallError::Unavailable(_))), "{error:?}");
}
