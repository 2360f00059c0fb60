use bytes::Bytes;

use super::bench::*;
use crate::mdp::Version::{self, V01, V02};
use crate::mdp::message::{ToWorker, WorkerCommand};

const VERSIONS: [Version; 2] = [V01, V02];

fn disconnected(mail: &Mail, peer: &str, version: Version) -> bool {
    to_worker(mail, peer, version) == [ToWorker::Disconnect]
}

#[test]
fn every_mix_of_versions_works() {
    for asks in VERSIONS {
        for works in VERSIONS {
            let mut bench = Bench::new();
            assert!(bench.ready("w", works, "echo").is_empty(), "no reply to READY");
            let mail = bench.ask("c", asks, "echo", &["hello"]);
            assert_eq!(work(&mail, "w", works), [("c".to_owned(), "hello".to_owned())]);
            let mail = bench.finish("w", works, "c", "answer");
            assert_eq!(to_client(&mail, "c", asks), [(vec!["answer".to_owned()], true)]);
        }
    }
}

#[test]
fn parts_go_to_clients_that_know_them_and_are_joined_for_others() {
    for asks in VERSIONS {
        let mut bench = Bench::new();
        bench.ready("w", V02, "echo");
        bench.ask("c", asks, "echo", &["x"]);
        let mut mail = bench.partial("w", "c", "1");
        mail.extend(bench.partial("w", "c", "2"));
        mail.extend(bench.finish("w", V02, "c", "3"));
        let text = |text: &str| text.to_owned();
        let expected = match asks {
            V01 => vec![(vec![text("1"), text("2"), text("3")], true)],
            V02 => {
                vec![(vec![text("1")], false), (vec![text("2")], false), (vec![text("3")], true)]
            }
        };
        assert_eq!(to_client(&mail, "c", asks), expected);
        assert_eq!(bench.table.load().request_bytes, 0);
    }
}

#[test]
fn parts_kept_for_a_client_of_0_1_are_bounded() {
    let mut bench = Bench::with(|settings| settings.limits.partial_bytes = 10);
    bench.ready("w", V02, "echo");
    bench.ask("c", V01, "echo", &["x"]);
    bench.partial("w", "c", "123456");
    let mail = bench.partial("w", "c", "123456");
    let (body, _) = &to_client(&mail, "c", V01)[0];
    assert_eq!(body[0], "#starlog-error");
    assert!(body[1].starts_with("INTERNAL "));
    // The worker has done nothing wrong, and is free again after its FINAL.
    assert!(bench.finish("w", V02, "c", "end").is_empty());
    assert_eq!(work(&bench.ask("c", V01, "echo", &["y"]), "w", V02).len(), 1);
}

#[test]
fn workers_take_turns_the_longest_idle_first() {
    let mut bench = Bench::new();
    for worker in ["a", "b", "c"] {
        bench.ready(worker, V01, "echo");
    }
    let turn = |bench: &mut Bench| {
        let mail = bench.ask("x", V01, "echo", &["x"]);
        let worker = mail[0].0.clone();
        bench.finish(&worker, V01, "x", "done");
        worker
    };
    let order: Vec<String> = (0..6).map(|_| turn(&mut bench)).collect();
    assert_eq!(order, ["a", "b", "c", "a", "b", "c"]);
}

#[test]
fn thousands_of_requests_of_one_client_come_back_in_order() {
    let mut bench = Bench::new();
    bench.ready("w", V01, "echo");
    let mut mail = Mail::new();
    for number in 0..5_000 {
        mail.extend(bench.ask("c", V02, "echo", &[&number.to_string()]));
    }
    let mut answers = Vec::new();
    while let Some((client, body)) = work(&mail, "w", V01).pop() {
        mail = bench.finish("w", V01, &client, &body);
        answers.extend(to_client(
            &mail.iter().filter(|(to, _)| to == "c").cloned().collect(),
            "c",
            V02,
        ));
        mail.retain(|(to, _)| to == "w");
    }
    let expected: Vec<(Vec<String>, bool)> =
        (0..5_000).map(|number| (vec![number.to_string()], true)).collect();
    assert_eq!(answers, expected);
}

