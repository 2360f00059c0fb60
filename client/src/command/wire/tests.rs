use proptest::prelude::*;
use uuid::Uuid;

use super::*;

fn id() -> impl Strategy<Value = CommandId> {
    any::<u128>().prop_map(|id| CommandId::new(Uuid::from_u128(id)))
}

fn state() -> impl Strategy<Value = CommandState> {
    prop::sample::select(&CommandState::ALL[..])
}

fn body() -> impl Strategy<Value = Body> {
    let frame = proptest::collection::vec(any::<u8>(), 0..40);
    proptest::collection::vec(frame, 1..4)
        .prop_map(|frames| Body::new(frames.into_iter().map(Bytes::from).collect()).unwrap())
}

prop_compose! {
    fn submit()(
        id in prop::option::of(id()), service in "[a-z]{1,20}", body in body(),
        absolute in any::<bool>(), due in prop::option::of(any::<u64>()),
        ttl_ms in prop::option::of(any::<u64>()), attempts in prop::option::of(1..u32::MAX),
    ) -> Submit {
        let (not_before_ms, delay_ms) = if absolute { (due, None) } else { (None, due) };
        let target = Target::new(service).unwrap();
        Submit { id, target, body, not_before_ms, delay_ms, ttl_ms, attempts }
    }
}

prop_compose! {
    fn list()(
        state in prop::option::of(state()), service in prop::option::of("[a-z]{1,20}"),
        after in prop::option::of(id()), limit in 1..=LIMIT_MAX,
    ) -> List {
        List { state, service, after, limit }
    }
}

fn selection(state: impl Strategy<Value = CommandState>) -> impl Strategy<Value = Selection> {
    let matching = (state, prop::option::of("[a-z]{1,20}"), any::<u64>())
        .prop_map(|(state, service, older_ms)| Selection::Matching { state, service, older_ms });
    prop_oneof![proptest::collection::vec(id(), 0..9).prop_map(Selection::Ids), matching]
}

fn request() -> impl Strategy<Value = CommandRequest> {
    let (dead, attempts) = (Just(CommandState::Dead), prop::option::of(1..u32::MAX));
    let requeue = (selection(dead), 1..=LIMIT_MAX, any::<bool>(), attempts)
        .prop_map(|(which, limit, dry_run, attempts)| Requeue { which, limit, dry_run, attempts });
    let purge = (selection(state()), 1..=LIMIT_MAX, any::<bool>())
        .prop_map(|(which, limit, dry_run)| Purge { which, limit, dry_run });
    prop_oneof![
        submit().prop_map(CommandRequest::Submit),
        (id(), 0..=WAIT_MS_MAX).prop_map(|(id, wait_ms)| CommandRequest::Reply { id, wait_ms }),
        id().prop_map(|id| CommandRequest::Close { id }),
        id().prop_map(|id| CommandRequest::Status { id }),
        list().prop_map(CommandRequest::List),
        requeue.prop_map(CommandRequest::Requeue),
        purge.prop_map(CommandRequest::Purge),
    ]
}

prop_compose! {
    fn info()(
        id in id(), state in state(), service in "[a-z]{1,20}", attempt in any::<u32>(),
        attempts_max in any::<u32>(), accepted_ms in any::<u64>(),
        due_ms in prop::option::of(any::<u64>()), expires_ms in prop::option::of(any::<u64>()),
        reason in prop::option::of(".{0,20}"),
    ) -> Info {
        Info {
            id, state, service, attempt, attempts_max, accepted_ms, due_ms, expires_ms, reason,
        }
    }
}

prop_compose! {
    fn answer()(
        code in prop::sample::select(vec![200, 300, 400, 500]), text in ".{0,20}",
        id in prop::option::of(id()), body in prop::option::of(body()),
        command in prop::option::of(info()), commands in proptest::collection::vec(info(), 0..3),
        next in prop::option::of(super::tests::id()), matched in any::<u32>(), done in any::<u32>(),
    ) -> CommandAnswer {
        let status = Status { code: StatusCode::from_number(code).unwrap(), text };
        CommandAnswer { status, id, body, command, commands, next, matched, done }
    }
}

proptest! {
    #[test]
    fn a_request_survives_the_way_there_and_back(request in request()) {
        let frame = request.encode().unwrap();
        prop_assert_eq!(CommandRequest::decode(&frame), Ok(request));
    }

    #[test]
    fn an_answer_survives_the_way_there_and_back(answer in answer()) {
        prop_assert_eq!(CommandAnswer::decode(&answer.encode()), Ok(answer));
    }

    #[test]
    fn what_is_cut_short_is_refused(
        request in request(), answer in answer(), at in any::<prop::sample::Index>()
    ) {
        let frame = request.encode().unwrap();
        prop_assert!(CommandRequest::decode(&frame[..at.index(frame.len())]).is_err());
        let frame = answer.encode();
        prop_assert!(CommandAnswer::decode(&frame[..at.index(frame.len())]).is_err());
    }

    #[test]
    fn random_bytes_are_refused_without_a_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..100)
    ) {
        prop_assert!(CommandRequest::decode(&bytes).is_err());
        prop_assert!(CommandAnswer::decode(&bytes).is_err());
    }
}

fn example() -> Submit {
    Submit {
        id: Some(CommandId::new(Uuid::from_u128(7))),
        target: Target::new("echo").unwrap(),
        body: Body::new(vec![Bytes::from("hi"), Bytes::new()]).unwrap(),
        not_before_ms: None,
        delay_ms: Some(5000),
        ttl_ms: None,
        attempts: None,
    }
}

