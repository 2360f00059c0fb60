//! One file of the log.
//!
//! ```text
//!       0 ..  4096   header block: magic, versions, partition id 16, first sequence 8, epoch at
//!                    creation 8, chain before the first record 16, segment bytes 4
//!    4096 ..  end    records
//!     end ..  table  zeros
//!   table .. -128    sealed: offset (u32) of every 64th record, the first one included
//!    -128 ..         sealed: footer
//! ```
//!
//! The file is as long as its header says from before the header is written until for ever.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use uuid::Uuid;

use super::disk::DiskFile;
use super::fields::{BlockError, BlockReader, BlockWriter, Magic};
use crate::event::{Epoch, Sequence};
use crate::record::{Chain, RECORD_HEADER_BYTES};

/// Bytes before the first record.
pub(crate) const SEGMENT_HEADER_BYTES: u32 = 4096;
/// Bytes of the footer of a sealed segment.
pub(crate) const SEGMENT_FOOTER_BYTES: u32 = 128;
/// One record in so many has its offset in the sparse table.
pub(crate) const SPARSE_EVERY: u32 = 64;
/// Smallest segment: a few records of ordinary size.
pub(crate) const SEGMENT_BYTES_MIN: u32 = 64 * 1024;
/// Largest segment: offsets are 32 bits wide, and a scan of one must stay short.
pub(crate) const SEGMENT_BYTES_MAX: u32 = 1024 * 1024 * 1024;

const HEADER_MAGIC: Magic = *b"SLOGSEGM";
const FOOTER_MAGIC: Magic = *b"SLOGFOOT";
const SUFFIX: &str = ".segment";
const OFFSET_BYTES: u32 = 4;

/// Path of the segment that starts with a sequence.
pub(crate) fn segment_path(dir: &Path, first: Sequence) -> PathBuf {
    dir.join(format!("{:020}{SUFFIX}", first.0))
}

/// The first sequence of a segment with this file name, if it is one.
pub(crate) fn segment_in_name(name: &str) -> Option<Sequence> {
    let digits = name.strip_suffix(SUFFIX)?;
    let plain = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| plain).map(Sequence)
}

/// First block of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    /// The partition's own id: a segment of another one never slips in.
    pub(crate) partition_id: Uuid,
    /// Sequence of its first record.
    pub(crate) first: Sequence,
    /// Epoch in which it was made.
    pub(crate) epoch: Epoch,
    /// Chain before its first record.
    pub(crate) chain: Chain,
    /// Length of the whole file.
    pub(crate) segment_bytes: u32,
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> Vec<u8> {
        BlockWriter::new(HEADER_MAGIC)
            .bytes(self.partition_id.as_bytes())
            .u64(self.first.0)
            .u64(self.epoch.0)
            .bytes(&self.chain.0)
            .u32(self.segment_bytes)
            .finish(to_usize(SEGMENT_HEADER_BYTES))
    }

    pub(crate) fn decode(block: &[u8]) -> Result<Self, BlockError> {
        let mut fields = BlockReader::new(block, HEADER_MAGIC)?;
        Ok(Self {
            partition_id: fields.uuid()?,
            first: Sequence(fields.u64()?),
            epoch: Epoch(fields.u64()?),
            chain: Chain(fields.array()?),
            segment_bytes: fields.u32()?,
        })
    }
}

/// Last block of a sealed segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentFooter {
    /// The partition's own id.
    pub(crate) partition_id: Uuid,
    /// Sequence of its first record.
    pub(crate) first: Sequence,
    /// Sequence of its last record, inclusive.
    pub(crate) last: Sequence,
    /// Number of records.
    pub(crate) count: u32,
    /// Offset after the last record.
    pub(crate) end: u32,
    /// Chain after the last record.
    pub(crate) chain: Chain,
    /// Time of the last record, microseconds since 1970.
    pub(crate) time_micros: u64,
    /// Epoch of the last record.
    pub(crate) epoch: Epoch,
    /// CRC-32 of the sparse table.
    pub(crate) table_crc: u32,
}

