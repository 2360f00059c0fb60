use std::time::{Duration, Instant};

use broker::mdp::{Client, ClientConfig, Part, RequestError, Version, Worker, WorkerConfig};
use broker::net::Frames;

use super::support::*;

fn frames(texts: &[&'static str]) -> Frames {
    texts.iter().map(|text| (*text).into()).collect()
}

fn client(endpoints: &[&str], version: Version) -> Client {
    let brokers = endpoints.iter().map(|endpoint| endpoint.parse().unwrap()).collect();
    let timeout = Duration::from_millis(300);
    Client::connect(ClientConfig { brokers, version, timeout, attempts: 3 }).unwrap()
}

fn worker(endpoint: &str, version: Version) -> Worker {
    Worker::ready(WorkerConfig {
        version,
        heartbeat: HEARTBEAT,
        patience: 4 * HEARTBEAT,
        reconnect: HEARTBEAT,
        ..WorkerConfig::new(endpoint.parse().unwrap(), "echo")
    })
    .unwrap()
}

/// A ROUTER that a test plays the broker with.
struct FakeBroker {
    socket: zmq::Socket,
    endpoint: String,
    _context: zmq::Context,
}

impl FakeBroker {
    fn new() -> FakeBroker {
        let context = zmq::Context::new();
        let socket = context.socket(zmq::ROUTER).unwrap();
        socket.set_linger(0).unwrap();
        socket.bind("tcp://127.0.0.1:*").unwrap();
        let endpoint = socket.get_last_endpoint().unwrap().unwrap();
        FakeBroker { socket, endpoint, _context: context }
    }

    fn receive(&self) -> (Vec<u8>, Message) {
        assert_ne!(self.socket.poll(zmq::POLLIN, 10_000).unwrap(), 0, "nothing came");
        let mut message = self.socket.recv_multipart(0).unwrap();
        let id = message.remove(0);
        (id, message)
    }

    fn send(&self, id: &[u8], mut message: Message) {
        message.insert(0, id.to_vec());
        self.socket.send_multipart(message, 0).unwrap();
    }
}

#[test]
fn client_and_worker_of_every_version_talk_through_the_broker() {
    for works in [Version::V01, Version::V02] {
        for asks in [Version::V01, Version::V02] {
            let broker = broker();
            let endpoint = broker.endpoint.clone();
            let thread = std::thread::spawn(move || {
                let mut worker = worker(&endpoint, works);
                for _ in 0..2 {
                    let mut job = worker.receive().unwrap();
                    let body = job.body.clone();
                    worker.partial(&mut job, frames(&["part"])).unwrap();
                    worker.reply(job, body).unwrap();
                }
            });
            let mut client = client(&[&broker.endpoint], asks);
            let whole = client.request("echo", frames(&["hello"])).unwrap();
            assert_eq!(whole, frames(&["part", "hello"]));
            let mut parts = Vec::new();
            client.request_parts("echo", frames(&["x"]), |part| parts.push(part)).unwrap();
            let expected = if (works, asks) == (Version::V02, Version::V02) { 2 } else { 1 };
            assert_eq!(parts.len(), expected, "{works:?} {asks:?}");
            thread.join().unwrap();
            // Dropped workers say DISCONNECT.
            wait_for_workers(&broker.endpoint, "echo", 0);
        }
    }
}

#[test]
fn an_error_of_the_broker_is_an_error_of_the_request() {
    let broker = broker_with(|config| config.routing.request_expiry = Duration::from_millis(50));
    let mut client = client(&[&broker.endpoint], Version::V01);
    let error = client.request("nowhere", frames(&["x"])).unwrap_err();
    assert!(matches!(&error, RequestError::Refused(text) if text.starts_with("SERVICE_NOT_FOUND")));
    let error = client.request("", frames(&["x"])).unwrap_err();
    assert!(matches!(error, RequestError::Service(_)));
    assert!(matches!(client.request("x", Frames::new()), Err(RequestError::EmptyBody)));
}

#[test]
fn a_client_asks_again_on_a_new_socket_and_gives_up_after_so_many_attempts() {
    let silent = FakeBroker::new();
    let mut client = client(&[&silent.endpoint], Version::V02);
    let start = Instant::now();
    let error = client.request("echo", frames(&["x"])).unwrap_err();
    assert!(matches!(error, RequestError::Timeout { attempts: 3, .. }));
    assert!(start.elapsed() >= Duration::from_millis(900));
    let mut ids = Vec::new();
    for _ in 0..3 {
        let (id, message) = silent.receive();
        assert_eq!(message, Speech::V2.request("echo", &[b"x"]));
        ids.push(id);
    }
    ids.dedup();
    assert_eq!(ids.len(), 3, "every attempt has a connection of its own");
}

#[test]
fn a_client_turns_to_the_next_broker_and_ignores_late_answers() {
    let silent = FakeBroker::new();
    let broker = broker();
    let endpoint = broker.endpoint.clone();
    let thread = std::thread::spawn(move || {
        let mut worker = worker(&endpoint, Version::V01);
        let job = worker.receive().unwrap();
        worker.reply(job, frames(&["answer"])).unwrap();
    });
    let mut client = client(&[&silent.endpoint, &broker.endpoint], Version::V01);
    assert_eq!(client.request("echo", frames(&["x"])).unwrap(), frames(&["answer"]));
    thread.join().unwrap();
}

#[test]
fn an_unfinished_answer_is_not_asked_for_again() {
    let fake = FakeBroker::new();
    let endpoint = fake.endpoint.clone();
    let thread = std::thread::spawn(move || {
        let mut client = client(&[&endpoint], Version::V02);
        let mut parts: Vec<Part> = Vec::new();
        let result = client.request_parts("echo", frames(&["x"]), |part| parts.push(part));
        (result, parts)
    });
    let (id, _) = fake.receive();
    let mut part = Speech::V2.answer("echo", &[b"part"]);
    part[1] = vec![2];
    fake.send(&id, part);
    let (result, parts) = thread.join().unwrap();
    assert!(matches!(result, Err(RequestError::Timeout { .. })));
    assert_eq!(parts.len(), 1);
    assert_eq!(fake.socket.poll(zmq::POLLIN, 100).unwrap(), 0, "asked again");
}

#[test]
fn a_worker_that_is_disconnected_comes_back_on_a_new_socket() {
    let fake = FakeBroker::new();
    let mut worker = worker(&fake.endpoint, Version::V01);
    let (first, ready) = fake.receive();
    assert_eq!(ready, Speech::V1.worker(Command::Ready, &[b"echo"]));
    fake.send(&first, Speech::V1.worker(Command::Disconnect, &[]));
    let mut second = first.clone();
    let deadline = Instant::now() + PATIENCE;
    while second == first && Instant::now() < deadline {
        assert!(worker.receive_for(HEARTBEAT).unwrap().is_none());
        while fake.socket.poll(zmq::POLLIN, 0).unwrap() != 0 {
            let (id, message) = fake.receive();
            if id != first {
                assert_eq!(message, ready, "READY comes first");
                second = id;
                break;
            }
            assert_eq!(message, Speech::V1.worker(Command::Heartbeat, &[]));
        }
    }
    assert_ne!(first, second, "a new socket has a new routing id");
}

#[test]
fn a_worker_starts_anew_when_the_broker_is_silent_and_beats_until_then() {
    let fake = FakeBroker::new();
    let endpoint = fake.endpoint.clone();
    let thread = std::thread::spawn(move || {
        worker(&endpoint, Version::V02).receive_for(Duration::from_millis(600)).unwrap().is_none()
    });
    let (first, ready) = fake.receive();
    let mut beats = 0;
    loop {
        let (id, message) = fake.receive();
        if id != first {
            assert_eq!(message, ready);
            break;
        }
        assert_eq!(message, Speech::V2.worker(Command::Heartbeat, &[]));
        beats += 1;
    }
    assert!((2..=4).contains(&beats), "{beats} heartbeats in four intervals");
    assert!(thread.join().unwrap());
}

#[test]
fn a_worker_does_not_answer_a_request_of_an_earlier_connection() {
    let fake = FakeBroker::new();
    let mut worker = worker(&fake.endpoint, Version::V01);
    let (first, _) = fake.receive();
    fake.send(&first, Speech::V1.worker(Command::Request, &[b"cid", b"", b"x"]));
    let job = worker.receive().unwrap();
    fake.send(&first, Speech::V1.worker(Command::Disconnect, &[]));
    let deadline = Instant::now() + PATIENCE;
    let second = loop {
        worker.receive_for(HEARTBEAT).unwrap();
        if fake.socket.poll(zmq::POLLIN, 0).unwrap() != 0 {
            let (id, _) = fake.receive();
            if id != first {
                break id;
            }
        }
        assert!(Instant::now() < deadline);
    };
    worker.reply(job, frames(&["late"])).unwrap();
    worker.keep_alive().unwrap();
    drop(worker);
    loop {
        let (id, message) = fake.receive();
        assert_eq!(id, second);
        if message == Speech::V1.worker(Command::Disconnect, &[]) {
            break;
        }
        assert_eq!(message, Speech::V1.worker(Command::Heartbeat, &[]), "a late answer");
    }
}

#[test]
fn a_worker_comes_back_to_a_restarted_broker() {
    let first = broker();
    let endpoint = first.endpoint.clone();
    let at = endpoint.clone();
    let thread = std::thread::spawn(move || {
        let mut worker = worker(&at, Version::V01);
        for _ in 0..2 {
            let job = worker.receive().unwrap();
            let body = job.body.clone();
            worker.reply(job, body).unwrap();
        }
    });
    let mut one = client(&[&endpoint], Version::V01);
    one.request("echo", frames(&["1"])).unwrap();
    first.handle.stop().unwrap();
    let second = broker_with(|config| config.listen = vec![endpoint.parse().unwrap()]);
    wait_for_workers(&second.endpoint, "echo", 1);
    assert_eq!(one.request("echo", frames(&["2"])).unwrap(), frames(&["2"]));
    thread.join().unwrap();
}
