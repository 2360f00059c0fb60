//! What the sockets allow: bare round trips through a broker process to a worker process, and
//! bare messages from a process that sends what it is asked for.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use broker::net::{self, Endpoint};
use zmq::{Context, Error, Socket, SocketType};

use super::raw::{self, Wanted, socket_failed};
use crate::cli::bench::children::ChildProcess;
use crate::cli::bench::latency::Latencies;
use crate::cli::bench::{broken, now};
use crate::cli::failure::Failure;

/// A round trip that takes longer is taken for lost.
const ANSWER_WAIT_MAX_MS: i32 = 10_000;
/// Round trips before counting starts: connections are made and caches filled.
const WARM_UP: usize = 500;
/// Bytes under way in one direction: what a reader of history allows, too.
const WINDOW_BYTES: u32 = 4 << 20;

/// Bare processes with a client's socket connected to them.
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
        Self::to_one("raw-peer", raw::PEER_LISTENING)
    }

    /// Starts one process that sends as much as it is asked for, as a replayer would.
    ///
    /// # Errors
    /// [`Failure`] when it can't be started.
    pub fn to_source() -> Result<Self, Failure> {
        Self::to_one("raw-source", raw::SOURCE_LISTENING)
    }

    fn to_one(command: &str, listening: &str) -> Result<Self, Failure> {
        let tool = std::env::current_exe()
            .map_err(|error| Failure::system("can't find this program", &error))?;
        let process = ChildProcess::start(&tool, ["bench", command])?;
        let endpoint = process.wait_for_line(listening)?;
        let endpoint: Endpoint =
            endpoint.parse().map_err(|_| broken(format!("no endpoint: {endpoint}")))?;
        let socket = connect(&endpoint).map_err(socket_failed)?;
        Ok(Self { socket, _processes: vec![process] })
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
        self.exchange(in_flight, &vec![0x5a; body_bytes], duration)
    }

    /// Asks a source for one message of `answer_bytes` at a time, with `in_flight` questions of
    /// `question_bytes` under way.
    ///
    /// # Errors
    /// [`Failure`] when a message is lost.
    pub fn fetch(
        &self,
        in_flight: usize,
        (question_bytes, answer_bytes): (usize, u32),
        duration: Duration,
    ) -> Result<RoundTrips, Failure> {
        let question = Wanted { count: 1, bytes: answer_bytes }.encode(question_bytes);
        self.exchange(in_flight, &question, duration)
    }

    /// Has a source send messages of `bytes` for `duration`, with a few megabytes under way; the
    /// latencies are the times from one arrival to the next.
    ///
    /// # Errors
    /// [`Failure`] when a message is lost.
    pub fn one_way(&self, bytes: u32, duration: Duration) -> Result<RoundTrips, Failure> {
        let half = (WINDOW_BYTES / 2 / bytes).max(1);
        let ask = || {
            let question = Wanted { count: half, bytes }.encode(0);
            self.socket.send(question, 0).map_err(socket_failed)
        };
        ask()?;
        ask()?;
        let mut latencies = Latencies::new()?;
        let (mut under_way, mut since_asked, mut left_to_warm_up) = (2 * half, 0, WARM_UP);
        let mut started = now();
        let (mut deadline, mut before) = (started + duration, started);
        while under_way > 0 {
            self.receive()?;
            let time = now();
            under_way -= 1;
            since_asked += 1;
            if left_to_warm_up > 0 {
                left_to_warm_up -= 1;
                (started, deadline) = (time, time + duration);
            } else {
                latencies.record(time.saturating_duration_since(before));
            }
            before = time;
            if since_asked == half && time < deadline {
                ask()?;
                under_way += half;
                since_asked = 0;
            }
        }
        Ok(RoundTrips { latencies, elapsed: before.saturating_duration_since(started) })
    }

    fn exchange(
        &self,
        in_flight: usize,
        body: &[u8],
        duration: Duration,
    ) -> Result<RoundTrips, Failure> {
        let mut latencies = Latencies::new()?;
        // Answers come in the order of the questions, since one broker and one worker carry them.
        let mut sent: VecDeque<Instant> = VecDeque::with_capacity(in_flight);
        let mut left_to_warm_up = WARM_UP;
        let mut started = now();
        let mut deadline = started + duration;
        loop {
            let time = now();
            while sent.len() < in_flight && time < deadline {
                // Before it is sent: on a busy machine the answer may be there when send returns.
                sent.push_back(now());
                self.socket.send(body, 0).map_err(socket_failed)?;
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