#[test]
fn every_flipped_bit_is_survived() {
    let frames = [
        CommandRequest::Submit(example()),
        CommandRequest::List(List::default()),
        CommandRequest::Purge(Purge {
            which: Selection::Ids(vec![CommandId::new(Uuid::nil()); 2]),
            limit: 1,
            dry_run: true,
        }),
    ];
    for frame in frames.map(|request| request.encode().unwrap()) {
        for position in 0..frame.len() * 8 {
            let mut flipped = frame.to_vec();
            flipped[position / 8] ^= 1 << (position % 8);
            if let Ok(request) = CommandRequest::decode(&flipped) {
                request.encode().unwrap();
            }
        }
    }
}

#[test]
fn the_bytes_of_an_example() {
    let frame = CommandRequest::Submit(example()).encode().unwrap();
    let mut expected = b"\x85\xA2op\xA6submit\xA2id\xC4\x10".to_vec();
    expected.extend_from_slice(Uuid::from_u128(7).as_bytes());
    expected.extend_from_slice(b"\xA7service\xA4echo\xA4body\x92\xC4\x02hi\xC4\x00");
    expected.extend_from_slice(b"\xA8delay_ms\xCD\x13\x88");
    assert_eq!(frame, expected);
}

#[derive(Serialize, Default)]
struct Hostile<'a> {
    op: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Vec<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ids: Option<Vec<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wait_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delay_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_before_ms: Option<u64>,
    invented_later: Vec<u8>,
}

#[test]
fn what_is_asked_in_another_language_is_read() {
    let text = "000000000000000000000000000000ab";
    let id = CommandId::new(Uuid::from_u128(0xAB));
    let decode = |map: &Hostile<'_>| CommandRequest::decode(&pack(map).unwrap());
    let close = Hostile { op: "close", id: Some(text), ..Hostile::default() };
    assert_eq!(decode(&close), Ok(CommandRequest::Close { id }));
    let purge = Hostile { op: "purge", ids: Some(vec![text]), ..Hostile::default() };
    let which = Selection::Ids(vec![id]);
    let expected = Purge { which, limit: LIMIT_DEFAULT, dry_run: false };
    assert_eq!(decode(&purge), Ok(CommandRequest::Purge(expected)));
    let reply = Hostile { op: "reply", id: Some(text), ..Hostile::default() };
    assert_eq!(decode(&reply), Ok(CommandRequest::Reply { id, wait_ms: 0 }));
}

#[test]
fn every_broken_rule_is_refused() {
    let text = "000000000000000000000000000000ab";
    let none = Hostile::default;
    let submit = || Hostile {
        op: "submit",
        service: Some("echo"),
        body: Some(vec!["x"]),
        ..Hostile::default()
    };
    let rows = [
        ("no op", none()),
        ("an unknown op", Hostile { op: "explode", ..none() }),
        ("a path for an id", Hostile { op: "close", id: Some("../../etc/passwd"), ..none() }),
        ("no id", Hostile { op: "status", ..none() }),
        ("no service", Hostile { service: None, ..submit() }),
        ("a reserved service", Hostile { service: Some("mmi.service"), ..submit() }),
        ("no body", Hostile { body: None, ..submit() }),
        ("an empty body", Hostile { body: Some(Vec::new()), ..submit() }),
        ("no attempts", Hostile { attempts: Some(0), ..submit() }),
        ("too many attempts", Hostile { attempts: Some(1 << 32), ..submit() }),
        ("two times", Hostile { delay_ms: Some(1), not_before_ms: Some(1), ..submit() }),
        ("a long wait", Hostile { op: "reply", id: Some(text), wait_ms: Some(700_000), ..none() }),
        ("limit 0", Hostile { op: "list", limit: Some(0), ..none() }),
        ("limit 1001", Hostile { op: "list", limit: Some(1001), ..none() }),
        ("an unknown state", Hostile { op: "list", state: Some("lost"), ..none() }),
        ("nothing selected", Hostile { op: "purge", ..none() }),
        ("too many ids", Hostile { op: "purge", ids: Some(vec![text; 257]), ..none() }),
        ("requeue of queued", Hostile { op: "requeue", state: Some("queued"), ..none() }),
        (
            "ids and a state",
            Hostile { op: "purge", ids: Some(vec![text]), state: Some("dead"), ..none() },
        ),
    ];
    for (name, map) in rows {
        assert!(CommandRequest::decode(&pack(&map).unwrap()).is_err(), "{name}");
    }
    assert!(CommandRequest::decode(&pack(&submit()).unwrap()).is_ok());
    let ids = vec![CommandId::new(Uuid::nil()); IDS_MAX + 1];
    let which = Selection::Ids(ids);
    let purge = CommandRequest::Purge(Purge { which, limit: 1, dry_run: false });
    assert!(matches!(purge.encode(), Err(WireError::TooMany { .. })));
}

#[test]
fn deep_nesting_is_refused() {
    let mut frame = b"\x81\xA1x".to_vec();
    frame.extend(std::iter::repeat_n(0x91, 100_000));
    frame.push(0xC0);
    assert!(CommandRequest::decode(&frame).is_err());
    assert!(CommandAnswer::decode(&frame).is_err());
}

#[test]
fn states_have_words() {
    for state in CommandState::ALL {
        assert_eq!(state.as_str().parse(), Ok(state));
        assert_eq!(pack(&state).unwrap()[1..], *state.as_str().as_bytes());
    }
    assert_eq!("Dead".parse::<CommandState>(), Err(CommandStateError));
}
