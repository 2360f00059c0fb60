use broker::error_code::ErrorCode;
use client::command::Session;
use client::command::worker::Delivery;
use uuid::Uuid;

use super::*;

const UNIX_MS: u64 = 1_000_000;

struct Bench {
    dispatcher: Dispatcher,
    start: Instant,
    now: Now,
    /// Where workers of which names are.
    workers: BTreeSet<(usize, &'static str)>,
    outputs: Vec<DispatchOutput>,
}

fn command(number: u128) -> CommandId {
    CommandId::new(Uuid::from_u128(number))
}

fn ticket(number: u128, attempt: u32) -> CallTicket {
    CallTicket { command: command(number), attempt }
}

fn waiting(number: u128, service: &str) -> Waiting {
    let (attempt, due_ms, expires_ms) = (1, 0, 0);
    Waiting { command: command(number), service: service.into(), attempt, due_ms, expires_ms }
}

fn body() -> Body {
    Body::new(vec![Bytes::from_static(b"do")]).unwrap()
}

impl Bench {
    fn new(workers: &[(usize, &'static str)]) -> Bench {
        #[expect(clippy::disallowed_methods, reason = "an arbitrary point to count from")]
        let start = Instant::now();
        let settings = Settings {
            in_flight: 2,
            in_flight_total: 3,
            ..Settings::new(Session(Uuid::from_u128(9)), 1, 2)
        };
        let mut bench = Bench {
            dispatcher: Dispatcher::new(settings),
            start,
            now: Now { instant: start, unix_ms: UNIX_MS },
            workers: workers.iter().copied().collect(),
            outputs: Vec::new(),
        };
        bench.give(DispatchInput::BrokerUp(0));
        bench.give(DispatchInput::BrokerUp(1));
        bench
    }

    /// Takes an input; questions are answered at once, all else is kept.
    fn give(&mut self, input: DispatchInput) -> &mut Bench {
        let mut outputs = Vec::new();
        self.dispatcher.handle(self.now, input, &mut outputs);
        for output in outputs {
            match output {
                DispatchOutput::Ask(Inquiry { broker, service }) => {
                    let is_there = |(at, name): &(usize, &str)| *at == broker && *name == &*service;
                    let present = Some(self.workers.iter().any(is_there));
                    self.give(DispatchInput::Presence { broker, service, present });
                }
                other => self.outputs.push(other),
            }
        }
        self
    }

    fn queue(&mut self, number: u128, service: &str) -> &mut Bench {
        self.give(DispatchInput::Queue(waiting(number, service)))
    }

    fn committed(&mut self, number: u128, attempt: u32) -> &mut Bench {
        let ticket = ticket(number, attempt);
        self.give(DispatchInput::Dispatched { ticket, expires_ms: 0 })
    }

    fn body(&mut self, number: u128) -> &mut Bench {
        self.give(DispatchInput::Body { command: command(number), body: Some(body()) })
    }

    /// The command is with a worker.
    fn sent(&mut self, number: u128, service: &str) -> &mut Bench {
        self.queue(number, service).committed(number, 1).body(number);
        assert!(matches!(self.outputs.last(), Some(DispatchOutput::Call(_))));
        self.take();
        self
    }

    fn fails(&mut self, number: u128, attempt: u32, code: ErrorCode) -> &mut Bench {
        let result = Err(CallFailure { code, text: "why".to_owned() });
        self.give(DispatchInput::Called { ticket: ticket(number, attempt), result })
    }

    fn take(&mut self) -> Vec<DispatchOutput> {
        std::mem::take(&mut self.outputs)
    }

    /// Lets time pass, from deadline to deadline.
    fn sleep(&mut self, time: Duration) -> &mut Bench {
        let until = self.now.instant + time;
        let mut ticks = 0;
        while let Some(at) = self.dispatcher.deadline().filter(|at| *at <= until) {
            self.set(at.max(self.now.instant));
            self.give(DispatchInput::Tick);
            ticks += 1;
            assert!(ticks < 10_000, "it does not spin");
        }
        self.set(until);
        self
    }

    fn set(&mut self, instant: Instant) {
        let passed = u64::try_from((instant - self.start).as_millis()).unwrap();
        self.now = Now { instant, unix_ms: UNIX_MS + passed };
    }
}

fn dispatch(number: u128, attempt: u32) -> DispatchOutput {
    DispatchOutput::Write { command: command(number), intent: Intent::Dispatch { attempt } }
}

fn writes(number: u128, intent: Intent) -> DispatchOutput {
    DispatchOutput::Write { command: command(number), intent }
}

#[test]
fn a_command_goes_to_its_worker_and_the_reply_is_kept() {
    let mut bench = Bench::new(&[(0, "echo")]);
    assert_eq!(bench.queue(1, "echo").take(), [dispatch(1, 1)]);
    assert_eq!(bench.committed(1, 1).take(), [DispatchOutput::Fetch(command(1))]);
    let call = DispatchOutput::Call(Call {
        ticket: ticket(1, 1),
        broker: 0,
        service: "echo".into(),
        body: body().into_frames(),
        timeout: Duration::from_secs(60),
    });
    assert_eq!(bench.body(1).take(), [call]);
    let result = Ok(vec![Bytes::from_static(b"done")]);
    bench.give(DispatchInput::Called { ticket: ticket(1, 1), result });
    let body = Body::new(vec![Bytes::from_static(b"done")]).unwrap();
    assert_eq!(bench.take(), [writes(1, Intent::Reply { attempt: 1, body })]);
    assert!(bench.dispatcher.is_calling());
    bench.give(DispatchInput::Settled(ticket(1, 1)));
    assert_eq!((bench.dispatcher.under_way(), bench.dispatcher.is_calling()), (0, false));
}

#[test]
fn nothing_is_sent_before_its_dispatched_is_committed() {
    let mut bench = Bench::new(&[(0, "echo")]);
    bench.queue(1, "echo").take();
    bench.body(1).sleep(Duration::from_secs(100));
    let result = Ok(Vec::new());
    bench.give(DispatchInput::Called { ticket: ticket(1, 1), result });
    assert_eq!(bench.take(), []);
    // Somebody else began it.
    bench.give(DispatchInput::Settled(ticket(1, 1)));
    assert_eq!((bench.take(), bench.dispatcher.under_way()), (vec![], 0));
}

#[test]
fn workers_that_want_to_know_come_first() {
    let mut bench = Bench::new(&[(0, "echo"), (1, "echo+titanic")]);
    bench.queue(1, "echo").committed(1, 1).take();
    let taken = bench.body(1).take();
    let [DispatchOutput::Call(Call { broker: 1, service, body: frames, .. })] = &taken[..] else {
        panic!("no call");
    };
    assert_eq!(&**service, "echo+titanic");
    let delivery = Delivery::decode(&frames[0]).unwrap();
    assert_eq!(delivery, Delivery { id: command(1), attempt: 1 });
    assert_eq!(frames[1..], body().into_frames());
}

#[test]
fn no_attempt_is_begun_without_a_worker() {
    let mut bench = Bench::new(&[]);
    bench.queue(1, "echo").sleep(Duration::from_secs(100));
    assert_eq!(bench.take(), []);
    bench.workers.insert((1, "echo"));
    assert_eq!(bench.sleep(Duration::from_millis(250)).take(), [dispatch(1, 1)]);
}

#[test]
fn an_attempt_that_reached_nobody_is_sent_again_when_somebody_is_there() {
    for code in [ErrorCode::NO_WORKER, ErrorCode::SERVICE_NOT_FOUND] {
        let mut bench = Bench::new(&[(0, "echo")]);
        bench.sent(1, "echo");
        bench.workers.clear();
        assert_eq!(bench.fails(1, 1, code).sleep(Duration::from_secs(50)).take(), []);
        bench.workers.insert((0, "echo"));
        bench.sleep(Duration::from_millis(250));
        assert_eq!(bench.take(), [DispatchOutput::Fetch(command(1))], "{code}: attempt 1 again");
    }
    for code in [ErrorCode::BUSY, ErrorCode::EXPIRED] {
        let mut bench = Bench::new(&[(0, "echo")]);
        bench.sent(1, "echo");
        assert_eq!(bench.fails(1, 1, code).take(), [], "not at once");
        bench.sleep(Duration::from_millis(250));
        assert_eq!(bench.take(), [DispatchOutput::Fetch(command(1))]);
    }
}

#[test]
fn pauses_double_up_to_a_limit_and_differ() {
    let mut pauses = BTreeSet::new();
    for number in 0..20 {
        for attempt in 1..30 {
            let dispatcher = Bench::new(&[]).dispatcher;
            let pause = dispatcher.backoff(ticket(number, attempt));
            let whole = Duration::from_millis(500) * 2_u32.pow(attempt.min(12) - 1);
            let whole = whole.min(Duration::from_secs(300));
            assert!(pause >= whole / 2 && pause <= whole, "{attempt}: {pause:?}");
            pauses.insert(pause);
        }
    }
    assert!(pauses.len() > 500, "{}", pauses.len());
}

#[test]
fn a_lost_worker_costs_an_attempt() {
    let mut bench = Bench::new(&[(0, "echo")]);
    bench.sent(1, "echo").fails(1, 1, ErrorCode::WORKER_LOST);
    let [DispatchOutput::Write { intent: Intent::Fail { attempt: 1, reason, retry_ms }, .. }] =
        &bench.take()[..]
    else {
        panic!("no failure");
    };
    assert_eq!(reason, "WORKER_LOST why");
    assert!((UNIX_MS + 250..=UNIX_MS + 500).contains(retry_ms), "{retry_ms}");
    let again = Waiting { attempt: 2, due_ms: *retry_ms, ..waiting(1, "echo") };
    bench.give(DispatchInput::Queue(again));
    bench.give(DispatchInput::Settled(ticket(1, 1)));
    assert_eq!(bench.take(), [], "not before its time");
    assert_eq!(bench.sleep(Duration::from_millis(500)).take(), [dispatch(1, 2)]);
}

#[test]
fn each_service_has_its_own_limit() {
    let mut bench = Bench::new(&[(0, "slow"), (0, "fast")]);
    for number in 1..=5 {
        bench.queue(number, "slow");
    }
    assert_eq!(bench.take(), [dispatch(1, 1), dispatch(2, 1)]);
    assert_eq!(bench.queue(6, "fast").take(), [dispatch(6, 1)], "nobody waits for the slow one");
    bench.give(DispatchInput::Settled(ticket(2, 1)));
    assert_eq!(bench.take(), [dispatch(3, 1)]);
}

#[test]
fn all_together_have_a_limit_too() {
    let mut bench = Bench::new(&[(0, "a"), (0, "b"), (0, "c")]);
    for (number, service) in [(1, "a"), (2, "a"), (3, "b"), (4, "b"), (5, "c")] {
        bench.queue(number, service);
    }
    assert_eq!(bench.take(), [dispatch(1, 1), dispatch(2, 1), dispatch(3, 1)]);
    bench.give(DispatchInput::Settled(ticket(1, 1)));
    assert_eq!(bench.take(), [dispatch(4, 1)]);
    bench.give(DispatchInput::Settled(ticket(2, 1)));
    assert_eq!(bench.take(), [dispatch(5, 1)], "everybody gets a turn");
}

#[test]
fn what_is_not_due_waits() {
    let mut bench = Bench::new(&[(0, "echo")]);
    let later = Waiting { due_ms: UNIX_MS + 60_000, ..waiting(1, "echo") };
    bench.give(DispatchInput::Queue(later));
    assert_eq!(bench.sleep(Duration::from_millis(59_900)).take(), []);
    assert_eq!(bench.sleep(Duration::from_millis(100)).take(), [dispatch(1, 1)]);
}

#[test]
fn what_has_an_end_dies_there() {
    let mut bench = Bench::new(&[]);
    let mortal = Waiting { expires_ms: UNIX_MS + 5_000, attempt: 3, ..waiting(1, "echo") };
    bench.give(DispatchInput::Queue(mortal.clone()));
    assert_eq!(bench.sleep(Duration::from_millis(4_999)).take(), []);
    let expired = writes(1, Intent::Expire { attempt: 2 });
    assert_eq!(bench.sleep(Duration::from_millis(1)).take(), [expired]);
    bench.workers.insert((0, "echo"));
    assert_eq!(bench.sleep(Duration::from_secs(60)).take(), [], "it left the queue");
    // One whose attempt never reached anybody.
    let mut bench = Bench::new(&[(0, "echo")]);
    bench.give(DispatchInput::Queue(Waiting { command: command(2), attempt: 1, ..mortal })).take();
    let ticket = ticket(2, 1);
    bench.workers.clear();
    let (command, service, due_ms, expires_ms) = (command(2), "echo".into(), 0, UNIX_MS + 5_000);
    bench.give(DispatchInput::Unqueue { command, service, due_ms, expires_ms });
    bench.give(DispatchInput::Dispatched { ticket, expires_ms });
    bench.body(2).take();
    bench.fails(2, 1, ErrorCode::NO_WORKER).sleep(Duration::from_millis(5_300));
    assert_eq!(bench.take(), [writes(2, Intent::Expire { attempt: 1 })]);
}

#[test]
fn what_is_over_is_not_sent() {
    let mut bench = Bench::new(&[]);
    bench.queue(1, "echo");
    let service: Arc<str> = "echo".into();
    let (command, due_ms, expires_ms) = (command(1), 0, 0);
    bench.give(DispatchInput::Unqueue { command, service, due_ms, expires_ms });
    bench.workers.insert((0, "echo"));
    assert_eq!(bench.sleep(Duration::from_secs(5)).take(), []);
    // One that is about to be sent.
    bench.queue(2, "echo").sleep(Duration::from_secs(1)).committed(2, 1).take();
    bench.give(DispatchInput::Withdrawn(ticket(2, 1))).body(2);
    assert_eq!((bench.take(), bench.dispatcher.under_way()), (vec![], 0));
    // One that is with a worker: its reply still counts.
    bench.sent(3, "echo").give(DispatchInput::Withdrawn(ticket(3, 1)));
    bench.give(DispatchInput::Called { ticket: ticket(3, 1), result: Ok(Vec::new()) });
    let reply = Intent::Reply { attempt: 1, body: Body::default() };
    assert_eq!(bench.take(), [writes(3, reply)]);
}

#[test]
fn answers_that_nobody_waits_for_change_nothing() {
    let mut bench = Bench::new(&[(0, "echo")]);
    bench.sent(1, "echo");
    let before = bench.dispatcher.clone();
    for (number, attempt) in [(1, 2), (2, 1), (2, 0)] {
        let ticket = ticket(number, attempt);
        bench.give(DispatchInput::Called { ticket, result: Ok(Vec::new()) });
        bench.give(DispatchInput::Dispatched { ticket, expires_ms: 0 });
        bench.give(DispatchInput::Withdrawn(ticket));
        bench.give(DispatchInput::Settled(ticket));
    }
    bench.body(1).body(2).committed(1, 1);
    bench.give(DispatchInput::Withdrawn(ticket(1, 1)));
    assert_eq!(bench.take(), []);
    assert_eq!(bench.dispatcher.attempts, before.attempts);
    bench.give(DispatchInput::Called { ticket: ticket(1, 1), result: Ok(Vec::new()) }).take();
    // The same answer twice.
    bench.give(DispatchInput::Called { ticket: ticket(1, 1), result: Ok(Vec::new()) });
    assert_eq!(bench.take(), []);
}

#[test]
fn a_lost_broker_takes_its_workers_along() {
    let mut bench = Bench::new(&[(0, "echo"), (1, "echo")]);
    bench.queue(1, "echo").committed(1, 1).take();
    bench.give(DispatchInput::BrokerDown(0)).body(1);
    assert!(matches!(bench.take()[..], [DispatchOutput::Call(Call { broker: 1, .. })]));
}

#[test]
fn a_body_that_is_missing_kills() {
    let mut bench = Bench::new(&[(0, "echo")]);
    bench.queue(1, "echo").committed(1, 1).take();
    bench.give(DispatchInput::Body { command: command(1), body: None });
    let [DispatchOutput::Write { intent, .. }] = &bench.take()[..] else {
        panic!("no death");
    };
    assert!(matches!(intent, Intent::Kill { attempt: 1, .. }), "{intent:?}");
}

#[test]
fn who_stops_begins_nothing_and_waits_for_its_workers() {
    let mut bench = Bench::new(&[(0, "echo")]);
    bench.sent(1, "echo").queue(2, "echo").take();
    bench.give(DispatchInput::Stop).committed(2, 1).queue(3, "other");
    assert_eq!(bench.sleep(Duration::from_secs(1)).take(), []);
    assert!(bench.dispatcher.is_calling());
    bench.give(DispatchInput::Called { ticket: ticket(1, 1), result: Ok(Vec::new()) });
    bench.give(DispatchInput::Settled(ticket(1, 1)));
    assert!(!bench.dispatcher.is_calling());
}

#[test]
fn a_hundred_thousand_dead_services_cost_little() {
    let mut bench = Bench::new(&[(0, "echo")]);
    for number in 0..100_000 {
        bench.queue(number, &format!("dead-{number}"));
    }
    bench.queue(100_000, "echo");
    assert_eq!(bench.sleep(Duration::from_millis(250)).take(), [dispatch(100_000, 1)]);
    let mut ticks = 0;
    let until = bench.now.instant + Duration::from_secs(1);
    while let Some(at) = bench.dispatcher.deadline().filter(|at| *at <= until) {
        bench.set(at.max(bench.now.instant));
        let mut outputs = Vec::new();
        bench.dispatcher.handle(bench.now, DispatchInput::Tick, &mut outputs);
        ticks += outputs.len();
        for output in outputs {
            if let DispatchOutput::Ask(Inquiry { broker, service }) = output {
                bench.give(DispatchInput::Presence { broker, service, present: Some(false) });
            }
        }
    }
    assert!(ticks <= 8 * ASKS_MAX, "{ticks} questions in a second");
}

#[test]
fn idle_services_are_forgotten() {
    let mut bench = Bench::new(&[(0, "echo")]);
    bench.sent(1, "echo");
    bench.give(DispatchInput::Called { ticket: ticket(1, 1), result: Ok(Vec::new()) });
    bench.give(DispatchInput::Settled(ticket(1, 1)));
    bench.sleep(Duration::from_secs(11));
    assert_eq!((bench.dispatcher.services.len(), bench.dispatcher.deadline()), (0, None));
}
