//! Reading a category: the events of all streams whose names begin alike.

use std::collections::{BTreeMap, VecDeque};

use store::Filter;
use store::event::{Event, Sequence};
use store::names::CategoryName;
use store::slot::PartitionNumber;

use super::cursor::Cursor;
use super::fetch::Fetch;
use super::{Direction, Events, ReadAllOptions, ReadError};
use crate::handle::StoreHandle;

/// How to read a category. [`Default`] reads all of it that is committed now, partition by
/// partition, oldest first within each.
#[derive(Debug, Clone, Default)]
pub struct ReadCategoryOptions {
    /// Only this partition; `None` for all of the store, one after the other.
    pub partition: Option<PartitionNumber>,
    /// First sequence to return (inclusive); `None` for the oldest, or the head backwards. A
    /// sequence means nothing without its partition: name one if the store has several. The same
    /// is true of `to` and `at_least`.
    pub from: Option<Sequence>,
    /// Last sequence to return (inclusive); `None` for the head when the partition's turn comes.
    pub to: Option<Sequence>,
    /// Which way, within each partition.
    pub direction: Direction,
    /// Most events to return of each partition.
    pub limit: Option<u64>,
    /// The read must see the log at least up to here (inclusive); see
    /// [`ReadOptions::at_least`](super::ReadOptions::at_least).
    pub at_least: Option<Sequence>,
    /// Whether it must see what was acknowledged to anybody; see
    /// [`ReadOptions::strong`](super::ReadOptions::strong).
    pub strong: bool,
}

/// The events of a category, read lazily. Ends after the first error.
#[derive(Debug)]
pub struct ReadCategory {
    store: StoreHandle,
    category: Option<CategoryName>,
    options: ReadAllOptions,
    /// Partitions whose turn will come.
    waiting: VecDeque<PartitionNumber>,
    current: Option<(PartitionNumber, Events)>,
    heads: BTreeMap<PartitionNumber, Sequence>,
}

impl ReadCategory {
    pub(crate) fn new(
        store: StoreHandle,
        category: Result<CategoryName, ReadError>,
        options: &ReadCategoryOptions,
    ) -> Self {
        let named =
            category.and_then(|category| Ok((category, partitions(store.partitions(), options)?)));
        let (category, waiting, current) = match named {
            Ok((category, waiting)) => (Some(category), waiting, None),
            Err(error) => {
                let events = Events { ready: VecDeque::from([Err(error)]), fetch: None };
                (None, VecDeque::new(), Some((PartitionNumber(0), events)))
            }
        };
        let options = ReadAllOptions {
            from: options.from,
            to: options.to,
            direction: options.direction,
            limit: options.limit,
            at_least: options.at_least,
            strong: options.strong,
            system_streams: true,
        };
        Self { store, category, options, waiting, current, heads: BTreeMap::new() }
    }

    /// Newest committed sequence of each partition when its turn came; known from its first event
    /// on, or when it has ended. There is nothing more of the category up to there.
    #[must_use]
    pub fn heads(&self) -> &BTreeMap<PartitionNumber, Sequence> {
        &self.heads
    }

    /// Begins with the next partition, if there is one.
    fn turn(&mut self) -> Option<()> {
        let partition = self.waiting.pop_front()?;
        let filter = Filter::Category(self.category.clone()?);
        let name = self.store.name().clone();
        let cursor = Cursor::filtered(name, partition.0, filter, &self.options);
        let events = Events::new(Fetch::new(self.store.clone(), partition, cursor));
        self.current = Some((partition, events));
        Some(())
    }
}

/// The partitions to read, in this order.
fn partitions(
    count: u16,
    options: &ReadCategoryOptions,
) -> Result<VecDeque<PartitionNumber>, ReadError> {
    let needs_one = options.from.or(options.to).or(options.at_least).is_some();
    match options.partition {
        Some(partition) if partition.0 < count => Ok(VecDeque::from([partition])),
        Some(partition) => {
            let reason = format!("partition {partition} of {count} does not exist");
            Err(ReadError::InvalidArgument(reason))
        }
        None if needs_one && count > 1 => {
            let reason = "a sequence needs the partition that it counts in".to_owned();
            Err(ReadError::InvalidArgument(reason))
        }
        None => Ok((0..count).map(PartitionNumber).collect()),
    }
}

impl Iterator for ReadCategory {
    type Item = Result<Event, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Some((partition, events)) = &mut self.current else {
                self.turn()?;
                continue;
            };
            let next = events.next();
            if let Some(head) = events.head() {
                self.heads.insert(*partition, head);
            }
            match next {
                Some(Ok(event)) => return Some(Ok(event)),
                Some(Err(error)) => {
                    self.current = None;
                    self.waiting.clear();
                    return Some(Err(error));
                }
                None => self.current = None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_partitions_are_read() {
        let one = |number| Some(PartitionNumber(number));
        let options =
            |partition, from| ReadCategoryOptions { partition, from, ..Default::default() };
        let three = Some(Sequence(3));
        let rows = [
            (4, options(None, None), Some(vec![0, 1, 2, 3])),
            (4, options(one(2), None), Some(vec![2])),
            (4, options(one(2), three), Some(vec![2])),
            (1, options(None, three), Some(vec![0])),
            (4, options(None, three), None),
            (4, options(one(4), None), None),
            (4, ReadCategoryOptions { to: three, ..Default::default() }, None),
            (4, ReadCategoryOptions { at_least: three, ..Default::default() }, None),
        ];
        for (count, options, expected) in rows {
            let found = partitions(count, &options).ok();
            let found = found.map(|list| list.into_iter().map(|one| one.0).collect::<Vec<_>>());
            assert_eq!(found, expected, "{options:?}");
        }
    }
}
