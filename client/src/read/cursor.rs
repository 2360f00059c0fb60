//! Where a read stands, what it still needs, and whether what came is what was asked for.

use store::Filter;
use store::event::{Epoch, Event, EventId, Sequence};
use store::names::{StoreName, StreamName};
use store::record;
use store::wire::replay::{Block, Read, ReadDirection, ReadSource, RequestNumber};

use super::seen::Seen;
use super::{Direction, ReadAllOptions, ReadOptions};

/// Most bytes asked for in one block.
const BLOCK_BYTES: u32 = 256 * 1024;

/// Why a block was not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BlockError {
    /// Damaged, or not what was asked for.
    Corrupt(String),
    /// An event is not what was signed.
    Signature(Sequence),
    /// The member is behind what was read already: another one has to be asked.
    Behind,
    /// What was read may have been cut off by a new leader.
    EpochChanged,
}

/// A read of one stream, of one partition or some of its events, or of some ids. It can be asked
/// for again at any time, and then goes on behind the last event that it took.
#[derive(Debug, Clone)]
pub(crate) struct Cursor {
    store: StoreName,
    partition: u16,
    source: ReadSource,
    direction: Direction,
    /// Next place wanted; 0 = the end at which the direction begins.
    next: u64,
    /// Whether no event was taken yet.
    fresh: bool,
    /// Last place wanted (inclusive); 0 = as far as there is.
    to: u64,
    /// Events that may still come; `None` = no limit.
    left: Option<u64>,
    at_least: Sequence,
    head: Option<Sequence>,
    seen: Seen,
    /// Whether no block has come since the read was last asked for.
    unanswered: bool,
    strong: bool,
    check_signatures: bool,
    done: bool,
}

impl Cursor {
    pub(crate) fn stream(
        store: StoreName,
        partition: u16,
        stream: StreamName,
        options: &ReadOptions,
    ) -> Self {
        let from = options.from.map(|version| version.0);
        let all = ReadAllOptions {
            direction: options.direction,
            limit: options.limit,
            at_least: options.at_least,
            strong: options.strong,
            ..ReadAllOptions::default()
        };
        let all = Self::all(store, partition, &all);
        Self {
            source: ReadSource::Stream(stream),
            next: from.unwrap_or(0),
            done: all.done || below_first(from, options.direction),
            ..all
        }
    }

    pub(crate) fn all(store: StoreName, partition: u16, options: &ReadAllOptions) -> Self {
        let from = options.from.map(|sequence| sequence.0);
        let nothing_at_all = match (options.from, options.to, options.direction) {
            (Some(from), Some(to), Direction::Forward) => to < from,
            (Some(from), Some(to), Direction::Backward) => from < to,
            (_, Some(to), Direction::Forward) => to == Sequence::ZERO,
            _ => false,
        };
        Self {
            store,
            partition,
            source: ReadSource::All,
            direction: options.direction,
            next: from.unwrap_or(0),
            fresh: true,
            to: options.to.map_or(0, |sequence| sequence.0),
            left: options.limit,
            at_least: options.at_least.unwrap_or_default(),
            head: None,
            seen: Seen::default(),
            unanswered: true,
            strong: options.strong,
            check_signatures: true,
            done: nothing_at_all
                || options.limit == Some(0)
                || below_first(from, options.direction),
        }
    }

    /// The events of a partition that a filter takes.
    pub(crate) fn filtered(
        store: StoreName,
        partition: u16,
        filter: Filter,
        options: &ReadAllOptions,
    ) -> Self {
        Self { source: ReadSource::Filtered(filter), ..Self::all(store, partition, options) }
    }

    /// The events with these ids, all different and at most as many as a read may name. Whoever
    /// answers must lead, for otherwise nobody could tell that an id is absent.
    pub(crate) fn ids(store: StoreName, partition: u16, ids: Vec<EventId>) -> Self {
        let options = ReadAllOptions { strong: true, ..ReadAllOptions::default() };
        let done = ids.is_empty();
        Self { source: ReadSource::Ids(ids), done, ..Self::all(store, partition, &options) }
    }

    /// Leaves it at the records' checksums.
    pub(crate) fn without_signatures(mut self, without: bool) -> Self {
        self.check_signatures = !without;
        self
    }

    pub(crate) fn is_done(&self) -> bool {
        self.done
    }

    pub(crate) fn finish(&mut self) {
        self.done = true;
    }

    /// Newest committed sequence when the read began.
    pub(crate) fn head(&self) -> Option<Sequence> {
        self.head
    }

    /// Whether only a leader may answer, and only once its place is confirmed.
    pub(crate) fn is_strong(&self) -> bool {
        self.strong
    }

    /// Whether any event was taken.
    pub(crate) fn has_begun(&self) -> bool {
        self.seen.last().is_some()
    }

