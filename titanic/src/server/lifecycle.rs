//! The process as a whole: whether it serves, whether it must stop, and why.

use broker::process::{self, ThreadFailed, TooMuchMemory};
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
    /// It took more memory than it may.
    #[error(transparent)]
    Memory(#[from] TooMuchMemory),
    /// A loop ended although nobody asked it to.
    #[error(transparent)]
    Thread(#[from] ThreadFailed),
}

/// Shared by all threads of a process. Its stop asks the loop to finish, which ends the others; it
/// serves once a broker knows our services and the view is at the head of the log.
pub(super) type Lifecycle = process::Lifecycle<Fatal>;
