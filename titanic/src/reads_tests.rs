use client::command::{Session, Step};
use uuid::Uuid;

use super::*;

fn now() -> Now {
    #[expect(clippy::disallowed_methods, reason = "an arbitrary point to count from")]
    let instant = Instant::now();
    Now { instant, unix_ms: 0 }
}

fn id(number: u128) -> CommandId {
    CommandId::new(Uuid::from_u128(number))
}

fn logged(of: u128, step: u32) -> Option<Logged> {
    let session = Session(Uuid::from_u128(1));
    let event = StepEvent { command: id(of), step, session, at_ms: 0, what: Step::Closed };
    Some(Logged { sequence: Sequence(u64::from(step) + 1), entry: Some(Entry::Step(event)) })
}

fn give(reads: &mut Reads, now: Now, input: ReadInput) -> Vec<ReadOutput> {
    let mut outputs = Vec::new();
    reads.handle(now, input, &mut outputs);
    outputs
}

fn ticket(outputs: &[ReadOutput]) -> FindTicket {
    match outputs {
        [ReadOutput::Find(ticket)] => ticket.clone(),
        other => panic!("{other:?}"),
    }
}

const WALK: fn(u128) -> Read = |of| Read::Walk { command: id(of), from: 0 };

#[test]
fn a_walk_goes_on_until_a_step_is_missing() {
    let mut reads = Reads::default();
    let first = ticket(&give(&mut reads, now(), ReadInput::Want(WALK(1))));
    assert_eq!((first.from, first.count), (0, STRIDE));
    assert!(give(&mut reads, now(), ReadInput::Want(WALK(1))).is_empty(), "it is under way");
    let result = Ok((0..STRIDE).map(|step| logged(1, step)).collect());
    let second = ticket(&give(&mut reads, now(), ReadInput::Found { ticket: first, result }));
    assert_eq!(second.from, STRIDE);
    let found = (STRIDE..2 * STRIDE).map(|step| logged(1, step).filter(|_| step < STRIDE + 3));
    let result = Ok(found.collect());
    let done = give(&mut reads, now(), ReadInput::Found { ticket: second, result });
    let [ReadOutput::Done { steps, .. }] = &done[..] else {
        panic!("{done:?}");
    };
    let numbers: Vec<u32> = steps.iter().map(|(_, event)| event.step).collect();
    assert_eq!(numbers, (0..STRIDE + 3).collect::<Vec<u32>>());
    assert_eq!(reads.len(), 0);
}

#[test]
fn nothing_counts_that_is_not_the_step_asked_for() {
    let foreign = Some(Logged { sequence: Sequence(1), entry: None });
    for wrong in [logged(2, 1), logged(1, 2), foreign, None] {
        let mut reads = Reads::default();
        let ticket = ticket(&give(&mut reads, now(), ReadInput::Want(WALK(1))));
        let result = Ok(vec![logged(1, 0), wrong, logged(1, 2)]);
        let done = give(&mut reads, now(), ReadInput::Found { ticket, result });
        let [ReadOutput::Done { steps, .. }] = &done[..] else {
            panic!("{done:?}");
        };
        assert_eq!(steps.len(), 1);
    }
}

#[test]
fn what_cannot_be_read_is_asked_for_again() {
    let (mut reads, now) = (Reads::default(), now());
    let read = Read::Body { command: id(1), step: 4 };
    let first = ticket(&give(&mut reads, now, ReadInput::Want(read)));
    let failed = ReadInput::Found { ticket: first.clone(), result: Err(()) };
    assert!(give(&mut reads, now, failed.clone()).is_empty());
    assert!(give(&mut reads, now, ReadInput::Tick).is_empty());
    let later = Now { instant: reads.deadline().unwrap(), unix_ms: 0 };
    assert_eq!(ticket(&give(&mut reads, later, ReadInput::Tick)), first);
    let result = Ok(vec![logged(1, 4)]);
    let found = ReadInput::Found { ticket: first, result };
    assert_eq!(give(&mut reads, later, found.clone()).len(), 1);
    assert!(give(&mut reads, later, found).is_empty(), "an answer counts once");
    assert!(give(&mut reads, later, failed).is_empty());
    assert_eq!(reads.deadline(), None);
}

#[test]
fn few_are_under_way_at_once() {
    let mut reads = Reads::default();
    let mut finds = Vec::new();
    for number in 0..1_000 {
        finds.extend(give(&mut reads, now(), ReadInput::Want(WALK(number))));
    }
    assert_eq!(finds.len(), UNDER_WAY_MAX);
    let mut done = 0;
    while let Some(output) = finds.pop() {
        match output {
            ReadOutput::Find(ticket) => {
                let found = ReadInput::Found { ticket, result: Ok(Vec::new()) };
                finds.extend(give(&mut reads, now(), found));
            }
            ReadOutput::Done { .. } => done += 1,
        }
    }
    assert_eq!(done, 1_000);
}
