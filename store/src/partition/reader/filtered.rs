//! Reading some of a partition's events in the order of the log: those of a category or a stream.

use super::{Ends, POSTINGS_MAX, Reader};
use crate::event::{Direction, Sequence};
use crate::filter::Filter;
use crate::index::WantedPlaces;
use crate::log::ReadError;
use crate::log::fetch_places::{Gathered, gather};
use crate::partition::{Block, FilteredQuery};
use crate::record::RecordView;

impl Reader {
    /// Events of a category or a stream, by their places in the log. Nothing, if there are none:
    /// that nobody has appended to a category yet is no mistake.
    ///
    /// `at_end` of the block says that all the rest up to the block's head (or the query's `to`)
    /// was looked at.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn read_filtered(&self, query: &FilteredQuery) -> Result<Block, ReadError> {
        // Whatever is committed by now is in the index: that comes before the watermarks move.
        let head = self.head();
        let (mut low, mut high) = self.range(query, head)?;
        let count_max = usize::try_from(query.count_max).unwrap_or(usize::MAX);
        let FilteredQuery { filter, direction, bytes_max, .. } = query;
        let check = |view: &RecordView<'_>| {
            let taken = filter.takes_bytes(view.stream());
            if taken { Ok(()) } else { Err("the index points elsewhere") }
        };
        let mut out = Gathered::new(*bytes_max);
        let mut first = Sequence::ZERO;
        let at_end = loop {
            let left = count_max.saturating_sub(usize::try_from(out.count).unwrap_or(usize::MAX));
            let count = left.min(POSTINGS_MAX);
            if low > high || count == 0 || out.bytes.len() >= *bytes_max {
                break low > high;
            }
            // One more than is read tells whether there is more.
            let (direction, count_max) = (*direction, count + 1);
            let wanted = WantedPlaces { filter, low, high, direction, count_max };
            let mut places = self.side.index.places(&wanted)?;
            let more = places.len() > count;
            places.truncate(count);
            let (Some(start), Some(end)) = (places.first(), places.last()) else { break true };
            first = if out.count == 0 { start.sequence } else { first };
            if !gather(&self.side.segments, &places, &check, &mut out)? {
                break false;
            }
            match direction {
                _ if !more => break true,
                Direction::Forward => low = end.sequence.next(),
                Direction::Backward => high = Sequence(end.sequence.0.saturating_sub(1)),
            }
        };
        if out.count == 0 {
            return Ok(Block { at_end, ..Block::empty(head, self.side.epoch()) });
        }
        Ok(self.block(out, Ends { first, head, at_end }))
    }

    /// The newest committed event of a category or a stream at or below a place of the log: its own
    /// place, 0 if there is none.
    ///
    /// # Errors
    /// [`ReadError::Index`].
    pub fn newest_of(&self, filter: &Filter, up_to: Sequence) -> Result<Sequence, ReadError> {
        let (low, high) = (self.first(), up_to.min(self.head()));
        if low > high {
            return Ok(Sequence::ZERO);
        }
        let direction = Direction::Backward;
        let wanted = WantedPlaces { filter, low, high, direction, count_max: 1 };
        let places = self.side.index.places(&wanted)?;
        Ok(places.first().map_or(Sequence::ZERO, |place| place.sequence))
    }

    /// Lowest and highest sequence that a query may see (both inclusive); the lowest is above the
    /// highest if there is none.
    fn range(
        &self,
        query: &FilteredQuery,
        head: Sequence,
    ) -> Result<(Sequence, Sequence), ReadError> {
        let FilteredQuery { from, to, .. } = *query;
        let first = self.first();
        if from != Sequence::ZERO && from < first {
            return Err(ReadError::BeforeFirst { first });
        }
        Ok(match query.direction {
            Direction::Forward if to == Sequence::ZERO => (from.max(first), head),
            Direction::Forward => (from.max(first), to.min(head)),
            Direction::Backward => (to.max(first), from.min(head)),
        })
    }
}
