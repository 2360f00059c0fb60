//! One broker, seen from a worker: a [`Wire`] around the dialect's [`WorkerLink`].
//!
//! Whoever registers with several brokers has a [`BrokerLink`] to each of them in one loop: it
//! polls their sockets, calls [`BrokerLink::tick`] and [`BrokerLink::receive`], and deals with the
//! [`LinkEvent`]s that come out.

use std::time::Instant;

use zmq::{Context, Socket};

use crate::dialect::{
    LinkSettings, SessionId, WorkerInput, WorkerLink, WorkerOutput, WorkerRequest,
};
use crate::net::{Endpoint, Wire};

/// Messages that wait for a full socket if nothing else is said. The broker's credit keeps replies
/// far below this; a link that gets here has lost its peer and is opened anew.
const OUTBOX_MAX: usize = 10_000;

/// Which of the process's brokers, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkNumber(pub usize);

/// The conversation with one broker and its socket.
pub struct BrokerLink {
    number: LinkNumber,
    wire: Wire,
    link: WorkerLink,
}

/// What came out of a link for the loop to deal with.
#[derive(Debug)]
pub enum LinkEvent {
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
    /// A link that is to be opened now.
    pub fn new(
        number: LinkNumber,
        endpoint: Endpoint,
        settings: LinkSettings,
        now: Instant,
    ) -> BrokerLink {
        BrokerLink::with_wire(number, Wire::new(endpoint, OUTBOX_MAX, now), settings)
    }

    /// The same for a worker whose windows let more answers be under way at a time.
    pub fn with_wire(number: LinkNumber, wire: Wire, settings: LinkSettings) -> BrokerLink {
        BrokerLink { number, wire, link: WorkerLink::new(settings) }
    }

    /// Its place among the process's links.
    pub const fn number(&self) -> LinkNumber {
        self.number
    }

    /// For the loop's poll set; nothing while there is no connection.
    pub const fn socket(&self) -> Option<&Socket> {
        self.wire.socket()
    }

    /// Whether the broker listens.
    pub fn is_up(&self) -> bool {
        self.link.is_up()
    }

