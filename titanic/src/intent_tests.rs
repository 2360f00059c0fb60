use client::command::{Accepted, CommandId, Session, StepEvent, Target};
use uuid::Uuid;

use super::*;

fn life(steps: &[Step]) -> CommandLife {
    let command = CommandId::new(Uuid::from_u128(1));
    let session = Session(Uuid::from_u128(2));
    let event = |step, what| StepEvent { command, step, session, at_ms: 0, what };
    let accepted = Accepted {
        target: Target::new("echo").unwrap(),
        body: Body::default(),
        not_before_ms: 0,
        expires_ms: 0,
        attempts_max: 2,
    };
    let mut life = CommandLife::begin(&event(0, Step::Accepted(accepted))).unwrap();
    for (number, step) in (1..).zip(steps) {
        life.apply(&event(number, step.clone())).unwrap();
    }
    life
}

fn failed(attempt: u32) -> Step {
    Step::Failed { attempt, reason: "why".to_owned(), retry_ms: 9 }
}

fn dead(reason: &str) -> Step {
    Step::Dead { reason: reason.to_owned() }
}

fn replied(attempt: u32) -> Step {
    Step::Replied { attempt, body: Body::default() }
}

#[test]
fn every_intent_in_every_state() {
    let sent = |attempt| Step::Dispatched { attempt };
    let queued = life(&[]);
    let first = life(&[sent(1)]);
    let again = life(&[sent(1), failed(1)]);
    let last = life(&[sent(1), failed(1), sent(2)]);
    let kept = life(&[sent(1), replied(1)]);
    let gone = life(&[sent(1), dead("x")]);
    let over = life(&[Step::Closed]);
    let all = [&queued, &first, &again, &last, &kept, &gone, &over];
    let fail = |attempt| Intent::Fail { attempt, reason: "why".to_owned(), retry_ms: 9 };
    let reply = |attempt| Intent::Reply { attempt, body: Body::default() };
    let kill = Intent::Kill { attempt: 1, reason: "never".to_owned() };
    let requeue = Intent::Requeue { attempts: 3, expires_ms: 7 };
    let requeued = Step::Requeued { attempts_max: 4, expires_ms: 7 };
    let (no, yes) = (|| None, |step: Step| Some(step));
    let never = || yes(dead("never"));
    let expired = || yes(dead(EXPIRED));
    let close = || yes(Step::Closed);
    let rows: Vec<(Intent, [Option<Step>; 7])> = vec![
        // queued, first, again, last, kept, gone, over
        (Intent::Dispatch { attempt: 1 }, [yes(sent(1)), no(), no(), no(), no(), no(), no()]),
        (Intent::Dispatch { attempt: 2 }, [no(), no(), yes(sent(2)), no(), no(), no(), no()]),
        (Intent::Dispatch { attempt: 0 }, [no(), no(), no(), no(), no(), no(), no()]),
        (fail(1), [no(), yes(failed(1)), no(), no(), no(), no(), no()]),
        (fail(2), [no(), no(), no(), yes(dead("why")), no(), no(), no()]),
        (
            reply(1),
            [
                yes(replied(1)),
                yes(replied(1)),
                yes(replied(1)),
                yes(replied(1)),
                yes(replied(1)),
                no(),
                no(),
            ],
        ),
        (kill, [never(), never(), never(), never(), no(), no(), no()]),
        (Intent::Expire { attempt: 0 }, [expired(), no(), no(), no(), no(), no(), no()]),
        (Intent::Expire { attempt: 1 }, [no(), expired(), expired(), no(), no(), no(), no()]),
        (Intent::Close, [close(), close(), close(), close(), close(), close(), no()]),
        (requeue, [no(), no(), no(), no(), no(), yes(requeued), no()]),
    ];
    for (intent, verdicts) in rows {
        for (life, expected) in all.iter().zip(verdicts) {
            let expected = expected.map_or(Verdict::Moot, Verdict::Write);
            assert_eq!(intent.verdict(life), expected, "{intent:?} for {life:?}");
        }
    }
}

#[test]
fn what_is_written_is_legal() {
    // Of all intents in all states that can be reached in a few steps.
    let intents = [
        Intent::Dispatch { attempt: 1 },
        Intent::Dispatch { attempt: 2 },
        Intent::Fail { attempt: 1, reason: String::new(), retry_ms: 0 },
        Intent::Fail { attempt: 2, reason: String::new(), retry_ms: 0 },
        Intent::Reply { attempt: 1, body: Body::default() },
        Intent::Kill { attempt: 1, reason: String::new() },
        Intent::Expire { attempt: 1 },
        Intent::Close,
        Intent::Requeue { attempts: 1, expires_ms: 0 },
    ];
    let mut open = vec![life(&[])];
    for _ in 0..6 {
        let mut next = Vec::new();
        for before in open {
            for intent in &intents {
                let Verdict::Write(what) = intent.verdict(&before) else {
                    continue;
                };
                // A reply is only wanted for an attempt that was made.
                if matches!(what, Step::Replied { attempt, .. } if attempt > before.attempt()) {
                    continue;
                }
                let command = CommandId::new(Uuid::from_u128(1));
                let session = Session(Uuid::from_u128(2));
                let step = before.next();
                let mut after = before.clone();
                let event = StepEvent { command, step, session, at_ms: 0, what };
                after.apply(&event).unwrap();
                next.push(after);
            }
        }
        next.dedup();
        open = next;
    }
    assert!(!open.is_empty());
}
