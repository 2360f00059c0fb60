//! The checker: what was acknowledged against what the log holds.
//!
//! Pure. It knows the answers that the appending threads were given and the records that a full
//! replay brought, and trusts neither. Events are compared by the SHA-1 over their content, which
//! the two sides compute for themselves from the bytes they hold.

use std::collections::{HashMap, HashSet, VecDeque};

use store::{EventId, Sequence, Signature, StreamName, Version, record};
use thiserror::Error;

/// Most violations kept with their details; all are counted.
const VIOLATIONS_KEPT_MAX: usize = 20;

/// One event of an acknowledged append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SentEvent {
    /// Its identity.
    pub id: EventId,
    /// SHA-1 over what was sent.
    pub digest: Signature,
}

/// An append and the answer to it.
#[derive(Debug, Clone)]
pub struct Acknowledged {
    /// Partition named by the answer.
    pub partition: u16,
    /// Stream appended to.
    pub stream: StreamName,
    /// Version of the first event, by the expected version that the append carried.
    pub first_version: Version,
    /// Sequence of the first event, by the answer.
    pub first_sequence: Sequence,
    /// The events in order.
    pub events: Vec<SentEvent>,
}

/// One record of a full replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// Partition that it was read from.
    pub partition: u16,
    /// Its place in the log.
    pub sequence: Sequence,
    /// Its stream.
    pub stream: StreamName,
    /// Its place in the stream.
    pub version: Version,
    /// Its identity.
    pub id: EventId,
    /// SHA-1 over what was read.
    pub digest: Signature,
    /// Whether its append ends with it.
    pub ends_append: bool,
}

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Violation {
    /// Acknowledged and gone.
    #[error("lost: event {id} of {stream} was acknowledged and is not in the log")]
    Lost {
        /// Which event.
        id: EventId,
        /// Its stream.
        stream: StreamName,
    },
    /// There twice.
    #[error("doubled: event {id} stands in the log again, at {partition}/{sequence}")]
    Doubled {
        /// Which event.
        id: EventId,
        /// Where it was met again.
        partition: u16,
        /// Where it was met again.
        sequence: Sequence,
    },
    /// Other bytes.
    #[error("altered: event {id} at {partition}/{sequence} has other content than was appended")]
    Altered {
        /// Which event.
        id: EventId,
        /// Where it stands.
        partition: u16,
        /// Where it stands.
        sequence: Sequence,
    },
    /// Elsewhere than the answer said: order was not kept.
    #[error("reordered: event {id} was acknowledged as {acknowledged} and stands at {found}")]
    Reordered {
        /// Which event.
        id: EventId,
        /// Partition, sequence and version by the answer.
        acknowledged: String,
        /// Partition, sequence and version in the log.
        found: String,
    },
    /// A hole, or a step back, in the numbers of a partition.
    #[error("partition {partition} goes from sequence {before} to {after}")]
    SequenceGap {
        /// Which partition.
        partition: u16,
        /// The record before.
        before: Sequence,
        /// The record that followed.
        after: Sequence,
    },
    /// A hole, or a step back, in the versions of a stream.
    #[error("stream {stream} goes from version {before} to {after}")]
    VersionGap {
        /// Which stream.
        stream: StreamName,
        /// The event before.
        before: Version,
        /// The event that followed.
        after: Version,
    },
    /// An append of which only a part is there, or with others' records inside.
    #[error("torn: the append that ends with event {id} does not end there in the log")]
    Torn {
        /// Last event of the append.
        id: EventId,
    },
    /// Another record at one node of a pair than at the other.
    #[error("unequal: the nodes of a pair hold other bytes at {partition}/{sequence}")]
    Unequal {
        /// Which partition.
        partition: u16,
        /// The first record that differs, or that one of them lacks.
        sequence: Sequence,
    },
    /// Delivered otherwise than the log has it.
    #[error("a subscription was given {given} where {partition}/{sequence} was due")]
    Delivery {
        /// Which partition.
        partition: u16,
        /// What should have come.
        sequence: Sequence,
        /// What came.
        given: String,
    },
    /// Never appended by us, and newer than our start.
    #[error("nobody appended event {id} of {stream}, which stands in the log")]
    Stranger {
        /// Which event.
        id: EventId,
        /// Its stream.
        stream: StreamName,
    },
}

