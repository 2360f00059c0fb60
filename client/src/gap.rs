//! Which messages of a feed are next, old, or too far ahead.

use store::event::{Epoch, Sequence};

/// What a feed message covers: the sequences after `previous` up to `last`. In a filtered feed
/// nothing of the filter's lies there but the records of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Reign under which it was sent.
    pub epoch: Epoch,
    /// The last sequence of the topic before its first (exclusive).
    pub previous: Sequence,
    /// Its last sequence (inclusive). In a heartbeat, which has no records, it shows the head; it
    /// equals `previous` unless the feed is filtered.
    pub last: Sequence,
}

/// What to do with a feed message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is next: take its records after `after` (exclusive), if it has any. Those up to `after`
    /// were had.
    Deliver {
        /// Records up to here (inclusive) are duplicates.
        after: Sequence,
    },
    /// All of it was covered before, or a heartbeat says nothing new.
    Duplicate,
    /// Sequences are missing up to its `previous`, which in a heartbeat is its last record.
    Gap {
        /// First missing sequence (inclusive).
        from: Sequence,
        /// Last missing sequence (inclusive).
        to: Sequence,
    },
    /// From a reign that is over.
    Stale,
}

/// Watches the sequences of one partition, or of one filter in it: then the place is how far the
/// filter was covered, records or not.
///
/// It judges and does not buffer: whoever owns it repairs a gap and tells it by
/// [`GapDetector::delivered`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GapDetector {
    /// Last sequence covered (inclusive).
    last: Sequence,
    /// Highest epoch seen.
    epoch: Epoch,
}

impl GapDetector {
    /// Everything up to `last` (inclusive) was had, under reigns up to `epoch`.
    #[must_use]
    pub const fn new(last: Sequence, epoch: Epoch) -> Self {
        Self { last, epoch }
    }

    /// Last sequence covered (inclusive).
    #[must_use]
    pub const fn last(&self) -> Sequence {
        self.last
    }

    /// Highest epoch seen.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Judges a message. Only a [`Verdict::Deliver`] moves the place on.
    pub fn observe(&mut self, span: Span) -> Verdict {
        if span.epoch < self.epoch {
            return Verdict::Stale;
        }
        self.epoch = span.epoch;
        if span.last <= self.last {
            return Verdict::Duplicate;
        }
        if span.previous > self.last {
            return Verdict::Gap { from: self.last.next(), to: span.previous };
        }
        let after = self.last;
        self.last = span.last;
        Verdict::Deliver { after }
    }

    /// Notes that a higher epoch was seen; messages of lower ones are stale from now on.
    pub fn raise(&mut self, epoch: Epoch) {
        self.epoch = self.epoch.max(epoch);
    }

    /// Notes what came in another way: history up to `last` (inclusive).
    pub fn delivered(&mut self, last: Sequence) {
        self.last = self.last.max(last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(epoch: u64, previous: u64, last: u64) -> Span {
        Span { epoch: Epoch(epoch), previous: Sequence(previous), last: Sequence(last) }
    }

    fn gap(from: u64, to: u64) -> Verdict {
        Verdict::Gap { from: Sequence(from), to: Sequence(to) }
    }

    fn deliver(after: u64) -> Verdict {
        Verdict::Deliver { after: Sequence(after) }
    }

    #[test]
    fn verdicts() {
        // Each row starts after sequence 10, in epoch 3: message, verdict, place afterwards.
        let rows = [
            ("the next batch", span(3, 10, 14), deliver(10), 14),
            ("one record", span(3, 10, 11), deliver(10), 11),
            ("the same again", span(3, 8, 10), Verdict::Duplicate, 10),
            ("older than that", span(3, 2, 5), Verdict::Duplicate, 10),
            ("overlap at its front", span(3, 8, 12), deliver(10), 12),
            ("one missing", span(3, 11, 12), gap(11, 11), 10),
            ("many missing", span(3, 90, 95), gap(11, 90), 10),
            ("heartbeat at our place", span(3, 10, 10), Verdict::Duplicate, 10),
            ("heartbeat behind us", span(3, 9, 9), Verdict::Duplicate, 10),
            ("heartbeat with a head beyond", span(3, 15, 15), gap(11, 15), 10),
            ("an older reign", span(2, 10, 14), Verdict::Stale, 10),
            ("an older reign's heartbeat", span(1, 50, 50), Verdict::Stale, 10),
            ("a new reign goes on", span(4, 10, 12), deliver(10), 12),
            ("a new reign with a gap", span(5, 12, 13), gap(11, 12), 10),
            ("filtered: the next, and nothing else up to 30", span(3, 6, 30), deliver(10), 30),
            ("filtered: nothing since our place", span(3, 10, 25), deliver(10), 25),
            ("filtered: a record was missed", span(3, 11, 25), gap(11, 11), 10),
            ("filtered: behind us", span(3, 4, 9), Verdict::Duplicate, 10),
            ("filtered: a new reign, nothing lately", span(4, 2, 12), deliver(10), 12),
        ];
        for (name, message, verdict, place) in rows {
            let mut detector = GapDetector::new(Sequence(10), Epoch(3));
            assert_eq!(detector.observe(message), verdict, "{name}");
            assert_eq!(detector.last(), Sequence(place), "{name}");
        }
    }

    #[test]
    fn a_higher_epoch_silences_lower_ones() {
        let mut detector = GapDetector::new(Sequence::ZERO, Epoch::ZERO);
        assert_eq!(detector.observe(span(7, 0, 2)), deliver(0));
        assert_eq!(detector.observe(span(6, 2, 4)), Verdict::Stale);
        assert_eq!(detector.observe(span(7, 2, 4)), deliver(2));
        assert_eq!(detector.epoch(), Epoch(7));
    }

    #[test]
    fn a_repair_moves_the_place_and_never_back() {
        let mut detector = GapDetector::new(Sequence(10), Epoch(1));
        assert_eq!(detector.observe(span(1, 20, 25)), gap(11, 20));
        detector.delivered(Sequence(20));
        assert_eq!(detector.observe(span(1, 20, 25)), deliver(20));
        detector.delivered(Sequence(3));
        assert_eq!(detector.last(), Sequence(25));
    }
}
