//! A Majordomo worker: a service in ten lines.

use std::time::{Duration, Instant};

use bytes::Bytes;
use zmq::{Context, Socket};

use super::Version;
use super::message::WorkerCommand;
use super::worker_link::{Link, Output, Times};
use crate::dialect::ServiceName;
use crate::liveness::INTERVALS_UNTIL_DEAD;
use crate::net::{self, Endpoint, Frames, Sent, TICK};

/// What a [`Worker`] offers, and to whom.
#[derive(Clone, Debug)]
pub struct WorkerConfig {
    /// The broker. A worker has one; for more brokers run more workers.
    pub broker: Endpoint,
    /// The service.
    pub service: String,
    /// The protocol's version. With 0.2 an answer may be sent in parts.
    pub version: Version,
    /// How often the worker says something while it waits for work.
    pub heartbeat: Duration,
    /// Silence of the broker after which a new connection is made.
    pub patience: Duration,
    /// Pause before a new connection.
    pub reconnect: Duration,
}

impl WorkerConfig {
    /// Version 0.1, a heartbeat every 500 ms, patience for four of them.
    pub fn new(broker: Endpoint, service: &str) -> WorkerConfig {
        let heartbeat = Duration::from_millis(500);
        WorkerConfig {
            broker,
            service: service.to_owned(),
            version: Version::V01,
            heartbeat,
            patience: heartbeat * INTERVALS_UNTIL_DEAD,
            reconnect: Duration::from_millis(500),
        }
    }
}

/// Why a worker cannot work.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The service's name breaks a rule.
    #[error("`{0}` is not a service name: 1 to 128 bytes without control characters")]
    Service(String),
    /// An answer has at least one body frame.
    #[error("an answer needs at least one body frame")]
    EmptyBody,
    /// libzmq does not take the endpoint, or the socket failed.
    #[error("the worker's socket failed: {0}")]
    Socket(#[from] zmq::Error),
}

/// A request that waits for this worker's answer.
#[derive(Debug)]
pub struct Job {
    /// The request's body: one frame or more.
    pub body: Frames,
    client: Bytes,
    /// Counts connections, so that an answer never goes to a broker that did not ask.
    connection: u64,
    parts: Frames,
}

/// An MDP worker: one service at one broker, one request at a time.
///
/// A service in ten lines:
///
/// ```no_run
/// use broker::mdp::{Worker, WorkerConfig};
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let config = WorkerConfig::new("tcp://127.0.0.1:7400".parse()?, "echo");
///     let mut worker = Worker::ready(config)?;
///     loop {
///         let job = worker.receive()?;
///         let answer = job.body.clone();
///         worker.reply(job, answer)?;
///     }
/// }
/// ```
///
/// Heartbeats go out while [`Worker::receive`] waits, and not while the caller works on a job:
/// Starlog's broker bears 60 seconds of that (`--busy-expiry`). A request may come more than once,
/// because the broker gives the request of a lost worker to another one.
pub struct Worker {
    config: WorkerConfig,
    context: Context,
    link: Link,
    state: State,
    connections: u64,
}

enum State {
    Connected(Socket),
    Waiting { until: Instant },
}

#[expect(clippy::disallowed_methods, reason = "a loop reads the clock")]
fn clock() -> Instant {
    Instant::now()
}

impl Worker {
    /// Connects and offers the service. Whether the broker is there shows only later: until then
    /// the worker keeps trying.
    ///
    /// # Errors
    /// The service's name breaks a rule, or libzmq does not take the endpoint.
    pub fn ready(config: WorkerConfig) -> Result<Worker, WorkerError> {
        let service = ServiceName::new(config.service.clone()).filter(|name| !name.is_none());
        let service = service.ok_or_else(|| WorkerError::Service(config.service.clone()))?;
        let times = Times {
            heartbeat: config.heartbeat,
            patience: config.patience,
            reconnect: config.reconnect,
        };
        let mut worker = Worker {
            link: Link::new(config.version, service, times),
            context: Context::new(),
            state: State::Waiting { until: clock() },
            connections: 0,
            config,
        };
        worker.connect()?;
        Ok(worker)
    }

    /// Waits for the next request, as long as it takes.
    ///
    /// # Errors
    /// The socket failed.
    pub fn receive(&mut self) -> Result<Job, WorkerError> {
        loop {
            if let Some(job) = self.receive_for(TICK)? {
                return Ok(job);
            }
        }
    }

    /// Waits for the next request, but not longer than that.
    ///
    /// # Errors
    /// The socket failed.
    pub fn receive_for(&mut self, timeout: Duration) -> Result<Option<Job>, WorkerError> {
        let end = clock() + timeout;
        loop {
            if let Some(job) = self.turn()? {
                return Ok(Some(job));
            }
            let now = clock();
            if now >= end {
                return Ok(None);
            }
            self.sleep(now, end)?;
        }
    }

