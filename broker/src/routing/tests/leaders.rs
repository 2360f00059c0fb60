//! Leaders that come and go: nothing is lost, executed out of order, or answered by the wrong one.

use std::time::Duration;

use super::bench::*;
use crate::dialect::{Header, Kind, Role};
use crate::error_code::ErrorCode;
use crate::mdp::Version;

/// A member of `orders/0` with data of its own: 1 is `a`'s, 2 is `b`'s.
fn member(node: u128, leader: bool, epoch: u64) -> Member {
    Member::of(0, leader, epoch).change(|member| member.incarnation = uuid(node))
}

/// A client `c`, and a pair: `a` leads in epoch 3, `b` follows.
fn pair() -> Bench {
    let mut bench = Bench::new();
    bench.hello("c", Role::Client);
    assert!(bench.member("a", &member(1, true, 3)).is_empty());
    assert!(bench.member("b", &member(2, false, 3)).is_empty());
    bench
}

fn ask(bench: &mut Bench, numbers: std::ops::RangeInclusive<u64>) -> Mail {
    numbers.flat_map(|number| bench.request("c", &Asked::new("orders/0", number))).collect()
}

/// The header that a worker got with the request of this number.
fn got(mail: &Mail, peer: &str, number: u64) -> Header {
    let sent = for_peer(mail, peer);
    let named = |(header, _): &(Header, _)| header.kind == Kind::Request && header.number == number;
    sent.into_iter().find(named).expect("it was sent").0
}

fn votes(mail: &Mail, peer: &str) -> usize {
    for_peer(mail, peer).iter().filter(|(header, _)| header.kind == Kind::Vote).count()
}

