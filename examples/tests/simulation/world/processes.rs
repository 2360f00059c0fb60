//! Processes: they start, end, stand still, lose their directories, and are well again.

use std::time::Duration;

use super::{QUIET_LOAD, Stopped, World};
use crate::clock::Moment;
use crate::env::{Env, Event, Message};
use crate::member::{Disk, DiskHealth, Member, Run};
use crate::network::{BROKERS, FIRST_CLIENT, Host, MEMBERS, Parcel, WITNESS, Weather, micros};
use crate::plan::Budget;
use crate::witness::Fate;

impl World {
    pub(super) fn start(&mut self, host: Host) {
        if self.is_alive(host) {
            return;
        }
        self.env.note(&host);
        let mut arrivals = Vec::new();
        self.env.network.lives(self.env.now, host, &mut arrivals);
        self.env.put(arrivals);
        self.lives += 1;
        match host {
            WITNESS => self.witness.start(&mut self.env),
            host if BROKERS.contains(&host) => {
                self.brokers[usize::from(host.0 - BROKERS[0].0)].start(&mut self.env);
            }
            host => {
                let slot = &mut self.members[usize::from(host.0)];
                if let Some(Member::Down(disk)) = slot.take() {
                    let run = Run::start(host, self.lives, *disk, &mut self.env);
                    let fate = run.fate();
                    *slot = Some(Member::Up(Box::new(run)));
                    self.bury(host, fate);
                }
            }
        }
        self.plan_wake(host);
    }

    pub(super) fn with_run(&mut self, host: Host, does: impl FnOnce(&mut Run, &mut Env)) {
        if let Some(Member::Up(run)) = &mut self.members[usize::from(host.0)] {
            does(run, &mut self.env);
            let (fate, halted) = (run.fate(), run.halted.clone());
            if let Some(why) = halted.filter(|_| self.env.plan.budget == Budget::Survivable) {
                // A supervisor starts it again: the former process may still have been heard.
                assert_eq!(why, "SecondProcess", "{host} must not halt");
            }
            self.bury(host, fate);
        }
    }

    /// Ends a process that wanted to end, and starts it again after a while.
    pub(super) fn bury(&mut self, host: Host, fate: Fate) {
        if fate == Fate::Dies {
            let down = micros(&mut self.env.random, Duration::from_millis(1_500));
            self.crash_for(host, down);
        }
    }

    pub(crate) fn crash_for(&mut self, host: Host, down: Duration) {
        if !self.is_alive(host) {
            return;
        }
        self.env.say(host, || "is killed".to_owned());
        self.env.oracle.counters.crashes += 1;
        self.stopped.remove(&host);
        self.env.network.died(host);
        match host {
            WITNESS => self.witness.crash(),
            host if BROKERS.contains(&host) => {
                self.brokers[usize::from(host.0 - BROKERS[0].0)].crash();
            }
            host => {
                let slot = &mut self.members[usize::from(host.0)];
                *slot = slot.take().map(|member| member.crash(&mut self.env.random));
            }
        }
        self.wake_at[usize::from(host.0)] = None;
        self.env.queue.put(self.env.now + down, Event::Start(host));
    }

    /// Lets a process stand still.
    pub(crate) fn stop(&mut self, host: Host, until: Moment) {
        if self.is_alive(host) && !self.stopped.contains_key(&host) {
            let since = self.env.now;
            self.stopped.insert(host, Stopped { since, until, inbox: Vec::new() });
            self.env.queue.put(until, Event::Resume(host));
        }
    }

    pub(super) fn resume(&mut self, host: Host) {
        let Some(stopped) = self.stopped.remove(&host) else { return };
        if stopped.until > self.env.now {
            self.stopped.insert(host, stopped);
            return;
        }
        self.env.say(host, || "goes on".to_owned());
        if self.env.plan.faults.clocks_stop && self.env.random.chance(50) {
            let still = self.env.now - stopped.since;
            self.env.clocks[usize::from(host.0)].stand_still(still);
        }
        // A loop looks at its sockets or at the time first.
        if self.env.random.chance(50) {
            self.tick(host);
        }
        for event in stopped.inbox {
            self.happen(event);
        }
        self.wake_at[usize::from(host.0)] = None;
        self.plan_wake(host);
    }

    /// A member's directory is gone; it has a new one.
    pub(crate) fn wipe(&mut self, host: Host) {
        assert!(!self.is_alive(host));
        self.env.say(host, || "lost its directory".to_owned());
        self.env.oracle.counters.wipes += 1;
        let disk = Disk::new(&mut self.env);
        self.members[usize::from(host.0)] = Some(Member::Down(Box::new(disk)));
    }

    /// The witness's directory is gone.
    pub(crate) fn forget(&mut self) {
        self.env.say(WITNESS, || "lost its directory".to_owned());
        self.env.oracle.counters.amnesias += 1;
        self.witness.forget();
    }

    pub(crate) fn hand_over(&mut self) {
        for host in MEMBERS {
            if !self.stopped.contains_key(&host) {
                self.with_run(host, Run::hand_over);
                self.plan_wake(host);
            }
        }
    }

    /// Everything is repaired and nothing breaks any more.
    pub(super) fn heal(&mut self) {
        self.healed = true;
        let now = self.env.now;
        self.env.trace.say(now, || "========= from here on nothing goes wrong".to_owned());
        let Weather { delay_min, delay_max, .. } = self.env.network.weather;
        self.env.network.weather = Weather { delay_min, delay_max, ..Weather::default() };
        let mut arrivals = Vec::new();
        for (from, to) in self.env.network.cuts() {
            self.env.network.heal(now, from, to, &mut arrivals);
        }
        self.env.put(arrivals);
        for host in (0..FIRST_CLIENT).map(Host) {
            if let Some(stopped) = self.stopped.get_mut(&host) {
                stopped.until = now;
                self.resume(host);
            }
            self.start(host);
        }
        for host in MEMBERS {
            if let Some(run) = self.run_mut(host) {
                run.health = DiskHealth::default();
            }
        }
        for appender in &mut self.appenders {
            appender.stop_at = now + QUIET_LOAD;
        }
    }

    pub(super) fn is_alive(&self, host: Host) -> bool {
        match host {
            WITNESS => self.witness.is_running(),
            host if BROKERS.contains(&host) => {
                self.brokers[usize::from(host.0 - BROKERS[0].0)].is_running()
            }
            host if MEMBERS.contains(&host) => self.process(host).is_some(),
            _ => true,
        }
    }

    pub(crate) fn disk(&self, host: Host) -> &Disk {
        self.members[usize::from(host.0)].as_ref().unwrap().disk()
    }

    pub(crate) fn process(&self, host: Host) -> Option<&Run> {
        self.members[usize::from(host.0)].as_ref()?.run()
    }

    pub(crate) fn run_mut(&mut self, host: Host) -> Option<&mut Run> {
        match &mut self.members[usize::from(host.0)] {
            Some(Member::Up(run)) => Some(run),
            _ => None,
        }
    }

    /// What came for a process that stands still.
    pub(crate) fn inbox_of(&self, host: Host) -> impl Iterator<Item = &Parcel<Message>> {
        let inbox = self.stopped.get(&host).map(|stopped| stopped.inbox.iter());
        inbox.into_iter().flatten().filter_map(|event| match event {
            Event::Arrive(parcel) => Some(parcel),
            _ => None,
        })
    }
}