#[test]
fn a_dead_idle_worker_in_front_of_live_ones_is_not_used() {
    // Silence is judged at the moment of use, before any tick of the clock.
    let mut bench = Bench::new();
    bench.ready("dead", V01, "echo");
    bench.ready("live", V01, "echo");
    bench.now += 9 * SECOND;
    bench.say("live", V01, WorkerCommand::Heartbeat);
    bench.now += 2 * SECOND;
    let mail = bench.ask("c", V01, "echo", &["x"]);
    assert_eq!(work(&mail, "live", V01).len(), 1);
    assert!(work(&mail, "dead", V01).is_empty());
    assert_eq!(bench.table.load().workers, 1);
}

#[test]
fn idle_workers_expire_after_ten_seconds_busy_ones_after_sixty() {
    let mut bench = Bench::new();
    bench.ready("w", V01, "echo");
    bench.wait(9 * SECOND);
    assert_eq!(bench.table.load().workers, 1);
    bench.say("w", V01, WorkerCommand::Heartbeat);
    bench.ask("c", V01, "echo", &["x"]);
    let mail = bench.wait(59 * SECOND);
    assert_eq!(bench.table.load().workers, 1);
    let beats = to_worker(&mail, "w", V01);
    assert!(beats.len() >= 90, "{} heartbeats to the busy worker", beats.len());
    assert!(beats.iter().all(|message| *message == ToWorker::Heartbeat));
    bench.wait(2 * SECOND);
    assert_eq!(bench.table.load().workers, 0);
}

#[test]
fn heartbeats_are_not_sent_while_other_traffic_flows() {
    let mut bench = Bench::new();
    bench.ready("w", V01, "echo");
    let mut beats = 0;
    for _ in 0..20 {
        let mail = bench.wait(SECOND / 10);
        beats += to_worker(&mail, "w", V01).len();
        bench.ask("c", V01, "echo", &["x"]);
        bench.finish("w", V01, "c", "x");
    }
    assert_eq!(beats, 0);
}

#[test]
fn a_lost_workers_request_is_tried_twice_more_then_fails() {
    let mut bench = Bench::new();
    for worker in ["a", "b", "c", "d"] {
        bench.ready(worker, V01, "echo");
    }
    let mut mail = bench.ask("x", V01, "echo", &["x"]);
    for worker in ["a", "b", "c"] {
        assert_eq!(work(&mail, worker, V01).len(), 1, "delivered to {worker}");
        mail = bench.gone(worker);
    }
    assert!(work(&mail, "d", V01).is_empty(), "three deliveries are enough");
    let (body, last) = &to_client(&mail, "x", V01)[0];
    assert!(last);
    assert_eq!(body[0], "#starlog-error");
    assert!(body[1].starts_with("WORKER_LOST "), "{body:?}");
}

#[test]
fn a_redelivered_request_goes_before_later_ones() {
    let mut bench = Bench::new();
    bench.ready("a", V01, "echo");
    for body in ["1", "2", "3"] {
        bench.ask("x", V01, "echo", &[body]);
    }
    bench.gone("a");
    let mail = bench.ready("b", V01, "echo");
    assert_eq!(work(&mail, "b", V01)[0].1, "1");
    let mail = bench.finish("b", V01, "x", "done");
    let next: Vec<_> = mail.into_iter().filter(|(to, _)| to == "b").collect();
    assert_eq!(work(&next, "b", V01)[0].1, "2");
}

