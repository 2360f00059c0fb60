use std::time::{Duration, Instant};

use super::*;
use crate::dialect::{
    Hello, PartitionRegistration, VERSION_MAX, VERSION_MIN, Welcome, decode_body,
};

const SECOND: Duration = Duration::from_secs(1);

struct Bench {
    link: WorkerLink,
    now: Instant,
}

fn session(number: u8) -> SessionId {
    SessionId([number; 16])
}

fn service() -> ServiceName {
    ServiceName::partition("orders", 0).unwrap()
}

fn offer(epoch: u64) -> WorkerOffer {
    WorkerOffer {
        service: service(),
        epoch,
        registration: Registration::default(),
        window: Window { messages: 10, bytes: 1_000 },
    }
}

impl Bench {
    #[allow(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
    fn new() -> Bench {
        Bench { link: WorkerLink::new(LinkSettings::default()), now: Instant::now() }
    }

    /// A link that the broker has welcomed, with a heartbeat interval of one second.
    fn up() -> Bench {
        let mut bench = Bench::new();
        bench.input(WorkerInput::Offer(offer(3)));
        bench.input(WorkerInput::Opened { session: session(1) });
        bench.welcome(1);
        bench
    }

    fn input(&mut self, input: WorkerInput) -> Vec<WorkerOutput> {
        let mut outputs = Vec::new();
        self.link.handle(self.now, input, &mut outputs);
        outputs
    }

    fn frames(&mut self, header: &Header, body: Frames) -> Vec<WorkerOutput> {
        let mut frames: Frames = vec![header.encode().into()];
        frames.extend(body);
        self.input(WorkerInput::Frames(frames))
    }

    fn welcome(&mut self, number: u8) -> Vec<WorkerOutput> {
        let mut header = Header::new(Kind::Welcome, session(number));
        header.time_ms = 1_000;
        let welcome = Welcome {
            version: 1,
            broker: Uuid::from_u128(7),
            message_bytes_max: 1,
            requests_max: 1,
            request_bytes_max: 1,
        };
        self.frames(&header, vec![encode_body(&welcome)])
    }

    fn request(&mut self, number: u64, bytes: usize) -> WorkerRequest {
        let mut header = Header::new(Kind::Request, session(9));
        header.service = service();
        (header.number, header.lowest, header.time_ms) = (number, 1, 1_500);
        let outputs = self.frames(&header, vec![Bytes::from(vec![0; bytes])]);
        match outputs.as_slice() {
            [WorkerOutput::Request(request)] => request.clone(),
            other => panic!("{other:?}"),
        }
    }
}

fn sent(outputs: &[WorkerOutput]) -> Vec<Header> {
    let frames = outputs.iter().filter_map(|output| match output {
        WorkerOutput::Send(frames) => Some(Header::decode(&frames[0]).unwrap()),
        _ => None,
    });
    frames.collect()
}

fn reply_to(request: &WorkerRequest, more: bool) -> WorkerInput {
    WorkerInput::Reply(WorkerReply {
        session: request.session,
        service: request.service.clone(),
        number: request.number,
        epoch: 3,
        code: None,
        retry_after: Duration::ZERO,
        more,
        body: vec![Bytes::from_static(b"done")],
    })
}

#[test]
fn hello_first_registrations_only_after_welcome() {
    let mut bench = Bench::new();
    assert_eq!(bench.link.deadline(), None);
    assert!(bench.input(WorkerInput::Offer(offer(3))).is_empty());
    let outputs = bench.input(WorkerInput::Opened { session: session(1) });
    let [WorkerOutput::Send(frames)] = outputs.as_slice() else {
        panic!("{outputs:?}");
    };
    let header = Header::decode(&frames[0]).unwrap();
    assert_eq!((header.kind, header.session, header.time_ms), (Kind::Hello, session(1), 500));
    let hello: Hello = decode_body(&frames[1]).unwrap();
    assert_eq!(hello.role, Role::Worker);
    assert_eq!((hello.version_min, hello.version_max), (VERSION_MIN, VERSION_MAX));
    assert!(!bench.link.is_up());
    let outputs = bench.welcome(1);
    assert_eq!(outputs[0], WorkerOutput::Up { broker: Uuid::from_u128(7) });
    let [register] = sent(&outputs).try_into().unwrap();
    assert_eq!((register.kind, register.epoch), (Kind::Register, 3));
    assert_eq!((register.credit_messages, register.credit_bytes), (10, 1_000));
    assert!(bench.link.is_up());
}

#[test]
fn a_welcome_for_another_session_is_not_ours() {
    let mut bench = Bench::new();
    bench.input(WorkerInput::Opened { session: session(1) });
    assert!(bench.welcome(2).is_empty());
    assert!(!bench.link.is_up());
}

