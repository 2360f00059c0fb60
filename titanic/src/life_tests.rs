use bytes::Bytes;
use client::command::{Body, CommandId, Target};
use uuid::Uuid;

use super::*;

const ME: Session = Session(Uuid::from_u128(7));

fn event(step: u32, what: Step) -> StepEvent {
    let command = CommandId::new(Uuid::from_u128(1));
    StepEvent { command, step, session: ME, at_ms: 1_000, what }
}

fn accepted() -> Step {
    Step::Accepted(Accepted {
        target: Target::new("echo").unwrap(),
        body: Body::new(vec![Bytes::from_static(b"hello")]).unwrap(),
        not_before_ms: 5_000,
        expires_ms: 9_000,
        attempts_max: 3,
    })
}

fn dispatched(attempt: u32) -> Step {
    Step::Dispatched { attempt }
}

fn failed(attempt: u32) -> Step {
    Step::Failed { attempt, reason: "no luck".to_owned(), retry_ms: 6_000 }
}

fn replied(attempt: u32) -> Step {
    Step::Replied { attempt, body: Body::default() }
}

fn dead() -> Step {
    Step::Dead { reason: "hopeless".to_owned() }
}

fn requeued() -> Step {
    Step::Requeued { attempts_max: 8, expires_ms: 0 }
}

/// A command after these steps, the first of which is Accepted.
fn life(steps: &[Step]) -> CommandLife {
    let mut life = CommandLife::begin(&event(0, accepted())).unwrap();
    for (index, step) in steps.iter().enumerate() {
        let number = u32::try_from(index).unwrap() + 1;
        life.apply(&event(number, step.clone())).unwrap();
    }
    life
}

#[test]
fn it_begins_with_accepted_and_nothing_else() {
    let life = life(&[]);
    assert_eq!(*life.state(), State::Queued { due_ms: 5_000 });
    assert_eq!((life.next(), life.attempt(), life.attempts_max()), (1, 0, 3));
    assert_eq!((life.accepted_ms(), life.expires_ms(), life.reason()), (1_000, 9_000, None));
    for step in [dispatched(1), failed(1), replied(1), Step::Closed, dead(), requeued()] {
        let name = step.name();
        let illegal = CommandLife::begin(&event(0, step.clone())).unwrap_err();
        assert!(matches!(illegal, Illegal::Order { step, .. } if step == name), "{illegal}");
        let illegal = CommandLife::begin(&event(1, step)).unwrap_err();
        assert_eq!(illegal, Illegal::Number { expected: 0, found: 1 });
    }
    assert!(CommandLife::begin(&event(1, accepted())).is_err());
}

/// Every state, and every step that may follow it; whatever is not here is illegal.
#[test]
fn every_step_in_every_state() {
    let queued_again = [dispatched(1), failed(1)];
    let states: [(&str, &[Step]); 8] = [
        ("queued", &[]),
        ("dispatched", &[dispatched(1)]),
        ("queued again", &queued_again),
        ("dispatched again", &[dispatched(1), failed(1), dispatched(2)]),
        ("replied", &[dispatched(1), replied(1)]),
        ("dead", &[dispatched(1), dead()]),
        ("requeued", &[dispatched(1), dead(), requeued()]),
        ("closed", &[Step::Closed]),
    ];
    let steps = [
        accepted(),
        dispatched(0),
        dispatched(1),
        dispatched(2),
        dispatched(3),
        failed(0),
        failed(1),
        failed(2),
        replied(0),
        replied(1),
        replied(2),
        replied(3),
        dead(),
        requeued(),
        Step::Closed,
    ];
    let of_others = State::Dispatched { session: ME };
    let late = State::Queued { due_ms: 6_000 };
    let kept = |step| State::Replied { step };
    let legal: Vec<(&str, Step, State)> = vec![
        ("queued", dispatched(1), of_others.clone()),
        ("queued", dead(), State::Dead),
        ("queued", Step::Closed, State::Closed),
        ("dispatched", failed(1), late.clone()),
        ("dispatched", replied(1), kept(2)),
        ("dispatched", dead(), State::Dead),
        ("dispatched", Step::Closed, State::Closed),
        ("queued again", dispatched(2), of_others.clone()),
        // The worker was slow and not dead.
        ("queued again", replied(1), kept(3)),
        ("queued again", dead(), State::Dead),
        ("queued again", Step::Closed, State::Closed),
        ("dispatched again", failed(2), late),
        ("dispatched again", replied(1), kept(4)),
        ("dispatched again", replied(2), kept(4)),
        ("dispatched again", dead(), State::Dead),
        ("dispatched again", Step::Closed, State::Closed),
        // A late reply is kept in the log, and counts for nothing.
        ("replied", replied(1), kept(2)),
        ("replied", Step::Closed, State::Closed),
        ("dead", requeued(), State::Queued { due_ms: 0 }),
        ("dead", Step::Closed, State::Closed),
        ("requeued", dispatched(2), of_others),
        ("requeued", replied(1), kept(4)),
        ("requeued", dead(), State::Dead),
        ("requeued", Step::Closed, State::Closed),
    ];
    for (name, before) in states {
        for step in &steps {
            let mut after = life(before);
            let known = after.clone();
            let result = after.apply(&event(known.next(), step.clone()));
            let expected = legal.iter().find(|(state, legal, _)| *state == name && legal == step);
            match expected {
                Some((.., state)) => {
                    assert!(result.is_ok(), "{name}, then {step:?}: {result:?}");
                    assert_eq!(after.state(), state, "{name}, then {step:?}");
                }
                None => {
                    assert!(
                        matches!(result, Err(Illegal::Order { .. })),
                        "{name}, then {step:?}: {result:?}"
                    );
                    assert_eq!(after.state(), known.state(), "{name}, then {step:?}");
                    assert_eq!(after.reason(), known.reason());
                    assert_eq!(after.attempt(), known.attempt());
                }
            }
            assert_eq!(after.next(), known.next() + 1, "its number is used up in any case");
        }
    }
}

#[test]
fn only_the_next_number_counts() {
    let mut life = life(&[dispatched(1)]);
    for number in [0, 1, 3, u32::MAX] {
        let before = life.clone();
        let illegal = life.apply(&event(number, Step::Closed)).unwrap_err();
        assert_eq!(illegal, Illegal::Number { expected: 2, found: number });
        assert_eq!(life, before);
    }
}

#[test]
fn the_first_reply_counts() {
    let mut life = life(&[dispatched(1), failed(1), dispatched(2), replied(2)]);
    assert_eq!(life.reason(), None, "what failed before is of no interest any more");
    assert_eq!(life.apply(&event(5, replied(1))), Ok(Effect::LateReply));
    assert_eq!(life.apply(&event(6, replied(2))), Ok(Effect::LateReply));
    assert_eq!(*life.state(), State::Replied { step: 4 });
    assert_eq!(life.apply(&event(7, Step::Closed)), Ok(Effect::Moved));
}

#[test]
fn a_dead_one_says_why_and_gets_more_attempts() {
    let mut life = life(&[dispatched(1), failed(1), dead()]);
    assert_eq!((life.reason(), life.expires_ms()), (Some("hopeless"), 9_000));
    life.apply(&event(4, requeued())).unwrap();
    assert_eq!((life.attempts_max(), life.expires_ms(), life.attempt()), (8, 0, 1));
    assert_eq!(life.apply(&event(5, dispatched(2))), Ok(Effect::Moved));
}
