//! Questions by sequence: where are the events of a category, or of a stream, between two places of
//! the log?

use std::borrow::Cow;
use std::sync::Arc;

use super::keys::CategoryKey;
use super::run::Run;
use super::{Index, IndexError, State};
use crate::event::{Direction, Sequence};
use crate::filter::Filter;
use crate::log::fetch_places::RecordPlace;

/// Which events a reader wants by their places in the log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WantedPlaces<'a> {
    /// Of which streams.
    pub(crate) filter: &'a Filter,
    /// Lowest sequence, inclusive; the segment that has it is kept.
    pub(crate) low: Sequence,
    /// Highest sequence, inclusive; it was written.
    pub(crate) high: Sequence,
    /// Whether to begin with the lowest or the highest.
    pub(crate) direction: Direction,
    /// Most places to return.
    pub(crate) count_max: usize,
}

impl WantedPlaces<'_> {
    /// The name under which the index keeps them.
    fn key(&self) -> Cow<'_, [u8]> {
        match self.filter {
            Filter::Stream(stream) => Cow::Borrowed(stream.as_bytes()),
            Filter::Category(category) => {
                Cow::Owned(CategoryKey::new(category.as_bytes()).as_bytes().to_vec())
            }
        }
    }
}

/// A part of the log as the index knows it.
struct Piece {
    /// First sequence.
    first: Sequence,
    /// Last sequence, inclusive.
    last: Sequence,
    content: Content,
}

enum Content {
    /// What a memory part has: it is taken while the lock is held.
    Found(Vec<RecordPlace>),
    /// A run, to be asked if there is need.
    Run(Arc<Run>),
}

impl Index {
    /// Where the wanted events are, in the direction asked. Nothing for a stream or category that
    /// does not exist.
    ///
    /// # Errors
    /// [`IndexError::Damaged`] when a run file can't tell; see [`Index::damaged_segments`].
    /// [`IndexError::Incomplete`] when a segment in between has not been inserted.
    pub(crate) fn places(&self, wanted: &WantedPlaces<'_>) -> Result<Vec<RecordPlace>, IndexError> {
        let mut found = Vec::new();
        let key = wanted.key();
        let hash = self.keys.stream(&key);
        let Some(mut pieces) = pieces(&self.read(), hash, &key, wanted) else { return Ok(found) };
        if !cover(&pieces, wanted) {
            let name = String::from_utf8_lossy(&key).trim_start_matches('\0').to_owned();
            return Err(IndexError::Incomplete { name });
        }
        if wanted.direction == Direction::Backward {
            pieces.reverse();
        }
        for Piece { content, .. } in pieces {
            let left = wanted.count_max.saturating_sub(found.len());
            if left == 0 {
                break;
            }
            match content {
                Content::Found(places) => found.extend(places.into_iter().take(left)),
                Content::Run(run) if !run.may_contain(hash) => {}
                Content::Run(run) => {
                    if let Some(entry) = run.stream(hash, &key)? {
                        let ends = (wanted.low, wanted.high);
                        run.places_between(&entry, ends, (wanted.direction, left), &mut found)?;
                    }
                }
            }
        }
        Ok(found)
    }
}

/// The pieces of the log between the wanted sequences, ascending; `None` if there is no such stream
/// or category.
fn pieces(state: &State, hash: u64, key: &[u8], wanted: &WantedPlaces<'_>) -> Option<Vec<Piece>> {
    let number = state.streams.find(hash, key)?;
    let touches = |first, last| first <= wanted.high && last >= wanted.low;
    let mut pieces = Vec::new();
    for part in state.parts.values() {
        let (first, last) = part.ends();
        if touches(first, last) {
            let mut found = Vec::new();
            let ends = (wanted.low, wanted.high);
            part.places_between(number, ends, (wanted.direction, wanted.count_max), &mut found);
            pieces.push(Piece { first, last, content: Content::Found(found) });
        }
    }
    for run in state.runs.iter() {
        let span = run.span();
        if touches(span.first, span.last) {
            let content = Content::Run(Arc::clone(run));
            pieces.push(Piece { first: span.first, last: span.last, content });
        }
    }
    pieces.sort_by_key(|piece| piece.first);
    Some(pieces)
}

/// Whether nothing is missing between the wanted sequences. A missing piece can't be told from one
/// without events of the wanted kind, for their sequences have gaps.
fn cover(pieces: &[Piece], wanted: &WantedPlaces<'_>) -> bool {
    let mut next = wanted.low;
    for piece in pieces {
        if piece.first > next {
            return false;
        }
        next = next.max(piece.last.next());
    }
    next > wanted.high
}
