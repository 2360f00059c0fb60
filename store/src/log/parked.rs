//! Records that were cut off the log because another node's history won. They are kept for people
//! and never read again by Starlog.
//!
//! ```text
//! parked/EPOCH-FROM-TO.records       whole records back to back; EPOCH is that of the last one
//! parked/EPOCH-FROM-TO-K.records     the same where another tail has that name already
//! ```

use std::io;
use std::path::{Path, PathBuf};

use super::disk::{Disk, DiskFile, OpenMode};
use super::durable::{create_folder, remove_if_there, sync_parent};
use crate::event::{Epoch, Sequence};

/// Its name in the partition's folder.
pub(crate) const PARKED_DIR: &str = "parked";
const SUFFIX: &str = ".records";
const TEMPORARY_NAME: &str = "parked.tmp";

/// What is parked in a partition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ParkedSummary {
    pub(crate) files: u64,
    pub(crate) records: u64,
}

/// Which records are to be parked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tail {
    /// Of the last one.
    pub(crate) epoch: Epoch,
    /// First and last sequence, both inclusive.
    pub(crate) first: Sequence,
    pub(crate) last: Sequence,
}

/// Gives the records of a tail piece by piece, whole records in order; empty when there are no
/// more.
pub(crate) type Pieces<'a, E> = &'a mut dyn FnMut() -> Result<bytes::Bytes, E>;

/// Counts what is parked in a partition's folder.
pub(crate) fn parked_in(disk: &dyn Disk, dir: &Path) -> io::Result<ParkedSummary> {
    let names = match disk.list(&dir.join(PARKED_DIR)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(ParkedSummary::default());
        }
        names => names?,
    };
    let mut summary = ParkedSummary::default();
    for (first, last) in names.iter().filter_map(|name| sequences_in(name)) {
        summary.files += 1;
        summary.records += (last.0 + 1).saturating_sub(first.0);
    }
    Ok(summary)
}

/// First and last sequence in the name of a parked file, if it is one.
fn sequences_in(name: &str) -> Option<(Sequence, Sequence)> {
    let mut parts = name.strip_suffix(SUFFIX)?.split('-');
    let mut number = || parts.next().and_then(|digits| digits.parse::<u64>().ok());
    let (_epoch, first, last) = (number()?, number()?, number()?);
    Some((Sequence(first), Sequence(last)))
}

/// Makes a file of the records of a tail, durable under its final name when this returns. A tail
/// that is parked already, byte for byte, stays as it is: the cut after it did not happen.
pub(crate) fn park<E: From<io::Error>>(
    disk: &dyn Disk,
    dir: &Path,
    tail: Tail,
    pieces: Pieces<'_, E>,
) -> Result<PathBuf, E> {
    let parked = dir.join(PARKED_DIR);
    create_folder(disk, &parked)?;
    let temporary = parked.join(TEMPORARY_NAME);
    remove_if_there(disk, &temporary)?;
    let file = disk.open(&temporary, OpenMode::CreateNew)?;
    let written = write_pieces(&*file, pieces);
    if written.is_err() {
        // The first error tells more than a second one would; the space is given back.
        let _ = remove_if_there(disk, &temporary);
    }
    written?;
    let names = disk.list(&parked)?;
    let base = format!("{:020}-{:020}-{:020}", tail.epoch.0, tail.first.0, tail.last.0);
    for number in 1_u32.. {
        let name = match number {
            1 => format!("{base}{SUFFIX}"),
            _ => format!("{base}-{number}{SUFFIX}"),
        };
        let path = parked.join(&name);
        if !names.contains(&name) {
            disk.rename(&temporary, &path)?;
            sync_parent(disk, &path)?;
            return Ok(path);
        }
        if same_content(&*file, &*disk.open(&path, OpenMode::Read)?)? {
            remove_if_there(disk, &temporary)?;
            sync_parent(disk, &path)?;
            return Ok(path);
        }
    }
    Ok(temporary)
}

fn write_pieces<E: From<io::Error>>(file: &dyn DiskFile, pieces: Pieces<'_, E>) -> Result<(), E> {
    let mut at = 0;
    loop {
        let piece = pieces()?;
        if piece.is_empty() {
            break;
        }
        file.write_at(&piece, at)?;
        at += u64::try_from(piece.len()).map_err(io::Error::other)?;
    }
    file.sync()?;
    Ok(())
}

fn same_content(one: &dyn DiskFile, other: &dyn DiskFile) -> io::Result<bool> {
    const PIECE_BYTES: usize = 64 * 1024;
    let length = one.len()?;
    if other.len()? != length {
        return Ok(false);
    }
    let (mut left, mut right) = (vec![0; PIECE_BYTES], vec![0; PIECE_BYTES]);
    let mut at = 0;
    while at < length {
        let read = one.read_at(&mut left, at)?;
        if read == 0 || other.read_at(&mut right, at)? != read {
            return Ok(false);
        }
        if left.get(..read) != right.get(..read) {
            return Ok(false);
        }
        at += u64::try_from(read).map_err(io::Error::other)?;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::disk::FileDisk;

    fn park_text(dir: &Path, text: &str) -> PathBuf {
        let tail = Tail { epoch: Epoch(3), first: Sequence(5), last: Sequence(7) };
        let mut left = vec![text.to_owned()];
        let mut pieces = || Ok::<_, io::Error>(left.pop().unwrap_or_default().into());
        park(&FileDisk, dir, tail, &mut pieces).unwrap()
    }

    #[test]
    fn a_tail_is_parked_once_and_no_other_is_lost() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(parked_in(&FileDisk, dir.path()).unwrap(), ParkedSummary::default());
        let first = park_text(dir.path(), "one");
        let name = "00000000000000000003-00000000000000000005-00000000000000000007.records";
        assert_eq!(first, dir.path().join(PARKED_DIR).join(name));
        assert_eq!(park_text(dir.path(), "one"), first);
        let second = park_text(dir.path(), "two");
        assert_ne!(second, first);
        assert_eq!(park_text(dir.path(), "two"), second);
        assert_eq!(std::fs::read(&first).unwrap(), b"one");
        assert_eq!(std::fs::read(&second).unwrap(), b"two");
        let summary = parked_in(&FileDisk, dir.path()).unwrap();
        assert_eq!(summary, ParkedSummary { files: 2, records: 6 });
    }

    #[test]
    fn a_tail_that_can_t_be_written_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let tail = Tail { epoch: Epoch(3), first: Sequence(5), last: Sequence(7) };
        let mut pieces = || Err::<bytes::Bytes, _>(io::Error::other("no"));
        assert!(park(&FileDisk, dir.path(), tail, &mut pieces).is_err());
        assert_eq!(std::fs::read_dir(dir.path().join(PARKED_DIR)).unwrap().count(), 0);
    }
}
