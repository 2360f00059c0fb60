//! How the reads under way get on, for STATUS.

use std::time::{Duration, Instant};

use super::{Reading, ReplaySchedule, State};
use crate::wire::status::ReadsStatus;

/// A reader that has taken nothing for so long stands still: programs take what they can.
const STALLED_AFTER: Duration = Duration::from_secs(5);

impl ReplaySchedule {
    /// Counts the reads, and those whose reader takes nothing.
    pub(in crate::server) fn standing(&self, now: Instant) -> ReadsStatus {
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let stalled = |reading: &Reading| {
            let is_theirs =
                matches!(reading.state, State::Starved | State::Sending { again: Some(_), .. });
            let silence = now.saturating_duration_since(reading.moved);
            (is_theirs && silence >= STALLED_AFTER).then_some(silence)
        };
        let stalled: Vec<Duration> = self.reads.values().filter_map(stalled).collect();
        let longest = stalled.iter().max().map_or(0, Duration::as_millis);
        ReadsStatus {
            open: count(self.reads.len()),
            stalled: count(stalled.len()),
            stalled_ms: u64::try_from(longest).unwrap_or(u64::MAX),
        }
    }
}
