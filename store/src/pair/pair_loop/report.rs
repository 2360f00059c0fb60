//! Tells the rest of the process, and through it people, how the pair is.

use std::time::{Duration, Instant};

use super::PairLoop;
use crate::pair::status::{
    Circumstances, PairStatus, copies, degraded, heard, role_word, standing_sentence,
};

/// What has happened since the start.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) failovers: u64,
    pub(super) shrinks: u64,
    pub(super) grows: u64,
    pub(super) pauses: u64,
}

impl PairLoop {
    pub(super) fn report(&self, now: Instant) {
        let patience = self.patience();
        let peer = self.silence(now);
        let witness = self.witness.heard_at.map(|at| now.saturating_duration_since(at));
        let is_silent =
            |silence: Option<Duration>| silence.is_none_or(|silence| silence > patience);
        let (standing, rule) = (self.machine.standing(), self.machine.rule());
        let configuration = self.machine.configuration();
        let mut words = degraded(&Circumstances {
            standing,
            rule,
            copies_min: self.settings.copies_min,
            peer_silent: is_silent(peer),
            witness_silent: is_silent(witness),
            refused: self.refusals.words(now, patience),
        });
        if self.counts.pauses > 0 {
            words.push(format!("the process stood still {} times", self.counts.pauses));
        }
        let milliseconds = |silence: Option<Duration>| {
            silence.map(|silence| u64::try_from(silence.as_millis()).unwrap_or(u64::MAX))
        };
        self.handle.set_status(PairStatus {
            role: role_word(self.settings.role),
            standing: standing_sentence(standing, self.me),
            epoch: configuration.map_or(0, |known| known.epoch),
            leader: configuration.map(|known| known.leader.0),
            members: configuration
                .map(|known| known.members.iter().map(|member| member.0).collect())
                .unwrap_or_default(),
            peer_endpoint: self.settings.peer.to_string(),
            peer_incarnation: self.session.as_ref().map(|session| session.incarnation.0),
            peer: heard(peer, patience),
            peer_heard_ms: milliseconds(peer),
            witness_endpoint: self.settings.witness.to_string(),
            witness: heard(witness, patience),
            witness_heard_ms: milliseconds(witness),
            lag_events: self.lag(),
            lag_bytes: None,
            copies: copies(standing, rule),
            failovers: self.counts.failovers,
            shrinks: self.counts.shrinks,
            grows: self.counts.grows,
            degraded: words,
        });
    }
}
