//! What goes wrong in a run, and when: decided before it starts, from a seed.

use std::{fmt, time::Duration};

use crate::random::Random;

/// One of the two nodes of a pair, by its place and not by what it is just now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The one that is configured as primary, or the only one.
    A,
    /// The one that is configured as backup.
    B,
}

/// Both of them.
pub const SIDES: [Side; 2] = [Side::A, Side::B];

impl Side {
    /// The node on the other side.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// A store process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreId {
    /// Which pair, from 0; a store without a peer counts as one.
    pub pair: usize,
    /// Which node of it.
    pub side: Side,
}

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = match self.side {
            Side::A => 'a',
            Side::B => 'b',
        };
        write!(f, "{}{side}", self.pair + 1)
    }
}

/// A process of the topology.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// A broker, from 0; the first one is the witness.
    Broker(usize),
    /// A store process.
    Store(StoreId),
    /// The store process that leads a pair, from 0, when the fault happens.
    Leader(usize),
    /// A projection host, from 0.
    Host(usize),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broker(index) => write!(f, "broker {}", index + 1),
            Self::Store(id) => write!(f, "store {id}"),
            Self::Leader(pair) => write!(f, "the leader of pair {}", pair + 1),
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

impl PlannedFault {
    /// What happens to the process that it hits, in words.
    #[must_use]
    pub fn describe(&self, hit: Target) -> String {
        let Self { at_event, target, fault } = self;
        let (what, time) = match fault {
            Fault::Kill { down } => ("kill -9 of", down),
            Fault::Pause { still } => ("stop of", still),
        };
        let whom = match target {
            Target::Leader(_) if hit != *target => format!("{hit}, {target},"),
            _ => hit.to_string(),
        };
        format!("{what} {whom} at event {at_event}, for {time:?}")
    }
}

/// The faults of a run, in order of their moments.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Schedule(Vec<PlannedFault>);

impl Schedule {
    /// What the quickstart shows: a projection host and a leader are killed under load. A leader
    /// that is back at once would lead again; it stays away for longer than its follower waits.
    #[must_use]
    pub fn demonstration(events: u64) -> Self {
        let kill = |percent, target, down| PlannedFault {
            at_event: events * percent / 100,
            target,
            fault: Fault::Kill { down: Duration::from_millis(down) },
        };
        Self(vec![kill(30, Target::Host(0), 300), kill(55, Target::Leader(1), 1_500)])
    }

    /// `count` faults for a load of `events`, drawn from a seed. The first ones hit the broker, a
    /// leader and a host once each; the others hit anyone, and some follow so closely that they
    /// hit a process that is still recovering.
    #[must_use]
    pub fn random(seed: u64, (events, count): (u64, usize), copies: usize) -> Self {
        let mut random = Random::for_part(seed, u64::MAX);
        let index = |random: &mut Random| usize::from(random.chance(50));
        let mut faults: Vec<PlannedFault> = (0..count)
            .map(|number| {
                let kind = if number < 3 { number } else { usize::from(random.chance(70)) };
                let target = match kind {
                    0 => Target::Broker(0),
                    1 if copies == 1 || number == 1 => Target::Leader(index(&mut random)),
                    1 => {
                        let side = if random.chance(50) { Side::A } else { Side::B };
                        Target::Store(StoreId { pair: index(&mut random), side })
                    }
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
        let schedule = |seed| Schedule::random(seed, (1_000, 8), 2);
        assert_eq!(schedule(5), schedule(5));
        assert_ne!(schedule(5), schedule(6));
    }

    #[test]
    fn every_schedule_kills_each_role_inside_the_load() {
        for (seed, copies) in (0..50).map(|seed| (seed, 1 + usize::from(seed % 2 == 0))) {
            let schedule = Schedule::random(seed, (1_000, 6), copies);
            let killed = |role: fn(&Target) -> bool| {
                schedule
                    .faults()
                    .iter()
                    .any(|f| role(&f.target) && matches!(f.fault, Fault::Kill { .. }))
            };
            assert!(killed(|target| matches!(target, Target::Broker(0))));
            assert!(killed(|target| matches!(target, Target::Leader(_))));
            assert!(killed(|target| matches!(target, Target::Host(_))));
            assert!(schedule.faults().is_sorted_by_key(|fault| fault.at_event));
            assert!(schedule.faults().iter().all(|fault| fault.at_event < 900));
        }
    }

    #[test]
    fn a_store_without_a_peer_is_hit_as_its_own_leader() {
        for seed in 0..50 {
            let schedule = Schedule::random(seed, (1_000, 20), 1);
            let stores = schedule.faults().iter();
            assert!(stores.clone().all(|fault| !matches!(fault.target, Target::Store(_))));
        }
    }

    #[test]
    fn a_fault_says_whom_it_hit() {
        let fault = Fault::Kill { down: Duration::from_millis(300) };
        let planned = PlannedFault { at_event: 7, target: Target::Leader(1), fault };
        let hit = Target::Store(StoreId { pair: 1, side: Side::B });
        let words = "kill -9 of store 2b, the leader of pair 2, at event 7, for 300ms";
        assert_eq!(planned.describe(hit), words);
        let planned = PlannedFault { target: Target::Host(0), ..planned };
        assert_eq!(planned.describe(Target::Host(0)), "kill -9 of host 1 at event 7, for 300ms");
    }
}
