//! A broker, a store process in threads, and the raw ends of its protocols.

use std::path::Path;
use std::time::{Duration, Instant};

use broker::dialect::{
    ClientInput, ClientLink, ClientOutput, ClientReply, ClientRequest, ErrorBody, LinkSettings,
    ServiceName, SessionId, decode_body,
};
use broker::net::{self, Endpoint, Frames};
use bytes::Bytes;
use store::server::config::Config;
use store::server::{self, Handle};
use store::wire::append::{AppendMessage, AppendReply, AppendResult};
use store::wire::feed::{FeedHeader, Topic};
use store::wire::replay::{
    Read, ReadDirection, ReadSource, ReplayAnswer, ReplayRequest, RequestNumber,
};
use store::{Epoch, ExpectedVersion, NewEvent, NodeOptions, Sequence, StreamName, StreamWrite};
use tempfile::TempDir;
use zmq::{Context, Socket, SocketType};

use crate::fixture::{SMALL_SEGMENT_BYTES, name};

/// Nothing here takes longer, unless it is broken.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub fn loopback() -> Endpoint {
    "tcp://127.0.0.1:*".parse().unwrap()
}

/// A broker in threads of its own.
pub struct TestBroker {
    pub handle: broker::server::Handle,
    _dir: TempDir,
}

impl TestBroker {
    pub fn start() -> Self {
        Self::start_with(|_| {})
    }

    pub fn start_with(change: impl FnOnce(&mut broker::config::Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = broker::config::Config {
            listen: vec![loopback()],
            data: dir.path().to_owned(),
            ..Default::default()
        };
        change(&mut config);
        Self { handle: broker::server::start(config).unwrap(), _dir: dir }
    }

    pub fn endpoint(&self) -> Endpoint {
        self.handle.endpoints()[0].clone()
    }
}

/// The configuration of a store process that hosts all of `orders:1`.
pub fn config(dir: &Path, brokers: &[&TestBroker]) -> Config {
    Config {
        data: dir.to_owned(),
        brokers: brokers.iter().map(|broker| broker.endpoint()).collect(),
        stores: vec!["orders:1".parse().unwrap()],
        heartbeat: Duration::from_millis(200),
        node: NodeOptions { segment_bytes: SMALL_SEGMENT_BYTES, ..NodeOptions::default() },
        ..Config::default()
    }
}

pub fn start(config: &Config) -> Handle {
    let handle = server::start(config).unwrap();
    assert!(handle.wait_serving(PATIENCE), "no broker took the registrations");
    handle
}

/// A broker and a store, ready for a client.
pub struct Bench {
    pub broker: TestBroker,
    pub store: Handle,
    pub dir: TempDir,
}

impl Bench {
    pub fn start() -> Self {
        let (broker, dir) = (TestBroker::start(), tempfile::tempdir().unwrap());
        let store = start(&config(dir.path(), &[&broker]));
        Self { broker, store, dir }
    }

    pub fn client(&self) -> RawClient {
        RawClient::connect(&self.broker.endpoint(), SessionId::random())
    }

    pub fn replay(&self) -> ReplayClient {
        ReplayClient::connect(self.store.replay())
    }
}

/// One client session at one broker, with numbers chosen by the test.
pub struct RawClient {
    socket: Socket,
    link: ClientLink,
    outputs: Vec<ClientOutput>,
}

impl RawClient {
    pub fn connect(broker: &Endpoint, session: SessionId) -> Self {
        let socket = net::socket(&Context::new(), SocketType::DEALER).unwrap();
        net::connect(&socket, broker).unwrap();
        let link = ClientLink::new(LinkSettings::default());
        let mut client = Self { socket, link, outputs: Vec::new() };
        client.give(ClientInput::Opened { session });
        let up = client.wait(|output| match output {
            ClientOutput::Up(welcome) => Some(welcome),
            _ => None,
        });
        assert_eq!(up.version, 1);
        client
    }

    fn give(&mut self, input: ClientInput) {
        let mut outputs = Vec::new();
        self.link.handle(Instant::now(), input, &mut outputs);
        for output in outputs {
            match output {
                ClientOutput::Send(frames) => {
                    let sent = net::send(&self.socket, &frames).unwrap();
                    assert_eq!(sent, net::Sent::Done);
                }
                other => self.outputs.push(other),
            }
        }
    }

    fn wait<T>(&mut self, pick: impl Fn(ClientOutput) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            while !self.outputs.is_empty() {
                if let Some(picked) = pick(self.outputs.remove(0)) {
                    return picked;
                }
            }
            if let Some(frames) = receive(&self.socket, Duration::from_millis(50)) {
                self.give(ClientInput::Frames(frames));
            }
            self.give(ClientInput::Tick);
        }
        panic!("nothing came from the broker");
    }

    /// Sends a message without waiting for its answer.
    pub fn send(&mut self, number: u64, lowest: u64, body: Bytes) {
        self.send_to("orders/0", (number, lowest), PATIENCE, body);
    }

    pub fn send_to(
        &mut self,
        service: &str,
        (number, lowest): (u64, u64),
        time_left: Duration,
        body: Bytes,
    ) {
        self.give(ClientInput::Request(ClientRequest {
            service: ServiceName::new(service.to_owned()).unwrap(),
            number,
            lowest,
            flags: 0,
            time_left,
            body: vec![body],
        }));
    }

