//! A small file that is changed in place and survives a crash at any moment: two slots with the
//! same content.
//!
//! ```text
//!      0 ..  slot 0: magic and versions 16, counter 8, length 4, content, CRC-32 4
//! 262144 ..  slot 1: the same
//! ```
//!
//! A change writes and syncs one slot, then the other. A crash between leaves at least one whole
//! slot; the higher counter wins. Since a finished change stands in both, damage to one slot
//! brings no older state back.

use std::io;
use std::path::Path;

use super::disk::{Disk, DiskFile, OpenMode};
use super::durable::{put_file, read_file};
use super::error::OpenError;
use super::fields::{BlockError, BlockReader, BlockWriter, Magic};

/// Bytes of a slot; content that doesn't fit is refused.
const SLOT_BYTES: usize = 256 * 1024;
const LENGTH_AT: usize = 24;
const CONTENT_AT: usize = 28;
const CRC_BYTES: usize = 4;

/// What is to stand in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Content {
    /// Oldest format version of a reader that may use it.
    pub(crate) version: u32,
    pub(crate) bytes: Vec<u8>,
}

/// An open file of two slots.
pub(crate) struct SlotFile {
    file: Box<dyn DiskFile>,
    magic: Magic,
    counter: u64,
}

impl SlotFile {
    /// Makes the file, complete or not at all.
    pub(crate) fn create(
        disk: &dyn Disk,
        path: &Path,
        (magic, content): (Magic, &Content),
    ) -> io::Result<Self> {
        let counter = 1;
        let slot = encode(magic, counter, content)?;
        let mut both = slot.clone();
        both.resize(SLOT_BYTES, 0);
        both.extend_from_slice(&slot);
        put_file(disk, path, &both)?;
        let file = disk.open(path, OpenMode::Write)?;
        Ok(Self { file, magic, counter })
    }

    /// Opens the file and returns its newest content; `None` when there is no such file.
    ///
    /// # Errors
    /// [`OpenError::Corrupt`] when neither slot is whole, `NewerFormat`, `Io`.
    pub(crate) fn open(
        disk: &dyn Disk,
        path: &Path,
        magic: Magic,
    ) -> Result<Option<(Self, Vec<u8>)>, OpenError> {
        let bytes = match read_file(disk, path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            result => result.map_err(OpenError::io(path))?,
        };
        let second = bytes.get(SLOT_BYTES..).unwrap_or_default();
        let newest = match (decode(magic, &bytes), decode(magic, second)) {
            (Ok(first), Ok(second)) => Ok(if second.0 > first.0 { second } else { first }),
            // A newer program has written here, even if the other slot is still an old one.
            (Err(error @ BlockError::Newer { .. }), _)
            | (_, Err(error @ BlockError::Newer { .. })) => Err(error),
            (Ok(whole), Err(_)) | (Err(_), Ok(whole)) => Ok(whole),
            (Err(error), Err(_)) => Err(error),
        };
        let (counter, content) = newest.map_err(OpenError::block(path, 0))?;
        let file = disk.open(path, OpenMode::Write).map_err(OpenError::io(path))?;
        Ok(Some((Self { file, magic, counter }, content)))
    }

    /// Replaces the content; durable in both slots on return.
    ///
    /// # Errors
    /// Those of the operating system: the old or the new content stands then.
    pub(crate) fn write(&mut self, content: &Content) -> io::Result<()> {
        let counter = self.counter + 1;
        let slot = encode(self.magic, counter, content)?;
        for at in [0, SLOT_BYTES] {
            self.file.write_at(&slot, u64::try_from(at).map_err(io::Error::other)?)?;
            self.file.sync()?;
        }
        self.counter = counter;
        Ok(())
    }
}

fn encode(magic: Magic, counter: u64, content: &Content) -> io::Result<Vec<u8>> {
    let Content { version, bytes } = content;
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    let block = BlockWriter::for_version(magic, *version);
    let slot = block.u64(counter).u32(length).bytes(bytes).seal();
    if slot.len() > SLOT_BYTES {
        return Err(io::Error::other("too many stores and partitions for one node"));
    }
    Ok(slot)
}

/// Counter and content of the slot at the start of `bytes`.
fn decode(magic: Magic, bytes: &[u8]) -> Result<(u64, Vec<u8>), BlockError> {
    let length = bytes.get(LENGTH_AT..).and_then(|rest| rest.first_chunk());
    let length = length.map(|length| u32::from_le_bytes(*length)).ok_or(BlockError::Damaged)?;
    let length = usize::try_from(length).map_err(|_| BlockError::Damaged)?;
    let end = length.min(SLOT_BYTES) + CONTENT_AT + CRC_BYTES;
    let slot = bytes.get(..end).unwrap_or(bytes);
    let mut fields = BlockReader::new(slot, magic)?;
    let (counter, _length) = (fields.u64()?, fields.u32()?);
    Ok((counter, fields.bytes(length)?.to_vec()))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::log::disk::FileDisk;

    const MAGIC: Magic = *b"SLOGTEST";
    const SECOND: usize = SLOT_BYTES;

    fn content(text: &str) -> Content {
        Content { version: 1, bytes: text.into() }
    }

    fn file_with(contents: &[&str]) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("slots");
        let first = content(contents[0]);
        let mut slots = SlotFile::create(&FileDisk, &path, (MAGIC, &first)).unwrap();
        for text in &contents[1..] {
            slots.write(&content(text)).unwrap();
        }
        (dir, path)
    }

    fn read(path: &Path) -> Result<Vec<u8>, OpenError> {
        Ok(SlotFile::open(&FileDisk, path, MAGIC)?.expect("the file is there").1)
    }

    #[test]
    fn the_newest_content_comes_back() {
        let (_dir, path) = file_with(&["one", "two", "a longer third one"]);
        assert_eq!(read(&path).unwrap(), b"a longer third one");
        assert!(SlotFile::open(&FileDisk, &path.with_extension("x"), MAGIC).unwrap().is_none());
    }

    #[test]
    fn damage_to_one_slot_brings_no_older_content_back() {
        for at in [LENGTH_AT, CONTENT_AT, SECOND + LENGTH_AT, SECOND + CONTENT_AT] {
            let (_dir, path) = file_with(&["one", "two"]);
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[at] ^= 0x10;
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(read(&path).unwrap(), b"two", "{at}");
        }
    }

    #[test]
    fn a_half_done_change_leaves_the_old_or_the_new() {
        let (_dir, path) = file_with(&["one"]);
        let before = std::fs::read(&path).unwrap();
        let slot = encode(MAGIC, 2, &content("two")).unwrap();
        for written in 0..=slot.len() {
            let mut bytes = before.clone();
            bytes[..written].copy_from_slice(&slot[..written]);
            std::fs::write(&path, &bytes).unwrap();
            let content = read(&path).unwrap();
            let expected: &[u8] = if written == slot.len() { b"two" } else { b"one" };
            // A cut that leaves the same bytes as a whole slot is a whole slot.
            let same = bytes[..slot.len()] == slot[..];
            assert!(content == expected || same, "{written}: {content:?}");
        }
    }

    #[test]
    fn both_slots_damaged_is_an_error() {
        let (_dir, path) = file_with(&["one", "two"]);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[CONTENT_AT] ^= 1;
        bytes[SECOND + CONTENT_AT] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert!(matches!(read(&path), Err(OpenError::Corrupt { .. })));
    }
}
