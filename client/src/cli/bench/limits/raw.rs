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
fn end_with_parent() -> Result<(), Failure> {
    let watch = || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    };
    let thread = std::thread::Builder::new().name("parent".to_owned()).spawn(watch);
    thread.map(|_| ()).map_err(|error| Failure::system("can't start a thread", &error))
}

fn announce(line: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .map_err(|error| Failure::system("can't report to the parent", &error))
}

/// A failure of a socket between processes of this tool.
pub fn socket_failed(error: Error) -> Failure {
    broken(format!("a socket of the measurement failed: {error}"))
}
