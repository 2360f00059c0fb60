//! A table, a clock that only the test moves, and peers that are names.

use std::time::{Duration, Instant};

use bytes::Bytes;
use uuid::Uuid;

use crate::config::Routing;
use crate::dialect::{
    ErrorBody, Header, Hello, Kind, PartitionRegistration, Registration, Role, ServiceName,
    SessionId, decode_body, encode_body, flags,
};
use crate::error_code::ErrorCode;
use crate::mdp::Version;
use crate::mdp::message::{ToBroker, ToClient, ToWorker, WorkerCommand};
use crate::net::Frames;
use crate::routing::{Identity, Input, Output, PeerId, RoutingTable};

pub const SECOND: Duration = Duration::from_secs(1);

pub struct Bench {
    pub table: RoutingTable,
    pub now: Instant,
}

/// What one peer got.
pub type Mail = Vec<(String, Frames)>;

pub fn frames(texts: &[&str]) -> Frames {
    texts.iter().map(|text| Bytes::from(text.as_bytes().to_vec())).collect()
}

pub fn name(text: &str) -> ServiceName {
    ServiceName::new(text.to_owned()).unwrap()
}

pub fn session(peer: &str) -> SessionId {
    let mut id = [0x55; 16];
    id[..peer.len()].copy_from_slice(peer.as_bytes());
    SessionId(id)
}

