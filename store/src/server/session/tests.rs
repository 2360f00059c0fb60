use bytes::Bytes;
use proptest::prelude::*;

use super::*;

const ONE: LinkNumber = LinkNumber(0);
const TWO: LinkNumber = LinkNumber(1);

fn id(number: u8) -> SessionId {
    SessionId([number; 16])
}

fn answer(text: &'static str) -> Answer {
    Answer::done(Bytes::from_static(text.as_bytes()))
}

fn arrival(number: u64, lowest: u64) -> Arrival {
    Arrival { session: id(1), number, lowest, asker: ONE }
}

/// One step of a table test.
enum Step {
    /// A message (number, lowest) arrives.
    Arrive(u64, u64, Decision),
    /// The answer to a message is ready.
    Answer(u64, &'static str),
    /// A message could not be begun.
    Retract(u64),
}

use Decision::{Again, Execute, Hole, LookUp, UnderWay};
use Step::{Answer as Answered, Arrive, Retract};

fn check(name: &str, steps: Vec<Step>) {
    let mut table = SessionTable::default();
    for (number, step) in steps.into_iter().enumerate() {
        match step {
            Arrive(message, lowest, expected) => {
                let decision = table.arrive(arrival(message, lowest));
                assert_eq!(decision, expected, "{name}, step {number}");
            }
            Answered(message, text) => {
                table.answered(id(1), message, &answer(text));
            }
            Retract(message) => table.retract(id(1), message),
        }
    }
}

#[test]
fn the_rules_for_known_sessions() {
    check(
        "in order",
        vec![
            Arrive(1, 1, Execute),
            Arrive(2, 1, Execute),
            Answered(1, "a"),
            Answered(2, "b"),
            Arrive(3, 3, Execute),
        ],
    );
    check(
        "a hole says what is expected, and is filled",
        vec![
            Arrive(1, 1, Execute),
            Arrive(3, 1, Hole { expected: 2 }),
            Arrive(2, 1, Execute),
            Arrive(3, 1, Execute),
        ],
    );
    check(
        "a duplicate of an answered one gets the kept answer",
        vec![
            Arrive(1, 1, Execute),
            Answered(1, "a"),
            Arrive(1, 1, Again(answer("a"))),
            Arrive(2, 1, Execute),
            Arrive(1, 1, Again(answer("a"))),
        ],
    );
    check(
        "a duplicate of one under way waits for its answer",
        vec![
            Arrive(1, 1, Execute),
            Arrive(1, 1, UnderWay),
            Answered(1, "a"),
            Arrive(1, 1, Again(answer("a"))),
        ],
    );
    check(
        "what the client has is no longer kept, and never executed again",
        vec![Arrive(1, 1, Execute), Answered(1, "a"), Arrive(2, 2, Execute), Arrive(1, 1, LookUp)],
    );
}

#[test]
fn the_rules_for_unknown_sessions_and_for_lowest() {
    check(
        "an unknown session starts at its lowest",
        vec![Arrive(7, 7, Execute), Arrive(8, 7, Execute)],
    );
    check(
        "an unknown session that begins above its lowest has a hole",
        vec![Arrive(9, 7, Hole { expected: 7 }), Arrive(7, 7, Execute), Arrive(8, 7, Execute)],
    );
    check(
        "an unknown session's message below its lowest is only looked up",
        vec![Arrive(3, 7, LookUp), Arrive(7, 7, Execute)],
    );
    check(
        "lowest moves what is expected",
        vec![Arrive(1, 1, Execute), Arrive(5, 5, Execute), Arrive(4, 5, LookUp)],
    );
    check(
        "a stale lowest moves nothing back",
        vec![Arrive(5, 5, Execute), Arrive(6, 1, Execute), Arrive(4, 1, LookUp)],
    );
    check(
        "a retracted message is expected again",
        vec![
            Arrive(1, 1, Execute),
            Retract(1),
            Arrive(2, 1, Hole { expected: 1 }),
            Arrive(1, 1, Execute),
            Arrive(2, 1, Execute),
        ],
    );
    check("number zero is nobody's turn", vec![Arrive(0, 0, LookUp)]);
    check(
        "the largest number does not overflow",
        vec![Arrive(u64::MAX, u64::MAX, Execute), Answered(u64::MAX, "z")],
    );
}

#[test]
fn every_broker_that_brought_a_message_gets_its_answer() {
    let mut table = SessionTable::default();
    assert_eq!(table.arrive(arrival(1, 1)), Execute);
    assert_eq!(table.arrive(Arrival { asker: TWO, ..arrival(1, 1) }), UnderWay);
    assert_eq!(table.arrive(Arrival { asker: TWO, ..arrival(1, 1) }), UnderWay);
    assert_eq!(table.answered(id(1), 1, &answer("a")), vec![ONE, TWO]);
    assert_eq!(table.answered(id(1), 1, &answer("a")), Vec::new());
}

#[test]
fn only_the_last_answers_are_kept() {
    let mut table = SessionTable::default();
    let kept = u64::try_from(ANSWERS_KEPT).unwrap();
    for number in 1..=kept + 1 {
        assert_eq!(table.arrive(arrival(number, 1)), Execute);
        table.answered(id(1), number, &answer("a"));
    }
    assert_eq!(table.arrive(arrival(1, 1)), LookUp);
    assert_eq!(table.arrive(arrival(2, 1)), Again(answer("a")));
}

#[test]
fn the_session_unused_for_longest_makes_room_unless_it_has_work_under_way() {
    let limits = SessionLimits { sessions_max: 2, answer_bytes_max: 1000 };
    let mut table = SessionTable::new(limits);
    let first = |session: u8| Arrival { session: id(session), ..arrival(1, 1) };
    assert_eq!(table.arrive(first(1)), Execute);
    assert_eq!(table.arrive(first(2)), Execute);
    assert_eq!(table.arrive(first(3)), Decision::Full);
    table.answered(id(2), 1, &answer("b"));
    assert_eq!(table.arrive(first(3)), Execute);
    // Session 1 was kept, session 2 was forgotten: it starts anew at its lowest.
    assert_eq!(table.arrive(first(1)), UnderWay);
    table.answered(id(3), 1, &answer("c"));
    assert_eq!(table.arrive(first(2)), Execute);
}

#[test]
fn kept_answers_are_bounded_in_bytes() {
    let limits = SessionLimits { sessions_max: 100, answer_bytes_max: 250 };
    let mut table = SessionTable::new(limits);
    let long = Answer::done(Bytes::from(vec![0; 100]));
    for session in 1..=3 {
        let arrival = Arrival { session: id(session), ..arrival(1, 1) };
        assert_eq!(table.arrive(arrival), Execute);
        table.answered(id(session), 1, &long);
    }
    assert_eq!(table.arrive(arrival(1, 1)), LookUp);
    let newest = Arrival { session: id(3), ..arrival(1, 1) };
    assert_eq!(table.arrive(newest), Again(long));
}

proptest! {
    /// Whatever comes in whatever order: within a session, numbers are executed in ascending
    /// order and none twice.
    #[test]
    fn numbers_are_executed_in_order_and_once(
        steps in proptest::collection::vec((0..12_u64, 0..12_u64, any::<bool>()), 1..200)
    ) {
        let mut table = SessionTable::default();
        let mut last = 0;
        for (number, lowest, answered) in steps {
            if table.arrive(arrival(number, lowest)) == Execute {
                prop_assert!(number > last);
                last = number;
                if answered {
                    table.answered(id(1), number, &answer("a"));
                }
            }
        }
    }
}
