//! Which stream the next append goes to.

use std::sync::Arc;

use client::StreamName;

use super::approximate;
use crate::cli::failure::Failure;

/// Streams with the weights that they are chosen by. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Streams {
    names: Arc<[StreamName]>,
    /// Sum of the weights up to each stream; empty where all weigh the same.
    cumulative: Arc<[f64]>,
}

impl Streams {
    /// `count` streams; stream k weighs 1/kˢ with s = `skew` (Zipf), so that 0 makes all equal and
    /// larger exponents make the first ones hotter.
    ///
    /// # Errors
    /// [`Failure`] when the exponent is no number from 0 up.
    pub fn new(count: u32, skew: f64) -> Result<Self, Failure> {
        if !skew.is_finite() || skew < 0.0 {
            return Err(Failure::usage("--skew takes a number from 0 up, such as 0.99"));
        }
        let names = (1..=count)
            .map(|number| StreamName::try_from(format!("bench-{number}").as_str()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| super::broken(error.to_string()))?;
        let mut total = 0.0;
        let mut up_to = |number: u32| {
            total += f64::from(number).powf(-skew);
            total
        };
        let cumulative: Vec<f64> =
            if skew > 0.0 { (1..=count).map(&mut up_to).collect() } else { Vec::new() };
        Ok(Self { names: names.into(), cumulative: cumulative.into() })
    }

    /// Chooses one.
    pub fn choose(&self, random: &mut Random) -> Option<&StreamName> {
        let index = match self.cumulative.last() {
            None => random.below(self.names.len()),
            Some(total) => {
                let point = random.fraction() * total;
                self.cumulative.partition_point(|sum| *sum <= point)
            }
        };
        self.names.get(index)
    }
}

/// A small generator of random numbers (SplitMix64): a load is the same for the same seed.
#[derive(Debug, Clone)]
pub struct Random {
    state: u64,
}

impl Random {
    /// The sequence of `seed`.
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next 64 random bits.
    pub const fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number from 0 up to, but without, `count`.
    pub fn below(&mut self, count: usize) -> usize {
        let count = u64::try_from(count).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.next() % count).unwrap_or(0)
    }

    /// A number from 0 up to, but without, 1.
    fn fraction(&mut self) -> f64 {
        // 53 bits are what a double holds exactly.
        approximate(self.next() >> 11) / approximate(1 << 53)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn counts(streams: u32, skew: f64) -> BTreeMap<String, u32> {
        let streams = Streams::new(streams, skew).unwrap();
        let mut random = Random::new(7);
        let mut counts = BTreeMap::new();
        for _ in 0..20_000 {
            *counts.entry(streams.choose(&mut random).unwrap().to_string()).or_default() += 1;
        }
        counts
    }

    #[test]
    fn without_skew_all_streams_get_about_the_same() {
        let counts = counts(10, 0.0);
        assert_eq!(counts.len(), 10);
        assert!(counts.values().all(|count| (1_700..2_300).contains(count)), "{counts:?}");
    }

    #[test]
    fn with_skew_the_first_are_the_hottest() {
        let counts = counts(100, 1.0);
        // 1/H(100) = 0.193 of all go to the first, half of that to the second.
        assert!((3_500..4_200).contains(&counts["bench-1"]), "{counts:?}");
        assert!((1_700..2_200).contains(&counts["bench-2"]), "{counts:?}");
        assert!(counts.len() > 90);
    }

    #[test]
    fn a_seed_fixes_the_choice() {
        let streams = Streams::new(1000, 0.5).unwrap();
        let choose = |seed| {
            let mut random = Random::new(seed);
            (0..50).map(|_| streams.choose(&mut random).unwrap().clone()).collect::<Vec<_>>()
        };
        assert_eq!(choose(1), choose(1));
        assert_ne!(choose(1), choose(2));
    }

    #[test]
    fn an_exponent_that_is_no_weight_is_refused() {
        for skew in [-1.0, f64::NAN, f64::INFINITY] {
            assert!(Streams::new(10, skew).is_err(), "{skew}");
        }
    }
}