#[test]
fn after_a_part_a_request_is_never_given_to_another_worker() {
    for asks in VERSIONS {
        let mut bench = Bench::new();
        bench.ready("a", V02, "echo");
        bench.ready("b", V02, "echo");
        bench.ask("x", asks, "echo", &["x"]);
        bench.partial("a", "x", "part");
        let mail = bench.gone("a");
        assert!(work(&mail, "b", V02).is_empty());
        let (body, last) = &to_client(&mail, "x", asks)[0];
        assert!(*last && body[1].starts_with("WORKER_LOST "), "{body:?}");
    }
}

#[test]
fn disconnect_of_a_worker_is_final_for_it_and_frees_its_request() {
    let mut bench = Bench::new();
    bench.ready("a", V01, "echo");
    bench.ask("x", V01, "echo", &["x"]);
    assert!(bench.say("a", V01, WorkerCommand::Disconnect).is_empty());
    assert!(bench.say("a", V01, WorkerCommand::Heartbeat).is_empty(), "no further command");
    assert_eq!(work(&bench.ready("b", V01, "echo"), "b", V01).len(), 1);
    // A worker with a fixed routing id may come back.
    bench.ready("a", V01, "echo");
    assert_eq!(bench.table.load().workers, 2);
}

#[test]
fn commands_out_of_turn_are_answered_with_one_disconnect() {
    let client = || Bytes::from_static(b"x");
    let last = || WorkerCommand::Final { client: client(), body: frames(&["b"]) };
    let part = || WorkerCommand::Partial { client: client(), body: frames(&["b"]) };
    let second_ready = || WorkerCommand::Ready(name("echo"));
    let strange = [WorkerCommand::Heartbeat, last(), part()];
    for command in strange {
        let mut bench = Bench::new();
        let mail = bench.say("w", V02, command.clone());
        assert!(disconnected(&mail, "w", V02), "{command:?} of a stranger");
        assert!(bench.say("w", V02, command).is_empty(), "then nothing more");
    }
    for command in [second_ready(), last(), part()] {
        let mut bench = Bench::new();
        bench.ready("w", V02, "echo");
        let mail = bench.say("w", V02, command.clone());
        assert!(disconnected(&mail, "w", V02), "{command:?} of an idle worker");
        assert_eq!(bench.table.load().workers, 0);
        assert!(bench.say("w", V02, second_ready()).is_empty(), "then nothing more");
        bench.wait(3 * SECOND);
        assert!(bench.ready("w", V02, "echo").is_empty(), "a new conversation later");
        assert_eq!(bench.table.load().workers, 1);
    }
}

#[test]
fn a_reply_for_another_client_reaches_nobody() {
    let mut bench = Bench::new();
    bench.ready("w", V01, "echo");
    bench.ready("other", V01, "echo");
    bench.ask("x", V01, "echo", &["x"]);
    bench.ask("y", V01, "echo", &["y"]);
    // Worker `w` holds the request of `x` and answers `y`.
    let mail = bench.finish("w", V01, "y", "forged");
    assert!(mail.iter().all(|(to, _)| to != "y"));
    assert!(disconnected(&mail, "w", V01));
    // The request of `x` is not lost: the next free worker gets it.
    let mail = bench.finish("other", V01, "y", "right");
    let answers: Mail = mail.iter().filter(|(to, _)| to == "y").cloned().collect();
    assert_eq!(to_client(&answers, "y", V01)[0].0, ["right"]);
    let next: Mail = mail.into_iter().filter(|(to, _)| to == "other").collect();
    assert_eq!(work(&next, "other", V01), [("x".to_owned(), "x".to_owned())]);
}

#[test]
fn a_worker_that_changes_its_version_is_disconnected_in_the_one_it_began_with() {
    let mut bench = Bench::new();
    bench.ready("w", V01, "echo");
    let mail = bench.say("w", V02, WorkerCommand::Heartbeat);
    assert!(disconnected(&mail, "w", V01));
}

