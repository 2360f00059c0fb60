//! Generated operations against the store and against the simplest thing that could be right: a
//! list of events and a map of ids.

use std::collections::BTreeMap;

use proptest::prelude::*;
use store::{
    Append, AppendError, Direction, Event, EventId, ExpectedVersion, NewEvent, Node, ReadError,
    Sequence, Signature, Store, StreamName, StreamQuery, StreamWrite, Version,
};

use crate::fixture::{all, event_with, open, partition, stream};

const STREAMS: u8 = 4;

#[derive(Debug, Clone)]
enum Operation {
    Append(Vec<Write>),
    /// Sends an earlier append again.
    Resend(prop::sample::Index),
    /// Sends a part or a mixture of earlier ids.
    Reuse(prop::sample::Index, u8),
    ReadStream {
        stream: u8,
        from: u64,
        backward: bool,
        count: u32,
    },
    ReadAll {
        from: u64,
        bytes: usize,
        backward: bool,
    },
    Reopen,
}

#[derive(Debug, Clone)]
struct Write {
    stream: u8,
    expected: Expected,
    events: u8,
    data: usize,
}

#[derive(Debug, Clone, Copy)]
enum Expected {
    Any,
    None,
    Exists,
    /// The actual version plus this, less one.
    Near(u64),
}

fn expected() -> impl Strategy<Value = Expected> {
    prop_oneof![
        4 => Just(Expected::Any),
        1 => Just(Expected::None),
        2 => Just(Expected::Exists),
        4 => (0..3_u64).prop_map(Expected::Near),
    ]
}

fn write() -> impl Strategy<Value = Write> {
    (0..STREAMS, expected(), 0..4_u8, prop_oneof![0..200_usize, 4000..6000_usize])
        .prop_map(|(stream, expected, events, data)| Write { stream, expected, events, data })
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        10 => prop::collection::vec(write(), 1..4).prop_map(Operation::Append),
        2 => any::<prop::sample::Index>().prop_map(Operation::Resend),
        1 => (any::<prop::sample::Index>(), 0..4_u8)
            .prop_map(|(index, how)| Operation::Reuse(index, how)),
        2 => (0..STREAMS + 1, 0..12_u64, any::<bool>(), 1..9_u32).prop_map(
            |(stream, from, backward, count)| Operation::ReadStream {
                stream,
                from: if backward && from == 0 { u64::MAX } else { from },
                backward,
                count,
            }
        ),
        2 => (0..200_u64, 1..20_000_usize, any::<bool>())
            .prop_map(|(from, bytes, backward)| Operation::ReadAll { from, bytes, backward }),
        1 => Just(Operation::Reopen),
    ]
}

#[derive(Default)]
struct Model {
    log: Vec<(StreamName, NewEvent)>,
    ids: BTreeMap<EventId, usize>,
    /// Appends that were done, with the place of their first event.
    done: Vec<(Append, usize)>,
    next_id: u128,
}

impl Model {
    fn version(&self, stream: &StreamName) -> Option<Version> {
        let count = self.log.iter().filter(|(name, _)| name == stream).count() as u64;
        (count > 0).then_some(Version(count))
    }

    fn append_of(&mut self, writes: &[Write]) -> Append {
        let mut append = Append { writes: Vec::new(), durability: None };
        for write in writes {
            let stream = stream(&format!("{{shop}}-{}", write.stream));
            let actual = self.version(&stream).unwrap_or_default().0;
            let expected = match write.expected {
                Expected::Any => ExpectedVersion::Any,
                Expected::None => ExpectedVersion::None,
                Expected::Exists => ExpectedVersion::Exists,
                Expected::Near(more) => {
                    ExpectedVersion::Exact(Version((actual + more).saturating_sub(1)))
                }
            };
            let events = (0..write.events).map(|_| {
                self.next_id += 1;
                event_with(self.next_id, &"d".repeat(write.data))
            });
            append.writes.push(StreamWrite {
                stream: stream.clone(),
                expected,
                events: events.collect(),
            });
        }
        append
    }

