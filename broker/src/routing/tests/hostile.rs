//! Whatever peers send, in whatever order: no panic, no growth beyond the limits, books that
//! balance, and an honest worker and client that are still served afterwards.

use bytes::Bytes;
use proptest::prelude::*;

use super::bench::*;
use crate::dialect::{Header, Kind, Role, SessionId, flags};
use crate::error_code::ErrorCode;
use crate::mdp::Version::{V01, V02};
use crate::mdp::message::{ToBroker, WorkerCommand};
use crate::net::Frames;
use crate::routing::Input;

const PEERS: [&str; 5] = ["a", "b", "c", "d", "e"];

fn small_limits() -> Bench {
    Bench::with(|settings| {
        let limits = &mut settings.limits;
        limits.workers = 4;
        limits.sessions = 3;
        limits.services = 12;
        limits.stores = 2;
        limits.registrations_per_worker = 3;
        limits.requests = 20;
        limits.service_requests = 10;
        limits.session_requests = 5;
        limits.partial_bytes = 16;
    })
}

#[derive(Clone, Debug)]
enum Step {
    Frames(usize, Frames),
    Gone(usize),
    Wait(u64),
}

fn bytes() -> impl Strategy<Value = Bytes> {
    let known = [
        "",
        "MDPC01",
        "MDPC02",
        "MDPW01",
        "MDPW02",
        "\x01",
        "\x02",
        "\x03",
        "\x04",
        "\x05",
        "\x06",
        "echo",
        "orders",
        "orders/0",
        "mmi.service",
        "SLG\x01",
        "a",
        "b",
    ];
    prop_oneof![
        4 => prop::sample::select(known.to_vec())
            .prop_map(|text| Bytes::from_static(text.as_bytes())),
        1 => prop::collection::vec(any::<u8>(), 0..80).prop_map(Bytes::from),
    ]
}

fn service() -> impl Strategy<Value = String> {
    let names = ["echo", "other", "orders", "orders/0", "orders/1", "orders/9", "mmi.topology"];
    prop_oneof![
        6 => prop::sample::select(names.to_vec()).prop_map(str::to_owned),
        1 => "[a-z]{1,4}",
    ]
}

fn mdp() -> impl Strategy<Value = Frames> {
    let version = prop::bool::ANY.prop_map(|first| if first { V01 } else { V02 });
    let client = || prop::sample::select(PEERS.to_vec()).prop_map(|p| Bytes::from(p.as_bytes()));
    let body = || frames(&["body"]);
    let command = prop_oneof![
        service().prop_map(|text| WorkerCommand::Ready(name(&text))),
        client().prop_map(move |client| WorkerCommand::Final { client, body: body() }),
        client().prop_map(move |client| WorkerCommand::Partial { client, body: body() }),
        Just(WorkerCommand::Heartbeat),
        Just(WorkerCommand::Disconnect),
    ];
    let worker = (version.clone(), command)
        .prop_map(|(version, command)| ToBroker::Worker { version, command }.encode());
    let client = (version, service(), 1..3usize).prop_map(|(version, service, count)| {
        let body = vec![Bytes::from_static(b"body"); count];
        ToBroker::Request { version, service: name(&service), body }.encode()
    });
    prop_oneof![worker, client]
}

fn dialect() -> impl Strategy<Value = Frames> {
    let kinds = vec![
        Kind::Heartbeat,
        Kind::Goodbye,
        Kind::Request,
        Kind::Request,
        Kind::Reply,
        Kind::Reply,
        Kind::Unregister,
        Kind::Credit,
        Kind::Vote,
        Kind::Welcome,
        Kind::Hello,
    ];
    let sessions: Vec<SessionId> =
        PEERS.iter().map(|peer| session(peer)).chain([uuid(99).into()]).collect();
    let header = (
        prop::sample::select(kinds),
        prop::sample::select(sessions),
        service(),
        0..6u64,
        0..8u8,
        0..40u16,
        0..3_000u32,
    );
    header.prop_map(|(kind, session, service, number, flags, code, time_ms)| {
        let mut header = Header::new(kind, session);
        header.service = name(&service);
        (header.number, header.flags, header.time_ms) = (number, flags, time_ms);
        (header.credit_messages, header.credit_bytes) = (number * 2, u64::MAX);
        header.code = ErrorCode::from_number(code).filter(|_| flags & flags::MORE == 0);
        vec![header.encode().into(), Bytes::from_static(b"\x80")]
    })
}

