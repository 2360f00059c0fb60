//! Exit codes of `starlog-titanic`: distinct, so that a supervisor knows what helps.
//!
//! | code | means | a restart |
//! |---|---|---|
//! | 0 | stopped on request | – |
//! | 2 | usage: a flag or the configuration is wrong | does not help |
//! | 3 | another process uses the data directory | helps once that one is gone |
//! | 4 | the data directory cannot be read or written | does not help |
//! | 5 | the data directory holds the view of another store | does not help |
//! | 6 | the store's log was cut or exchanged | helps: the view is made anew |
//! | 7 | the store cannot be followed | may help |
//! | 10 | a thread failed | helps; report it |
//! | 11 | the operating system refused something | may help |
//! | 15 | the process took more memory than `--memory-max` allows | helps |

use super::keeper::KeeperError;
use super::lifecycle::Fatal;
use super::start::{RunError, StartError};

/// A flag or the configuration is wrong.
pub const EXIT_USAGE: u8 = 2;
/// Another process uses the data directory.
pub const EXIT_LOCKED: u8 = 3;
/// The data directory cannot be read or written.
pub const EXIT_DATA: u8 = 4;
/// The data directory holds the view of another store.
pub const EXIT_OTHER_STORE: u8 = 5;
/// The store's log was cut or exchanged.
pub const EXIT_CUT: u8 = 6;
/// The store cannot be followed.
pub const EXIT_VIEW: u8 = 7;
/// A thread failed.
pub const EXIT_THREAD: u8 = 10;
/// The operating system refused something.
pub const EXIT_SYSTEM: u8 = 11;
/// The process took more memory than it may.
pub const EXIT_MEMORY: u8 = 15;

/// The code of a process that ended with this error.
#[must_use]
pub fn of_run(error: &RunError) -> u8 {
    match error {
        RunError::Start(StartError::Config(_)) => EXIT_USAGE,
        RunError::Start(StartError::Data(KeeperError::InUse(_))) => EXIT_LOCKED,
        RunError::Start(StartError::Data(KeeperError::OtherStore { .. })) => EXIT_OTHER_STORE,
        RunError::Start(StartError::Data(_)) => EXIT_DATA,
        RunError::Start(StartError::Client(_) | StartError::Resources(_)) => EXIT_SYSTEM,
        RunError::Fatal(Fatal::Cut(_)) => EXIT_CUT,
        RunError::Fatal(Fatal::View(_)) => EXIT_VIEW,
        RunError::Fatal(Fatal::Thread { .. }) => EXIT_THREAD,
        RunError::Fatal(Fatal::Memory(_)) => EXIT_MEMORY,
    }
}
