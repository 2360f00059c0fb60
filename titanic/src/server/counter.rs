//! One broker as its worker sees it: Titanic's own services, their requests, and the answers.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use broker::dialect::{
    LinkSettings, Registration, ServiceName, SessionId, Window, WorkerInput, WorkerLink,
    WorkerOffer, WorkerOutput, WorkerReply, WorkerRequest,
};
use broker::net::Frames;
use zmq::Socket;

use super::wire::Wire;
use crate::{Door, RequestTicket};

/// Requests of one service that a broker may leave with us. A parked fetch keeps its place until
/// it is answered, and the machine parks fewer.
const WINDOW_MESSAGES: u64 = 16_384;
/// Body bytes of one service that a broker may leave with us.
pub(super) const WINDOW_BYTES: u64 = 64 * 1024 * 1024;

/// Which of the process's brokers, and of how many: tickets are numbered so that they tell.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    number: u64,
    of: u64,
}

impl Place {
    /// The places at so many brokers.
    pub(super) fn all(brokers: usize) -> impl Iterator<Item = Self> {
        let of = u64::try_from(brokers).unwrap_or(u64::MAX);
        (0..of).map(move |number| Self { number, of })
    }
}

/// The counter at one broker: what is asked there is answered there.
pub(super) struct Counter {
    place: Place,
    wire: Wire,
    link: WorkerLink,
    next_ticket: u64,
    /// What was asked in this conversation and is not answered yet.
    asked: HashMap<RequestTicket, Asked>,
    events: Vec<CounterEvent>,
}

/// How an answer finds its way back.
struct Asked {
    session: SessionId,
    service: ServiceName,
    number: u64,
}

/// What the loop has to know of.
#[derive(Debug)]
pub(super) enum CounterEvent {
    /// A request; its answer goes to this counter.
    Request(RequestTicket, WorkerRequest),
    /// The broker listens, and knows what is offered.
    Up,
    /// Nobody hears the answer any more: the conversation is over.
    Forget(RequestTicket),
}

impl Counter {
    pub(super) fn new(place: Place, wire: Wire, settings: LinkSettings) -> Self {
        Self {
            place,
            wire,
            link: WorkerLink::new(settings),
            next_ticket: place.number,
            asked: HashMap::new(),
            events: Vec::new(),
        }
    }

    pub(super) const fn socket(&self) -> Option<&Socket> {
        self.wire.socket()
    }

    /// Whether the broker listens.
    pub(super) fn is_up(&self) -> bool {
        self.link.is_up()
    }

    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        self.link.deadline().into_iter().chain(self.wire.deadline(now)).min()
    }

    /// Offers all of Titanic's services, in this conversation and in those to come.
    ///
    /// # Errors
    /// The socket failed.
    pub(super) fn offer(&mut self, now: Instant) -> Result<(), zmq::Error> {
        for service in Door::ALL.iter().filter_map(|door| ServiceName::new(door.service())) {
            let offer = WorkerOffer {
                service,
                epoch: 0,
                registration: Registration::default(),
                window: Window { messages: WINDOW_MESSAGES, bytes: WINDOW_BYTES },
            };
            self.give(now, WorkerInput::Offer(offer))?;
        }
        Ok(())
    }

    /// Lets time pass and takes up to `messages_max` messages; how many there were.
    ///
    /// # Errors
    /// The socket failed, or cannot be made.
    pub(super) fn turn(&mut self, now: Instant, messages_max: usize) -> Result<usize, zmq::Error> {
        if self.wire.open_when_due(now)? {
            self.give(now, WorkerInput::Opened { session: SessionId::random() })?;
        }
        self.give(now, WorkerInput::Tick)?;
        for received in 0..messages_max {
            let Some(frames) = self.wire.receive()? else {
                return Ok(received);
            };
            self.give(now, WorkerInput::Frames(frames))?;
        }
        Ok(messages_max)
    }

    /// What has happened since this was last called.
    pub(super) fn take_events(&mut self) -> Vec<CounterEvent> {
        std::mem::take(&mut self.events)
    }

    /// Whether a request with this ticket came in here.
    pub(super) const fn gave(&self, ticket: RequestTicket) -> bool {
        ticket.0 % self.place.of == self.place.number
    }

    /// Answers a request, if its asker still listens.
    ///
    /// # Errors
    /// The socket failed.
    pub(super) fn answer(
        &mut self,
        now: Instant,
        ticket: RequestTicket,
        body: Frames,
    ) -> Result<(), zmq::Error> {
        let Some(Asked { session, service, number }) = self.asked.remove(&ticket) else {
            return Ok(());
        };
        self.give(
            now,
            WorkerInput::Reply(WorkerReply {
                session,
                service,
                number,
                epoch: 0,
                code: None,
                retry_after: Duration::ZERO,
                more: false,
                body,
            }),
        )
    }

    /// Says goodbye and closes the socket once the last words are out.
    ///
    /// # Errors
    /// The socket failed.
    pub(super) fn leave(mut self, now: Instant) -> Result<(), zmq::Error> {
        self.give(now, WorkerInput::Goodbye)?;
        self.wire.leave()
    }

    fn give(&mut self, now: Instant, input: WorkerInput) -> Result<(), zmq::Error> {
        let mut outputs = Vec::new();
        self.link.handle(now, input, &mut outputs);
        for output in outputs {
            match output {
                WorkerOutput::Send(frames) => self.wire.push(frames),
                WorkerOutput::Request(request) => self.note(request),
                WorkerOutput::Up { broker } => {
                    log::info!("registered at the broker {} ({broker})", self.wire.endpoint());
                    self.events.push(CounterEvent::Up);
                }
                WorkerOutput::Reopen { at } => self.close(at),
                WorkerOutput::Refused { service, code, error } => {
                    let (broker, message) = (self.wire.endpoint(), &error.message);
                    log::warn!("{broker} refuses {service}: {} {message}", code.as_str());
                }
                // Only partitions are voted about.
                WorkerOutput::Vote { .. } => {}
            }
        }
        if self.wire.is_stuck() {
            log::warn!("{} takes nothing any more: connecting anew", self.wire.endpoint());
            self.close(now);
        }
        self.wire.flush()
    }

    fn note(&mut self, request: WorkerRequest) {
        let ticket = RequestTicket(self.next_ticket);
        self.next_ticket += self.place.of;
        let (session, service) = (request.session, request.service.clone());
        self.asked.insert(ticket, Asked { session, service, number: request.number });
        self.events.push(CounterEvent::Request(ticket, request));
    }

    fn close(&mut self, open_at: Instant) {
        self.events.extend(self.asked.drain().map(|(ticket, _)| CounterEvent::Forget(ticket)));
        self.wire.close(open_at);
    }
}
