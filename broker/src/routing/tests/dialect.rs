use bytes::Bytes;

use super::bench::*;
use crate::dialect::{
    Header, Hello, Kind, Role, SessionId, Topology, Welcome, decode_body, encode_body, flags,
};
use crate::error_code::ErrorCode;
use crate::mdp::Version;

#[test]
fn hello_is_answered_with_a_common_version_or_refused() {
    let mut bench = Bench::new();
    for (min, max, welcome) in [(1, 1, true), (0, 1, true), (1, 9, true), (2, 9, false)] {
        let mut header = Header::new(Kind::Hello, session("c"));
        header.time_ms = 500;
        let hello =
            Hello { version_min: min, version_max: max, role: Role::Client, agent: String::new() };
        let mail = bench.send("c", vec![header.encode().into(), encode_body(&hello)]);
        if welcome {
            let (header, body) = only(&mail, "c");
            assert_eq!((header.kind, header.time_ms), (Kind::Welcome, 500));
            let welcome: Welcome = decode_body(&body[0]).unwrap();
            assert_eq!((welcome.version, welcome.broker), (1, uuid(99)));
        } else {
            assert_eq!(refusal(&mail, "c").0, ErrorCode::UNSUPPORTED);
        }
    }
}

#[test]
fn a_header_of_a_later_version_is_refused_and_not_ignored() {
    let mut bench = Bench::new();
    let mut bytes = Header::new(Kind::Hello, session("c")).encode();
    bytes[3] = 2;
    let mail = bench.send("c", vec![bytes.into()]);
    assert_eq!(refusal(&mail, "c").0, ErrorCode::UNSUPPORTED);
}

#[test]
fn who_did_not_say_hello_is_told_to() {
    let mut bench = Bench::new();
    let mail = bench.request("c", &Asked::new("orders/0", 1));
    let (code, text) = refusal(&mail, "c");
    assert_eq!(code, ErrorCode::INVALID_ARGUMENT);
    assert!(text.contains("HELLO"), "{text}");
    let goodbye = Header::new(Kind::Goodbye, session("c"));
    assert!(bench.send("c", vec![goodbye.encode().into()]).is_empty());
}

#[test]
fn a_session_nobody_can_own_is_refused() {
    let mut bench = Bench::new();
    for taken in [SessionId::default(), uuid(99).into()] {
        let header = Header::new(Kind::Hello, taken);
        let hello =
            Hello { version_min: 1, version_max: 1, role: Role::Client, agent: String::new() };
        let mail = bench.send("c", vec![header.encode().into(), encode_body(&hello)]);
        assert_eq!(refusal(&mail, "c").0, ErrorCode::INVALID_ARGUMENT);
    }
}

#[test]
fn each_failure_has_its_own_code() {
    let mut bench = Bench::new();
    bench.hello("c", Role::Client);
    // Never offered: told early, not at the deadline.
    bench.request("c", &Asked::new("nowhere", 1));
    let mail = bench.wait_beating(SECOND, &["c"]);
    assert_eq!(codes(&mail, "c"), [(1, Some(ErrorCode::SERVICE_NOT_FOUND))]);
    // A partition that the store does not have.
    bench.member("l", &Member::of(0, true, 1).credit(1, 1_000));
    let mail = bench.request("c", &Asked::new("orders/2", 1));
    assert_eq!(codes(&mail, "c"), [(1, Some(ErrorCode::STALE_TOPOLOGY))]);
    // A partition whose members are all gone.
    bench.request("c", &Asked::new("orders/1", 1).within(1_500));
    let mail = bench.wait_beating(2 * SECOND, &["c", "l"]);
    assert_eq!(codes(&mail, "c"), [(1, Some(ErrorCode::NO_WORKER))]);
    // Delivered, and not answered in time; the second one never left.
    bench.request("c", &Asked::new("orders/0", 1).within(1_000));
    bench.request("c", &Asked::new("orders/0", 2).within(1_000));
    let mail = bench.wait_beating(2 * SECOND, &["c", "l"]);
    let expected = [(1, Some(ErrorCode::TIMEOUT_UNKNOWN)), (2, Some(ErrorCode::EXPIRED))];
    assert_eq!(codes(&mail, "c"), expected);
    // A store as a whole is not addressed in the dialect.
    let mail = bench.request("c", &Asked::new("orders", 1));
    assert_eq!(codes(&mail, "c"), [(1, Some(ErrorCode::INVALID_ARGUMENT))]);
    assert_eq!(bench.table.load().requests, 0);
}

