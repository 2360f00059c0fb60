//! A named thread that does jobs one after the other for all partitions of a node.

use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

use crossbeam_channel::{Sender, unbounded};

/// Something to be done later.
pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// Jobs wait without a limit here, but each partition queues at most one of each kind.
pub(crate) struct Background {
    jobs: Mutex<Option<Sender<Job>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Background {
    pub(crate) fn start(name: &str) -> std::io::Result<Self> {
        let (jobs, todo) = unbounded::<Job>();
        let work = move || {
            for job in todo {
                // A job that panics must not take the others with it.
                let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
                if done.is_err() {
                    log::error!("a background job panicked");
                }
            }
        };
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(work)?;
        Ok(Self { jobs: Mutex::new(Some(jobs)), thread: Mutex::new(Some(thread)) })
    }

    /// Queues a job. After [`Background::stop`] it is dropped.
    pub(crate) fn run(&self, job: Job) {
        if let Some(jobs) = &*self.jobs.lock().unwrap_or_else(PoisonError::into_inner) {
            // The thread ends only after the sender is gone.
            let _ = jobs.send(job);
        }
    }

    /// Finishes the queued jobs and ends the thread.
    pub(crate) fn stop(&self) {
        drop(self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.thread().id() != std::thread::current().id()
        {
            // Its panics were caught.
            let _ = thread.join();
        }
    }
}
