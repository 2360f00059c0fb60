//! One independent log: one writer at a time, many readers.
//!
//! ```text
//!  submit ---> queue ---> store-writer --+                       +--> answers
//!                                        +--> core: judge,       |
//!  append, append_here ------------------+    encode, write ---> pending --> sync --> commit
//!  (on the caller's thread, if the core is idle)                 ^
//!                                                 store-syncer --+  (while the next is written)
//! ```
//!
//! The core is behind a lock; whoever has it is the writer. The queue is drained under that lock,
//! so submissions are taken in the order of their arrival.
//!
//! A partition either leads, and numbers events, or follows, and takes in the records of the node
//! that leads as they are. What another node has decides about commits, by a [`CommitRule`]; who
//! that is and why is no concern of this module.

pub(crate) mod append;
pub(crate) mod background;
mod batcher;
mod block;
mod commits;
mod core;
mod evidence;
mod index_work;
mod log_reader;
mod open;
mod park;
mod poison;
mod queue;
mod reader;
mod reign;
mod replicate;
mod status;
mod subscription;
mod watermarks;

use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::JoinHandle;

use uuid::Uuid;

pub use append::{
    Answer, Append, AppendError, Durability, Mode, Origin, Receipt, SignatureCheck, StreamWrite,
    Submission,
};
pub use block::{Block, FilteredQuery, StreamQuery};
pub use log_reader::LogReader;
pub(crate) use open::{Backgrounds, Setup};
pub use park::{CutError, Parked};
pub use poison::PoisonListener;
pub use reader::{Lookup, Reader};
pub use replicate::{ReplicateAnswer, ReplicateError, Replicated};
pub use status::PartitionStatus;
pub(crate) use subscription::Signal;
pub use subscription::{Events, Subscription};
pub use watermarks::{CommitListener, CommitRule, MoveListener, Moved, Watermarks};

use crate::event::{Epoch, LogMark, Sequence};
pub(crate) use crate::log::parked::ParkedSummary;
use crate::slot::PartitionNumber;
use commits::{Commits, PendingAnswer};
use core::Core;
use poison::{Poison, PoisonOnPanic};
use queue::{PushError, Queue, Work};
use reader::ReadSide;
use replicate::Replication;

/// A partition that is open. Clones share it; the last one to go closes it.
#[derive(Clone)]
pub struct Partition {
    running: Arc<Running>,
}

/// The threads of a partition, ended when it is dropped.
struct Running {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What the threads of a partition share.
struct Shared {
    number: PartitionNumber,
    id: Uuid,
    level: Durability,
    batch_bytes_max: usize,
    torn_bytes: u64,
    parked: ParkedSummary,
    queue: Queue,
    /// `None` once the partition is closed.
    core: Mutex<Option<Core>>,
    commits: Arc<Commits>,
    poison: Arc<Poison>,
    read: Arc<ReadSide>,
    shelf: Arc<crate::log::spare::SpareShelf>,
    /// Told when the head moves, for subscriptions in this process.
    signal: Arc<Signal>,
}

impl Partition {
    /// Its number within the store.
    #[must_use]
    pub fn number(&self) -> PartitionNumber {
        self.shared().number
    }

    /// Its own id, drawn when its folder was made.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.shared().id
    }