/// How often each kind of promise was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Acknowledged events that are not in the log.
    pub lost: u64,
    /// Events that stand in the log more than once.
    pub doubled: u64,
    /// Events with other content.
    pub altered: u64,
    /// Events at another place than acknowledged, gaps in sequences or versions, torn appends.
    pub disordered: u64,
    /// Events that nobody appended.
    pub strangers: u64,
    /// Partitions that the nodes of a pair hold differently.
    pub unequal: u64,
    /// Subscriptions that were not given what the log has.
    pub misdelivered: u64,
}

/// The outcome of a check.
#[derive(Debug, Clone, Default)]
pub struct Verdict {
    /// Events acknowledged.
    pub acknowledged: u64,
    /// Records in the log.
    pub in_log: u64,
    /// Those of them that the system wrote itself, into streams whose names start with `$`.
    pub of_system: u64,
    /// How often each promise was broken.
    pub counts: Counts,
    /// The first violations, with their details.
    pub violations: Vec<Violation>,
}

impl Verdict {
    /// Whether every promise was kept.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.counts == Counts::default()
    }

    /// Takes down a broken promise.
    pub fn blame(&mut self, violation: Violation) {
        let count = match violation {
            Violation::Lost { .. } => &mut self.counts.lost,
            Violation::Doubled { .. } => &mut self.counts.doubled,
            Violation::Altered { .. } => &mut self.counts.altered,
            Violation::Stranger { .. } => &mut self.counts.strangers,
            Violation::Unequal { .. } => &mut self.counts.unequal,
            Violation::Delivery { .. } => &mut self.counts.misdelivered,
            _ => &mut self.counts.disordered,
        };
        *count += 1;
        if self.violations.len() < VIOLATIONS_KEPT_MAX {
            self.violations.push(violation);
        }
    }
}

/// Everything that was appended, with the answers.
#[derive(Debug, Clone, Default)]
pub struct History {
    acknowledged: Vec<Acknowledged>,
    unanswered: HashSet<EventId>,
    heads_before: HashMap<u16, Sequence>,
}

/// Where an acknowledged event has to be.
struct Place<'a> {
    append: &'a Acknowledged,
    sequence: Sequence,
    version: Version,
    digest: Signature,
    is_last: bool,
    met: bool,
}

impl History {
    /// A history that starts with these newest sequences (inclusive) already in the log: records
    /// up to there may be of any origin.
    #[must_use]
    pub fn after(heads_before: HashMap<u16, Sequence>) -> Self {
        Self { heads_before, ..Self::default() }
    }

    /// Takes down an append that was answered with success.
    pub fn acknowledge(&mut self, append: Acknowledged) {
        self.acknowledged.push(append);
    }

    /// Takes down events of an append that never got a definite answer: they may be in the log,
    /// or not, but only once.
    pub fn leave_open(&mut self, ids: impl IntoIterator<Item = EventId>) {
        self.unanswered.extend(ids);
    }

    /// Number of acknowledged appends.
    #[must_use]
    pub fn append_count(&self) -> usize {
        self.acknowledged.len()
    }

    /// Holds the history against the records of a full replay, each partition in its own order.
    #[must_use]
    pub fn check<'a>(&self, log: impl IntoIterator<Item = &'a LogEntry>) -> Verdict {
        let mut verdict = Verdict::default();
        let mut places = self.places();
        verdict.acknowledged = places.len().try_into().unwrap_or(u64::MAX);
        let mut numbering = Numbering::default();
        let mut others_met = HashSet::new();
        for entry in log {
            verdict.in_log += 1;
            verdict.of_system += u64::from(entry.stream.is_system());
            numbering.check(entry, &mut verdict);
            match places.get_mut(&entry.id) {
                Some(place) => place.check(entry, &mut verdict),
                None if !others_met.insert((log_of(entry), entry.id)) => {
                    verdict.blame(doubled(entry))
                }
                None if self.may_hold(entry) => {}
                None => verdict
                    .blame(Violation::Stranger { id: entry.id, stream: entry.stream.clone() }),
            }
        }
        for (id, place) in places.iter().filter(|(_, place)| !place.met) {
            verdict.blame(Violation::Lost { id: *id, stream: place.append.stream.clone() });
        }
        verdict
    }

    fn places(&self) -> HashMap<EventId, Place<'_>> {
        let mut places = HashMap::new();
        for append in &self.acknowledged {
            let last = append.events.len().saturating_sub(1);
            for (index, event) in append.events.iter().enumerate() {
                let offset = u64::try_from(index).unwrap_or(u64::MAX);
                let place = Place {
                    append,
                    sequence: Sequence(append.first_sequence.0.saturating_add(offset)),
                    version: Version(append.first_version.0.saturating_add(offset)),
                    digest: event.digest,
                    is_last: index == last,
                    met: false,
                };
                places.insert(event.id, place);
            }
        }
        places
    }

    fn may_hold(&self, entry: &LogEntry) -> bool {
        let head_before = self.heads_before.get(&entry.partition).copied().unwrap_or_default();
        entry.sequence <= head_before
            || entry.stream.is_system()
            || self.unanswered.contains(&entry.id)
    }
}