    /// The request for what is still wanted. A read that goes on begins with the last event that
    /// was taken: whoever answers must have it too.
    pub(crate) fn request(&mut self, credit_bytes: u64) -> Read {
        self.unanswered = true;
        let again = u64::from(self.has_begun());
        Read {
            request: RequestNumber(0),
            store: self.store.clone(),
            partition: self.partition,
            source: self.source.clone(),
            direction: match self.direction {
                Direction::Forward => ReadDirection::Forward,
                Direction::Backward => ReadDirection::Backward,
            },
            from: self.seen.last().map_or(self.next, |last| last.place),
            to: self.to,
            count_max: self.left.map_or(0, |left| left.saturating_add(again)),
            at_least: self.at_least,
            // The last event says more than an epoch, and in every direction.
            epoch: Epoch::ZERO,
            credit_bytes,
            block_bytes_max: BLOCK_BYTES,
            strong: self.strong,
        }
    }

    /// Takes the events of a block, in order.
    pub(crate) fn take(&mut self, block: &Block) -> Result<Vec<Event>, BlockError> {
        let first = std::mem::replace(&mut self.unanswered, false);
        self.seen.check(block, first)?;
        let mut expected = self.seen.last().filter(|_| first);
        if self.head.is_none() {
            self.head = Some(block.head);
            // A read of a partition ends where the head was when it began, also if it has to be
            // asked for again.
            if self.counts_sequences() && self.direction == Direction::Forward {
                self.to = if self.to == 0 { block.head.0 } else { self.to };
            }
        }
        let mut events = Vec::with_capacity(usize::try_from(block.count.min(4096)).unwrap_or(0));
        for event in record::iterate(&block.records) {
            let event = event.map_err(|error| BlockError::Corrupt(error.to_string()))?;
            if self.done {
                break;
            }
            if let Some(last) = expected.take() {
                match last.is(&event) {
                    true => continue,
                    false => return Err(BlockError::EpochChanged),
                }
            }
            if self.is_beyond(&event) {
                self.done = true;
                break;
            }
            self.check(&event)?;
            self.advance(&event);
            events.push(event);
        }
        if expected.is_some() {
            return Err(BlockError::EpochChanged);
        }
        if let Some(last) = events.last() {
            self.seen.note(block, last, self.place(last));
        }
        self.done |= block.end;
        Ok(events)
    }

    fn counts_sequences(&self) -> bool {
        matches!(self.source, ReadSource::All | ReadSource::Filtered(_))
    }

    fn place(&self, event: &Event) -> u64 {
        match &self.source {
            ReadSource::All | ReadSource::Filtered(_) => event.sequence.0,
            ReadSource::Stream(_) => event.version.0,
            // Places are those of the ids, from 1; 0 is none.
            ReadSource::Ids(ids) => {
                let place = ids.iter().position(|id| *id == event.id);
                place.map_or(0, |place| u64::try_from(place).map_or(u64::MAX, |place| place + 1))
            }
        }
    }

    /// Whether the event lies past the end of the read. There need not be one at the end itself
    /// where a filter leaves gaps.
    fn is_beyond(&self, event: &Event) -> bool {
        let place = self.place(event);
        match self.direction {
            Direction::Forward => self.to != 0 && place > self.to,
            Direction::Backward => place < self.to,
        }
    }

    fn check(&self, event: &Event) -> Result<(), BlockError> {
        let place = self.place(event);
        // Ids that no event has are passed over, and so is what a filter does not take.
        let gaps = matches!(self.source, ReadSource::Ids(_) | ReadSource::Filtered(_));
        let wrong_place = match (self.direction, self.next) {
            (_, 0) => place == 0,
            // What was asked for first may lie before the first event that is kept.
            (Direction::Forward, next) if self.fresh || gaps => place < next,
            (Direction::Backward, next) if self.fresh || gaps => place > next,
            (_, next) => place != next,
        };
        if wrong_place {
            let reason = format!("asked for place {}, got {place}", self.next);
            return Err(BlockError::Corrupt(reason));
        }
        let foreign = match &self.source {
            ReadSource::Stream(stream) => *stream != event.stream,
            ReadSource::Filtered(filter) => !filter.takes(&event.stream),
            ReadSource::All | ReadSource::Ids(_) => false,
        };
        if foreign {
            let reason = format!("got an event of stream {}", event.stream);
            return Err(BlockError::Corrupt(reason));
        }
        if self.check_signatures && !event.signature_is_valid() {
            return Err(BlockError::Signature(event.sequence));
        }
        Ok(())
    }

    fn advance(&mut self, event: &Event) {
        let place = self.place(event);
        self.fresh = false;
        self.left = self.left.map(|left| left.saturating_sub(1));
        let (next, past) = match self.direction {
            Direction::Forward => (place.saturating_add(1), self.to != 0 && place >= self.to),
            Direction::Backward => (place.saturating_sub(1), place <= self.to.max(1)),
        };
        self.next = next;
        self.done = past || self.left == Some(0);
    }
}

/// Whether nothing can come because the read begins below the first place and goes down.
fn below_first(from: Option<u64>, direction: Direction) -> bool {
    direction == Direction::Backward && from == Some(0)
}

#[cfg(test)]
#[path = "cursor_tests.rs"]
mod tests;
