//! Reading the log for another node: everything that is written, in whole appends.

use std::sync::{Arc, Mutex, PoisonError};

use super::block::Block;
use super::reader::ReadSide;
use crate::event::{APPEND_BYTES_MAX, LogMark, Sequence};
use crate::log::ReadError;
use crate::log::fetch::{Range, fetch, fetch_one};
use crate::log::segment::{Located, to_u32};
use crate::record::{RecordView, decode};

/// Read at least, where the first append did not fit what was asked for.
const LONGER_BYTES: usize = 256 * 1024;

/// Reads what is written, committed or not. Only for a node that copies this one: nobody else may
/// see what may still go away.
pub struct LogReader {
    side: Arc<ReadSide>,
    /// Where the last read ended, so that the next one need not search.
    resume: Mutex<Option<Located>>,
}

impl std::fmt::Debug for LogReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogReader")
            .field("watermarks", &self.side.watermarks)
            .finish_non_exhaustive()
    }
}

impl LogReader {
    pub(crate) const fn new(side: Arc<ReadSide>) -> Self {
        Self { side, resume: Mutex::new(None) }
    }

    /// Whole appends from a sequence on (0 means the oldest), at most `bytes_max` of records but
    /// at least one append if there is any. `from` is where an append begins. A block never
    /// reaches into the next segment; every record has passed its checksum.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn read(&self, from: Sequence, bytes_max: usize) -> Result<Block, ReadError> {
        let watermarks = &self.side.watermarks;
        let (head, written) = (watermarks.committed(), watermarks.written());
        let from = if from == Sequence::ZERO { watermarks.first() } else { from };
        if from > written {
            return Ok(Block::empty(head, self.side.epoch()));
        }
        if from < watermarks.first() {
            return Err(ReadError::BeforeFirst { first: watermarks.first() });
        }
        let at = match self.take_resume(from) {
            _ if self.side.segments.is_closed() => return Err(ReadError::Closed),
            Some(at) => at,
            None => self.side.segments.locate(from)?,
        };
        let mut range = Range { from, to: written, bytes_max };
        let (fetched, whole) = loop {
            let fetched = fetch(at.clone(), range)?;
            if let Some(whole) = whole_appends(&fetched.records, bytes_max) {
                break (fetched, whole);
            }
            if range.bytes_max >= APPEND_BYTES_MAX {
                return Err(ReadError::Undecodable {
                    reason: format!("the append that begins with sequence {from} has no end"),
                });
            }
            // The first append alone is longer.
            range.bytes_max = (range.bytes_max * 4).clamp(LONGER_BYTES, APPEND_BYTES_MAX);
        };
        self.keep_resume(Located {
            offset: fetched.next.offset - to_u32(fetched.records.len() - whole.bytes),
            sequence: whole.last.next(),
            ..fetched.next
        });
        Ok(Block {
            records: fetched.records.slice(..whole.bytes),
            count: whole.count,
            first: from,
            last: whole.last,
            head,
            epoch: fetched.epoch,
            at_end: whole.last == written,
        })
    }

    /// The mark of a written record; `None` where there is no such record. Sequence 0 has the mark
    /// of an empty log.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn mark(&self, at: Sequence) -> Result<Option<LogMark>, ReadError> {
        if at == Sequence::ZERO {
            return Ok(Some(LogMark::default()));
        }
        let watermarks = &self.side.watermarks;
        if at < watermarks.first() || at > watermarks.written() {
            return Ok(None);
        }
        if self.side.segments.is_closed() {
            return Err(ReadError::Closed);
        }
        let bytes = fetch_one(&self.side.segments, at)?;
        let undecodable = |error: crate::record::RecordError| ReadError::Undecodable {
            reason: error.to_string(),
        };
        let view = decode(&bytes).map_err(undecodable)?;
        Ok(Some(LogMark { sequence: at, epoch: view.epoch(), chain: view.chain().0 }))
    }

    /// The place where the last read ended, if `from` is what comes next there.
    fn take_resume(&self, from: Sequence) -> Option<Located> {
        let resume = self.resume.lock().unwrap_or_else(PoisonError::into_inner).take();
        resume.filter(|at| at.sequence == from)
    }

    fn keep_resume(&self, next: Located) {
        if next.offset < next.end {
            *self.resume.lock().unwrap_or_else(PoisonError::into_inner) = Some(next);
        }
    }
}

/// Whole appends at the start of what was fetched.
struct Whole {
    bytes: usize,
    count: u32,
    last: Sequence,
}

/// As many appends as the limit allows, but at least the first; `None` where its end is missing.
fn whole_appends(records: &[u8], bytes_max: usize) -> Option<Whole> {
    let mut whole: Option<Whole> = None;
    let (mut bytes, mut count) = (0, 0);
    let mut rest = records;
    while let Ok(view) = RecordView::frame(rest) {
        bytes += view.len();
        count += 1;
        rest = rest.get(view.len()..).unwrap_or_default();
        if whole.is_some() && bytes > bytes_max {
            break;
        }
        if view.ends_append() {
            whole = Some(Whole { bytes, count, last: view.sequence() });
        }
    }
    whole
}
