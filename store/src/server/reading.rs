//! The reader thread: disk reads that no socket loop should wait for.

use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use super::lifecycle::Lifecycle;

/// Reads that may wait. Beyond this the asker is told BUSY.
const JOBS_MAX: usize = 256;

/// One read: it runs on the reader thread and sends its result to a loop's queue.
pub(super) type Job = Box<dyn FnOnce() + Send>;

/// Hands reads to the reader thread.
#[derive(Clone)]
pub(super) struct ReadThread {
    jobs: Sender<Job>,
}

/// The reader thread has as much to do as it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooManyReads;

impl ReadThread {
    /// Starts the thread. It ends when the last clone is dropped.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(super) fn start(lifecycle: &Lifecycle) -> std::io::Result<(Self, JoinHandle<()>)> {
        let (jobs, received): (Sender<Job>, Receiver<Job>) = bounded(JOBS_MAX);
        let thread = lifecycle.spawn("store-reader", move || {
            for job in received {
                job();
            }
            Ok::<(), std::convert::Infallible>(())
        })?;
        Ok((Self { jobs }, thread))
    }

    /// Queues a read.
    pub(super) fn submit(&self, job: Job) -> Result<(), TooManyReads> {
        self.jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) | TrySendError::Disconnected(_) => TooManyReads,
        })
    }
}
