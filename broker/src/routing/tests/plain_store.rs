use bytes::Bytes;

use super::bench::*;
use crate::dialect::{ErrorBody, Header, Kind, Role, encode_body, flags};
use crate::error_code::ErrorCode;
use crate::mdp::Version::{V01, V02};
use crate::slot;

/// The store `orders` with a leader for each of its two partitions.
fn bench() -> Bench {
    let mut bench = Bench::new();
    bench.member("l0", &Member::of(0, true, 1));
    bench.member("l1", &Member::of(1, true, 1));
    bench
}

#[test]
fn an_mdp_client_reaches_the_leader_of_the_streams_partition() {
    let mut bench = bench();
    let mut used = [false; 2];
    for number in 0..20 {
        let stream = format!("order-{}", number * 37);
        let partition = slot::partition(&stream, 2);
        let leader = if partition == 0 { "l0" } else { "l1" };
        used[usize::from(partition)] = true;
        let mail = bench.ask("c", V01, "orders", &[&stream, "map"]);
        let (header, body) = only(&mail, leader);
        assert_eq!(header.kind, Kind::Request);
        assert!(header.has(flags::PLAIN));
        assert_eq!(header.service, name(&format!("orders/{partition}")));
        assert_eq!(body, frames(&[&stream, "map"]));
        assert!(header.time_ms > 29_000);
        let mail = bench.answer(leader, &header, &["one", "two"]);
        assert_eq!(to_client(&mail, "c", V01), [(vec!["one".into(), "two".into()], true)]);
    }
    assert_eq!(used, [true, true], "the streams should meet both partitions");
}

#[test]
fn an_error_reply_becomes_the_two_frames() {
    let mut bench = bench();
    let mail = bench.ask("c", V02, "orders", &["order-1", "map"]);
    let leader = mail[0].0.clone();
    let (header, _) = only(&mail, &leader);
    let reply =
        Header { kind: Kind::Reply, code: Some(ErrorCode::WRONG_EXPECTED_VERSION), ..header };
    let body = encode_body(&ErrorBody::new("the stream is at 6"));
    let mail = bench.send(&leader, vec![reply.encode().into(), body]);
    let expected =
        vec!["#starlog-error".to_owned(), "WRONG_EXPECTED_VERSION the stream is at 6".to_owned()];
    assert_eq!(to_client(&mail, "c", V02), [(expected, true)]);
}

#[test]
fn what_is_not_a_stream_and_a_map_is_refused_at_once() {
    let mut bench = bench();
    let long = "x".repeat(257);
    for body in [
        vec!["order-1"],
        vec!["order-1", "map", "more"],
        vec!["", "map"],
        vec![long.as_str(), "map"],
        vec!["order\n1", "map"],
    ] {
        let mail = bench.ask("c", V01, "orders", &body);
        let text = &to_client(&mail, "c", V01)[0].0[1];
        assert!(text.starts_with("INVALID_ARGUMENT "), "{body:?}: {text}");
    }
    let mail = bench.ask("c", V01, "orders/0", &["order-1", "map"]);
    assert!(to_client(&mail, "c", V01)[0].0[1].starts_with("INVALID_ARGUMENT "));
    assert_eq!(bench.table.load().requests, 0);
}

#[test]
fn a_plain_request_survives_its_leader() {
    let mut bench = bench();
    let stream = (0..).map(|n| format!("s-{n}")).find(|s| slot::partition(s, 2) == 0).unwrap();
    bench.ask("c", V01, "orders", &[&stream, "map"]);
    for round in 0..5 {
        let old = if round == 0 { "l0".to_owned() } else { format!("n{round}") };
        bench.gone(&old);
        let next = format!("n{}", round + 1);
        let mail = bench.member(&next, &Member::of(0, true, 1));
        assert_eq!(only(&mail, &next).0.kind, Kind::Request, "round {round}");
    }
}

#[test]
fn what_was_asked_before_the_store_came_finds_its_partition() {
    let mut bench = Bench::new();
    bench.hello("d", Role::Client);
    bench.request("d", &Asked::new("orders", 1));
    bench.ask("c", V01, "orders", &["order-1", "map"]);
    bench.ask("c", V01, "orders", &["not a map"]);
    bench.hello("l", Role::Worker);
    let mail = bench.register("l", &Member::of(slot::partition("order-1", 2), true, 1));
    let (request, body) = only(&mail, "l");
    assert_eq!((request.kind, body), (Kind::Request, frames(&["order-1", "map"])));
    let answers: Mail = mail.iter().filter(|(to, _)| to == "c").cloned().collect();
    assert!(to_client(&answers, "c", V01)[0].0[1].starts_with("INVALID_ARGUMENT "));
    assert_eq!(codes(&mail, "d"), [(1, Some(ErrorCode::STALE_TOPOLOGY))]);
}

#[test]
fn an_unanswered_plain_request_ends_with_an_error() {
    let mut bench = bench();
    let mail = bench.ask("c", V01, "orders", &["order-1", "map"]);
    let leader = mail[0].0.clone();
    let (header, _) = only(&mail, &leader);
    let mail = bench.wait_beating(31 * SECOND, &["l0", "l1"]);
    let answers: Mail = mail.into_iter().filter(|(to, _)| to == "c").collect();
    assert!(to_client(&answers, "c", V01)[0].0[1].starts_with("TIMEOUT_UNKNOWN "));
    let late = bench.answer(&leader, &header, &["late"]);
    assert!(late.is_empty());
}

#[test]
fn an_answer_without_a_body_cannot_be_carried_by_mdp() {
    let mut bench = bench();
    let mail = bench.ask("c", V01, "orders", &["order-1", "map"]);
    let leader = mail[0].0.clone();
    let (header, _) = only(&mail, &leader);
    let reply = Header { kind: Kind::Reply, ..header };
    let mail = bench.send(&leader, vec![Bytes::from(reply.encode())]);
    assert!(to_client(&mail, "c", V01)[0].0[1].starts_with("INTERNAL "));
}
