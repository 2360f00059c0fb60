//! A worker's conversation with one broker: offers, requests with credit, replies.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use bytes::Bytes;
use uuid::Uuid;

use super::control::{ErrorBody, Registration, Role, encode_body};
use super::conversation::{Conversation, Heard, LinkSettings, milliseconds};
use super::header::{Header, Kind, ServiceName, SessionId, flags};
use crate::error_code::ErrorCode;
use crate::net::Frames;

/// How much of one service may be with the worker at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Requests.
    pub messages: u64,
    /// Body bytes; the last request may go beyond.
    pub bytes: u64,
}

/// A service that the worker offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerOffer {
    /// Its name, for a partition `STORE/NUMBER`.
    pub service: ServiceName,
    /// The epoch in which the worker leads or follows; 0 for services that have none.
    pub epoch: u64,
    /// What the broker is told.
    pub registration: Registration,
    /// How much may be under way. The first offer of a service in a conversation sets it, and the
    /// first one of each reign.
    pub window: Window,
}

/// A request, as the worker gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerRequest {
    /// The client's session.
    pub session: SessionId,
    /// The service that was asked.
    pub service: ServiceName,
    /// Number within session and service.
    pub number: u64,
    /// Lowest number that the client still waits for (inclusive).
    pub lowest: u64,
    /// The epoch that the broker takes for the current one; 0 if it does not say.
    pub epoch: u64,
    /// Bits of [`flags`].
    pub flags: u8,
    /// What is left of the deadline.
    pub time_left: Duration,
    /// The body frames.
    pub body: Frames,
}

/// The answer to a [`WorkerRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerReply {
    /// Session of the request.
    pub session: SessionId,
    /// Service of the request.
    pub service: ServiceName,
    /// Number of the request.
    pub number: u64,
    /// The epoch that answers.
    pub epoch: u64,
    /// The error, if it is one; the body then is an [`ErrorBody`].
    pub code: Option<ErrorCode>,
    /// With an error: when it makes sense to try again.
    pub retry_after: Duration,
    /// Whether more replies to the same request follow.
    pub more: bool,
    /// The body frames.
    pub body: Frames,
}

/// What the loop tells the machine.
#[derive(Clone, Debug)]
pub enum WorkerInput {
    /// A new socket is connected; `session` is fresh and random.
    Opened {
        /// The session of this conversation.
        session: SessionId,
    },
    /// The socket delivered a message.
    Frames(Frames),
    /// Time has gone by.
    Tick,
    /// Offer a service, or tell of a change of its epoch or registration.
    Offer(WorkerOffer),
    /// No longer offer it.
    Withdraw(ServiceName),
    /// Answer a request.
    Reply(WorkerReply),
    /// Leave on purpose.
    Goodbye,
}

/// What the loop has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkerOutput {
    /// Send on the socket.
    Send(Frames),
    /// Carry out a request and answer with [`WorkerInput::Reply`].
    Request(WorkerRequest),
    /// The broker listens; every offer is registered.
    Up {
        /// The broker's id.
        broker: Uuid,
    },
    /// Close the socket, connect a new one at or after `at`, then say [`WorkerInput::Opened`].
    Reopen {
        /// Not before this instant.
        at: Instant,
    },
    /// The broker does not accept an offer. The offer stands until it is withdrawn or replaced.
    Refused {
        /// The service.
        service: ServiceName,
        /// Why, for programs.
        code: ErrorCode,
        /// Why, for people.
        error: ErrorBody,
    },
    /// Work waits for this partition and no leader is registered.
    Vote {
        /// The partition's service.
        service: ServiceName,
        /// The highest epoch that the broker knows.
        epoch: u64,
    },
}

/// A worker's conversation with one broker: hello, registrations, credit, heartbeats, a new
/// session on a new socket after silence.
///
/// Credit is kept here: each service starts with its window, and every final reply gives back what
/// its request took, in the same message.
///
/// A worker that stops leading a partition forgets the requests that it has, and those that are
/// still on their way: the broker hands them to whoever leads next. So one whose leadership was
/// interrupted has to offer the partition without leading in between. If only the epoch rises, the
/// reign goes on.
#[derive(Debug)]
pub struct WorkerLink {
    conversation: Conversation,
    offers: BTreeMap<ServiceName, Standing>,
    /// Body bytes of each request in hand in this session.
    held: HashMap<(SessionId, ServiceName, u64), u64>,
}

