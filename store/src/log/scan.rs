//! Walking through the records of a segment file, with every check.

use std::io;

use super::appender::LogEnd;
use super::disk::DiskFile;
use super::segment::{Extent, SEGMENT_HEADER_BYTES, to_u32, to_usize};
use crate::event::{EventId, Sequence, Version};
use crate::names::StreamName;
use crate::record::{RECORD_ALIGNMENT, RECORD_BYTES_MAX, RecordError, RecordView};

/// Bytes read at once.
const WINDOW_BYTES: usize = 8 * 1024 * 1024;
/// Appends are handed on once they have so many records together.
const HAND_ON_RECORDS: usize = 1024;
/// Zeros are skipped in pieces of this size: most of an open segment is zeros.
const ZERO_PIECE: [u8; 4096] = [0; 4096];

const _: () = assert!(WINDOW_BYTES >= RECORD_BYTES_MAX);

/// What the index needs to know of a record.
#[derive(Debug, Clone)]
pub(crate) struct Scanned {
    pub(crate) stream: StreamName,
    pub(crate) version: Version,
    pub(crate) id: EventId,
    pub(crate) sequence: Sequence,
    pub(crate) offset: u32,
}

/// Why a walk ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Nothing but the limit.
    Limit,
    /// No whole record stands at the end.
    NoRecord(RecordError),
    /// A whole record stands there that does not continue this log.
    Discontinuity(&'static str),
}

/// Result of a walk.
#[derive(Debug)]
pub(crate) struct Walk {
    /// Where the log ends, after the last whole append.
    pub(crate) end: LogEnd,
    /// The same as bytes and counts.
    pub(crate) extent: Extent,
    /// Whole records after that, of an append that has no end.
    pub(crate) unfinished: u32,
    /// Offset at which the walk ended.
    pub(crate) stopped_at: u32,
    /// Why it ended there.
    pub(crate) stop: Stop,
    /// Highest "committed up to" of all records seen.
    pub(crate) promised: Sequence,
}

/// Walks from the first record up to `limit`, the end of where records can be; hands on the
/// records of whole appends, in order.
pub(crate) fn walk(
    file: &dyn DiskFile,
    start: LogEnd,
    limit: u32,
    hand_on: &mut dyn FnMut(&[Scanned]),
) -> io::Result<Walk> {
    let mut walker = Walker::new(start);
    let mut window = Window::new(file, limit);
    loop {
        let offset = walker.seen.end;
        if offset >= limit {
            walker.stop = Stop::Limit;
            break;
        }
        let bytes = window.at(offset)?;
        let view = RecordView::frame(bytes).and_then(|view| view.check_body().map(|()| view));
        let taken = match view {
            Ok(view) => walker.take(&view),
            Err(error) => Err(Stop::NoRecord(error)),
        };
        if let Err(stop) = taken {
            walker.stop = stop;
            break;
        }
        if walker.whole >= HAND_ON_RECORDS {
            walker.hand_on(hand_on);
        }
    }
    walker.hand_on(hand_on);
    Ok(walker.finish())
}

struct Walker {
    /// After the last record.
    at: LogEnd,
    seen: Extent,
    /// After the last whole append.
    end: LogEnd,
    end_extent: (u32, u32),
    scanned: Vec<Scanned>,
    /// So many of `scanned` belong to whole appends.
    whole: usize,
    promised: Sequence,
    stop: Stop,
}

impl Walker {
    fn new(start: LogEnd) -> Self {
        Self {
            at: start,
            seen: Extent::empty(),
            end: start,
            end_extent: (0, SEGMENT_HEADER_BYTES),
            scanned: Vec::new(),
            whole: 0,
            promised: Sequence::ZERO,
            stop: Stop::Limit,
        }
    }

