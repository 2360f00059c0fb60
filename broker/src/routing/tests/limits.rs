use super::bench::*;
use crate::dialect::{Header, Kind, Role};
use crate::error_code::ErrorCode;
use crate::mdp::Version::V01;
use crate::mdp::message::WorkerCommand;
use bytes::Bytes;

#[test]
fn invented_service_names_are_bounded_and_forgotten() {
    let mut bench = Bench::with(|settings| settings.limits.services = 1_000);
    let mut busy = 0;
    for number in 0..20_000 {
        let mail = bench.ask("c", V01, &format!("invented-{number}"), &["x"]);
        busy += mail.len();
        bench.ask("c", V01, "mmi.service", &[&format!("other-{number}")]);
    }
    assert_eq!(busy, 19_000, "what is beyond the limit is answered at once");
    assert_eq!(bench.table.load().services, 1_000);
    bench.ready("w", V01, "real");
    assert_eq!(bench.table.load().workers, 0, "no room for one more name either");
    bench.wait(31 * SECOND);
    let load = bench.table.load();
    assert_eq!((load.services, load.requests, load.clients), (0, 0, 0));
    bench.ready("v", V01, "real");
    assert_eq!(bench.table.load().workers, 1);
}

#[test]
fn names_that_nobody_could_register_leave_nothing_behind() {
    let mut bench = Bench::new();
    bench.hello("w", Role::Worker);
    for number in 0..100 {
        bench.register("w", &Member::plain(&format!("mmi.{number}")));
        let stranger = format!("s{number}");
        bench.say(&stranger, V01, WorkerCommand::Heartbeat);
    }
    assert_eq!(bench.table.load().services, 0);
}

#[test]
fn every_full_queue_answers_busy_and_says_when_to_come_back() {
    let cases: [fn(&mut crate::config::Limits); 6] = [
        |limits| limits.requests = 2,
        |limits| limits.request_bytes = 12,
        |limits| limits.service_requests = 2,
        |limits| limits.service_request_bytes = 12,
        |limits| limits.session_requests = 2,
        |limits| limits.session_request_bytes = 12,
    ];
    for (index, limit) in cases.into_iter().enumerate() {
        let mut bench = Bench::with(|settings| limit(&mut settings.limits));
        bench.member("l", &Member::of(0, true, 1));
        bench.hello("c", Role::Client);
        let mut mail = Mail::new();
        for number in 1..=3 {
            mail.extend(bench.request("c", &Asked::new("orders/0", number)));
        }
        assert_eq!(codes(&mail, "c"), [(3, Some(ErrorCode::BUSY))], "case {index}");
        assert!(for_peer(&mail, "c")[0].0.time_ms > 0, "case {index}: no retry-after");
        // An answer makes room again.
        let (first, _) = for_peer(&mail, "l").remove(0);
        bench.answer("l", &first, &["x"]);
        let mail = bench.request("c", &Asked::new("orders/0", 3));
        assert_eq!(numbers(&mail, "l"), [3], "case {index}");
    }
}

#[test]
fn workers_sessions_stores_and_registrations_are_bounded() {
    let mut bench = Bench::with(|settings| {
        settings.limits.workers = 2;
        settings.limits.sessions = 1;
        settings.limits.stores = 1;
        settings.limits.registrations_per_worker = 2;
    });
    bench.hello("c", Role::Client);
    assert_eq!(refusal(&bench.hello("d", Role::Client), "d").0, ErrorCode::BUSY);
    bench.member("l", &Member::of(0, true, 1));
    let other = Member {
        service: "second/0".to_owned(),
        ..Member::of(0, true, 1).change(|member| member.store = "second".to_owned())
    };
    assert_eq!(refusal(&bench.register("l", &other), "l").0, ErrorCode::BUSY);
    assert!(bench.register("l", &Member::plain("a")).is_empty());
    assert_eq!(refusal(&bench.register("l", &Member::plain("b")), "l").0, ErrorCode::BUSY);
    bench.ready("w", V01, "echo");
    bench.ready("v", V01, "echo");
    assert_eq!(refusal(&bench.hello("m", Role::Worker), "m").0, ErrorCode::BUSY);
    assert_eq!(bench.table.load().workers, 2);
    // A store without members makes room for another one.
    bench.gone("l");
    assert!(bench.member("n", &other).is_empty());
}

#[test]
fn a_body_beyond_the_limit_is_refused_and_an_endless_deadline_cut() {
    let mut bench = Bench::with(|settings| settings.limits.message_bytes = 100);
    bench.member("l", &Member::of(0, true, 1));
    bench.hello("c", Role::Client);
    let large = Asked { body: "x".repeat(101), ..Asked::new("orders/0", 1) };
    let mail = bench.request("c", &large);
    assert_eq!(codes(&mail, "c"), [(1, Some(ErrorCode::BATCH_TOO_LARGE))]);
    let mail = bench.request("c", &Asked::new("orders/0", 2).within(u32::MAX));
    assert_eq!(only(&mail, "l").0.time_ms, 3_600_000);
}

#[test]
fn an_answer_beyond_the_limit_ends_the_request_with_an_open_outcome() {
    let mut bench = Bench::with(|settings| settings.limits.message_bytes = 100);
    bench.member("l", &Member::of(0, true, 1));
    bench.ready("w", V01, "echo");
    bench.hello("c", Role::Client);
    let (request, _) = only(&bench.request("c", &Asked::new("orders/0", 1)), "l");
    let large = "x".repeat(101);
    let mail = bench.answer("l", &request, &[&large]);
    assert_eq!(codes(&mail, "c"), [(1, Some(ErrorCode::INTERNAL))]);
    bench.ask("m", V01, "echo", &["x"]);
    let mail = bench.finish("w", V01, "m", &large);
    assert!(to_client(&mail, "m", V01)[0].0[1].starts_with("INTERNAL "));
    assert_eq!(bench.table.load().requests, 0);
}

#[test]
fn a_request_without_number_service_or_body_is_refused() {
    let mut bench = Bench::new();
    bench.hello("c", Role::Client);
    let send = |bench: &mut Bench, service: &str, number, body: Option<&'static [u8]>| {
        let mut header = Header::new(Kind::Request, session("c"));
        header.service = name(service);
        header.number = number;
        let mut message = vec![Bytes::from(header.encode())];
        message.extend(body.map(Bytes::from_static));
        codes(&bench.send("c", message), "c")[0].1
    };
    let invalid = Some(ErrorCode::INVALID_ARGUMENT);
    assert_eq!(send(&mut bench, "", 1, Some(b"x")), invalid);
    assert_eq!(send(&mut bench, "echo", 0, Some(b"x")), invalid);
    assert_eq!(send(&mut bench, "echo", 1, None), invalid);
    assert_eq!(bench.table.load().services, 0);
}
