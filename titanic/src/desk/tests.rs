use broker::dialect::SessionId;
use client::PartitionNumber;
use client::command::wire::{
    CommandAnswer, CommandRequest, List, Purge, Requeue, Selection, Submit,
};
use client::command::{Accepted, Body, CommandState, Session, Step, Target};
use uuid::Uuid;

use super::*;
use crate::protocol::{Door, RequestKey};
use crate::view::Source;

struct Bench {
    desk: Desk,
    view: View,
    bodies: Bodies,
    now: Now,
    sequence: u64,
    tickets: u64,
}

fn id(number: u128) -> CommandId {
    CommandId::new(Uuid::from_u128(number))
}

fn event(of: u128, step: u32, what: Step) -> StepEvent {
    let session = Session(Uuid::from_u128(2));
    StepEvent { command: id(of), step, session, at_ms: 1_000, what }
}

fn frames(texts: &[&[u8]]) -> Vec<Bytes> {
    texts.iter().map(|text| Bytes::copy_from_slice(text)).collect()
}

fn body(text: &str) -> Body {
    Body::new(frames(&[text.as_bytes()])).unwrap()
}

fn accepted(text: &str) -> Accepted {
    Accepted {
        target: Target::new("echo").unwrap(),
        body: body(text),
        not_before_ms: 0,
        expires_ms: 0,
        attempts_max: 10,
    }
}

fn submit(of: u128, text: &str) -> Submit {
    Submit {
        id: Some(id(of)),
        target: Target::new("echo").unwrap(),
        body: body(text),
        not_before_ms: None,
        delay_ms: None,
        ttl_ms: None,
        attempts: None,
    }
}

impl Bench {
    fn new() -> Bench {
        #[expect(clippy::disallowed_methods, reason = "an arbitrary point to count from")]
        let instant = Instant::now();
        let settings = Settings::new(Session(Uuid::from_u128(1)), 1, 1);
        Bench {
            desk: Desk::new(settings),
            view: View::new(1, false),
            bodies: Bodies::new(1 << 20),
            now: Now { instant, unix_ms: 10_000 },
            sequence: 0,
            tickets: 0,
        }
    }

    fn give(&mut self, input: DeskInput) -> Vec<DeskOutput> {
        let mut outputs = Vec::new();
        let known = Known { view: &self.view, bodies: &self.bodies };
        self.desk.handle(self.now, input, known, &mut outputs);
        outputs.retain(|output| !matches!(output, DeskOutput::Expect(_)));
        outputs
    }

    fn ask(&mut self, door: Door, body: Vec<Bytes>) -> Vec<DeskOutput> {
        self.tickets += 1;
        let key = RequestKey { session: SessionId([7; 16]), number: self.tickets };
        let ask = Ask { door, body, key };
        let (ticket, left) = (RequestTicket(self.tickets), Duration::from_secs(10));
        self.give(DeskInput::Request { ticket, ask, left })
    }

    fn command(&mut self, request: CommandRequest) -> Vec<DeskOutput> {
        self.ask(Door::Command, vec![request.encode().unwrap()])
    }

    fn fetch(&mut self, of: u128) -> Vec<DeskOutput> {
        self.ask(Door::Reply, frames(&[id(of).to_string().as_bytes()]))
    }

    fn close(&mut self, of: u128) -> Vec<DeskOutput> {
        self.ask(Door::Close, frames(&[id(of).to_string().as_bytes()]))
    }

    /// The log has another step.
    fn step(&mut self, of: u128, step: u32, what: Step) -> Vec<DeskOutput> {
        self.sequence += 1;
        self.view.learn(Source::Log, Sequence(self.sequence), &event(of, step, what));
        self.view.passed(PartitionNumber(0), Sequence(self.sequence));
        self.give(DeskInput::Changed(id(of)))
    }

    fn sleep(&mut self, time: Duration) -> Vec<DeskOutput> {
        self.now.instant += time;
        self.give(DeskInput::Tick)
    }

    fn dead(&mut self, of: u128) {
        self.step(of, 0, Step::Accepted(accepted("do")));
        self.step(of, 1, Step::Dead { reason: "tired".to_owned() });
    }
}

