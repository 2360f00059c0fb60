//! How much room the data directory has left.

use std::path::{Path, PathBuf};

use crate::wire::status::DiskStatus;

/// The file system below the data directory.
pub(super) struct DataDisk {
    dir: PathBuf,
    segment_bytes: u32,
}

impl DataDisk {
    pub(super) fn new(dir: &Path, segment_bytes: u32) -> Self {
        Self { dir: dir.to_owned(), segment_bytes }
    }

    /// What the operating system says; nothing if it says nothing, which is no reason to answer
    /// nothing else. The figures lie in memory: asking for them does not wait for the disk.
    pub(super) fn status(&self) -> Option<DiskStatus> {
        let space = rustix::fs::statvfs(&self.dir).ok()?;
        Some(DiskStatus {
            // What ordinary users may take: a part is often kept for the superuser.
            free_bytes: space.f_bavail.saturating_mul(space.f_frsize),
            total_bytes: space.f_blocks.saturating_mul(space.f_frsize),
            segment_bytes: self.segment_bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_room_and_an_absent_one_has_no_answer() {
        let dir = tempfile::tempdir().unwrap();
        let space = DataDisk::new(dir.path(), 4096).status().unwrap();
        assert!(space.total_bytes > 0 && space.free_bytes <= space.total_bytes, "{space:?}");
        assert_eq!(space.segment_bytes, 4096);
        assert_eq!(DataDisk::new(&dir.path().join("absent"), 4096).status(), None);
    }
}