#[test]
fn a_worker_that_sends_rubbish_is_disconnected_and_a_stranger_ignored() {
    for rubbish in [
        vec![Bytes::new(), Bytes::from_static(b"MDPW01")],
        vec![Bytes::new(), Bytes::from_static(b"MDPW01"), Bytes::from_static(b"\x09")],
        vec![Bytes::from_static(b"\xFF\xFE")],
        vec![Bytes::new()],
        vec![Bytes::from_static(b"SLG\x01\x06")],
    ] {
        let mut bench = Bench::new();
        assert!(bench.send("stranger", rubbish.clone()).is_empty());
        bench.ready("w", V01, "echo");
        assert!(disconnected(&bench.send("w", rubbish.clone()), "w", V01), "{rubbish:?}");
        assert_eq!(bench.table.counters().malformed, 2);
        assert_eq!(bench.table.load().workers, 0);
    }
}

#[test]
fn the_brokers_own_names_and_those_of_stores_cannot_be_offered() {
    let mut bench = Bench::new();
    bench.member("l", &Member::of(0, true, 1));
    for service in ["mmi.service", "mmi.", "mmi.mine", "orders", "orders/0", "orders/7"] {
        assert!(disconnected(&bench.ready(service, V01, service), service, V01), "{service}");
    }
    assert!(bench.ready("w", V01, "mmi").is_empty());
    assert!(bench.ready("v", V01, "orders2").is_empty());
}

#[test]
fn a_squatter_has_to_leave_when_the_store_comes() {
    let mut bench = Bench::new();
    bench.ready("w", V01, "orders");
    bench.ready("v", V02, "orders/1");
    let mail = bench.member("l", &Member::of(0, true, 1));
    assert!(disconnected(&mail, "w", V01));
    assert!(disconnected(&mail, "v", V02));
    assert_eq!(bench.table.load().workers, 1);
}

#[test]
fn mmi_says_what_is_live_and_501_to_the_rest() {
    let mut bench = Bench::new();
    let ask = |bench: &mut Bench, service: &str, body: &[&str]| {
        let mail = bench.ask("c", V01, service, body);
        to_client(&mail, "c", V01)[0].0.clone()
    };
    assert_eq!(ask(&mut bench, "mmi.service", &["echo"]), ["404"]);
    bench.ask("x", V01, "echo", &["waits"]);
    assert_eq!(ask(&mut bench, "mmi.service", &["echo"]), ["404"], "asked for is not offered");
    bench.ready("w", V01, "echo");
    assert_eq!(ask(&mut bench, "mmi.service", &["echo"]), ["200"], "busy workers count");
    assert_eq!(ask(&mut bench, "mmi.workers", &["echo"]), ["200", "1"]);
    assert_eq!(ask(&mut bench, "mmi.workers", &["nobody"]), ["200", "0"]);
    bench.gone("w");
    assert_eq!(ask(&mut bench, "mmi.service", &["echo"]), ["404"]);
    bench.member("l", &Member::of(0, true, 1));
    assert_eq!(ask(&mut bench, "mmi.service", &["orders"]), ["200"]);
    assert_eq!(ask(&mut bench, "mmi.service", &["orders/1"]), ["404"]);
    for other in ["mmi.", "mmi.nothing", "mmi.service2"] {
        assert_eq!(ask(&mut bench, other, &["x"]), ["501"], "{other}");
    }
    assert_eq!(ask(&mut bench, "mmi.service", &["echo", "twice"]), ["501"]);
}

#[test]
fn a_request_for_an_absent_service_waits_and_then_fails() {
    let mut bench = Bench::new();
    bench.ask("c", V01, "echo", &["x"]);
    assert!(bench.wait(29 * SECOND).is_empty());
    let mail = bench.wait(2 * SECOND);
    let (body, _) = &to_client(&mail, "c", V01)[0];
    assert_eq!(body[0], "#starlog-error");
    assert!(body[1].starts_with("SERVICE_NOT_FOUND "), "{body:?}");
    let load = bench.table.load();
    assert_eq!((load.services, load.requests, load.clients), (0, 0, 0));
}

