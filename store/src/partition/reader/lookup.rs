//! Finding events by their ids.

use bytes::Bytes;

use super::Reader;
use crate::event::{Epoch, EventId, Sequence};
use crate::log::ReadError;
use crate::log::fetch::fetch_one;
use crate::partition::Block;
use crate::record::decode;

/// The events that some ids belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lookup {
    /// Their records, in the order of the ids; an id that no committed event has has none.
    pub block: Block,
    /// How many of the ids were looked up, from the front; the rest did not fit into the block.
    pub looked_up: usize,
}

impl Reader {
    /// The committed events with these ids, as far as `bytes_max` record bytes allow; the first
    /// one that is found always fits.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn find(&self, ids: &[EventId], bytes_max: usize) -> Result<Lookup, ReadError> {
        // Whatever is committed by now is in the index: that comes before the watermarks move.
        let head = self.head();
        let candidates = self.side.index.candidates(ids)?;
        let mut records = Vec::new();
        let mut block = Block::empty(head, self.side.epoch());
        let mut looked_up = ids.len();
        let mut found_last = None;
        for (place, sequence) in candidates {
            // Several places may be named for an id; it stands at one of them at most.
            if sequence > head || found_last == Some(place) {
                continue;
            }
            let Some((record, epoch)) = self.record_with(ids.get(place), sequence)? else {
                continue;
            };
            if block.count > 0 && records.len() + record.len() > bytes_max {
                looked_up = place;
                break;
            }
            records.extend_from_slice(&record);
            found_last = Some(place);
            block.first = if block.count == 0 { sequence } else { block.first };
            (block.last, block.epoch) = (sequence, epoch);
            block.count += 1;
        }
        block.records = Bytes::from(records);
        block.at_end = looked_up == ids.len();
        Ok(Lookup { block, looked_up })
    }

    /// The record at a place, if it has the id: another one can have the same fingerprint.
    fn record_with(
        &self,
        id: Option<&EventId>,
        sequence: Sequence,
    ) -> Result<Option<(Bytes, Epoch)>, ReadError> {
        let bytes = fetch_one(&self.side.segments, sequence)?;
        let view =
            decode(&bytes).map_err(|error| ReadError::Undecodable { reason: error.to_string() })?;
        let found = (Some(&view.id()) == id).then(|| (bytes.slice(..view.len()), view.epoch()));
        Ok(found)
    }
}
