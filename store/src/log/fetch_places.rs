//! Reading single records at known places: of one stream, or against the order of the log.

use super::error::ReadError;
use super::fetch::{GUESS_BYTES, damaged, read, read_into};
use super::segment::{Located, to_u32, to_usize};
use super::segments::Segments;
use crate::event::{Epoch, Sequence};
use crate::record::{RECORD_HEADER_BYTES, RecordError, RecordView, decode};

/// Read at first where a record stands alone. Each further one is taken to be hardly longer than
/// the one before it: streams are made of like events, and every page that is read in vain is
/// dear where a hundred records stand in a hundred places.
const ALONE_BYTES: usize = 1024;
/// Records so near to each other are read in one go, with what lies between.
const NEAR_BYTES: u32 = 8 * 1024;
/// Most bytes read in one go.
const SPAN_BYTES_MAX: u32 = 1024 * 1024;

/// Where a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordPlace {
    pub(crate) sequence: Sequence,
    /// In its segment's file.
    pub(crate) offset: u32,
}

/// Records gathered from several places.
pub(crate) struct Gathered {
    /// Whole records back to back.
    pub(crate) bytes: Vec<u8>,
    pub(crate) count: u32,
    /// Sequence of the last one.
    pub(crate) last: Sequence,
    /// Epoch of the last one.
    pub(crate) epoch: Epoch,
    bytes_max: usize,
    /// Bytes that the next record probably has.
    guess_bytes: usize,
}

impl Gathered {
    pub(crate) const fn new(bytes_max: usize) -> Self {
        let (last, epoch) = (Sequence::ZERO, Epoch::ZERO);
        let guess_bytes = ALONE_BYTES;
        Self { bytes: Vec::new(), count: 0, last, epoch, bytes_max, guess_bytes }
    }

    /// Adds a record unless it would be too much. The first one always fits.
    fn add(&mut self, record: &[u8], view: &RecordView<'_>) -> bool {
        if self.count > 0 && self.bytes.len() + record.len() > self.bytes_max {
            return false;
        }
        self.bytes.extend_from_slice(record);
        self.guess_bytes = record.len() + record.len() / 4;
        self.count += 1;
        self.last = view.sequence();
        self.epoch = view.epoch();
        true
    }
}

/// Reads records at places that go in one direction, in that order, until `out` is full; each is
/// shown to `check` first, which says what is wrong with it. Returns whether all were read.
pub(crate) fn gather(
    segments: &Segments,
    places: &[RecordPlace],
    check: &dyn Fn(&RecordView<'_>) -> Result<(), &'static str>,
    out: &mut Gathered,
) -> Result<bool, ReadError> {
    let mut rest = places;
    // A stream's records often stand each alone: one piece of memory serves all those reads.
    let mut bytes = Vec::new();
    while let Some(first) = rest.first() {
        let segment = segments.locate(first.sequence)?;
        let (near, after) = rest.split_at(near_places(segments, &segment, rest)?);
        rest = after;
        let low = near.iter().map(|place| place.offset).min().unwrap_or(first.offset);
        let high = near.iter().map(|place| place.offset).max().unwrap_or(first.offset);
        let span = Located { offset: low, ..segment.clone() };
        read_into(&mut bytes, &span, to_usize(high - low) + out.guess_bytes)?;
        for place in near {
            let at = Located { offset: place.offset, sequence: place.sequence, ..segment.clone() };
            let part = bytes.get(to_usize(place.offset - low)..).unwrap_or_default();
            if !gather_one(&at, part, check, out)? {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// How many of the first places lie so near that they are read together.
fn near_places(
    segments: &Segments,
    segment: &Located,
    places: &[RecordPlace],
) -> Result<usize, ReadError> {
    let Some(first) = places.first() else { return Ok(0) };
    let mut count = 1;
    for (before, place) in places.iter().zip(places.iter().skip(1)) {
        let near = before.offset.abs_diff(place.offset) <= NEAR_BYTES
            && first.offset.abs_diff(place.offset) <= SPAN_BYTES_MAX;
        if !near || segments.locate(place.sequence)?.segment != segment.segment {
            break;
        }
        count += 1;
    }
    Ok(count)
}

fn gather_one(
    at: &Located,
    bytes: &[u8],
    check: &dyn Fn(&RecordView<'_>) -> Result<(), &'static str>,
    out: &mut Gathered,
) -> Result<bool, ReadError> {
    match decode(bytes) {
        Ok(view) if view.sequence() != at.sequence => {
            Err(damaged(at, at.sequence, "another record stands there"))
        }
        Ok(view) => {
            check(&view).map_err(|reason| damaged(at, at.sequence, reason))?;
            Ok(out.add(bytes.get(..view.len()).unwrap_or_default(), &view))
        }
        Err(RecordError::Truncated { needed, .. }) => {
            let longer = read(at, needed.max(RECORD_HEADER_BYTES))?;
            if longer.len() <= bytes.len() {
                return Err(damaged(at, at.sequence, "the record is cut off"));
            }
            gather_one(at, &longer, check, out)
        }
        Err(error) => Err(damaged(at, at.sequence, &error.to_string())),
    }
}

/// Places of the records from the nearest entry of the sparse table up to `to`, ascending.
pub(crate) fn places_up_to(
    segments: &Segments,
    to: Sequence,
) -> Result<Vec<RecordPlace>, ReadError> {
    let mut at = segments.locate(to)?;
    let mut places = Vec::new();
    let mut bytes = Vec::new();
    let mut start = at.offset;
    while at.sequence <= to {
        let part = bytes.get(to_usize(at.offset - start)..).unwrap_or_default();
        // Long data is not read: only headers are needed here.
        let view = RecordView::header(part);
        let Ok((sequence, length)) = view else {
            if part.len() >= RECORD_HEADER_BYTES {
                return Err(damaged(&at, at.sequence, "the record's header is damaged"));
            }
            start = at.offset;
            bytes = read(&at, 4 * GUESS_BYTES)?;
            if bytes.len() < RECORD_HEADER_BYTES {
                return Err(damaged(&at, at.sequence, "the record is cut off"));
            }
            continue;
        };
        if sequence != at.sequence {
            return Err(damaged(&at, at.sequence, "another record stands there"));
        }
        places.push(RecordPlace { sequence, offset: at.offset });
        at.offset += to_u32(length);
        at.sequence = at.sequence.next();
    }
    Ok(places)
}
