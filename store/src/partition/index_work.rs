//! The index of a partition, together with the work on it that a background thread does.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use super::background::Background;
use crate::event::{EventId, Sequence};
use crate::index::{Index, IndexEntry, IndexError, Posting, Wanted, WantedPlaces};
use crate::log::fetch_places::RecordPlace;
use crate::log::recovery::{entries, sealed_for_index};
use crate::log::segments::{Sealed, Segments};

/// Sealed segments without a run at which the writer stops sealing more: their ids are in memory.
const PENDING_MAX: usize = 2;
/// How long the writer waits for the background thread before it refuses.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// Shared by the writer, the readers and the background thread.
pub(crate) struct IndexWork {
    index: Index,
    segments: Arc<Segments>,
    background: Arc<Background>,
    state: Mutex<State>,
    done: Condvar,
}

#[derive(Default)]
struct State {
    /// First sequences of the segments whose runs are to be built, oldest first.
    due: VecDeque<Sequence>,
    /// A job is queued or running.
    scheduled: bool,
    /// The last job could not finish its work.
    failed: bool,
}

impl IndexWork {
    pub(crate) fn new(
        index: Index,
        segments: Arc<Segments>,
        background: Arc<Background>,
        unindexed: Vec<Sequence>,
    ) -> Arc<Self> {
        let state = State { due: unindexed.into(), ..State::default() };
        let work = Arc::new(Self {
            index,
            segments,
            background,
            state: Mutex::new(state),
            done: Condvar::new(),
        });
        work.schedule();
        work
    }

    /// The index, for lookups that can't meet a damaged file.
    pub(crate) const fn index(&self) -> &Index {
        &self.index
    }

    /// Takes in records that were written.
    pub(crate) fn insert(&self, segment: Sequence, entries: &[IndexEntry<'_>]) {
        self.index.insert(segment, entries);
    }

    /// Where events of a stream are.
    pub(crate) fn postings(
        self: &Arc<Self>,
        wanted: &Wanted<'_>,
    ) -> Result<Vec<Posting>, IndexError> {
        self.repaired(self.index.postings(wanted))
    }

    /// Where events of a category or stream are between two places of the log.
    pub(crate) fn places(
        self: &Arc<Self>,
        wanted: &WantedPlaces<'_>,
    ) -> Result<Vec<RecordPlace>, IndexError> {
        self.repaired(self.index.places(wanted))
    }

    /// Where records with some of these ids may be: (place in `ids`, sequence).
    pub(crate) fn candidates(
        self: &Arc<Self>,
        ids: &[EventId],
    ) -> Result<Vec<(usize, Sequence)>, IndexError> {
        self.repaired(self.index.candidates(ids))
    }

    /// Has a damaged run file made anew; the question that met it fails.
    fn repaired<T>(self: &Arc<Self>, result: Result<T, IndexError>) -> Result<T, IndexError> {
        if matches!(result, Err(IndexError::Damaged { .. })) {
            self.schedule();
        }
        result
    }

    /// A segment was sealed: its run is due.
    pub(crate) fn sealed(self: &Arc<Self>, sealed: &Sealed) {
        self.index.seal(sealed_for_index(sealed));
        self.lock().due.push_back(sealed.footer.first);
        self.schedule();
    }

    /// Waits until another segment may be sealed. `false`: not now.
    pub(crate) fn wait_for_room(self: &Arc<Self>) -> bool {
        if self.index.pending_segments() < PENDING_MAX {
            return true;
        }
        self.schedule();
        let state = self.lock();
        let waited = self.done.wait_timeout_while(state, WAIT_MAX, |state| {
            self.index.pending_segments() >= PENDING_MAX && !state.failed
        });
        drop(waited);
        self.index.pending_segments() < PENDING_MAX
    }

    /// Queues a job unless one is queued: there is at most one per partition.
    fn schedule(self: &Arc<Self>) {
        let mut state = self.lock();
        if state.scheduled || (state.due.is_empty() && self.index.damaged_segments().is_empty()) {
            return;
        }
        state.scheduled = true;
        state.failed = false;
        let work = Arc::downgrade(self);
        self.background.run(Box::new(move || Self::job(&work)));
    }

    fn job(work: &Weak<Self>) {
        let Some(work) = work.upgrade() else { return };
        let result = work.work_off();
        let more = {
            let mut state = work.lock();
            state.scheduled = false;
            state.failed = result.is_err();
            !state.due.is_empty()
        };
        work.done.notify_all();
        match result {
            // A segment that was sealed just before the job ended found it still scheduled.
            Ok(()) if more => work.schedule(),
            Ok(()) => {}
            Err(error) => {
                log::error!("the index lags behind: {error}; appends go on until two wait");
            }
        }
    }

    fn work_off(&self) -> Result<(), IndexError> {
        for segment in self.index.damaged_segments() {
            self.rebuild(segment.first)?;
        }
        loop {
            let Some(first) = self.lock().due.front().copied() else { return Ok(()) };
            self.index.build_run(first)?;
            self.lock().due.pop_front();
            self.done.notify_all();
        }
    }

    /// Scans one sealed segment into a new run.
    fn rebuild(&self, first: Sequence) -> Result<(), IndexError> {
        let mut rebuild = self.index.rebuild(first)?;
        let scanned = self.segments.walk_sealed(first, &mut |records| {
            rebuild.insert(&entries(records));
        });
        match scanned {
            Ok(true) => rebuild.finish(),
            // The segment itself is damaged or gone: the readers say so.
            Ok(false) | Err(_) => Ok(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
