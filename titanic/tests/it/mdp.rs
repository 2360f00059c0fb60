use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use zmq::{Context, DEALER, POLLIN, Socket};

use crate::process::PATIENCE;

/// Frames of a message.
pub type Frames = Vec<Vec<u8>>;

/// A version of the Majordomo Protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mdp {
    /// MDP/0.1, RFC 7.
    V1,
    /// MDP/0.2, RFC 18.
    V2,
}

pub const BOTH: [Mdp; 2] = [Mdp::V1, Mdp::V2];

/// A body from texts or bytes.
pub fn body<T: AsRef<[u8]>>(frames: &[T]) -> Frames {
    frames.iter().map(|frame| frame.as_ref().to_vec()).collect()
}

fn connect(endpoint: &str) -> Socket {
    let socket = Context::new().socket(DEALER).unwrap();
    socket.set_linger(0).unwrap();
    socket.set_reconnect_ivl(20).unwrap();
    socket.set_reconnect_ivl_max(200).unwrap();
    socket.connect(endpoint).unwrap();
    socket
}

fn receive(socket: &Socket, within: Duration) -> Option<Frames> {
    let milliseconds = i64::try_from(within.as_millis()).unwrap();
    let ready = socket.poll(POLLIN, milliseconds).unwrap() > 0;
    ready.then(|| socket.recv_multipart(0).unwrap())
}

/// A client: one socket, any number of requests under way.
pub struct MdpClient {
    socket: Socket,
    version: Mdp,
}

impl MdpClient {
    pub fn connect(endpoint: &str, version: Mdp) -> Self {
        Self { socket: connect(endpoint), version }
    }

    /// `"" | MDPC01 | service | body+`, or `MDPC02 | 0x01 | service | body+`.
    pub fn send(&self, service: &str, body: Frames) {
        let mut frames = match self.version {
            Mdp::V1 => self::body(&[&b""[..], b"MDPC01", service.as_bytes()]),
            Mdp::V2 => self::body(&[&b"MDPC02"[..], b"\x01", service.as_bytes()]),
        };
        frames.extend(body);
        self.socket.send_multipart(frames, 0).unwrap();
    }

    /// The body of the next answer, which is from `service`.
    pub fn receive(&self, service: &str) -> Frames {
        self.receive_within(service, PATIENCE).expect("an answer")
    }

    pub fn receive_within(&self, service: &str, within: Duration) -> Option<Frames> {
        let mut frames = receive(&self.socket, within)?;
        let head = match self.version {
            Mdp::V1 => self::body(&[&b""[..], b"MDPC01", service.as_bytes()]),
            Mdp::V2 => self::body(&[&b"MDPC02"[..], b"\x03", service.as_bytes()]),
        };
        let body = frames.split_off(3);
        assert_eq!(frames, head);
        Some(body)
    }

    /// A request and its answer.
    pub fn ask(&self, service: &str, body: Frames) -> Frames {
        self.send(service, body);
        self.receive(service)
    }

    /// `titanic.request`: the id, which is 32 hex digits in upper case.
    pub fn request(&self, target: &str, body: Frames) -> String {
        self.send_request(target, body);
        self.accepted()
    }

    pub fn send_request(&self, target: &str, body: Frames) {
        let mut frames = vec![target.as_bytes().to_vec()];
        frames.extend(body);
        self.send("titanic.request", frames);
    }

