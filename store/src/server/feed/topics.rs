//! Which topics are listened to, and when their heartbeats are due.
//!
//! libzmq tells the publisher of every subscription, but of an unsubscription only when it
//! believes that nobody is left, and any peer can make it believe so. Therefore a subscription
//! makes a topic live at once, and an unsubscription only starts a long farewell.
//!
//! The topics of partitions are there as long as the partitions are. A filtered topic comes with a
//! subscription to exactly it, and goes with its farewell.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::{Duration, Instant};

use crate::wire::feed::{TOPIC_BYTES_MAX, Topic};

/// How long a topic lives on after the last unsubscription.
pub(super) const FAREWELL: Duration = Duration::from_secs(30);
/// Most filtered topics of a process. Each costs a heartbeat every interval and, when it comes, a
/// question to the index; names are the peers' choice.
pub(super) const FILTERED_TOPICS_MAX: usize = 4096;

/// The published topics of a process.
#[derive(Debug)]
pub(super) struct Topics {
    heartbeat: Duration,
    topics: BTreeMap<Vec<u8>, Life>,
    /// How many of them are filtered.
    filtered: usize,
    filtered_max: usize,
    /// No heartbeat is due before.
    due: Option<Instant>,
    /// Somebody was told that there are too many filtered topics.
    warned: bool,
}

#[derive(Debug, Default)]
struct Life {
    /// Of a filtered topic: the topic of its partition.
    partition: Option<Vec<u8>>,
    /// Lengths of the prefixes of this topic that are subscribed to. A topic has no more of them
    /// than bytes, whatever the peers send.
    prefixes: BTreeSet<usize>,
    /// Until when it lives without a subscription.
    farewell: Option<Instant>,
    /// When its next heartbeat is due, if it lives.
    heartbeat: Option<Instant>,
}

/// What time has brought.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Due {
    /// Topics whose heartbeat is due.
    pub(super) beats: Vec<Vec<u8>>,
    /// Filtered topics that are no more.
    pub(super) gone: Vec<Vec<u8>>,
}

impl Topics {
    pub(super) const fn new(heartbeat: Duration) -> Self {
        Self {
            heartbeat,
            topics: BTreeMap::new(),
            filtered: 0,
            filtered_max: FILTERED_TOPICS_MAX,
            due: None,
            warned: false,
        }
    }

    /// There is a partition to publish under this topic.
    pub(super) fn add(&mut self, topic: Vec<u8>) {
        self.topics.entry(topic).or_default();
    }

    /// There no longer is; its filtered topics go with it.
    pub(super) fn remove(&mut self, topic: &[u8]) {
        let of_it = |life: &Life| life.partition.as_deref() == Some(topic);
        self.topics.retain(|name, life| name != topic && !of_it(life));
        self.filtered = self.topics.values().filter(|life| life.partition.is_some()).count();
    }

    /// Whether anybody may be listening.
    pub(super) fn is_live(&self, topic: &[u8]) -> bool {
        self.topics.get(topic).is_some_and(|life| life.heartbeat.is_some())
    }

    /// A message from a subscriber: 1 and a prefix, or 0 and a prefix. Anything else is ignored,
    /// as are prefixes of nothing that we publish. Topics that must be answered with a heartbeat
    /// at once go into `answers`.
    pub(super) fn handle(&mut self, now: Instant, message: &[u8], answers: &mut Vec<Vec<u8>>) {
        let (subscribes, prefix) = match message.split_first() {
            Some((1, prefix)) => (true, prefix),
            Some((0, prefix)) => (false, prefix),
            _ => return,
        };
        if prefix.len() > TOPIC_BYTES_MAX {
            return;
        }
        if subscribes {
            self.begin(prefix);
        }
        let heartbeat = now + self.heartbeat;
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let begin_so = self.topics.range_mut::<[u8], _>(from);
        for (topic, life) in begin_so.take_while(|(topic, _)| topic.starts_with(prefix)) {
            if subscribes {
                life.prefixes.insert(prefix.len());
                life.farewell = None;
                life.heartbeat = Some(heartbeat);
                self.due = Some(self.due.map_or(heartbeat, |due| due.min(heartbeat)));
                answers.push(topic.clone());
            } else if life.prefixes.remove(&prefix.len()) && life.prefixes.is_empty() {
                life.farewell = Some(now + FAREWELL);
            }
        }
    }

    /// Makes room for a filtered topic of a partition that is published here.
    fn begin(&mut self, frame: &[u8]) {
        if self.topics.contains_key(frame) {
            return;
        }
        let Ok(topic) = Topic::decode(frame) else { return };
        let partition = Topic { filter: None, ..topic }.encode();
        if !self.topics.contains_key(&partition) {
            return;
        }
        if self.filtered < self.filtered_max {
            self.filtered += 1;
            let life = Life { partition: Some(partition), ..Life::default() };
            self.topics.insert(frame.to_vec(), life);
        } else if !self.warned {
            self.warned = true;
            log::warn!(
                "feed: {} filtered topics are listened to; further ones are ignored until some of \
                 these are given up",
                self.filtered
            );
        }
    }

