//! How far a partition's log is written, durable and committed.
//!
//! ```text
//!  first                      committed        durable      written
//!    |---------- shown ----------|                |            |
//!
//!             alone          both                     told
//!  memory     written        written and copied       told and written
//!  local      durable        durable                  told and durable
//!  pair       durable        durable and copied       told and durable
//! ```
//!
//! Which of the columns counts is the [`CommitRule`]. All marks are inclusive sequences, 0 before
//! the first record, and all but `first` stand only at the ends of appends. None of them ever goes
//! back, but for those of another node's copy when that node changes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::append::Durability;
use crate::event::Sequence;

/// Called after the head has moved, once per batch. It must not block.
pub type CommitListener = Arc<dyn Fn() + Send + Sync>;

/// Called after another mark has moved, once per batch. It must not block.
pub type MoveListener = Arc<dyn Fn(Moved) + Send + Sync>;

/// Which mark has moved. What is committed is told to the [`CommitListener`]s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moved {
    /// More is written.
    Written,
    /// More is synced.
    Durable,
}

/// What must be known before a record counts as committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CommitRule {
    /// Nothing commits.
    Held,
    /// This node alone decides.
    Alone,
    /// This node and the one that copies it.
    Both,
    /// Another node decides and tells.
    Told,
}

/// Shared by the writer and the readers of one partition.
pub struct Watermarks {
    level: Durability,
    first: AtomicU64,
    written: AtomicU64,
    durable: AtomicU64,
    committed: AtomicU64,
    /// Synced on every node that must have it, and committed.
    everywhere: AtomicU64,
    copied: AtomicU64,
    rule: Mutex<Ruling>,
    on_commit: RwLock<Vec<CommitListener>>,
    on_move: RwLock<Vec<MoveListener>>,
    waiting: Mutex<usize>,
    moved: Condvar,
}

/// What decides about commits. Whoever holds its lock is the only one who commits.
#[derive(Debug)]
struct Ruling {
    rule: CommitRule,
    /// The other node has it, in the way that the level asks for.
    copied: Sequence,
    /// The other node has synced it.
    synced: Sequence,
    /// Another node says that it is committed.
    told: Sequence,
}

