//! Relays between a client and what it talks to, which lose messages on purpose.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use broker::dialect::{Header, Kind};
use broker::net::{self, Endpoint, Frames};

use crate::world::loopback;

/// A thread between two sockets. Dropping it closes both.
pub struct Relay {
    pub endpoint: Endpoint,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    requests_to_lose: AtomicUsize,
    replies_to_lose: AtomicUsize,
    /// Of so many feed messages with records the last one is lost; 0 for none.
    lose_every: AtomicUsize,
    seen: AtomicUsize,
    lost: AtomicUsize,
}

impl Relay {
    /// Between one client and a broker.
    pub fn of_broker(broker: &Endpoint) -> Self {
        let context = zmq::Context::new();
        let front = net::socket(&context, zmq::ROUTER).unwrap();
        let back = net::socket(&context, zmq::DEALER).unwrap();
        net::connect(&back, broker).unwrap();
        let endpoint = net::bind(&front, &loopback()).unwrap();
        Self::run(endpoint, (front, back), |shared, (front, back)| {
            let mut client = None;
            while !shared.stop.load(Ordering::Relaxed) {
                wait(front, back);
                while let Some(mut frames) = net::receive(front).unwrap() {
                    client = Some(frames.remove(0));
                    if !shared.loses(&frames, Kind::Request, &shared.requests_to_lose) {
                        let _ = net::send(back, &frames).unwrap();
                    }
                }
                while let Some(mut frames) = net::receive(back).unwrap() {
                    if let Some(client) = &client
                        && !shared.loses(&frames, Kind::Reply, &shared.replies_to_lose)
                    {
                        frames.insert(0, client.clone());
                        let _ = net::send(front, &frames).unwrap();
                    }
                }
            }
        })
    }

    /// Between a store's feed and its subscribers. `feed` is what the store will bind.
    pub fn of_feed(feed: &Endpoint) -> Self {
        let context = zmq::Context::new();
        let front = net::socket(&context, zmq::XPUB).unwrap();
        front.set_xpub_verbose(true).unwrap();
        let back = net::socket(&context, zmq::XSUB).unwrap();
        net::connect(&back, feed).unwrap();
        let endpoint = net::bind(&front, &loopback()).unwrap();
        Self::run(endpoint, (front, back), |shared, (front, back)| {
            while !shared.stop.load(Ordering::Relaxed) {
                wait(front, back);
                while let Some(frames) = net::receive(front).unwrap() {
                    let _ = net::send(back, &frames).unwrap();
                }
                while let Some(frames) = net::receive(back).unwrap() {
                    if !shared.loses_records(&frames) {
                        let _ = net::send(front, &frames).unwrap();
                    }
                }
            }
        })
    }

    fn run(
        endpoint: Endpoint,
        sockets: (zmq::Socket, zmq::Socket),
        body: impl Fn(&Shared, &(zmq::Socket, zmq::Socket)) + Send + 'static,
    ) -> Self {
        let shared = Arc::new(Shared::default());
        let thread = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || body(&shared, &sockets)
        });
        Self { endpoint, shared, thread: Some(thread) }
    }

    /// Loses the next requests to partitions.
    pub fn lose_append_requests(&self, count: usize) {
        self.shared.requests_to_lose.store(count, Ordering::SeqCst);
    }

    /// Loses the next replies of partitions.
    pub fn lose_append_replies(&self, count: usize) {
        self.shared.replies_to_lose.store(count, Ordering::SeqCst);
    }

    /// Loses one of so many feed messages that carry records.
    pub fn lose_every(&self, number: usize) {
        self.shared.lose_every.store(number, Ordering::SeqCst);
    }

    /// How many messages were lost so far.
    pub fn lost(&self) -> usize {
        self.shared.lost.load(Ordering::SeqCst)
    }
}

impl Shared {
    fn loses(&self, frames: &Frames, kind: Kind, left: &AtomicUsize) -> bool {
        let header = frames.first().map(Header::decode);
        let Some(Ok(header)) = header else { return false };
        if header.kind != kind || !header.service.as_str().contains('/') {
            return false;
        }
        let one_less = |left: usize| left.checked_sub(1);
        let loses = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok();
        self.lost.fetch_add(usize::from(loses), Ordering::SeqCst);
        loses
    }

    fn loses_records(&self, frames: &Frames) -> bool {
        let every = self.lose_every.load(Ordering::SeqCst);
        if frames.len() < 3 || every == 0 {
            return false;
        }
        let loses = self.seen.fetch_add(1, Ordering::SeqCst) % every == every - 1;
        self.lost.fetch_add(usize::from(loses), Ordering::SeqCst);
        loses
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn wait(front: &zmq::Socket, back: &zmq::Socket) {
    let mut items = [front.as_poll_item(zmq::POLLIN), back.as_poll_item(zmq::POLLIN)];
    net::poll(&mut items, Some(Duration::from_millis(20))).unwrap();
}