/// The only output is an answer whose frames are these.
fn answers(outputs: &[DeskOutput], texts: &[&str]) {
    let [DeskOutput::Answer { body, .. }] = outputs else {
        panic!("{outputs:?}");
    };
    let body: Vec<&str> = body.iter().map(|frame| std::str::from_utf8(frame).unwrap()).collect();
    assert_eq!(body, texts);
}

fn map(outputs: &[DeskOutput]) -> CommandAnswer {
    match outputs {
        [DeskOutput::Answer { body, .. }] => CommandAnswer::decode(&body[0]).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn appends(outputs: &[DeskOutput]) -> StepEvent {
    match outputs {
        [DeskOutput::Append(event)] => event.clone(),
        other => panic!("{other:?}"),
    }
}

fn ended(of: u128, intent: Intent, is_written: bool) -> DeskInput {
    DeskInput::Ended { command: id(of), intent, is_written }
}

const REPLIED: fn(&str) -> Step = |text| Step::Replied { attempt: 1, body: body(text) };

#[test]
fn an_accept_is_answered_once_it_is_committed() {
    let mut bench = Bench::new();
    let event = appends(&bench.ask(Door::Request, frames(&[b"echo", b"hello", b""])));
    let Step::Accepted(kept) = &event.what else {
        panic!("{event:?}");
    };
    assert_eq!((kept.attempts_max, kept.expires_ms, kept.not_before_ms), (10, 0, 0));
    assert_eq!(kept.body.frames(), frames(&[b"hello", b""]));
    assert!(bench.sleep(Duration::from_secs(9)).is_empty(), "nothing is said before");
    let command = event.command;
    let outputs = bench.give(DeskInput::Accepted { command, result: Ok(Sequence(1)) });
    assert!(matches!(outputs[0], DeskOutput::Accepted { sequence: Sequence(1), .. }));
    answers(&outputs[1..], &["200", &command.to_string()]);
}

#[test]
fn the_same_request_delivered_twice_is_one_command() {
    let (mut one, mut other) = (Bench::new(), Bench::new());
    let first = appends(&one.ask(Door::Request, frames(&[b"echo", b"hello"])));
    let second = appends(&other.ask(Door::Request, frames(&[b"echo", b"hello"])));
    assert_eq!(first.command, second.command);
    let next = appends(&other.ask(Door::Request, frames(&[b"echo", b"hello"])));
    assert_ne!(next.command, second.command, "another request is another command");
}

#[test]
fn an_id_that_is_taken_is_looked_at() {
    let same = Step::Accepted(accepted("do"));
    for (kept, expected) in [(same, None), (Step::Accepted(accepted("other")), Some(400))] {
        let mut bench = Bench::new();
        appends(&bench.command(CommandRequest::Submit(submit(1, "do"))));
        let command = id(1);
        let taken = Err(AppendFailure::Reused);
        let outputs = bench.give(DeskInput::Accepted { command, result: taken });
        assert!(matches!(outputs[..], [DeskOutput::Read { step: 0, .. }]), "{outputs:?}");
        let found = Some(event(1, 0, kept));
        let answer = map(&bench.give(DeskInput::Read { command, step: 0, found }));
        match expected {
            None => assert_eq!((answer.status, answer.id), (Status::ok(), Some(id(1)))),
            Some(code) => {
                assert_eq!(answer.status.code.number(), code);
                assert_eq!(answer.status.text, "id belongs to another command");
            }
        }
    }
}

#[test]
fn settings_are_compared_as_they_were_said() {
    let kept = Accepted { not_before_ms: 6_000, expires_ms: 4_000, ..accepted("do") };
    let said = Submit { delay_ms: Some(5_000), ttl_ms: Some(3_000), ..submit(1, "do") };
    let rows = [
        (said.clone(), true),
        (Submit { delay_ms: None, not_before_ms: Some(6_000), ..said.clone() }, true),
        (Submit { attempts: Some(10), ..said.clone() }, true),
        (Submit { attempts: Some(9), ..said.clone() }, false),
        (Submit { ttl_ms: None, ..said.clone() }, false),
        (Submit { ttl_ms: Some(3_001), ..said.clone() }, false),
        (Submit { delay_ms: Some(4_000), ..said.clone() }, false),
        (Submit { body: body("other"), ..said.clone() }, false),
        (Submit { target: Target::new("echo2").unwrap(), ..said }, false),
    ];
    for (said, fits) in rows {
        let mut bench = Bench::new();
        bench.command(CommandRequest::Submit(said.clone()));
        let command = id(1);
        bench.give(DeskInput::Accepted { command, result: Err(AppendFailure::Reused) });
        let found = Some(event(1, 0, Step::Accepted(kept.clone())));
        let answer = map(&bench.give(DeskInput::Read { command, step: 0, found }));
        assert_eq!(answer.status == Status::ok(), fits, "{said:?}");
    }
}

#[test]
fn two_that_send_the_same_id_at_once() {
    let mut bench = Bench::new();
    appends(&bench.command(CommandRequest::Submit(submit(1, "do"))));
    assert!(bench.command(CommandRequest::Submit(submit(1, "do"))).is_empty());
    assert!(bench.command(CommandRequest::Submit(submit(1, "other"))).is_empty());
    let command = id(1);
    let outputs = bench.give(DeskInput::Accepted { command, result: Ok(Sequence(1)) });
    let codes: Vec<u16> = outputs[1..]
        .iter()
        .map(|one| map(std::slice::from_ref(one)).status.code.number())
        .collect();
    assert_eq!(codes, [200, 200, 400]);
}

#[test]
fn an_accept_that_is_not_known_is_tried_until_its_sender_is_gone() {
    let mut bench = Bench::new();
    let first = appends(&bench.command(CommandRequest::Submit(submit(1, "do"))));
    let command = id(1);
    let again = DeskInput::Accepted { command, result: Err(AppendFailure::Again) };
    for _ in 0..3 {
        assert!(bench.give(again.clone()).is_empty());
        assert_eq!(appends(&bench.sleep(Duration::from_millis(250))), first);
    }
    assert_eq!(map(&bench.sleep(Duration::from_secs(10))).status.code.number(), 500);
    assert!(bench.give(again).is_empty());
    assert_eq!(bench.desk.deadline(), None, "nobody waits any more");
}

#[test]
fn what_a_fetch_gets() {
    let mut bench = Bench::new();
    bench.step(1, 0, Step::Accepted(accepted("do")));
    answers(&bench.fetch(1), &["300 pending"]);
    bench.step(1, 1, Step::Dispatched { attempt: 1 });
    answers(&bench.fetch(1), &["300 pending"]);
    bench.bodies.put(id(1), 2, &body("done"));
    bench.step(1, 2, REPLIED("done"));
    answers(&bench.fetch(1), &["200", "done"]);
    answers(&bench.fetch(1), &["200", "done"]);
    bench.dead(2);
    answers(&bench.fetch(2), &["400 dead tired"]);
}

#[test]
fn a_reply_that_is_not_at_hand_is_read() {
    let mut bench = Bench::new();
    bench.step(1, 0, Step::Accepted(accepted("do")));
    bench.step(1, 1, Step::Dispatched { attempt: 1 });
    bench.step(1, 2, REPLIED("done"));
    let outputs = bench.fetch(1);
    assert!(matches!(outputs[..], [DeskOutput::Read { step: 2, .. }]), "{outputs:?}");
    let found = Some(event(1, 2, REPLIED("done")));
    answers(&bench.give(DeskInput::Read { command: id(1), step: 2, found }), &["200", "done"]);
    bench.fetch(1);
    answers(
        &bench.sleep(Duration::from_secs(10)),
        &["500 the store did not answer in time; ask again"],
    );
}

#[test]
fn a_fetch_waits_for_as_long_as_it_said() {
    let mut bench = Bench::new();
    bench.step(1, 0, Step::Accepted(accepted("do")));
    let fetch = CommandRequest::Reply { id: id(1), wait_ms: 2_000 };
    assert!(bench.command(fetch.clone()).is_empty());
    assert_eq!(bench.desk.parked_len(), 1);
    assert!(bench.step(1, 1, Step::Dispatched { attempt: 1 }).is_empty());
    assert!(bench.sleep(Duration::from_millis(1_999)).is_empty());
    assert_eq!(map(&bench.sleep(Duration::from_millis(1))).status, Status::pending());
    assert_eq!(bench.desk.parked_len(), 0);
    assert!(bench.command(fetch).is_empty());
    bench.bodies.put(id(1), 2, &body("done"));
    assert_eq!(map(&bench.step(1, 2, REPLIED("done"))).body, Some(body("done")));
    assert_eq!((bench.desk.len(), bench.desk.deadline()), (0, None));
}

#[test]
fn an_unknown_id_is_walked_before_anything_is_said_of_it() {
    let over = View::new(1, false).adopt(&[
        (Sequence(1), event(1, 0, Step::Accepted(accepted("do")))),
        (Sequence(2), event(1, 1, Step::Closed)),
    ]);
    let rows = [
        (Walked::Unknown, "400 unknown", "200"),
        (over, "400 closed", "200"),
        (
            Walked::Outdated,
            "500 the store did not answer in time; ask again",
            "500 the store did not answer in time; ask again",
        ),
    ];
    for (found, fetched, closed) in rows {
        let mut bench = Bench::new();
        for (door, expected) in [(Door::Reply, fetched), (Door::Close, closed)] {
            let outputs = bench.ask(door, frames(&[id(1).to_string().as_bytes()]));
            assert!(matches!(outputs[..], [DeskOutput::Walk(_)]), "{outputs:?}");
            let found = found.clone();
            answers(&bench.give(DeskInput::Walked { command: id(1), found }), &[expected]);
        }
    }
}

#[test]
fn a_close_is_answered_once_it_is_committed() {
    let mut bench = Bench::new();
    bench.step(1, 0, Step::Accepted(accepted("do")));
    let outputs = bench.close(1);
    assert!(matches!(outputs[..], [DeskOutput::Write { intent: Intent::Close, .. }]));
    assert!(bench.step(1, 1, Step::Dispatched { attempt: 1 }).is_empty(), "and written once");
    let other = Intent::Requeue { attempts: 1, expires_ms: 0 };
    assert!(bench.give(ended(1, other, true)).is_empty(), "that was somebody else's");
    answers(&bench.give(ended(1, Intent::Close, true)), &["200"]);
}

#[test]
fn hostile_requests_are_refused() {
    let long = vec![b'a'; 100_000];
    let large = vec![0; client::command::BODY_BYTES_MAX];
    let ids: [&[u8]; 7] = [
        b"",
        b"../../../../../../../etc/passwd0",
        b"00112233-4455-6677-8899-aabbccddeeff",
        b"0011223344556677889900112233445g",
        &[0; 32],
        &[0xFF; 32],
        &long,
    ];
    let mut bench = Bench::new();
    let mut refused = |door, body: Vec<Bytes>| {
        let outputs = bench.ask(door, body);
        let [DeskOutput::Answer { body, .. }] = &outputs[..] else {
            panic!("{outputs:?}");
        };
        if door == Door::Command {
            assert_eq!(CommandAnswer::decode(&body[0]).unwrap().status.code.number(), 400);
        } else {
            assert!(body[0].starts_with(b"400 "), "{body:?}");
        }
    };
    for text in ids {
        for door in [Door::Reply, Door::Close] {
            refused(door, frames(&[text]));
            refused(door, frames(&[text, b"more"]));
        }
        refused(Door::Command, frames(&[text]));
    }
    for door in Door::ALL {
        refused(door, Vec::new());
    }
    for target in [&b""[..], b"mmi.service", b"titanic.request", b"echo+titanic", b"\xFF", &long] {
        refused(Door::Request, frames(&[target, b"body"]));
    }
    refused(Door::Request, frames(&[b"echo"]));
    refused(Door::Request, frames(&[b"echo", &large]));
    refused(Door::Request, vec![Bytes::from_static(b"echo"); 2_000]);
}

#[test]
fn a_listing_goes_page_by_page() {
    let mut bench = Bench::new();
    for number in 0..30 {
        bench.dead(number);
    }
    for number in 30..40 {
        bench.step(number, 0, Step::Accepted(accepted("do")));
    }
    let mut list = List { state: Some(CommandState::Dead), limit: 7, ..List::default() };
    let mut ids = BTreeSet::new();
    loop {
        let answer = map(&bench.command(CommandRequest::List(list.clone())));
        assert!(answer.commands.iter().all(|info| info.state == CommandState::Dead));
        ids.extend(answer.commands.iter().map(|info| info.id));
        list.after = answer.next;
        if list.after.is_none() {
            break;
        }
    }
    assert_eq!(ids, (0..30).map(id).collect());
    let none = List { service: Some("nobody".to_owned()), ..List::default() };
    assert_eq!(map(&bench.command(CommandRequest::List(none))).commands, []);
}

#[test]
fn dead_ones_are_requeued_and_purged() {
    let mut bench = Bench::new();
    bench.dead(1);
    bench.dead(2);
    bench.step(3, 0, Step::Accepted(accepted("do")));
    let all = Selection::Matching { state: CommandState::Dead, service: None, older_ms: 0 };
    let requeue = |dry_run| {
        let (which, limit, attempts) = (all.clone(), 100, Some(3));
        CommandRequest::Requeue(Requeue { which, limit, dry_run, attempts })
    };
    let dry = map(&bench.command(requeue(true)));
    assert_eq!((dry.matched, dry.done, dry.commands.len()), (2, 0, 2));
    let outputs = bench.command(requeue(false));
    let intent = Intent::Requeue { attempts: 3, expires_ms: 0 };
    let is_requeue = |output: &DeskOutput| match output {
        DeskOutput::Write { intent: wanted, .. } => *wanted == intent,
        _ => false,
    };
    assert!(outputs.len() == 2 && outputs.iter().all(is_requeue), "{outputs:?}");
    assert!(bench.give(ended(2, Intent::Close, true)).is_empty(), "that was somebody else's");
    assert!(bench.give(ended(1, intent.clone(), true)).is_empty());
    let done = map(&bench.give(ended(2, intent, false)));
    assert_eq!((done.matched, done.done), (2, 1), "another one was faster");

    let ids = Selection::Ids(vec![id(1), id(3), id(9)]);
    let purge = Purge { which: ids, limit: 100, dry_run: false };
    let outputs = bench.command(CommandRequest::Purge(purge));
    assert_eq!(outputs.len(), 2, "9 is not there: {outputs:?}");
    let partly = map(&bench.sleep(Duration::from_secs(10)));
    assert_eq!((partly.matched, partly.done), (2, 0));
    assert!(bench.desk.waiting.is_empty());
}

#[test]
fn who_is_gone_gets_no_answer() {
    let mut bench = Bench::new();
    appends(&bench.ask(Door::Request, frames(&[b"echo", b"hello"])));
    bench.fetch(1);
    for ticket in 1..=2 {
        bench.give(DeskInput::Forget(RequestTicket(ticket)));
    }
    assert!(bench.give(DeskInput::Walked { command: id(1), found: Walked::Unknown }).is_empty());
    assert!(bench.desk.waiting.is_empty() && bench.desk.timers.is_empty());
}

#[test]
fn there_is_a_limit_to_what_is_open() {
    let mut bench = Bench::new();
    bench.step(1, 0, Step::Accepted(accepted("do")));
    let fetch = CommandRequest::Reply { id: id(1), wait_ms: 9_000 };
    for _ in 0..PARKED_MAX {
        assert!(bench.command(fetch.clone()).is_empty());
    }
    assert_eq!(map(&bench.command(fetch)).status, Status::pending(), "ask again");
    for _ in PARKED_MAX..OPEN_MAX {
        bench.fetch(2);
    }
    answers(&bench.fetch(2), &["500 too many requests are open; ask again later"]);
}