    fn take(&mut self, view: &RecordView<'_>) -> Result<(), Stop> {
        if view.sequence() != self.at.last.next() {
            return Err(Stop::Discontinuity("a record has another sequence than the next"));
        }
        if !view.continues(self.at.chain) {
            return Err(Stop::Discontinuity("a record continues another history"));
        }
        if view.epoch() < self.at.epoch || view.time_micros() < self.at.time_micros {
            return Err(Stop::Discontinuity("epoch or time go back"));
        }
        let stream = StreamName::new(bytes::Bytes::copy_from_slice(view.stream()))
            .map_err(|_| Stop::Discontinuity("a stream name is not one"))?;
        self.scanned.push(Scanned {
            stream,
            version: view.version(),
            id: view.id(),
            sequence: view.sequence(),
            offset: self.seen.end,
        });
        self.seen.push(to_u32(view.len()));
        self.promised = self.promised.max(view.committed_up_to());
        self.at = LogEnd {
            last: view.sequence(),
            chain: view.chain(),
            time_micros: view.time_micros(),
            epoch: view.epoch(),
        };
        if view.ends_append() {
            self.end = self.at;
            self.end_extent = (self.seen.count, self.seen.end);
            self.whole = self.scanned.len();
        }
        Ok(())
    }

    fn hand_on(&mut self, hand_on: &mut dyn FnMut(&[Scanned])) {
        if self.whole > 0 {
            hand_on(self.scanned.get(..self.whole).unwrap_or_default());
            self.scanned.drain(..self.whole);
            self.whole = 0;
        }
    }

    fn finish(self) -> Walk {
        let stopped_at = self.seen.end;
        let (count, end) = self.end_extent;
        let unfinished = self.seen.count - count;
        let mut extent = self.seen;
        extent.table.truncate(to_usize(count.div_ceil(super::segment::SPARSE_EVERY)));
        extent.count = count;
        extent.end = end;
        Walk {
            end: self.end,
            extent,
            unfinished,
            stopped_at,
            stop: self.stop,
            promised: self.promised,
        }
    }
}

/// Part of a file in memory, moved along.
pub(crate) struct Window<'a> {
    file: &'a dyn DiskFile,
    limit: u32,
    start: u32,
    bytes: Vec<u8>,
}

impl<'a> Window<'a> {
    pub(crate) const fn new(file: &'a dyn DiskFile, limit: u32) -> Self {
        Self { file, limit, start: 0, bytes: Vec::new() }
    }

    /// The bytes from `offset` on: a whole record's worth, or all up to the limit.
    pub(crate) fn at(&mut self, offset: u32) -> io::Result<&[u8]> {
        let left = to_usize(self.limit - offset);
        let have = (self.start.checked_add(to_u32(self.bytes.len())))
            .and_then(|end| end.checked_sub(offset))
            .filter(|_| offset >= self.start)
            .map_or(0, to_usize);
        if have < left.min(RECORD_BYTES_MAX) {
            self.bytes.resize(left.min(WINDOW_BYTES), 0);
            let read = self.file.read_at(&mut self.bytes, u64::from(offset))?;
            self.bytes.truncate(read);
            self.start = offset;
        }
        Ok(self.bytes.get(to_usize(offset - self.start)..).unwrap_or_default())
    }
}

/// What lies behind the end of the records.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Rest {
    /// Offset after the last byte that is not zero; the start where all are.
    pub(crate) end: u32,
    /// Highest sequence of a whole record.
    pub(crate) highest: Sequence,
    /// Highest "committed up to" of a whole record.
    pub(crate) promised: Sequence,
}

/// Looks through `start..limit` for whole records: after damage there may be some.
pub(crate) fn look_behind(file: &dyn DiskFile, start: u32, limit: u32) -> io::Result<Rest> {
    let mut rest = Rest { end: start, ..Rest::default() };
    let mut window = Window::new(file, limit);
    let step = to_u32(RECORD_ALIGNMENT);
    let mut offset = start;
    while offset < limit {
        let bytes = window.at(offset)?;
        let piece = bytes.get(..RECORD_ALIGNMENT.min(bytes.len())).unwrap_or_default();
        if piece.is_empty() {
            break;
        }
        if bytes.starts_with(&ZERO_PIECE) {
            offset += to_u32(ZERO_PIECE.len());
            continue;
        }
        if piece.iter().all(|byte| *byte == 0) {
            offset += step;
            continue;
        }
        rest.end = offset + to_u32(piece.len());
        match crate::record::decode(bytes) {
            Ok(view) => {
                rest.highest = rest.highest.max(view.sequence());
                rest.promised = rest.promised.max(view.committed_up_to());
                offset += to_u32(view.len());
                rest.end = offset;
            }
            Err(_) => offset += step,
        }
    }
    Ok(rest)
}
