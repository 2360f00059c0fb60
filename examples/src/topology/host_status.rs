//! What a projection host tells about itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a projection host tells on its standard output, and the sums over its lives.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HostStatus {
    /// Partition -> newest sequence (inclusive) that all of its projections have committed.
    pub positions: BTreeMap<u16, u64>,
    /// Holes met in the feed.
    pub gaps_found: u64,
    /// Those filled by replay.
    pub gaps_repaired: u64,
    /// Those that were open when the host was killed: its next life replays from its checkpoint.
    #[serde(default)]
    pub gaps_cut_off: u64,
    /// Reigns of a new leader that it went on to.
    #[serde(default)]
    pub failovers: u64,
    /// Events that could not be had.
    pub events_lost: u64,
    /// Events that came twice and were applied once.
    pub duplicates_dropped: u64,
}

impl HostStatus {
    /// The same host after it was killed.
    pub(super) fn cut_off(mut self) -> Self {
        self.gaps_cut_off = self.gaps_found.saturating_sub(self.gaps_repaired);
        self
    }

    /// Adds the counters of an earlier life; positions are those of this one.
    pub(super) fn with_earlier(mut self, earlier: &Self) -> Self {
        self.gaps_found += earlier.gaps_found;
        self.gaps_repaired += earlier.gaps_repaired;
        self.gaps_cut_off += earlier.gaps_cut_off;
        self.failovers += earlier.failovers;
        self.events_lost += earlier.events_lost;
        self.duplicates_dropped += earlier.duplicates_dropped;
        self
    }

    /// Whether every gap was closed.
    #[must_use]
    pub const fn gaps_closed(&self) -> bool {
        self.gaps_found == self.gaps_repaired + self.gaps_cut_off
    }

    /// Whether every partition has come as far as its head.
    #[must_use]
    pub fn reached(&self, heads: &BTreeMap<u16, u64>) -> bool {
        heads.iter().all(|(partition, head)| {
            self.positions.get(partition).copied().unwrap_or_default() >= *head
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_add_up_over_lives_and_positions_do_not() {
        let life = |position, gaps| HostStatus {
            positions: BTreeMap::from([(0, position)]),
            gaps_found: gaps,
            gaps_repaired: gaps,
            ..HostStatus::default()
        };
        let sum = life(5, 1).with_earlier(&life(9, 2));
        assert_eq!(sum, life(5, 3));
        let killed = HostStatus { gaps_found: 3, ..life(9, 2) }.cut_off();
        assert!(life(5, 1).with_earlier(&killed).gaps_closed());
        assert!(!HostStatus { gaps_found: 3, ..life(9, 2) }.gaps_closed());
        assert!(sum.reached(&BTreeMap::from([(0, 5)])));
        assert!(!sum.reached(&BTreeMap::from([(0, 5), (1, 1)])));
    }
}
