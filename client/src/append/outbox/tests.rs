use store::event::{Sequence, Version, Versions};

use super::*;
use crate::append::Durability;

const ATTEMPT: Duration = Duration::from_secs(2);
const TIME: Duration = Duration::from_secs(10);

/// An outbox whose messages each hold one append, named by a number.
struct Bench {
    outbox: Outbox<u32>,
    now: Instant,
    outputs: Vec<OutboxOutput<u32>>,
}

impl Bench {
    #[expect(clippy::disallowed_methods, reason = "an arbitrary point to count from")]
    fn new() -> Self {
        Self { outbox: Outbox::new(ATTEMPT), now: Instant::now(), outputs: Vec::new() }
    }

    fn up_with(messages: u32) -> Self {
        let mut bench = Self::new();
        bench.give(OutboxInput::LinkUp);
        for append in 1..=messages {
            bench.submit(append);
        }
        assert_eq!(bench.sent(), (1..=u64::from(messages)).collect::<Vec<_>>());
        bench
    }

    fn give(&mut self, input: OutboxInput<u32>) {
        self.outbox.handle(self.now, input, &mut self.outputs);
    }

    fn submit(&mut self, append: u32) {
        let deadline = self.now + TIME;
        let payload = Bytes::from(vec![0; 100]);
        self.give(OutboxInput::Submit { payload, appends: vec![append], deadline });
    }

    fn done(&mut self, number: u64) {
        let done = AppendDone {
            first: Sequence(number),
            last: Sequence(number),
            versions: Versions::from([Version(number)]),
            durability: Durability::Local,
            duplicate: false,
        };
        self.answer(number, Ok(done));
    }

    fn answer(&mut self, number: u64, result: Result<AppendDone, AppendError>) {
        let answer = Answer {
            epoch: Epoch(1),
            durable_on: Arc::default(),
            results: vec![result],
            conflicts_last: true,
        };
        self.give(OutboxInput::Answered { number, answer });
    }

    fn refuse(&mut self, number: u64, code: ErrorCode) {
        let refusal = Refusal::new(code, "not now");
        self.give(OutboxInput::Refused { number, refusal });
    }

    fn refuse_expecting(&mut self, number: u64, expected: u64) {
        let mut refusal = Refusal::new(ErrorCode::UNEXPECTED_NUMBER, "a hole");
        let detail = broker::dialect::Detail::Number(expected);
        refusal.details.insert("expected".to_owned(), detail);
        self.give(OutboxInput::Refused { number, refusal });
    }

    fn after(&mut self, time: Duration) {
        self.now += time;
        self.give(OutboxInput::Tick);
    }

    /// Numbers sent since the last look, in order.
    fn sent(&mut self) -> Vec<u64> {
        let mut numbers = Vec::new();
        self.outputs.retain(|output| match output {
            OutboxOutput::Send { number, .. } => {
                numbers.push(*number);
                false
            }
            _ => true,
        });
        numbers
    }

    /// Appends concluded since the last look: `+` committed, `-` not done, `0` never left,
    /// `?` unknown.
    fn concluded(&mut self) -> String {
        let mut text = String::new();
        self.outputs.retain(|output| match output {
            OutboxOutput::Concluded { append, conclusion } => {
                let sign = match conclusion {
                    Conclusion::Committed { .. } => '+',
                    Conclusion::NotDone(_) => '-',
                    Conclusion::NeverLeft => '0',
                    Conclusion::Unknown { .. } => '?',
                };
                text.push_str(&format!("{append}{sign} "));
                false
            }
            _ => true,
        });
        text.trim_end().to_owned()
    }
}

