//! The process as a whole: whether it serves, whether it must stop, and why.

use std::ops::Deref;

use broker::net::Stop;
use broker::process::{self, ThreadFailed, TooMuchMemory};
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
    #[error(transparent)]
    Thread(#[from] ThreadFailed),
    /// It took more memory than it may.
    #[error(transparent)]
    Memory(#[from] TooMuchMemory),
    /// The node must not go on in its pair.
    #[error("{0}")]
    Pair(String),
}

/// Shared by all threads of a process, which stop in two steps.
#[derive(Clone)]
pub(crate) struct Lifecycle {
    /// Asks the broker loop, which takes new work, to finish.
    pub(crate) intake: Stop,
    /// Asks all other loops to finish, once the broker loop has.
    pub(crate) rest: Stop,
    process: process::Lifecycle<Fatal>,
}

impl Lifecycle {
    /// A process that stops when `intake` is requested, e.g. by a signal.
    pub(crate) fn new(intake: Stop) -> Self {
        let process = process::Lifecycle::new(intake.clone());
        Self { intake, rest: Stop::new(), process }
    }
}

/// But for the second step it is like that of any process.
impl Deref for Lifecycle {
    type Target = process::Lifecycle<Fatal>;

    fn deref(&self) -> &Self::Target {
        &self.process
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_fatal_stops_the_intake_and_the_rest_goes_on() {
        let lifecycle = Lifecycle::new(Stop::new());
        let failed = ThreadFailed { name: "store-feed", reason: "it panicked".to_owned() };
        lifecycle.fail(failed.clone().into());
        assert_eq!(lifecycle.fatal(), Some(Fatal::Thread(failed)));
        assert!(lifecycle.intake.is_requested());
        assert!(!lifecycle.rest.is_requested(), "what is under way is answered first");
    }
}
