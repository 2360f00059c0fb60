//! A forwarder that loses messages on purpose, between a store's feed and its subscribers.
//!
//! ```text
//!   store XPUB  --feed-->  XSUB | drop one in N | XPUB  --feed-->  SUB of each projection host
//!                <--subscriptions--------------------
//! ```
//!
//! Subscribers learn its endpoint from the topology, because the store announces it as its own
//! (`--advertise-feed`). It outlives a store that is killed; libzmq connects again by itself.
//! Only messages with records are dropped: a heartbeat that says more than it arrived is how a
//! subscriber notices a loss at the end of the stream.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
};

use broker::net::{self, BindError, Endpoint, Frames, Stop, Waker};
use thiserror::Error;

use crate::random::Random;

/// Topic, header, records: a heartbeat has no third frame.
const FRAMES_WITH_RECORDS: usize = 3;

/// Why a forwarder could not be started.
#[derive(Debug, Error)]
pub enum ForwarderError {
    /// The side of the subscribers.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Sockets.
    #[error("the feed forwarder has no socket: {0}")]
    Socket(#[from] zmq::Error),
    /// Thread or eventfd.
    #[error("the feed forwarder cannot start: {0}")]
    Start(#[from] io::Error),
    /// The thread has ended already.
    #[error("the feed forwarder has ended")]
    Ended,
}

/// What to lose.
#[derive(Debug, Clone)]
pub struct DropPlan {
    random: Random,
    one_in: u64,
}

impl DropPlan {
    /// Loses about one message with records out of `one_in`; none if that is 0.
    #[must_use]
    pub const fn new(seed: u64, one_in: u64) -> Self {
        Self { random: Random::new(seed), one_in }
    }

    fn loses(&mut self, frames: usize) -> bool {
        frames >= FRAMES_WITH_RECORDS && self.one_in > 0 && self.random.below(self.one_in) == 0
    }
}

/// A running forwarder; dropping it stops it.
#[derive(Debug)]
pub struct Forwarder {
    endpoint: Endpoint,
    connect: Sender,
    stop: Stop,
    dropped: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

/// Feeds to connect to, handed to the loop.
#[derive(Debug, Clone)]
struct Sender {
    feeds: std::sync::mpsc::Sender<Endpoint>,
    waker: Waker,
}

impl Forwarder {
    /// Binds the side of the subscribers, on a free port of the loopback.
    ///
    /// # Errors
    /// [`ForwarderError`] without sockets or threads.
    pub fn start(plan: DropPlan) -> Result<Self, ForwarderError> {
        let context = zmq::Context::new();
        let subscribers = net::socket(&context, zmq::XPUB)?;
        // Every subscription goes up, also of a topic that is known: the store answers each one
        // with the topic's head.
        subscribers.set_xpub_verbose(true)?;
        let any_port = "tcp://127.0.0.1:*".parse().map_err(|_| zmq::Error::EINVAL)?;
        let endpoint = net::bind(&subscribers, &any_port)?;
        let store = net::socket(&context, zmq::XSUB)?;
        let (feeds, asked) = std::sync::mpsc::channel();
        let waker = Waker::new()?;
        let stop = Stop::new();
        stop.register(&waker);
        let dropped = Arc::new(AtomicU64::new(0));
        let work = Loop {
            subscribers,
            store,
            asked,
            waker: waker.clone(),
            stop: stop.clone(),
            plan,
            dropped: Arc::clone(&dropped),
        };
        let name = String::from("feed-forwarder");
        let thread = std::thread::Builder::new().name(name).spawn(move || work.run())?;
        let connect = Sender { feeds, waker };
        Ok(Self { endpoint, connect, stop, dropped, thread: Some(thread) })
    }

    /// Where subscribers connect to.
    #[must_use]
    pub const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Takes messages from this feed.
    ///
    /// # Errors
    /// [`ForwarderError::Ended`] if the loop has failed.
    pub fn connect(&self, feed: Endpoint) -> Result<(), ForwarderError> {
        self.connect.feeds.send(feed).map_err(|_| ForwarderError::Ended)?;
        self.connect.waker.wake();
        Ok(())
    }

    /// Messages lost so far.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.stop.request();
        if let Some(thread) = self.thread.take() {
            // A panic of the loop has been printed; there is nothing to add while dropping.
            let _ = thread.join();
        }
    }
}

/// The loop: it owns both sockets.
struct Loop {
    subscribers: zmq::Socket,
    store: zmq::Socket,
    asked: std::sync::mpsc::Receiver<Endpoint>,
    waker: Waker,
    stop: Stop,
    plan: DropPlan,
    dropped: Arc<AtomicU64>,
}

impl Loop {
    fn run(mut self) {
        while !self.stop.is_requested() {
            if let Err(error) = self.turn() {
                log::error!("the feed forwarder stops: {error}");
                return;
            }
        }
    }

    fn turn(&mut self) -> Result<(), zmq::Error> {
        let mut items = [
            self.waker.poll_item(),
            self.store.as_poll_item(zmq::POLLIN),
            self.subscribers.as_poll_item(zmq::POLLIN),
        ];
        net::poll(&mut items, None)?;
        self.waker.drain();
        while let Ok(feed) = self.asked.try_recv() {
            net::connect(&self.store, &feed)?;
        }
        while let Some(subscription) = net::receive(&self.subscribers)? {
            pass(&self.store, &subscription)?;
        }
        while let Some(message) = net::receive(&self.store)? {
            if self.plan.loses(message.len()) {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            } else {
                pass(&self.subscribers, &message)?;
            }
        }
        Ok(())
    }
}

/// Hands a message on. What does not fit is lost, as everywhere on a feed.
fn pass(socket: &zmq::Socket, frames: &Frames) -> Result<(), zmq::Error> {
    net::send(socket, frames).map(drop)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;
    use crate::clock::Deadline;

    #[test]
    fn only_records_are_lost_and_about_one_in_n() {
        let mut plan = DropPlan::new(1, 4);
        let lost = (0..4_000).filter(|_| plan.loses(3)).count();
        assert!((800..1_200).contains(&lost), "{lost}");
        assert!((0..100).all(|_| !plan.loses(2)));
        assert!((0..100).all(|_| !DropPlan::new(1, 0).loses(3)));
    }

    #[test]
    fn subscriptions_go_up_and_messages_come_down() {
        let context = zmq::Context::new();
        let feed = net::socket(&context, zmq::XPUB).unwrap();
        let feed_endpoint = net::bind(&feed, &"tcp://127.0.0.1:*".parse().unwrap()).unwrap();
        let forwarder = Forwarder::start(DropPlan::new(1, 2)).unwrap();
        forwarder.connect(feed_endpoint).unwrap();
        let subscriber = net::socket(&context, zmq::SUB).unwrap();
        net::connect(&subscriber, forwarder.endpoint()).unwrap();
        subscriber.set_subscribe(b"Pa").unwrap();

        let deadline = Deadline::after(Duration::from_secs(20));
        let subscription = deadline.wait_for(|| net::receive(&feed).unwrap()).unwrap();
        assert_eq!(subscription, [Bytes::from_static(b"\x01Pa")]);
        let mut received = 0;
        for number in 0..100_u8 {
            let frames = [&b"Pa"[..], b"header", &[number]].map(Bytes::copy_from_slice);
            net::send(&feed, &frames).map(drop).unwrap();
        }
        let end = [&b"Pa"[..], b"heartbeat"].map(Bytes::copy_from_slice);
        net::send(&feed, &end).map(drop).unwrap();
        let last = deadline.wait_for(|| {
            let frames = net::receive(&subscriber).unwrap()?;
            received += 1;
            (frames.len() == 2).then_some(())
        });
        assert_eq!(last, Some(()), "the heartbeat arrives");
        assert_eq!(forwarder.dropped() + received, 101);
        assert!((20..80).contains(&forwarder.dropped()), "{}", forwarder.dropped());
    }
}
