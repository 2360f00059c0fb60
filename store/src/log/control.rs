//! The control file of a partition: what the folder is, whatever it is named.
//!
//! ```text
//!   0 16  magic "SLOGCTRL" and versions     16 16  the partition's own id
//!  32  2  number   34  2  partitions of the store   36  2  store name length   38 48  store name
//!  86  8  oldest sequence that is kept      94  8  created, µs since 1970
//!  508 4  CRC-32
//! ```

use std::io;
use std::path::Path;

use uuid::Uuid;

use super::disk::Disk;
use super::durable::{put_file, read_file};
use super::error::OpenError;
use super::fields::{BlockError, BlockReader, BlockWriter, Magic};
use crate::event::Sequence;
use crate::names::{STORE_NAME_BYTES, StoreName};
use crate::slot::PartitionNumber;

const MAGIC: Magic = *b"SLOGCTRL";
const CONTROL_BYTES: usize = 512;
/// Its name in the partition's folder.
pub(crate) const CONTROL_NAME: &str = "control";

/// A partition's own facts; written once, when it is created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Control {
    /// Drawn when the folder was made.
    pub(crate) partition_id: Uuid,
    /// Store that it belongs to.
    pub(crate) store: StoreName,
    /// Its number there.
    pub(crate) number: PartitionNumber,
    /// Partitions of that store, fixed for ever.
    pub(crate) partitions: u16,
    /// Oldest sequence that is kept: no segment from there on may be missing.
    pub(crate) first: Sequence,
    /// When it was made, microseconds since 1970.
    pub(crate) created_micros: u64,
}

impl Control {
    fn encode(&self) -> Vec<u8> {
        let name = self.store.as_str().as_bytes();
        let mut padded = [0; *STORE_NAME_BYTES.end()];
        padded.iter_mut().zip(name).for_each(|(out, byte)| *out = *byte);
        BlockWriter::new(MAGIC)
            .bytes(self.partition_id.as_bytes())
            .u16(self.number.0)
            .u16(self.partitions)
            .u16(u16::try_from(name.len()).unwrap_or_default())
            .bytes(&padded)
            .u64(self.first.0)
            .u64(self.created_micros)
            .finish(CONTROL_BYTES)
    }

    fn decode(block: &[u8]) -> Result<Self, BlockError> {
        let mut fields = BlockReader::new(block, MAGIC)?;
        let partition_id = fields.uuid()?;
        let (number, partitions) = (PartitionNumber(fields.u16()?), fields.u16()?);
        let length = usize::from(fields.u16()?);
        let padded = fields.bytes(*STORE_NAME_BYTES.end())?;
        let name = padded.get(..length).and_then(|name| std::str::from_utf8(name).ok());
        let store = name.and_then(|name| StoreName::new(name).ok()).ok_or(BlockError::Damaged)?;
        let (first, created_micros) = (Sequence(fields.u64()?), fields.u64()?);
        Ok(Self { partition_id, store, number, partitions, first, created_micros })
    }

    /// Makes the file durable. It is the last step of making a partition: a folder with a control
    /// file is complete.
    pub(crate) fn write(&self, disk: &dyn Disk, dir: &Path) -> io::Result<()> {
        put_file(disk, &dir.join(CONTROL_NAME), &self.encode())
    }

    /// Reads the file of a partition that should be there.
    ///
    /// # Errors
    /// [`OpenError::Missing`], `Corrupt`, `NewerFormat` or `Io`.
    pub(crate) fn read(disk: &dyn Disk, dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join(CONTROL_NAME);
        let block = read_file(disk, &path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => OpenError::Missing { path: path.clone() },
            _ => OpenError::Io { path: path.clone(), source: error },
        })?;
        Self::decode(&block).map_err(OpenError::block(&path, 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_comes_back_and_every_flipped_bit_is_found() {
        let control = Control {
            partition_id: Uuid::from_u128(3),
            store: StoreName::new("orders").unwrap(),
            number: PartitionNumber(1),
            partitions: 2,
            first: Sequence(1),
            created_micros: 5,
        };
        let block = control.encode();
        assert_eq!(Control::decode(&block), Ok(control));
        for bit in 0..block.len() * 8 {
            let mut flipped = block.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Control::decode(&flipped).is_err(), "bit {bit}");
        }
    }
}