/// A way in which `a` is lost.
type Loss = (&'static str, fn(&mut Bench) -> Mail);

const LOSSES: [Loss; 5] = [
    ("cannot be reached", |bench| bench.gone("a")),
    ("goodbye", |bench| {
        bench.send("a", vec![Header::new(Kind::Goodbye, session("a")).encode().into()])
    }),
    ("stops leading", |bench| bench.register("a", &member(1, false, 3))),
    ("unregisters", |bench| {
        let mut header = Header::new(Kind::Unregister, session("a"));
        header.service = name("orders/0");
        bench.send("a", vec![header.encode().into()])
    }),
    ("falls silent", |bench| bench.wait_beating(2 * SECOND + SECOND / 4, &["b", "c"])),
];

#[test]
fn however_a_leader_is_lost_the_next_one_gets_everything_in_order_and_alone_answers() {
    for (how, lose) in LOSSES {
        let mut bench = pair();
        let first = ask(&mut bench, 1..=4);
        assert_eq!(numbers(&first, "a"), [1, 2, 3, 4], "{how}");
        // The third is answered, so it is over.
        bench.answer("a", &got(&first, "a", 3), &["done"]);
        let mail = lose(&mut bench);
        assert!(votes(&mail, "b") > 0, "{how}: the other member is asked at once");
        assert!(codes(&mail, "c").is_empty(), "{how}: the client only waits");
        let waiting = ask(&mut bench, 5..=6);
        assert!(numbers(&waiting, "a").is_empty() && numbers(&waiting, "b").is_empty(), "{how}");
        let late = bench.answer("a", &got(&first, "a", 1), &["late"]);
        assert!(codes(&late, "c").is_empty(), "{how}: it does not answer any more");
        let mail = bench.register("b", &member(2, true, 4));
        assert_eq!(numbers(&mail, "b"), [1, 2, 4, 5, 6], "{how}");
        for number in [1, 2, 4, 5, 6] {
            let mail = bench.answer("b", &got(&mail, "b", number), &["done"]);
            assert_eq!(codes(&mail, "c"), [(number, None)], "{how}");
        }
        assert_eq!(bench.table.load().requests, 0, "{how}");
    }
}

#[test]
fn a_request_survives_any_number_of_leaders() {
    let mut bench = pair();
    ask(&mut bench, 1..=2);
    let beating = ["a", "b", "c"];
    for epoch in 4..=20 {
        let (old, new) = if epoch % 2 == 0 { (1, 2) } else { (2, 1) };
        let peer = |node: u128| if node == 1 { "a" } else { "b" };
        bench.register(peer(old), &member(old, false, epoch - 1));
        let mail = bench.register(peer(new), &member(new, true, epoch));
        assert_eq!(numbers(&mail, peer(new)), [1, 2], "epoch {epoch}");
        bench.wait_beating(SECOND / 10, &beating);
    }
    // And any number of sessions of the same leader.
    for session in 0..10 {
        bench.gone(if session == 0 { "a" } else { "s" });
        bench.gone("b");
        let mail = bench.member("s", &member(2, true, 20));
        assert_eq!(numbers(&mail, "s"), [1, 2], "session {session}");
    }
}

#[test]
fn a_request_of_an_mdp_client_goes_to_the_next_leader_too() {
    let mut bench = Bench::new();
    let only_one = |member: Member| member.change(|member| member.partitions = 1);
    bench.member("a", &only_one(member(1, true, 3)));
    bench.member("b", &only_one(member(2, false, 3)));
    let first = bench.ask("m", Version::V02, "orders", &["order-1", "map"]);
    let (held, _) = only(&first, "a");
    bench.register("a", &only_one(member(1, false, 3)));
    let mail = bench.register("b", &only_one(member(2, true, 4)));
    let again = got(&mail, "b", held.number);
    assert_eq!(again.session, held.session);
    assert!(bench.answer("a", &held, &["late"]).is_empty());
    let mail = bench.answer("b", &again, &["done"]);
    assert_eq!(to_client(&mail, "m", Version::V02), [(vec!["done".to_owned()], true)]);
}

#[test]
fn what_must_not_be_sent_twice_ends_when_its_leader_stops() {
    for (how, lose) in LOSSES {
        let mut bench = pair();
        bench.request("c", &Asked::new("orders/0", 1).no_resend());
        ask(&mut bench, 2..=2);
        let mail = lose(&mut bench);
        assert_eq!(codes(&mail, "c"), [(1, Some(ErrorCode::WORKER_LOST))], "{how}");
        // One that never left is not concerned.
        bench.request("c", &Asked::new("orders/0", 3).no_resend());
        assert_eq!(numbers(&bench.register("b", &member(2, true, 4)), "b"), [2, 3], "{how}");
    }
}

#[test]
fn a_leader_whose_epoch_rises_keeps_what_it_holds_and_its_credit() {
    let mut bench = Bench::new();
    bench.hello("c", Role::Client);
    bench.member("a", &member(1, true, 3).credit(3, 1_000));
    let first = ask(&mut bench, 1..=2);
    assert_eq!(got(&first, "a", 1).epoch, 3);
    // It took its follower in: the same reign, a higher epoch.
    assert!(bench.register("a", &member(1, true, 4).credit(3, 1_000)).is_empty());
    let more = ask(&mut bench, 3..=4);
    assert_eq!(numbers(&more, "a"), [3], "two of three were spent");
    assert_eq!(got(&more, "a", 3).epoch, 4, "requests name the epoch that the broker knows");
    assert_eq!(codes(&bench.answer("a", &got(&first, "a", 1), &["x"]), "c"), [(1, None)]);
}

#[test]
fn a_leader_that_comes_back_starts_with_fresh_credit_and_everything_again() {
    let mut bench = Bench::new();
    bench.hello("c", Role::Client);
    bench.member("a", &member(1, true, 3).credit(2, 1_000));
    assert_eq!(numbers(&ask(&mut bench, 1..=3), "a"), [1, 2]);
    bench.register("a", &member(1, false, 3).credit(2, 1_000));
    let mail = bench.register("a", &member(1, true, 5).credit(2, 1_000));
    assert_eq!(numbers(&mail, "a"), [1, 2]);
    assert_eq!(got(&mail, "a", 1).epoch, 5);
}

#[test]
fn a_member_that_does_not_lead_gets_and_answers_nothing() {
    let mut bench = pair();
    let mail = ask(&mut bench, 1..=1);
    let held = got(&mail, "a", 1);
    assert!(numbers(&mail, "b").is_empty());
    assert!(bench.answer("b", &held, &["forged"]).is_empty());
    // One that says so is deposed by nobody, and one that is refused leads nothing.
    assert_eq!(refusal(&bench.register("b", &member(2, true, 2)), "b").0, ErrorCode::NOT_LEADER);
    assert!(bench.answer("b", &held, &["forged"]).is_empty());
    assert_eq!(codes(&bench.answer("a", &held, &["x"]), "c"), [(1, None)]);
}

#[test]
fn a_deposed_leader_that_does_not_know_it_yet_answers_nobody() {
    let mut bench = pair();
    let first = ask(&mut bench, 1..=2);
    let mail = bench.register("b", &member(2, true, 4));
    assert_eq!(refusal(&mail, "a").0, ErrorCode::NOT_LEADER);
    assert_eq!(numbers(&mail, "b"), [1, 2]);
    for number in 1..=2 {
        assert!(bench.answer("a", &got(&first, "a", number), &["zombie"]).is_empty());
    }
    // Nor does it get anything by insisting on its epoch, or by coming back on a new connection.
    assert_eq!(refusal(&bench.register("a", &member(1, true, 3)), "a").0, ErrorCode::NOT_LEADER);
    bench.gone("a");
    assert_eq!(refusal(&bench.member("z", &member(1, true, 3)), "z").0, ErrorCode::NOT_LEADER);
    assert_eq!(numbers(&ask(&mut bench, 3..=3), "b"), [3]);
}

#[test]
fn requests_wait_for_a_leader_until_their_deadline() {
    let mut bench = pair();
    bench.register("a", &member(1, false, 3));
    bench.request("c", &Asked::new("orders/0", 1).within(3_000));
    bench.request("c", &Asked::new("orders/0", 2).within(10_000));
    let beating = ["a", "b", "c"];
    assert!(codes(&bench.wait_beating(2 * SECOND, &beating), "c").is_empty());
    let mail = bench.wait_beating(2 * SECOND, &beating);
    assert_eq!(codes(&mail, "c"), [(1, Some(ErrorCode::EXPIRED))], "it never left");
    assert_eq!(numbers(&bench.register("b", &member(2, true, 4)), "b"), [2]);
}

#[test]
fn members_are_asked_at_once_whenever_work_and_loss_meet() {
    // Work first, then the loss: at once, though they were asked just before the leader came.
    let mut bench = pair();
    bench.gone("a");
    assert_eq!(votes(&ask(&mut bench, 1..=1), "b"), 1);
    assert_eq!(votes(&ask(&mut bench, 2..=2), "b"), 0, "once per heartbeat interval");
    bench.register("b", &member(2, true, 4));
    let mail = bench.register("b", &member(2, false, 4));
    assert_eq!(votes(&mail, "b"), 1);
    // A member that registers while work waits does not wait for the next round.
    let mail = bench.member("n", &member(1, false, 4));
    assert_eq!((votes(&mail, "n"), votes(&mail, "b")), (1, 0));
    let vote = for_peer(&mail, "n").into_iter().find(|(header, _)| header.kind == Kind::Vote);
    assert_eq!(vote.unwrap().0.epoch, 4, "the highest epoch that is known");
    // Then all of them, again and again, until somebody leads.
    let mail = bench.wait_beating(2 * SECOND, &["b", "n", "c"]);
    for peer in ["b", "n"] {
        assert!((3..=4).contains(&votes(&mail, peer)), "{}", votes(&mail, peer));
    }
    bench.register("n", &member(1, true, 5));
    assert_eq!(votes(&bench.wait_beating(2 * SECOND, &["b", "n", "c"]), "b"), 0);
}

#[test]
fn a_broken_connection_of_a_busy_leader_shows_without_new_requests() {
    let mut bench = pair();
    let beats_to = |mail: &Mail, peer: &str| mail.iter().filter(|(to, _)| to == peer).count();
    let idle = bench.wait_beating(SECOND, &["a", "b", "c"]);
    assert!(beats_to(&idle, "a") <= 3, "one per heartbeat interval: {}", beats_to(&idle, "a"));
    ask(&mut bench, 1..=1);
    let mut longest = Duration::ZERO;
    let mut last = bench.now;
    let end = bench.now + SECOND;
    while bench.now < end {
        let mail = bench.wait(SECOND / 100);
        if beats_to(&mail, "a") > 0 {
            longest = longest.max(bench.now - last);
            last = bench.now;
        }
    }
    assert!(longest <= Duration::from_millis(135), "{longest:?} without a word to the leader");
}