impl SegmentFooter {
    fn encode(&self) -> Vec<u8> {
        BlockWriter::new(FOOTER_MAGIC)
            .bytes(self.partition_id.as_bytes())
            .u64(self.first.0)
            .u64(self.last.0)
            .u32(self.count)
            .u32(self.end)
            .bytes(&self.chain.0)
            .u64(self.time_micros)
            .u64(self.epoch.0)
            .u32(self.table_crc)
            .finish(to_usize(SEGMENT_FOOTER_BYTES))
    }

    pub(crate) fn decode(block: &[u8]) -> Result<Self, BlockError> {
        let mut fields = BlockReader::new(block, FOOTER_MAGIC)?;
        let footer = Self {
            partition_id: fields.uuid()?,
            first: Sequence(fields.u64()?),
            last: Sequence(fields.u64()?),
            count: fields.u32()?,
            end: fields.u32()?,
            chain: Chain(fields.array()?),
            time_micros: fields.u64()?,
            epoch: Epoch(fields.u64()?),
            table_crc: fields.u32()?,
        };
        let counted = footer.last.0.checked_sub(footer.first.0).map(|between| between + 1);
        let possible = footer.count > 0 && counted == Some(u64::from(footer.count));
        if possible { Ok(footer) } else { Err(BlockError::Damaged) }
    }

    /// Offset of the sparse table in a file of `segment_bytes`.
    pub(crate) const fn table_offset(&self, segment_bytes: u32) -> u32 {
        segment_bytes - seal_bytes(self.count)
    }

    /// Entries of the sparse table.
    pub(crate) const fn table_entries(&self) -> u32 {
        self.count.div_ceil(SPARSE_EVERY)
    }
}

/// Bytes that sealing a segment of `count` records takes at the end of the file.
pub(crate) const fn seal_bytes(count: u32) -> u32 {
    count.div_ceil(SPARSE_EVERY) * OFFSET_BYTES + SEGMENT_FOOTER_BYTES
}

/// Table and footer, one after the other, as they stand at the end of a sealed file. The footer
/// gets the checksum of the table.
pub(crate) fn encode_seal(table: &[u32], footer: &mut SegmentFooter) -> Vec<u8> {
    let mut bytes: Vec<u8> = table.iter().flat_map(|offset| offset.to_le_bytes()).collect();
    footer.table_crc = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&footer.encode());
    bytes
}

/// The sparse table, if it is what the footer vouches for.
pub(crate) fn decode_table(bytes: &[u8], footer: &SegmentFooter) -> Result<Vec<u32>, BlockError> {
    let (entries, rest) = bytes.as_chunks();
    let whole = rest.is_empty() && entries.len() == to_usize(footer.table_entries());
    if !whole || crc32fast::hash(bytes) != footer.table_crc {
        return Err(BlockError::Damaged);
    }
    Ok(entries.iter().map(|entry| u32::from_le_bytes(*entry)).collect())
}

/// Where to start reading for a sequence.
#[derive(Clone)]
pub(crate) struct Located {
    /// The segment's file.
    pub(crate) file: Arc<dyn DiskFile>,
    /// Its path, for messages.
    pub(crate) path: Arc<Path>,
    /// First sequence of the segment.
    pub(crate) segment: Sequence,
    /// Offset of the record `sequence`, at or shortly before the one wanted.
    pub(crate) offset: u32,
    /// The record that starts at `offset`.
    pub(crate) sequence: Sequence,
    /// Offset after the last written record of the segment.
    pub(crate) end: u32,
}

/// The segment that is being written, as the writer and the readers share it.
pub(crate) struct OpenSegment {
    pub(crate) path: Arc<Path>,
    pub(crate) header: SegmentHeader,
    pub(crate) file: Arc<dyn DiskFile>,
    extent: RwLock<Extent>,
    /// Whether a sync of the file has failed.
    sync_failed: Mutex<bool>,
}

/// How far an open segment reaches; grows with each batch.
#[derive(Debug, Clone, Default)]
pub(crate) struct Extent {
    /// Offsets of every 64th record.
    pub(crate) table: Vec<u32>,
    /// Records in the file.
    pub(crate) count: u32,
    /// Offset after the last record.
    pub(crate) end: u32,
}

