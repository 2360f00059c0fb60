//! The live feed.

use store::wire::feed::FeedKind;
use store::{ExpectedVersion, Sequence};

use super::bench::{Bench, RawClient, Subscriber, TestBroker, config, message, start, write};
use crate::fixture::event;

fn append(client: &mut RawClient, number: u64, count: usize) {
    let append = |_| vec![write("s", ExpectedVersion::Any, vec![event(&"x".repeat(1000))])];
    client.send(number, number, message((0..count).map(append).collect()));
    assert_eq!(client.reply().code, None);
}

#[test]
fn a_subscription_is_answered_with_the_head_and_then_fed_without_a_gap() {
    let bench = Bench::start();
    let mut client = bench.client();
    append(&mut client, 1, 5);
    let subscriber = Subscriber::connect(bench.store.feed());
    subscriber.subscribe("orders", 0);
    let (topic, header, _) = subscriber.message();
    assert_eq!((topic.store.as_str(), topic.partition), ("orders", 0));
    assert_eq!((header.kind, header.last), (FeedKind::Heartbeat, Sequence(5)));
    append(&mut client, 2, 500);
    let mut last = header.last;
    while last < Sequence(505) {
        let (_, header, records) = subscriber.message();
        if header.kind == FeedKind::Heartbeat {
            continue;
        }
        assert_eq!(header.previous, last);
        assert!(records.len() <= 64 * 1024, "{} bytes", records.len());
        let events = store::record::iterate(&records).collect::<Result<Vec<_>, _>>().unwrap();
        assert_eq!(events.len(), usize::try_from(header.count).unwrap());
        assert_eq!(events[0].sequence, header.previous.next());
        assert_eq!(events[events.len() - 1].sequence, header.last);
        last = header.last;
    }
}

#[test]
fn a_live_topic_beats_with_its_head() {
    let bench = Bench::start();
    let subscriber = Subscriber::connect(bench.store.feed());
    subscriber.subscribe("orders", 0);
    for _ in 0..3 {
        let (_, header, _) = subscriber.message();
        assert_eq!(
            (header.kind, header.previous, header.last, header.heartbeat_ms),
            (FeedKind::Heartbeat, Sequence(0), Sequence(0), 200)
        );
    }
}

#[test]
fn a_record_larger_than_a_batch_travels_alone() {
    let bench = Bench::start();
    let subscriber = Subscriber::connect(bench.store.feed());
    subscriber.subscribe("orders", 0);
    subscriber.message();
    let large = event(&"x".repeat(30_000));
    let events = vec![event("small"), large.clone(), event("x"), event("y")];
    bench.client().append(1, write("s", ExpectedVersion::None, events));
    let mut last = Sequence(0);
    while last < Sequence(4) {
        let (_, header, records) = subscriber.message();
        if header.kind == FeedKind::Records {
            assert_eq!(header.previous, last);
            assert_eq!(store::record::iterate(&records).count(), header.count.try_into().unwrap());
            last = header.last;
        }
    }
}

#[test]
fn a_subscriber_hears_its_partition_and_no_other() {
    let (broker, dir) = (TestBroker::start(), tempfile::tempdir().unwrap());
    let mut config = config(dir.path(), &[&broker]);
    config.stores = vec!["orders:2".parse().unwrap(), "orders2:1".parse().unwrap()];
    let store = start(&config);
    let subscriber = Subscriber::connect(store.feed());
    subscriber.subscribe("orders", 1);
    for _ in 0..3 {
        let (topic, _, _) = subscriber.message();
        assert_eq!((topic.store.as_str(), topic.partition), ("orders", 1));
    }
    store.stop().unwrap();
}
