//! After a failed write or sync, or a panic, a partition takes nothing more until it is reopened.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Called once when a partition stops. It must not block.
pub type PoisonListener = Arc<dyn Fn() + Send + Sync>;

/// Set at most once.
pub(crate) struct Poison {
    set: AtomicBool,
    listeners: Mutex<Vec<PoisonListener>>,
    /// What to name in the message.
    whose: String,
}

impl Poison {
    pub(crate) fn new(whose: String) -> Self {
        Self { set: AtomicBool::new(false), listeners: Mutex::new(Vec::new()), whose }
    }

    /// Whether the partition has stopped.
    pub(crate) fn is_set(&self) -> bool {
        self.set.load(Ordering::Acquire)
    }

    /// Stops the partition. Retrying is no way out: after a failed sync the page cache may call
    /// clean what the disk does not have.
    pub(crate) fn set(&self, reason: &str) {
        let listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        if self.set.swap(true, Ordering::AcqRel) {
            return;
        }
        log::error!(
            "{}: stopped: {reason}. Nothing more is appended; check the disk and restart",
            self.whose
        );
        for listener in &*listeners {
            listener();
        }
    }

    /// Has `listener` called when the partition stops; at once if it has.
    pub(crate) fn on_poison(&self, listener: PoisonListener) {
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_set() {
            listener();
        } else {
            listeners.push(listener);
        }
    }
}

/// Poisons if it is dropped by a panic.
pub(crate) struct PoisonOnPanic<'a>(pub(crate) &'a Poison);

impl Drop for PoisonOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.set("a thread panicked while it held the log");
        }
    }
}
