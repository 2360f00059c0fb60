use super::bench::*;
use crate::dialect::{Header, Kind, Role};
use crate::error_code::ErrorCode;

/// A client `c` and a leader `l` of `orders/0` in epoch 3.
fn bench() -> Bench {
    let mut bench = Bench::new();
    bench.hello("c", Role::Client);
    assert!(bench.member("l", &Member::of(0, true, 3)).is_empty());
    bench
}

#[test]
fn requests_reach_only_the_leader_and_replies_match_by_number() {
    let mut bench = bench();
    bench.member("f", &Member::of(0, false, 3));
    let mut sent = Vec::new();
    for number in 1..=5 {
        let mail = bench.request("c", &Asked::new("orders/0", number));
        assert_eq!(mail.len(), 1);
        let (header, body) = only(&mail, "l");
        assert_eq!(header.kind, Kind::Request);
        assert_eq!(header.session, session("c"));
        assert_eq!((header.number, header.lowest), (number, 1));
        assert_eq!(body, frames(&[&format!("body-{number}")]));
        sent.push(header);
    }
    // Answers may come in any order; each finds its question.
    for index in [3, 0, 4, 1, 2] {
        let mail = bench.answer("l", &sent[index], &["done"]);
        let (header, body) = only(&mail, "c");
        assert_eq!((header.kind, header.number), (Kind::Reply, sent[index].number));
        assert_eq!((header.epoch, header.code), (7, None));
        assert_eq!(header.service, name("orders/0"));
        assert_eq!(body, frames(&["done"]));
    }
    assert_eq!(bench.table.load().requests, 0);
}

#[test]
fn credit_is_cumulative_in_messages_and_bytes() {
    let mut bench = Bench::new();
    bench.hello("c", Role::Client);
    bench.member("l", &Member::of(0, true, 1).credit(2, 1_000));
    let mut mail = Vec::new();
    for number in 1..=6 {
        mail.extend(bench.request("c", &Asked::new("orders/0", number)));
    }
    assert_eq!(numbers(&mail, "l"), [1, 2]);
    let credit = |messages, bytes| {
        let mut header = Header::new(Kind::Credit, session("l"));
        header.service = name("orders/0");
        (header.credit_messages, header.credit_bytes) = (messages, bytes);
        vec![header.encode().into()]
    };
    let mail = bench.send("l", credit(3, 1_000));
    assert_eq!(numbers(&mail, "l"), [3]);
    // The same count again, or an older one, allows nothing more.
    assert!(bench.send("l", credit(3, 1_000)).is_empty());
    assert!(bench.send("l", credit(2, 5_000)).is_empty());
    // Credit also travels in replies.
    let (request, _) = (Header { number: 1, ..last_request() }, ());
    let reply = Header { credit_messages: 4, ..request };
    let mail = bench.answer("l", &reply, &["x"]);
    assert_eq!(numbers(&mail, "l"), [4]);
}

fn last_request() -> Header {
    let mut header = Header::new(Kind::Request, session("c"));
    header.service = name("orders/0");
    header
}

#[test]
fn bytes_are_a_threshold_so_that_a_large_request_can_pass_alone() {
    let mut bench = Bench::new();
    bench.hello("c", Role::Client);
    bench.member("l", &Member::of(0, true, 1).credit(10, 10));
    let large = Asked { body: "x".repeat(50), ..Asked::new("orders/0", 1) };
    assert_eq!(numbers(&bench.request("c", &large), "l"), [1]);
    assert!(bench.request("c", &Asked::new("orders/0", 2)).is_empty());
    let mut header = Header::new(Kind::Credit, session("l"));
    header.service = name("orders/0");
    (header.credit_messages, header.credit_bytes) = (11, 60);
    assert_eq!(numbers(&bench.send("l", vec![header.encode().into()]), "l"), [2]);
}

#[test]
fn a_higher_epoch_gets_what_the_old_leader_held_in_order_and_without_holes() {
    let mut bench = bench();
    for number in 1..=4 {
        bench.request("c", &Asked { lowest: number, ..Asked::new("orders/0", number) });
    }
    let mut mail = bench.hello("n", Role::Worker);
    let next = Member::of(0, true, 4).change(|member| member.incarnation = uuid(2));
    mail.extend(bench.register("n", &next));
    assert_eq!(numbers(&mail, "n"), [1, 2, 3, 4]);
    // What the client said last counts also for what it sent before.
    let lowest: Vec<u64> = for_peer(&mail, "n").iter().skip(1).map(|(h, _)| h.lowest).collect();
    assert_eq!(lowest, [4, 4, 4, 4]);
    // The old leader is told, and its late answer reaches nobody.
    assert_eq!(refusal(&mail, "l").0, ErrorCode::NOT_LEADER);
    let late = Header { number: 1, ..last_request() };
    assert!(bench.answer("l", &late, &["late"]).is_empty());
    assert_eq!(codes(&bench.answer("n", &late, &["x"]), "c"), [(1, None)]);
}

#[test]
fn a_new_session_of_the_same_leader_gets_everything_again_in_order() {
    let mut bench = bench();
    for number in 1..=3 {
        bench.request("c", &Asked::new("orders/0", number));
    }
    bench.gone("l");
    // What comes in between stays behind what was there before.
    assert!(bench.request("c", &Asked::new("orders/0", 4)).is_empty());
    let mail = bench.member("l2", &Member::of(0, true, 3));
    assert_eq!(numbers(&mail, "l2"), [1, 2, 3, 4]);
}

