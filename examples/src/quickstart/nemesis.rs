//! The thread that makes the planned faults happen, and heals them again.

use std::time::{Duration, Instant};

use crate::{
    clock,
    faults::{Fault, PlannedFault, Schedule, Target},
    quickstart::{meter::Meter, progress::Progress},
    topology::{Topology, TopologyError},
};

/// How often the pairs are asked whether a node that came back is a member again.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// How long a node may take to become a member again when the load is over.
const RETURN_PATIENCE: Duration = Duration::from_secs(60);

/// A fault that has happened.
#[derive(Debug, Clone, Copy)]
pub struct Happened {
    /// As planned.
    pub planned: PlannedFault,
    /// The process that it hit.
    pub hit: Target,
    /// When it happened.
    pub at: Instant,
    /// When it was undone: the process goes on, or is started again.
    pub healed: Instant,
    /// When its pair was seen whole again, if it hit a node of one.
    pub whole: Option<Instant>,
}

impl Happened {
    /// The pair that waits for this node to become a member again.
    const fn returns_to(&self) -> Option<usize> {
        match (self.hit, self.whole) {
            (Target::Store(id), None) => Some(id.pair),
            _ => None,
        }
    }
}

/// A fault that waits to be healed.
#[derive(Debug, Clone, Copy)]
struct Ailing {
    planned: PlannedFault,
    hit: Target,
    at: Instant,
    heal_at: Instant,
}

impl Ailing {
    fn is_of(&self, pair: usize) -> bool {
        matches!(self.hit, Target::Store(id) if id.pair == pair)
    }
}

/// The schedule at work.
#[derive(Debug)]
pub struct Nemesis<'a> {
    topology: &'a mut Topology,
    meter: &'a Meter,
    waiting: std::slice::Iter<'a, PlannedFault>,
    ailing: Vec<Ailing>,
    happened: Vec<Happened>,
    looked: Instant,
}

impl<'a> Nemesis<'a> {
    /// Sets the gate of the load before the first fault.
    #[must_use]
    pub fn new(topology: &'a mut Topology, meter: &'a Meter, schedule: &'a Schedule) -> Self {
        let waiting = schedule.faults().iter();
        let (ailing, happened, looked) = (Vec::new(), Vec::new(), clock::now());
        let nemesis = Self { topology, meter, waiting, ailing, happened, looked };
        nemesis.set_gate();
        nemesis
    }

    /// Does what is due: heals, strikes, opens the gate for the load up to the next fault.
    ///
    /// # Errors
    /// [`TopologyError`] if a child has ended by itself or does not come up again.
    pub fn turn(&mut self, now: Instant, progress: &Progress) -> Result<(), TopologyError> {
        self.topology.check_alive()?;
        self.heal(progress, |ailing| ailing.heal_at <= now)?;
        while let Some(&next) = self.waiting.as_slice().first() {
            if self.meter.submitted() < next.at_event {
                break;
            }
            self.waiting.next();
            if let Target::Leader(pair) = next.target
                && self.topology.view(pair).leader().is_none()
            {
                // Who is down may be who has to lead.
                self.heal(progress, |ailing| ailing.is_of(pair))?;
            }
            let hit = self.topology.resolve(next.target)?;
            // A process that is down or stopped is healed first: this fault comes on top.
            self.heal(progress, |ailing| ailing.hit == hit)?;
            self.strike((next, hit), clock::now(), progress)?;
            self.set_gate();
        }
        if now.saturating_duration_since(self.looked) >= LOOK_INTERVAL {
            self.looked = now;
            self.look_for_returned(progress);
        }
        Ok(())
    }

    /// Heals everything that still ails, waits until every pair is whole, and tells what has
    /// happened.
    ///
    /// # Errors
    /// [`TopologyError`] if a child does not come up again.
    pub fn finish(mut self, progress: &Progress) -> Result<Vec<Happened>, TopologyError> {
        self.heal(progress, |_| true)?;
        self.look_for_returned(progress);
        self.topology.wait_whole(RETURN_PATIENCE)?;
        self.look_for_returned(progress);
        self.happened.sort_by_key(|happened| happened.at);
        Ok(self.happened)
    }

    fn set_gate(&self) {
        let next = self.waiting.as_slice().first();
        self.meter.open_gate(next.map_or(u64::MAX, |planned| planned.at_event.max(1)));
    }

    fn strike(
        &mut self,
        (planned, hit): (PlannedFault, Target),
        now: Instant,
        progress: &Progress,
    ) -> Result<(), TopologyError> {
        progress.say(&format!("  {}", planned.describe(hit)));
        let wait = match planned.fault {
            Fault::Kill { down } => {
                self.topology.kill(hit)?;
                down
            }
            Fault::Pause { still } => {
                self.topology.pause(hit)?;
                still
            }
        };
        self.ailing.push(Ailing { planned, hit, at: now, heal_at: now + wait });
        Ok(())
    }

    fn heal(
        &mut self,
        progress: &Progress,
        is_due: impl Fn(&Ailing) -> bool,
    ) -> Result<(), TopologyError> {
        let (due, later) = self.ailing.iter().partition(|ailing| is_due(ailing));
        self.ailing = later;
        let due: Vec<Ailing> = due;
        for Ailing { planned, hit, at, .. } in due {
            let healed = clock::now();
            match planned.fault {
                Fault::Kill { .. } => {
                    self.topology.restart(hit)?;
                    progress.say(&format!("  {hit} started again"));
                }
                Fault::Pause { .. } => {
                    self.topology.resume(hit)?;
                    progress.say(&format!("  {hit} goes on"));
                }
            }
            self.happened.push(Happened { planned, hit, at, healed, whole: None });
        }
        Ok(())
    }

    /// Takes down which nodes have become members again.
    fn look_for_returned(&mut self, progress: &Progress) {
        let returning: Vec<usize> = self.happened.iter().filter_map(Happened::returns_to).collect();
        for pair in returning {
            if self.ailing.iter().any(|ailing| ailing.is_of(pair)) || !self.topology.is_whole(pair)
            {
                continue;
            }
            for happened in &mut self.happened {
                if happened.returns_to() == Some(pair) {
                    happened.whole = Some(clock::now());
                    if self.topology.config().copies > 1 {
                        progress.say(&format!("  {} is a member of its pair again", happened.hit));
                    }
                }
            }
        }
    }
}