impl Verdict {
    /// Holds what a subscription was given against the log: every record once, in the order of
    /// its partition, none left out. Both are as long as the log is.
    pub fn check_delivery(&mut self, log: &[LogEntry], given: &[LogEntry]) {
        let mut left: HashMap<u16, VecDeque<&LogEntry>> = HashMap::new();
        for entry in given {
            left.entry(entry.partition).or_default().push_back(entry);
        }
        for due in log {
            let came = left.entry(due.partition).or_default().pop_front();
            if came != Some(due) {
                let (partition, sequence) = (due.partition, due.sequence);
                let given = came.map_or(String::from("nothing"), |entry| {
                    format!("{} {} of {}", entry.sequence, entry.id, entry.stream)
                });
                self.blame(Violation::Delivery { partition, sequence, given });
                return;
            }
        }
        if let Some(entry) = left.values().find_map(VecDeque::front) {
            let (partition, sequence) = (entry.partition, entry.sequence.next());
            let given = format!("{} again", entry.sequence);
            self.blame(Violation::Delivery { partition, sequence, given });
        }
    }

    /// Holds the records of one node of a pair against those of the other, byte for byte.
    pub fn compare_nodes(&mut self, partition: u16, [one, other]: [&[u8]; 2]) {
        if one == other {
            return;
        }
        let same = one.iter().zip(other).take_while(|(one, other)| one == other).count();
        // One of them goes on there, if only one is longer.
        let longer = if one.len() > other.len() { one } else { other };
        let (mut end, mut sequence) = (0, Sequence::ZERO);
        for view in record::views(longer).map_while(Result::ok) {
            (end, sequence) = (end + view.len(), view.sequence());
            if same < end {
                break;
            }
        }
        if same >= end {
            // What follows is not even a record.
            sequence = sequence.next();
        }
        self.blame(Violation::Unequal { partition, sequence });
    }
}

impl Place<'_> {
    fn check(&mut self, entry: &LogEntry, verdict: &mut Verdict) {
        if self.met {
            verdict.blame(doubled(entry));
            return;
        }
        self.met = true;
        let expected = (self.append.partition, self.sequence, self.version);
        let found = (entry.partition, entry.sequence, entry.version);
        if expected != found || self.append.stream != entry.stream {
            let place = |(partition, sequence, version): (u16, Sequence, Version), stream| {
                format!("{partition}/{sequence}, version {version} of {stream}")
            };
            verdict.blame(Violation::Reordered {
                id: entry.id,
                acknowledged: place(expected, &self.append.stream),
                found: place(found, &entry.stream),
            });
        }
        if self.digest != entry.digest {
            let (partition, sequence) = (entry.partition, entry.sequence);
            verdict.blame(Violation::Altered { id: entry.id, partition, sequence });
        }
        if self.is_last != entry.ends_append {
            verdict.blame(Violation::Torn { id: entry.id });
        }
    }
}

fn doubled(entry: &LogEntry) -> Violation {
    let (partition, sequence) = (entry.partition, entry.sequence);
    Violation::Doubled { id: entry.id, partition, sequence }
}

/// The partition that a stream and its ids are of: the system writes the same into each.
fn log_of(entry: &LogEntry) -> Option<u16> {
    entry.stream.is_system().then_some(entry.partition)
}

/// Sequences by partition and versions by stream, as far as they have been seen.
#[derive(Default)]
struct Numbering {
    sequences: HashMap<u16, Sequence>,
    versions: HashMap<(Option<u16>, StreamName), Version>,
}

