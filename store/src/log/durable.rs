//! The steps that make files and folders outlive a power loss: what is pointed at becomes durable
//! before the pointer.

use std::io;
use std::path::Path;

use super::disk::{Disk, OpenMode};

/// Bytes written at once where a file is filled with zeros.
const ZERO_BLOCK_BYTES: usize = 1024 * 1024;

/// Makes a folder and its name durable. Fine when it is there already.
pub(crate) fn create_folder(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    disk.create_dir(dir)?;
    sync_parent(disk, dir)
}

/// Makes a file durable under its final name, complete or not at all; replaces an older one.
pub(crate) fn put_file(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    remove_if_there(disk, &temporary)?;
    let file = disk.open(&temporary, OpenMode::CreateNew)?;
    file.write_at(bytes, 0)?;
    file.sync()?;
    disk.rename(&temporary, path)?;
    sync_parent(disk, path)
}

/// Makes the name of a file or folder durable.
pub(crate) fn sync_parent(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |parent| disk.sync_dir(parent))
}

/// Removes a file that may be missing.
pub(crate) fn remove_if_there(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    match disk.remove(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// The whole of a small file.
pub(crate) fn read_file(disk: &dyn Disk, path: &Path) -> io::Result<Vec<u8>> {
    let file = disk.open(path, OpenMode::Read)?;
    let length = usize::try_from(file.len()?).map_err(io::Error::other)?;
    let mut bytes = vec![0; length];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// Overwrites `range` of a file with zeros. Not synced.
///
/// Real zeros instead of a hole: a sync into space that was written before costs half of one that
/// has to allocate it, and a full disk shows here instead of in the middle of a record.
pub(crate) fn write_zeros(
    file: &dyn super::disk::DiskFile,
    range: std::ops::Range<u64>,
) -> io::Result<()> {
    let zeros = vec![0; ZERO_BLOCK_BYTES];
    let mut at = range.start;
    while at < range.end {
        let length = usize::try_from(range.end - at).unwrap_or(usize::MAX).min(zeros.len());
        file.write_at(zeros.get(..length).unwrap_or(&zeros), at)?;
        at += u64::try_from(length).map_err(io::Error::other)?;
    }
    Ok(())
}

/// Whether the system refused because space or quota is used up: nothing is wrong with the disk.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}
