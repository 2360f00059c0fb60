//! Live feeds of categories and streams.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use bytes::Bytes;
use store::wire::feed::{FeedHeader, FeedKind, Topic};
use store::{Epoch, ExpectedVersion, Filter, Sequence};

use super::bench::{
    Bench, PATIENCE, RawClient, Subscriber, TestBroker, config, message, start, write,
};
use crate::fixture::{event, name, stream};

fn category(of: &str) -> Topic {
    let filter = Some(Filter::Category(of.parse().unwrap()));
    Topic { store: name("orders"), partition: 0, filter }
}

fn one_stream(of: &str) -> Topic {
    Topic { filter: Some(Filter::Stream(stream(of))), ..category("x") }
}

/// Appends an event to each of these streams, in one message.
fn append(client: &mut RawClient, number: u64, streams: &[&str]) {
    let append = |name: &&str| vec![write(name, ExpectedVersion::Any, vec![event("x")])];
    client.send(number, number, message(streams.iter().map(append).collect()));
    assert_eq!(client.reply().code, None);
}

/// A subscriber of one topic with a place, as a client has it.
pub struct Listener {
    pub subscriber: Subscriber,
    topic: Topic,
    pub position: Sequence,
    /// Sequences of all records that came.
    pub seen: Vec<u64>,
}

impl Listener {
    pub fn new(subscriber: Subscriber, topic: Topic) -> Self {
        subscriber.listen(&topic);
        Self { subscriber, topic, position: Sequence::ZERO, seen: Vec::new() }
    }

    /// Subscribes and takes the first message, a heartbeat, without asking for what was before.
    fn start(bench: &Bench, topic: Topic) -> (Self, FeedHeader) {
        let mut listener = Self::new(Subscriber::connect(bench.store.feed()), topic);
        let (header, _) = listener.message();
        assert_eq!(header.kind, FeedKind::Heartbeat);
        listener.position = header.last;
        (listener, header)
    }

    /// The next message of its topic, of which the records are what they should be.
    pub fn message(&mut self) -> (FeedHeader, Vec<u64>) {
        let (topic, header, records) = self.subscriber.message();
        assert_eq!(topic, self.topic);
        assert!(header.previous <= header.last, "{header:?}");
        let sequences = self.sequences(&records);
        assert_eq!(sequences.len(), usize::try_from(header.count).unwrap());
        let places = [header.previous.0].into_iter().chain(sequences.iter().copied());
        assert!(places.is_sorted_by(|before, after| before < after), "{header:?} {sequences:?}");
        assert!(sequences.last().is_none_or(|last| *last <= header.last.0), "{header:?}");
        (header, sequences)
    }

    fn sequences(&self, records: &Bytes) -> Vec<u64> {
        let filter = self.topic.filter.as_ref().unwrap();
        let events = store::record::iterate(records).map(|event| {
            let event = event.unwrap();
            assert!(filter.takes(&event.stream), "{event:?}");
            event.sequence.0
        });
        events.collect()
    }

    /// Takes messages until everything up to `last` is covered; none of them may have a gap before.
    fn follow(&mut self, last: u64) {
        while self.position < Sequence(last) {
            let (header, sequences) = self.message();
            assert!(header.previous <= self.position, "a gap: {header:?} at {}", self.position);
            self.seen.extend(sequences.iter().filter(|sequence| **sequence > self.position.0));
            self.position = self.position.max(header.last);
        }
    }
}

#[test]
fn a_category_and_a_stream_are_fed_without_a_gap() {
    let bench = Bench::start();
    let mut client = bench.client();
    append(&mut client, 1, &["order-1", "user-1", "order-2", "user-2"]);
    let (mut orders, header) = Listener::start(&bench, category("order"));
    assert_eq!((header.previous, header.last), (Sequence(3), Sequence(4)));
    let (mut order, header) = Listener::start(&bench, one_stream("order-1"));
    assert_eq!((header.previous, header.last), (Sequence(1), Sequence(4)));
    // Nobody listens to the partition as a whole.
    let names = ["user-1", "order-1", "orders-1", "order-2", "order", "user-2"];
    (2..102).for_each(|number| append(&mut client, number, &names));
    let last = 4 + 6 * 100;
    orders.follow(last);
    order.follow(last);
    let places = |within: &[u64]| -> Vec<u64> {
        (0..100).flat_map(|round| within.iter().map(move |place| 4 + 6 * round + place)).collect()
    };
    assert_eq!(orders.seen, places(&[2, 4, 5]));
    assert_eq!(order.seen, places(&[2]));
}

#[test]
fn a_heartbeat_moves_on_while_others_append() {
    let bench = Bench::start();
    let mut client = bench.client();
    let (mut quiet, header) = Listener::start(&bench, category("quiet"));
    assert_eq!((header.previous, header.last), (Sequence(0), Sequence(0)));
    append(&mut client, 1, &["loud-1", "quiet-1", "loud-1"]);
    quiet.follow(3);
    (2..12).for_each(|number| append(&mut client, number, &["loud-1", "loud-2"]));
    loop {
        let (header, sequences) = quiet.message();
        assert_eq!((header.kind, sequences.len()), (FeedKind::Heartbeat, 0));
        assert_eq!(header.previous, Sequence(2), "its newest record");
        if header.last == Sequence(23) {
            break;
        }
    }
}