    /// The answer to a `titanic.request` that is accepted.
    pub fn accepted(&self) -> String {
        let answer = self.receive("titanic.request");
        let [status, id] = &answer[..] else { panic!("{answer:?}") };
        assert_eq!(status, b"200");
        let id = String::from_utf8(id.clone()).unwrap();
        assert!(id.len() == 32 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'A'..=b'F')));
        id
    }

    /// `titanic.reply`: what is there now.
    pub fn reply(&self, id: &str) -> Frames {
        self.ask("titanic.reply", body(&[id]))
    }

    /// Asks until the reply is there; its body.
    pub fn collect(&self, id: &str) -> Frames {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut answer = self.reply(id);
            let status = String::from_utf8(answer.remove(0)).unwrap();
            if status == "200" {
                return answer;
            }
            // While a process is away the broker may have nobody to ask.
            let again = status.starts_with("300") || status == "#starlog-error";
            assert!(again, "{id}: {status}");
            assert!(Instant::now() < deadline, "no reply to {id}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// `titanic.close`: its status.
    pub fn close(&self, id: &str) -> Frames {
        self.ask("titanic.close", body(&[id]))
    }
}

/// What a worker does with a request.
pub enum Answer {
    /// Answer with this body.
    Reply(Frames),
    /// Leave it, and say nothing more for ever: the worker is dead, and its connection too.
    Die,
}

/// A worker of one service on a thread of its own, one request at a time.
pub struct MdpWorker {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    /// The bodies that came, in order.
    pub requests: Receiver<Frames>,
}

impl MdpWorker {
    /// Answers with the request's own body.
    pub fn echo(endpoint: &str, version: Mdp, service: &str) -> Self {
        Self::start(endpoint, (version, service), |body| Answer::Reply(body.clone()))
    }

    pub fn start(
        endpoint: &str,
        (version, service): (Mdp, &str),
        work: impl FnMut(&Frames) -> Answer + Send + 'static,
    ) -> Self {
        let (endpoint, service) = (endpoint.to_owned(), service.to_owned());
        let stop = Arc::new(AtomicBool::new(false));
        let (sender, requests) = mpsc::channel();
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut work = work;
            let mut heard = |body: &Frames| {
                let _ = sender.send(body.clone());
                work(body)
            };
            while !stopped.load(Ordering::SeqCst)
                && serve(&endpoint, (version, &service), &stopped, &mut heard)
            {}
        });
        Self { stop, thread: Some(thread), requests }
    }

    /// The next request's body.
    pub fn next(&self) -> Frames {
        self.requests.recv_timeout(PATIENCE).expect("a request")
    }
}

impl Drop for MdpWorker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

const READY: u8 = 1;
const REQUEST: u8 = 2;
const BEAT_EVERY: Duration = Duration::from_millis(100);
/// A broker that is silent for so long is gone: the worker begins anew (RFC 7, "Reconnecting").
const LIVENESS: Duration = Duration::from_secs(1);

fn command(version: Mdp, name: &str) -> u8 {
    match (version, name) {
        (_, "ready") => READY,
        (_, "request") => REQUEST,
        (Mdp::V1, "reply") => 3,
        (Mdp::V1, "heartbeat") | (Mdp::V2, "reply") => 4,
        (Mdp::V1, "disconnect") | (Mdp::V2, "heartbeat") => 5,
        (Mdp::V2, "disconnect") => 6,
        _ => panic!("no command {name}"),
    }
}

/// One conversation; whether another one is to follow.
fn serve(
    endpoint: &str,
    (version, service): (Mdp, &str),
    stop: &AtomicBool,
    work: &mut dyn FnMut(&Frames) -> Answer,
) -> bool {
    let socket = connect(endpoint);
    let send = |name: &str, rest: Frames| {
        let mut frames = match version {
            Mdp::V1 => body(&[&b""[..], b"MDPW01"]),
            Mdp::V2 => body(&[b"MDPW02"]),
        };
        frames.push(vec![command(version, name)]);
        frames.extend(rest);
        // Nobody takes it: the broker is away, and silence will tell.
        let _ = socket.send_multipart(frames, zmq::DONTWAIT);
    };
    send("ready", body(&[service]));
    let (mut heard, mut beaten) = (Instant::now(), Instant::now());
    while !stop.load(Ordering::SeqCst) {
        if beaten.elapsed() >= BEAT_EVERY {
            beaten = Instant::now();
            send("heartbeat", vec![]);
        }
        if heard.elapsed() >= LIVENESS {
            return true;
        }
        let Some(mut frames) = receive(&socket, Duration::from_millis(20)) else { continue };
        heard = Instant::now();
        if version == Mdp::V1 {
            frames.remove(0);
        }
        let named = frames[1][0];
        if named == command(version, "disconnect") {
            return true;
        }
        if named == REQUEST {
            // header | command | client | "" | body+
            let request = frames.split_off(4);
            let client = frames.remove(2);
            match work(&request) {
                Answer::Die => return false,
                Answer::Reply(answer) => {
                    let mut rest = vec![client, vec![]];
                    rest.extend(answer);
                    send("reply", rest);
                }
            }
        }
    }
    send("disconnect", vec![]);
    // Closing the socket at once would take the last words along.
    socket.set_linger(200).unwrap();
    false
}
