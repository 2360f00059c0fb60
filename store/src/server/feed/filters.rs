//! The filtered topics of one partition, and which records of a batch belong to them.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use bytes::{Bytes, BytesMut};

use crate::event::Sequence;
use crate::filter::{Filter, category_of};
use crate::record::{RecordError, RecordView};

/// What of a partition is listened to. A record is looked up twice, however many topics there are.
#[derive(Debug, Default)]
pub(super) struct Filters {
    categories: HashMap<Bytes, Listened>,
    streams: HashMap<Bytes, Listened>,
}

#[derive(Debug)]
struct Listened {
    filter: Filter,
    /// The topic frame.
    topic: Bytes,
    /// The newest record of the topic in the chain so far, 0 if there is none; `None` if it must be
    /// looked up.
    newest: Option<Sequence>,
}

/// The records of a batch that belong to one topic.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) filter: Filter,
    /// The topic frame.
    pub(super) topic: Bytes,
    /// How many there are; at least one.
    pub(super) count: u32,
    /// Sequence of the last one.
    pub(super) last: Sequence,
    /// Whole records back to back.
    pub(super) records: Bytes,
}

/// Where the records of a part are in their batch.
struct Found<'a> {
    listened: &'a Listened,
    /// Neighbours are one range.
    ranges: Vec<Range<usize>>,
    count: u32,
    last: Sequence,
}

impl Filters {
    pub(super) fn is_empty(&self) -> bool {
        self.categories.is_empty() && self.streams.is_empty()
    }

    /// Somebody listens to these events.
    pub(super) fn add(&mut self, filter: &Filter, topic: Bytes) {
        let (names, name) = match filter {
            Filter::Category(category) => (&mut self.categories, category.as_bytes()),
            Filter::Stream(stream) => (&mut self.streams, stream.as_bytes()),
        };
        if !names.contains_key(name) {
            let listened = Listened { filter: filter.clone(), topic, newest: None };
            names.insert(Bytes::copy_from_slice(name), listened);
        }
    }

    /// Nobody listens to these events any more.
    pub(super) fn remove(&mut self, filter: &Filter) {
        match filter {
            Filter::Category(category) => self.categories.remove(category.as_bytes()),
            Filter::Stream(stream) => self.streams.remove(stream.as_bytes()),
        };
    }

    /// The newest record of a topic in the chain so far, as far as that is known.
    pub(super) fn newest(&self, filter: &Filter) -> Option<Sequence> {
        match filter {
            Filter::Category(category) => self.categories.get(category.as_bytes())?.newest,
            Filter::Stream(stream) => self.streams.get(stream.as_bytes())?.newest,
        }
    }

    /// Notes the newest record of a topic in the chain so far.
    pub(super) fn set_newest(&mut self, filter: &Filter, newest: Sequence) {
        let listened = match filter {
            Filter::Category(category) => self.categories.get_mut(category.as_bytes()),
            Filter::Stream(stream) => self.streams.get_mut(stream.as_bytes()),
        };
        if let Some(listened) = listened {
            listened.newest = Some(newest);
        }
    }

    /// The chain went on without looking at its records, which may have been of any topic.
    pub(super) fn forget_newest(&mut self) {
        self.each(|listened| listened.newest = None);
    }

    /// Up to there nobody knows what is missing: all topics go on from behind it.
    pub(super) fn set_all(&mut self, newest: Sequence) {
        self.each(|listened| listened.newest = Some(newest));
    }

    fn each(&mut self, change: impl Fn(&mut Listened)) {
        self.categories.values_mut().chain(self.streams.values_mut()).for_each(change);
    }

    /// The parts of a batch, in the order of their topics.
    ///
    /// # Errors
    /// [`RecordError`] when the batch is not made of records.
    pub(super) fn sort(&self, batch: &Bytes) -> Result<Vec<Part>, RecordError> {
        let mut found: BTreeMap<&[u8], Found<'_>> = BTreeMap::new();
        let mut start = 0;
        while let Some(rest) = batch.get(start..).filter(|rest| !rest.is_empty()) {
            // Its checksum over the body was compared when it was read.
            let view = RecordView::frame(rest)?;
            let range = start..start + view.len();
            start = range.end;
            let category = self.categories.get(category_of(view.stream()));
            let stream = self.streams.get(view.stream());
            for listened in category.into_iter().chain(stream) {
                let fresh =
                    || Found { listened, ranges: Vec::new(), count: 0, last: Sequence::ZERO };
                let found = found.entry(&listened.topic).or_insert_with(fresh);
                found.add(range.clone(), view.sequence());
            }
        }
        Ok(found.into_values().map(|found| found.part(batch)).collect())
    }
}

