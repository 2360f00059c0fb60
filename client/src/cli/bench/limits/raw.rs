//! The bare processes of the round-trip measurement: what any broker on this machine must pay.
//!
//! ```text
//! client DEALER ──[body]──► ROUTER broker ──[client id, body]──► DEALER worker
//!               ◄──[body]──        ◄───────[client id, body]────
//! ```
//!
//! They carry frames from one to the other and do nothing else: no names, no checks, no time-outs.

use std::io::{Read as _, Write as _};

use broker::net::{self, Endpoint};
use zmq::{Context, Error, Message, SocketType};

use crate::cli::bench::broken;
use crate::cli::failure::Failure;

/// What the broker prints before the endpoint that it is bound to.
pub const LISTENING: &str = "raw broker listening on ";
/// What the other node prints before the endpoint that it is bound to.
pub const PEER_LISTENING: &str = "raw peer listening on ";
/// What the source prints before the endpoint that it is bound to.
pub const SOURCE_LISTENING: &str = "raw source listening on ";
/// What the broker prints when the worker has reported.
pub const WORKER_READY: &str = "raw broker has its worker";

/// Carries messages between one worker and any number of clients, until its parent is gone.
///
/// # Errors
/// [`Failure`] when a socket fails.
pub fn broker() -> Result<(), Failure> {
    end_with_parent()?;
    let (socket, endpoint) = bound_router()?;
    announce(&format!("{LISTENING}{endpoint}"))?;

    // The worker is who speaks first: the clients start when it is announced.
    let worker = receive(&socket)?.swap_remove(0).to_vec();
    announce(WORKER_READY)?;
    loop {
        let mut frames = receive(&socket)?;
        if *frames[0] == *worker {
            frames.remove(0);
        } else {
            frames.insert(0, Message::from(worker.as_slice()));
        }
        socket.send_multipart(frames, 0).map_err(socket_failed)?;
    }
}

/// Sends everything back, until its parent is gone.
///
/// # Errors
/// [`Failure`] when the socket fails.
pub fn worker(endpoint: &Endpoint) -> Result<(), Failure> {
    end_with_parent()?;
    let context = Context::new();
    let socket = net::socket(&context, SocketType::DEALER).map_err(socket_failed)?;
    net::connect(&socket, endpoint).map_err(socket_failed)?;
    socket.send("ready", 0).map_err(socket_failed)?;
    loop {
        let frames = receive(&socket)?;
        socket.send_multipart(frames, 0).map_err(socket_failed)?;
    }
}

/// Sends every message back to whom it came from, until its parent is gone.
///
/// # Errors
/// [`Failure`] when the socket fails.
pub fn peer() -> Result<(), Failure> {
    end_with_parent()?;
    let (socket, endpoint) = bound_router()?;
    announce(&format!("{PEER_LISTENING}{endpoint}"))?;
    loop {
        let frames = receive(&socket)?;
        socket.send_multipart(frames, 0).map_err(socket_failed)?;
    }
}

/// What a source is asked for.
///
/// ```text
/// 0  4 count   4  4 bytes of each   8 .. anything: a question may be as long as it likes
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Messages.
    pub count: u32,
    /// Bytes of each.
    pub bytes: u32,
}

impl Wanted {
    /// The question, filled up to so many bytes.
    pub fn encode(self, bytes_min: usize) -> Vec<u8> {
        let mut question: Vec<u8> =
            [self.count, self.bytes].into_iter().flat_map(u32::to_le_bytes).collect();
        question.resize(bytes_min.max(question.len()), 0x5a);
        question
    }

    fn decode(question: &[u8]) -> Option<Self> {
        let field = |at: usize| {
            let bytes = question.get(at..at + 4)?;
            bytes.try_into().ok().map(u32::from_le_bytes)
        };
        Some(Self { count: field(0)?, bytes: field(4)? })
    }
}

/// Sends as many messages as it is asked for, each copied once, as history is out of the page
/// cache, until its parent is gone.
///
/// # Errors
/// [`Failure`] when the socket fails.
pub fn source() -> Result<(), Failure> {
    end_with_parent()?;
    let (socket, endpoint) = bound_router()?;
    announce(&format!("{SOURCE_LISTENING}{endpoint}"))?;
    let mut answer = Vec::new();
    loop {
        let frames = receive(&socket)?;
        let [client, question] = &frames[..] else { continue };
        let Some(wanted) = Wanted::decode(question) else { continue };
        answer.resize(usize::try_from(wanted.bytes).unwrap_or(0), 0x5a);
        for _ in 0..wanted.count {
            socket.send_multipart([&client[..], &answer[..]], 0).map_err(socket_failed)?;
        }
    }
}

fn bound_router() -> Result<(zmq::Socket, Endpoint), Failure> {
    let socket = net::socket(&Context::new(), SocketType::ROUTER).map_err(socket_failed)?;
    let any = "tcp://127.0.0.1:*".parse::<Endpoint>();
    let any = any.map_err(|error| broken(error.to_string()))?;
    let endpoint = net::bind(&socket, &any).map_err(|error| broken(error.to_string()))?;
    Ok((socket, endpoint))
}

/// Receives one message of at least one frame, and waits for it.
fn receive(socket: &zmq::Socket) -> Result<Vec<Message>, Failure> {
    let mut frames = Vec::with_capacity(3);
    loop {
        match socket.recv_msg(0) {
            Ok(frame) => {
                let more = frame.get_more();
                frames.push(frame);
                if !more {
                    return Ok(frames);
                }
            }
            Err(Error::EINTR) => {}
            Err(error) => return Err(socket_failed(error)),
        }
    }
}

/// The parent holds the other end of standard input; when it is gone, however that happened, this
/// process goes too.
///
/// # Errors
/// [`Failure`] when no thread can be started that watches for it.
pub fn end_with_parent() -> Result<(), Failure> {
    let watch = || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    };
    let thread = std::thread::Builder::new().name("parent".to_owned()).spawn(watch);
    thread.map(|_| ()).map_err(|error| Failure::system("can't start a thread", &error))
}

/// Prints a line for the parent.
///
/// # Errors
/// [`Failure`] when nobody reads it.
pub fn announce(line: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .map_err(|error| Failure::system("can't report to the parent", &error))
}

/// A failure of a socket between processes of this tool.
pub fn socket_failed(error: Error) -> Failure {
    broken(format!("a socket of the measurement failed: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_says_what_is_wanted() {
        let wanted = Wanted { count: 7, bytes: 40_000 };
        for bytes_min in [0, 8, 100] {
            let question = wanted.encode(bytes_min);
            assert_eq!(question.len(), bytes_min.max(8));
            assert_eq!(Wanted::decode(&question), Some(wanted));
        }
        assert_eq!(Wanted::decode(&[0; 7]), None);
    }
}
