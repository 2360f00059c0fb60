use client::PartitionNumber;
use client::command::{Accepted, Body, Step, Target};
use uuid::Uuid;

use super::*;

struct Bench {
    writes: Writes,
    view: View,
    now: Now,
    sequence: u64,
}

fn id() -> CommandId {
    CommandId::new(Uuid::from_u128(1))
}

fn me() -> Session {
    Session(Uuid::from_u128(1))
}

fn close() -> WriteInput {
    WriteInput::Want { command: id(), intent: Intent::Close }
}

fn dispatch() -> WriteInput {
    WriteInput::Want { command: id(), intent: Intent::Dispatch { attempt: 1 } }
}

fn appended(step: u32, result: Result<u64, AppendFailure>) -> WriteInput {
    WriteInput::Appended { command: id(), step, result: result.map(Sequence) }
}

impl Bench {
    /// One command is queued.
    fn new() -> Bench {
        #[expect(clippy::disallowed_methods, reason = "an arbitrary point to count from")]
        let instant = Instant::now();
        let now = Now { instant, unix_ms: 5 };
        let (writes, view) = (Writes::new(me()), View::new(1, false));
        let mut bench = Bench { writes, view, now, sequence: 0 };
        let accepted = Accepted {
            target: Target::new("echo").unwrap(),
            body: Body::default(),
            not_before_ms: 0,
            expires_ms: 0,
            attempts_max: 2,
        };
        bench.others_wrote(0, Step::Accepted(accepted));
        bench
    }

    /// The subscription shows a step of another process.
    fn others_wrote(&mut self, step: u32, what: Step) {
        self.sequence += 1;
        let session = Session(Uuid::from_u128(2));
        let event = StepEvent { command: id(), step, session, at_ms: 0, what };
        self.view.learn(Source::Log, Sequence(self.sequence), &event);
        self.view.passed(PartitionNumber(0), Sequence(self.sequence));
    }

    fn give(&mut self, input: WriteInput) -> Vec<WriteOutput> {
        let mut outputs = Vec::new();
        self.writes.handle(self.now, input, &mut self.view, &mut outputs);
        outputs
    }
}

fn append(outputs: &[WriteOutput]) -> StepEvent {
    match outputs {
        [.., WriteOutput::Append(event)] => event.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_step_is_written_and_learned() {
    let mut bench = Bench::new();
    let event = append(&bench.give(dispatch()));
    assert_eq!((event.step, event.session, event.at_ms), (1, me(), 5));
    assert_eq!(event.what, Step::Dispatched { attempt: 1 });
    let outputs = bench.give(appended(1, Ok(2)));
    let [WriteOutput::Learned { .. }, WriteOutput::Ended { written: Some(1), .. }] = &outputs[..]
    else {
        panic!("{outputs:?}");
    };
    assert_eq!(bench.view.get(id()).unwrap().life.attempt(), 1);
    assert_eq!(bench.writes.len(), 0);
}

#[test]
fn one_step_of_a_command_is_under_way_at_a_time() {
    let mut bench = Bench::new();
    append(&bench.give(dispatch()));
    assert!(bench.give(close()).is_empty());
    let second = append(&bench.give(appended(1, Ok(2))));
    assert_eq!((second.step, second.what), (2, Step::Closed));
}

#[test]
fn what_is_not_known_is_written_again_as_it_was() {
    let mut bench = Bench::new();
    let first = append(&bench.give(dispatch()));
    for failure in [AppendFailure::Again, AppendFailure::Refused("full".to_owned())] {
        assert!(bench.give(appended(1, Err(failure))).is_empty());
        assert!(bench.give(WriteInput::Tick).is_empty(), "not at once");
        bench.now.instant = bench.writes.deadline().unwrap();
        bench.now.unix_ms += 250;
        assert_eq!(append(&bench.give(WriteInput::Tick)), first, "with its old time, too");
    }
}

#[test]
fn who_comes_second_looks_and_starts_over() {
    let mut bench = Bench::new();
    append(&bench.give(close()));
    let walk = bench.give(appended(1, Err(AppendFailure::Reused)));
    assert!(matches!(walk[..], [WriteOutput::Walk { from: 1, .. }]), "{walk:?}");
    bench.others_wrote(1, Step::Dispatched { attempt: 1 });
    let again = append(&bench.give(WriteInput::Walked(id())));
    assert_eq!((again.step, again.what), (2, Step::Closed));
    // The other is even faster.
    bench.give(appended(2, Err(AppendFailure::Reused)));
    bench.others_wrote(2, Step::Closed);
    let ended = bench.give(WriteInput::Walked(id()));
    assert!(matches!(ended[..], [WriteOutput::Ended { written: None, .. }]), "{ended:?}");
}

#[test]
fn an_intent_that_came_to_nothing_makes_room() {
    let mut bench = Bench::new();
    append(&bench.give(dispatch()));
    bench.give(dispatch());
    bench.give(close());
    bench.give(appended(1, Err(AppendFailure::Reused)));
    bench.others_wrote(1, Step::Dispatched { attempt: 1 });
    let outputs = bench.give(WriteInput::Walked(id()));
    assert_eq!(outputs.len(), 3, "two are moot, and the close begins: {outputs:?}");
    assert_eq!(append(&outputs).what, Step::Closed);
}

#[test]
fn an_id_that_belongs_to_something_else_is_no_reason_to_spin() {
    let mut bench = Bench::new();
    append(&bench.give(close()));
    bench.give(appended(1, Err(AppendFailure::Reused)));
    assert!(bench.give(WriteInput::Walked(id())).is_empty());
    assert_eq!(bench.writes.deadline(), Some(bench.now.instant + PAUSE));
}

#[test]
fn answers_that_nobody_waits_for_change_nothing() {
    let mut bench = Bench::new();
    append(&bench.give(close()));
    for input in [appended(0, Ok(9)), appended(2, Ok(9)), WriteInput::Walked(id())] {
        assert!(bench.give(input).is_empty());
    }
    let command = CommandId::new(Uuid::from_u128(9));
    let result = Err(AppendFailure::Reused);
    assert!(bench.give(WriteInput::Appended { command, step: 1, result }).is_empty());
    let unknown = WriteInput::Want { command, intent: Intent::Close };
    let ended = bench.give(unknown);
    assert!(matches!(ended[..], [WriteOutput::Ended { written: None, .. }]), "{ended:?}");
}
