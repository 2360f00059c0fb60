//! One broker, seen from the store: a DEALER around the dialect's [`WorkerLink`].

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use broker::dialect::{
    LinkSettings, SessionId, WorkerInput, WorkerLink, WorkerOutput, WorkerRequest,
};
use broker::net::{self, Endpoint, Frames, Sent};
use zmq::{Context, Socket, SocketType};

/// Which of the process's brokers, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkNumber(pub usize);

/// How soon a full socket is tried again.
const FULL_RETRY: Duration = Duration::from_millis(10);
/// Messages that wait for a full socket. The broker's credit keeps replies far below this; a link
/// that gets here has lost its peer and is opened anew.
const OUTBOX_MAX: usize = 10_000;
/// What a closing socket may still take to send its last words.
const FAREWELL_MS: i32 = 500;

/// The conversation with one broker and its socket.
pub(super) struct BrokerLink {
    number: LinkNumber,
    endpoint: Endpoint,
    link: WorkerLink,
    socket: Option<Socket>,
    open_at: Option<Instant>,
    outbox: VecDeque<Frames>,
}

/// What came out of a link for the loop to deal with.
#[derive(Debug)]
pub(super) enum LinkEvent {
    /// A request to carry out.
    Request(WorkerRequest),
    /// The broker listens, and knows what we serve.
    Up,
    /// The conversation is over; another one begins later. The broker sends anew what we had.
    Down,
    /// Work waits for a partition that nobody leads, as far as the broker knows.
    Vote,
}

impl BrokerLink {
    pub(super) fn new(
        number: LinkNumber,
        endpoint: Endpoint,
        settings: LinkSettings,
        now: Instant,
    ) -> Self {
        let link = WorkerLink::new(settings);
        let outbox = VecDeque::new();
        Self { number, endpoint, link, socket: None, open_at: Some(now), outbox }
    }

    pub(super) const fn number(&self) -> LinkNumber {
        self.number
    }

    pub(super) const fn socket(&self) -> Option<&Socket> {
        self.socket.as_ref()
    }

    /// Whether the broker listens.
    pub(super) fn is_up(&self) -> bool {
        self.link.is_up()
    }

    /// When [`BrokerLink::tick`] is due.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        let full = (!self.outbox.is_empty()).then(|| now + FULL_RETRY);
        [self.link.deadline(), self.open_at, full].into_iter().flatten().min()
    }

    /// Opens the socket when that is due, sends what waits, and lets the machine see the time.
    ///
    /// # Errors
    /// A socket cannot be made.
    pub(super) fn tick(
        &mut self,
        context: &Context,
        now: Instant,
        events: &mut Vec<LinkEvent>,
    ) -> Result<(), zmq::Error> {
        if self.open_at.is_some_and(|at| at <= now) {
            self.open(context, now, events)?;
        }
        self.flush()?;
        self.give(now, WorkerInput::Tick, events)
    }

    fn open(
        &mut self,
        context: &Context,
        now: Instant,
        events: &mut Vec<LinkEvent>,
    ) -> Result<(), zmq::Error> {
        let socket = net::socket(context, SocketType::DEALER)?;
        net::connect(&socket, &self.endpoint)?;
        self.socket = Some(socket);
        self.open_at = None;
        self.give(now, WorkerInput::Opened { session: SessionId::random() }, events)
    }

    /// Takes up to `messages_max` messages from the broker; how many there were.
    ///
    /// # Errors
    /// The socket failed.
    pub(super) fn receive(
        &mut self,
        messages_max: usize,
        now: Instant,
        events: &mut Vec<LinkEvent>,
    ) -> Result<usize, zmq::Error> {
        for received in 0..messages_max {
            let Some(socket) = &self.socket else {
                return Ok(received);
            };
            let Some(frames) = net::receive(socket)? else {
                return Ok(received);
            };
            self.give(now, WorkerInput::Frames(frames), events)?;
        }
        Ok(messages_max)
    }

    /// Gives the machine an input and does what it asks for.
    ///
    /// # Errors
    /// The socket failed.
    pub(super) fn give(
        &mut self,
        now: Instant,
        input: WorkerInput,
        events: &mut Vec<LinkEvent>,
    ) -> Result<(), zmq::Error> {
        let mut outputs = Vec::new();
        self.link.handle(now, input, &mut outputs);
        for output in outputs {
            match output {
                WorkerOutput::Send(frames) => self.outbox.push_back(frames),
                WorkerOutput::Request(request) => events.push(LinkEvent::Request(request)),
                WorkerOutput::Up { broker } => {
                    log::info!("registered at the broker {} ({broker})", self.endpoint);
                    events.push(LinkEvent::Up);
                }
                WorkerOutput::Reopen { at } => self.close(at, events),
                WorkerOutput::Refused { service, code, error } => {
                    let (broker, message) = (&self.endpoint, &error.message);
                    log::warn!("{broker} refuses {service}: {} {message}", code.as_str());
                }
                WorkerOutput::Vote { .. } => events.push(LinkEvent::Vote),
            }
        }
        if self.outbox.len() > OUTBOX_MAX {
            log::warn!("{} takes nothing any more: connecting anew", self.endpoint);
            self.close(now, events);
        }
        self.flush()
    }

    fn close(&mut self, open_at: Instant, events: &mut Vec<LinkEvent>) {
        events.push(LinkEvent::Down);
        self.socket = None;
        self.outbox.clear();
        self.open_at = Some(open_at);
    }

    fn flush(&mut self) -> Result<(), zmq::Error> {
        let Some(socket) = &self.socket else {
            return Ok(());
        };
        while let Some(frames) = self.outbox.front() {
            match net::send(socket, frames)? {
                Sent::Done => drop(self.outbox.pop_front()),
                Sent::Full | Sent::Unreachable => return Ok(()),
            }
        }
        Ok(())
    }

    /// Says goodbye and closes the socket once the last words are out.
    ///
    /// # Errors
    /// The socket failed.
    pub(super) fn leave(mut self, now: Instant) -> Result<(), zmq::Error> {
        self.give(now, WorkerInput::Goodbye, &mut Vec::new())?;
        if let Some(socket) = &self.socket {
            socket.set_linger(FAREWELL_MS)?;
        }
        Ok(())
    }
}
