//! Numbered messages through the broker: order, duplicates, refusals.

use std::time::Duration;

use broker::dialect::{Detail, SessionId};
use broker::error_code::ErrorCode;
use bytes::Bytes;
use store::wire::append::{AppendDone, AppendReply, AppendResult};
use store::{ExpectedVersion, Sequence, Signature, Version};

use super::bench::{
    Bench, PATIENCE, RawClient, TestBroker, config, error, message, results, start, write,
};
use crate::fixture::{event, event_with, stream};

fn done(result: &AppendResult) -> &AppendDone {
    match result {
        AppendResult::Done(done) => done,
        AppendResult::Refused(refusal) => panic!("refused: {refusal:?}"),
    }
}

fn refused(result: &AppendResult) -> ErrorCode {
    match result {
        AppendResult::Done(done) => panic!("done: {done:?}"),
        AppendResult::Refused(refusal) => ErrorCode::from_number(refusal.code).unwrap(),
    }
}

#[test]
fn an_append_says_where_it_stands() {
    let bench = Bench::start();
    let mut client = bench.client();
    let events = vec![event("1"), event("2")];
    client.send(1, 1, message(vec![vec![write("order-1", ExpectedVersion::None, events)]]));
    let reply = client.reply();
    assert!(reply.epoch > 0);
    let body = AppendReply::decode(reply.body[0].clone()).unwrap();
    assert_eq!(body.durable_on.len(), 1);
    let done = done(&body.results[0]);
    assert_eq!((done.first, done.last), (Sequence(1), Sequence(2)));
    assert_eq!((&done.versions[..], done.duplicate), (&[Version(2)][..], false));
}

#[test]
fn each_append_of_a_message_has_its_own_result() {
    let bench = Bench::start();
    let mut client = bench.client();
    let one = |expected| vec![write("order-1", expected, vec![event("x")])];
    let appends = vec![
        one(ExpectedVersion::None),
        one(ExpectedVersion::None),
        one(ExpectedVersion::Exact(Version(1))),
    ];
    client.send(1, 1, message(appends));
    let results = results(&client.reply());
    assert_eq!(done(&results[0]).last, Sequence(1));
    assert_eq!(refused(&results[1]), ErrorCode::WRONG_EXPECTED_VERSION);
    assert_eq!(done(&results[2]).last, Sequence(2));
    let AppendResult::Refused(refusal) = &results[1] else { panic!() };
    let body: broker::dialect::ErrorBody = broker::dialect::decode_body(&refusal.body).unwrap();
    assert_eq!(body.details["actual"], Detail::Number(1));
    assert_eq!(body.details["expected"], Detail::Text("none".to_owned()));
}

#[test]
fn pipelined_messages_are_done_in_order() {
    let bench = Bench::start();
    let mut client = bench.client();
    for number in 1..=100 {
        let expected = ExpectedVersion::Exact(Version(number - 1));
        client.send(number, 1, message(vec![vec![write("order-1", expected, vec![event("x")])]]));
    }
    for number in 1..=100 {
        let reply = client.reply();
        assert_eq!(reply.number, number);
        assert_eq!(done(&results(&reply)[0]).last, Sequence(number));
    }
}

#[test]
fn a_hole_is_answered_with_the_number_that_is_expected() {
    let bench = Bench::start();
    let mut client = bench.client();
    let body =
        |id| message(vec![vec![write("s", ExpectedVersion::Any, vec![event_with(id, "x")])]]);
    client.send(2, 1, body(2));
    let reply = client.reply();
    assert_eq!((reply.number, reply.code), (2, Some(ErrorCode::UNEXPECTED_NUMBER)));
    assert_eq!(error(&reply).details["expected"], Detail::Number(1));
    client.send(1, 1, body(1));
    client.send(2, 1, body(2));
    assert_eq!(done(&results(&client.reply())[0]).last, Sequence(1));
    assert_eq!(done(&results(&client.reply())[0]).last, Sequence(2));
}

/// Two brokers deliver the same message: it is done once, and both get the answer.
#[test]
fn a_message_through_two_brokers_is_done_once() {
    let (one, two) = (TestBroker::start(), TestBroker::start());
    let dir = tempfile::tempdir().unwrap();
    let store = start(&config(dir.path(), &[&one, &two]));
    let session = SessionId::random();
    let mut first = RawClient::connect(&one.endpoint(), session);
    let mut second = RawClient::connect(&two.endpoint(), session);
    let body = message(vec![vec![write("s", ExpectedVersion::None, vec![event("x")])]]);
    first.send(1, 1, body.clone());
    second.send(1, 1, body);
    for client in [&mut first, &mut second] {
        // Executed once; the other one is a kept answer, not a duplicate found in the log.
        let reply = client.reply();
        let results = results(&reply);
        assert_eq!((done(&results[0]).last, done(&results[0]).duplicate), (Sequence(1), false));
    }
    drop(store);
}