#[test]
fn a_service_that_appears_in_time_gets_the_request() {
    let mut bench = Bench::new();
    bench.hello("c", Role::Client);
    bench.request("c", &Asked::new("orders/0", 1));
    bench.wait_beating(SECOND / 2, &["c"]);
    let mail = bench.member("l", &Member::of(0, true, 1));
    assert_eq!(numbers(&mail, "l"), [1]);
    let mail = bench.wait_beating(SECOND, &["c", "l"]);
    assert!(codes(&mail, "c").is_empty(), "the early notice no longer applies");
}

#[test]
fn the_same_number_again_is_not_delivered_again_but_its_answer_finds_the_new_connection() {
    let mut bench = Bench::new();
    bench.member("l", &Member::of(0, true, 1));
    bench.hello("c", Role::Client);
    let asked = Asked::new("orders/0", 1);
    let (request, _) = only(&bench.request("c", &asked), "l");
    assert!(bench.request("c", &asked).is_empty());
    // The client comes back on another connection with the same session.
    bench.gone("c");
    let mut hello = Header::new(Kind::Hello, session("c"));
    hello.time_ms = 500;
    let body = Hello { version_min: 1, version_max: 1, role: Role::Client, agent: String::new() };
    bench.send("c2", vec![hello.encode().into(), encode_body(&body)]);
    let again = |bench: &mut Bench| {
        let mut header = Header::new(Kind::Request, session("c"));
        header.service = name("orders/0");
        (header.number, header.lowest, header.time_ms) = (1, 1, 5_000);
        bench.send("c2", vec![header.encode().into(), Bytes::from_static(b"body-1")])
    };
    assert!(again(&mut bench).is_empty());
    assert_eq!(codes(&bench.answer("l", &request, &["x"]), "c2"), [(1, None)]);
    // Once answered it is simply a request again; the leader's table knows what to say.
    assert_eq!(numbers(&again(&mut bench), "l"), [1]);
}

#[test]
fn a_reply_that_nobody_waits_for_reaches_nobody() {
    let mut bench = Bench::new();
    bench.member("l", &Member::of(0, true, 1));
    bench.member("x", &Member::of(1, true, 1));
    bench.hello("c", Role::Client);
    let (request, _) = only(&bench.request("c", &Asked::new("orders/0", 1)), "l");
    assert!(bench.answer("x", &request, &["forged"]).is_empty(), "another worker's request");
    let other = Header { number: 2, ..request.clone() };
    assert!(bench.answer("l", &other, &["x"]).is_empty(), "another number");
    assert_eq!(codes(&bench.answer("l", &request, &["x"]), "c"), [(1, None)]);
    assert!(bench.answer("l", &request, &["x"]).is_empty(), "answered twice");
    assert_eq!(bench.table.counters().replies_unexpected, 3);
}

#[test]
fn several_replies_end_with_the_one_without_more() {
    let mut bench = Bench::new();
    bench.member("l", &Member::plain("lists"));
    bench.hello("c", Role::Client);
    let (request, _) = only(&bench.request("c", &Asked::new("lists", 1)), "l");
    let part = Header { flags: flags::MORE, ..request.clone() };
    for _ in 0..2 {
        let (header, _) = only(&bench.answer("l", &part, &["part"]), "c");
        assert!(header.has(flags::MORE));
    }
    let (header, _) = only(&bench.answer("l", &request, &["end"]), "c");
    assert!(!header.has(flags::MORE));
    assert!(bench.answer("l", &part, &["too late"]).is_empty());
}