    /// Sends the answer, or its last part.
    ///
    /// If the connection was lost in the meantime nothing is sent: the broker gives the request to
    /// another worker, or tells the client.
    ///
    /// # Errors
    /// The body is empty, or the socket failed.
    pub fn reply(&mut self, job: Job, body: Frames) -> Result<(), WorkerError> {
        if body.is_empty() && job.parts.is_empty() {
            return Err(WorkerError::EmptyBody);
        }
        let mut whole = job.parts;
        whole.extend(body);
        self.say(job.connection, WorkerCommand::Final { client: job.client, body: whole })
    }

    /// Sends a part of the answer. Version 0.1 has no parts: they are kept and go out together
    /// with the last one.
    ///
    /// # Errors
    /// The body is empty, or the socket failed.
    pub fn partial(&mut self, job: &mut Job, body: Frames) -> Result<(), WorkerError> {
        if body.is_empty() {
            return Err(WorkerError::EmptyBody);
        }
        if self.config.version == Version::V01 {
            job.parts.extend(body);
            return Ok(());
        }
        self.say(job.connection, WorkerCommand::Partial { client: job.client.clone(), body })
    }

    /// Keeps the connection alive during a long job: sends a heartbeat if one is owed, and notices
    /// when the broker is gone.
    ///
    /// # Errors
    /// The socket failed.
    pub fn keep_alive(&mut self) -> Result<(), WorkerError> {
        // A broker that keeps the protocol gives no second request before the first is answered.
        if self.turn()?.is_some() {
            log::warn!("the broker sent a second request too early; it was dropped");
        }
        Ok(())
    }

    fn say(&mut self, connection: u64, command: WorkerCommand) -> Result<(), WorkerError> {
        if connection != self.connections {
            return Ok(());
        }
        match self.link.say(clock(), command) {
            Some(frames) => self.send(&frames),
            None => Ok(()),
        }
    }

    /// Looks once at the socket and at the clock.
    fn turn(&mut self) -> Result<Option<Job>, WorkerError> {
        let now = clock();
        if let State::Waiting { until } = self.state {
            if now >= until {
                self.connect()?;
            }
            return Ok(None);
        }
        // What has arrived is read before silence is judged, so that a worker that was busy for
        // long does not take its broker for dead.
        while let State::Connected(socket) = &self.state {
            let Some(frames) = net::receive(socket)? else {
                break;
            };
            if let Some(output) = self.link.receive(now, frames)
                && let Some(job) = self.carry_out(output)?
            {
                return Ok(Some(job));
            }
        }
        match self.link.tick(now) {
            Some(output) => self.carry_out(output),
            None => Ok(None),
        }
    }

    fn carry_out(&mut self, output: Output) -> Result<Option<Job>, WorkerError> {
        match output {
            Output::Send(frames) => self.send(&frames)?,
            Output::Reopen { at } => self.state = State::Waiting { until: at },
            Output::Request { client, body } => {
                let connection = self.connections;
                return Ok(Some(Job { body, client, connection, parts: Frames::new() }));
            }
        }
        Ok(None)
    }

    fn connect(&mut self) -> Result<(), WorkerError> {
        let socket = net::socket(&self.context, zmq::DEALER)?;
        // Long enough for the last answer, or for DISCONNECT, to get out.
        socket.set_linger(500)?;
        net::connect(&socket, &self.config.broker)?;
        self.state = State::Connected(socket);
        self.connections += 1;
        let ready = self.link.open(clock());
        self.send(&ready)
    }

    fn send(&self, frames: &Frames) -> Result<(), WorkerError> {
        let State::Connected(socket) = &self.state else {
            return Ok(());
        };
        match net::send(socket, frames)? {
            Sent::Done => {}
            // A broker that takes nothing any more shows as silence soon.
            Sent::Full | Sent::Unreachable => log::warn!("the broker takes no messages"),
        }
        Ok(())
    }

    fn sleep(&self, now: Instant, end: Instant) -> Result<(), WorkerError> {
        match &self.state {
            State::Waiting { until } => {
                std::thread::sleep(end.min(*until).saturating_duration_since(now));
            }
            State::Connected(socket) => {
                let deadline = self.link.deadline().unwrap_or(end).min(end);
                let mut items = [socket.as_poll_item(zmq::POLLIN)];
                net::poll(&mut items, Some(deadline.saturating_duration_since(now)))?;
            }
        }
        Ok(())
    }
}

impl Drop for Worker {
    /// Says DISCONNECT, so that the broker gives the service to others at once.
    fn drop(&mut self) {
        if let Some(frames) = self.link.say(clock(), WorkerCommand::Disconnect)
            && let Err(error) = self.send(&frames)
        {
            log::debug!("DISCONNECT was not sent: {error}");
        }
    }
}
