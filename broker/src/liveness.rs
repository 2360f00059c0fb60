//! Heartbeats, seen from both ends: when our next one is due, and when a silent peer is dead.

use std::time::{Duration, Instant};

/// A peer is dead after this many of its own intervals without a word.
pub const INTERVALS_UNTIL_DEAD: u32 = 4;

/// Watches one peer. Anything that the peer says proves it alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Liveness {
    heard_at: Instant,
    patience: Duration,
}

impl Liveness {
    /// A peer that was heard `now` and is dead after `patience` of silence.
    pub fn new(now: Instant, patience: Duration) -> Liveness {
        Liveness { heard_at: now, patience }
    }

    /// A peer that declared its heartbeat interval.
    pub fn from_interval(now: Instant, interval: Duration) -> Liveness {
        Liveness::new(now, interval.saturating_mul(INTERVALS_UNTIL_DEAD))
    }

    /// The peer said something.
    pub fn heard(&mut self, now: Instant) {
        self.heard_at = now;
    }

    /// Changes how long silence is borne; the time of the last word stays.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// First instant at which the peer counts as dead.
    pub fn deadline(&self) -> Instant {
        self.heard_at + self.patience
    }

    /// Whether the peer is dead.
    pub fn is_expired(&self, now: Instant) -> bool {
        now >= self.deadline()
    }

    /// How long the peer has been silent.
    pub fn silence(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.heard_at)
    }
}

/// Says when we owe a peer a heartbeat. Any other message to the peer counts as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pulse {
    sent_at: Instant,
    interval: Duration,
}

impl Pulse {
    /// The peer was just spoken to; the next heartbeat is due one interval later.
    pub fn new(now: Instant, interval: Duration) -> Pulse {
        Pulse { sent_at: now, interval }
    }

    /// Something was sent to the peer.
    pub fn sent(&mut self, now: Instant) {
        self.sent_at = now;
    }

    /// First instant at which a heartbeat is owed.
    pub fn deadline(&self) -> Instant {
        self.sent_at + self.interval
    }

    /// Whether a heartbeat is owed.
    pub fn is_due(&self, now: Instant) -> bool {
        now >= self.deadline()
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_peer_dies_after_four_of_its_intervals() {
        let start = Instant::now();
        let mut peer = Liveness::from_interval(start, SECOND);
        assert!(!peer.is_expired(start + 4 * SECOND - Duration::from_nanos(1)));
        assert!(peer.is_expired(start + 4 * SECOND));
        peer.heard(start + 3 * SECOND);
        assert!(!peer.is_expired(start + 4 * SECOND));
        assert_eq!(peer.deadline(), start + 7 * SECOND);
        assert_eq!(peer.silence(start + 5 * SECOND), 2 * SECOND);
    }

    #[test]
    fn patience_can_change_without_hearing_anything() {
        let start = Instant::now();
        let mut peer = Liveness::new(start, SECOND);
        peer.set_patience(10 * SECOND);
        assert!(!peer.is_expired(start + 9 * SECOND));
        assert!(peer.is_expired(start + 10 * SECOND));
    }

    #[test]
    fn traffic_postpones_our_heartbeat() {
        let start = Instant::now();
        let mut pulse = Pulse::new(start, SECOND);
        assert!(!pulse.is_due(start));
        assert!(pulse.is_due(start + SECOND));
        pulse.sent(start + SECOND);
        assert!(!pulse.is_due(start + SECOND));
        assert_eq!(pulse.deadline(), start + 2 * SECOND);
    }
}
