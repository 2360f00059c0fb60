//! How far a log was committed when its partition was last closed: evidence for recovery.
//!
//! A log alone cannot tell whether its last append was torn by a crash, so that nobody was told of
//! it, or damaged after it was acknowledged. Each record carries a promise about those before it;
//! this file carries one about the last. It is a lower bound that never becomes wrong, so it is
//! written when a partition is closed and never removed. After a kill it says less than it could,
//! and the last append of that run stays undecidable.
//!
//! ```text
//! promise, 64 bytes:  magic and versions 16 | partition id 16 | sequence 8 | records don't
//!                     count 1 | zeros | CRC-32 4
//! ```

use std::io;
use std::path::Path;

use uuid::Uuid;

use super::disk::Disk;
use super::durable::{put_file, read_file};
use super::error::OpenError;
use super::fields::{BlockError, BlockReader, BlockWriter, Magic};
use crate::event::Sequence;

const MAGIC: Magic = *b"SLOGPRMS";
const PROMISE_BYTES: usize = 64;
/// Its name in the partition's folder.
pub(crate) const PROMISE_NAME: &str = "promise";

/// Everything up to a sequence (inclusive) of one partition is committed and durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Promise {
    pub(crate) partition_id: Uuid,
    pub(crate) sequence: Sequence,
    /// Whether what the records say of those before them is evidence, too. Not so while a node
    /// copies more of another one's log than it has synced.
    pub(crate) records_count: bool,
}

impl Promise {
    /// That of a partition of which nothing was promised.
    const fn none(partition_id: Uuid) -> Self {
        Self { partition_id, sequence: Sequence::ZERO, records_count: true }
    }

    /// Up to where (inclusive) the log must be there, if records say that they speak of all up to
    /// `said`.
    pub(crate) fn evidence(self, said: Sequence) -> Sequence {
        if self.records_count { self.sequence.max(said) } else { self.sequence }
    }

    fn encode(self) -> Vec<u8> {
        BlockWriter::new(MAGIC)
            .bytes(self.partition_id.as_bytes())
            .u64(self.sequence.0)
            .bytes(&[u8::from(!self.records_count)])
            .finish(PROMISE_BYTES)
    }

    fn decode(block: &[u8]) -> Result<Self, BlockError> {
        let mut fields = BlockReader::new(block, MAGIC)?;
        let (partition_id, sequence) = (fields.uuid()?, Sequence(fields.u64()?));
        Ok(Self { partition_id, sequence, records_count: fields.u8()? == 0 })
    }

    /// Replaces the promise of a partition's folder.
    ///
    /// # Errors
    /// Those of the operating system: the earlier promise stands then.
    pub(crate) fn write(self, disk: &dyn Disk, dir: &Path) -> io::Result<()> {
        put_file(disk, &dir.join(PROMISE_NAME), &self.encode())
    }

    /// What was promised of this partition; nothing if it was of another one.
    ///
    /// A damaged promise is worth as little as none: the log itself may be sound.
    ///
    /// # Errors
    /// [`OpenError::NewerFormat`] or `Io`.
    pub(crate) fn read(disk: &dyn Disk, dir: &Path, partition_id: Uuid) -> Result<Self, OpenError> {
        let none = Self::none(partition_id);
        let path = dir.join(PROMISE_NAME);
        let block = match read_file(disk, &path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(none),
            result => result.map_err(OpenError::io(&path))?,
        };
        match Self::decode(&block).map_err(OpenError::block(&path, 0)) {
            Ok(promise) if promise.partition_id == partition_id => Ok(promise),
            Ok(_) => Ok(none),
            Err(OpenError::Corrupt { .. }) => {
                log::warn!("{} is damaged and says nothing", path.display());
                Ok(none)
            }
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::disk::FileDisk;

    #[test]
    fn it_comes_back_for_its_own_partition_only() {
        let dir = tempfile::tempdir().unwrap();
        let own = Uuid::from_u128(7);
        let read = |id| Promise::read(&FileDisk, dir.path(), id).unwrap();
        assert_eq!(read(own), Promise::none(own), "no promise was made");
        for (sequence, records_count) in [(3, true), (9, false)] {
            let promise =
                Promise { partition_id: own, sequence: Sequence(sequence), records_count };
            promise.write(&FileDisk, dir.path()).unwrap();
            assert_eq!(read(own), promise);
            let evidence = if records_count { 20 } else { sequence };
            assert_eq!(promise.evidence(Sequence(20)), Sequence(evidence));
        }
        let other = Uuid::from_u128(8);
        assert_eq!(read(other), Promise::none(other));
    }

    #[test]
    fn a_damaged_promise_is_no_promise() {
        let dir = tempfile::tempdir().unwrap();
        let partition_id = Uuid::from_u128(7);
        let promise = Promise { partition_id, sequence: Sequence(3), records_count: true };
        let block = promise.encode();
        for bit in 0..block.len() * 8 {
            let mut flipped = block.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(dir.path().join(PROMISE_NAME), flipped).unwrap();
            let read = Promise::read(&FileDisk, dir.path(), partition_id);
            let nothing = match read {
                Ok(read) => read == Promise::none(partition_id),
                Err(error) => matches!(error, OpenError::NewerFormat { .. }),
            };
            assert!(nothing, "{bit}");
        }
    }
}