    /// Epoch under which it appends, or follows.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.shared().read.epoch()
    }

    /// Level that is reached before anything is acknowledged or shown.
    #[must_use]
    pub fn durability(&self) -> Durability {
        self.shared().level
    }

    /// How far it is written, durable and committed.
    #[must_use]
    pub fn watermarks(&self) -> &Watermarks {
        &self.shared().read.watermarks
    }

    /// A reader of what is committed.
    #[must_use]
    pub fn reader(&self) -> Reader {
        Reader::new(Arc::clone(&self.shared().read))
    }

    /// A reader of all that is written, for a node that copies this one.
    #[must_use]
    pub fn log_reader(&self) -> LogReader {
        LogReader::new(Arc::clone(&self.shared().read))
    }

    /// The end of what is written.
    #[must_use]
    pub fn mark(&self) -> LogMark {
        let end = self.shared().read.end();
        LogMark { sequence: end.last, epoch: end.epoch, chain: end.chain.0 }
    }

    /// Whether a failed write or sync has stopped it.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.shared().poison.is_set()
    }

    /// Has `listener` called when a failed write or sync stops it; at once if it has happened.
    pub fn on_poison(&self, listener: PoisonListener) {
        self.shared().poison.on_poison(listener);
    }

    /// Figures for people and monitoring.
    #[must_use]
    pub fn status(&self) -> PartitionStatus {
        PartitionStatus::of(self.shared())
    }

    /// Appends and waits for the answer. Runs on this thread if the partition is idle.
    ///
    /// # Errors
    /// [`AppendError`]; after [`AppendError::Unknown`] send the same ids again.
    pub fn append(&self, append: Append) -> Result<Receipt, AppendError> {
        append.check_signatures()?;
        let (sender, receiver) = sync_channel(1);
        let answer: Answer = Box::new(move |results| {
            // The receiver waits below.
            let _ = sender.send(results);
        });
        let submission = Submission {
            signatures: SignatureCheck::Done,
            ..Submission::new(vec![append], answer)
        };
        self.append_here(vec![submission]);
        let results = receiver.recv().unwrap_or_default();
        results.into_iter().next().unwrap_or(Err(AppendError::Unknown))
    }

    /// Hands appends to the writer; never blocks.
    ///
    /// # Errors
    /// Gives the submission back when the queue is full.
    pub fn submit(&self, submission: Submission) -> Result<(), Submission> {
        match self.shared().queue.push(Work::Submission(submission)) {
            Err(PushError::Full(Work::Submission(submission))) => Err(submission),
            Err(PushError::Closed(work)) => {
                refuse(work, &AppendError::Closed);
                Ok(())
            }
            Ok(()) | Err(PushError::Full(Work::Replication(_))) => Ok(()),
        }
    }

    /// Hands records of the node that leads to the writer, which takes them in as they are; never
    /// blocks. `done` is called when they are written; they are durable later, which the
    /// [`Watermarks`] tell.
    ///
    /// # Errors
    /// Gives the records back when the queue is full; `done` is dropped then.
    pub fn replicate(&self, batch: Replicated, done: ReplicateAnswer) -> Result<(), Replicated> {
        let work = Work::Replication(Replication::new(batch, done));
        match self.shared().queue.push(work) {
            Err(PushError::Full(Work::Replication(replication))) => Err(replication.take_back()),
            Err(PushError::Closed(work)) => {
                refuse(work, &AppendError::Closed);
                Ok(())
            }
            Ok(()) | Err(PushError::Full(Work::Submission(_))) => Ok(()),
        }
    }

    /// Appends on this thread if the partition is idle, which saves two hand-overs between
    /// threads; otherwise the writer does. All of it is written and synced at once. The answers
    /// come from here or later from another thread; what the queue has no room for is `Busy`.
    pub fn append_here(&self, submissions: Vec<Submission>) {
        let shared = self.shared();
        let guard = match shared.core.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(guard)) => Some(guard.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        };
        if let Some(guard) = guard
            && shared.queue.is_empty()
        {
            return shared.round(guard, submissions.into_iter().map(Work::Submission).collect());
        }
        for submission in submissions {
            if let Err(submission) = self.submit(submission) {
                refuse(Work::Submission(submission), &AppendError::Busy);
            }
        }
    }

    /// Events from a sequence on, as they are committed; blocks where there is none yet.
    #[must_use]
    pub fn subscribe(&self, from: Sequence) -> Subscription {
        Subscription::new(vec![(self.reader(), from)], Arc::clone(&self.shared().signal))
    }

    /// Committed events from a sequence up to the head of now, read lazily.
    #[must_use]
    pub fn read_all(&self, from: Sequence) -> Events {
        Events::all(self.reader(), from)
    }

    /// Finishes what is queued, syncs, and lets go of all files.
    pub fn close(&self) {
        self.running.close();
    }

    fn shared(&self) -> &Shared {
        &self.running.shared
    }
}

