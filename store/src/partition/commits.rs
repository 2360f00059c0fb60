//! Answers that wait for their records to commit, and the syncs that make them.
//!
//! Whoever writes while nobody syncs and nothing is queued, syncs itself: no hand-over between
//! threads. Otherwise the syncer thread does, while the next batch is prepared and written.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::append::{Answer, AppendError, Receipt};
use super::poison::{Poison, PoisonOnPanic};
use super::watermarks::Watermarks;
use crate::event::Sequence;
use crate::log::segment::OpenSegment;

/// Up to where the log must be before something may be said. Inclusive; 0 needs nothing.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Needs {
    pub(crate) committed: Sequence,
    /// Synced here.
    pub(crate) durable: Sequence,
    /// Synced on every node that must have it.
    pub(crate) everywhere: Sequence,
}

impl Needs {
    fn are_met(&self, watermarks: &Watermarks) -> bool {
        self.committed <= watermarks.committed()
            && self.durable <= watermarks.durable()
            && self.everywhere <= watermarks.everywhere()
    }

    /// Whether more is asked for than that it commits.
    fn are_special(&self) -> bool {
        self.durable.max(self.everywhere) > Sequence::ZERO
    }

    /// Whether a sync here is among what is missing.
    fn want_sync(&self, watermarks: &Watermarks) -> bool {
        let by_commit = if watermarks.commits_unsynced() { Sequence::ZERO } else { self.committed };
        by_commit.max(self.durable).max(self.everywhere) > watermarks.durable()
    }
}

/// The result of one append, and what it rests on.
pub(crate) struct Outcome {
    pub(crate) result: Result<Receipt, AppendError>,
    pub(crate) needs: Needs,
}

impl Outcome {
    /// A refusal that does not depend on the log.
    pub(crate) fn refused(error: AppendError) -> Self {
        Self { result: Err(error), needs: Needs::default() }
    }
}

/// An answer that is called exactly once, also when it is dropped on the way.
pub(crate) struct PendingAnswer {
    outcomes: Vec<Outcome>,
    appends: usize,
    answer: Option<Answer>,
}

impl PendingAnswer {
    pub(crate) fn new(appends: usize, answer: Answer) -> Self {
        Self { outcomes: Vec::with_capacity(appends), appends, answer: Some(answer) }
    }

    pub(crate) fn push(&mut self, outcome: Outcome) {
        self.outcomes.push(outcome);
    }

    fn is_ready(&self, watermarks: &Watermarks) -> bool {
        self.outcomes.iter().all(|outcome| outcome.needs.are_met(watermarks))
    }

    fn is_special(&self) -> bool {
        self.outcomes.iter().any(|outcome| outcome.needs.are_special())
    }

    fn wants_sync(&self, watermarks: &Watermarks) -> bool {
        self.outcomes.iter().any(|outcome| outcome.needs.want_sync(watermarks))
    }

    /// Says all results, with what is known of another node's copy now.
    fn say_at(mut self, watermarks: &Watermarks) {
        let copied = watermarks.copied();
        for receipt in self.outcomes.iter_mut().filter_map(|outcome| outcome.result.as_mut().ok()) {
            receipt.copied = receipt.last <= copied;
        }
        self.say();
    }

    fn say(mut self) {
        let results = self.outcomes.drain(..).map(|outcome| outcome.result).collect();
        if let Some(answer) = self.answer.take() {
            answer(results);
        }
    }

    /// Says what is certain; the rest is unknown.
    fn give_up(mut self, watermarks: &Watermarks) {
        for outcome in &mut self.outcomes {
            if !outcome.needs.are_met(watermarks) {
                outcome.result = Err(AppendError::Unknown);
            }
        }
        self.say_at(watermarks);
    }

    /// Gives all appends the same result.
    pub(crate) fn refuse_all(mut self, error: &AppendError) {
        self.outcomes.clear();
        for _ in 0..self.appends {
            self.outcomes.push(Outcome::refused(error.clone()));
        }
        self.say();
    }
}

impl Drop for PendingAnswer {
    fn drop(&mut self) {
        if let Some(answer) = self.answer.take() {
            answer(vec![Err(AppendError::Unknown); self.appends]);
        }
    }
}

/// What to sync, and how far the log is durable then.
#[derive(Clone)]
pub(crate) struct SyncTarget {
    pub(crate) segment: Arc<OpenSegment>,
    pub(crate) last: Sequence,
}

#[derive(Default)]
struct State {
    /// In the order of their writes: what is committed last is said last.
    pending: VecDeque<PendingAnswer>,
    /// Those that wait for more than a commit, and must not keep others from being said.
    special: Vec<PendingAnswer>,
    /// Written, and wanted durable.
    target: Option<SyncTarget>,
    /// Somebody is in a sync.
    syncing: bool,
    closed: bool,
}

