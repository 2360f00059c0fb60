//! Latencies: recorded while a load runs, told in percentiles afterwards.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::cli::failure::Failure;
use crate::cli::output::{Alignment, Table};

/// Longest latency that is told apart; longer ones count as this one.
const LATENCY_MAX: Duration = Duration::from_secs(3600);
/// Decimal digits that a told latency is true to.
const SIGNIFICANT_DIGITS: u8 = 3;

/// A histogram of latencies in nanoseconds (HDR: constant memory, constant relative error).
#[derive(Debug, Clone)]
pub struct Latencies {
    histogram: Histogram<u64>,
}

impl Latencies {
    /// None yet.
    ///
    /// # Errors
    /// [`Failure`] if the histogram library refuses the fixed bounds.
    pub fn new() -> Result<Self, Failure> {
        Histogram::new_with_bounds(1, nanoseconds(LATENCY_MAX), SIGNIFICANT_DIGITS)
            .map(|histogram| Self { histogram })
            .map_err(|error| super::broken(format!("no histogram: {error}")))
    }

    /// Adds one.
    pub fn record(&mut self, latency: Duration) {
        self.histogram.saturating_record(nanoseconds(latency));
    }

    /// Adds all of another.
    ///
    /// # Errors
    /// [`Failure`] if the histogram library refuses; all have the same bounds.
    pub fn add(&mut self, other: &Self) -> Result<(), Failure> {
        self.histogram
            .add(&other.histogram)
            .map_err(|error| super::broken(format!("histograms can't be added: {error}")))
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// What is told of them.
    pub fn summary(&self) -> LatencySummary {
        let at = |quantile| in_microseconds(self.histogram.value_at_quantile(quantile));
        LatencySummary {
            mean_us: tenths(self.histogram.mean() / 1000.0),
            p50_us: at(0.5),
            p95_us: at(0.95),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: in_microseconds(self.histogram.max()),
        }
    }
}

/// Percentiles, in microseconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LatencySummary {
    /// Mean.
    pub mean_us: f64,
    /// Half are not longer.
    pub p50_us: f64,
    /// 95 of 100 are not longer.
    pub p95_us: f64,
    /// 99 of 100 are not longer.
    pub p99_us: f64,
    /// 999 of 1,000 are not longer.
    pub p999_us: f64,
    /// Longest.
    pub max_us: f64,
}

impl LatencySummary {
    /// The columns that [`LatencySummary::cells`] fills, after `first`.
    pub fn table(first: &[(&str, Alignment)]) -> Table {
        let names = ["P50 µs", "P95 µs", "P99 µs", "P99.9 µs", "MAX µs"];
        let columns: Vec<(&str, Alignment)> =
            first.iter().copied().chain(names.map(|name| (name, Alignment::Right))).collect();
        Table::new(&columns)
    }

    /// The percentiles as cells of a table.
    pub fn cells(&self) -> [String; 5] {
        [self.p50_us, self.p95_us, self.p99_us, self.p999_us, self.max_us]
            .map(|value| format!("{value:.1}"))
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn in_microseconds(nanoseconds: u64) -> f64 {
    tenths(Duration::from_nanos(nanoseconds).as_secs_f64() * 1e6)
}

/// Rounded to a tenth: more digits than the histogram is true to would be noise.
fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_of_a_known_distribution() {
        let mut latencies = Latencies::new().unwrap();
        for microseconds in 1..=1000 {
            latencies.record(Duration::from_micros(microseconds));
        }
        let summary = latencies.summary();
        let near = |value: f64, expected: f64| (value - expected).abs() <= expected / 500.0;
        assert!(near(summary.p50_us, 500.0), "{summary:?}");
        assert!(near(summary.p95_us, 950.0), "{summary:?}");
        assert!(near(summary.p99_us, 990.0), "{summary:?}");
        assert!(near(summary.p999_us, 999.0), "{summary:?}");
        assert!(near(summary.max_us, 1000.0), "{summary:?}");
        assert!(near(summary.mean_us, 500.5), "{summary:?}");
    }

    #[test]
    fn histograms_of_several_clients_become_one() {
        let mut all = Latencies::new().unwrap();
        let mut other = Latencies::new().unwrap();
        all.record(Duration::from_micros(1));
        other.record(Duration::from_micros(3));
        all.add(&other).unwrap();
        assert_eq!(all.count(), 2);
        assert!(all.summary().max_us >= 3.0);
    }

    #[test]
    fn nothing_is_too_long_to_be_counted() {
        let mut latencies = Latencies::new().unwrap();
        latencies.record(LATENCY_MAX * 100);
        latencies.record(Duration::ZERO);
        assert_eq!(latencies.count(), 2);
    }
}
