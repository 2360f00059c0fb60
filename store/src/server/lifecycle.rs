//! The process as a whole: whether it serves, whether it must stop, and why.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use broker::net::{Stop, Waker};
use thiserror::Error;

use crate::PartitionNumber;
use crate::names::StoreName;

/// Why a running process had to end. It never goes on half alive: a supervisor starts it again.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Fatal {
    /// A write or sync failed for good.
    #[error(
        "the disk failed {store}/{partition}: what was under way is unknown; check the disk, then \
         start the process again, which recovers what was synced"
    )]
    Poisoned {
        /// The store.
        store: StoreName,
        /// The partition.
        partition: PartitionNumber,
    },
    /// A loop ended although nobody asked it to.
    #[error("the {name} thread failed ({reason}): start the process again, and report this")]
    Thread {
        /// Its name.
        name: &'static str,
        /// What it said.
        reason: String,
    },
    /// The node must not go on in its pair.
    #[error("{0}")]
    Pair(String),
}

/// Shared by all threads of a process.
#[derive(Clone)]
pub(crate) struct Lifecycle {
    /// Asks the broker loop, which takes new work, to finish.
    pub(crate) intake: Stop,
    /// Asks all other loops to finish, once the broker loop has.
    pub(crate) rest: Stop,
    state: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Default)]
struct State {
    serving: bool,
    fatal: Option<Fatal>,
}

impl Lifecycle {
    /// A process that stops when `intake` is requested, e.g. by a signal.
    pub(crate) fn new(intake: Stop) -> Self {
        Self { intake, rest: Stop::new(), state: Arc::default() }
    }

    /// A broker knows us.
    pub(crate) fn now_serving(&self) {
        let (state, changed) = &*self.state;
        state.lock().unwrap_or_else(PoisonError::into_inner).serving = true;
        changed.notify_all();
    }

    /// Waits until a broker knows us; `false` if that takes too long.
    pub(crate) fn wait_serving(&self, timeout: Duration) -> bool {
        let (state, changed) = &*self.state;
        let state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let (state, _) = changed
            .wait_timeout_while(state, timeout, |state| !state.serving)
            .unwrap_or_else(PoisonError::into_inner);
        state.serving
    }

    /// Something happened that the process must not outlive. The first reason is kept.
    pub(crate) fn fail(&self, fatal: Fatal) {
        log::error!("{fatal}");
        let (state, _) = &*self.state;
        state.lock().unwrap_or_else(PoisonError::into_inner).fatal.get_or_insert(fatal);
        self.intake.request();
    }

    /// Why the process has to end, if it has to.
    pub(crate) fn fatal(&self) -> Option<Fatal> {
        self.state.0.lock().unwrap_or_else(PoisonError::into_inner).fatal.clone()
    }

    /// Starts a thread whose error or panic ends the process.
    pub(crate) fn spawn<E: std::fmt::Display>(
        &self,
        name: &'static str,
        body: impl FnOnce() -> Result<(), E> + Send + 'static,
    ) -> std::io::Result<JoinHandle<()>> {
        let lifecycle = self.clone();
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let reason = match catch_unwind(AssertUnwindSafe(body)) {
                Ok(Ok(())) => return,
                Ok(Err(error)) => error.to_string(),
                Err(_) => "it panicked".to_owned(),
            };
            lifecycle.fail(Fatal::Thread { name, reason });
        })
    }
}

/// A queue into a loop: whoever sends also wakes the loop.
pub(crate) struct Queue<T> {
    sender: crossbeam_channel::Sender<T>,
    waker: Waker,
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), waker: self.waker.clone() }
    }
}

impl<T> Queue<T> {
    /// A queue and the end that the loop keeps. What it carries is bounded by what the loop itself
    /// let under way; sending never blocks.
    pub(crate) fn new(waker: Waker) -> (Self, crossbeam_channel::Receiver<T>) {
        let (sender, receiver) = crossbeam_channel::unbounded();
        (Self { sender, waker }, receiver)
    }

    /// Hands over one item. A loop that has ended no longer needs it.
    pub(crate) fn send(&self, item: T) {
        if self.sender.send(item).is_ok() {
            self.waker.wake();
        }
    }
}
