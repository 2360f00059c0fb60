//! Pauses between attempts to get history, or other answers.

use std::time::Duration;

/// First pause, and the longest; they double in between.
const PAUSE_MIN: Duration = Duration::from_millis(50);
pub(crate) const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Half of each pause is random, so that the readers of a dead member don't come as one to the
/// other one.
#[derive(Debug)]
pub(crate) struct Pauses {
    attempts: u32,
    random: u64,
}

impl Pauses {
    pub(crate) fn new(seed: u64) -> Self {
        Self { attempts: 0, random: seed }
    }

    /// The next one.
    pub(crate) fn next(&mut self) -> Duration {
        let whole = PAUSE_MIN.saturating_mul(1 << self.attempts.min(16)).min(PAUSE_MAX);
        self.attempts = self.attempts.saturating_add(1);
        let half = whole / 2;
        half + half.mul_f64(self.fraction())
    }

    /// History came: the next pause is a short one.
    pub(crate) fn reset(&mut self) {
        self.attempts = 0;
    }

    /// A number from 0 to 1 (SplitMix64).
    fn fraction(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.random;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let high = u32::try_from(bits >> 32).unwrap_or_default();
        f64::from(high) / f64::from(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_grow_to_a_bound_and_differ() {
        let mut one = Pauses::new(1);
        let taken: Vec<Duration> = (0..8).map(|_| one.next()).collect();
        let wholes = [50, 100, 200, 400, 800, 1000, 1000, 1000].map(Duration::from_millis);
        for (pause, whole) in taken.iter().zip(wholes) {
            assert!(*pause >= whole / 2 && *pause <= whole, "{pause:?} of {whole:?}");
        }
        let mut other = Pauses::new(2);
        assert_ne!(taken, (0..8).map(|_| other.next()).collect::<Vec<_>>());
        one.reset();
        assert!(one.next() <= PAUSE_MIN);
    }
}
