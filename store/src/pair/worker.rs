//! A thread for what must not hold up heartbeats: reading old records, cutting, making stores.

use std::thread::JoinHandle;

use broker::net::Queue;
use crossbeam_channel::{Receiver, Sender};

use crate::server::lifecycle::Lifecycle;

/// Something to be done beside the loop.
pub(super) type Job<T> = Box<dyn FnOnce() -> T + Send>;

/// Does jobs one after the other and leaves their results in the loop's queue.
pub(super) struct Worker<T> {
    jobs: Option<Sender<Job<T>>>,
    thread: Option<JoinHandle<()>>,
}

impl<T: Send + 'static> Worker<T> {
    /// # Errors
    /// The thread can't be started.
    pub(super) fn start(lifecycle: &Lifecycle, results: Queue<T>) -> std::io::Result<Self> {
        // Bounded by what the loop lets under way: a block, a mark and a cut per partition.
        let (jobs, received): (_, Receiver<Job<T>>) = crossbeam_channel::unbounded();
        let body = move || {
            for job in received {
                results.send(job());
            }
            Ok::<_, std::convert::Infallible>(())
        };
        let thread = lifecycle.spawn("store-pair-work", body)?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Hands in a job.
    pub(super) fn submit(&self, job: Job<T>) {
        if let Some(jobs) = &self.jobs {
            // It only fails after the thread has panicked, which ends the process.
            let _ = jobs.send(job);
        }
    }
}

impl<T> Drop for Worker<T> {
    fn drop(&mut self) {
        // Without a sender the thread ends after the job at hand.
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
