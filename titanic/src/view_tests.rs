use client::command::{Body, Session, Target};
use uuid::Uuid;

use super::*;

fn id(number: u128) -> CommandId {
    CommandId::new(Uuid::from_u128(number))
}

fn event(of: u128, step: u32, what: Step) -> StepEvent {
    let session = Session(Uuid::from_u128(1));
    StepEvent { command: id(of), step, session, at_ms: 1, what }
}

fn accepted(of: u128) -> StepEvent {
    let what = Step::Accepted(Accepted {
        target: Target::new(format!("service-{}", of % 2)).unwrap(),
        body: Body::default(),
        not_before_ms: 0,
        expires_ms: 0,
        attempts_max: 2,
    });
    event(of, 0, what)
}

fn closed(of: u128, step: u32) -> StepEvent {
    event(of, step, Step::Closed)
}

fn view() -> View {
    View::new(1, true)
}

fn log(view: &mut View, sequence: u64, event: &StepEvent) -> Learned {
    let learned = view.learn(Source::Log, Sequence(sequence), event);
    view.passed(PartitionNumber(0), Sequence(sequence));
    learned
}

fn aside(view: &mut View, sequence: u64, event: &StepEvent) -> Learned {
    view.learn(Source::Aside, Sequence(sequence), event)
}

#[test]
fn the_same_step_from_two_sides_is_one() {
    for log_first in [true, false] {
        let mut view = view();
        let learn = |view: &mut View, from_log: bool| match from_log {
            true => log(view, 1, &accepted(1)),
            false => aside(view, 1, &accepted(1)),
        };
        assert!(matches!(learn(&mut view, log_first), Learned::Changed(_)));
        assert_eq!(learn(&mut view, !log_first), Learned::Nothing);
        assert_eq!(view.len(), 1);
    }
}

#[test]
fn a_closed_command_stays_until_the_log_shows_it() {
    let mut view = view();
    aside(&mut view, 1, &accepted(1));
    aside(&mut view, 2, &closed(1, 1));
    assert_eq!(*view.get(id(1)).unwrap().life.state(), State::Closed);
    // The subscription is slower.
    assert_eq!(log(&mut view, 1, &accepted(1)), Learned::Nothing);
    assert_eq!(*view.get(id(1)).unwrap().life.state(), State::Closed);
    log(&mut view, 2, &closed(1, 1));
    assert!(view.is_empty());
    assert!(view.services.is_empty(), "no name stays behind");
}

#[test]
fn what_the_subscription_has_passed_is_not_learned_again() {
    let mut view = view();
    log(&mut view, 1, &accepted(1));
    log(&mut view, 2, &closed(1, 1));
    // The answer to our own append comes last.
    assert_eq!(aside(&mut view, 1, &accepted(1)), Learned::Nothing);
    assert!(view.is_empty());
}

#[test]
fn illegal_steps_are_named_and_change_nothing() {
    let mut view = view();
    log(&mut view, 1, &accepted(1));
    let failed = Step::Failed { attempt: 1, reason: String::new(), retry_ms: 0 };
    for (sequence, illegal) in [(2, event(1, 1, failed)), (3, event(1, 9, Step::Closed))] {
        assert!(matches!(log(&mut view, sequence, &illegal), Learned::Illegal(_)));
    }
    assert_eq!(*view.get(id(1)).unwrap().life.state(), State::Queued { due_ms: 0 });
    assert_eq!(view.get(id(1)).unwrap().life.next(), 2);
    // A command that nobody accepted.
    assert!(matches!(log(&mut view, 4, &event(2, 0, Step::Closed)), Learned::Illegal(_)));
    assert_eq!(log(&mut view, 5, &closed(3, 4)), Learned::Nothing);
}

#[test]
fn what_a_walk_finds() {
    let at = |sequence, event| (Sequence(sequence), event);
    let mut view = view();
    assert_eq!(view.adopt(&[]), Walked::Unknown);
    assert_eq!(view.adopt(&[at(1, closed(1, 0))]), Walked::Unknown);
    let Walked::Closed(record) = view.adopt(&[at(1, accepted(1)), at(2, closed(1, 1))]) else {
        panic!("it is closed");
    };
    assert_eq!(record.info(id(1)).state, client::command::CommandState::Closed);
    let open = [at(8, accepted(1)), at(9, event(1, 1, Step::Dispatched { attempt: 1 }))];
    view.passed(PartitionNumber(0), Sequence(9));
    assert_eq!(view.adopt(&open), Walked::Outdated, "it was closed meanwhile");
    let mut behind = View::new(1, false);
    behind.passed(PartitionNumber(0), Sequence(8));
    assert!(matches!(behind.adopt(&open), Walked::Open(_)));
    assert_eq!(behind.adopt(&open), Walked::Outdated);
    // And the log brings what is known.
    assert_eq!(log(&mut behind, 9, &open[1].1), Learned::Nothing);
    assert_eq!(behind.len(), 1);
}

#[test]
fn a_checkpoint_holds_what_is_open() {
    let mut view = view();
    for number in 1..=4 {
        log(&mut view, number, &accepted(number.into()));
    }
    log(&mut view, 5, &event(2, 1, Step::Dead { reason: "tired".to_owned() }));
    log(&mut view, 6, &closed(3, 1));
    let first = view.take_changed();
    let ids: BTreeSet<CommandId> = first.iter().map(|(command, _)| *command).collect();
    assert_eq!(ids, [id(1), id(2), id(4)].into(), "what opens and closes is never written");
    assert!(first.iter().all(|(_, record)| record.is_some()));
    assert_eq!(view.take_changed(), []);
    log(&mut view, 7, &closed(4, 1));
    log(&mut view, 8, &event(1, 1, Step::Dispatched { attempt: 1 }));
    let second = view.take_changed();
    assert_eq!(second.len(), 2);

    let mut restored = View::new(1, true);
    for (command, bytes) in first.into_iter().chain(second) {
        match bytes {
            Some(bytes) => restored.restore(command, &bytes).unwrap(),
            None => assert_eq!(command, id(4)),
        }
    }
    let infos = |view: &View| -> Vec<Info> {
        view.after(None).map(|(command, record)| record.info(command)).collect()
    };
    assert_eq!(restored.get(id(4)).unwrap().life.next(), 1, "its removal is the file's business");
    assert_eq!(restored.dead_len(), 1);
    restored.passed(PartitionNumber(0), Sequence(6));
    log(&mut restored, 7, &closed(4, 1));
    assert_eq!(infos(&restored), infos(&view));
    for damaged in [&b""[..], b"\x92\xc0", b"hello"] {
        assert!(restored.restore(id(9), damaged).is_err());
    }
}

#[test]
fn all_are_listed_once_whatever_the_pages() {
    let mut view = view();
    for number in 1..=200 {
        log(&mut view, number, &accepted(number.into()));
    }
    let all: Vec<CommandId> = view.after(None).map(|(command, _)| command).collect();
    assert_eq!(all.len(), 200);
    for page in [1, 7, 200] {
        let mut paged = Vec::new();
        let mut after = None;
        loop {
            let next: Vec<CommandId> = view.after(after).map(|(id, _)| id).take(page).collect();
            let Some(last) = next.last() else {
                break;
            };
            after = Some(*last);
            paged.extend(next);
        }
        assert_eq!(paged, all);
    }
}

#[test]
fn an_open_command_takes_few_bytes() {
    assert!(std::mem::size_of::<Record>() <= 112, "{}", std::mem::size_of::<Record>());
}