fn step() -> impl Strategy<Value = Step> {
    let message = prop_oneof![
        3 => mdp(),
        3 => dialect(),
        1 => prop::collection::vec(bytes(), 0..7),
    ];
    prop_oneof![
        12 => (0..PEERS.len(), message).prop_map(|(peer, frames)| Step::Frames(peer, frames)),
        1 => (0..PEERS.len()).prop_map(Step::Gone),
        1 => (1..20_000u64).prop_map(Step::Wait),
    ]
}

/// Registrations and greetings are rare among random messages, so some come by name.
#[derive(Clone, Debug)]
enum Act {
    Step(Step),
    Hello(usize, bool),
    Register(usize, u16, bool, u64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        10 => step().prop_map(Act::Step),
        2 => (0..PEERS.len(), any::<bool>()).prop_map(|(peer, worker)| Act::Hello(peer, worker)),
        2 => (0..PEERS.len(), 0..3u16, any::<bool>(), 0..4u64)
            .prop_map(|(peer, number, leader, epoch)| Act::Register(peer, number, leader, epoch)),
    ]
}

fn carry_out(bench: &mut Bench, act: Act) {
    match act {
        Act::Step(Step::Frames(peer, frames)) => drop(bench.send(PEERS[peer], frames)),
        Act::Step(Step::Gone(peer)) => drop(bench.gone(PEERS[peer])),
        Act::Step(Step::Wait(milliseconds)) => {
            bench.now += std::time::Duration::from_millis(milliseconds);
            bench.input(Input::Tick);
        }
        Act::Hello(peer, worker) => {
            let role = if worker { Role::Worker } else { Role::Client };
            bench.hello(PEERS[peer], role);
        }
        Act::Register(peer, number, leader, epoch) => {
            let member = Member::of(number, leader, epoch).credit(epoch, 100);
            bench.register(PEERS[peer], &member);
        }
    }
}

fn check(bench: &Bench) {
    let load = bench.table.load();
    assert!(load.workers <= 4 && load.sessions <= 3 && load.services <= 12, "{load:?}");
    assert!(load.requests <= 20 && load.clients <= PEERS.len(), "{load:?}");
    assert!(load.request_bytes <= 20 * (100 + 16), "{load:?}");
    bench.table.check_books();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_peers_send_breaks_the_table(acts in prop::collection::vec(act(), 1..120)) {
        let mut bench = small_limits();
        for act in acts {
            carry_out(&mut bench, act);
            check(&bench);
        }
        for peer in PEERS {
            bench.gone(peer);
        }
        bench.wait(130 * SECOND);
        let load = bench.table.load();
        prop_assert_eq!((load.workers, load.sessions, load.requests), (0, 0, 0));
        prop_assert_eq!((load.clients, load.request_bytes), (0, 0));
        bench.ready("honest", V01, "echo");
        let mail = bench.ask("asker", V02, "echo", &["hello"]);
        prop_assert_eq!(work(&mail, "honest", V01).len(), 1);
        let mail = bench.finish("honest", V01, "asker", "answer");
        prop_assert_eq!(to_client(&mail, "asker", V02).len(), 1);
    }

    #[test]
    fn decoders_take_any_bytes(frames in prop::collection::vec(bytes(), 0..8)) {
        let _ = ToBroker::decode(frames.clone());
        for frame in &frames {
            let _ = Header::decode(frame);
            if let Ok(header) = Header::decode(frame) {
                prop_assert_eq!(&header.encode(), frame);
            }
        }
    }
}