impl std::fmt::Debug for Partition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Partition")
            .field("number", &self.number())
            .field("watermarks", self.watermarks())
            .finish_non_exhaustive()
    }
}

/// Answers work that nobody will do.
fn refuse(work: Work, error: &AppendError) {
    match work {
        Work::Submission(Submission { appends, answer, .. }) => {
            PendingAnswer::new(appends.len(), answer).refuse_all(error);
        }
        Work::Replication(replication) => replication.answer(Err(match error {
            AppendError::Closed => ReplicateError::Closed,
            _ => ReplicateError::Poisoned,
        })),
    }
}

impl Shared {
    /// Does work in its order and gets the answers under way; the caller holds the core.
    fn round(&self, mut core: MutexGuard<'_, Option<Core>>, work: Vec<Work>) {
        let refusal = if self.poison.is_set() {
            Some(AppendError::Poisoned)
        } else if core.is_none() {
            Some(AppendError::Closed)
        } else {
            None
        };
        let (Some(running), None) = (&mut *core, &refusal) else {
            drop(core);
            let error = refusal.unwrap_or(AppendError::Closed);
            work.into_iter().for_each(|work| refuse(work, &error));
            return;
        };
        let guard = PoisonOnPanic(&self.poison);
        let mut submissions = Vec::new();
        for work in work {
            match work {
                Work::Submission(submission) => submissions.push(submission),
                Work::Replication(replication) => {
                    self.append_round(running, std::mem::take(&mut submissions));
                    let result = running.replicate(replication.batch());
                    let target = running.sync_target();
                    if target.last > self.read.watermarks.durable() {
                        // Nobody waits here, but the node that leads waits for news of it.
                        self.commits.want(target);
                    }
                    replication.answer(result);
                }
            }
        }
        self.append_round(running, submissions);
        drop(guard);
        drop(core);
        self.commits.sync_soon(self.queue.is_empty());
    }

    fn append_round(&self, core: &mut Core, submissions: Vec<Submission>) {
        if !submissions.is_empty() {
            let answers = core.round(submissions);
            // The answers of a round are queued before the next round can begin.
            self.commits.add(answers, &core.sync_target());
        }
    }

    /// Leaves evidence of what is committed for the next recovery. Without it that recovery knows
    /// less and is still right, so a failure is only reported.
    fn promise(&self, core: &Core) {
        if self.poison.is_set() {
            return;
        }
        let synced = self.read.watermarks.durable() == core.appender.end().last;
        if let Err(error) = core.promise(core.evidence.doubtful.is_none() || synced) {
            log::warn!("partition {}: no promise was left at closing: {error}", self.number);
        }
    }

    /// The writer thread.
    fn run_writer(&self) {
        let mut work = Vec::new();
        while self.queue.wait() {
            let round = || {
                let core = self.core.lock().unwrap_or_else(PoisonError::into_inner);
                self.queue.drain(self.batch_bytes_max, &mut work);
                if !work.is_empty() {
                    self.round(core, std::mem::take(&mut work));
                }
            };
            // The guard inside has poisoned the partition; what is queued gets its refusal.
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(round));
        }
    }
}

impl Running {
    fn close(&self) {
        let shared = &self.shared;
        shared.queue.close();
        let mut threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        let syncer = threads.pop();
        threads.into_iter().for_each(join);
        let core = shared.core.lock().unwrap_or_else(PoisonError::into_inner).take();
        shared.commits.close(core.as_ref().map(Core::sync_target));
        syncer.into_iter().for_each(join);
        shared.commits.give_up();
        if let Some(core) = core {
            shared.promise(&core);
        }
        shared.shelf.clear();
        shared.read.segments.close();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.close();
    }
}

/// Waits for a thread, unless it is the caller's own: an answer may drop the last clone.
fn join(thread: JoinHandle<()>) {
    if thread.thread().id() != std::thread::current().id() {
        // A panic in it has poisoned the partition already.
        let _ = thread.join();
    }
}
