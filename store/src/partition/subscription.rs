//! Reading in the same process: what is there, and what comes.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::block::{FilteredQuery, StreamQuery};
use super::reader::Reader;
use super::watermarks::Watermarks;
use crate::event::{Direction, Event, Sequence, Version};
use crate::log::ReadError;
use crate::record::{RecordError, Records};

/// Bytes read at once.
const BLOCK_BYTES: usize = 256 * 1024;
/// A blocking iterator looks again after this time even if nothing has told it to.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Told by any of several partitions that there is more to read.
#[derive(Default)]
pub(crate) struct Signal {
    /// Counts the tellings, so that none is missed between a look and a wait.
    count: Mutex<u64>,
    told: Condvar,
}

impl Signal {
    /// Is told of every move of this head from now on.
    pub(crate) fn listen_to(self: &Arc<Self>, watermarks: &Watermarks) {
        let signal = Arc::clone(self);
        watermarks.on_commit(Arc::new(move || signal.tell()));
    }

    fn tell(&self) {
        *self.count.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.told.notify_all();
    }

    fn count(&self) -> u64 {
        *self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it was told something after `seen`.
    fn wait(&self, seen: u64, timeout: Duration) {
        let count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.told.wait_timeout_while(count, timeout, |count| *count == seen));
    }
}

/// Events of one or several partitions, each exactly once and in the order of its partition.
///
/// As an iterator it blocks for the next event, and ends only with an error.
pub struct Subscription {
    sources: VecDeque<Source>,
    signal: Arc<Signal>,
    current: Records,
    failed: bool,
}

struct Source {
    reader: Reader,
    next: Sequence,
}

impl Subscription {
    pub(crate) fn new(from: Vec<(Reader, Sequence)>, signal: Arc<Signal>) -> Self {
        let source = |(reader, from): (Reader, Sequence)| {
            let next = if from == Sequence::ZERO { reader.first() } else { from };
            Source { reader, next }
        };
        Self {
            sources: from.into_iter().map(source).collect(),
            signal,
            current: Records::default(),
            failed: false,
        }
    }

    /// The next event, or `None` when none was committed within `timeout`.
    ///
    /// # Errors
    /// [`ReadError`]; the subscription has ended then.
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Option<Event>, ReadError> {
        #[expect(clippy::disallowed_methods, reason = "blocks the calling loop with a deadline")]
        let (now, start) = (Instant::now, Instant::now());
        loop {
            let seen = self.signal.count();
            if let Some(event) = self.next_now()? {
                return Ok(Some(event));
            }
            let left = timeout.saturating_sub(now().saturating_duration_since(start));
            if left.is_zero() {
                return Ok(None);
            }
            self.signal.wait(seen, left);
        }
    }

    /// The next event that is there already.
    fn next_now(&mut self) -> Result<Option<Event>, ReadError> {
        if let Some(event) = self.current.next() {
            return event.map(Some).map_err(|error| undecodable(&error));
        }
        for _ in 0..self.sources.len() {
            let Some(mut source) = self.sources.pop_front() else { break };
            let block = source.reader.read(source.next, BLOCK_BYTES);
            if let Ok(block) = &block
                && block.count > 0
            {
                source.next = block.last.next();
                self.current = block.events();
            }
            self.sources.push_back(source);
            if block?.count > 0 {
                return self.next_now();
            }
        }
        Ok(None)
    }
}

impl Iterator for Subscription {
    type Item = Result<Event, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.failed {
            match self.next_timeout(LOOK_AGAIN) {
                Ok(Some(event)) => return Some(Ok(event)),
                Ok(None) => {}
                Err(error) => {
                    self.failed = true;
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

/// Committed events, read block by block while they are asked for.
pub struct Events {
    reader: Reader,
    next: Option<Next>,
    current: Records,
    /// Last sequence to give, inclusive.
    until: Sequence,
}

/// What is to be read next.
enum Next {
    /// Of the log.
    Log { from: Sequence },
    /// Of a stream, so many events.
    Stream { query: StreamQuery, left: u32 },
    /// Of a category or a stream in the order of the log.
    Filtered { query: FilteredQuery },
}

impl Events {
    pub(crate) fn all(reader: Reader, from: Sequence) -> Self {
        let from = if from == Sequence::ZERO { reader.first() } else { from };
        let (next, until) = (Some(Next::Log { from }), reader.head());
        Self { reader, next, current: Records::default(), until }
    }

    pub(crate) fn stream(reader: Reader, query: StreamQuery) -> Self {
        let next = Some(Next::Stream { left: query.count_max, query });
        Self { reader, next, current: Records::default(), until: Sequence(u64::MAX) }
    }

    pub(crate) fn filtered(reader: Reader, query: FilteredQuery) -> Self {
        let next = Some(Next::Filtered { query });
        Self { reader, next, current: Records::default(), until: Sequence(u64::MAX) }
    }

    /// Reads the next block, if there is one.
    fn read(&mut self) -> Result<bool, ReadError> {
        let block = match self.next.take() {
            None => return Ok(false),
            Some(Next::Log { from }) if from > self.until => return Ok(false),
            Some(Next::Log { from }) => {
                let block = self.reader.read(from, BLOCK_BYTES)?;
                self.next = Some(Next::Log { from: block.last.next() });
                block
            }
            Some(Next::Stream { mut query, left }) => {
                query.count_max = left;
                let block = self.reader.read_stream(&query)?;
                let left = left - block.count.min(left);
                let last = block.events().last().and_then(Result::ok).map(|event| event.version);
                if let Some(from) = last.and_then(|last| after(last, query.direction))
                    && !block.at_end
                    && left > 0
                {
                    query.from = from;
                    self.next = Some(Next::Stream { query, left });
                }
                block
            }
            Some(Next::Filtered { mut query }) => {
                let block = self.reader.read_filtered(&query)?;
                query.count_max -= block.count.min(query.count_max);
                query.from = match query.direction {
                    Direction::Forward => block.last.next(),
                    Direction::Backward => Sequence(block.last.0.saturating_sub(1)),
                };
                if !block.at_end && query.count_max > 0 {
                    self.next = Some(Next::Filtered { query });
                }
                block
            }
        };
        self.current = block.events();
        Ok(block.count > 0)
    }
}

fn after(version: Version, direction: Direction) -> Option<Version> {
    match direction {
        Direction::Forward => Some(version.next()),
        Direction::Backward => version.0.checked_sub(1).filter(|left| *left > 0).map(Version),
    }
}

impl Iterator for Events {
    type Item = Result<Event, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(event) = self.current.next() {
                let event = event.map_err(|error| undecodable(&error));
                return match &event {
                    // A block may hold more than was there at the start.
                    Ok(event) if event.sequence > self.until => None,
                    _ => Some(event),
                };
            }
            match self.read() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// A record that passed its checksum in the reader, yet can't be understood.
fn undecodable(error: &RecordError) -> ReadError {
    ReadError::Undecodable { reason: error.to_string() }
}