#[test]
fn what_was_lost_is_seen_as_a_gap() {
    let bench = Bench::start();
    let mut client = bench.client();
    let (mut orders, header) = Listener::start(&bench, category("order"));
    append(&mut client, 1, &["user-1", "order-1"]);
    while orders.message().1.is_empty() {}
    // That message was lost, says the place; the heartbeat tells, and so does the next one.
    loop {
        let (next, sequences) = orders.message();
        assert!(sequences.is_empty());
        if next.last == Sequence(2) {
            assert!(next.previous > header.last, "{next:?}");
            break;
        }
    }
    append(&mut client, 2, &["user-1", "order-2"]);
    let next = loop {
        let (next, sequences) = orders.message();
        if !sequences.is_empty() {
            break next;
        }
    };
    assert_eq!((next.previous, next.last), (Sequence(2), Sequence(4)));
}

/// A peer that speaks just enough of ZMTP 3.0 to say what libzmq's own sockets keep to themselves:
/// that it unsubscribes from what it never subscribed to. libzmq passes that on.
struct Stranger {
    stream: TcpStream,
    said: Vec<u8>,
}

impl Stranger {
    fn connect(feed: &str) -> Self {
        let stream = TcpStream::connect(feed.strip_prefix("tcp://").unwrap()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut stranger = Self { stream, said: Vec::new() };
        let mut greeting = vec![0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 0];
        greeting.extend_from_slice(b"NULL");
        greeting.resize(64, 0);
        stranger.stream.write_all(&greeting).unwrap();
        stranger.send(4, b"\x05READY\x0bSocket-Type\x00\x00\x00\x03SUB");
        stranger.hear(b"XPUB");
        stranger
    }

    fn send(&mut self, flags: u8, body: &[u8]) {
        let length = u8::try_from(body.len()).unwrap();
        self.stream.write_all(&[&[flags, length], body].concat()).unwrap();
    }

    /// Waits until it is told this.
    fn hear(&mut self, bytes: &[u8]) {
        while !self.said.windows(bytes.len()).any(|said| said == bytes) {
            let mut some = [0; 256];
            let count = self.stream.read(&mut some).unwrap();
            assert!(count > 0, "it was shut out");
            self.said.extend_from_slice(&some[..count]);
        }
    }
}

#[test]
fn another_peers_unsubscription_is_only_a_hint() {
    let bench = Bench::start();
    let mut client = bench.client();
    let topic = category("order");
    let (mut orders, _) = Listener::start(&bench, topic.clone());
    let mut stranger = Stranger::connect(bench.store.feed().as_str());
    stranger.send(0, &[&[0][..], &topic.encode()].concat());
    // Its own topic is answered, so its unsubscription before it was heard.
    let heard = category("heard").encode();
    stranger.send(0, &[&[1][..], &heard].concat());
    stranger.hear(&heard);
    for _ in 0..3 {
        assert_eq!(orders.message().0.kind, FeedKind::Heartbeat);
    }
    append(&mut client, 1, &["order-1"]);
    orders.follow(1);
    assert_eq!(orders.seen, [1]);
}

#[test]
fn there_are_at_most_4096_filtered_topics() {
    let (broker, dir) = (TestBroker::start(), tempfile::tempdir().unwrap());
    let mut config = config(dir.path(), &[&broker]);
    // Only subscriptions are answered while the test runs.
    config.heartbeat = Duration::from_secs(60);
    let store = start(&config);
    let many = Subscriber::connect(store.feed());
    // So few at a time that no answer is dropped.
    for first in (0..4096).step_by(256) {
        (first..first + 256).for_each(|number| many.listen(&category(&format!("c{number}"))));
        (0..256).for_each(|_| assert!(many.message().0.filter.is_some()));
    }
    let late = Subscriber::connect(store.feed());
    late.listen(&category("late"));
    late.listen(&category("c77"));
    late.subscribe("orders", 0);
    // One peer's subscriptions are heard in their order, and answered in that of the topics.
    let heard = [late.message().0, late.message().0];
    assert_eq!(heard, [category("c77"), Topic { filter: None, ..category("x") }]);
    store.stop().unwrap();
}

#[test]
fn what_is_not_here_is_ignored() {
    let bench = Bench::start();
    let subscriber = Subscriber::connect(bench.store.feed());
    subscriber.listen(&Topic { partition: 1, ..category("order") });
    subscriber.listen(&Topic { store: name("others"), ..category("order") });
    subscriber.listen(&category("order"));
    for _ in 0..3 {
        assert_eq!(subscriber.message().0, category("order"));
    }
}

/// The newest record of a topic is found again in the index, in runs and in the open segment.
#[test]
fn a_store_that_starts_again_goes_on_from_the_newest_record() {
    let (broker, dir) = (TestBroker::start(), tempfile::tempdir().unwrap());
    let config = config(dir.path(), &[&broker]);
    let store = start(&config);
    let bench = Bench { broker, store, dir };
    let mut client = bench.client();
    append(&mut client, 1, &["rare-1", "order-1"]);
    let large =
        |bytes: usize| vec![write("user-1", ExpectedVersion::Any, vec![event(&"x".repeat(bytes))])];
    for number in 2..62 {
        client.send(number, number, message(vec![large(5000)]));
        assert_eq!(client.reply().code, None);
    }
    append(&mut client, 62, &["order-9", "user-1"]);
    drop(client);
    let Bench { broker, store, dir } = bench;
    store.stop().unwrap();
    let store = start(&config);
    let bench = Bench { broker, store, dir };
    for (topic, newest) in [("rare", 1), ("order", 63), ("absent", 0), ("user", 64)] {
        let (_, header) = Listener::start(&bench, category(topic));
        let places = (header.epoch, header.previous, header.last, header.cut);
        assert_eq!(places, (Epoch(2), Sequence(newest), Sequence(64), Sequence(64)), "{topic}");
    }
    let (mut orders, _) = Listener::start(&bench, category("order"));
    append(&mut bench.client(), 1, &["user-1", "order-1"]);
    orders.follow(66);
    assert_eq!(orders.seen, [66]);
}
