//! Fixed fields of the small blocks around the records: segment header and footer, control file,
//! node file. Each starts with the same 16 bytes and ends with a checksum.
//!
//! ```text
//!   0  8  magic, names the kind of block
//!   8  4  format version         12  4  oldest version of a reader that may use it
//!  16 ..  fields, then zeros
//!  -4  4  CRC-32 of everything before
//! ```

use uuid::Uuid;

/// Newest version that this crate reads.
pub(crate) const FORMAT_VERSION: u32 = 2;
/// Version of a block that any version of this crate can read.
pub(crate) const FORMAT_VERSION_MIN: u32 = 1;
const PREAMBLE_BYTES: usize = 16;
const CRC_BYTES: usize = 4;

/// Names the kind of a block.
pub(crate) type Magic = [u8; 8];

/// Why a block can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BlockError {
    /// It is not what it should be: another magic, a wrong checksum, a field out of range.
    Damaged,
    /// It was written by a newer version, for readers from this version on.
    Newer {
        /// Oldest format version of a reader.
        needed: u32,
    },
}

/// Writes the fields of a block one after another.
pub(crate) struct BlockWriter {
    bytes: Vec<u8>,
}

impl BlockWriter {
    pub(crate) fn new(magic: Magic) -> Self {
        Self::for_version(magic, FORMAT_VERSION_MIN)
    }

    /// A block that only readers from a version on may use.
    pub(crate) fn for_version(magic: Magic, version: u32) -> Self {
        let mut bytes = Vec::with_capacity(128);
        bytes.extend_from_slice(&magic);
        bytes.extend_from_slice(&version.to_le_bytes());
        bytes.extend_from_slice(&version.to_le_bytes());
        Self { bytes }
    }

    pub(crate) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    pub(crate) fn u16(self, number: u16) -> Self {
        self.bytes(&number.to_le_bytes())
    }

    pub(crate) fn u32(self, number: u32) -> Self {
        self.bytes(&number.to_le_bytes())
    }

    pub(crate) fn u64(self, number: u64) -> Self {
        self.bytes(&number.to_le_bytes())
    }

    /// The whole block: zeros up to `length`, the last four bytes being the checksum.
    pub(crate) fn finish(mut self, length: usize) -> Vec<u8> {
        assert!(self.bytes.len() + CRC_BYTES <= length, "the fields fit their block");
        self.bytes.resize(length - CRC_BYTES, 0);
        self.seal()
    }

    /// The block just as long as its fields.
    pub(crate) fn seal(mut self) -> Vec<u8> {
        let crc = crc32fast::hash(&self.bytes);
        self.bytes.extend_from_slice(&crc.to_le_bytes());
        self.bytes
    }
}

/// Reads the fields of a block in the order in which they were written.
pub(crate) struct BlockReader<'a> {
    rest: &'a [u8],
}

impl<'a> BlockReader<'a> {
    /// Checks magic, version and checksum of a whole block.
    ///
    /// The version comes before the checksum: a newer format may have its checksum elsewhere.
    pub(crate) fn new(block: &'a [u8], magic: Magic) -> Result<Self, BlockError> {
        let (preamble, _) =
            block.split_first_chunk::<PREAMBLE_BYTES>().ok_or(BlockError::Damaged)?;
        let mut fields = BlockReader { rest: preamble };
        let found: Magic = fields.array()?;
        let (_written_by, needed) = (fields.u32()?, fields.u32()?);
        if found != magic {
            return Err(BlockError::Damaged);
        }
        let (content, crc) = block.split_last_chunk::<CRC_BYTES>().ok_or(BlockError::Damaged)?;
        let intact = crc32fast::hash(content) == u32::from_le_bytes(*crc);
        if needed > FORMAT_VERSION {
            return Err(BlockError::Newer { needed });
        }
        let rest = content.get(PREAMBLE_BYTES..).filter(|_| intact).ok_or(BlockError::Damaged)?;
        Ok(Self { rest })
    }

    /// Reads fields that some other block has protected already.
    pub(crate) const fn plain(content: &'a [u8]) -> Self {
        Self { rest: content }
    }

    /// Whether nothing is left.
    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Result<&'a [u8], BlockError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(BlockError::Damaged)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], BlockError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(BlockError::Damaged)?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, BlockError> {
        self.array().map(u8::from_le_bytes)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, BlockError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, BlockError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, BlockError> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn uuid(&mut self) -> Result<Uuid, BlockError> {
        self.array().map(Uuid::from_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAGIC: Magic = *b"SLOGTEST";

    #[test]
    fn every_flipped_bit_is_found() {
        let block = BlockWriter::new(MAGIC).u64(7).u16(3).finish(64);
        assert_eq!(block.len(), 64);
        let mut fields = BlockReader::new(&block, MAGIC).unwrap();
        assert_eq!((fields.u64(), fields.u16()), (Ok(7), Ok(3)));
        for bit in 0..block.len() * 8 {
            let mut flipped = block.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(BlockReader::new(&flipped, MAGIC).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_newer_format_is_told_from_damage() {
        let mut block = BlockWriter::new(MAGIC).u64(7).seal();
        block[12] = 3;
        let error = BlockReader::new(&block, MAGIC).err();
        assert_eq!(error, Some(BlockError::Newer { needed: 3 }));
        let other = BlockReader::new(&block, *b"SLOGELSE").err();
        assert_eq!(other, Some(BlockError::Damaged));
    }
}
