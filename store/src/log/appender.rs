//! The writing end of a log: writes batches to the open segment, seals it, starts the next.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use uuid::Uuid;

use super::disk::Disk;
use super::durable::sync_parent;
use super::promise::Promise;
use super::segment::{
    Extent, OpenSegment, SegmentFooter, SegmentHeader, encode_seal, segment_path, to_u32,
};
use super::segments::{Sealed, Segments};
use super::spare::{Spare, SpareError, SpareShelf, make_spare};
use crate::event::{Epoch, Sequence};
use crate::record::Chain;

/// Where a log ends: what the next record continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogEnd {
    /// Sequence of the last record; 0 before the first.
    pub(crate) last: Sequence,
    /// Chain after it.
    pub(crate) chain: Chain,
    /// Its time, microseconds since 1970.
    pub(crate) time_micros: u64,
    /// Its epoch.
    pub(crate) epoch: Epoch,
}

impl LogEnd {
    /// That of a log without records.
    pub(crate) const EMPTY: Self =
        Self { last: Sequence::ZERO, chain: Chain([0; 16]), time_micros: 0, epoch: Epoch::ZERO };
}

/// Where a partition's files are and whose they are.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) partition_id: Uuid,
}

/// Why a new segment could not be started.
#[derive(Debug)]
pub(crate) enum RollError {
    /// The disk is full: nothing was changed, a later try may succeed.
    Full,
    /// The log is in doubt.
    Io(io::Error),
}

/// Encoded records that go to disk together.
pub(crate) struct Write<'a> {
    /// Whole records back to back.
    pub(crate) bytes: &'a [u8],
    /// Length of each.
    pub(crate) lengths: &'a [u32],
    /// Where the log ends after them.
    pub(crate) end: LogEnd,
}

/// Owned by whoever writes; readers see the segments grow.
pub(crate) struct Appender {
    place: Place,
    segments: Arc<Segments>,
    shelf: Arc<SpareShelf>,
    open: Arc<OpenSegment>,
    /// Of what is written.
    end: LogEnd,
}

impl Appender {
    pub(crate) fn new(
        place: Place,
        segments: Arc<Segments>,
        shelf: Arc<SpareShelf>,
        (open, end): (Arc<OpenSegment>, LogEnd),
    ) -> Self {
        Self { place, segments, shelf, open, end }
    }

    /// The segment that takes the next records.
    pub(crate) fn open_segment(&self) -> &Arc<OpenSegment> {
        &self.open
    }

    /// Where the files are.
    pub(crate) const fn place(&self) -> &Place {
        &self.place
    }

    /// Where the log ends with everything written.
    pub(crate) const fn end(&self) -> LogEnd {
        self.end
    }

    /// Leaves evidence that everything up to `sequence` (inclusive) is committed and durable, and
    /// of whether what the records say of those before them counts.
    pub(crate) fn promise(&self, sequence: Sequence, records_count: bool) -> io::Result<()> {
        let partition_id = self.place.partition_id;
        let promise = Promise { partition_id, sequence, records_count };
        promise.write(&*self.place.disk, &self.place.dir)
    }

    /// Whether records fit the open segment.
    pub(crate) fn fits(&self, count: usize, bytes: usize) -> bool {
        self.open.fits(to_u32(count), to_u32(bytes))
    }

    /// Writes records at the end of the open segment, which has room for them.
    ///
    /// # Errors
    /// Any error leaves the log in doubt: the caller poisons.
    pub(crate) fn write(&mut self, write: &Write<'_>) -> io::Result<()> {
        let count = u64::try_from(write.lengths.len()).map_err(io::Error::other)?;
        assert_eq!(write.end.last.0, self.end.last.0 + count, "records continue the log");
        self.open.file.write_at(write.bytes, u64::from(self.open.end()))?;
        self.open.extend(write.lengths.iter().copied());
        self.end = write.end;
        Ok(())
    }

    /// Starts the next segment and seals the open one. Everything written is durable afterwards.
    ///
    /// The successor comes before the footer, so that a sealed segment always has one: recovery
    /// then knows a missing file from the end of the log.
    ///
    /// # Errors
    /// [`RollError::Full`] before anything has changed; after any other the caller poisons.
    pub(crate) fn roll(&mut self, epoch: Epoch) -> Result<Sealed, RollError> {
        let spare = self.shelf.take().map_err(|error| match error {
            SpareError::Full => RollError::Full,
            SpareError::Io(error) => RollError::Io(error),
        })?;
        let header = SegmentHeader {
            partition_id: self.place.partition_id,
            first: self.end.last.next(),
            epoch,
            chain: self.end.chain,
            segment_bytes: spare.segment_bytes,
        };
        self.swap(spare, header).map_err(RollError::Io)
    }

    fn swap(&mut self, spare: Spare, header: SegmentHeader) -> io::Result<Sealed> {
        // The successor's header tells where this segment ends: that must be durable first.
        self.open.sync()?;
        let open = Arc::new(start_segment(&self.place, spare, header)?);
        let sealed = seal(&self.open, self.end)?;
        self.open = Arc::clone(&open);
        self.segments.roll(sealed, open);
        Ok(sealed)
    }
}

/// Writes table and footer of a segment whose records end with `end` and are durable.
pub(crate) fn seal(segment: &OpenSegment, end: LogEnd) -> io::Result<Sealed> {
    let extent = segment.extent();
    let segment_bytes = segment.header.segment_bytes;
    let mut footer = SegmentFooter {
        partition_id: segment.header.partition_id,
        first: segment.header.first,
        last: end.last,
        count: extent.count,
        end: extent.end,
        chain: end.chain,
        time_micros: end.time_micros,
        epoch: end.epoch,
        table_crc: 0,
    };
    let bytes = encode_seal(&extent.table, &mut footer);
    segment.file.write_at(&bytes, u64::from(footer.table_offset(segment_bytes)))?;
    segment.sync()?;
    Ok(Sealed { footer, segment_bytes })
}

/// Makes a spare the segment with this header: header durable first, then the name.
fn start_segment(place: &Place, spare: Spare, header: SegmentHeader) -> io::Result<OpenSegment> {
    spare.file.write_at(&header.encode(), 0)?;
    spare.file.sync()?;
    let path = segment_path(&place.dir, header.first);
    place.disk.rename(&spare.path, &path)?;
    sync_parent(&*place.disk, &path)?;
    Ok(OpenSegment::new(path, header, spare.file, Extent::empty()))
}

/// Makes the first segment of a new partition.
pub(crate) fn create_first_segment(
    place: &Place,
    epoch: Epoch,
    segment_bytes: u32,
) -> io::Result<()> {
    let spare = make_spare(&*place.disk, &place.dir, segment_bytes)?;
    let header = SegmentHeader {
        partition_id: place.partition_id,
        first: Sequence(1),
        epoch,
        chain: LogEnd::EMPTY.chain,
        segment_bytes,
    };
    start_segment(place, spare, header).map(drop)
}
