//! Readers whose place was reached in an earlier epoch, and what a store without a peer says to
//! requests that are about pairs.

use std::collections::BTreeMap;

use broker::dialect::{Detail, ErrorBody, SessionId, decode_body};
use broker::error_code::ErrorCode;
use store::server::Handle;
use store::wire::append::AppendMessage;
use store::wire::replay::{Read, ReadSource, ReplayAnswer, ReplayRequest, RequestNumber};
use store::{Durability, Epoch, ExpectedVersion, Filter, Sequence};
use tempfile::TempDir;

use super::bench::{
    Bench, RawClient, ReplayClient, Subscriber, TestBroker, config, error, read_all, start, write,
};
use crate::fixture::event;

/// A store in its second epoch: three events of epoch 1, one of epoch 2.
struct Restarted {
    store: Handle,
    _broker: TestBroker,
    _dir: TempDir,
}

impl Restarted {
    fn start() -> Self {
        let Bench { broker, store, dir } = Bench::start();
        let mut client = RawClient::connect(&broker.endpoint(), SessionId::random());
        let mut append = |number| {
            client.append(number, write("s", ExpectedVersion::Any, vec![event("x")]));
        };
        (1..=3).for_each(&mut append);
        store.stop().unwrap();
        let store = start(&config(dir.path(), &[&broker]));
        append(4);
        Self { store, _broker: broker, _dir: dir }
    }
}

fn refusal(replay: &ReplayClient, request: &ReplayRequest) -> (ErrorCode, BTreeMap<String, u64>) {
    replay.send(request);
    let ReplayAnswer::Fail { refusal, .. } = replay.answer() else { panic!("no refusal") };
    let body: ErrorBody = decode_body(&refusal.body).unwrap();
    let number = |(name, detail)| match detail {
        Detail::Number(number) => Some((name, number)),
        Detail::Text(_) => None,
    };
    let numbers = body.details.into_iter().filter_map(number).collect();
    (ErrorCode::from_number(refusal.code).unwrap(), numbers)
}

#[test]
fn a_reader_beyond_the_end_of_its_epoch_is_ahead_of_the_log() {
    let restarted = Restarted::start();
    let replay = ReplayClient::connect(restarted.store.replay());
    let read = |epoch, from| Read { epoch: Epoch(epoch), from, ..read_all() };
    assert_eq!(replay.sequences(read(1, 4)), [4], "its place is where epoch 1 ends");
    assert_eq!(replay.sequences(read(0, 5)), [0; 0], "it does not say");
    assert_eq!(replay.sequences(read(2, 5)), [0; 0], "its epoch is the current one");
    let (code, details) = refusal(&replay, &ReplayRequest::Read(read(1, 5)));
    assert_eq!(code, ErrorCode::AHEAD_OF_LOG);
    let expected = [("cut", 3), ("epoch", 2), ("head", 4)];
    assert_eq!(details, expected.map(|(name, number)| (name.to_owned(), number)).into());
    let filter = Filter::Category("s".parse().unwrap());
    let source = || ReadSource::Filtered(filter.clone());
    let filtered = |from| Read { source: source(), ..read(1, from) };
    assert_eq!(replay.sequences(filtered(4)), [4], "its place is where epoch 1 ends");
    let (code, _) = refusal(&replay, &ReplayRequest::Read(filtered(5)));
    assert_eq!(code, ErrorCode::AHEAD_OF_LOG, "a place in the order of the log is one, too");
}

#[test]
fn a_reader_of_a_later_epoch_is_sent_elsewhere() {
    let restarted = Restarted::start();
    let replay = ReplayClient::connect(restarted.store.replay());
    let later = Read { epoch: Epoch(3), from: 2, ..read_all() };
    let (code, details) = refusal(&replay, &ReplayRequest::Read(later));
    assert_eq!((code, details["epoch"]), (ErrorCode::NOT_LEADER, 2));
}

#[test]
fn the_feed_says_where_the_earlier_epochs_end() {
    let restarted = Restarted::start();
    let subscriber = Subscriber::connect(restarted.store.feed());
    subscriber.subscribe("orders", 0);
    let (_, header, _) = subscriber.message();
    assert_eq!((header.epoch, header.last, header.cut), (Epoch(2), Sequence(4), Sequence(3)));
}

#[test]
fn without_a_peer_nothing_is_handed_over_and_strong_reads_are_plain_ones() {
    let bench = Bench::start();
    bench.client().append(1, write("s", ExpectedVersion::Any, vec![event("x")]));
    let replay = bench.replay();
    let request = RequestNumber(9);
    let (code, _) = refusal(&replay, &ReplayRequest::HandOver { request });
    assert_eq!(code, ErrorCode::UNSUPPORTED);
    assert_eq!(replay.sequences(Read { strong: true, ..read_all() }), [1]);
}

#[test]
fn a_store_without_a_peer_refuses_the_durability_of_a_pair() {
    let bench = Bench::start();
    let mut client = bench.client();
    let appends = vec![vec![write("s", ExpectedVersion::Any, vec![event("x")])]];
    let body = AppendMessage { durability: Some(Durability::Pair), appends };
    client.send(1, 1, body.encode().unwrap().into());
    let reply = client.reply();
    assert_eq!(reply.code, Some(ErrorCode::INVALID_ARGUMENT));
    assert!(error(&reply).message.contains("no peer"));
}