#[test]
fn credit_comes_back_with_the_last_reply() {
    let mut bench = Bench::up();
    let first = bench.request(1, 100);
    let second = bench.request(2, 50);
    assert_eq!((first.number, first.time_left), (1, Duration::from_millis(1_500)));
    let [part] = sent(&bench.input(reply_to(&first, true))).try_into().unwrap();
    assert!(part.has(flags::MORE));
    assert_eq!((part.credit_messages, part.credit_bytes), (0, 0));
    let [last] = sent(&bench.input(reply_to(&second, false))).try_into().unwrap();
    assert_eq!((last.number, last.epoch), (2, 3));
    assert_eq!((last.credit_messages, last.credit_bytes), (11, 1_050));
    let [last] = sent(&bench.input(reply_to(&first, false))).try_into().unwrap();
    assert_eq!((last.credit_messages, last.credit_bytes), (12, 1_150));
    assert!(bench.input(reply_to(&first, false)).is_empty(), "answered already");
}

#[test]
fn an_error_reply_carries_code_and_retry_time() {
    let mut bench = Bench::up();
    let request = bench.request(1, 1);
    let reply = WorkerInput::Reply(WorkerReply {
        session: request.session,
        service: request.service,
        number: 1,
        epoch: 3,
        code: Some(ErrorCode::BUSY),
        retry_after: Duration::from_millis(70),
        more: false,
        body: Frames::new(),
    });
    let [header] = sent(&bench.input(reply)).try_into().unwrap();
    assert_eq!((header.code, header.time_ms), (Some(ErrorCode::BUSY), 70));
}

#[test]
fn a_new_session_starts_with_fresh_credit_and_forgets_what_was_in_hand() {
    let mut bench = Bench::up();
    let old = bench.request(1, 100);
    let done = bench.request(2, 100);
    bench.input(reply_to(&done, false));
    bench.now += 5 * SECOND;
    let outputs = bench.input(WorkerInput::Tick);
    assert_eq!(outputs, [WorkerOutput::Reopen { at: bench.now }]);
    assert!(bench.input(reply_to(&old, false)).is_empty(), "down");
    bench.input(WorkerInput::Opened { session: session(2) });
    let [register] = sent(&bench.welcome(2)).try_into().unwrap();
    assert_eq!((register.session, register.credit_messages), (session(2), 10));
    assert!(bench.input(reply_to(&old, false)).is_empty(), "of the earlier session");
    let again = bench.request(1, 100);
    assert_eq!(sent(&bench.input(reply_to(&again, false))).len(), 1);
}

#[test]
fn heartbeats_are_owed_only_in_silence() {
    let mut bench = Bench::up();
    let start = bench.now;
    let half = Duration::from_millis(500);
    assert_eq!(bench.link.deadline(), Some(start + half));
    bench.now += half;
    let [beat] = sent(&bench.input(WorkerInput::Tick)).try_into().unwrap();
    assert_eq!((beat.kind, beat.session), (Kind::Heartbeat, session(1)));
    let request = bench.request(1, 1);
    bench.now += half / 2;
    bench.input(reply_to(&request, false));
    bench.now += half / 2;
    assert!(bench.input(WorkerInput::Tick).is_empty());
    // The broker is dead after four of *its* intervals.
    bench.now += 4 * SECOND;
    assert!(matches!(bench.input(WorkerInput::Tick)[..], [WorkerOutput::Reopen { .. }]));
    assert_eq!(bench.link.deadline(), None);
}

#[test]
fn failures_in_a_row_wait_longer_each_time() {
    let mut bench = Bench::new();
    let mut waits = Vec::new();
    for attempt in 0..8 {
        bench.input(WorkerInput::Opened { session: session(attempt) });
        bench.now += 2 * SECOND;
        let outputs = bench.input(WorkerInput::Tick);
        let [WorkerOutput::Reopen { at }] = outputs[..] else {
            panic!("{outputs:?}");
        };
        waits.push((at - bench.now).as_millis());
    }
    assert_eq!(waits, [0, 50, 100, 200, 400, 800, 1_600, 2_000]);
    bench.input(WorkerInput::Opened { session: session(9) });
    bench.welcome(9);
    let goodbye = Header::new(Kind::Goodbye, session(9));
    let now = bench.now;
    assert_eq!(bench.frames(&goodbye, vec![]), [WorkerOutput::Reopen { at: now }]);
}

#[test]
fn refusals_end_the_conversation_or_concern_one_service() {
    let mut bench = Bench::up();
    let mut header = Header::new(Kind::Refused, session(1));
    header.code = Some(ErrorCode::NOT_LEADER);
    header.service = service();
    let error = ErrorBody::new("epoch 4 is known");
    let outputs = bench.frames(&header, vec![encode_body(&error)]);
    let refused = WorkerOutput::Refused { service: service(), code: ErrorCode::NOT_LEADER, error };
    assert_eq!(outputs, [refused]);
    assert!(bench.link.is_up());
    let mut header = Header::new(Kind::Refused, session(1));
    header.code = Some(ErrorCode::INVALID_ARGUMENT);
    assert!(matches!(bench.frames(&header, vec![])[..], [WorkerOutput::Reopen { .. }]));
    assert!(!bench.link.is_up());
}

