//! The threads that look events up by their ids, for a loop that never waits.

use std::io;
use std::thread::JoinHandle;

use broker::net::Queue;
use client::{EventId, StoreHandle, StreamName};
use crossbeam_channel::{Receiver, Sender};

use super::event_loop::Event;
use super::lifecycle::Lifecycle;
use crate::{FindTicket, Logged};

/// Look-ups that go on at a time; each is a question to a store and its answer.
const THREADS: [&str; 4] = ["titanic-read-0", "titanic-read-1", "titanic-read-2", "titanic-read-3"];

/// A look-up.
pub(super) struct Job {
    pub(super) ticket: FindTicket,
    pub(super) stream: StreamName,
    pub(super) ids: Vec<EventId>,
}

/// The loop's end of the threads. They end when it is dropped.
pub(super) struct Readers {
    jobs: Sender<Job>,
    threads: Vec<JoinHandle<()>>,
}

impl Readers {
    /// Starts the threads. What they find goes into `found`.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(super) fn start(
        store: &StoreHandle,
        lifecycle: &Lifecycle,
        found: &Queue<Event>,
    ) -> io::Result<Self> {
        // The loop bounds how many look-ups are under way.
        let (jobs, waiting) = crossbeam_channel::unbounded();
        let mut threads = Vec::with_capacity(THREADS.len());
        for name in THREADS {
            let (store, waiting, found) = (store.clone(), waiting.clone(), found.clone());
            threads.push(lifecycle.spawn(name, move || -> Result<(), io::Error> {
                read(&store, &waiting, &found);
                Ok(())
            })?);
        }
        Ok(Self { jobs, threads })
    }

    /// Hands over a look-up; one [`Event::Found`] follows.
    pub(super) fn find(&self, job: Job) {
        // Without threads the process is ending.
        let _ = self.jobs.send(job);
    }

    /// Ends the threads once they have done what they have begun.
    pub(super) fn end(self) {
        drop(self.jobs);
        for thread in self.threads {
            // A thread that panicked has said so to the lifecycle.
            let _ = thread.join();
        }
    }
}

fn read(store: &StoreHandle, waiting: &Receiver<Job>, found: &Queue<Event>) {
    for Job { ticket, stream, ids } in waiting {
        let result = match store.find(stream, &ids) {
            Ok(events) => {
                Ok(events.iter().map(|event| event.as_ref().map(Logged::decode)).collect())
            }
            Err(error) => {
                log::debug!("a look-up failed: {error}");
                Err(())
            }
        };
        found.send(Event::Found(ticket, result));
    }
}
