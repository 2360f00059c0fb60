//! What the sockets allow: bare round trips through a broker process to a worker process.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use broker::net::{self, Endpoint};
use zmq::{Context, Error, Socket, SocketType};

use super::raw::{self, socket_failed};
use crate::cli::bench::children::ChildProcess;
use crate::cli::bench::latency::Latencies;
use crate::cli::bench::{broken, now};
use crate::cli::failure::Failure;

/// A round trip that takes longer is taken for lost.
const ANSWER_WAIT_MAX_MS: i32 = 10_000;
/// Round trips before counting starts: connections are made and caches filled.
const WARM_UP: usize = 500;

/// A bare broker and worker with a client's socket connected to them.
pub struct RawRoute {
    socket: Socket,
    // Dropped, and by that ended, after the socket; the worker first.
    _processes: Vec<ChildProcess>,
}

/// A measured window.
pub struct RoundTrips {
    /// One latency per round trip.
    pub latencies: Latencies,
    /// How long it took altogether.
    pub elapsed: Duration,
}

impl RawRoute {
    /// Starts the two processes and connects.
    ///
    /// # Errors
    /// [`Failure`] when they can't be started.
    pub fn start() -> Result<Self, Failure> {
        let tool = std::env::current_exe()
            .map_err(|error| Failure::system("can't find this program", &error))?;
        let broker = ChildProcess::start(&tool, ["bench", "raw-broker"])?;
        let endpoint = broker.wait_for_line(raw::LISTENING)?;
        let worker = ChildProcess::start(&tool, ["bench", "raw-worker", &endpoint])?;
        broker.wait_for_line(raw::WORKER_READY)?;
        let endpoint: Endpoint =
            endpoint.parse().map_err(|_| broken(format!("no endpoint: {endpoint}")))?;
        let socket = connect(&endpoint).map_err(socket_failed)?;
        Ok(Self { socket, _processes: vec![worker, broker] })
    }

    /// Starts one process that sends everything back, as a pair's other node would.
    ///
    /// # Errors
    /// [`Failure`] when it can't be started.
    pub fn to_peer() -> Result<Self, Failure> {
        let tool = std::env::current_exe()
            .map_err(|error| Failure::system("can't find this program", &error))?;
        let peer = ChildProcess::start(&tool, ["bench", "raw-peer"])?;
        let endpoint = peer.wait_for_line(raw::PEER_LISTENING)?;
        let endpoint: Endpoint =
            endpoint.parse().map_err(|_| broken(format!("no endpoint: {endpoint}")))?;
        let socket = connect(&endpoint).map_err(socket_failed)?;
        Ok(Self { socket, _processes: vec![peer] })
    }

    /// Keeps `in_flight` messages of `body_bytes` under way for `duration`.
    ///
    /// # Errors
    /// [`Failure`] when a message is lost.
    pub fn run(
        &self,
        in_flight: usize,
        body_bytes: usize,
        duration: Duration,
    ) -> Result<RoundTrips, Failure> {
        let body = vec![0x5a; body_bytes];
        let mut latencies = Latencies::new()?;
        // Answers come in the order of the questions, since one broker and one worker carry them.
        let mut sent: VecDeque<Instant> = VecDeque::with_capacity(in_flight);
        let mut left_to_warm_up = WARM_UP;
        let mut started = now();
        let mut deadline = started + duration;
        loop {
            let time = now();
            while sent.len() < in_flight && time < deadline {
                self.socket.send(&body, 0).map_err(socket_failed)?;
                sent.push_back(now());
            }
            let Some(asked) = sent.pop_front() else { break };
            self.receive()?;
            let time = now();
            if left_to_warm_up > 0 {
                left_to_warm_up -= 1;
                started = time;
                deadline = time + duration;
            } else {
                latencies.record(time.saturating_duration_since(asked));
            }
        }
        Ok(RoundTrips { latencies, elapsed: now().saturating_duration_since(started) })
    }

    fn receive(&self) -> Result<(), Failure> {
        loop {
            match self.socket.recv_msg(0) {
                Ok(_) => return Ok(()),
                Err(Error::EINTR) => {}
                Err(error) => return Err(socket_failed(error)),
            }
        }
    }
}

fn connect(endpoint: &Endpoint) -> Result<Socket, Error> {
    let socket = net::socket(&Context::new(), SocketType::DEALER)?;
    socket.set_rcvtimeo(ANSWER_WAIT_MAX_MS)?;
    net::connect(&socket, endpoint)?;
    Ok(socket)
}