impl Numbering {
    fn check(&mut self, entry: &LogEntry, verdict: &mut Verdict) {
        let before = self.sequences.insert(entry.partition, entry.sequence).unwrap_or_default();
        if entry.sequence != before.next() {
            let (partition, after) = (entry.partition, entry.sequence);
            verdict.blame(Violation::SequenceGap { partition, before, after });
        }
        let stream = (log_of(entry), entry.stream.clone());
        let before = self.versions.insert(stream, entry.version).unwrap_or_default();
        if entry.version != before.next() {
            let (stream, after) = (entry.stream.clone(), entry.version);
            verdict.blame(Violation::VersionGap { stream, before, after });
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    /// Ten appends of three events each over two streams of one partition, and their log.
    fn sound() -> (History, Vec<LogEntry>) {
        let mut history = History::default();
        let mut log = Vec::new();
        for append in 0..10_u64 {
            let stream = StreamName::new(format!("order-{}", append % 2)).unwrap();
            let first_version = Version(append / 2 * 3 + 1);
            let first_sequence = Sequence(append * 3 + 1);
            let mut events = Vec::new();
            for offset in 0..3 {
                let number = u128::from(append * 3 + offset);
                let id = EventId(Uuid::from_u128(number + 1_000));
                let digest = Signature([u8::try_from(number).unwrap(); 20]);
                events.push(SentEvent { id, digest });
                log.push(LogEntry {
                    partition: 0,
                    sequence: Sequence(first_sequence.0 + offset),
                    stream: stream.clone(),
                    version: Version(first_version.0 + offset),
                    id,
                    digest,
                    ends_append: offset == 2,
                });
            }
            let partition = 0;
            history.acknowledge(Acknowledged {
                partition,
                stream,
                first_version,
                first_sequence,
                events,
            });
        }
        (history, log)
    }

    /// Plants a fault into the log and gives what the checker counts.
    fn counts_after(plant: impl FnOnce(&mut Vec<LogEntry>)) -> Counts {
        let (history, mut log) = sound();
        plant(&mut log);
        history.check(&log).counts
    }

    #[test]
    fn a_sound_log_passes() {
        let (history, log) = sound();
        let verdict = history.check(&log);
        assert!(verdict.holds(), "{:?}", verdict.violations);
        assert_eq!((verdict.acknowledged, verdict.in_log), (30, 30));
    }

    #[test]
    fn a_lost_event_is_found() {
        let counts = counts_after(|log| drop(log.pop()));
        assert_eq!(counts.lost, 1);
        let counts = counts_after(|log| drop(log.remove(7)));
        assert_eq!((counts.lost, counts.disordered), (1, 2), "and both gaps");
    }

    #[test]
    fn a_doubled_event_is_found() {
        let counts = counts_after(|log| {
            let mut again = log[4].clone();
            again.sequence = Sequence(31);
            again.version = Version(16);
            log.push(again);
        });
        assert_eq!(counts, Counts { doubled: 1, ..Counts::default() });
    }

    #[test]
    fn reordered_events_are_found() {
        let counts = counts_after(|log| {
            let (first, second) = (log[0].id, log[1].id);
            log[0].id = second;
            log[1].id = first;
            let digest = log[0].digest;
            log[0].digest = log[1].digest;
            log[1].digest = digest;
        });
        assert_eq!(counts, Counts { disordered: 2, ..Counts::default() });
    }

    #[test]
    fn an_altered_event_is_found() {
        let counts = counts_after(|log| log[9].digest.0[0] ^= 1);
        assert_eq!(counts, Counts { altered: 1, ..Counts::default() });
    }

    #[test]
    fn a_torn_append_is_found() {
        let counts = counts_after(|log| {
            log[1].ends_append = true;
            log[2].ends_append = false;
        });
        assert_eq!(counts, Counts { disordered: 2, ..Counts::default() });
    }

    #[test]
    fn a_stranger_is_found_unless_it_was_there_before_or_is_unanswered() {
        let stranger = |log: &[LogEntry]| LogEntry {
            sequence: Sequence(31),
            stream: StreamName::try_from("other-1").unwrap(),
            version: Version(1),
            id: EventId(Uuid::from_u128(1)),
            ..log[29].clone()
        };
        let counts = counts_after(|log| log.push(stranger(log)));
        assert_eq!(counts, Counts { strangers: 1, ..Counts::default() });

        let (mut history, mut log) = sound();
        log.push(stranger(&log));
        history.leave_open([EventId(Uuid::from_u128(1))]);
        assert!(history.check(&log).holds());

        let (history, mut log) = sound();
        log.push(stranger(&log));
        let before = HashMap::from([(0, Sequence(31))]);
        let history = History { heads_before: before, ..history };
        assert!(history.check(&log).holds());
    }

    #[test]
    fn another_partition_than_acknowledged_is_found() {
        let counts = counts_after(|log| {
            for entry in log.iter_mut() {
                entry.partition = 1;
            }
        });
        assert_eq!(counts, Counts { disordered: 30, ..Counts::default() });
    }

    #[test]
    fn what_the_system_writes_is_counted_and_is_no_strangers() {
        let (history, mut log) = sound();
        let entry = LogEntry {
            sequence: Sequence(31),
            stream: StreamName::try_from("$topology").unwrap(),
            version: Version(1),
            id: EventId(Uuid::from_u128(1)),
            ..log[29].clone()
        };
        log.push(entry.clone());
        let verdict = history.check(&log);
        assert!(verdict.holds(), "{:?}", verdict.violations);
        assert_eq!((verdict.in_log, verdict.of_system), (31, 1));
        log.push(LogEntry { partition: 1, sequence: Sequence(1), ..entry.clone() });
        let verdict = history.check(&log);
        assert!(verdict.holds(), "every partition has its own: {:?}", verdict.violations);
        log.push(LogEntry { sequence: Sequence(33), version: Version(2), ..entry });
        let counts = history.check(&log).counts;
        assert_eq!((counts.doubled, counts.disordered), (1, 1), "its numbers count like others");
    }

    /// What the checker counts when a subscription is given this instead of the log.
    fn misdelivered_after(plant: impl FnOnce(&mut Vec<LogEntry>)) -> u64 {
        let (_, log) = sound();
        let mut given = log.clone();
        plant(&mut given);
        let mut verdict = Verdict::default();
        verdict.check_delivery(&log, &given);
        verdict.counts.misdelivered
    }

    #[test]
    fn a_subscription_is_given_every_record_once_and_in_order() {
        assert_eq!(misdelivered_after(|_| {}), 0);
        assert_eq!(misdelivered_after(|given| given.swap(3, 4)), 1);
        assert_eq!(misdelivered_after(|given| drop(given.remove(12))), 1);
        assert_eq!(misdelivered_after(|given| drop(given.pop())), 1);
        assert_eq!(misdelivered_after(|given| given.push(given[29].clone())), 1);
        assert_eq!(misdelivered_after(|given| given[7].digest.0[0] ^= 1), 1);
    }

    fn records(count: u64, data: &str) -> Vec<u8> {
        let stream = StreamName::try_from("order-1").unwrap();
        let mut chain = record::Chain::default();
        let mut bytes = Vec::new();
        for number in 1..=count {
            let id = EventId(Uuid::from_u128(number.into()));
            let content = store::ContentType::Json;
            let event = store::NewEvent::new("A".parse().unwrap(), content, data.to_owned());
            let numbered = record::Numbered {
                stream: &stream,
                event: &store::NewEvent { id, ..event },
                sequence: Sequence(number),
                version: Version(number),
                epoch: store::Epoch(1),
                committed_up_to: Sequence::ZERO,
                time_micros: 1,
                ends_append: true,
            };
            chain = record::encode(&numbered, chain, &mut bytes);
        }
        bytes
    }

    /// Where two nodes are found to differ first.
    fn unequal_at(one: &[u8], other: &[u8]) -> Option<Sequence> {
        let mut verdict = Verdict::default();
        verdict.compare_nodes(0, [one, other]);
        assert_eq!(verdict.counts.unequal, u64::from(!verdict.violations.is_empty()));
        verdict.violations.first().map(|violation| match violation {
            Violation::Unequal { sequence, .. } => *sequence,
            other => panic!("{other}"),
        })
    }

    #[test]
    fn nodes_are_compared_byte_for_byte() {
        let log = records(5, "1");
        assert_eq!(unequal_at(&log, &log), None);
        assert_eq!(unequal_at(&log, &records(3, "1")), Some(Sequence(4)));
        assert_eq!(unequal_at(&records(3, "1"), &log), Some(Sequence(4)));
        assert_eq!(unequal_at(&log, &records(5, "2")), Some(Sequence(1)));
        let mut other = log.clone();
        let place = other.len() / 5 * 3 + 1;
        other[place] ^= 1;
        assert_eq!(unequal_at(&log, &other), Some(Sequence(4)));
    }
}
