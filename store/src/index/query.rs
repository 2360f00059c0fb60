//! Questions to the index, and how their answers are put together from runs and memory parts.

use std::sync::Arc;

use super::Index;
use super::error::IndexError;
use super::run::Run;
use super::width::{long_to_usize, to_u64};
use crate::event::{Direction, EventId, Sequence, Version};
use crate::names::StreamName;

/// Where an event of a stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Posting {
    /// The event's place in the log; it also tells the segment.
    pub(crate) sequence: Sequence,
    /// The event's place in its stream.
    pub(crate) version: Version,
    /// Offset of the record in its segment file, in bytes.
    pub(crate) offset: u32,
}

/// Which events of a stream a reader wants.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// The stream.
    pub(crate) stream: &'a StreamName,
    /// The first version to return, inclusive; backwards, one above the latest means the latest.
    pub(crate) from: Version,
    /// Which way to go from there.
    pub(crate) direction: Direction,
    /// Most postings to return.
    pub(crate) count_max: usize,
}

/// Versions from `first` to `last`, both inclusive; never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct VersionRange {
    pub(super) first: Version,
    pub(super) last: Version,
}

impl VersionRange {
    fn new(first: u64, last: u64) -> Option<Self> {
        (first <= last).then_some(Self { first: Version(first), last: Version(last) })
    }

    /// What both ranges have in common.
    pub(super) fn overlap(self, other: Self) -> Option<Self> {
        Self::new(self.first.0.max(other.first.0), self.last.0.min(other.last.0))
    }

    /// How many versions there are.
    pub(super) fn count(self) -> usize {
        long_to_usize(self.last.0 - self.first.0 + 1)
    }

    /// The versions, ascending.
    pub(super) fn versions(self) -> impl Iterator<Item = Version> {
        (self.first.0..=self.last.0).map(Version)
    }
}

impl Wanted<'_> {
    /// The versions to return from a stream that has those up to `latest`.
    fn range(&self, latest: Version) -> Option<VersionRange> {
        let more = to_u64(self.count_max).checked_sub(1)?;
        match self.direction {
            Direction::Forward => {
                let first = self.from.0.max(1);
                VersionRange::new(first, first.saturating_add(more).min(latest.0))
            }
            Direction::Backward => {
                let last = self.from.0.min(latest.0);
                VersionRange::new(last.saturating_sub(more).max(1), last)
            }
        }
    }
}

impl Index {
    /// The latest version of a stream, written but not necessarily committed; `None` if the
    /// stream does not exist.
    pub(crate) fn stream_version(&self, stream: &StreamName) -> Option<Version> {
        let hash = self.keys.stream(stream.as_bytes());
        let state = self.read();
        let number = state.streams.find(hash, stream.as_bytes())?;
        Some(state.streams.latest(number)).filter(|version| *version > Version::ZERO)
    }

    /// Where events with these ids may be: pairs of (position in `ids`, place), ordered by both.
    /// Every place where an id is, is among them; the caller confirms each from its record, for
    /// another id can have the same fingerprint.
    ///
    /// A batch takes the lock once, and asks each filter for all its ids in a row.
    ///
    /// # Errors
    /// [`IndexError::Damaged`] when a run file can't tell; see [`Index::damaged_segments`].
    pub(crate) fn candidates(&self, ids: &[EventId]) -> Result<Vec<(usize, Sequence)>, IndexError> {
        let fingerprints: Vec<u64> = ids.iter().map(|id| self.keys.id(id)).collect();
        let mut found = Vec::new();
        let state = self.read();
        for part in state.parts.values() {
            for (position, fingerprint) in fingerprints.iter().enumerate() {
                found.extend(part.find(*fingerprint).map(|sequence| (position, sequence)));
            }
        }
        let runs = Arc::clone(&state.runs);
        drop(state);
        let mut places = Vec::new();
        for run in runs.iter() {
            for (position, fingerprint) in fingerprints.iter().enumerate() {
                if run.may_contain(*fingerprint) {
                    run.find(*fingerprint, &mut places)?;
                    found.extend(places.drain(..).map(|sequence| (position, sequence)));
                }
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    /// Where the wanted events of a stream are, in the direction asked. Nothing for a stream that
    /// does not exist, or beyond its latest written version.
    ///
    /// # Errors
    /// [`IndexError::Damaged`] when a run file can't tell; see [`Index::damaged_segments`].
    /// [`IndexError::Incomplete`] when a segment in between has not been inserted.
    pub(crate) fn postings(&self, wanted: &Wanted<'_>) -> Result<Vec<Posting>, IndexError> {
        let name = wanted.stream.as_bytes();
        let hash = self.keys.stream(name);
        let mut postings = Vec::new();
        let state = self.read();
        let Some(number) = state.streams.find(hash, name) else { return Ok(postings) };
        let Some(range) = wanted.range(state.streams.latest(number)) else { return Ok(postings) };
        for part in state.parts.values() {
            part.postings(number, range, &mut postings);
        }
        let runs = Arc::clone(&state.runs);
        drop(state);
        let mut runs: Vec<&Arc<Run>> = runs.iter().filter(|run| run.may_contain(hash)).collect();
        if wanted.direction == Direction::Backward {
            runs.reverse();
        }
        for run in runs {
            if postings.len() == range.count() {
                break;
            }
            if let Some(stream) = run.stream(hash, name)? {
                run.postings(&stream, range, &mut postings)?;
            }
        }
        postings.sort_unstable_by_key(|posting| posting.version);
        if !postings.iter().map(|posting| posting.version).eq(range.versions()) {
            return Err(IndexError::Incomplete { name: wanted.stream.to_string() });
        }
        if wanted.direction == Direction::Backward {
            postings.reverse();
        }
        Ok(postings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wanted_ranges() {
        let stream = StreamName::try_from("order-1").unwrap();
        let some = |first, last| VersionRange::new(first, last);
        let rows = [
            (1, Direction::Forward, 3, some(1, 3)),
            (0, Direction::Forward, 3, some(1, 3)),
            (9, Direction::Forward, 3, some(9, 10)),
            (11, Direction::Forward, 3, None),
            (1, Direction::Forward, usize::MAX, some(1, 10)),
            (u64::MAX, Direction::Forward, usize::MAX, None),
            (1, Direction::Forward, 0, None),
            (u64::MAX, Direction::Backward, 3, some(8, 10)),
            (2, Direction::Backward, 3, some(1, 2)),
            (10, Direction::Backward, usize::MAX, some(1, 10)),
            (0, Direction::Backward, 3, None),
            (10, Direction::Backward, 0, None),
        ];
        for (from, direction, count_max, expected) in rows {
            let wanted = Wanted { stream: &stream, from: Version(from), direction, count_max };
            assert_eq!(wanted.range(Version(10)), expected, "{wanted:?}");
        }
    }
}