/// The ids are in the log, so a message that was answered by an earlier process is not done twice.
#[test]
fn a_resend_after_a_restart_gets_the_same_place() {
    let bench = Bench::start();
    let session = SessionId::random();
    let mut client = RawClient::connect(&bench.broker.endpoint(), session);
    let written = write("order-1", ExpectedVersion::None, vec![event_with(1, "x")]);
    assert!(!done(&client.append(1, written.clone())).duplicate);
    bench.store.stop().unwrap();
    let store = start(&config(bench.dir.path(), &[&bench.broker]));
    // Number 1 is the lowest that this session waits for, so the new process executes it.
    client.send(1, 1, message(vec![vec![written.clone()]]));
    let results = results(&client.reply());
    assert!(done(&results[0]).duplicate);
    assert_eq!(done(&results[0]).last, Sequence(1));
    // Below the lowest, a message is only looked up: found by its ids, or unknown.
    client.append(2, write("order-2", ExpectedVersion::Any, vec![event_with(2, "y")]));
    client.send(1, 3, message(vec![vec![written]]));
    let found = client.reply();
    assert!(done(&super::bench::results(&found)[0]).duplicate);
    let never = write("order-3", ExpectedVersion::Any, vec![event_with(3, "z")]);
    client.send(2, 3, message(vec![vec![never]]));
    let results = super::bench::results(&client.reply());
    assert_eq!(refused(&results[0]), ErrorCode::TIMEOUT_UNKNOWN);
    store.stop().unwrap();
}

#[test]
fn what_breaks_a_rule_is_refused_with_its_code() {
    let bench = Bench::start();
    let mut client = bench.client();
    let any = ExpectedVersion::Any;
    let mut forged = event("x");
    forged.signature = Some(Signature([7; 20]));
    let mut signed = event("y");
    signed.signature = Some(Signature::of(&stream("s"), &signed));
    let large = event(&"x".repeat(1024 * 1024 + 1));
    client.append(1, write("s", any, vec![event_with(1, "x")]));
    let rows = [
        (write("s", any, vec![forged]), ErrorCode::BAD_SIGNATURE),
        (write("s", any, vec![large]), ErrorCode::EVENT_TOO_LARGE),
        (
            write("s", any, vec![event_with(2, "x"), event_with(2, "x")]),
            ErrorCode::INVALID_ARGUMENT,
        ),
        (write("s", any, vec![event_with(1, "other")]), ErrorCode::ID_REUSED),
        (write("$system", any, vec![event("x")]), ErrorCode::INVALID_ARGUMENT),
        (
            write("s", ExpectedVersion::Exact(Version(9)), vec![event("x")]),
            ErrorCode::WRONG_EXPECTED_VERSION,
        ),
        (write("s", any, vec![]), ErrorCode::INVALID_ARGUMENT),
    ];
    for (number, (write, code)) in (2..).zip(rows) {
        assert_eq!(refused(&client.append(number, write)), code);
    }
    assert_eq!(done(&client.append(9, write("s", any, vec![signed]))).last, Sequence(2));
}

#[test]
fn a_malformed_body_is_refused_and_its_number_used() {
    let bench = Bench::start();
    let mut client = bench.client();
    client.send(1, 1, Bytes::from_static(b"\x01\x00\x05\x00"));
    let reply = client.reply();
    assert_eq!(reply.code, Some(ErrorCode::INVALID_ARGUMENT));
    client.send(2, 1, Bytes::from_static(b"\x09"));
    assert_eq!(client.reply().code, Some(ErrorCode::UNSUPPORTED));
    let result = client.append(3, write("s", ExpectedVersion::None, vec![event("x")]));
    assert_eq!(done(&result).last, Sequence(1));
}

#[test]
fn a_partition_that_does_not_exist_is_a_stale_topology() {
    let bench = Bench::start();
    let mut client = bench.client();
    let body = message(vec![vec![write("s", ExpectedVersion::Any, vec![event("x")])]]);
    client.send_to("orders/1", (1, 1), PATIENCE, body.clone());
    assert_eq!(client.reply().code, Some(ErrorCode::STALE_TOPOLOGY));
    client.send_to("nothing/0", (1, 1), Duration::from_secs(3), body);
    assert_eq!(client.reply().code, Some(ErrorCode::SERVICE_NOT_FOUND));
}
