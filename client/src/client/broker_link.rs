//! The one broker that is in use: its socket, the conversation on it, and the change to another.

use std::collections::VecDeque;
use std::time::Instant;

use broker::dialect::{ClientInput, ClientLink, ClientOutput, ClientReply, ClientRequest};
use broker::dialect::{LinkSettings, SessionId};
use broker::net::{self, Endpoint, Frames, Sent};
use uuid::Uuid;

use super::frames_log;
use crate::config::ClientConfig;
use crate::failover::{Failover, FailoverInput, FailoverOutput};

/// What the loop has to pass on.
#[derive(Debug)]
pub(super) enum LinkEvent {
    /// A broker listens: send what is unanswered.
    Up,
    /// It is gone.
    Down,
    /// An answer.
    Reply(ClientReply),
}

/// See the module's comment.
pub(super) struct BrokerLink {
    context: zmq::Context,
    endpoints: Vec<Endpoint>,
    session: SessionId,
    socket: Option<zmq::Socket>,
    link: ClientLink,
    failover: Failover,
    /// What libzmq had no room for. It is bounded by what may be under way.
    unsent: VecDeque<Frames>,
}

impl BrokerLink {
    /// Connects to the first broker.
    pub(super) fn new(now: Instant, context: &zmq::Context, config: &ClientConfig) -> Self {
        let settings = LinkSettings {
            agent: concat!("starlog-client/", env!("CARGO_PKG_VERSION")).to_owned(),
            heartbeat: config.heartbeat_interval,
            ..LinkSettings::default()
        };
        let mut link = Self {
            context: context.clone(),
            endpoints: config.brokers.clone(),
            session: SessionId::random(),
            socket: None,
            link: ClientLink::new(settings),
            failover: Failover::new(config.brokers.len()),
            unsent: VecDeque::new(),
        };
        link.obey(now, Some(FailoverOutput::Connect(0)), &mut Vec::new());
        link
    }

    pub(super) fn is_up(&self) -> bool {
        self.link.is_up()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.link.deadline().into_iter().chain(self.failover.deadline()).min()
    }

    pub(super) fn poll_item(&self) -> Option<zmq::PollItem<'_>> {
        let interest =
            if self.unsent.is_empty() { zmq::POLLIN } else { zmq::POLLIN | zmq::POLLOUT };
        self.socket.as_ref().map(|socket| socket.as_poll_item(interest))
    }

    /// Sends a request, if a broker listens.
    pub(super) fn request(&mut self, now: Instant, request: ClientRequest) {
        self.give(now, ClientInput::Request(request), &mut Vec::new());
    }

    /// Takes what the socket has, and lets time pass.
    pub(super) fn turn(&mut self, now: Instant, events: &mut Vec<LinkEvent>) {
        self.flush();
        while let Some(socket) = &self.socket {
            match net::receive(socket) {
                Ok(Some(frames)) => {
                    frames_log::received(&frames);
                    self.give(now, ClientInput::Frames(frames), events);
                }
                Ok(None) => break,
                Err(error) => {
                    log::warn!("the broker's socket failed: {error}");
                    self.lost(now, events);
                }
            }
        }
        self.give(now, ClientInput::Tick, events);
        let output = self.failover.handle(now, FailoverInput::Tick, jitter());
        self.obey(now, output, events);
    }

    /// Says goodbye.
    pub(super) fn close(&mut self, now: Instant) {
        self.give(now, ClientInput::Goodbye, &mut Vec::new());
        self.socket = None;
    }

    fn give(&mut self, now: Instant, input: ClientInput, events: &mut Vec<LinkEvent>) {
        let mut outputs = Vec::new();
        self.link.handle(now, input, &mut outputs);
        for output in outputs {
            match output {
                ClientOutput::Send(frames) => self.send(frames),
                ClientOutput::Reply(reply) => events.push(LinkEvent::Reply(reply)),
                ClientOutput::Up(_) => {
                    self.failover.handle(now, FailoverInput::Answered, jitter());
                    log::debug!("using broker {}", self.endpoint());
                    events.push(LinkEvent::Up);
                }
                // When to come back is decided by the fail-over, which knows the other brokers.
                ClientOutput::Reopen { .. } => {
                    log::debug!("broker {} does not answer", self.endpoint());
                    self.lost(now, events);
                }
            }
        }
    }

    fn lost(&mut self, now: Instant, events: &mut Vec<LinkEvent>) {
        events.push(LinkEvent::Down);
        self.socket = None;
        self.unsent.clear();
        let output = self.failover.handle(now, FailoverInput::Lost, jitter());
        self.obey(now, output, events);
    }

    fn obey(&mut self, now: Instant, output: Option<FailoverOutput>, events: &mut Vec<LinkEvent>) {
        match output {
            None => {}
            Some(FailoverOutput::Close) => self.socket = None,
            Some(FailoverOutput::Connect(_)) => match self.connect() {
                Ok(socket) => {
                    self.socket = Some(socket);
                    self.give(now, ClientInput::Opened { session: self.session }, events);
                }
                Err(error) => {
                    log::warn!("no socket to {}: {error}", self.endpoint());
                    self.lost(now, events);
                }
            },
        }
    }

    fn connect(&self) -> Result<zmq::Socket, zmq::Error> {
        let socket = net::socket(&self.context, zmq::DEALER)?;
        let endpoint = self.endpoints.get(self.failover.current()).ok_or(zmq::Error::EINVAL)?;
        net::connect(&socket, endpoint)?;
        Ok(socket)
    }

    fn endpoint(&self) -> &str {
        self.endpoints.get(self.failover.current()).map_or("", Endpoint::as_str)
    }

    fn send(&mut self, frames: Frames) {
        self.unsent.push_back(frames);
        self.flush();
    }

    fn flush(&mut self) {
        let Some(socket) = &self.socket else { return };
        while let Some(frames) = self.unsent.front() {
            match net::send(socket, frames) {
                Ok(Sent::Done) => {
                    frames_log::sent(frames);
                    self.unsent.pop_front();
                }
                Ok(Sent::Full | Sent::Unreachable) => return,
                Err(error) => {
                    // The attempt will time out and be repeated.
                    log::warn!("could not send to {}: {error}", self.endpoint());
                    self.unsent.pop_front();
                }
            }
        }
    }
}

fn jitter() -> u32 {
    let [a, b, c, d, ..] = *Uuid::new_v4().as_bytes();
    u32::from_le_bytes([a, b, c, d])
}
