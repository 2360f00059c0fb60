//! The process as a whole: whether it serves, whether it must stop, and why.

use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use broker::net::{Stop, Waker};
use crossbeam_channel::{Receiver, Sender};
use thiserror::Error;

/// Why a running process had to end. It never goes on half alive: a supervisor starts it again.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Fatal {
    /// What the view was made of is no longer what the store holds.
    #[error(
        "the log of the store was cut or exchanged ({0}): the view is thrown away; start the \
         process again, and it is made anew from the store"
    )]
    Cut(String),
    /// The store cannot be followed.
    #[error("the store cannot be followed: {0}")]
    View(String),
    /// A loop ended although nobody asked it to.
    #[error("the {name} thread failed ({reason}): start the process again, and report this")]
    Thread {
        /// Its name.
        name: &'static str,
        /// What it said.
        reason: String,
    },
}

/// Shared by all threads of a process.
#[derive(Clone)]
pub(super) struct Lifecycle {
    /// Asks the loop to finish; it ends the others.
    pub(super) stop: Stop,
    state: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Default)]
struct State {
    serving: bool,
    fatal: Option<Fatal>,
}

impl Lifecycle {
    pub(super) fn new(stop: Stop) -> Self {
        Self { stop, state: Arc::default() }
    }

    /// A broker knows our services, and the view is at the head of the log.
    pub(super) fn now_serving(&self) {
        self.lock().serving = true;
        self.state.1.notify_all();
    }

    /// Waits until [`Lifecycle::now_serving`]; `false` if that takes too long.
    pub(super) fn wait_serving(&self, timeout: Duration) -> bool {
        let (_, changed) = &*self.state;
        let (state, _) = changed
            .wait_timeout_while(self.lock(), timeout, |state| !state.serving)
            .unwrap_or_else(PoisonError::into_inner);
        state.serving
    }

    /// Something happened that the process must not outlive. The first reason is kept.
    pub(super) fn fail(&self, fatal: Fatal) {
        log::error!("{fatal}");
        self.lock().fatal.get_or_insert(fatal);
        self.stop.request();
    }

    /// Why the process has to end, if it has to.
    pub(super) fn fatal(&self) -> Option<Fatal> {
        self.lock().fatal.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a thread whose error or panic ends the process.
    pub(super) fn spawn<E: Display>(
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

/// A queue into the loop: whoever sends also wakes it.
pub(super) struct Queue<T> {
    sender: Sender<T>,
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
    pub(super) fn new(waker: Waker) -> (Self, Receiver<T>) {
        let (sender, receiver) = crossbeam_channel::unbounded();
        (Self { sender, waker }, receiver)
    }

    /// Hands over one item. A loop that has ended no longer needs it.
    pub(super) fn send(&self, item: T) {
        if self.sender.send(item).is_ok() {
            self.waker.wake();
        }
    }
}
