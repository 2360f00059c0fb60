use std::time::{Duration, Instant};

use broker::config::Config;
use broker::server::{self, Handle};

/// Nothing in these tests takes longer.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// What the tests' brokers say and bear.
pub const HEARTBEAT: Duration = Duration::from_millis(50);

pub type Message = Vec<Vec<u8>>;

pub struct Broker {
    pub handle: Handle,
    pub endpoint: String,
    _data: tempfile::TempDir,
}

pub fn broker() -> Broker {
    broker_with(|_| {})
}

pub fn broker_with(change: impl FnOnce(&mut Config)) -> Broker {
    let data = tempfile::tempdir().unwrap();
    let mut config = Config {
        listen: vec!["tcp://127.0.0.1:*".parse().unwrap()],
        data: data.path().to_owned(),
        ..Config::default()
    };
    config.routing.heartbeat = HEARTBEAT;
    config.routing.worker_expiry = Duration::from_millis(600);
    config.routing.busy_expiry = Duration::from_millis(1_200);
    config.routing.request_expiry = Duration::from_secs(2);
    change(&mut config);
    let handle = server::start(config).unwrap();
    let endpoint = handle.endpoints()[0].to_string();
    Broker { handle, endpoint, _data: data }
}

/// A DEALER that speaks in frames.
pub struct Peer {
    pub socket: zmq::Socket,
    _context: zmq::Context,
}

/// The same message in both versions of a worker's protocol.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Speech {
    V1,
    V2,
}

pub const BOTH: [Speech; 2] = [Speech::V1, Speech::V2];

impl Speech {
    pub fn worker(self, command: Command, rest: &[&[u8]]) -> Message {
        let byte = match (self, command) {
            (_, Command::Ready) => 1,
            (_, Command::Request) => 2,
            (Speech::V1, Command::Partial) => panic!("no PARTIAL in 0.1"),
            (Speech::V2, Command::Partial) | (Speech::V1, Command::Final) => 3,
            (Speech::V2, Command::Final) | (Speech::V1, Command::Heartbeat) => 4,
            (Speech::V2, Command::Heartbeat) | (Speech::V1, Command::Disconnect) => 5,
            (Speech::V2, Command::Disconnect) => 6,
        };
        let mut message: Message = match self {
            Speech::V1 => vec![vec![], b"MDPW01".to_vec(), vec![byte]],
            Speech::V2 => vec![b"MDPW02".to_vec(), vec![byte]],
        };
        message.extend(rest.iter().map(|frame| frame.to_vec()));
        message
    }

    pub fn request(self, service: &str, body: &[&[u8]]) -> Message {
        let mut message: Message = match self {
            Speech::V1 => vec![vec![], b"MDPC01".to_vec()],
            Speech::V2 => vec![b"MDPC02".to_vec(), vec![1]],
        };
        message.push(service.as_bytes().to_vec());
        message.extend(body.iter().map(|frame| frame.to_vec()));
        message
    }

    /// The answer as the client gets it.
    pub fn answer(self, service: &str, body: &[&[u8]]) -> Message {
        let mut message = self.request(service, body);
        if self == Speech::V2 {
            message[1] = vec![3];
        }
        message
    }

    /// Client and body of a request that a worker got.
    pub fn work(self, mut message: Message) -> (Vec<u8>, Message) {
        let start = self.worker(Command::Request, &[]);
        assert_eq!(message[..start.len()], start, "not a REQUEST");
        message.drain(..start.len());
        assert_eq!(message[1], b"", "one client frame, then one empty frame");
        (message[0].clone(), message.split_off(2))
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Command {
    Ready,
    Request,
    Partial,
    Final,
    Heartbeat,
    Disconnect,
}

impl Peer {
    pub fn new(endpoint: &str) -> Peer {
        Peer::of(zmq::DEALER, endpoint)
    }

    pub fn of(kind: zmq::SocketType, endpoint: &str) -> Peer {
        Peer::prepared(kind, endpoint, |_| {})
    }

    pub fn prepared(
        kind: zmq::SocketType,
        endpoint: &str,
        prepare: impl FnOnce(&zmq::Socket),
    ) -> Peer {
        let context = zmq::Context::new();
        let socket = context.socket(kind).unwrap();
        socket.set_linger(0).unwrap();
        prepare(&socket);
        socket.connect(endpoint).unwrap();
        Peer { socket, _context: context }
    }

    /// A worker that has said READY.
    pub fn worker(endpoint: &str, speech: Speech, service: &str) -> Peer {
        let peer = Peer::new(endpoint);
        peer.send(speech.worker(Command::Ready, &[service.as_bytes()]));
        peer.fence();
        peer
    }

    pub fn send(&self, message: Message) {
        self.socket.send_multipart(message, 0).unwrap();
    }

    pub fn receive_within(&self, timeout: Duration) -> Option<Message> {
        let milliseconds = i64::try_from(timeout.as_millis()).unwrap();
        if self.socket.poll(zmq::POLLIN, milliseconds).unwrap() == 0 {
            return None;
        }
        Some(self.socket.recv_multipart(0).unwrap())
    }

    pub fn receive(&self) -> Message {
        self.receive_within(PATIENCE).expect("nothing came")
    }

    /// The next message that is not a heartbeat.
    pub fn next(&self) -> Message {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let message = self.receive();
            if !is_heartbeat(&message) {
                return message;
            }
        }
        panic!("nothing but heartbeats came");
    }

    /// Has the broker work through all that this peer sent before, and returns what it said to
    /// this peer until then, heartbeats left out.
    pub fn fence(&self) -> Vec<Message> {
        self.send(Speech::V2.request("mmi.fence", &[b"?"]));
        let end = Speech::V2.answer("mmi.fence", &[b"501"]);
        let mut before = Vec::new();
        loop {
            let message = self.next();
            if message == end {
                return before;
            }
            before.push(message);
        }
    }

    pub fn ask(&self, speech: Speech, service: &str, body: &[&[u8]]) -> Message {
        self.send(speech.request(service, body));
        self.next()
    }
}

pub fn is_heartbeat(message: &Message) -> bool {
    BOTH.iter().any(|speech| *message == speech.worker(Command::Heartbeat, &[]))
}

/// Waits until the broker says so many workers of a service.
pub fn wait_for_workers(endpoint: &str, service: &str, count: usize) {
    let peer = Peer::new(endpoint);
    let deadline = Instant::now() + PATIENCE;
    let expected = Speech::V2.answer("mmi.workers", &[b"200", count.to_string().as_bytes()]);
    while peer.ask(Speech::V2, "mmi.workers", &[service.as_bytes()]) != expected {
        assert!(Instant::now() < deadline, "never {count} workers of {service}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// `#starlog-error` and a text that starts with the code.
pub fn assert_error(message: &Message, code: &str) {
    let [.., marker, text] = message.as_slice() else {
        panic!("no error: {message:?}");
    };
    assert_eq!(marker, b"#starlog-error");
    let text = String::from_utf8_lossy(text);
    assert!(text.starts_with(&format!("{code} ")), "{text}");
}