    /// What the store must answer: first sequence and whether it is a duplicate.
    fn append(&mut self, append: &Append) -> Result<(Sequence, bool), AppendError> {
        let invalid = AppendError::InvalidArgument { reason: String::new() };
        let events: Vec<_> = append.events().collect();
        let mut streams: Vec<_> = append.writes.iter().map(|write| &write.stream).collect();
        streams.sort();
        let count = streams.len();
        streams.dedup();
        if events.is_empty() || streams.len() != count {
            return Err(invalid);
        }
        let known: Vec<_> = events
            .iter()
            .map(|(_, event)| event.id)
            .filter(|id| self.ids.contains_key(id))
            .collect();
        if !known.is_empty() {
            let same = |(done, _): &&(Append, usize)| {
                let before: Vec<_> = done.events().collect();
                before == events
            };
            return match self.done.iter().find(same) {
                Some((_, place)) => Ok((Sequence(*place as u64 + 1), true)),
                None => Err(AppendError::IdReused { ids: known }),
            };
        }
        for write in &append.writes {
            let actual = self.version(&write.stream);
            if !write.expected.accepts(actual) {
                let (stream, expected) = (write.stream.clone(), write.expected);
                return Err(AppendError::WrongExpectedVersion { stream, expected, actual });
            }
        }
        let place = self.log.len();
        for (stream, event) in events {
            self.ids.insert(event.id, self.log.len());
            self.log.push((stream.clone(), event.clone()));
        }
        self.done.push((append.clone(), place));
        Ok((Sequence(place as u64 + 1), false))
    }

    fn check(&self, events: &[Event], places: impl Iterator<Item = usize>) {
        let mut events = events.iter();
        for place in places {
            let (stream, new) = &self.log[place];
            let event = events.next().unwrap_or_else(|| panic!("{place} is missing"));
            let before = self.log[..place].iter().filter(|(name, _)| name == stream).count();
            assert_eq!(event.sequence, Sequence(place as u64 + 1));
            assert_eq!((&event.stream, event.version.0), (stream, before as u64 + 1));
            assert_eq!((event.id, &event.data), (new.id, &new.data));
            assert_eq!(event.signature, Signature::of(stream, new));
        }
        assert!(events.next().is_none(), "more than there should be");
    }
}

struct Run {
    dir: tempfile::TempDir,
    open: Option<(Node, Store)>,
    model: Model,
}

impl Run {
    fn store(&self) -> &Store {
        &self.open.as_ref().unwrap().1
    }

    fn append(&mut self, append: Append) {
        let expected = self.model.append(&append);
        let result = partition(self.store()).append(append);
        match (expected, result) {
            (Ok((first, duplicate)), Ok(receipt)) => {
                assert_eq!((receipt.first, receipt.duplicate), (first, duplicate));
            }
            (
                Err(AppendError::InvalidArgument { .. }),
                Err(AppendError::InvalidArgument { .. }),
            ) => {}
            (Err(expected), Err(error)) => assert_eq!(error, expected),
            (expected, result) => panic!("{result:?} instead of {expected:?}"),
        }
    }

    fn reuse(&mut self, place: usize, how: u8) {
        let (mut append, _) = self.model.done[place].clone();
        let writes = &mut append.writes;
        match how {
            // Without the last event.
            0 => drop(writes.iter_mut().rev().find_map(|write| write.events.pop())),
            // With one more.
            1 => {
                self.model.next_id += 1;
                writes[0].events.push(event_with(self.model.next_id, "more"));
            }
            // With other content under the same id.
            2 => {
                for write in &mut *writes {
                    for event in &mut write.events {
                        event.data = "other".into();
                    }
                }
            }
            // Against the order.
            _ => writes.iter_mut().for_each(|write| write.events.reverse()),
        }
        self.append(append);
    }

