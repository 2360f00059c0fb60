//! Reading records back from the segments, with their checksums checked.

use std::path::Path;

use bytes::Bytes;

use super::error::ReadError;
use super::segment::{Located, to_u32, to_usize};
use super::segments::Segments;
use crate::event::{Epoch, Sequence};
use crate::record::{RECORD_BYTES_MAX, RecordError, RecordView, decode};

/// Read in one go where it is not known how long the wanted record is.
pub(crate) const GUESS_BYTES: usize = 4096;
/// Read on top of what is wanted, to pass over the records before it.
const SKIP_BYTES: usize = 16 * 1024;

/// Records that follow each other in one segment.
pub(crate) struct Fetched {
    /// Whole records back to back.
    pub(crate) records: Bytes,
    pub(crate) count: u32,
    /// Sequence of the last one.
    pub(crate) last: Sequence,
    /// Epoch of the last one.
    pub(crate) epoch: Epoch,
    /// Where the next record starts, if it is in the same segment.
    pub(crate) next: Located,
}

/// What to read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Range {
    /// First sequence.
    pub(crate) from: Sequence,
    /// Last sequence, inclusive; it was written.
    pub(crate) to: Sequence,
    /// Most bytes, but at least one record is read.
    pub(crate) bytes_max: usize,
}

/// The record with a sequence that was written.
pub(crate) fn fetch_one(segments: &Segments, sequence: Sequence) -> Result<Bytes, ReadError> {
    let range = Range { from: sequence, to: sequence, bytes_max: GUESS_BYTES };
    fetch(segments.locate(sequence)?, range).map(|fetched| fetched.records)
}

/// Records from `range.from` on, as many as one segment and the limits allow.
pub(crate) fn fetch(mut at: Located, range: Range) -> Result<Fetched, ReadError> {
    let wanted = range.bytes_max.clamp(GUESS_BYTES, usize::MAX / 2);
    let mut size = if at.sequence < range.from { wanted + SKIP_BYTES } else { wanted };
    loop {
        let bytes = read(&at, size)?;
        let start = match skip(&mut at, &bytes, range.from)? {
            Skipped::To(start) => start,
            Skipped::Needs(needed) => {
                size = size.max(needed);
                continue;
            }
        };
        let taken = take(&at, bytes.get(start..).unwrap_or_default(), range)?;
        match taken {
            Taken { count: 0, needed, .. } => size = needed,
            Taken { length, count, last, epoch, .. } => {
                let records = Bytes::from(bytes).slice(start..start + length);
                at.offset += to_u32(length);
                at.sequence = last.next();
                return Ok(Fetched { records, count, last, epoch, next: at });
            }
        }
    }
}

/// Up to `size` bytes at a place, fewer at the end of the segment's records.
pub(crate) fn read(at: &Located, size: usize) -> Result<Vec<u8>, ReadError> {
    let mut bytes = Vec::new();
    read_into(&mut bytes, at, size)?;
    Ok(bytes)
}

/// The same into bytes that were used before, whose content is replaced.
pub(crate) fn read_into(bytes: &mut Vec<u8>, at: &Located, size: usize) -> Result<(), ReadError> {
    let left = to_usize(at.end.saturating_sub(at.offset));
    bytes.resize(size.min(left), 0);
    let read = at.file.read_at(bytes, u64::from(at.offset));
    let read = read.map_err(ReadError::io(&at.path))?;
    bytes.truncate(read);
    Ok(())
}

enum Skipped {
    /// The wanted record starts at this place in the bytes.
    To(usize),
    /// Read again from where `at` is now, at least so many bytes.
    Needs(usize),
}

/// Passes over the records before `wanted`; `at` moves along.
fn skip(at: &mut Located, bytes: &[u8], wanted: Sequence) -> Result<Skipped, ReadError> {
    let mut passed = 0;
    while at.sequence < wanted {
        match RecordView::frame(bytes.get(passed..).unwrap_or_default()) {
            Ok(view) if view.sequence() == at.sequence => {
                passed += view.len();
                at.offset += to_u32(view.len());
                at.sequence = at.sequence.next();
            }
            Ok(_) => return Err(damaged(at, at.sequence, "another record stands there")),
            // A truncated record needs more bytes, unless the segment has no more of them.
            Err(RecordError::Truncated { needed, .. }) if fits(at, needed) => {
                return Ok(Skipped::Needs(needed));
            }
            Err(error) => return Err(damaged(at, at.sequence, &error.to_string())),
        }
    }
    Ok(Skipped::To(passed))
}

struct Taken {
    length: usize,
    count: u32,
    last: Sequence,
    epoch: Epoch,
    /// Bytes that the first record needs, when `count` is 0.
    needed: usize,
}

/// Checks the records at the start of `bytes`, which were read at `at`.
fn take(at: &Located, bytes: &[u8], range: Range) -> Result<Taken, ReadError> {
    let (last, epoch) = (Sequence::ZERO, Epoch::ZERO);
    let mut taken = Taken { length: 0, count: 0, last, epoch, needed: 0 };
    let mut next = range.from;
    while next <= range.to {
        let rest = bytes.get(taken.length..).unwrap_or_default();
        if rest.is_empty() && taken.count > 0 {
            break;
        }
        let view = match decode(rest) {
            Ok(view) => view,
            // What is sound is returned; the next read starts with the damaged one and says so.
            Err(_) if taken.count > 0 => break,
            Err(RecordError::Truncated { needed, .. }) if fits(at, needed) => {
                return Ok(Taken { needed, ..taken });
            }
            Err(error) => return Err(damaged(at, next, &error.to_string())),
        };
        if view.sequence() != next {
            return Err(damaged(at, next, "another record stands there"));
        }
        if taken.count > 0 && taken.length + view.len() > range.bytes_max {
            break;
        }
        taken.length += view.len();
        taken.count += 1;
        taken.last = next;
        taken.epoch = view.epoch();
        next = next.next();
    }
    Ok(taken)
}

/// Whether a record of this length can stand at a place.
fn fits(at: &Located, needed: usize) -> bool {
    needed <= RECORD_BYTES_MAX && u64::from(at.offset) + len_u64(needed) <= u64::from(at.end)
}

fn len_u64(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// The error for a record that is not what was written.
pub(crate) fn damaged(at: &Located, sequence: Sequence, reason: &str) -> ReadError {
    damaged_at((&at.path, at.offset), sequence, reason)
}

fn damaged_at((path, offset): (&Path, u32), sequence: Sequence, reason: &str) -> ReadError {
    ReadError::Corrupt {
        file: path.to_owned(),
        offset: u64::from(offset),
        sequence,
        reason: reason.to_owned(),
    }
}
