//! Which broker to talk to, and when to try the next one.

use std::time::{Duration, Instant};

/// Pause after the first fruitless round over all brokers; it doubles with every further round.
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// Longest pause between rounds.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Something that happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailoverInput {
    /// The current broker answered: it is used from now on.
    Answered,
    /// The conversation with the current broker broke off or never began.
    Lost,
    /// The time of [`Failover::deadline`] has come.
    Tick,
}

/// Something for the loop to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailoverOutput {
    /// Close the socket, if there is one, and connect to the endpoint with this number.
    Connect(usize),
    /// Close the socket; another `Connect` follows after a pause.
    Close,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Connected to the current one, or trying to.
    Using,
    /// All were tried in vain.
    Pausing { until: Instant },
}

/// Goes round the brokers until one answers, stays with it until it is lost, and pauses after
/// every round in which none answered.
///
/// That a broker is silent is noticed by the conversation with it
/// ([`ClientLink`](broker::dialect::ClientLink)). Half of each pause is random, so that the
/// clients of a dead broker don't come back as one.
#[derive(Debug)]
pub struct Failover {
    endpoints: usize,
    current: usize,
    /// Endpoints tried in vain since one last answered.
    failures: u32,
    state: State,
}

impl Failover {
    /// For this many endpoints, numbered from 0. The first is to be connected to at once.
    #[must_use]
    pub fn new(endpoints: usize) -> Self {
        Self { endpoints: endpoints.max(1), current: 0, failures: 0, state: State::Using }
    }

    /// Number of the endpoint in use, or to be used next.
    #[must_use]
    pub fn current(&self) -> usize {
        self.current
    }

    /// When to hand in [`FailoverInput::Tick`].
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Pausing { until } => Some(until),
            State::Using => None,
        }
    }

    /// Takes an input. `jitter` is a random number, all of its bits are used.
    pub fn handle(
        &mut self,
        now: Instant,
        input: FailoverInput,
        jitter: u32,
    ) -> Option<FailoverOutput> {
        match (input, self.state) {
            (FailoverInput::Answered, State::Using) => {
                self.failures = 0;
                None
            }
            (FailoverInput::Lost, State::Using) => Some(self.next(now, jitter)),
            (FailoverInput::Tick, State::Pausing { until }) if until <= now => {
                self.state = State::Using;
                Some(FailoverOutput::Connect(self.current))
            }
            _ => None,
        }
    }

    fn next(&mut self, now: Instant, jitter: u32) -> FailoverOutput {
        self.failures = self.failures.saturating_add(1);
        self.current = (self.current + 1) % self.endpoints;
        let tried = usize::try_from(self.failures).unwrap_or(usize::MAX);
        if !tried.is_multiple_of(self.endpoints) {
            return FailoverOutput::Connect(self.current);
        }
        let rounds = tried / self.endpoints;
        self.state = State::Pausing { until: now + pause(rounds, jitter) };
        FailoverOutput::Close
    }
}

/// Half of the round's pause, plus a random part of the other half.
fn pause(rounds: usize, jitter: u32) -> Duration {
    let doublings = u32::try_from(rounds.saturating_sub(1)).unwrap_or(u32::MAX).min(16);
    let whole = PAUSE_MIN.saturating_mul(1 << doublings).min(PAUSE_MAX);
    whole / 2 + (whole / 2).mul_f64(f64::from(jitter) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "an arbitrary point to count from")]
    fn start(endpoints: usize) -> (Failover, Instant) {
        (Failover::new(endpoints), Instant::now())
    }

    #[test]
    fn it_goes_round_and_stays_with_the_first_that_answers() {
        let (mut failover, now) = start(3);
        let lost = failover.handle(now, FailoverInput::Lost, 0);
        assert_eq!(lost, Some(FailoverOutput::Connect(1)));
        assert_eq!(failover.handle(now, FailoverInput::Answered, 0), None);
        assert_eq!(failover.deadline(), None);
        assert_eq!(failover.handle(now + PAUSE_MAX * 10, FailoverInput::Tick, 0), None);
        assert_eq!(failover.current(), 1);
        let lost = failover.handle(now, FailoverInput::Lost, 0);
        assert_eq!(lost, Some(FailoverOutput::Connect(2)));
        let lost = failover.handle(now, FailoverInput::Lost, 0);
        assert_eq!(lost, Some(FailoverOutput::Connect(0)), "the round began at 2");
        assert_eq!(failover.handle(now, FailoverInput::Lost, 0), Some(FailoverOutput::Close));
    }

    #[test]
    fn a_lost_only_broker_is_tried_again_after_a_pause() {
        let (mut failover, now) = start(1);
        failover.handle(now, FailoverInput::Answered, 0);
        assert_eq!(failover.handle(now, FailoverInput::Lost, 0), Some(FailoverOutput::Close));
        let again = now + PAUSE_MIN / 2;
        assert_eq!(failover.deadline(), Some(again));
        let connect = failover.handle(again, FailoverInput::Tick, 0);
        assert_eq!(connect, Some(FailoverOutput::Connect(0)));
    }

    #[test]
    fn pauses_double_up_to_a_cap_and_have_a_random_half() {
        for (rounds, jitter, milliseconds) in [
            (1, 0, 25),
            (1, u32::MAX, 50),
            (2, 0, 50),
            (3, u32::MAX, 200),
            (6, 0, 800),
            (7, 0, 1000),
            (100, u32::MAX, 2000),
        ] {
            assert_eq!(pause(rounds, jitter), Duration::from_millis(milliseconds), "{rounds}");
        }
    }

    #[test]
    fn nothing_but_time_ends_a_pause() {
        let (mut failover, now) = start(1);
        assert_eq!(failover.handle(now, FailoverInput::Lost, 0), Some(FailoverOutput::Close));
        assert_eq!(failover.handle(now, FailoverInput::Lost, 0), None);
        assert_eq!(failover.handle(now, FailoverInput::Answered, 0), None);
        assert_eq!(failover.handle(now, FailoverInput::Tick, 0), None);
    }
}