    fn read_stream(&self, query: &StreamQuery) {
        let result = partition(self.store()).reader().read_stream(query);
        let places: Vec<_> = (0..self.model.log.len())
            .filter(|place| self.model.log[*place].0 == query.stream)
            .collect();
        let Ok(block) = result else {
            assert!(matches!(result, Err(ReadError::StreamNotFound { .. })) && places.is_empty());
            return;
        };
        let versions = (1..).zip(places);
        let wanted: Vec<_> = match query.direction {
            Direction::Forward => {
                versions.filter(|(version, _)| *version >= query.from.0).collect()
            }
            Direction::Backward => {
                let mut all: Vec<_> =
                    versions.filter(|(version, _)| *version <= query.from.0.max(1)).collect();
                all.reverse();
                all
            }
        };
        let shown = wanted.iter().take(query.count_max as usize).map(|(_, place)| *place);
        let events: Vec<_> = block.events().collect::<Result<_, _>>().unwrap();
        self.model.check(&events, shown);
        assert_eq!(block.at_end, wanted.len() <= events.len(), "{query:?}");
    }

    fn read_all(&self, from: u64, bytes: usize, backward: bool) {
        let reader = partition(self.store()).reader();
        let length = self.model.log.len();
        let mut next = from.clamp(1, length as u64 + 1);
        if backward {
            next = next.min(length as u64);
        }
        let mut seen = Vec::new();
        loop {
            let block = if backward {
                reader.read_backward(Sequence(next), bytes).unwrap()
            } else {
                reader.read(Sequence(next), bytes).unwrap()
            };
            let events: Vec<_> = block.events().collect::<Result<Vec<_>, _>>().unwrap();
            assert_eq!(events.len(), block.count as usize);
            assert_eq!(events.first().map_or(Sequence(0), |event| event.sequence), block.first);
            assert_eq!(events.last().map_or(Sequence(0), |event| event.sequence), block.last);
            assert!(events.len() <= 1 || block.records.len() <= bytes, "more than asked for");
            seen.extend(events);
            if block.at_end {
                break;
            }
            assert!(block.count > 0, "a block without an end has a record");
            next = if backward { block.last.0 - 1 } else { block.last.0 + 1 };
        }
        let first = from.clamp(1, length as u64 + 1) as usize;
        if backward {
            self.model.check(&seen, (0..first.min(length)).rev());
        } else {
            self.model.check(&seen, first - 1..length);
        }
    }

    fn step(&mut self, operation: Operation) {
        match operation {
            Operation::Append(writes) => {
                let append = self.model.append_of(&writes);
                self.append(append);
            }
            Operation::Resend(index) if !self.model.done.is_empty() => {
                let append = index.get(&self.model.done).0.clone();
                self.append(append);
            }
            Operation::Reuse(index, how) if !self.model.done.is_empty() => {
                self.reuse(index.index(self.model.done.len()), how);
            }
            Operation::Resend(_) | Operation::Reuse(..) => {}
            Operation::ReadStream { stream: number, from, backward, count } => {
                let direction = if backward { Direction::Backward } else { Direction::Forward };
                let stream = stream(&format!("{{shop}}-{number}"));
                let (count_max, from) = (count, Version(from));
                self.read_stream(&StreamQuery {
                    from,
                    direction,
                    count_max,
                    ..StreamQuery::all(stream)
                });
            }
            Operation::ReadAll { from, bytes, backward } => self.read_all(from, bytes, backward),
            Operation::Reopen => {
                self.open = None;
                self.open = Some(open(self.dir.path()));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn the_store_does_what_the_model_does(operations in prop::collection::vec(operation(), 1..60)) {
        let dir = tempfile::tempdir().unwrap();
        let opened = open(dir.path());
        let mut run = Run { dir, open: Some(opened), model: Model::default() };
        for operation in operations {
            run.step(operation);
        }
        run.step(Operation::Reopen);
        run.model.check(&all(run.store()), 0..run.model.log.len());
    }
}
