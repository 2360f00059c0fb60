//! The next segment, filled with zeros and synced before it is needed.
//!
//! ```text
//! absent --request--> being made --done--> ready --take--> absent
//!                          |
//!                          +--disk full--> failed --retry later--> being made
//! ```

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::disk::{Disk, DiskFile, OpenMode};
use super::durable::{is_full, remove_if_there, write_zeros};

/// How long a full disk is left alone before the next try.
const RETRY_AFTER: Duration = Duration::from_millis(200);
/// File name of a spare until it becomes a segment.
pub(crate) const SPARE_NAME: &str = "spare.tmp";

/// A file of zeros, durable but for its name.
pub(crate) struct Spare {
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) path: PathBuf,
    pub(crate) segment_bytes: u32,
}

/// Why there is no spare.
#[derive(Debug)]
pub(crate) enum SpareError {
    /// The disk is full; it may be tried again.
    Full,
    /// Anything else is final.
    Io(io::Error),
}

enum State {
    Absent,
    Making,
    Ready(Spare),
    Full { since: Instant },
    Failed(io::Error),
}

/// Holds at most one spare of a partition. [`SpareShelf::make`] runs on a background thread.
pub(crate) struct SpareShelf {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    segment_bytes: u32,
    state: Mutex<State>,
    changed: Condvar,
}

impl SpareShelf {
    pub(crate) fn new(disk: Arc<dyn Disk>, dir: &Path, segment_bytes: u32) -> Self {
        let state = Mutex::new(State::Absent);
        Self { disk, dir: dir.to_owned(), segment_bytes, state, changed: Condvar::new() }
    }

    /// Length of the files that it makes.
    pub(crate) const fn segment_bytes(&self) -> u32 {
        self.segment_bytes
    }

    /// Whether a spare should be made now; if so, the caller has [`SpareShelf::make`] run soon.
    pub(crate) fn request(&self, now: Instant) -> bool {
        let mut state = self.lock();
        let due = match &*state {
            State::Absent => true,
            State::Full { since } => now.saturating_duration_since(*since) >= RETRY_AFTER,
            State::Making | State::Ready(_) | State::Failed(_) => false,
        };
        if due {
            *state = State::Making;
        }
        due
    }

    /// Makes the spare that was requested.
    pub(crate) fn make(&self, now: Instant) {
        let made = make_spare(&*self.disk, &self.dir, self.segment_bytes);
        let mut state = self.lock();
        *state = match made {
            Ok(spare) => State::Ready(spare),
            Err(error) if is_full(&error) => State::Full { since: now },
            Err(error) => State::Failed(error),
        };
        self.changed.notify_all();
    }

    /// The spare; waits while it is being made.
    pub(crate) fn take(&self) -> Result<Spare, SpareError> {
        let mut state = self.lock();
        while matches!(*state, State::Making) {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        match std::mem::replace(&mut *state, State::Absent) {
            State::Ready(spare) => Ok(spare),
            State::Failed(error) => Err(SpareError::Io(error)),
            full @ State::Full { .. } => {
                *state = full;
                Err(SpareError::Full)
            }
            State::Absent | State::Making => Err(SpareError::Full),
        }
    }

    /// Whether the last try found the disk full.
    pub(crate) fn is_full(&self) -> bool {
        matches!(*self.lock(), State::Full { .. })
    }

    /// Lets go of the spare's file.
    pub(crate) fn clear(&self) {
        let mut state = self.lock();
        if matches!(*state, State::Ready(_)) {
            *state = State::Absent;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A new file of zeros. What there is of it after a failure is removed, to give the space back.
pub(crate) fn make_spare(disk: &dyn Disk, dir: &Path, segment_bytes: u32) -> io::Result<Spare> {
    let path = dir.join(SPARE_NAME);
    remove_if_there(disk, &path)?;
    let made = fill(disk, &path, segment_bytes);
    if made.is_err() {
        // The first error tells more than a second one would.
        let _ = remove_if_there(disk, &path);
    }
    Ok(Spare { file: made?, path, segment_bytes })
}

fn fill(disk: &dyn Disk, path: &Path, segment_bytes: u32) -> io::Result<Arc<dyn DiskFile>> {
    let file = disk.open(path, OpenMode::CreateNew)?;
    write_zeros(&*file, 0..u64::from(segment_bytes))?;
    file.sync()?;
    Ok(Arc::from(file))
}
