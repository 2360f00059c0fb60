use bytes::Bytes;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// A desk with a broker, and what it wants of the loop.
struct Bench {
    now: Instant,
    desk: CallDesk<&'static str>,
    outputs: Vec<CallOutput<&'static str>>,
}

impl Bench {
    fn new() -> Self {
        let mut bench = Self::without_broker();
        bench.give(CallInput::LinkUp);
        bench
    }

    #[expect(clippy::disallowed_methods, reason = "an arbitrary point to count from")]
    fn without_broker() -> Self {
        Self { now: Instant::now(), desk: CallDesk::default(), outputs: Vec::new() }
    }

    fn give(&mut self, input: CallInput<&'static str>) {
        self.desk.handle(self.now, input, &mut self.outputs);
    }

    /// A call with a second to live.
    fn call(&mut self, service: &str, once: bool, caller: &'static str) {
        let call = Call {
            service: name(service),
            body: vec![Bytes::from("question")],
            once,
            deadline: self.now + SECOND,
        };
        self.give(CallInput::Submit(call, caller));
    }

    fn reply(&mut self, service: &str, number: u64, code: Option<ErrorCode>, more: bool) {
        self.give(CallInput::Reply(ClientReply {
            service: name(service),
            number,
            epoch: 0,
            code,
            retry_after: Duration::ZERO,
            more,
            body: vec![Bytes::from("answer")],
        }));
    }

    /// Lets time pass, with a tick whenever the desk asks for one.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.desk.deadline().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.give(CallInput::Tick);
        }
        self.now = until;
    }

    /// Numbers that were sent since the last look, with the lowest that each carries.
    fn sent(&mut self) -> Vec<(u64, u64)> {
        let sent = |output: &CallOutput<_>| match output {
            CallOutput::Send(request) => Some((request.number, request.lowest)),
            CallOutput::Concluded(..) => None,
        };
        let numbers = self.outputs.iter().filter_map(sent).collect();
        self.outputs.retain(|output| matches!(output, CallOutput::Concluded(..)));
        numbers
    }

    fn concluded(&mut self) -> Vec<(&'static str, CallConclusion)> {
        let concluded = |output| match output {
            CallOutput::Concluded(caller, conclusion) => Some((caller, conclusion)),
            CallOutput::Send(_) => None,
        };
        std::mem::take(&mut self.outputs).into_iter().filter_map(concluded).collect()
    }

    fn conclusion(&mut self) -> CallConclusion {
        let [(_, conclusion)] = &self.concluded()[..] else { panic!("one call was to end") };
        conclusion.clone()
    }

    /// Nothing is kept of calls that are over.
    fn is_empty(&self) -> bool {
        let desk = &self.desk;
        desk.calls.is_empty() && desk.services.is_empty() && desk.timers.is_empty()
    }
}

fn name(service: &str) -> ServiceName {
    ServiceName::new(service.to_owned()).unwrap()
}

fn answer() -> CallConclusion {
    CallConclusion::Replied(vec![Bytes::from("answer")])
}

fn is_unknown(conclusion: &CallConclusion) -> bool {
    matches!(conclusion, CallConclusion::Unknown { .. })
}

#[test]
fn replies_are_matched_by_number_in_any_order() {
    let mut bench = Bench::new();
    bench.call("echo", false, "one");
    bench.call("echo", false, "two");
    bench.call("other", false, "three");
    assert_eq!(bench.sent(), [(1, 1), (2, 1), (3, 3)]);
    bench.reply("echo", 2, None, false);
    bench.reply("other", 1, None, false);
    bench.reply("echo", 9, None, false);
    assert_eq!(bench.concluded(), [("two", answer())]);
    bench.reply("echo", 1, None, false);
    bench.reply("echo", 1, None, false);
    assert_eq!(bench.concluded(), [("one", answer())]);
    bench.call("echo", false, "four");
    assert_eq!(bench.sent(), [(4, 4)]);
    bench.reply("other", 3, None, false);
    bench.reply("echo", 4, None, false);
    assert_eq!(bench.concluded().len(), 2);
    assert!(bench.is_empty());
}

#[test]
fn parts_are_put_together_and_bounded() {
    let mut bench = Bench::new();
    bench.call("echo", false, "one");
    bench.reply("echo", 1, None, true);
    bench.reply("echo", 1, None, true);
    assert_eq!(bench.concluded(), []);
    bench.reply("echo", 1, None, false);
    let parts = CallConclusion::Replied(vec![Bytes::from("answer"); 3]);
    assert_eq!(bench.conclusion(), parts);
    bench.call("echo", false, "endless");
    for _ in 0..=PARTS_FRAMES_MAX {
        bench.reply("echo", 2, None, true);
    }
    let CallConclusion::Refused(refusal) = bench.conclusion() else { panic!() };
    assert_eq!(refusal.code.outcome(), Outcome::Unknown);
    assert!(bench.is_empty());
}

