//! Finding events by their ids.

use std::collections::{BTreeSet, HashMap};

use store::event::{Event, EventId};
use store::slot::PartitionNumber;
use store::wire::replay::READ_IDS_MAX;

use super::cursor::Cursor;
use super::error::ReadError;
use super::fetch::Fetch;
use crate::handle::StoreHandle;

/// The committed events of a partition with these ids, in their order.
pub(crate) fn find(
    store: &StoreHandle,
    partition: PartitionNumber,
    ids: &[EventId],
) -> Result<Vec<Option<Event>>, ReadError> {
    let mut found = HashMap::new();
    let wanted: Vec<EventId> = ids.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
    for part in wanted.chunks(READ_IDS_MAX) {
        let cursor = Cursor::ids(store.name().clone(), partition.0, part.to_vec());
        let mut fetch = Fetch::new(store.clone(), partition, cursor);
        loop {
            let events = fetch.next_block()?;
            if events.is_empty() {
                break;
            }
            found.extend(events.into_iter().map(|event| (event.id, event)));
        }
    }
    Ok(ids.iter().map(|id| found.get(id).cloned()).collect())
}