impl Ruling {
    /// Up to where the log is committed, and up to where it is synced everywhere besides, when it
    /// is written and durable so far on this node.
    fn reach(&self, level: Durability, written: Sequence, durable: Sequence) -> Reach {
        let here = if level == Durability::Memory { written } else { durable };
        let both = durable.min(self.synced);
        match self.rule {
            CommitRule::Held => Reach::default(),
            CommitRule::Alone => Reach { committed: here, everywhere: durable },
            CommitRule::Both if level == Durability::Local => {
                Reach { committed: here, everywhere: both }
            }
            CommitRule::Both => Reach { committed: here.min(self.copied), everywhere: both },
            CommitRule::Told => {
                // At level memory nobody says that the other node has synced anything.
                let synced = if level == Durability::Memory { Sequence::ZERO } else { durable };
                Reach { committed: here.min(self.told), everywhere: synced.min(self.told) }
            }
        }
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Reach {
    committed: Sequence,
    everywhere: Sequence,
}

impl Watermarks {
    /// Those of a log that ends with `last`, all of it durable, and committed up to `committed`.
    pub(crate) fn new(level: Durability, rule: CommitRule, log: KnownLog) -> Self {
        let KnownLog { first, last, committed } = log;
        let zero = Sequence::ZERO;
        Self {
            level,
            first: AtomicU64::new(first.0),
            written: AtomicU64::new(last.0),
            durable: AtomicU64::new(last.0),
            committed: AtomicU64::new(committed.0),
            everywhere: AtomicU64::new(committed.0),
            copied: AtomicU64::new(0),
            rule: Mutex::new(Ruling { rule, copied: zero, synced: zero, told: zero }),
            on_commit: RwLock::new(Vec::new()),
            on_move: RwLock::new(Vec::new()),
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

    /// What the node that copies this one has; 0 where there is none.
    #[must_use]
    pub fn copied(&self) -> Sequence {
        Sequence(self.copied.load(Ordering::Acquire))
    }

    /// The rule by which commits are decided now.
    #[must_use]
    pub fn rule(&self) -> CommitRule {
        self.ruling().rule
    }

    /// Known to be committed and with every node that must have it: no cut goes below.
    #[must_use]
    pub fn held(&self) -> Sequence {
        match self.level {
            Durability::Memory => self.committed(),
            Durability::Local | Durability::Pair => self.everywhere(),
        }
    }

    /// Committed, and no power loss of any node can take it: stands in each new record as evidence
    /// for recovery.
    pub(crate) fn everywhere(&self) -> Sequence {
        Sequence(self.everywhere.load(Ordering::Acquire))
    }

    /// Whether records commit at this level before they are synced.
    pub(crate) fn commits_unsynced(&self) -> bool {
        self.level == Durability::Memory
    }

    /// Has `listener` called whenever the head has moved.
    pub fn on_commit(&self, listener: CommitListener) {
        self.on_commit.write().unwrap_or_else(PoisonError::into_inner).push(listener);
    }

    /// Has `listener` called whenever more is written or durable.
    pub fn on_move(&self, listener: MoveListener) {
        self.on_move.write().unwrap_or_else(PoisonError::into_inner).push(listener);
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
        let before = self.written.fetch_max(last.0, Ordering::AcqRel);
        self.commit(|_| ());
        self.tell_moved(before < last.0, Moved::Written);
    }

    /// Everything up to `last` is synced.
    pub(crate) fn raise_durable(&self, last: Sequence) {
        let before = self.durable.fetch_max(last.0, Ordering::AcqRel);
        self.commit(|_| ());
        self.tell_moved(before < last.0, Moved::Durable);
    }

    /// Decides by another rule from now on. When this returns, nothing is committed by the former
    /// one any more.
    pub(crate) fn set_rule(&self, rule: CommitRule) {
        self.commit(|ruling| {
            ruling.rule = rule;
            if rule != CommitRule::Told {
                ruling.told = Sequence::ZERO;
            }
        });
    }

    /// The other node has everything up to `last`, synced unless the level is `memory`.
    pub(crate) fn raise_copied(&self, last: Sequence) {
        self.commit(|ruling| {
            ruling.copied = ruling.copied.max(last);
            if self.level != Durability::Memory {
                ruling.synced = ruling.synced.max(last);
            }
        });
    }

    /// The other node has synced everything up to `last`.
    pub(crate) fn raise_synced(&self, last: Sequence) {
        self.commit(|ruling| {
            ruling.synced = ruling.synced.max(last);
            ruling.copied = ruling.copied.max(last);
        });
    }

    /// Nothing is known of another node's copy.
    pub(crate) fn reset_copied(&self) {
        self.commit(|ruling| {
            ruling.copied = Sequence::ZERO;
            ruling.synced = Sequence::ZERO;
        });
    }

    /// The node that decides has committed everything up to `last`.
    pub(crate) fn raise_told(&self, last: Sequence) {
        self.commit(|ruling| ruling.told = ruling.told.max(last));
    }

    /// Another node decides from now on: what the one before has told counts no more.
    pub(crate) fn reset_told(&self) {
        self.commit(|ruling| ruling.told = Sequence::ZERO);
    }

    /// The one place that decides what is committed.
    fn commit(&self, change: impl FnOnce(&mut Ruling)) {
        let committed = {
            let mut ruling = self.ruling();
            change(&mut ruling);
            self.copied.store(ruling.copied.0, Ordering::Release);
            // In this order, so that a write in between can't make it look durable before written.
            let (durable, written) = (self.durable(), self.written());
            assert!(durable <= written, "nothing is durable before it is written");
            let reach = ruling.reach(self.level, written, durable);
            let before = self.committed.fetch_max(reach.committed.0, Ordering::AcqRel);
            self.everywhere.fetch_max(reach.everywhere.0, Ordering::AcqRel);
            before < reach.committed.0
        };
        if committed {
            // The lock orders this wake-up after the check of a waiter that just missed it.
            if *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) > 0 {
                self.moved.notify_all();
            }
            for listener in &*self.on_commit.read().unwrap_or_else(PoisonError::into_inner) {
                listener();
            }
        }
    }

    fn tell_moved(&self, has_moved: bool, which: Moved) {
        if has_moved {
            for listener in &*self.on_move.read().unwrap_or_else(PoisonError::into_inner) {
                listener(which);
            }
        }
    }

    fn ruling(&self) -> MutexGuard<'_, Ruling> {
        self.rule.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is known of a log when it is opened.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KnownLog {
    /// Oldest sequence that is kept.
    pub(crate) first: Sequence,
    /// Newest sequence, inclusive; it is durable.
    pub(crate) last: Sequence,
    /// Committed up to here, inclusive.
    pub(crate) committed: Sequence,
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
mod tests;