#[test]
fn peers_of_the_dialect_expire_after_four_of_their_intervals() {
    let mut bench = Bench::new();
    bench.member("l", &Member::of(0, true, 1));
    bench.hello("c", Role::Client);
    bench.request("c", &Asked::new("orders/1", 1));
    let almost = 4 * SECOND / 2 - SECOND / 100;
    let mail = bench.wait(almost);
    let load = bench.table.load();
    assert_eq!((load.workers, load.sessions, load.requests), (1, 1, 1));
    for peer in ["l", "c"] {
        let beats = mail.iter().filter(|(to, _)| to == peer).count();
        assert!((3..=4).contains(&beats), "{beats} heartbeats to {peer}");
    }
    bench.wait(SECOND / 4);
    let load = bench.table.load();
    assert_eq!((load.workers, load.sessions, load.requests), (0, 0, 0));
}

#[test]
fn a_client_that_says_goodbye_takes_its_requests_along() {
    let mut bench = Bench::new();
    bench.member("l", &Member::of(0, true, 1).credit(1, 1_000));
    bench.hello("c", Role::Client);
    let (request, _) = only(&bench.request("c", &Asked::new("orders/0", 1)), "l");
    bench.request("c", &Asked::new("orders/0", 2));
    bench.send("c", vec![Header::new(Kind::Goodbye, session("c")).encode().into()]);
    assert_eq!(bench.table.load().requests, 0);
    let freed = Header { credit_messages: 5, ..request };
    assert!(bench.answer("l", &freed, &["x"]).is_empty(), "nothing more to deliver");
}

#[test]
fn dialect_and_mdp_meet_on_plain_services() {
    let mut bench = Bench::new();
    bench.hello("c", Role::Client);
    // A dialect client asks an MDP worker.
    bench.ready("w", Version::V02, "echo");
    let mail = bench.request("c", &Asked::new("echo", 1));
    let [(client, body)] = work(&mail, "w", Version::V02).try_into().unwrap();
    assert_eq!(body, "body-1");
    let (part, _) = only(&bench.partial("w", &client, "part"), "c");
    assert!(part.has(flags::MORE));
    assert_eq!(codes(&bench.finish("w", Version::V02, &client, "end"), "c"), [(1, None)]);
    // An MDP client asks a dialect worker, several requests at a time.
    bench.member("d", &Member::plain("titanic.request").credit(2, 1_000));
    let mut mail = Mail::new();
    for body in ["a", "b", "c"] {
        mail.extend(bench.ask("m", Version::V01, "titanic.request", &[body]));
    }
    let sent = for_peer(&mail, "d");
    assert_eq!(sent.len(), 2);
    assert_eq!(sent[0].0.session, uuid(99).into());
    let reply = Header { credit_messages: 3, credit_bytes: 1_000, ..sent[0].0.clone() };
    let mail = bench.answer("d", &reply, &["answer"]);
    assert_eq!(to_client(&mail[..1].to_vec(), "m", Version::V01)[0].0, ["answer"]);
    assert_eq!(numbers(&mail, "d").len(), 1, "the credit in the reply lets the third one go");
}

#[test]
fn a_store_name_and_mmi_are_not_for_plain_registrations() {
    let mut bench = Bench::new();
    bench.member("l", &Member::of(0, true, 1));
    for service in ["orders", "orders/0", "orders/9", "mmi.service", ""] {
        let mail = bench.member("w", &Member::plain(service));
        assert_eq!(refusal(&mail, "w").0, ErrorCode::INVALID_ARGUMENT, "{service}");
    }
}

