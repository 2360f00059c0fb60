//! One process per directory.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::log::OpenError;

const LOCK_NAME: &str = "lock";

/// Held until it is dropped, or until the process dies in whatever way.
pub(crate) struct DirLock {
    _file: File,
}

impl DirLock {
    /// Locks a directory, or says which process has it.
    pub(crate) fn acquire(dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join(LOCK_NAME);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(OpenError::io(&path))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let mut pid = String::new();
                // The holder may not have written it yet; the message then says `?`.
                let _ = file.read_to_string(&mut pid);
                let pid = pid.trim();
                let pid = if pid.is_empty() { "?" } else { pid }.to_owned();
                return Err(OpenError::Locked { dir: dir.to_owned(), pid });
            }
            Err(error) => return Err(OpenError::io(&path)(error.into())),
        }
        file.set_len(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(OpenError::io(&path))?;
        Ok(Self { _file: file })
    }

    /// Whether a name in a node's directory is that of the lock file.
    pub(crate) fn is_its_name(name: &str) -> bool {
        name == LOCK_NAME
    }
}
