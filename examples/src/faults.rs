//! What goes wrong in a run, and when: decided before it starts, from a seed.

use std::{fmt, time::Duration};

use crate::random::Random;

/// A process of the topology.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// The broker.
    Broker,
    /// A store process, from 0.
    Store(usize),
    /// A projection host, from 0.
    Host(usize),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broker => f.write_str("broker"),
            Self::Store(index) => write!(f, "store {}", index + 1),
            Self::Host(index) => write!(f, "host {}", index + 1),
        }
    }
}

/// What happens to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL; it is started again after that time.
    Kill {
        /// How long it stays dead.
        down: Duration,
    },
    /// SIGSTOP, and SIGCONT after that time: alive, with open sockets, and silent.
    Pause {
        /// How long it stays still.
        still: Duration,
    },
}

/// A fault with its moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlannedFault {
    /// It happens when so many events have been handed to the client. The load goes no further
    /// before it has happened, so a fault never comes after the end of a fast load.
    pub at_event: u64,
    /// Who is hit.
    pub target: Target,
    /// By what.
    pub fault: Fault,
}

impl fmt::Display for PlannedFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at_event, target, fault } = self;
        match fault {
            Fault::Kill { down } => {
                write!(f, "kill -9 of {target} at event {at_event}, for {down:?}")
            }
            Fault::Pause { still } => {
                write!(f, "stop of {target} at event {at_event}, for {still:?}")
            }
        }
    }
}

/// The faults of a run, in order of their moments.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Schedule(Vec<PlannedFault>);

impl Schedule {
    /// What the quickstart shows: a projection host and a store are killed under load.
    #[must_use]
    pub fn demonstration(events: u64) -> Self {
        let down = Duration::from_millis(300);
        let kill = |percent, target| PlannedFault {
            at_event: events * percent / 100,
            target,
            fault: Fault::Kill { down },
        };
        Self(vec![kill(35, Target::Host(0)), kill(65, Target::Store(1))])
    }

    /// `count` faults for a load of `events`, drawn from a seed. The first ones hit the broker, a
    /// store and a host once each; the others hit anyone, and some follow so closely that they
    /// hit a process that is still recovering.
    #[must_use]
    pub fn random(seed: u64, events: u64, count: usize) -> Self {
        let mut random = Random::for_part(seed, u64::MAX);
        let index = |random: &mut Random| usize::from(random.chance(50));
        let mut faults: Vec<PlannedFault> = (0..count)
            .map(|number| {
                let kind = if number < 3 { number } else { usize::from(random.chance(70)) };
                let target = match kind {
                    0 => Target::Broker,
                    1 => Target::Store(index(&mut random)),
                    _ => Target::Host(index(&mut random)),
                };
                let fault = if number < 3 || random.chance(60) {
                    Fault::Kill { down: Duration::from_millis(random.below(400)) }
                } else {
                    Fault::Pause { still: Duration::from_millis(random.between(50, 1_500)) }
                };
                PlannedFault { at_event: random.below(events * 9 / 10), target, fault }
            })
            .collect();
        faults.sort_by_key(|fault| fault.at_event);
        Self(faults)
    }

    /// The faults in order.
    #[must_use]
    pub fn faults(&self) -> &[PlannedFault] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_one_schedule() {
        assert_eq!(Schedule::random(5, 1_000, 8), Schedule::random(5, 1_000, 8));
        assert_ne!(Schedule::random(5, 1_000, 8), Schedule::random(6, 1_000, 8));
    }

    #[test]
    fn every_schedule_kills_each_role_inside_the_load() {
        for seed in 0..50 {
            let schedule = Schedule::random(seed, 1_000, 6);
            let killed = |role: fn(&Target) -> bool| {
                schedule
                    .faults()
                    .iter()
                    .any(|f| role(&f.target) && matches!(f.fault, Fault::Kill { .. }))
            };
            assert!(killed(|target| matches!(target, Target::Broker)));
            assert!(killed(|target| matches!(target, Target::Store(_))));
            assert!(killed(|target| matches!(target, Target::Host(_))));
            assert!(schedule.faults().is_sorted_by_key(|fault| fault.at_event));
            assert!(schedule.faults().iter().all(|fault| fault.at_event < 900));
        }
    }
}
