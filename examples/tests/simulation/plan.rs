//! What one seed draws before anything happens: which faults there are at all, how bad the network
//! is, how large and how fast everything is.

use std::time::Duration;

use starlog_examples::random::Random;

use crate::network::Weather;

/// How far the faults may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Budget {
    /// At every time at least one intact member may lead, and everything must go on in the end.
    Survivable,
    /// More may be lost than can be borne: nothing wrong may be said, but everything may stop.
    Excessive,
}

/// A mistake that is put into the simulation's own glue, to see that it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mistake {
    /// The follower acknowledges what it has written and not synced.
    AcknowledgesEarly,
    /// A leader whose follower is silent goes on alone without asking the witness.
    GoesOnAlone,
    /// The witness answers before its record is on the disk, and forgets it in a crash.
    WitnessForgets,
    /// A member's promise is not on its disk.
    MemberForgets,
    /// A leader that steps down commits what it has by itself.
    CommitsWhenDeposed,
    /// The leader shows what is written and not committed.
    ShowsUncommitted,
}

/// Faults that a run has at all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    pub crashes: bool,
    pub pauses: bool,
    /// A paused process's clock stands still with it.
    pub clocks_stop: bool,
    pub cuts: bool,
    pub wipes: bool,
    pub slow_disks: bool,
    pub failing_disks: bool,
    pub witness_crashes: bool,
    pub amnesia: bool,
    pub broker_crashes: bool,
    pub handovers: bool,
    /// Processes end right before or after their record is on the disk.
    pub crashes_at_saves: bool,
}

/// See the module's comment.
#[derive(Debug, Clone)]
pub struct Plan {
    pub seed: u64,
    pub budget: Budget,
    pub mistake: Option<Mistake>,
    pub faults: Faults,
    pub weather: Weather,
    pub partitions: u16,
    pub clients: u8,
    pub readers: u8,
    pub copies_min: u8,
    /// How long things go wrong.
    pub trouble: Duration,
    /// How long until everything must be well again.
    pub recovery: Duration,
    /// Pause between two things that go wrong, at most.
    pub fault_pause: Duration,
    /// Pause between two appends of a client, at most.
    pub append_pause: Duration,
    /// How long a sync takes.
    pub sync: (Duration, Duration),
    pub request_timeout: Duration,
    pub attempt_timeout: Duration,
    pub grow_backoff: Duration,
    /// How far clocks run fast or slow, parts per million.
    pub drift_ppm: u64,
}

impl Plan {
    pub fn draw(seed: u64, budget: Budget) -> Self {
        let random = &mut Random::for_part(seed, 1);
        let faults = draw_faults(random, budget);
        let micros =
            |random: &mut Random, low, high| Duration::from_micros(random.between(low, high));
        let sync_min = micros(random, 50, 3_000);
        Self {
            seed,
            budget,
            mistake: None,
            faults,
            weather: draw_weather(random),
            partitions: 1 + u16::from(random.chance(30)),
            clients: 1 + u8::from(random.chance(60)),
            readers: 1,
            copies_min: if faults.wipes || random.chance(85) { 1 } else { 2 },
            trouble: Duration::from_millis(random.between(4_000, 12_000)),
            recovery: Duration::from_secs(40),
            fault_pause: micros(random, 300_000, 2_500_000),
            append_pause: micros(random, 20_000, 250_000),
            sync: (sync_min, sync_min + micros(random, 0, 10_000)),
            request_timeout: Duration::from_millis(random.between(1_500, 8_000)),
            attempt_timeout: Duration::from_millis(random.between(500, 2_000)),
            grow_backoff: Duration::from_millis(if random.chance(50) { 0 } else { 500 }),
            drift_ppm: random.below(2_000),
        }
    }
}

fn draw_faults(random: &mut Random, budget: Budget) -> Faults {
    let mut on = |percent| random.chance(percent);
    Faults {
        crashes: on(60),
        pauses: on(50),
        clocks_stop: on(50),
        cuts: on(60),
        wipes: on(35) || budget == Budget::Excessive,
        slow_disks: on(30),
        failing_disks: on(20),
        witness_crashes: on(35),
        amnesia: on(20) || (budget == Budget::Excessive && on(50)),
        broker_crashes: on(30),
        handovers: on(30),
        crashes_at_saves: on(25),
    }
}

fn draw_weather(random: &mut Random) -> Weather {
    let bad = random.chance(60);
    let mut up_to =
        |percent: u64| if bad && random.chance(60) { random.below(percent + 1) } else { 0 };
    let (loss, doubles, stragglers, feed_loss) = (up_to(20), up_to(40), up_to(8), up_to(20));
    let delay_min = Duration::from_micros(random.between(20, 500));
    let spread = if random.chance(70) { 1_000 } else { 30_000 };
    Weather {
        delay_min,
        delay_max: delay_min + Duration::from_micros(random.below(spread)),
        loss,
        doubles,
        stragglers,
        straggler_max: Duration::from_millis(random.between(10, 3_000)),
        feed_loss,
    }
}