#[test]
fn messages_are_numbered_from_one_and_carry_the_lowest_unanswered() {
    let mut bench = Bench::new();
    bench.submit(1);
    bench.submit(2);
    assert_eq!(bench.outputs, vec![], "nothing leaves while no broker listens");
    bench.give(OutboxInput::LinkUp);
    let lowest: Vec<_> = bench
        .outputs
        .iter()
        .map(|output| match output {
            OutboxOutput::Send { number, lowest, .. } => (*number, *lowest),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(lowest, vec![(1, 1), (2, 1)]);
    bench.done(1);
    bench.outputs.clear();
    bench.submit(3);
    assert!(matches!(bench.outputs[..], [OutboxOutput::Send { number: 3, lowest: 2, .. }]));
}

#[test]
fn each_append_has_its_own_result() {
    let mut bench = Bench::up_with(2);
    bench.done(2);
    bench.done(1);
    assert_eq!(bench.concluded(), "2+ 1+");
    bench.done(1);
    assert_eq!(bench.concluded(), "", "a second answer is ignored");
    assert_eq!(bench.outbox.under_way(), Window { messages: 0, bytes: 0 });
    assert_eq!(bench.outbox.deadline(), None);
}

#[test]
fn a_hole_is_filled_from_the_expected_number_on() {
    let mut bench = Bench::up_with(4);
    bench.done(1);
    // Message 2 got lost; 3 and 4 are refused.
    bench.refuse_expecting(3, 2);
    assert_eq!(bench.sent(), vec![2], "the lowest goes alone");
    bench.refuse_expecting(4, 2);
    assert_eq!(bench.sent(), [0_u64; 0], "the refusal of the first attempt is old news");
    bench.done(2);
    assert_eq!(bench.sent(), vec![3, 4]);
    bench.done(3);
    bench.done(4);
    assert_eq!(bench.concluded(), "1+ 2+ 3+ 4+");
}

#[test]
fn busy_pauses_everything_behind_it() {
    let mut bench = Bench::up_with(3);
    let mut refusal = Refusal::new(ErrorCode::BUSY, "full");
    refusal.retry_after = Some(Duration::from_millis(200));
    bench.give(OutboxInput::Refused { number: 1, refusal });
    bench.refuse_expecting(2, 1);
    bench.refuse_expecting(3, 1);
    bench.submit(4);
    assert_eq!(bench.sent(), [0_u64; 0]);
    bench.after(Duration::from_millis(199));
    assert_eq!(bench.sent(), [0_u64; 0]);
    bench.after(Duration::from_millis(1));
    assert_eq!(bench.sent(), vec![1]);
    bench.done(1);
    assert_eq!(bench.sent(), vec![2, 3, 4]);
}

#[test]
fn pauses_grow_while_refusals_go_on() {
    let rows = [
        (ErrorCode::BUSY, [10, 20, 40, 80, 160, 320, 640, 1000, 1000]),
        (ErrorCode::NOT_LEADER, [10, 20, 40, 80, 100, 100, 100, 100, 100]),
    ];
    for (code, expected) in rows {
        let mut bench = Bench::up_with(1);
        let pauses = expected.map(|_| {
            bench.refuse(1, code);
            let until = bench.outbox.paused_until.unwrap();
            let pause = until - bench.now;
            bench.after(pause);
            pause.as_millis()
        });
        assert_eq!(pauses, expected, "{code:?}");
    }
}

#[test]
fn a_pause_that_ends_while_a_message_travels_alone_wakes_nobody() {
    let late = PAUSE_MIN / 2;
    // When message 1, which travels alone, is answered after the refusal of message 2, in tenths
    // of the pause that follows this refusal, and when messages leave again.
    for (name, answered, leaves) in [("within the pause", 5, 10), ("after the pause", 15, 15)] {
        let mut bench = Bench::up_with(2);
        bench.refuse(1, ErrorCode::NO_WORKER);
        bench.after(PAUSE_MIN);
        assert_eq!(bench.sent(), vec![1], "{name}");
        let lost_at = bench.now + ATTEMPT;
        bench.after(late);
        bench.refuse(2, ErrorCode::NO_WORKER);
        let (refused_at, tenth) = (bench.now, PAUSE_MIN * 2 / 10);
        bench.after(tenth * answered);
        assert_eq!(bench.sent(), Vec::<u64>::new(), "{name}");
        assert_eq!(bench.outbox.deadline(), Some(lost_at), "{name}: only its loss is awaited");
        bench.done(1);
        if answered < leaves {
            assert_eq!(bench.outbox.deadline(), Some(refused_at + tenth * leaves), "{name}");
            bench.after(tenth * (leaves - answered));
        }
        assert_eq!(bench.sent(), vec![2], "{name}");
    }
}

#[test]
fn a_refusal_about_leaders_asks_for_the_topology() {
    for code in [ErrorCode::NOT_LEADER, ErrorCode::NO_WORKER, ErrorCode::STALE_TOPOLOGY] {
        let mut bench = Bench::up_with(1);
        bench.refuse(1, code);
        assert!(bench.outputs.contains(&OutboxOutput::AskTopology), "{code:?}");
    }
}

#[test]
fn what_a_failover_interrupts_is_sent_again_in_order_with_the_same_bytes() {
    use ErrorCode::{NOT_LEADER, STEPPING_DOWN, WORKER_LOST};
    for code in [NOT_LEADER, STEPPING_DOWN, WORKER_LOST] {
        let mut bench = Bench::up_with(4);
        bench.done(1);
        // The leader is gone; a new one knows nothing of the session and starts at its lowest.
        bench.refuse(2, code);
        bench.refuse_expecting(3, 2);
        bench.refuse_expecting(4, 2);
        assert_eq!(bench.sent(), [0_u64; 0], "{code:?}: a pause");
        assert_eq!(bench.concluded(), "1+", "{code:?}");
        bench.after(LEADER_PAUSE_MAX);
        bench.outputs.retain(|output| *output != OutboxOutput::AskTopology);
        let [OutboxOutput::Send { number: 2, lowest: 2, payload, .. }] = &bench.outputs[..] else {
            panic!("{code:?}: {:?}", bench.outputs);
        };
        assert_eq!(payload, &Bytes::from(vec![0; 100]));
        bench.outputs.clear();
        bench.done(2);
        assert_eq!(bench.sent(), vec![3, 4], "{code:?}");
        bench.done(3);
        bench.done(4);
        assert_eq!(bench.concluded(), "2+ 3+ 4+", "{code:?}");
    }
}

#[test]
fn which_answer_of_a_new_leader_ends_a_doubt() {
    let done = || AppendDone {
        first: Sequence(4),
        last: Sequence(4),
        versions: Versions::from([Version(4)]),
        durability: Durability::Pair,
        duplicate: true,
    };
    let conflict = |actual| AppendError::WrongExpectedVersion {
        stream: store::names::StreamName::try_from("order-1").unwrap(),
        expected: store::event::ExpectedVersion::Exact(Version(3)),
        actual: Some(Version(actual)),
    };
    // The answer, whether no failover takes it back, what is known then.
    let rows = [
        (Ok(done()), true, "1+"),
        (Ok(done()), false, "1+"),
        (Err(conflict(4)), true, "1-"),
        (Err(conflict(4)), false, "1?"),
        (Err(conflict(2)), true, "1?"),
        (Err(AppendError::IdReused { ids: Vec::new() }), true, "1?"),
    ];
    for (result, conflicts_last, concluded) in rows {
        let mut bench = Bench::up_with(1);
        bench.refuse(1, ErrorCode::WORKER_LOST);
        bench.after(PAUSE_MAX);
        let name = format!("{result:?} {conflicts_last}");
        let (epoch, results) = (Epoch(2), vec![result]);
        let answer = Answer { epoch, durable_on: Arc::default(), results, conflicts_last };
        bench.give(OutboxInput::Answered { number: 1, answer });
        bench.outputs.retain(|output| matches!(output, OutboxOutput::Concluded { .. }));
        assert_eq!(bench.concluded(), concluded, "{name}");
    }
}

#[test]
fn everything_unanswered_is_sent_again_to_the_next_broker_in_order() {
    let mut bench = Bench::up_with(3);
    bench.done(2);
    bench.give(OutboxInput::LinkDown);
    bench.submit(4);
    assert_eq!(bench.sent(), [0_u64; 0]);
    bench.give(OutboxInput::LinkUp);
    assert_eq!(bench.sent(), vec![1]);
    bench.done(1);
    assert_eq!(bench.sent(), vec![3, 4]);
}

#[test]
fn an_unanswered_attempt_is_repeated_after_a_while() {
    let mut bench = Bench::up_with(2);
    assert_eq!(bench.outbox.deadline(), Some(bench.now + ATTEMPT));
    bench.after(ATTEMPT);
    assert_eq!(bench.sent(), vec![1]);
    bench.done(1);
    assert_eq!(bench.sent(), vec![2]);
}

#[test]
fn outcomes_at_the_deadline() {
    // What happened before the deadline, and what is known then.
    type Story = fn(&mut Bench);
    let rows: [(&str, Story, &str); 8] = [
        ("no broker was found", |bench| bench.submit(1), "10"),
        (
            "refused every time",
            |bench| {
                bench.give(OutboxInput::LinkUp);
                bench.submit(1);
                bench.refuse(1, ErrorCode::NO_WORKER);
            },
            "1-",
        ),
        (
            "sent, no answer",
            |bench| {
                bench.give(OutboxInput::LinkUp);
                bench.submit(1);
            },
            "1?",
        ),
        (
            "sent, then the broker was gone",
            |bench| {
                bench.give(OutboxInput::LinkUp);
                bench.submit(1);
                bench.give(OutboxInput::LinkDown);
            },
            "1?",
        ),
        (
            "lost once, then refused",
            |bench| {
                bench.give(OutboxInput::LinkUp);
                bench.submit(1);
                bench.give(OutboxInput::LinkDown);
                bench.give(OutboxInput::LinkUp);
                bench.refuse(1, ErrorCode::BUSY);
            },
            "1?",
        ),
        (
            "refused, then the broker was gone",
            |bench| {
                bench.give(OutboxInput::LinkUp);
                bench.submit(1);
                bench.refuse(1, ErrorCode::BUSY);
                bench.give(OutboxInput::LinkDown);
            },
            "1-",
        ),
        (
            "the worker was lost",
            |bench| {
                bench.give(OutboxInput::LinkUp);
                bench.submit(1);
                bench.refuse(1, ErrorCode::WORKER_LOST);
                bench.give(OutboxInput::LinkDown);
            },
            "1?",
        ),
        (
            "refused, then sent again without an answer",
            |bench| {
                bench.give(OutboxInput::LinkUp);
                bench.submit(1);
                bench.refuse(1, ErrorCode::BUSY);
                bench.after(Duration::from_millis(10));
            },
            "1?",
        ),
    ];
    for (name, story, concluded) in rows {
        let mut bench = Bench::new();
        let deadline = bench.now + TIME;
        story(&mut bench);
        assert_eq!(bench.concluded(), "", "{name}: too early");
        bench.now = deadline;
        bench.give(OutboxInput::Tick);
        assert_eq!(bench.concluded(), concluded, "{name}");
        assert_eq!(bench.outbox.under_way().messages, 0, "{name}");
    }
}

#[test]
fn some_refusals_end_a_message_at_once() {
    let rows = [
        (ErrorCode::INVALID_ARGUMENT, "1-"),
        (ErrorCode::BATCH_TOO_LARGE, "1-"),
        (ErrorCode::DISK_FULL, "1-"),
        (ErrorCode::EXPIRED, "1-"),
        (ErrorCode::FORBIDDEN, "1-"),
        (ErrorCode::TIMEOUT_UNKNOWN, "1?"),
        (ErrorCode::BUSY, ""),
        (ErrorCode::STEPPING_DOWN, ""),
        (ErrorCode::POISONED, ""),
        (ErrorCode::WORKER_LOST, ""),
    ];
    for (code, concluded) in rows {
        let mut bench = Bench::up_with(1);
        bench.refuse(1, code);
        assert_eq!(bench.concluded(), concluded, "{code:?}");
    }
}

#[test]
fn a_refusal_after_a_lost_attempt_leaves_the_doubt() {
    let mut bench = Bench::up_with(1);
    bench.give(OutboxInput::LinkDown);
    bench.give(OutboxInput::LinkUp);
    bench.refuse(1, ErrorCode::INVALID_ARGUMENT);
    assert_eq!(bench.concluded(), "1?");
}

#[test]
fn a_given_up_message_leaves_no_hole() {
    let mut bench = Bench::up_with(1);
    bench.now += TIME / 2;
    bench.submit(2);
    bench.after(TIME / 2);
    assert_eq!(bench.concluded(), "1?");
    bench.outputs.clear();
    bench.give(OutboxInput::LinkDown);
    bench.give(OutboxInput::LinkUp);
    assert!(
        matches!(bench.outputs[..], [OutboxOutput::Send { number: 2, lowest: 2, .. }]),
        "{:?}",
        bench.outputs
    );
}

#[test]
fn a_reply_with_too_few_results_is_not_believed() {
    let mut bench = Bench::up_with(1);
    let answer = Answer {
        epoch: Epoch(1),
        durable_on: Arc::default(),
        results: vec![],
        conflicts_last: true,
    };
    bench.give(OutboxInput::Answered { number: 1, answer });
    assert_eq!(bench.concluded(), "");
    assert_eq!(bench.outbox.under_way().messages, 1);
}

#[test]
fn closing_concludes_all() {
    let mut bench = Bench::up_with(2);
    bench.give(OutboxInput::LinkDown);
    bench.submit(3);
    let mut outputs = Vec::new();
    bench.outbox.close(&mut outputs);
    bench.outputs = outputs;
    assert_eq!(bench.concluded(), "1? 2? 30");
}