    /// Tells whose heartbeat is due; topics that have lived long enough go quiet.
    pub(super) fn tick(&mut self, now: Instant, due: &mut Due) {
        if self.due.is_none_or(|at| at > now) {
            return;
        }
        let mut next: Option<Instant> = None;
        for (topic, life) in &mut self.topics {
            if life.farewell.is_some_and(|end| end <= now) {
                if life.partition.is_some() {
                    due.gone.push(topic.clone());
                    continue;
                }
                *life = Life::default();
            }
            if life.heartbeat.is_some_and(|at| at <= now) {
                life.heartbeat = Some(now + self.heartbeat);
                due.beats.push(topic.clone());
            }
            next = [next, life.heartbeat].into_iter().flatten().min();
        }
        self.due = next;
        for topic in &due.gone {
            self.topics.remove(topic);
            self.filtered = self.filtered.saturating_sub(1);
        }
    }

    /// When to call [`Topics::tick`] at the latest.
    pub(super) const fn deadline(&self) -> Option<Instant> {
        self.due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEAT: Duration = Duration::from_millis(500);

    struct Bench {
        topics: Topics,
        start: Instant,
    }

    impl Bench {
        #[expect(clippy::disallowed_methods, reason = "any instant does as a beginning")]
        fn new() -> Self {
            let mut topics = Topics::new(BEAT);
            for topic in [&b"Porders\0\0\x01"[..], b"Porders\0\0\x02", b"Pusers\0\0\x01"] {
                topics.add(topic.to_vec());
            }
            Self { topics, start: Instant::now() }
        }

        fn say(&mut self, after: Duration, message: &[u8]) -> Vec<Vec<u8>> {
            let mut answers = Vec::new();
            self.topics.handle(self.start + after, message, &mut answers);
            answers
        }

        fn due(&mut self, after: Duration) -> usize {
            self.passes(after).beats.len()
        }

        fn passes(&mut self, after: Duration) -> Due {
            let mut due = Due::default();
            self.topics.tick(self.start + after, &mut due);
            due
        }
    }

    #[test]
    fn a_subscription_is_answered_each_time_and_beats_from_then_on() {
        let mut bench = Bench::new();
        assert_eq!(bench.topics.deadline(), None);
        for _ in 0..2 {
            let answers = bench.say(Duration::ZERO, b"\x01Porders\0\0\x01");
            assert_eq!(answers, [b"Porders\0\0\x01".to_vec()]);
        }
        assert!(bench.topics.is_live(b"Porders\0\0\x01"));
        assert!(!bench.topics.is_live(b"Porders\0\0\x02"));
        assert_eq!(bench.topics.deadline(), Some(bench.start + BEAT));
        assert_eq!(bench.due(BEAT / 2), 0);
        assert_eq!(bench.due(BEAT), 1);
        assert_eq!(bench.due(BEAT), 0);
        assert_eq!(bench.due(BEAT * 2), 1);
    }

    #[test]
    fn a_prefix_makes_all_its_topics_live() {
        let mut bench = Bench::new();
        assert_eq!(bench.say(Duration::ZERO, b"\x01Porders\0").len(), 2);
        assert_eq!(bench.say(Duration::ZERO, b"\x01").len(), 3);
    }

    #[test]
    fn an_unsubscription_is_only_a_hint() {
        let mut bench = Bench::new();
        bench.say(Duration::ZERO, b"\x01Pusers\0\0\x01");
        bench.say(Duration::ZERO, b"\x00Pusers\0\0\x01");
        assert_eq!(bench.due(BEAT), 1);
        assert_eq!(bench.due(FAREWELL - BEAT), 1);
        // A new subscription ends the farewell.
        bench.say(FAREWELL - BEAT, b"\x01Pusers\0\0\x01");
        assert_eq!(bench.due(FAREWELL + BEAT), 1);
        bench.say(FAREWELL + BEAT, b"\x00Pusers\0\0\x01");
        assert_eq!(bench.due(FAREWELL * 2 + BEAT), 0);
        assert_eq!(bench.topics.deadline(), None);
    }

    #[test]
    fn cancelling_one_prefix_leaves_another() {
        let mut bench = Bench::new();
        bench.say(Duration::ZERO, b"\x01Pusers\0\0\x01");
        bench.say(Duration::ZERO, b"\x01Pusers");
        bench.say(Duration::ZERO, b"\x00Pusers\0\0\x01");
        assert_eq!(bench.due(FAREWELL * 2), 1);
    }

    #[test]
    fn rubbish_is_ignored() {
        let mut bench = Bench::new();
        let long = [&[1][..], &[b'P'; TOPIC_BYTES_MAX + 1]].concat();
        for message in [&b""[..], b"\x02Porders", b"\x01Porders\0\0\x03", b"\x01X", &long] {
            assert!(bench.say(Duration::ZERO, message).is_empty(), "{message:?}");
        }
        assert_eq!(bench.topics.deadline(), None);
    }

    #[test]
    fn a_removed_topic_is_silent() {
        let mut bench = Bench::new();
        bench.say(Duration::ZERO, b"\x01Pusers\0\0\x01");
        bench.topics.remove(b"Pusers\0\0\x01");
        assert_eq!(bench.due(BEAT), 0);
        assert!(bench.say(BEAT, b"\x01Pusers\0\0\x01").is_empty());
    }

    const ORDERS: &[u8] = b"Porders\0\0\x01";
    const CATEGORY: &[u8] = b"Corders\0\0\x01book\0";
    const STREAM: &[u8] = b"Sorders\0\0\x01book-1\0";

    fn with(kind: u8, topic: &[u8]) -> Vec<u8> {
        [&[kind], topic].concat()
    }

    #[test]
    fn a_filtered_topic_comes_with_its_subscription_and_goes_with_its_farewell() {
        let mut bench = Bench::new();
        for topic in [CATEGORY, STREAM] {
            assert_eq!(bench.say(Duration::ZERO, &with(1, topic)), [topic.to_vec()]);
            assert!(bench.topics.is_live(topic));
        }
        assert!(!bench.topics.is_live(ORDERS));
        assert_eq!(bench.passes(BEAT).beats, [CATEGORY.to_vec(), STREAM.to_vec()]);
        bench.say(BEAT, &with(0, CATEGORY));
        assert_eq!(bench.passes(FAREWELL).beats.len(), 2, "it was only a hint");
        let due = bench.passes(FAREWELL + BEAT);
        assert_eq!((due.beats, due.gone), (vec![STREAM.to_vec()], vec![CATEGORY.to_vec()]));
        assert_eq!(bench.topics.filtered, 1);
        assert!(!bench.topics.is_live(CATEGORY));
        assert_eq!(bench.say(FAREWELL * 2, &with(1, CATEGORY)).len(), 1, "it comes again");
    }

    #[test]
    fn filtered_topics_of_what_is_not_here_are_ignored() {
        let mut bench = Bench::new();
        let absent: [&[u8]; 6] = [
            b"Corders\0\0\x03book\0",
            b"Cothers\0\0\x01book\0",
            b"Corders\0\0\x01book",
            b"Corders\0\0\x01book-1\0",
            b"Corders\0\0\x01\0",
            b"Sorders\0\0\x01",
        ];
        for topic in absent {
            assert!(bench.say(Duration::ZERO, &with(1, topic)).is_empty(), "{topic:?}");
        }
        assert_eq!(bench.topics.topics.len(), 3);
    }

    #[test]
    fn a_prefix_hears_the_filtered_topics_that_are_there() {
        let mut bench = Bench::new();
        assert!(bench.say(Duration::ZERO, b"\x01Corders").is_empty());
        bench.say(Duration::ZERO, &with(1, CATEGORY));
        assert_eq!(bench.say(Duration::ZERO, b"\x01Corders"), [CATEGORY.to_vec()]);
        bench.say(Duration::ZERO, &with(0, CATEGORY));
        assert_eq!(bench.passes(FAREWELL * 2).beats, [CATEGORY.to_vec()]);
    }

    #[test]
    fn filtered_topics_are_bounded_and_one_that_goes_makes_room() {
        let mut bench = Bench::new();
        bench.topics.filtered_max = 2;
        let topic = |number: u8| [&b"Corders\0\0\x01c"[..], &[b'0' + number], &[0]].concat();
        for number in 0..4 {
            let answers = bench.say(Duration::ZERO, &with(1, &topic(number)));
            assert_eq!(answers.len(), usize::from(number < 2), "{number}");
        }
        assert_eq!(bench.say(Duration::ZERO, &with(1, &topic(1))).len(), 1, "it is there");
        bench.say(Duration::ZERO, &with(0, &topic(0)));
        bench.passes(FAREWELL);
        assert_eq!(bench.say(FAREWELL, &with(1, &topic(3))).len(), 1);
    }

    #[test]
    fn filtered_topics_go_with_their_partition() {
        let mut bench = Bench::new();
        bench.say(Duration::ZERO, &with(1, CATEGORY));
        bench.topics.remove(ORDERS);
        assert!(!bench.topics.is_live(CATEGORY));
        assert_eq!(bench.topics.filtered, 0);
        assert!(bench.say(Duration::ZERO, &with(1, CATEGORY)).is_empty());
    }
}