#[test]
fn the_reasons_for_not_being_served_differ() {
    let mut bench = Bench::new();
    let code = |mail: &Mail, peer: &str| {
        let text = to_client(mail, peer, V01)[0].0[1].clone();
        text.split(' ').next().unwrap().to_owned()
    };
    // All workers busy until the end.
    bench.ready("w", V01, "echo");
    bench.ask("a", V01, "echo", &["held"]);
    bench.ask("b", V01, "echo", &["waits"]);
    let mail: Mail = bench.wait(31 * SECOND).into_iter().filter(|(to, _)| to == "b").collect();
    assert_eq!(code(&mail, "b"), "EXPIRED");
    // Held requests do not expire while their worker lives.
    assert_eq!(bench.table.load().requests, 1);
    // All workers gone.
    bench.ask("b", V01, "echo", &["waits"]);
    bench.gone("w");
    let mail: Mail = bench.wait(31 * SECOND);
    let for_b: Mail = mail.iter().filter(|(to, _)| to == "b").cloned().collect();
    assert_eq!(code(&for_b, "b"), "NO_WORKER");
    let for_a: Mail = mail.into_iter().filter(|(to, _)| to == "a").collect();
    assert_eq!(code(&for_a, "a"), "TIMEOUT_UNKNOWN");
}

#[test]
fn with_errors_off_failure_is_silence() {
    let mut bench = Bench::with(|settings| settings.mdp_errors = false);
    bench.ask("c", V01, "echo", &["x"]);
    assert!(bench.wait(31 * SECOND).is_empty());
    assert_eq!(bench.table.load().requests, 0);
}

#[test]
fn a_client_that_is_gone_takes_its_requests_along() {
    let mut bench = Bench::new();
    bench.ready("w", V01, "echo");
    for body in ["1", "2", "3"] {
        bench.ask("c", V01, "echo", &[body]);
    }
    bench.ask("d", V01, "echo", &["next"]);
    bench.gone("c");
    assert_eq!(bench.table.load().requests, 1);
    // The worker stays busy with what nobody waits for, then takes the next.
    let mail = bench.finish("w", V01, "c", "late");
    assert_eq!(mail.len(), 1);
    assert_eq!(work(&mail, "w", V01), [("d".to_owned(), "next".to_owned())]);
}

#[test]
fn a_worker_that_cannot_be_reached_is_gone_at_once() {
    let mut bench = Bench::new();
    bench.ready("w", V01, "echo");
    bench.ask("c", V01, "echo", &["x"]);
    bench.gone("w");
    assert_eq!(bench.table.load().workers, 0);
    assert_eq!(work(&bench.ready("v", V01, "echo"), "v", V01).len(), 1);
}

#[test]
fn a_stopping_broker_disconnects_workers_and_answers_clients() {
    let mut bench = Bench::new();
    bench.ready("w", V01, "echo");
    bench.ready("v", V02, "echo");
    bench.ask("a", V01, "echo", &["held"]);
    bench.ask("b", V02, "echo", &["held too"]);
    bench.ask("c", V02, "echo", &["waits"]);
    let mail = bench.input(crate::routing::Input::Drain);
    assert!(to_client(&mail, "c", V02)[0].0[1].starts_with("BUSY "));
    assert!(disconnected(&bench.ready("late", V01, "echo"), "late", V01));
    let mail = bench.finish("w", V01, "a", "done");
    assert_eq!(to_client(&mail, "a", V01)[0].0, ["done"]);
    let mail = bench.input(crate::routing::Input::Farewell);
    assert!(disconnected(&mail, "w", V01) && disconnected(&mail, "v", V02));
    assert!(to_client(&mail, "b", V02)[0].0[1].starts_with("TIMEOUT_UNKNOWN "));
}
