//! Which topics are listened to, and when their heartbeats are due.
//!
//! libzmq tells the publisher of every subscription, but of an unsubscription only when it
//! believes that nobody is left, and any peer can make it believe so. Therefore a subscription
//! makes a topic live at once, and an unsubscription only starts a long farewell.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::wire::feed::TOPIC_BYTES_MAX;

/// How long a topic lives on after the last unsubscription.
pub(super) const FAREWELL: Duration = Duration::from_secs(30);

/// The published topics of a process.
#[derive(Debug)]
pub(super) struct Topics {
    heartbeat: Duration,
    topics: BTreeMap<Vec<u8>, Life>,
}

#[derive(Debug, Default)]
struct Life {
    /// Lengths of the prefixes of this topic that are subscribed to. A topic has no more of them
    /// than bytes, whatever the peers send.
    prefixes: BTreeSet<usize>,
    /// Until when it lives without a subscription.
    farewell: Option<Instant>,
    /// When its next heartbeat is due, if it lives.
    heartbeat: Option<Instant>,
}

impl Topics {
    pub(super) const fn new(heartbeat: Duration) -> Self {
        Self { heartbeat, topics: BTreeMap::new() }
    }

    /// There is something to publish under this topic.
    pub(super) fn add(&mut self, topic: Vec<u8>) {
        self.topics.entry(topic).or_default();
    }

    /// There no longer is.
    pub(super) fn remove(&mut self, topic: &[u8]) {
        self.topics.remove(topic);
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
        for (topic, life) in &mut self.topics {
            if !topic.starts_with(prefix) {
                continue;
            }
            if subscribes {
                life.prefixes.insert(prefix.len());
                life.farewell = None;
                life.heartbeat = Some(now + self.heartbeat);
                answers.push(topic.clone());
            } else if life.prefixes.remove(&prefix.len()) && life.prefixes.is_empty() {
                life.farewell = Some(now + FAREWELL);
            }
        }
    }

    /// Topics whose heartbeat is due go into `due`; those that have lived long enough go quiet.
    pub(super) fn tick(&mut self, now: Instant, due: &mut Vec<Vec<u8>>) {
        for (topic, life) in &mut self.topics {
            if life.farewell.is_some_and(|end| end <= now) {
                *life = Life::default();
            }
            if life.heartbeat.is_some_and(|at| at <= now) {
                life.heartbeat = Some(now + self.heartbeat);
                due.push(topic.clone());
            }
        }
    }

    /// When to call [`Topics::tick`] at the latest.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.topics.values().filter_map(|life| life.heartbeat).min()
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
            let mut due = Vec::new();
            self.topics.tick(self.start + after, &mut due);
            due.len()
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
}