#[test]
fn offers_change_and_end_while_the_link_is_up() {
    let mut bench = Bench::up();
    let request = bench.request(1, 1);
    bench.input(reply_to(&request, false));
    let [changed] = sent(&bench.input(WorkerInput::Offer(offer(4)))).try_into().unwrap();
    assert_eq!((changed.kind, changed.epoch), (Kind::Register, 4));
    assert_eq!(changed.credit_messages, 11, "credit goes on within a session");
    let [ended] = sent(&bench.input(WorkerInput::Withdraw(service()))).try_into().unwrap();
    assert_eq!(ended.kind, Kind::Unregister);
    assert!(bench.input(WorkerInput::Withdraw(service())).is_empty());
}

fn member(leader: bool, epoch: u64) -> WorkerInput {
    let partition = PartitionRegistration {
        store: "orders".to_owned(),
        partition: 0,
        partitions: 1,
        leader,
        incarnation: Uuid::from_u128(1),
        lineage: Uuid::from_u128(2),
        durability: "pair".to_owned(),
        feed: String::new(),
        replay: String::new(),
    };
    let registration = Registration { partition: Some(partition) };
    WorkerInput::Offer(WorkerOffer { registration, ..offer(epoch) })
}

/// A request as a broker sends it that knows the worker as leader of this epoch.
fn of_epoch(epoch: u64) -> Header {
    let mut header = Header::new(Kind::Request, session(9));
    header.service = service();
    (header.number, header.lowest, header.time_ms, header.epoch) = (1, 1, 1_500, epoch);
    header
}

#[test]
fn a_worker_that_stops_to_lead_forgets_what_it_has_and_what_is_on_its_way() {
    let mut bench = Bench::up();
    let passed = |bench: &mut Bench, epoch| {
        let outputs = bench.frames(&of_epoch(epoch), vec![Bytes::from_static(b"x")]);
        outputs.into_iter().find_map(|output| match output {
            WorkerOutput::Request(request) => Some(request),
            _ => None,
        })
    };
    bench.input(member(true, 3));
    let held = passed(&mut bench, 3).unwrap();
    assert_eq!(held.epoch, 3);
    // The same reign in a higher epoch: in-hand requests stay, older ones still arrive.
    let [higher] = sent(&bench.input(member(true, 4))).try_into().unwrap();
    assert_eq!((higher.epoch, higher.credit_messages), (4, 10));
    let [reply] = sent(&bench.input(reply_to(&held, false))).try_into().unwrap();
    assert_eq!(reply.credit_messages, 11);
    let held = passed(&mut bench, 3).unwrap();
    // It stops to lead.
    let [stopped] = sent(&bench.input(member(false, 4))).try_into().unwrap();
    assert_eq!((stopped.kind, stopped.credit_messages), (Kind::Register, 10), "credit is fresh");
    assert!(bench.input(reply_to(&held, false)).is_empty());
    assert_eq!(passed(&mut bench, 4), None);
    // It leads again: only what the broker sends since it knows that.
    let [leads] = sent(&bench.input(member(true, 6))).try_into().unwrap();
    assert_eq!((leads.epoch, leads.credit_messages, leads.credit_bytes), (6, 10, 1_000));
    assert_eq!(passed(&mut bench, 4), None, "sent before the broker knew");
    assert!(bench.input(reply_to(&held, false)).is_empty());
    let again = passed(&mut bench, 6).unwrap();
    let [reply] = sent(&bench.input(reply_to(&again, false))).try_into().unwrap();
    assert_eq!((reply.number, reply.credit_messages), (1, 11));
}

#[test]
fn votes_are_passed_on_and_rubbish_is_not() {
    let mut bench = Bench::up();
    let mut vote = Header::new(Kind::Vote, session(1));
    (vote.service, vote.epoch) = (service(), 5);
    let passed = WorkerOutput::Vote { service: service(), epoch: 5 };
    assert_eq!(bench.frames(&vote, vec![]), [passed]);
    for rubbish in [vec![], vec![Bytes::from_static(b"SLG")], vec![Bytes::new(); 3]] {
        assert!(bench.input(WorkerInput::Frames(rubbish)).is_empty());
    }
    assert!(bench.link.is_up());
}

#[test]
fn goodbye_is_said_once() {
    let mut bench = Bench::up();
    let [header] = sent(&bench.input(WorkerInput::Goodbye)).try_into().unwrap();
    assert_eq!(header.kind, Kind::Goodbye);
    assert!(bench.input(WorkerInput::Goodbye).is_empty());
    assert_eq!(bench.link.deadline(), None);
}