    /// When [`BrokerLink::tick`] is due.
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        self.link.deadline().into_iter().chain(self.wire.deadline(now)).min()
    }

    /// Opens the socket when that is due, sends what waits, and lets the machine see the time.
    ///
    /// # Errors
    /// A socket cannot be made.
    pub fn tick(
        &mut self,
        context: &Context,
        now: Instant,
        events: &mut Vec<LinkEvent>,
    ) -> Result<(), zmq::Error> {
        if self.wire.open_when_due(context, now)? {
            self.give(now, WorkerInput::Opened { session: SessionId::random() }, events)?;
        }
        self.wire.flush()?;
        self.give(now, WorkerInput::Tick, events)
    }

    /// Takes up to `messages_max` messages from the broker; how many there were.
    ///
    /// # Errors
    /// The socket failed.
    pub fn receive(
        &mut self,
        messages_max: usize,
        now: Instant,
        events: &mut Vec<LinkEvent>,
    ) -> Result<usize, zmq::Error> {
        for received in 0..messages_max {
            let Some(frames) = self.wire.receive()? else {
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
    pub fn give(
        &mut self,
        now: Instant,
        input: WorkerInput,
        events: &mut Vec<LinkEvent>,
    ) -> Result<(), zmq::Error> {
        let mut outputs = Vec::new();
        self.link.handle(now, input, &mut outputs);
        for output in outputs {
            match output {
                WorkerOutput::Send(frames) => self.wire.push(frames),
                WorkerOutput::Request(request) => events.push(LinkEvent::Request(request)),
                WorkerOutput::Up { broker } => {
                    log::info!("registered at the broker {} ({broker})", self.wire.endpoint());
                    events.push(LinkEvent::Up);
                }
                WorkerOutput::Reopen { at } => self.close(at, events),
                WorkerOutput::Refused { service, code, error } => {
                    let (broker, message) = (self.wire.endpoint(), &error.message);
                    log::warn!("{broker} refuses {service}: {} {message}", code.as_str());
                }
                WorkerOutput::Vote { .. } => events.push(LinkEvent::Vote),
            }
        }
        if self.wire.is_stuck() {
            log::warn!("{} takes nothing any more: connecting anew", self.wire.endpoint());
            self.close(now, events);
        }
        self.wire.flush()
    }

    fn close(&mut self, open_at: Instant, events: &mut Vec<LinkEvent>) {
        events.push(LinkEvent::Down);
        self.wire.close(open_at);
    }

    /// Says goodbye and closes the socket once the last words are out.
    ///
    /// # Errors
    /// The socket failed.
    pub fn leave(mut self, now: Instant) -> Result<(), zmq::Error> {
        self.give(now, WorkerInput::Goodbye, &mut Vec::new())?;
        self.wire.leave()
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test stands in for the loop")]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::dialect::{Registration, ServiceName, Window, WorkerOffer, WorkerReply};
    use crate::mdp::{Client, ClientConfig};
    use crate::net;
    use std::time::Duration;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// Drives a link until something comes out of it.
    fn next(link: &mut BrokerLink, context: &Context) -> LinkEvent {
        let (mut events, deadline) = (Vec::new(), Instant::now() + PATIENCE);
        while events.is_empty() {
            let now = Instant::now();
            assert!(now < deadline, "nothing came in {PATIENCE:?}");
            link.tick(context, now, &mut events).unwrap();
            link.receive(1, now, &mut events).unwrap();
            let wait = link.deadline(now).unwrap().saturating_duration_since(now);
            let mut items: Vec<_> =
                link.socket().iter().map(|socket| socket.as_poll_item(zmq::POLLIN)).collect();
            net::poll(&mut items, Some(if events.is_empty() { wait } else { Duration::ZERO }))
                .unwrap();
        }
        assert_eq!(events.len(), 1, "{events:?}");
        events.remove(0)
    }

    fn offer() -> WorkerInput {
        WorkerInput::Offer(WorkerOffer {
            service: ServiceName::new("echo").unwrap(),
            epoch: 0,
            registration: Registration::default(),
            window: Window { messages: 1, bytes: 1_000 },
        })
    }

    fn echo(request: WorkerRequest) -> WorkerInput {
        let WorkerRequest { session, service, number, body, .. } = request;
        let (code, retry_after) = (None, Duration::ZERO);
        let more = false;
        WorkerInput::Reply(WorkerReply {
            session,
            service,
            number,
            epoch: 0,
            code,
            retry_after,
            more,
            body,
        })
    }

    #[test]
    fn requests_come_out_and_replies_go_back_until_the_broker_is_lost() {
        let data = tempfile::tempdir().unwrap();
        let listen = vec!["tcp://127.0.0.1:*".parse().unwrap()];
        let config = Config { listen, data: data.path().into(), ..Config::default() };
        let broker = crate::server::start(config).unwrap();
        let endpoint = broker.endpoints()[0].clone();
        let (context, now) = (Context::new(), Instant::now());
        let settings = LinkSettings::default();
        let mut link = BrokerLink::new(LinkNumber(1), endpoint.clone(), settings, now);
        assert_eq!((link.number(), link.is_up()), (LinkNumber(1), false));
        link.give(now, offer(), &mut Vec::new()).unwrap();
        assert!(matches!(next(&mut link, &context), LinkEvent::Up) && link.is_up());

        let asker = std::thread::spawn(move || {
            Client::connect(ClientConfig::new(endpoint))?.request("echo", vec!["hello".into()])
        });
        let LinkEvent::Request(request) = next(&mut link, &context) else {
            panic!("no request");
        };
        let mut events = Vec::new();
        link.give(Instant::now(), echo(request), &mut events).unwrap();
        assert_eq!(asker.join().unwrap().unwrap(), ["hello"]);
        assert!(events.is_empty(), "{events:?}");

        broker.stop().unwrap();
        assert!(matches!(next(&mut link, &context), LinkEvent::Down));
        assert!(!link.is_up() && link.socket().is_none());
    }

    #[test]
    fn a_link_with_more_to_send_than_may_wait_begins_anew() {
        let (context, now) = (Context::new(), Instant::now());
        let wire = Wire::new("inproc://nobody".parse().unwrap(), 0, now);
        let mut link = BrokerLink::with_wire(LinkNumber(0), wire, LinkSettings::default());
        let mut events = Vec::new();
        link.tick(&context, now, &mut events).unwrap();
        assert!(matches!(events[..], [LinkEvent::Down]), "{events:?}");
        assert!(link.socket().is_none());
        assert_eq!(link.deadline(now), Some(now), "it is opened again at once");
    }
}