    pub fn reply(&mut self) -> ClientReply {
        self.wait(|output| match output {
            ClientOutput::Reply(reply) => Some(reply),
            _ => None,
        })
    }

    /// Sends one append and waits for its result.
    pub fn append(&mut self, number: u64, write: StreamWrite) -> AppendResult {
        self.send(number, number, message(vec![vec![write]]));
        results(&self.reply()).remove(0)
    }
}

pub fn message(appends: Vec<Vec<StreamWrite>>) -> Bytes {
    AppendMessage { durability: None, appends }.encode().unwrap().into()
}

pub fn write(stream: &str, expected: ExpectedVersion, events: Vec<NewEvent>) -> StreamWrite {
    StreamWrite { stream: StreamName::try_from(stream).unwrap(), expected, events }
}

/// The results of a positive reply.
pub fn results(reply: &ClientReply) -> Vec<AppendResult> {
    assert_eq!(reply.code, None, "{}", error(reply).message);
    AppendReply::decode(reply.body[0].clone()).unwrap().results
}

pub fn error(reply: &ClientReply) -> ErrorBody {
    decode_body(&reply.body[0]).unwrap()
}

/// A client of the replay socket.
pub struct ReplayClient {
    pub socket: Socket,
}

impl ReplayClient {
    pub fn connect(endpoint: &Endpoint) -> Self {
        let socket = net::socket(&Context::new(), SocketType::DEALER).unwrap();
        net::connect(&socket, endpoint).unwrap();
        Self { socket }
    }

    pub fn send(&self, request: &ReplayRequest) {
        let frame = Bytes::from(request.encode().unwrap());
        assert_eq!(net::send(&self.socket, &[frame]).unwrap(), net::Sent::Done);
    }

    pub fn answer(&self) -> ReplayAnswer {
        let frames = receive(&self.socket, PATIENCE).expect("an answer of the replay socket");
        ReplayAnswer::decode(frames[0].clone(), frames[1].clone()).unwrap()
    }

    /// Reads to the end; the sequences, in the order in which they came.
    pub fn sequences(&self, read: Read) -> Vec<u64> {
        let request = read.request;
        self.send(&ReplayRequest::Read(read));
        let mut sequences = Vec::new();
        loop {
            match self.answer() {
                ReplayAnswer::Block(block) => {
                    assert_eq!(block.request, request);
                    let events = store::record::iterate(&block.records);
                    let events = events.collect::<Result<Vec<_>, _>>().unwrap();
                    assert_eq!(events.len(), usize::try_from(block.count).unwrap());
                    sequences.extend(events.iter().map(|event| event.sequence.0));
                    if block.end {
                        return sequences;
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

/// A read of everything in partition 0 of `orders`, to be changed by the test.
pub fn read_all() -> Read {
    Read {
        request: RequestNumber(1),
        store: name("orders"),
        partition: 0,
        source: ReadSource::All,
        direction: ReadDirection::Forward,
        from: 0,
        to: 0,
        count_max: 0,
        at_least: Sequence::ZERO,
        credit_bytes: u64::MAX,
        epoch: Epoch::ZERO,
        block_bytes_max: 64 * 1024,
        strong: false,
    }
}

/// Waits for one message.
pub fn receive(socket: &Socket, timeout: Duration) -> Option<Frames> {
    receive_until(socket, deadline(timeout))
}

fn receive_until(socket: &Socket, deadline: Instant) -> Option<Frames> {
    loop {
        if let Some(frames) = net::receive(socket).unwrap() {
            return Some(frames);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        net::poll(&mut [socket.as_poll_item(zmq::POLLIN)], Some(left)).unwrap();
    }
}

pub fn deadline(timeout: Duration) -> Instant {
    Instant::now() + timeout
}

pub fn is_past(deadline: Instant) -> bool {
    Instant::now() >= deadline
}

/// A subscriber of the feed.
pub struct Subscriber {
    pub socket: Socket,
}

impl Subscriber {
    pub fn connect(endpoint: &Endpoint) -> Self {
        let socket = net::socket(&Context::new(), SocketType::SUB).unwrap();
        net::connect(&socket, endpoint).unwrap();
        Self { socket }
    }

    pub fn subscribe(&self, store: &str, partition: u16) {
        self.listen(&Topic { store: name(store), partition, filter: None });
    }

    pub fn listen(&self, topic: &Topic) {
        self.socket.set_subscribe(&topic.encode()).unwrap();
    }

    /// Connects to the feed of one more process.
    pub fn connect_also(&self, endpoint: &Endpoint) {
        net::connect(&self.socket, endpoint).unwrap();
    }

    pub fn message(&self) -> (Topic, FeedHeader, Bytes) {
        let frames = receive(&self.socket, PATIENCE).expect("a message of the feed");
        let header = FeedHeader::decode(frames[1].clone()).unwrap();
        let records = frames.get(2).cloned().unwrap_or_default();
        (Topic::decode(&frames[0]).unwrap(), header, records)
    }
}
