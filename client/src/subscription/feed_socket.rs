//! The SUB socket to the feeds of all members.

use std::collections::{BTreeSet, VecDeque};

use broker::net::{self, Endpoint, Frames};
use store::wire::feed::Topic;

use super::error::SubscriptionError;

/// One SUB, connected to every feed that the topology names for the partitions in question.
pub(super) struct FeedSocket {
    socket: zmq::Socket,
    connected: BTreeSet<String>,
    /// Messages taken off the socket before a connection was given up.
    held: VecDeque<Frames>,
}

impl std::fmt::Debug for FeedSocket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FeedSocket").field("connected", &self.connected).finish_non_exhaustive()
    }
}

impl FeedSocket {
    pub(super) fn new(context: &zmq::Context) -> Result<Self, SubscriptionError> {
        let socket = net::socket(context, zmq::SUB).map_err(failed)?;
        Ok(Self { socket, connected: BTreeSet::new(), held: VecDeque::new() })
    }

    pub(super) fn poll_item(&self) -> zmq::PollItem<'_> {
        self.socket.as_poll_item(zmq::POLLIN)
    }

    pub(super) fn receive(&mut self) -> Result<Option<Frames>, SubscriptionError> {
        match self.held.pop_front() {
            Some(frames) => Ok(Some(frames)),
            None => net::receive(&self.socket).map_err(failed),
        }
    }

    /// Subscribes, also if that was done before: the publisher answers with the topic's head.
    pub(super) fn subscribe(&self, topic: &Topic) -> Result<(), SubscriptionError> {
        let topic = topic.encode();
        // The first time there is nothing to take back, which is no failure.
        let _ = self.socket.set_unsubscribe(&topic);
        self.socket.set_subscribe(&topic).map_err(failed)
    }

    /// Connects to these feeds and to no others. With `anew`, connections that seem to stand are
    /// made again: their other end may have vanished without a word.
    pub(super) fn connect(&mut self, feeds: BTreeSet<String>, anew: bool) {
        let keep = |feed: &String| feeds.contains(feed) && !anew;
        if !self.connected.iter().all(keep) {
            self.finish_message();
        }
        for feed in self.connected.iter().filter(|feed| !keep(feed)) {
            if let Err(error) = self.socket.disconnect(feed) {
                log::debug!("leaving the feed {feed}: {error}");
            }
        }
        self.connected.retain(keep);
        for feed in feeds {
            if self.connected.contains(&feed) {
                continue;
            }
            let endpoint = feed.parse::<Endpoint>().map_err(|error| error.to_string());
            let connected = endpoint.and_then(|endpoint| {
                net::connect(&self.socket, &endpoint).map_err(|error| error.to_string())
            });
            match connected {
                Ok(()) => drop(self.connected.insert(feed)),
                Err(error) => log::warn!("no connection to the feed {feed}: {error}"),
            }
        }
    }

    /// Takes the message that libzmq has begun to read, if there is one.
    ///
    /// To answer a poll, a SUB takes the first frame of a message off its connection. If that
    /// connection is given up then, libzmq misses the other frames at the next receive and aborts
    /// the process (`Assertion failed: !_more`, fq.cpp, 4.3.5).
    fn finish_message(&mut self) {
        match net::receive(&self.socket) {
            Ok(Some(frames)) => self.held.push_back(frames),
            Ok(None) => {}
            Err(error) => log::debug!("before leaving a feed: {error}"),
        }
    }
}

fn failed(error: zmq::Error) -> SubscriptionError {
    SubscriptionError::Socket(error.to_string())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;

    /// Without the care taken in `connect` this does not fail, it aborts the test process.
    #[test]
    fn a_feed_can_be_left_while_a_message_of_it_is_half_read() {
        let context = zmq::Context::new();
        let publisher = net::socket(&context, zmq::XPUB).unwrap();
        let endpoint = net::bind(&publisher, &"tcp://127.0.0.1:*".parse().unwrap()).unwrap();
        let mut feed = FeedSocket::new(&context).unwrap();
        feed.connect(BTreeSet::from([endpoint.to_string()]), false);
        let topic = Topic { store: "orders".parse().unwrap(), partition: 0, filter: None };
        feed.subscribe(&topic).unwrap();
        wait_for(publisher.as_poll_item(zmq::POLLIN));
        let message = [Bytes::from(topic.encode()), Bytes::from_static(b"header")];
        let _ = net::send(&publisher, &message).unwrap();
        wait_for(feed.poll_item());

        feed.connect(BTreeSet::new(), false);
        assert_eq!(feed.receive().unwrap().as_deref(), Some(&message[..]));
        assert_eq!(feed.receive().unwrap(), None);
    }

    fn wait_for(item: zmq::PollItem<'_>) {
        let mut items = [item];
        for _ in 0..20 {
            net::poll(&mut items, Some(Duration::from_secs(1))).unwrap();
            if items[0].is_readable() {
                return;
            }
        }
        panic!("nothing arrived within twenty seconds");
    }
}
