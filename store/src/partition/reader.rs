//! Reading what is committed.

mod filtered;
mod lookup;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::block::{Block, StreamQuery};
use super::index_work::IndexWork;
use super::watermarks::Watermarks;
use crate::event::{Direction, Epoch, Sequence, Version};
use crate::index::{Posting, Wanted};
use crate::log::ReadError;
use crate::log::appender::LogEnd;
use crate::log::fetch::{Range, fetch, fetch_one};
use crate::log::fetch_places::{Gathered, RecordPlace, gather, places_up_to};
use crate::log::segment::Located;
use crate::log::segments::Segments;
use crate::names::StreamName;
use crate::record::decode;

pub use self::lookup::Lookup;

/// Postings of a stream that are asked for at once.
const POSTINGS_MAX: usize = 1024;

/// What all readers of a partition share.
pub(crate) struct ReadSide {
    pub(crate) segments: Arc<Segments>,
    pub(crate) index: Arc<IndexWork>,
    pub(crate) watermarks: Arc<Watermarks>,
    epoch: AtomicU64,
    end: Mutex<LogEnd>,
}

impl ReadSide {
    pub(crate) const fn new(
        segments: Arc<Segments>,
        index: Arc<IndexWork>,
        watermarks: Arc<Watermarks>,
        (epoch, end): (Epoch, LogEnd),
    ) -> Self {
        Self { segments, index, watermarks, epoch: AtomicU64::new(epoch.0), end: Mutex::new(end) }
    }

    /// Epoch of the partition now.
    pub(crate) fn epoch(&self) -> Epoch {
        Epoch(self.epoch.load(Ordering::Acquire))
    }

    pub(crate) fn set_epoch(&self, epoch: Epoch) {
        self.epoch.store(epoch.0, Ordering::Release);
    }

    /// Where the log ends with everything written.
    pub(crate) fn end(&self) -> LogEnd {
        *self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_end(&self, end: LogEnd) {
        *self.end.lock().unwrap_or_else(PoisonError::into_inner) = end;
    }
}

/// Reads committed records of one partition. Cheap to clone; each thread has its own.
///
/// Nothing above the head is ever returned, and every record has passed its checksum.
pub struct Reader {
    side: Arc<ReadSide>,
    /// Where the last forward read ended, so that the next one need not search.
    resume: Mutex<Option<Located>>,
}

impl Clone for Reader {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.side))
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("watermarks", &self.side.watermarks).finish_non_exhaustive()
    }
}

impl Reader {
    pub(crate) const fn new(side: Arc<ReadSide>) -> Self {
        Self { side, resume: Mutex::new(None) }
    }

    /// Newest committed sequence, inclusive; 0 in an empty log.
    #[must_use]
    pub fn head(&self) -> Sequence {
        self.side.watermarks.committed()
    }

    /// Oldest sequence that is kept.
    #[must_use]
    pub fn first(&self) -> Sequence {
        self.side.watermarks.first()
    }

    /// How far the partition is.
    #[must_use]
    pub fn watermarks(&self) -> &Watermarks {
        &self.side.watermarks
    }

    /// Records from a sequence on (0 means the oldest), at most `bytes_max` of them but at least
    /// one if there is any. A block never reaches into the next segment.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn read(&self, from: Sequence, bytes_max: usize) -> Result<Block, ReadError> {
        let head = self.head();
        let from = if from == Sequence::ZERO { self.first() } else { from };
        if from > head {
            return Ok(Block::empty(head, self.side.epoch()));
        }
        if from < self.first() {
            return Err(ReadError::BeforeFirst { first: self.first() });
        }
        let at = match self.take_resume(from) {
            _ if self.side.segments.is_closed() => return Err(ReadError::Closed),
            Some(at) => at,
            None => self.side.segments.locate(from)?,
        };
        let fetched = fetch(at, Range { from, to: head, bytes_max })?;
        self.keep_resume(fetched.next);
        Ok(Block {
            records: fetched.records,
            count: fetched.count,
            first: from,
            last: fetched.last,
            head,
            epoch: fetched.epoch,
            at_end: fetched.last == head,
        })
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

