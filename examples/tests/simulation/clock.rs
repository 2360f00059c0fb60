//! Time without a clock: the world's, and what each process takes it for.

use std::time::{Duration, Instant};

/// A point in the world's time: how long after its beginning.
pub type Moment = Duration;

/// One process's monotonic clock. It has a beginning of its own, runs a little fast or slow, and
/// may stand still while the process does.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    base: Instant,
    /// Parts per million that it runs too fast.
    drift_ppm: i64,
    /// How long it stood still so far.
    stood_still: Duration,
}

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "an arbitrary point to count from")]
    pub fn new(beginning: Duration, drift_ppm: i64) -> Self {
        // All clocks of a run may start anywhere; what counts is differences.
        Self { base: Instant::now() + beginning, drift_ppm, stood_still: Duration::ZERO }
    }

    /// What it shows.
    pub fn read(&self, moment: Moment) -> Instant {
        self.base + self.scaled(moment, self.drift_ppm) - self.stood_still
    }

    /// When it will show that, rounded up.
    pub fn moment_of(&self, instant: Instant) -> Moment {
        let shown = instant.saturating_duration_since(self.base) + self.stood_still;
        self.scaled(shown, -self.drift_ppm) + Duration::from_micros(1)
    }

    /// It was not running for so long.
    pub fn stand_still(&mut self, time: Duration) {
        self.stood_still += self.scaled(time, self.drift_ppm);
    }

    fn scaled(&self, time: Duration, ppm: i64) -> Duration {
        let nanos = i128::try_from(time.as_nanos()).unwrap();
        let scaled = nanos + nanos * i128::from(ppm) / 1_000_000;
        Duration::from_nanos(u64::try_from(scaled.max(0)).unwrap())
    }
}
