//! The clocks that the loop keeps for the machine.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::protocol::Timer;
use super::settings::PairTiming;

/// How long the pair must have been whole before an earlier failure is forgiven.
const SETTLED: Duration = Duration::from_secs(60);
/// Longest pause before a follower is taken in again.
const GROW_MAX: Duration = Duration::from_secs(60);
/// A witness that has not answered after so many heartbeats is asked again.
const ASK_HEARTBEATS: u32 = 2;
/// A follower gives its leader up without anybody's vote after so many times its patience.
const ABANDON_TIMES: u32 = 3;
/// A handover that takes longer than so many times the follower's patience is given up.
const HAND_OVER_TIMES: u32 = 2;

/// What is armed, and when it runs out.
#[derive(Debug)]
pub(super) struct Timers {
    timing: PairTiming,
    armed: BTreeMap<Timer, (Instant, Timer)>,
}

impl Timers {
    pub(super) const fn new(timing: PairTiming) -> Self {
        Self { timing, armed: BTreeMap::new() }
    }

    /// Starts a timer, anew if it runs. `lot` is drawn by the caller: two followers, or one in two
    /// runs, shall not suspect their leader in step.
    pub(super) fn arm(&mut self, timer: Timer, now: Instant, lot: u8) {
        self.armed.insert(slot(timer), (now + self.length(timer, lot), timer));
    }

    /// Stops a timer.
    pub(super) fn disarm(&mut self, timer: Timer) {
        self.armed.remove(&slot(timer));
    }

    /// When the next one runs out.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.armed.values().map(|(at, _)| *at).min()
    }

    /// Takes one that has run out; that which ran out first comes first.
    pub(super) fn elapsed(&mut self, now: Instant) -> Option<Timer> {
        let first = self.armed.values().min_by_key(|(at, _)| *at).copied();
        let (_, timer) = first.filter(|(at, _)| *at <= now)?;
        self.armed.remove(&slot(timer));
        Some(timer)
    }

    fn length(&self, timer: Timer, lot: u8) -> Duration {
        let PairTiming { heartbeat, follower_patience, leader_patience, grow_backoff } =
            self.timing;
        match timer {
            Timer::Beat => heartbeat,
            Timer::Ask => heartbeat * ASK_HEARTBEATS,
            Timer::Suspect => leader_patience + leader_patience / 3 * u32::from(lot) / 255,
            Timer::Abandon => leader_patience * ABANDON_TIMES,
            Timer::Patience => follower_patience,
            Timer::Silence | Timer::Alone => leader_patience,
            Timer::Grow { attempt: 0 } => Duration::ZERO,
            Timer::Grow { attempt } => {
                let times = 1_u32.checked_shl(u32::from(attempt) - 1).unwrap_or(u32::MAX);
                grow_backoff.saturating_mul(times).min(GROW_MAX)
            }
            Timer::Settled => SETTLED,
            Timer::HandOver => leader_patience * HAND_OVER_TIMES,
        }
    }
}

/// There is one timer of each kind.
const fn slot(timer: Timer) -> Timer {
    match timer {
        Timer::Grow { .. } => Timer::Grow { attempt: 0 },
        other => other,
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "any instant does as a beginning")]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn timers_run_out_in_order_and_once() {
        let start = Instant::now();
        let mut timers = Timers::new(PairTiming::default());
        timers.arm(Timer::Patience, start, 0);
        timers.arm(Timer::Beat, start, 0);
        assert_eq!(timers.deadline(), Some(start + 100 * MS));
        assert_eq!(timers.elapsed(start + 99 * MS), None);
        let late = start + 1000 * MS;
        assert_eq!(timers.elapsed(late), Some(Timer::Beat));
        assert_eq!(timers.elapsed(late), Some(Timer::Patience));
        assert_eq!(timers.elapsed(late), None);
        timers.arm(Timer::Silence, start, 0);
        timers.arm(Timer::Silence, start + 500 * MS, 0);
        assert_eq!(timers.elapsed(late), None, "armed anew");
        timers.disarm(Timer::Silence);
        assert_eq!(timers.deadline(), None);
    }

    #[test]
    fn lengths() {
        let start = Instant::now();
        let length = |timer, lot| {
            let mut timers = Timers::new(PairTiming::default());
            timers.arm(timer, start, lot);
            timers.deadline().unwrap() - start
        };
        let rows = [
            (Timer::Suspect, 0, 600),
            (Timer::Suspect, 255, 800),
            (Timer::Abandon, 255, 1800),
            (Timer::Ask, 0, 200),
            (Timer::Grow { attempt: 0 }, 0, 0),
            (Timer::Grow { attempt: 1 }, 0, 1000),
            (Timer::Grow { attempt: 4 }, 0, 8000),
            (Timer::Grow { attempt: 7 }, 0, 60_000),
            (Timer::Grow { attempt: 255 }, 0, 60_000),
            (Timer::HandOver, 0, 1200),
        ];
        for (timer, lot, expected) in rows {
            assert_eq!(length(timer, lot), expected * MS, "{timer:?} {lot}");
        }
    }
}
