//! The replay loop: history on request, in blocks that the asker has credit for.
//!
//! ```text
//! DEALER ── READ, CREDIT ──► ROUTER ──► ReplaySchedule ── Fetch ──► reader thread
//!        ◄─ BLOCK, BLOCK ──         ◄──     queue + waker       ◄── Reader
//! ```
//!
//! The loop owns the ROUTER and decides; the reader thread waits for the disk. It answers STATUS
//! too, because a process that can't be asked how it is can't be operated.

mod fetch;
mod schedule;

use std::time::{Duration, Instant};

use broker::error_code::ErrorCode;
use broker::net::{self, Frames, Sent, TICK, Waker};
use bytes::Bytes;
use crossbeam_channel::Receiver;
use thiserror::Error;
use zmq::{Context, POLLIN, Socket, SocketType};

use self::schedule::{Delivery, Input, Limits, Outcome, Output, ReplaySchedule, Ticket};
use super::Identity;
use super::answer::Failure;
use super::directory::Directory;
use super::lifecycle::{Lifecycle, Queue};
use super::reading::ReadThread;
use super::status::status;
use crate::wire::replay::{ReplayAnswer, ReplayRequest, request_number};

/// Messages taken before answers have their turn.
const ROUND_MESSAGES: usize = 128;
/// Messages that may wait for one peer in libzmq: 4 reads have 4 blocks at a time at most, the
/// rest is room for small answers.
const PEER_MESSAGES_MAX: i32 = 64;
/// Largest request: a header, a store name and a stream name.
const REQUEST_BYTES_MAX: i64 = 1024;