impl State {
    fn take_ready(&mut self, watermarks: &Watermarks) -> Vec<PendingAnswer> {
        let is_ready = |answer: &PendingAnswer| answer.is_ready(watermarks);
        let count = self.pending.iter().take_while(|answer| is_ready(answer)).count();
        let mut ready: Vec<PendingAnswer> = self.pending.drain(..count).collect();
        ready.extend(self.special.extract_if(.., |answer| answer.is_ready(watermarks)));
        ready
    }
}

/// Shared by everybody who writes or syncs.
pub(crate) struct Commits {
    watermarks: Arc<Watermarks>,
    poison: Arc<Poison>,
    state: Mutex<State>,
    work: Condvar,
}

impl Commits {
    pub(crate) fn new(watermarks: Arc<Watermarks>, poison: Arc<Poison>) -> Arc<Self> {
        let state = Mutex::default();
        let commits = Arc::new(Self { watermarks, poison, state, work: Condvar::new() });
        let waiting = Arc::downgrade(&commits);
        commits.poison.on_poison(Arc::new(move || {
            if let Some(commits) = waiting.upgrade() {
                commits.give_up();
            }
        }));
        commits
    }

    /// Says those answers that rest on nothing uncommitted, and keeps the others.
    pub(crate) fn add(&self, answers: Vec<PendingAnswer>, target: &SyncTarget) {
        let mut ready = Vec::with_capacity(answers.len());
        {
            let mut state = self.lock();
            for answer in answers {
                if answer.is_ready(&self.watermarks) {
                    ready.push(answer);
                    continue;
                }
                if answer.wants_sync(&self.watermarks) {
                    state.target = Some(target.clone());
                }
                if answer.is_special() {
                    state.special.push(answer);
                } else {
                    state.pending.push_back(answer);
                }
            }
        }
        self.say(ready);
        if self.poison.is_set() {
            // It was set before these began to wait.
            self.give_up();
        }
    }

    /// Wants everything up to there synced, whether anybody waits for it or not.
    pub(crate) fn want(&self, target: SyncTarget) {
        self.lock().target = Some(target);
    }

    /// Says the answers that a move of the marks has made ready.
    pub(crate) fn settle(&self) {
        let ready = self.lock().take_ready(&self.watermarks);
        self.say(ready);
    }

    fn say(&self, ready: Vec<PendingAnswer>) {
        for answer in ready {
            answer.say_at(&self.watermarks);
        }
    }

    /// Has the pending sync done: by the caller if it has nothing else to do, else by the syncer.
    pub(crate) fn sync_soon(&self, by_caller: bool) {
        if by_caller {
            self.sync_once();
        } else if !self.lock().syncing {
            self.work.notify_one();
        }
    }

    /// Syncs once what is wanted, unless somebody is at it.
    fn sync_once(&self) {
        let Some(target) = self.begin() else { return };
        let guard = PoisonOnPanic(&self.poison);
        match target.segment.sync() {
            Ok(()) => self.watermarks.raise_durable(target.last),
            Err(error) => {
                let path = target.segment.path.display();
                self.poison.set(&format!("sync of {path} failed: {error}"));
            }
        }
        drop(guard);
        let ready = self.finish();
        self.say(ready);
    }

    fn begin(&self) -> Option<SyncTarget> {
        let mut state = self.lock();
        if state.syncing || self.poison.is_set() {
            return None;
        }
        let target = state.target.take()?;
        state.syncing = true;
        Some(target)
    }

    fn finish(&self) -> Vec<PendingAnswer> {
        let mut state = self.lock();
        state.syncing = false;
        let ready = state.take_ready(&self.watermarks);
        if state.target.is_some() || state.closed {
            self.work.notify_one();
        }
        ready
    }

    /// Nobody here will learn whether what waits is ever committed: after poison, or where another
    /// node decides.
    pub(crate) fn give_up(&self) {
        let (pending, special) = {
            let mut state = self.lock();
            (std::mem::take(&mut state.pending), std::mem::take(&mut state.special))
        };
        for answer in pending.into_iter().chain(special) {
            answer.give_up(&self.watermarks);
        }
    }

    /// The syncer thread.
    pub(crate) fn run_syncer(&self) {
        loop {
            let mut state = self.lock();
            while (state.syncing || state.target.is_none()) && !state.closed {
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            let finished = state.closed && !state.syncing && state.target.is_none();
            let wait = state.closed && state.syncing;
            if wait {
                // Somebody else syncs for the last time and wakes this thread afterwards.
                drop(self.work.wait(state).unwrap_or_else(PoisonError::into_inner));
                continue;
            }
            drop(state);
            if finished || self.poison.is_set() {
                return;
            }
            self.sync_once();
        }
    }

    /// Wants a last sync, and the syncer to end after it.
    pub(crate) fn close(&self, target: Option<SyncTarget>) {
        let mut state = self.lock();
        if target.is_some() {
            state.target = target;
        }
        state.closed = true;
        self.work.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
