//! What commits under which rule at which level.

use std::sync::atomic::{AtomicBool, AtomicUsize};

use super::*;

const fn log(last: u64, committed: u64) -> KnownLog {
    KnownLog { first: Sequence(1), last: Sequence(last), committed: Sequence(committed) }
}

#[test]
fn the_level_decides_what_is_committed() {
    let rows =
        [(Durability::Memory, 5, 5, 3), (Durability::Local, 0, 3, 3), (Durability::Pair, 0, 3, 3)];
    for (level, after_write, after_sync, evidence) in rows {
        let marks = Watermarks::new(level, CommitRule::Alone, log(0, 0));
        marks.raise_written(Sequence(5));
        assert_eq!(marks.committed(), Sequence(after_write), "{level}");
        assert_eq!(marks.everywhere(), Sequence(0));
        marks.raise_durable(Sequence(3));
        assert_eq!(marks.committed(), Sequence(after_sync), "{level}");
        assert_eq!(marks.everywhere(), Sequence(evidence));
    }
}

/// Written 9, durable 7, copied 5, synced there 4, told 6: what each rule makes of that.
#[test]
fn the_rule_decides_what_counts() {
    use CommitRule::{Alone, Both, Held, Told};
    let rows = [
        (Durability::Memory, Held, 0, 0),
        (Durability::Memory, Alone, 9, 7),
        (Durability::Memory, Both, 5, 4),
        (Durability::Memory, Told, 6, 0),
        (Durability::Local, Held, 0, 0),
        (Durability::Local, Alone, 7, 7),
        (Durability::Local, Both, 7, 5),
        (Durability::Local, Told, 6, 6),
        (Durability::Pair, Held, 0, 0),
        (Durability::Pair, Alone, 7, 7),
        (Durability::Pair, Both, 5, 5),
        (Durability::Pair, Told, 6, 6),
    ];
    for (level, rule, committed, everywhere) in rows {
        let marks = Watermarks::new(level, Held, log(0, 0));
        marks.raise_written(Sequence(9));
        marks.raise_durable(Sequence(7));
        marks.raise_synced(Sequence(4));
        marks.raise_copied(Sequence(5));
        assert_eq!(marks.committed(), Sequence(0), "{level}: nothing commits while it is held");
        if rule == Told {
            marks.set_rule(Told);
            marks.raise_told(Sequence(6));
        } else {
            marks.set_rule(rule);
        }
        assert_eq!(marks.committed(), Sequence(committed), "{level} {rule:?}");
        assert_eq!(marks.everywhere(), Sequence(everywhere), "{level} {rule:?}");
        let held = if level == Durability::Memory { committed } else { everywhere };
        assert_eq!(marks.held(), Sequence(held), "{level} {rule:?}");
        marks.set_rule(Held);
        assert_eq!(marks.committed(), Sequence(committed), "nothing goes back");
    }
}

#[test]
fn what_another_node_said_before_does_not_count() {
    let marks = Watermarks::new(Durability::Pair, CommitRule::Told, log(0, 0));
    marks.raise_told(Sequence(9));
    marks.reset_told();
    marks.raise_written(Sequence(9));
    marks.raise_durable(Sequence(9));
    assert_eq!(marks.committed(), Sequence(0));
    marks.raise_told(Sequence(3));
    assert_eq!(marks.committed(), Sequence(3));
    marks.set_rule(CommitRule::Both);
    marks.raise_copied(Sequence(5));
    assert_eq!((marks.committed(), marks.copied()), (Sequence(5), Sequence(5)));
    marks.reset_copied();
    marks.raise_copied(Sequence(2));
    assert_eq!((marks.committed(), marks.copied()), (Sequence(5), Sequence(2)));
    marks.set_rule(CommitRule::Told);
    assert_eq!(marks.committed(), Sequence(5), "what was told before another rule is forgotten");
}

#[test]
fn listeners_hear_once_per_move() {
    let marks = Watermarks::new(Durability::Local, CommitRule::Alone, log(0, 0));
    let (commits, moves) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
    let counter = Arc::clone(&commits);
    marks.on_commit(Arc::new(move || {
        counter.fetch_add(1, Ordering::Relaxed);
    }));
    let list = Arc::clone(&moves);
    marks.on_move(Arc::new(move |moved| list.lock().unwrap().push(moved)));
    let heard = || (commits.load(Ordering::Relaxed), std::mem::take(&mut *moves.lock().unwrap()));
    marks.raise_written(Sequence(4));
    assert_eq!(heard(), (0, vec![Moved::Written]));
    marks.raise_durable(Sequence(2));
    marks.raise_durable(Sequence(2));
    assert_eq!(heard(), (1, vec![Moved::Durable]));
    marks.set_rule(CommitRule::Held);
    marks.raise_durable(Sequence(4));
    assert_eq!(heard(), (1, vec![Moved::Durable]));
    marks.set_rule(CommitRule::Alone);
    assert_eq!(heard(), (2, vec![]));
}

#[test]
fn a_waiter_wakes_when_the_head_moves() {
    let marks = Arc::new(Watermarks::new(Durability::Memory, CommitRule::Alone, log(7, 7)));
    assert_eq!(marks.wait_past(Sequence(6), Duration::ZERO), Sequence(7));
    assert_eq!(marks.wait_past(Sequence(7), Duration::from_millis(1)), Sequence(7));
    let other = Arc::clone(&marks);
    let waiter = std::thread::spawn(move || other.wait_past(Sequence(7), Duration::from_secs(20)));
    marks.raise_written(Sequence(9));
    assert_eq!(waiter.join().unwrap(), Sequence(9));
}

#[test]
fn no_commit_by_the_former_rule_follows_a_change() {
    for round in 0..200_u64 {
        let marks = Arc::new(Watermarks::new(Durability::Pair, CommitRule::Alone, log(0, 0)));
        let stop = Arc::new(AtomicBool::new(false));
        let writer = {
            let (marks, stop) = (Arc::clone(&marks), Arc::clone(&stop));
            std::thread::spawn(move || {
                for sequence in (1..).map(Sequence) {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    marks.raise_written(sequence);
                    marks.raise_durable(sequence);
                }
            })
        };
        while marks.committed() < Sequence(round % 7 + 1) {
            std::thread::yield_now();
        }
        marks.set_rule(CommitRule::Held);
        let head = marks.committed();
        let durable = marks.durable();
        while marks.durable() < Sequence(durable.0 + 50) {
            std::thread::yield_now();
        }
        assert_eq!(marks.committed(), head, "committed by a rule that had ended");
        stop.store(true, Ordering::Relaxed);
        writer.join().unwrap();
    }
}