pub fn uuid(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn peer_id(peer: &str) -> PeerId {
    PeerId(Bytes::from(peer.as_bytes().to_vec()))
}

impl Bench {
    pub fn new() -> Bench {
        Bench::with(|_| {})
    }

    #[allow(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
    pub fn with(change: impl FnOnce(&mut Routing)) -> Bench {
        let now = Instant::now();
        let mut settings = Routing::default();
        change(&mut settings);
        let identity = Identity { broker: uuid(99), endpoints: vec!["tcp://x:1".to_owned()] };
        Bench { table: RoutingTable::new(now, settings, identity), now }
    }

    pub fn input(&mut self, input: Input) -> Mail {
        let mut outputs = Vec::new();
        self.table.handle(self.now, input, &mut outputs);
        outputs
            .into_iter()
            .map(|Output::Send { peer, frames }| {
                (String::from_utf8_lossy(&peer.0).into_owned(), frames)
            })
            .collect()
    }

    pub fn send(&mut self, peer: &str, frames: Frames) -> Mail {
        self.input(Input::Received { peer: peer_id(peer), frames })
    }

    pub fn gone(&mut self, peer: &str) -> Mail {
        self.input(Input::PeerGone { peer: peer_id(peer) })
    }

    /// Moves the clock in steps as a loop would, and returns everything that was said.
    pub fn wait(&mut self, duration: Duration) -> Mail {
        let end = self.now + duration;
        let mut mail = Mail::new();
        while self.now < end {
            self.now = self.table.deadline().clamp(self.now + Duration::from_millis(1), end);
            mail.extend(self.input(Input::Tick));
        }
        mail
    }

    /// Moves the clock while the named dialect peers keep beating.
    pub fn wait_beating(&mut self, duration: Duration, peers: &[&str]) -> Mail {
        let end = self.now + duration;
        let mut mail = Mail::new();
        while self.now < end {
            let step = Duration::from_millis(400).min(end - self.now);
            mail.extend(self.wait(step));
            for peer in peers {
                let beat = Header::new(Kind::Heartbeat, session(peer));
                mail.extend(self.send(peer, vec![beat.encode().into()]));
            }
        }
        mail
    }

    // MDP

    pub fn ask(&mut self, peer: &str, version: Version, service: &str, body: &[&str]) -> Mail {
        let service = name(service);
        self.send(peer, ToBroker::Request { version, service, body: frames(body) }.encode())
    }

    pub fn say(&mut self, peer: &str, version: Version, command: WorkerCommand) -> Mail {
        self.send(peer, ToBroker::Worker { version, command }.encode())
    }

    pub fn ready(&mut self, peer: &str, version: Version, service: &str) -> Mail {
        self.say(peer, version, WorkerCommand::Ready(name(service)))
    }

    pub fn finish(&mut self, peer: &str, version: Version, client: &str, body: &str) -> Mail {
        let client = Bytes::from(client.as_bytes().to_vec());
        self.say(peer, version, WorkerCommand::Final { client, body: frames(&[body]) })
    }

    pub fn partial(&mut self, peer: &str, client: &str, body: &str) -> Mail {
        let client = Bytes::from(client.as_bytes().to_vec());
        self.say(peer, Version::V02, WorkerCommand::Partial { client, body: frames(&[body]) })
    }

    // Dialect

    pub fn hello(&mut self, peer: &str, role: Role) -> Mail {
        let mut header = Header::new(Kind::Hello, session(peer));
        header.time_ms = 500;
        let hello = Hello { version_min: 1, version_max: 1, role, agent: "test".to_owned() };
        self.send(peer, vec![header.encode().into(), encode_body(&hello)])
    }

    pub fn register(&mut self, peer: &str, member: &Member) -> Mail {
        self.send(peer, member.frames(peer))
    }

    /// A worker with one registration, ready to work.
    pub fn member(&mut self, peer: &str, member: &Member) -> Mail {
        self.hello(peer, Role::Worker);
        self.register(peer, member)
    }

    pub fn request(&mut self, peer: &str, asked: &Asked) -> Mail {
        self.send(peer, asked.frames(peer))
    }

    /// An answer of a worker to the request that it was just sent.
    pub fn answer(&mut self, peer: &str, request: &Header, body: &[&str]) -> Mail {
        let header = Header { kind: Kind::Reply, epoch: 7, ..request.clone() };
        let mut message = vec![header.encode().into()];
        message.extend(frames(body));
        self.send(peer, message)
    }
}

/// A registration with the usual values.
#[derive(Clone)]
pub struct Member {
    pub service: String,
    pub epoch: u64,
    pub credit: (u64, u64),
    pub partition: Option<PartitionRegistration>,
}

impl Member {
    pub fn plain(service: &str) -> Member {
        Member { service: service.to_owned(), epoch: 0, credit: (100, 1_000_000), partition: None }
    }

    /// Partition `number` of the store `orders` with two partitions.
    pub fn of(number: u16, leader: bool, epoch: u64) -> Member {
        Member {
            service: format!("orders/{number}"),
            epoch,
            credit: (100, 1_000_000),
            partition: Some(PartitionRegistration {
                store: "orders".to_owned(),
                partition: number,
                partitions: 2,
                leader,
                incarnation: uuid(1),
                lineage: uuid(500),
                durability: "local".to_owned(),
                feed: "tcp://f".to_owned(),
                replay: "tcp://r".to_owned(),
            }),
        }
    }

    pub fn credit(self, messages: u64, bytes: u64) -> Member {
        Member { credit: (messages, bytes), ..self }
    }

    pub fn change(mut self, change: impl FnOnce(&mut PartitionRegistration)) -> Member {
        change(self.partition.as_mut().unwrap());
        self
    }

    fn frames(&self, peer: &str) -> Frames {
        let mut header = Header::new(Kind::Register, session(peer));
        header.service = name(&self.service);
        header.epoch = self.epoch;
        (header.credit_messages, header.credit_bytes) = self.credit;
        let registration = Registration { partition: self.partition.clone() };
        vec![header.encode().into(), encode_body(&registration)]
    }
}

/// A request with the usual values.
#[derive(Clone)]
pub struct Asked {
    pub service: String,
    pub number: u64,
    pub lowest: u64,
    pub flags: u8,
    pub time_ms: u32,
    pub body: String,
}

impl Asked {
    pub fn new(service: &str, number: u64) -> Asked {
        Asked {
            service: service.to_owned(),
            number,
            lowest: 1,
            flags: 0,
            time_ms: 5_000,
            body: format!("body-{number}"),
        }
    }

    pub fn no_resend(self) -> Asked {
        Asked { flags: flags::NO_RESEND, ..self }
    }

    pub fn within(self, time_ms: u32) -> Asked {
        Asked { time_ms, ..self }
    }

    fn frames(&self, peer: &str) -> Frames {
        let mut header = Header::new(Kind::Request, session(peer));
        header.service = name(&self.service);
        header.number = self.number;
        header.lowest = self.lowest;
        header.flags = self.flags;
        header.time_ms = self.time_ms;
        vec![header.encode().into(), Bytes::from(self.body.clone())]
    }
}

/// The dialect messages for one peer, heartbeats left out.
pub fn for_peer(mail: &Mail, peer: &str) -> Vec<(Header, Frames)> {
    mail.iter()
        .filter(|(to, frames)| to == peer && frames[0].starts_with(b"SLG"))
        .map(|(_, frames)| (Header::decode(&frames[0]).unwrap(), frames[1..].to_vec()))
        .filter(|(header, _)| header.kind != Kind::Heartbeat)
        .collect()
}

/// The one dialect message for this peer.
pub fn only(mail: &Mail, peer: &str) -> (Header, Frames) {
    let mut messages = for_peer(mail, peer);
    assert_eq!(messages.len(), 1, "messages for {peer}: {messages:?}");
    messages.remove(0)
}

/// Numbers of the requests in this mail for a peer, in order.
pub fn numbers(mail: &Mail, peer: &str) -> Vec<u64> {
    for_peer(mail, peer)
        .iter()
        .filter(|(header, _)| header.kind == Kind::Request)
        .map(|(header, _)| header.number)
        .collect()
}

/// Numbers and codes of the replies in this mail for a peer, in order.
pub fn codes(mail: &Mail, peer: &str) -> Vec<(u64, Option<ErrorCode>)> {
    for_peer(mail, peer)
        .iter()
        .filter(|(header, _)| header.kind == Kind::Reply)
        .map(|(header, _)| (header.number, header.code))
        .collect()
}

/// Code and sentence of the one refusal for this peer.
pub fn refusal(mail: &Mail, peer: &str) -> (ErrorCode, String) {
    let (header, body) = only(mail, peer);
    assert_eq!(header.kind, Kind::Refused);
    let error: ErrorBody = decode_body(&body[0]).unwrap();
    (header.code.unwrap(), error.message)
}

/// What an MDP worker was sent.
pub fn to_worker(mail: &Mail, peer: &str, version: Version) -> Vec<ToWorker> {
    mail.iter()
        .filter(|(to, _)| to == peer)
        .map(|(_, frames)| ToWorker::decode(version, frames.clone()).unwrap())
        .collect()
}

/// Bodies of the requests that an MDP worker was sent.
pub fn work(mail: &Mail, peer: &str, version: Version) -> Vec<(String, String)> {
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    to_worker(mail, peer, version)
        .into_iter()
        .filter_map(|message| match message {
            ToWorker::Request { client, body } => Some((text(&client), text(&body[0]))),
            _ => None,
        })
        .collect()
}

/// What an MDP client was sent: body frames as text, and whether it was the last.
pub fn to_client(mail: &Mail, peer: &str, version: Version) -> Vec<(Vec<String>, bool)> {
    mail.iter()
        .filter(|(to, _)| to == peer)
        .map(|(_, frames)| {
            let message = ToClient::decode(version, frames.clone()).unwrap();
            let body = message.body.iter();
            let texts = body.map(|frame| String::from_utf8_lossy(frame).into_owned());
            (texts.collect(), message.last)
        })
        .collect()
}