    /// Records from a sequence downwards (inclusive; from the head if it lies above), newest
    /// first.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn read_backward(&self, from: Sequence, bytes_max: usize) -> Result<Block, ReadError> {
        let head = self.head();
        let first = from.min(head);
        if first == Sequence::ZERO {
            return Ok(Block::empty(head, self.side.epoch()));
        }
        let mut out = Gathered::new(bytes_max);
        let mut next = first;
        while next >= self.first() {
            let mut places = places_up_to(&self.side.segments, next)?;
            places.reverse();
            let all = gather(&self.side.segments, &places, &|_| Ok(()), &mut out)?;
            next = places.last().map_or(Sequence::ZERO, |place| Sequence(place.sequence.0 - 1));
            if !all || out.bytes.len() >= bytes_max {
                break;
            }
        }
        if out.count == 0 {
            return Err(ReadError::BeforeFirst { first: self.first() });
        }
        let at_end = out.last <= self.first();
        Ok(self.block(out, Ends { first, head, at_end }))
    }

    /// Events of one stream.
    ///
    /// # Errors
    /// [`ReadError::StreamNotFound`] when nothing of the stream is committed, and the others.
    pub fn read_stream(&self, query: &StreamQuery) -> Result<Block, ReadError> {
        let head = self.head();
        let count_max = usize::try_from(query.count_max).unwrap_or(usize::MAX);
        let mut out = Gathered::new(query.bytes_max);
        let mut from = query.from.max(Version(1));
        let mut first = Sequence::ZERO;
        let mut at_end = false;
        let name = query.stream.as_bytes();
        while usize::try_from(out.count).unwrap_or(usize::MAX) < count_max {
            let missing = count_max - usize::try_from(out.count).unwrap_or(usize::MAX);
            let (postings, more) = self.postings(query, from, missing.min(POSTINGS_MAX), head)?;
            let Some(last) = postings.last() else {
                at_end = true;
                break;
            };
            if first == Sequence::ZERO {
                first = postings.first().map_or(first, |posting| posting.sequence);
            }
            let step_end = last.version;
            let places: Vec<_> = postings.iter().map(place).collect();
            let check = |view: &crate::record::RecordView<'_>| {
                if view.stream() == name { Ok(()) } else { Err("the index points elsewhere") }
            };
            if !gather(&self.side.segments, &places, &check, &mut out)? {
                break;
            }
            at_end = !more;
            if at_end || out.bytes.len() >= query.bytes_max {
                break;
            }
            from = match query.direction {
                Direction::Forward => step_end.next(),
                Direction::Backward => Version(step_end.0 - 1),
            };
        }
        if out.count == 0 && self.stream_version(&query.stream)?.is_none() {
            return Err(ReadError::StreamNotFound { stream: query.stream.clone() });
        }
        if out.count == 0 {
            return Ok(Block { at_end, ..Block::empty(head, self.side.epoch()) });
        }
        Ok(self.block(out, Ends { first, head, at_end }))
    }

    /// Committed postings from a version on, and whether there are more of them.
    fn postings(
        &self,
        query: &StreamQuery,
        from: Version,
        count_max: usize,
        head: Sequence,
    ) -> Result<(Vec<Posting>, bool), ReadError> {
        let StreamQuery { stream, direction, .. } = query;
        let mut wanted =
            Wanted { stream, from, direction: *direction, count_max: count_max.saturating_add(1) };
        let mut postings = self.side.index.postings(&wanted)?;
        match direction {
            Direction::Forward => {
                let shown = postings.partition_point(|posting| posting.sequence <= head);
                postings.truncate(shown);
            }
            Direction::Backward => {
                // Those that are too new come first: start again below them.
                while postings.first().is_some_and(|posting| posting.sequence > head) {
                    let hidden = postings.partition_point(|posting| posting.sequence > head);
                    let last = postings.last().map_or(0, |posting| posting.version.0);
                    let shown = postings.get(hidden).map_or(last - 1, |first| first.version.0);
                    wanted.from = Version(shown);
                    postings = match shown {
                        0 => Vec::new(),
                        _ => self.side.index.postings(&wanted)?,
                    };
                }
            }
        }
        let more = postings.len() > count_max;
        postings.truncate(count_max);
        Ok((postings, more))
    }

    /// Version of the newest committed event of a stream; `None` if there is no such stream.
    ///
    /// # Errors
    /// [`ReadError::Index`].
    pub fn stream_version(&self, stream: &StreamName) -> Result<Option<Version>, ReadError> {
        let query = StreamQuery::last(stream.clone());
        let (postings, _) = self.postings(&query, query.from, 1, self.head())?;
        Ok(postings.first().map(|posting| posting.version))
    }

    /// The last committed sequence whose record is of `epoch` or an earlier one; 0 if there is
    /// none. Epochs never fall along a log.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn last_of_epoch(&self, epoch: Epoch) -> Result<Sequence, ReadError> {
        let (mut low, mut high) = (self.first().0, self.head().0 + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.epoch_at(Sequence(middle))? <= epoch {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(Sequence(low.saturating_sub(1)))
    }

    fn epoch_at(&self, sequence: Sequence) -> Result<Epoch, ReadError> {
        let bytes = fetch_one(&self.side.segments, sequence)?;
        decode(&bytes)
            .map(|view| view.epoch())
            .map_err(|error| ReadError::Undecodable { reason: error.to_string() })
    }

    fn block(&self, out: Gathered, ends: Ends) -> Block {
        Block {
            records: Bytes::from(out.bytes),
            count: out.count,
            first: ends.first,
            last: out.last,
            head: ends.head,
            epoch: out.epoch,
            at_end: ends.at_end,
        }
    }
}

/// What a block says besides its records.
struct Ends {
    first: Sequence,
    head: Sequence,
    at_end: bool,
}

const fn place(posting: &Posting) -> RecordPlace {
    RecordPlace { sequence: posting.sequence, offset: posting.offset }
}