#[test]
fn a_lost_broker_means_again_or_the_end() {
    let mut bench = Bench::new();
    bench.call("echo", false, "again");
    bench.call("echo", true, "once");
    assert_eq!(bench.sent().len(), 2);
    bench.reply("echo", 1, None, true);
    bench.give(CallInput::LinkDown);
    let ended = bench.concluded();
    assert!(matches!(&ended[..], [("once", conclusion)] if is_unknown(conclusion)), "{ended:?}");
    bench.give(CallInput::LinkUp);
    assert_eq!(bench.sent(), [(1, 1)], "the same number");
    bench.reply("echo", 1, None, false);
    assert_eq!(bench.conclusion(), answer(), "without the part of the first attempt");
    assert!(bench.is_empty());
}

#[test]
fn what_is_refused_for_the_moment_is_repeated() {
    let mut bench = Bench::new();
    bench.call("echo", false, "one");
    bench.sent();
    for code in [ErrorCode::BUSY, ErrorCode::NO_WORKER, ErrorCode::SERVICE_NOT_FOUND] {
        bench.reply("echo", 1, Some(code), false);
        assert_eq!(bench.sent(), [], "after a pause");
        bench.pass(PAUSE_MIN * 8);
        assert_eq!(bench.sent(), [(1, 1)], "{code}");
    }
    bench.reply("echo", 1, None, false);
    assert_eq!(bench.conclusion(), answer());
}

#[test]
fn the_last_refusal_tells_what_it_waited_for() {
    let mut bench = Bench::new();
    bench.call("echo", false, "one");
    for _ in 0..100 {
        for (number, _) in bench.sent() {
            bench.reply("echo", number, Some(ErrorCode::NO_WORKER), false);
        }
        bench.pass(SECOND / 50);
    }
    let CallConclusion::Refused(refusal) = bench.conclusion() else { panic!() };
    assert_eq!(refusal.code, ErrorCode::NO_WORKER);
    assert!(bench.is_empty());
}

#[test]
fn some_refusals_are_final() {
    let rows = [
        (false, ErrorCode::INVALID_ARGUMENT),
        (false, ErrorCode::EXPIRED),
        (false, ErrorCode::WORKER_LOST),
        (false, ErrorCode::INTERNAL),
        (true, ErrorCode::BUSY),
        (true, ErrorCode::NO_WORKER),
        (true, ErrorCode::WORKER_LOST),
        (true, ErrorCode::TIMEOUT_UNKNOWN),
    ];
    for (once, code) in rows {
        let mut bench = Bench::new();
        bench.call("echo", once, "one");
        bench.reply("echo", 1, Some(code), false);
        let CallConclusion::Refused(refusal) = bench.conclusion() else { panic!("{code}") };
        assert_eq!(refusal.code, code);
        assert!(bench.is_empty());
    }
}

#[test]
fn a_refusal_does_not_end_a_doubt() {
    let mut bench = Bench::new();
    bench.call("echo", false, "one");
    bench.give(CallInput::LinkDown);
    bench.give(CallInput::LinkUp);
    bench.reply("echo", 1, Some(ErrorCode::EXPIRED), false);
    assert!(is_unknown(&bench.conclusion()));
}

/// A broker that stops says that it does not know what will become of a request.
#[test]
fn what_a_stopping_broker_lets_go_of_is_repeated_in_doubt() {
    for answered in [true, false] {
        let mut bench = Bench::new();
        bench.call("echo", false, "one");
        bench.reply("echo", 1, Some(ErrorCode::TIMEOUT_UNKNOWN), false);
        bench.give(CallInput::LinkDown);
        bench.pass(PAUSE_MIN);
        bench.sent();
        bench.give(CallInput::LinkUp);
        assert_eq!(bench.sent(), [(1, 1)]);
        bench.reply("echo", 1, (!answered).then_some(ErrorCode::NO_WORKER), false);
        bench.pass(SECOND + GRACE);
        bench.sent();
        match bench.conclusion() {
            conclusion if answered => assert_eq!(conclusion, answer()),
            conclusion => assert!(is_unknown(&conclusion), "{conclusion:?}"),
        }
    }
}

#[test]
fn time_runs_out_before_and_after_it_left() {
    let mut bench = Bench::without_broker();
    bench.call("echo", false, "never left");
    bench.pass(SECOND);
    assert_eq!(bench.conclusion(), CallConclusion::NeverLeft);
    bench.give(CallInput::LinkUp);
    assert_eq!(bench.sent(), []);
    bench.call("echo", false, "unanswered");
    bench.pass(SECOND);
    assert_eq!(bench.concluded(), [], "the broker may still say what became of it");
    bench.pass(GRACE);
    assert!(is_unknown(&bench.conclusion()));
    bench.call("echo", false, "lost");
    bench.give(CallInput::LinkDown);
    bench.pass(SECOND);
    assert!(is_unknown(&bench.conclusion()));
    assert!(bench.is_empty());
}

#[test]
fn closing_tells_everybody() {
    let mut bench = Bench::new();
    bench.call("echo", false, "left");
    bench.sent();
    bench.give(CallInput::LinkDown);
    bench.call("echo", false, "stayed");
    bench.desk.close(&mut bench.outputs);
    let ended = bench.concluded();
    assert!(
        matches!(
            &ended[..],
            [("left", CallConclusion::Unknown { .. }), ("stayed", CallConclusion::NeverLeft),]
        ),
        "{ended:?}"
    );
    assert!(bench.is_empty());
}
