//! The replay loop: history on request, in blocks that the asker has credit for.
//!
//! ```text
//! DEALER ── READ, CREDIT ──► ROUTER ──► ReplaySchedule ── Fetch ──► reader thread
//!        ◄─ BLOCK, BLOCK ──         ◄──     queue + waker       ◄── Reader
//! ```
//!
//! The loop owns the ROUTER and decides; the reader thread waits for the disk, except for the first
//! records of a stream while nobody else reads: those the loop fetches itself, because two
//! hand-overs between threads take longer than the read. The loop answers STATUS too, because a
//! process that can't be asked how it is can't be operated, and passes HAND_OVER on to the pair's
//! loop, which also confirms the leadership that a strong read asks for.

mod fetch;
mod schedule;

use std::time::{Duration, Instant};

use broker::error_code::ErrorCode;
use broker::net::{self, Frames, Queue, Sent, TICK, Waker};
use bytes::Bytes;
use crossbeam_channel::Receiver;
use thiserror::Error;
use zmq::{Context, POLLIN, Socket, SocketType};

use self::schedule::{Delivery, Fetcher, Input, Limits, Outcome, Output, ReplaySchedule, Ticket};
use super::Identity;
use super::answer::Failure;
use super::append::not_leader;
use super::data_disk::DataDisk;
use super::directory::Directory;
use super::lifecycle::Lifecycle;
use super::reading::ReadThread;
use super::status::status;
use crate::wire::replay::{ReplayAnswer, ReplayRequest, RequestNumber, request_number};

/// Messages taken before answers have their turn.
const ROUND_MESSAGES: usize = 128;
/// Messages that may wait for one peer in libzmq. What has no room is offered again in a while.
const PEER_MESSAGES_MAX: i32 = 64;
/// Largest request: a header, a store name, and a stream name or ids.
const REQUEST_BYTES_MAX: i64 = 8 * 1024;
/// Peers that may wait for a handover at a time.
const HAND_OVERS_MAX: usize = 8;

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

/// What others have done for the loop.
enum Finished {
    Fetched(Ticket, Outcome),
    /// Whether this node led after it was asked to find out.
    Confirmed(Ticket, bool),
    HandedOver(Asker, Result<(), String>),
}

/// Who waits for an answer that belongs to no read.
struct Asker {
    peer: Bytes,
    request: RequestNumber,
}

/// The state of the loop.
pub(super) struct ReplayLoop {
    socket: Socket,
    identity: Identity,
    disk: DataDisk,
    directory: Directory,
    lifecycle: Lifecycle,
    reads: ReadThread,
    waker: Waker,
    queue: Queue<Finished>,
    finished: Receiver<Finished>,
    schedule: ReplaySchedule,
    /// Peers that wait for a handover.
    handing_over: usize,
}

impl ReplayLoop {
    /// A loop around a bound socket.
    pub(super) fn new(
        socket: Socket,
        (identity, disk): (Identity, DataDisk),
        (directory, lifecycle): (&Directory, &Lifecycle),
        reads: ReadThread,
    ) -> Result<Self, ReplayError> {
        let waker = Waker::new()?;
        lifecycle.rest.register(&waker);
        let (queue, finished) = Queue::new(waker.clone());
        Ok(Self {
            socket,
            identity,
            disk,
            directory: directory.clone(),
            lifecycle: lifecycle.clone(),
            reads,
            waker,
            queue,
            finished,
            handing_over: 0,
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
            while let Ok(finished) = self.finished.try_recv() {
                self.finish(now, finished, &mut outputs);
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
                let seen = (self.disk.status(), self.schedule.standing(now));
                let body = Bytes::from(status(&self.directory, &self.identity, seen));
                outputs.push(Output::Tell { peer, answer: ReplayAnswer::Status { request, body } });
                return;
            }
            Ok(ReplayRequest::HandOver { request }) => {
                self.hand_over(Asker { peer, request }, outputs);
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

    fn finish(&mut self, now: Instant, finished: Finished, outputs: &mut Vec<Output>) {
        let input = match finished {
            Finished::Fetched(ticket, outcome) => Input::Fetched { ticket, outcome },
            Finished::Confirmed(ticket, leads) => {
                let refusal = (!leads).then(|| not_leader(&self.identity.state()));
                Input::Confirmed { ticket, refusal }
            }
            Finished::HandedOver(asker, done) => {
                self.handing_over = self.handing_over.saturating_sub(1);
                let done = done.map_err(|sentence| Failure::new(ErrorCode::BUSY, sentence));
                outputs.push(asker.answer(done));
                return;
            }
        };
        self.schedule.handle(now, input, outputs);
    }

    fn hand_over(&mut self, asker: Asker, outputs: &mut Vec<Output>) {
        let state = self.identity.state();
        let refusal = match self.identity.reign.pair() {
            None => Failure::new(
                ErrorCode::UNSUPPORTED,
                "this process has no peer to hand over to: see --role",
            ),
            Some(_) if !state.leading => not_leader(&state),
            Some(_) if self.handing_over >= HAND_OVERS_MAX => {
                Failure::new(ErrorCode::BUSY, "a handover is under way: wait for it")
            }
            Some(pair) => {
                self.handing_over += 1;
                let queue = self.queue.clone();
                pair.hand_over(Box::new(move |done| {
                    queue.send(Finished::HandedOver(asker, done));
                }));
                return;
            }
        };
        outputs.push(asker.answer(Err(refusal)));
    }

    /// Has the pair's loop find out whether this node leads. Without a peer nobody else can.
    fn confirm(&mut self, now: Instant, ticket: Ticket, outputs: &mut Vec<Output>) {
        match self.identity.reign.pair() {
            Some(pair) if self.identity.state().leading => {
                let queue = self.queue.clone();
                pair.confirm(Box::new(move |leads| queue.send(Finished::Confirmed(ticket, leads))));
            }
            pair => self.finish(now, Finished::Confirmed(ticket, pair.is_none()), outputs),
        }
    }

    /// Does what the machine asks for, which may make it ask for more.
    fn act(&mut self, now: Instant, mut outputs: Vec<Output>) -> Result<(), ReplayError> {
        while !outputs.is_empty() {
            for output in std::mem::take(&mut outputs) {
                match output {
                    Output::Confirm { ticket } => self.confirm(now, ticket, &mut outputs),
                    Output::Fetch { ticket, fetch, by: Fetcher::Loop } => {
                        let outcome = fetch::fetch(&self.directory, &self.identity, &fetch);
                        let input = Input::Fetched { ticket, outcome };
                        self.schedule.handle(now, input, &mut outputs);
                    }
                    Output::Fetch { ticket, fetch, by: Fetcher::Reader } => {
                        self.fetch(now, ticket, fetch, &mut outputs);
                    }
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
            let outcome = fetch::fetch(&directory, &identity, &fetch);
            queue.send(Finished::Fetched(ticket, outcome));
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

impl Asker {
    fn answer(self, done: Result<(), Failure>) -> Output {
        let Self { peer, request } = self;
        let answer = match done {
            Ok(()) => ReplayAnswer::Done { request },
            Err(failure) => ReplayAnswer::Fail { request, refusal: failure.refusal() },
        };
        Output::Tell { peer, answer }
    }
}
