//! The thread that makes the planned faults happen, and heals them again.

use std::time::Instant;

use crate::{
    clock,
    faults::{Fault, PlannedFault, Schedule},
    quickstart::{meter::Meter, progress::Progress},
    topology::{Topology, TopologyError},
};

/// A fault that has happened.
#[derive(Debug, Clone, Copy)]
pub struct Happened {
    /// As planned.
    pub planned: PlannedFault,
    /// When it happened.
    pub at: Instant,
    /// When it was undone: the process goes on, or is started again.
    pub healed: Instant,
}

/// A fault that waits to be healed.
#[derive(Debug, Clone, Copy)]
struct Ailing {
    planned: PlannedFault,
    at: Instant,
    heal_at: Instant,
}

/// The schedule at work.
#[derive(Debug)]
pub struct Nemesis<'a> {
    topology: &'a mut Topology,
    meter: &'a Meter,
    waiting: std::slice::Iter<'a, PlannedFault>,
    ailing: Vec<Ailing>,
    happened: Vec<Happened>,
}

impl<'a> Nemesis<'a> {
    /// Sets the gate of the load before the first fault.
    #[must_use]
    pub fn new(topology: &'a mut Topology, meter: &'a Meter, schedule: &'a Schedule) -> Self {
        let waiting = schedule.faults().iter();
        let nemesis = Self { topology, meter, waiting, ailing: Vec::new(), happened: Vec::new() };
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
            // A process that is down or stopped is healed first: this fault comes on top.
            self.heal(progress, |ailing| ailing.planned.target == next.target)?;
            self.strike(next, now, progress)?;
            self.set_gate();
        }
        Ok(())
    }

    /// Heals everything that still ails and tells what has happened.
    ///
    /// # Errors
    /// [`TopologyError`] if a child does not come up again.
    pub fn finish(mut self, progress: &Progress) -> Result<Vec<Happened>, TopologyError> {
        self.heal(progress, |_| true)?;
        self.happened.sort_by_key(|happened| happened.at);
        Ok(self.happened)
    }

    fn set_gate(&self) {
        let next = self.waiting.as_slice().first();
        self.meter.open_gate(next.map_or(u64::MAX, |planned| planned.at_event.max(1)));
    }

    fn strike(
        &mut self,
        planned: PlannedFault,
        now: Instant,
        progress: &Progress,
    ) -> Result<(), TopologyError> {
        progress.say(&format!("  {planned}"));
        let wait = match planned.fault {
            Fault::Kill { down } => {
                self.topology.kill(planned.target)?;
                down
            }
            Fault::Pause { still } => {
                self.topology.pause(planned.target)?;
                still
            }
        };
        self.ailing.push(Ailing { planned, at: now, heal_at: now + wait });
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
        for Ailing { planned, at, .. } in due {
            let (target, healed) = (planned.target, clock::now());
            match planned.fault {
                Fault::Kill { .. } => {
                    self.topology.restart(target)?;
                    progress.say(&format!("  {target} started again"));
                }
                Fault::Pause { .. } => {
                    self.topology.resume(target)?;
                    progress.say(&format!("  {target} goes on"));
                }
            }
            self.happened.push(Happened { planned, at, healed });
        }
        Ok(())
    }
}
