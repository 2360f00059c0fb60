//! The clock, read in this one place, and deadlines: nothing in a run waits for ever.

use std::time::{Duration, Instant};

/// The present moment.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the loops of this crate read the clock here")]
pub fn now() -> Instant {
    Instant::now()
}

/// How often a waiting loop looks again.
const LOOK_INTERVAL: Duration = Duration::from_millis(2);

/// The moment at which waiting ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    /// A deadline that long from now.
    #[must_use]
    pub fn after(duration: Duration) -> Self {
        Self(now() + duration)
    }

    /// How long there still is; zero once it has passed.
    #[must_use]
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(now())
    }

    /// Whether it has passed.
    #[must_use]
    pub fn passed(self) -> bool {
        self.remaining().is_zero()
    }

    /// Looks again and again until `found` gives something, or until the deadline (`None`).
    pub fn wait_for<T>(self, mut found: impl FnMut() -> Option<T>) -> Option<T> {
        loop {
            if let Some(value) = found() {
                return Some(value);
            }
            if self.passed() {
                return None;
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_ends_with_the_state_or_with_the_deadline() {
        let mut looks = 0;
        let third = Deadline::after(Duration::from_secs(10)).wait_for(|| {
            looks += 1;
            (looks == 3).then_some(looks)
        });
        assert_eq!(third, Some(3));
        assert_eq!(Deadline::after(Duration::from_millis(5)).wait_for(|| None::<()>), None);
    }
}
