//! The view on disk, so that a start need not replay the whole store.
//!
//! One file, written about once a second by a thread of its own: the commands that changed since
//! the last time, and how far the log had been read then, in one transaction. All of it is derived
//! from the store. If the file is lost, or cannot be written, nothing but time is.

mod file;

use std::io;
use std::thread::JoinHandle;

use broker::net::Queue;
use client::Checkpoint;
use crossbeam_channel::{Receiver, Sender};

pub use self::file::KeeperError;
pub(super) use self::file::{File, Left};
use super::event_loop::Event;
use super::lifecycle::Lifecycle;
use crate::Changes;

/// What is to be written.
enum Job {
    /// What changed, and where the log had been read to with it.
    Keep(Changes, Checkpoint),
    /// Throw everything away: it was made from a log that is no more.
    Forget,
}

/// The loop's end of the thread that writes.
pub(super) struct Keeper {
    jobs: Sender<Job>,
    thread: JoinHandle<()>,
}

impl Keeper {
    /// Starts the thread. After each write [`Event::Kept`] goes into `kept`.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(super) fn start(
        file: File,
        lifecycle: &Lifecycle,
        kept: &Queue<Event>,
    ) -> io::Result<Self> {
        // The loop has one write under way at a time, and then at most a last one.
        let (jobs, waiting) = crossbeam_channel::unbounded();
        let kept = kept.clone();
        let thread = lifecycle.spawn("titanic-keeper", move || -> Result<(), io::Error> {
            write(file, &waiting, &kept);
            Ok(())
        })?;
        Ok(Self { jobs, thread })
    }

    /// Has changes written; one [`Event::Kept`] follows.
    pub(super) fn keep(&self, changes: Changes, checkpoint: Checkpoint) {
        // Without a thread the process is ending.
        let _ = self.jobs.send(Job::Keep(changes, checkpoint));
    }

    /// Has everything thrown away.
    pub(super) fn forget(&self) {
        let _ = self.jobs.send(Job::Forget);
    }

    /// Ends the thread once it has written what it was given.
    pub(super) fn end(self) {
        drop(self.jobs);
        // A thread that panicked has said so to the lifecycle.
        let _ = self.thread.join();
    }
}

/// After a failure nothing more is written: the file would lack what the failed write held. It
/// stays as it was, and the next start replays from there.
fn write(file: File, waiting: &Receiver<Job>, kept: &Queue<Event>) {
    let mut file = Some(file);
    for job in waiting {
        let result = match (&file, &job) {
            (None, _) => Ok(()),
            (Some(file), Job::Keep(changes, checkpoint)) => file.keep(changes, checkpoint),
            (Some(file), Job::Forget) => file.forget(),
        };
        if let Err(error) = result {
            log::error!("{error}; the view is no longer kept, and the next start replays more");
            file = None;
        }
        kept.send(Event::Kept);
    }
}