#[derive(Debug)]
struct Standing {
    offer: WorkerOffer,
    /// Epoch in which the worker began to lead, or not to.
    since: u64,
    /// Cumulative in this session.
    credit: Window,
}

impl WorkerLink {
    /// A link whose loop has not opened a socket yet.
    pub fn new(settings: LinkSettings) -> WorkerLink {
        WorkerLink {
            conversation: Conversation::new(Role::Worker, settings),
            offers: BTreeMap::new(),
            held: HashMap::new(),
        }
    }

    /// Whether the broker listens.
    pub fn is_up(&self) -> bool {
        self.conversation.session().is_some()
    }

    /// When to call with [`WorkerInput::Tick`] at the latest.
    pub fn deadline(&self) -> Option<Instant> {
        self.conversation.deadline()
    }

    /// Takes one input; what is to be done is appended to `outputs`.
    pub fn handle(&mut self, now: Instant, input: WorkerInput, outputs: &mut Vec<WorkerOutput>) {
        match input {
            WorkerInput::Opened { session } => {
                self.held.clear();
                outputs.push(WorkerOutput::Send(self.conversation.open(now, session)));
            }
            WorkerInput::Frames(frames) => self.receive(now, frames, outputs),
            WorkerInput::Tick => {
                let mut outgoing = Vec::new();
                let heard = self.conversation.tick(now, &mut outgoing);
                outputs.extend(outgoing.into_iter().map(WorkerOutput::Send));
                self.react(now, heard, outputs);
            }
            WorkerInput::Offer(offer) => self.offer(now, offer, outputs),
            WorkerInput::Withdraw(service) => self.withdraw(now, service, outputs),
            WorkerInput::Reply(reply) => self.reply(now, reply, outputs),
            WorkerInput::Goodbye => {
                outputs.extend(self.conversation.close().map(WorkerOutput::Send));
            }
        }
    }

    fn receive(&mut self, now: Instant, frames: Frames, outputs: &mut Vec<WorkerOutput>) {
        let heard = self.conversation.receive(now, frames);
        self.react(now, heard, outputs);
    }

    fn react(&mut self, now: Instant, heard: Heard, outputs: &mut Vec<WorkerOutput>) {
        match heard {
            Heard::Nothing => {}
            Heard::Up(welcome) => {
                outputs.push(WorkerOutput::Up { broker: welcome.broker });
                self.register_all(now, outputs);
            }
            Heard::Down { reopen_at } => outputs.push(WorkerOutput::Reopen { at: reopen_at }),
            Heard::Refused { header, error } => outputs.push(WorkerOutput::Refused {
                service: header.service,
                code: header.code.unwrap_or(ErrorCode::INTERNAL),
                error,
            }),
            Heard::Message { header, body } => self.message(header, body, outputs),
        }
    }

    fn message(&mut self, header: Header, body: Frames, outputs: &mut Vec<WorkerOutput>) {
        match header.kind {
            Kind::Request if self.is_of_an_earlier_reign(&header) => {}
            Kind::Request => {
                let bytes = body.iter().map(Bytes::len).sum::<usize>();
                let key = (header.session, header.service.clone(), header.number);
                self.held.insert(key, u64::try_from(bytes).unwrap_or(u64::MAX));
                outputs.push(WorkerOutput::Request(WorkerRequest {
                    session: header.session,
                    service: header.service,
                    number: header.number,
                    lowest: header.lowest,
                    epoch: header.epoch,
                    flags: header.flags,
                    time_left: Duration::from_millis(u64::from(header.time_ms)),
                    body,
                }));
            }
            Kind::Vote => {
                outputs.push(WorkerOutput::Vote { service: header.service, epoch: header.epoch })
            }
            _ => {}
        }
    }