#[test]
fn another_incarnation_in_the_same_epoch_gets_only_what_never_left() {
    let mut bench = bench();
    bench.request("c", &Asked::new("orders/0", 1));
    bench.gone("l");
    bench.request("c", &Asked::new("orders/0", 2));
    let other = Member::of(0, true, 3).change(|member| member.incarnation = uuid(2));
    let mail = bench.member("o", &other);
    assert_eq!(numbers(&mail, "o"), [2]);
    assert_eq!(codes(&mail, "c"), [(1, Some(ErrorCode::WORKER_LOST))]);
}

#[test]
fn a_lower_epoch_does_not_lead_and_is_told_so() {
    let mut bench = bench();
    let mail = bench.member("old", &Member::of(0, true, 2));
    assert_eq!(refusal(&mail, "old").0, ErrorCode::NOT_LEADER);
    assert_eq!(numbers(&bench.request("c", &Asked::new("orders/0", 1)), "l"), [1]);
    // Not even when the leader is gone.
    bench.gone("l");
    let mail = bench.register("old", &Member::of(0, true, 2));
    assert!(numbers(&mail, "old").is_empty());
}

#[test]
fn within_an_epoch_the_last_session_leads() {
    let mut bench = bench();
    let mail = bench.member("l2", &Member::of(0, true, 3));
    assert_eq!(refusal(&mail, "l").0, ErrorCode::NOT_LEADER);
    assert_eq!(numbers(&bench.request("c", &Asked::new("orders/0", 1)), "l2"), [1]);
}

#[test]
fn another_lineage_leads_only_where_no_leader_of_the_first_is_left() {
    let mut bench = bench();
    let forced = Member::of(0, true, 1).change(|member| member.lineage = uuid(501));
    assert_eq!(refusal(&bench.member("n", &forced), "n").0, ErrorCode::NOT_LEADER);
    bench.gone("l");
    assert!(bench.register("n", &forced).is_empty());
    assert_eq!(numbers(&bench.request("c", &Asked::new("orders/0", 1)), "n"), [1]);
}

#[test]
fn no_resend_is_honoured() {
    let mut bench = bench();
    bench.request("c", &Asked::new("orders/0", 1).no_resend());
    bench.request("c", &Asked::new("orders/0", 2));
    let mail = bench.gone("l");
    assert_eq!(codes(&mail, "c"), [(1, Some(ErrorCode::WORKER_LOST))]);
    let mail = bench.member("l2", &Member::of(0, true, 3));
    assert_eq!(numbers(&mail, "l2"), [2]);
}

#[test]
fn members_are_asked_to_vote_while_work_waits_without_a_leader() {
    let mut bench = bench();
    bench.member("f", &Member::of(0, false, 3));
    let beating = ["f", "c"];
    let votes = |mail: &Mail| {
        let sent = for_peer(mail, "f");
        sent.iter().filter(|(header, _)| header.kind == Kind::Vote).count()
    };
    bench.gone("l");
    assert_eq!(votes(&bench.wait_beating(SECOND, &beating)), 0, "nothing waits");
    let mail = bench.request("c", &Asked::new("orders/0", 1));
    let (vote, _) = only(&mail, "f");
    assert_eq!((vote.kind, vote.epoch), (Kind::Vote, 3));
    assert_eq!(vote.service, name("orders/0"));
    let repeated = votes(&bench.wait_beating(2 * SECOND, &beating));
    assert!((3..=4).contains(&repeated), "one per heartbeat interval, not {repeated}");
    let next = Member::of(0, true, 4).change(|member| member.incarnation = uuid(2));
    assert_eq!(numbers(&bench.register("f", &next), "f"), [1]);
    assert_eq!(votes(&bench.wait_beating(2 * SECOND, &beating)), 0, "there is a leader");
}

#[test]
fn stores_must_agree_with_themselves() {
    let mut bench = bench();
    let invalid = |bench: &mut Bench, member: Member| {
        let mail = bench.member("w", &member);
        let (code, text) = refusal(&(mail), "w");
        assert_eq!(code, ErrorCode::INVALID_ARGUMENT, "{text}");
        text
    };
    let three = Member::of(1, true, 1).change(|member| member.partitions = 3);
    assert!(invalid(&mut bench, three.clone()).contains("2 partitions, not 3"));
    let beyond = Member::of(2, true, 1);
    invalid(&mut bench, beyond);
    let wrong_name = Member { service: "orders/1".to_owned(), ..Member::of(0, true, 1) };
    invalid(&mut bench, wrong_name);
    for store in ["", "a/b", "mmi.x"] {
        let named = Member {
            service: format!("{store}/0"),
            ..Member::of(0, true, 1).change(|member| member.store = store.to_owned())
        };
        invalid(&mut bench, named);
    }
    // With no member left, a store may come back with another number of partitions.
    bench.gone("l");
    assert!(bench.register("w", &three).is_empty());
    let mail = bench.request("c", &Asked::new("orders/3", 1));
    assert_eq!(codes(&mail, "c"), [(1, Some(ErrorCode::STALE_TOPOLOGY))]);
}

#[test]
fn an_unregistered_leader_hands_back_what_it_held() {
    let mut bench = bench();
    bench.request("c", &Asked::new("orders/0", 1));
    let mut header = Header::new(Kind::Unregister, session("l"));
    header.service = name("orders/0");
    bench.send("l", vec![header.encode().into()]);
    let mail = bench.register("l", &Member::of(0, true, 3));
    assert_eq!(numbers(&mail, "l"), [1]);
}