/// Why the loop ended.
#[derive(Debug, Error)]
pub(super) enum ReplayError {
    /// A socket failed.
    #[error("the replay socket failed: {0}")]
    Socket(#[from] zmq::Error),
    /// The loop could not be set up.
    #[error("the replay loop has no file descriptor left: {0}")]
    Waker(#[from] std::io::Error),
}

/// Makes the replay socket; `bind` is the caller's.
///
/// # Errors
/// Those of `zmq_socket`.
pub(super) fn socket(context: &Context) -> Result<Socket, zmq::Error> {
    let socket = net::socket(context, SocketType::ROUTER)?;
    socket.set_maxmsgsize(REQUEST_BYTES_MAX)?;
    socket.set_sndhwm(PEER_MESSAGES_MAX)?;
    Ok(socket)
}

/// The state of the loop.
pub(super) struct ReplayLoop {
    socket: Socket,
    identity: Identity,
    directory: Directory,
    lifecycle: Lifecycle,
    reads: ReadThread,
    waker: Waker,
    queue: Queue<(Ticket, Outcome)>,
    fetched: Receiver<(Ticket, Outcome)>,
    schedule: ReplaySchedule,
}

impl ReplayLoop {
    /// A loop around a bound socket.
    pub(super) fn new(
        socket: Socket,
        identity: Identity,
        (directory, lifecycle): (&Directory, &Lifecycle),
        reads: ReadThread,
    ) -> Result<Self, ReplayError> {
        let waker = Waker::new()?;
        lifecycle.rest.register(&waker);
        let (queue, fetched) = Queue::new(waker.clone());
        Ok(Self {
            socket,
            identity,
            directory: directory.clone(),
            lifecycle: lifecycle.clone(),
            reads,
            waker,
            queue,
            fetched,
            schedule: ReplaySchedule::new(Limits::default()),
        })
    }

    /// Runs until the process stops.
    #[expect(clippy::disallowed_methods, reason = "a loop reads the clock")]
    pub(super) fn run(mut self) -> Result<(), ReplayError> {
        while !self.lifecycle.rest.is_requested() {
            let now = Instant::now();
            let mut outputs = Vec::new();
            let received = self.receive(now, &mut outputs)?;
            while let Ok((ticket, outcome)) = self.fetched.try_recv() {
                self.schedule.handle(now, Input::Fetched { ticket, outcome }, &mut outputs);
            }
            self.schedule.handle(now, Input::Tick, &mut outputs);
            let acted = !outputs.is_empty();
            self.act(now, outputs)?;
            if !received && !acted {
                self.sleep(now)?;
            }
        }
        Ok(())
    }

    fn sleep(&mut self, now: Instant) -> Result<(), ReplayError> {
        let deadline = self.schedule.deadline();
        let timeout: Duration =
            deadline.map_or(TICK, |deadline| deadline.saturating_duration_since(now));
        let mut items = [self.waker.poll_item(), self.socket.as_poll_item(POLLIN)];
        net::poll(&mut items, Some(timeout))?;
        self.waker.drain();
        Ok(())
    }

    fn receive(&mut self, now: Instant, outputs: &mut Vec<Output>) -> Result<bool, ReplayError> {
        for received in 0..ROUND_MESSAGES {
            let Some(frames) = net::receive(&self.socket)? else {
                return Ok(received > 0);
            };
            self.request(now, frames, outputs);
        }
        Ok(true)
    }

    fn request(&mut self, now: Instant, frames: Frames, outputs: &mut Vec<Output>) {
        let Ok([peer, frame]) = <[Bytes; 2]>::try_from(frames) else {
            return;
        };
        let input = match ReplayRequest::decode(frame.clone()) {
            Ok(ReplayRequest::Read(read)) => Input::Read { peer, read },
            Ok(ReplayRequest::Credit { request, credit_bytes }) => {
                Input::Credit { peer, request, credit_bytes }
            }
            Ok(ReplayRequest::Cancel { request }) => Input::Cancel { peer, request },
            Ok(ReplayRequest::Status { request }) => {
                let body = Bytes::from(status(&self.directory, &self.identity));
                outputs.push(Output::Tell { peer, answer: ReplayAnswer::Status { request, body } });
                return;
            }
            Err(error) => {
                log::debug!("replay: a request is malformed: {error}");
                if let Some(request) = request_number(&frame) {
                    let refusal = Failure::from(&error).refusal();
                    let answer = ReplayAnswer::Fail { request, refusal };
                    outputs.push(Output::Tell { peer, answer });
                }
                return;
            }
        };
        self.schedule.handle(now, input, outputs);
    }

    /// Does what the machine asks for, which may make it ask for more.
    fn act(&mut self, now: Instant, mut outputs: Vec<Output>) -> Result<(), ReplayError> {
        while !outputs.is_empty() {
            for output in std::mem::take(&mut outputs) {
                match output {
                    Output::Fetch { ticket, fetch } => self.fetch(now, ticket, fetch, &mut outputs),
                    Output::Send { ticket, peer, answer } => {
                        let delivery = self.send(peer, &answer)?;
                        let input = Input::Delivered { ticket, delivery };
                        self.schedule.handle(now, input, &mut outputs);
                    }
                    Output::Tell { peer, answer } => {
                        // A peer that does not take even this asks again, or is gone.
                        let _ = self.send(peer, &answer)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn fetch(
        &mut self,
        now: Instant,
        ticket: Ticket,
        fetch: schedule::Fetch,
        outputs: &mut Vec<Output>,
    ) {
        let (directory, identity) = (self.directory.clone(), self.identity.clone());
        let queue = self.queue.clone();
        let job = Box::new(move || {
            queue.send((ticket, fetch::fetch(&directory, &identity, &fetch)));
        });
        if self.reads.submit(job).is_err() {
            let failure = Failure::new(ErrorCode::BUSY, "too many reads wait: try again");
            let outcome = Outcome::Failed(failure);
            self.schedule.handle(now, Input::Fetched { ticket, outcome }, outputs);
        }
    }

    fn send(&self, peer: Bytes, answer: &ReplayAnswer) -> Result<Delivery, ReplayError> {
        let (head, body) = answer.encode();
        Ok(match net::send(&self.socket, &[peer, Bytes::from(head), body])? {
            Sent::Done => Delivery::Done,
            Sent::Full => Delivery::Full,
            Sent::Unreachable => Delivery::Unreachable,
        })
    }
}