    /// The broker sent it before it heard that this worker's reign ended; it sends it again to
    /// whoever leads now.
    fn is_of_an_earlier_reign(&self, request: &Header) -> bool {
        self.offers.get(&request.service).is_some_and(|standing| match leads(&standing.offer) {
            None => false,
            Some(leads) => !leads || request.epoch < standing.since,
        })
    }

    /// When a reign begins or ends, nothing of the former is in hand any more, and credit starts
    /// anew: the broker does the same with its half when it gets the registration.
    fn offer(&mut self, now: Instant, offer: WorkerOffer, outputs: &mut Vec<WorkerOutput>) {
        let known = self.offers.get(&offer.service);
        let same_reign = known.filter(|standing| leads(&standing.offer) == leads(&offer));
        let since = same_reign.map_or(offer.epoch, |standing| standing.since);
        let credit = match same_reign {
            Some(standing) if self.is_up() => standing.credit,
            _ => offer.window,
        };
        if same_reign.is_none() {
            self.held.retain(|(_, held, _), _| *held != offer.service);
        }
        let service = offer.service.clone();
        let standing = Standing { offer, since, credit };
        if let Some(session) = self.conversation.session() {
            self.conversation.sent(now);
            outputs.push(WorkerOutput::Send(register(session, &standing)));
        }
        self.offers.insert(service, standing);
    }

    fn register_all(&mut self, now: Instant, outputs: &mut Vec<WorkerOutput>) {
        let Some(session) = self.conversation.session() else {
            return;
        };
        self.conversation.sent(now);
        for standing in self.offers.values_mut() {
            standing.credit = standing.offer.window;
            outputs.push(WorkerOutput::Send(register(session, standing)));
        }
    }

    fn withdraw(&mut self, now: Instant, service: ServiceName, outputs: &mut Vec<WorkerOutput>) {
        if self.offers.remove(&service).is_none() {
            return;
        }
        self.held.retain(|(_, held, _), _| *held != service);
        if let Some(session) = self.conversation.session() {
            self.conversation.sent(now);
            let mut header = Header::new(Kind::Unregister, session);
            header.service = service;
            outputs.push(WorkerOutput::Send(vec![header.encode().into()]));
        }
    }

    /// A reply to a request of an earlier session is dropped: the broker has sent the request
    /// anew, or has answered it.
    fn reply(&mut self, now: Instant, reply: WorkerReply, outputs: &mut Vec<WorkerOutput>) {
        if !self.is_up() {
            return;
        }
        let key = (reply.session, reply.service, reply.number);
        let Some(bytes) = self.held.get(&key).copied() else {
            return;
        };
        let mut header = Header::new(Kind::Reply, reply.session);
        header.number = reply.number;
        header.epoch = reply.epoch;
        header.code = reply.code;
        if reply.more {
            header.flags |= flags::MORE;
        } else {
            self.held.remove(&key);
            if let Some(standing) = self.offers.get_mut(&key.1) {
                standing.credit.messages += 1;
                standing.credit.bytes = standing.credit.bytes.saturating_add(bytes);
                header.credit_messages = standing.credit.messages;
                header.credit_bytes = standing.credit.bytes;
            }
        }
        if reply.code.is_some() && !reply.retry_after.is_zero() {
            header.time_ms = milliseconds(reply.retry_after);
        }
        header.service = key.1;
        let mut frames = Frames::with_capacity(1 + reply.body.len());
        frames.push(header.encode().into());
        frames.extend(reply.body);
        self.conversation.sent(now);
        outputs.push(WorkerOutput::Send(frames));
    }
}

/// Whether the worker leads what it offers; nothing if that is no partition.
fn leads(offer: &WorkerOffer) -> Option<bool> {
    offer.registration.partition.as_ref().map(|partition| partition.leader)
}

fn register(session: SessionId, standing: &Standing) -> Frames {
    let mut header = Header::new(Kind::Register, session);
    header.service = standing.offer.service.clone();
    header.epoch = standing.offer.epoch;
    header.credit_messages = standing.credit.messages;
    header.credit_bytes = standing.credit.bytes;
    vec![header.encode().into(), encode_body(&standing.offer.registration)]
}

#[cfg(test)]
mod tests;
