//! The broker's data directory and its lock.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::Path;

use super::StartError;

/// The locked data directory. The lock ends with the value, or with the process.
#[derive(Debug)]
pub(super) struct DataDirectory {
    _lock: File,
}

impl DataDirectory {
    /// Creates the directory if it is absent, and takes its lock.
    pub(super) fn open(path: &Path) -> Result<DataDirectory, StartError> {
        let failed = |error| StartError::Directory(path.to_owned(), error);
        fs::create_dir_all(path).map_err(failed)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.join("lock"))
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(DataDirectory { _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(StartError::Locked(path.to_owned())),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_owner_at_a_time() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("new").join("deep");
        let first = DataDirectory::open(&path).unwrap();
        assert!(matches!(DataDirectory::open(&path), Err(StartError::Locked(_))));
        drop(first);
        DataDirectory::open(&path).unwrap();
    }

    #[test]
    fn a_file_in_the_way_is_explained() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("file");
        fs::write(&path, b"").unwrap();
        let error = DataDirectory::open(&path).unwrap_err();
        assert!(error.to_string().contains("--data"), "{error}");
    }
}