#[test]
fn the_topology_names_every_member_and_service() {
    let mut bench = Bench::new();
    bench.hello("c", Role::Client);
    bench.member("l", &Member::of(0, true, 3));
    bench.member("f", &Member::of(0, false, 3).change(|member| member.incarnation = uuid(2)));
    bench.ready("w", Version::V01, "echo");
    bench.now += SECOND / 10;
    let (header, body) = only(&bench.request("c", &Asked::new("mmi.topology", 1)), "c");
    assert_eq!((header.kind, header.code, header.number), (Kind::Reply, None, 1));
    assert_eq!(body[0].as_ref(), b"200");
    let topology: Topology = decode_body(&body[1]).unwrap();
    assert_eq!((topology.broker, topology.endpoints.len()), (uuid(99), 1));
    let store = topology.store("orders").unwrap();
    assert_eq!((store.partitions, store.members.len()), (2, 2));
    let leader = store.leader(0).unwrap();
    assert_eq!((leader.epoch, leader.incarnation, leader.alive_ms), (3, uuid(1), 100));
    assert_eq!((leader.feed.as_str(), leader.durability.as_str()), ("tcp://f", "local"));
    assert!(store.leader(1).is_none());
    let echo = topology.services.iter().find(|service| service.name == "echo").unwrap();
    assert_eq!((echo.workers, echo.waiting), (1, 0));
}

#[test]
fn the_topology_names_every_program_with_its_version() {
    let mut bench = Bench::new();
    bench.hello("c", Role::Client);
    bench.member("l", &Member::of(0, true, 3));
    bench.ready("w", Version::V01, "echo");
    let topology = |bench: &mut Bench, number| {
        let (_, body) = only(&bench.request("c", &Asked::new("mmi.topology", number)), "c");
        decode_body::<Topology>(&body[1]).unwrap()
    };
    let agents = |topology: Topology| -> Vec<(String, u32)> {
        topology.agents.into_iter().map(|agent| (agent.agent, agent.connections)).collect()
    };
    let first = topology(&mut bench, 1);
    assert_eq!(first.version, env!("CARGO_PKG_VERSION"));
    assert_eq!(agents(first), [("test".to_owned(), 2)], "an MDP worker has no name");
    bench.gone("l");
    let header = Header { time_ms: 500, ..Header::new(Kind::Hello, session("c")) };
    let agent = "starlog-client/9.0.0".to_owned();
    let newer = Hello { version_min: 1, version_max: 1, role: Role::Client, agent };
    bench.send("c", vec![header.encode().into(), encode_body(&newer)]);
    let now = agents(topology(&mut bench, 2));
    assert_eq!(now, [("starlog-client/9.0.0".to_owned(), 1)], "what it said last counts");
}

#[test]
fn draining_finishes_what_is_held_and_refuses_the_rest() {
    let mut bench = Bench::new();
    bench.hello("c", Role::Client);
    bench.member("l", &Member::of(0, true, 1).credit(1, 1_000));
    let (request, _) = only(&bench.request("c", &Asked::new("orders/0", 1)), "l");
    bench.request("c", &Asked::new("orders/0", 2));
    let mail = bench.input(crate::routing::Input::Drain);
    assert_eq!(codes(&mail, "c"), [(2, Some(ErrorCode::BUSY))]);
    let mail = bench.request("c", &Asked::new("orders/0", 3));
    assert_eq!(codes(&mail, "c"), [(3, Some(ErrorCode::BUSY))]);
    assert_eq!(refusal(&bench.hello("late", Role::Client), "late").0, ErrorCode::BUSY);
    assert!(!bench.table.is_drained());
    assert_eq!(codes(&bench.answer("l", &request, &["x"]), "c"), [(1, None)]);
    assert!(bench.table.is_drained());
    let mail = bench.input(crate::routing::Input::Farewell);
    for peer in ["l", "c"] {
        assert_eq!(only(&mail, peer).0.kind, Kind::Goodbye);
    }
    assert_eq!(bench.table.load().workers, 0);
}

#[test]
fn farewell_answers_what_is_still_held() {
    let mut bench = Bench::new();
    bench.hello("c", Role::Client);
    bench.member("l", &Member::of(0, true, 1));
    bench.request("c", &Asked::new("orders/0", 1));
    bench.input(crate::routing::Input::Drain);
    let mail = bench.input(crate::routing::Input::Farewell);
    assert_eq!(codes(&mail, "c"), [(1, Some(ErrorCode::TIMEOUT_UNKNOWN))]);
}
