//! How far a partition's log is written, durable and committed.
//!
//! ```text
//!  first                      committed        durable      written
//!    |---------- shown ----------|                |            |
//!    level local:  committed = durable         level memory:  committed = written
//! ```
//!
//! All are inclusive sequences, 0 before the first record, and all but `first` stand only at the
//! ends of appends. They are the only numbers that the writer and its readers share; none of them
//! ever goes back.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::append::Durability;
use crate::event::Sequence;

/// Called after the head has moved, once per batch. It must not block.
pub type CommitListener = Arc<dyn Fn() + Send + Sync>;

/// Shared by the writer and the readers of one partition.
pub struct Watermarks {
    level: Durability,
    first: AtomicU64,
    written: AtomicU64,
    durable: AtomicU64,
    committed: AtomicU64,
    listeners: RwLock<Vec<CommitListener>>,
    waiting: Mutex<usize>,
    moved: Condvar,
}

impl Watermarks {
    /// Those of a log that ends with `last`, all of it durable and committed.
    pub(crate) fn new(level: Durability, first: Sequence, last: Sequence) -> Self {
        Self {
            level,
            first: AtomicU64::new(first.0),
            written: AtomicU64::new(last.0),
            durable: AtomicU64::new(last.0),
            committed: AtomicU64::new(last.0),
            listeners: RwLock::new(Vec::new()),
            waiting: Mutex::new(0),
            moved: Condvar::new(),
        }
    }

    /// Oldest sequence that is kept.
    #[must_use]
    pub fn first(&self) -> Sequence {
        Sequence(self.first.load(Ordering::Acquire))
    }

    /// Handed to the operating system.
    #[must_use]
    pub fn written(&self) -> Sequence {
        Sequence(self.written.load(Ordering::Acquire))
    }

    /// Synced on this node.
    #[must_use]
    pub fn durable(&self) -> Sequence {
        Sequence(self.durable.load(Ordering::Acquire))
    }

    /// The head: what may be shown.
    #[must_use]
    pub fn committed(&self) -> Sequence {
        Sequence(self.committed.load(Ordering::Acquire))
    }

    /// What a power loss can't take and readers may see: stands in each new record as evidence for
    /// recovery.
    pub(crate) fn promised(&self) -> Sequence {
        self.committed().min(self.durable())
    }

    /// Has `listener` called whenever the head has moved.
    pub fn on_commit(&self, listener: CommitListener) {
        self.listeners.write().unwrap_or_else(PoisonError::into_inner).push(listener);
    }

    /// Waits until the head is above `sequence`, or the time is over. Returns the head.
    #[must_use]
    pub fn wait_past(&self, sequence: Sequence, timeout: Duration) -> Sequence {
        if self.committed() > sequence {
            return self.committed();
        }
        #[expect(clippy::disallowed_methods, reason = "blocks the calling loop with a deadline")]
        let (deadline, now) = (Instant::now().checked_add(timeout), Instant::now);
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        *waiting += 1;
        while self.committed() <= sequence {
            let left = deadline.map_or(Duration::MAX, |end| end.saturating_duration_since(now()));
            if left.is_zero() {
                break;
            }
            // A missed bound of `wait_timeout` only means another round.
            let round = left.min(Duration::from_secs(3600));
            let woken = self.moved.wait_timeout(waiting, round);
            waiting = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        *waiting -= 1;
        self.committed()
    }

    /// The writer has handed everything up to `last` to the operating system.
    pub(crate) fn raise_written(&self, last: Sequence) {
        self.written.fetch_max(last.0, Ordering::AcqRel);
        self.commit();
    }

    /// Everything up to `last` is synced.
    pub(crate) fn raise_durable(&self, last: Sequence) {
        self.durable.fetch_max(last.0, Ordering::AcqRel);
        self.commit();
    }

    /// The one place that decides what is committed.
    fn commit(&self) {
        let reached = match self.level {
            Durability::Memory => self.written(),
            Durability::Local => self.durable(),
        };
        assert!(self.durable() <= self.written(), "nothing is durable before it is written");
        let before = self.committed.fetch_max(reached.0, Ordering::AcqRel);
        if before < reached.0 {
            // The lock orders this wake-up after the check of a waiter that just missed it.
            if *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) > 0 {
                self.moved.notify_all();
            }
            for listener in &*self.listeners.read().unwrap_or_else(PoisonError::into_inner) {
                listener();
            }
        }
    }
}

impl std::fmt::Debug for Watermarks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watermarks")
            .field("first", &self.first())
            .field("written", &self.written())
            .field("durable", &self.durable())
            .field("committed", &self.committed())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[test]
    fn the_level_decides_what_is_committed() {
        let rows = [(Durability::Memory, 5, 5, 5), (Durability::Local, 0, 3, 3)];
        for (level, after_write, after_sync, promised) in rows {
            let marks = Watermarks::new(level, Sequence(1), Sequence(0));
            marks.raise_written(Sequence(5));
            assert_eq!(marks.committed(), Sequence(after_write), "{level}");
            assert_eq!(marks.promised(), Sequence(0));
            marks.raise_durable(Sequence(3));
            assert_eq!(marks.committed(), Sequence(after_sync), "{level}");
            assert_eq!(marks.promised(), Sequence(promised.min(3)));
        }
    }

    #[test]
    fn listeners_hear_once_per_move() {
        let marks = Watermarks::new(Durability::Local, Sequence(1), Sequence(0));
        let heard = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&heard);
        marks.on_commit(Arc::new(move || {
            counter.fetch_add(1, Ordering::Relaxed);
        }));
        marks.raise_written(Sequence(4));
        assert_eq!(heard.load(Ordering::Relaxed), 0);
        marks.raise_durable(Sequence(2));
        marks.raise_durable(Sequence(2));
        marks.raise_durable(Sequence(4));
        assert_eq!(heard.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_waiter_wakes_when_the_head_moves() {
        let marks = Arc::new(Watermarks::new(Durability::Memory, Sequence(1), Sequence(7)));
        assert_eq!(marks.wait_past(Sequence(6), Duration::ZERO), Sequence(7));
        assert_eq!(marks.wait_past(Sequence(7), Duration::from_millis(1)), Sequence(7));
        let other = Arc::clone(&marks);
        let waiter =
            std::thread::spawn(move || other.wait_past(Sequence(7), Duration::from_secs(20)));
        marks.raise_written(Sequence(9));
        assert_eq!(waiter.join().unwrap(), Sequence(9));
    }
}