impl Found<'_> {
    fn add(&mut self, record: Range<usize>, sequence: Sequence) {
        self.count += 1;
        self.last = sequence;
        match self.ranges.last_mut() {
            Some(range) if range.end == record.start => range.end = record.end,
            _ => self.ranges.push(record),
        }
    }

    /// Copies only what is not in one piece.
    fn part(self, batch: &Bytes) -> Part {
        let Self { listened, ranges, count, last } = self;
        let records = match ranges.as_slice() {
            [range] => batch.slice(range.clone()),
            ranges => {
                let length = ranges.iter().map(ExactSizeIterator::len).sum();
                let mut records = BytesMut::with_capacity(length);
                for range in ranges {
                    records.extend_from_slice(batch.get(range.clone()).unwrap_or_default());
                }
                records.freeze()
            }
        };
        let Listened { filter, topic, .. } = listened;
        Part { filter: filter.clone(), topic: topic.clone(), count, last, records }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{ContentType, Epoch, EventId, NewEvent, Version};
    use crate::names::StreamName;
    use crate::record::{Chain, Numbered, encode};

    /// Records of these streams, from sequence 1.
    fn batch(streams: &[&str]) -> Bytes {
        let mut records = Vec::new();
        for (sequence, stream) in (1..).zip(streams) {
            let stream: StreamName = stream.parse().unwrap();
            let event = NewEvent::new("T".try_into().unwrap(), ContentType::Bytes, &b"x"[..]);
            let numbered = Numbered {
                stream: &stream,
                event: &event.with_id(EventId(uuid::Uuid::from_u128(u128::from(sequence)))),
                sequence: Sequence(sequence),
                version: Version(1),
                epoch: Epoch(1),
                committed_up_to: Sequence::ZERO,
                time_micros: 0,
                ends_append: true,
            };
            encode(&numbered, Chain::default(), &mut records);
        }
        records.into()
    }

    fn filters(categories: &[&str], streams: &[&str]) -> Filters {
        let mut filters = Filters::default();
        for name in categories {
            filters.add(&Filter::Category(name.parse().unwrap()), format!("C {name}").into());
        }
        for name in streams {
            filters.add(&Filter::Stream(name.parse().unwrap()), format!("S {name}").into());
        }
        filters
    }

    /// Topic, sequences, and whether they were copied.
    fn sorted(filters: &Filters, batch: &Bytes) -> Vec<(String, Vec<u64>, bool)> {
        let parts = filters.sort(batch).unwrap().into_iter().map(|part| {
            let events = crate::record::iterate(&part.records).map(Result::unwrap);
            let sequences: Vec<u64> = events.map(|event| event.sequence.0).collect();
            assert_eq!(usize::try_from(part.count).unwrap(), sequences.len());
            assert_eq!(part.last.0, sequences[sequences.len() - 1]);
            let shared = batch.as_ptr_range().contains(&part.records.as_ptr());
            (String::from_utf8(part.topic.to_vec()).unwrap(), sequences, !shared)
        });
        parts.collect()
    }

    #[test]
    fn each_record_goes_to_its_topics() {
        let batch = batch(&["order-1", "order-2", "user-1", "order-1", "user", "orders-1"]);
        let all = filters(&["order", "user", "x"], &["order-1", "order-9", "user"]);
        let part =
            |topic: &str, sequences: &[u64], copied| (topic.to_owned(), sequences.to_vec(), copied);
        let expected = [
            part("C order", &[1, 2, 4], true),
            part("C user", &[3, 5], true),
            part("S order-1", &[1, 4], true),
            part("S user", &[5], false),
        ];
        assert_eq!(sorted(&all, &batch), expected);
        assert_eq!(sorted(&Filters::default(), &batch), []);
    }

    #[test]
    fn a_batch_of_one_category_is_not_copied() {
        let batch = batch(&["order-1", "order-2", "order-3"]);
        let expected = [("C order".to_owned(), vec![1, 2, 3], false)];
        assert_eq!(sorted(&filters(&["order"], &[]), &batch), expected);
    }

    #[test]
    fn what_is_no_record_is_told() {
        let batch = batch(&["order-1", "order-2"]);
        let cut = batch.slice(..batch.len() - 8);
        assert!(filters(&["order"], &[]).sort(&cut).is_err());
    }

    #[test]
    fn the_newest_record_is_known_until_the_chain_jumps() {
        let mut filters = filters(&["order"], &["order-1"]);
        let category = Filter::Category("order".parse().unwrap());
        let stream = Filter::Stream("order-1".parse().unwrap());
        assert_eq!(filters.newest(&category), None);
        filters.set_newest(&category, Sequence(7));
        filters.add(&category, Bytes::from_static(b"order"));
        assert_eq!(filters.newest(&category), Some(Sequence(7)), "it was there");
        filters.set_all(Sequence(9));
        assert_eq!(filters.newest(&stream), Some(Sequence(9)));
        filters.forget_newest();
        assert_eq!(filters.newest(&category), None);
        filters.remove(&category);
        filters.set_newest(&category, Sequence(7));
        assert_eq!(filters.newest(&category), None);
        filters.remove(&stream);
        assert!(filters.is_empty());
    }
}