impl Extent {
    /// That of a segment without records.
    pub(crate) const fn empty() -> Self {
        Self { table: Vec::new(), count: 0, end: SEGMENT_HEADER_BYTES }
    }

    /// Takes in the next record, which starts at the end.
    pub(crate) fn push(&mut self, length: u32) {
        if self.count.is_multiple_of(SPARSE_EVERY) {
            self.table.push(self.end);
        }
        self.count += 1;
        self.end += length;
    }

    /// Whether `count` more records of `bytes` in all leave room for table and footer.
    pub(crate) fn fits(&self, count: u32, bytes: u32, segment_bytes: u32) -> bool {
        let needed = u64::from(self.end) + u64::from(bytes);
        needed + u64::from(seal_bytes(self.count + count)) <= u64::from(segment_bytes)
    }
}

/// Most record bytes that one append can have in segments of this length.
pub(crate) fn append_bytes_max(segment_bytes: u32) -> u32 {
    let records_max = segment_bytes / to_u32(RECORD_HEADER_BYTES);
    let room = segment_bytes - SEGMENT_HEADER_BYTES - seal_bytes(records_max);
    room.min(to_u32(crate::event::APPEND_BYTES_MAX))
}

impl OpenSegment {
    pub(crate) fn new(
        path: PathBuf,
        header: SegmentHeader,
        file: Arc<dyn DiskFile>,
        extent: Extent,
    ) -> Self {
        let extent = RwLock::new(extent);
        Self { path: path.into(), header, file, extent, sync_failed: Mutex::new(false) }
    }

    /// Makes what is written durable, one caller at a time.
    ///
    /// The system reports a failed write-back to one sync only. Writer and syncer may sync at the
    /// same time, so the failure is kept here for the one who would be told that all is well.
    ///
    /// # Errors
    /// That of the sync, and from then on always.
    pub(crate) fn sync(&self) -> io::Result<()> {
        let mut failed = self.sync_failed.lock().unwrap_or_else(PoisonError::into_inner);
        if *failed {
            return Err(io::Error::other("an earlier sync of this file failed"));
        }
        let result = self.file.sync();
        *failed = result.is_err();
        result
    }

