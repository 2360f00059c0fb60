//! One broker as its worker sees it: Titanic's own services, their requests, and the answers.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use broker::dialect::{
    Registration, ServiceName, SessionId, Window, WorkerInput, WorkerOffer, WorkerReply,
    WorkerRequest,
};
use broker::link::{BrokerLink, LinkEvent};
use broker::net::Frames;
use zmq::{Context, Socket};

use crate::{Door, RequestTicket};

/// Requests of one service that a broker may leave with us. A parked fetch keeps its place until
/// it is answered, and the machine parks fewer.
const WINDOW_MESSAGES: u64 = 16_384;
/// Body bytes of one service that a broker may leave with us.
pub(super) const WINDOW_BYTES: u64 = 64 * 1024 * 1024;

/// The counter at one broker: what is asked there is answered there.
pub(super) struct Counter {
    link: BrokerLink,
    /// Which of the process's brokers it is, and of how many: tickets are numbered so that they
    /// tell.
    number: u64,
    brokers: u64,
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
    /// Nobody hears the answer any more: the conversation is over.
    Forget(RequestTicket),
}

impl Counter {
    /// The counter at the end of a link, one of those to so many brokers.
    pub(super) fn new(link: BrokerLink, brokers: usize) -> Self {
        let count = |count| u64::try_from(count).unwrap_or(u64::MAX);
        let (number, brokers) = (count(link.number().0), count(brokers));
        let (asked, events) = (HashMap::new(), Vec::new());
        Self { link, number, brokers, next_ticket: number, asked, events }
    }

    pub(super) const fn socket(&self) -> Option<&Socket> {
        self.link.socket()
    }

    /// Whether the broker listens.
    pub(super) fn is_up(&self) -> bool {
        self.link.is_up()
    }

    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        self.link.deadline(now)
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
    pub(super) fn turn(
        &mut self,
        context: &Context,
        now: Instant,
        messages_max: usize,
    ) -> Result<usize, zmq::Error> {
        let mut events = Vec::new();
        self.link.tick(context, now, &mut events)?;
        let received = self.link.receive(messages_max, now, &mut events)?;
        self.hear(events);
        Ok(received)
    }

    /// What has happened since this was last called.
    pub(super) fn take_events(&mut self) -> Vec<CounterEvent> {
        std::mem::take(&mut self.events)
    }

    /// Whether a request with this ticket came in here.
    pub(super) const fn gave(&self, ticket: RequestTicket) -> bool {
        ticket.0 % self.brokers == self.number
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
    pub(super) fn leave(self, now: Instant) -> Result<(), zmq::Error> {
        self.link.leave(now)
    }

    fn give(&mut self, now: Instant, input: WorkerInput) -> Result<(), zmq::Error> {
        let mut events = Vec::new();
        self.link.give(now, input, &mut events)?;
        self.hear(events);
        Ok(())
    }

    fn hear(&mut self, events: Vec<LinkEvent>) {
        for event in events {
            match event {
                LinkEvent::Request(request) => self.note(request),
                LinkEvent::Down => {
                    let asked = self.asked.drain();
                    self.events.extend(asked.map(|(ticket, _)| CounterEvent::Forget(ticket)));
                }
                // Only partitions are voted about.
                LinkEvent::Up | LinkEvent::Vote => {}
            }
        }
    }

    fn note(&mut self, request: WorkerRequest) {
        let ticket = RequestTicket(self.next_ticket);
        self.next_ticket += self.brokers;
        let (session, service) = (request.session, request.service.clone());
        self.asked.insert(ticket, Asked { session, service, number: request.number });
        self.events.push(CounterEvent::Request(ticket, request));
    }
}
