//! What was met on the way, so that a check that never met anything is not taken for a proof.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::pair::protocol::Note;

/// Something worth meeting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sighting {
    Note(Note),
    /// A replaced leader with events of its own met its successor.
    Zombie,
    /// A follower's log was cut.
    Cut,
    /// A node found that it must not go on.
    Halted,
    /// A follower passed over an event of an epoch that has passed.
    OldBulk,
    /// A leader passed over an acknowledgement for an epoch that has passed.
    OldAcknowledgement,
    /// A witness without a record came to know what holds.
    Recalled,
}

/// The set of what was met; shared by all threads of a check.
#[derive(Clone, Debug, Default)]
pub struct Sightings(Arc<AtomicU32>);

impl Sightings {
    pub fn note(&self, sighting: Sighting) {
        self.0.fetch_or(1 << bit(sighting), Ordering::Relaxed);
    }

    pub fn has(&self, sighting: Sighting) -> bool {
        self.0.load(Ordering::Relaxed) & (1 << bit(sighting)) != 0
    }
}

fn bit(sighting: Sighting) -> u32 {
    match sighting {
        Sighting::Note(Note::Failover) => 0,
        Sighting::Note(Note::Solo) => 1,
        Sighting::Note(Note::Rejoined) => 2,
        Sighting::Note(Note::Deposed) => 3,
        Sighting::Note(Note::LostRace) => 4,
        Sighting::Note(Note::LeaderKept) => 5,
        Sighting::Note(Note::HandedOver) => 6,
        Sighting::Zombie => 7,
        Sighting::Cut => 8,
        Sighting::Halted => 9,
        Sighting::OldBulk => 10,
        Sighting::OldAcknowledgement => 11,
        Sighting::Recalled => 12,
    }
}