    /// How far it reaches now.
    pub(crate) fn extent(&self) -> Extent {
        self.extent.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether `count` more records of `bytes` in all fit.
    pub(crate) fn fits(&self, count: u32, bytes: u32) -> bool {
        let extent = self.extent.read().unwrap_or_else(PoisonError::into_inner);
        extent.fits(count, bytes, self.header.segment_bytes)
    }

    /// Offset after the last record.
    pub(crate) fn end(&self) -> u32 {
        self.extent.read().unwrap_or_else(PoisonError::into_inner).end
    }

    /// Takes in records that were written at its end.
    pub(crate) fn extend(&self, lengths: impl Iterator<Item = u32>) {
        let mut extent = self.extent.write().unwrap_or_else(PoisonError::into_inner);
        for length in lengths {
            extent.push(length);
        }
    }

    /// Where to start reading for a sequence that is in it.
    pub(crate) fn locate(&self, sequence: Sequence) -> Option<Located> {
        let extent = self.extent.read().unwrap_or_else(PoisonError::into_inner);
        let (offset, start) = sparse_place(&extent.table, self.header.first, sequence)?;
        Some(Located {
            file: Arc::clone(&self.file),
            path: Arc::clone(&self.path),
            segment: self.header.first,
            offset,
            sequence: start,
            end: extent.end,
        })
    }
}

/// The nearest entry of a sparse table at or before a sequence: its offset and its sequence.
pub(crate) fn sparse_place(
    table: &[u32],
    first: Sequence,
    wanted: Sequence,
) -> Option<(u32, Sequence)> {
    let every = u64::from(SPARSE_EVERY);
    let entry = wanted.0.checked_sub(first.0)? / every;
    let offset = table.get(usize::try_from(entry).ok()?)?;
    Some((*offset, Sequence(first.0 + entry * every)))
}

/// A length that is known to fit.
pub(crate) fn to_u32(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// The same the other way round.
pub(crate) fn to_usize(length: u32) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails one sync, as a system does that has told its error once.
    struct FailsOnce(std::sync::atomic::AtomicBool);

    impl DiskFile for FailsOnce {
        fn read_at(&self, _: &mut [u8], _: u64) -> io::Result<usize> {
            Ok(0)
        }
        fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
            Ok(())
        }
        fn sync(&self) -> io::Result<()> {
            match self.0.swap(true, std::sync::atomic::Ordering::SeqCst) {
                true => Ok(()),
                false => Err(io::Error::other("write-back failed")),
            }
        }
        fn len(&self) -> io::Result<u64> {
            Ok(0)
        }
        fn set_len(&self, _: u64) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_failed_sync_fails_for_everyone_after_it() {
        let header = SegmentHeader {
            partition_id: Uuid::from_u128(1),
            first: Sequence(1),
            epoch: Epoch(1),
            chain: Chain::default(),
            segment_bytes: SEGMENT_BYTES_MIN,
        };
        let file = Arc::new(FailsOnce(false.into()));
        let segment = OpenSegment::new(PathBuf::new(), header, file, Extent::empty());
        assert!(segment.sync().is_err());
        assert!(segment.sync().is_err(), "the second caller must not be told that all is well");
    }

    #[test]
    fn names() {
        let dir = Path::new("/d");
        let path = segment_path(dir, Sequence(262_144));
        assert_eq!(path, Path::new("/d/00000000000000262144.segment"));
        assert_eq!(segment_in_name("00000000000000262144.segment"), Some(Sequence(262_144)));
        for name in ["1.segment", "0000000000000026214x.segment", "00000000000000262144.tmp", ""] {
            assert_eq!(segment_in_name(name), None, "{name}");
        }
    }

    #[test]
    fn header_and_footer_come_back() {
        let header = SegmentHeader {
            partition_id: Uuid::from_u128(1),
            first: Sequence(5),
            epoch: Epoch(2),
            chain: Chain([7; 16]),
            segment_bytes: SEGMENT_BYTES_MIN,
        };
        assert_eq!(SegmentHeader::decode(&header.encode()), Ok(header));
        let mut footer = SegmentFooter {
            partition_id: Uuid::from_u128(1),
            first: Sequence(5),
            last: Sequence(134),
            count: 130,
            end: 50_000,
            chain: Chain([8; 16]),
            time_micros: 9,
            epoch: Epoch(2),
            table_crc: 0,
        };
        let table = [4096, 20_000, 40_000];
        let bytes = encode_seal(&table, &mut footer);
        assert_eq!(bytes.len(), to_usize(seal_bytes(footer.count)));
        let (entries, block) = bytes.split_at(3 * 4);
        let read = SegmentFooter::decode(block).unwrap();
        assert_eq!(read, footer);
        assert_eq!(decode_table(entries, &read), Ok(table.to_vec()));
        assert!(decode_table(&entries[4..], &read).is_err());
    }

    #[test]
    fn sparse_places() {
        let mut extent = Extent::empty();
        for _ in 0..130 {
            extent.push(200);
        }
        assert_eq!(extent.table, [4096, 4096 + 64 * 200, 4096 + 128 * 200]);
        let place = |wanted| sparse_place(&extent.table, Sequence(11), Sequence(wanted));
        assert_eq!(place(10), None);
        assert_eq!(place(11), Some((4096, Sequence(11))));
        assert_eq!(place(74), Some((4096, Sequence(11))));
        assert_eq!(place(75), Some((4096 + 64 * 200, Sequence(75))));
    }

    #[test]
    fn the_largest_append_fits_an_empty_segment() {
        for segment_bytes in [SEGMENT_BYTES_MIN, 64 * 1024 * 1024] {
            let bytes = append_bytes_max(segment_bytes);
            let records = bytes / 128;
            assert!(Extent::empty().fits(records.min(1000), bytes, segment_bytes));
        }
    }
}
