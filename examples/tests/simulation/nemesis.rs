//! What goes wrong, and when; never more at once than the budget of the run allows.

use std::time::Duration;

use broker::witness::Ask;

use crate::clock::Moment;
use crate::env::{Env, Event, Message};
use crate::member::Run;
use crate::network::{BROKERS, Host, MEMBERS, WITNESS, micros};
use crate::plan::{Budget, Faults};
use crate::world::World;

/// Something that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Crash(Host),
    Pause(Host),
    /// Nothing gets through, in one direction or both.
    Cut(Host, Host, bool),
    /// A member reaches neither its peer nor the witness; brokers it does.
    Isolate(Host),
    /// A member's process ends, and its directory is lost.
    Wipe(Host),
    /// The witness's process ends, and its directory is lost.
    Amnesia,
    SlowDisk(Host),
    FailingDisk(Host),
    HandOver,
}

/// How long a process is down before its wiped directory is used again: nothing that it sent is
/// on its way any more.
const BEFORE_WIPE: Duration = Duration::from_millis(50);

impl World {
    /// The first thing goes wrong after the pair has had some time, or none.
    pub(crate) fn plan_trouble(&mut self) {
        let pause = self.env.plan.fault_pause;
        let at = micros(&mut self.env.random, pause);
        self.env.queue.put(at, Event::Nemesis);
    }

    /// Lets one thing go wrong and plans the next.
    pub(crate) fn trouble(&mut self) {
        if !self.env.is_troubled() {
            return;
        }
        let faults = kinds(&self.env.plan.faults);
        if let Some(kind) = self.env.random.choose(&faults).copied() {
            let fault = self.aim(kind);
            self.strike(fault);
        }
        let pause = self.env.plan.fault_pause;
        // Often two things go wrong almost at once.
        let close = self.env.random.chance(30);
        let next = if close { Duration::from_millis(20) } else { pause };
        let at = self.env.now + micros(&mut self.env.random, next);
        self.env.queue.put(at, Event::Nemesis);
    }

    /// Says whom it hits.
    fn aim(&mut self, kind: Kind) -> Fault {
        let leader =
            MEMBERS.into_iter().find(|host| self.process(*host).is_some_and(Run::is_leading));
        let env = &mut self.env;
        // A leader has more to lose.
        let member = match leader.filter(|_| env.random.chance(40)) {
            Some(leader) => leader,
            None => MEMBERS[usize::from(env.random.chance(50))],
        };
        let broker = BROKERS[usize::from(env.random.chance(50))];
        match kind {
            Kind::CrashMember => Fault::Crash(member),
            Kind::PauseMember => Fault::Pause(member),
            Kind::Cut => {
                let other = match env.random.below(10) {
                    0..=3 => MEMBERS[usize::from(member == MEMBERS[0])],
                    4..=7 => WITNESS,
                    _ => broker,
                };
                let both = env.random.chance(60);
                if env.random.chance(50) {
                    Fault::Cut(member, other, both)
                } else {
                    Fault::Cut(other, member, both)
                }
            }
            Kind::Isolate => Fault::Isolate(member),
            Kind::Wipe => Fault::Wipe(member),
            Kind::SlowDisk => Fault::SlowDisk(member),
            Kind::FailingDisk => Fault::FailingDisk(member),
            Kind::CrashWitness => Fault::Crash(WITNESS),
            Kind::PauseWitness => Fault::Pause(WITNESS),
            Kind::Amnesia => Fault::Amnesia,
            Kind::CrashBroker => Fault::Crash(broker),
            Kind::HandOver => Fault::HandOver,
        }
    }

    fn strike(&mut self, fault: Fault) {
        let now = self.env.now;
        self.env.trace.say(now, || format!("--------- {fault:?}"));
        match fault {
            Fault::Crash(host) => self.crash(host),
            Fault::Pause(host) => self.pause(host),
            Fault::Cut(from, to, both) => {
                let until = now + short_or_long(&mut self.env);
                self.env.network.cut(from, to);
                self.env.queue.put(until, Event::Heal(from, to));
                if both {
                    self.env.network.cut(to, from);
                    let later = until + micros(&mut self.env.random, Duration::from_millis(500));
                    self.env.queue.put(later, Event::Heal(to, from));
                }
            }
            Fault::Isolate(host) => {
                let until = now + short_or_long(&mut self.env);
                let other = MEMBERS[usize::from(host == MEMBERS[0])];
                for (from, to) in [(host, other), (other, host), (host, WITNESS), (WITNESS, host)] {
                    self.env.network.cut(from, to);
                    let later = until + micros(&mut self.env.random, Duration::from_millis(500));
                    self.env.queue.put(later, Event::Heal(from, to));
                }
            }
            Fault::Wipe(host) => {
                self.crash_for(host, BEFORE_WIPE);
                if self.may_wipe(host) {
                    self.wipe(host);
                }
            }
            Fault::Amnesia => {
                if self.may_forget() {
                    self.crash_for(WITNESS, Duration::from_millis(200));
                    self.forget();
                }
            }
            Fault::SlowDisk(host) => {
                let slow = Duration::from_millis(self.env.random.between(10, 2_500));
                let slow = Some(slow).filter(|_| self.env.random.chance(70));
                if let Some(run) = self.run_mut(host) {
                    run.health.slow = slow;
                }
            }
            Fault::FailingDisk(host) => {
                if let Some(run) = self.run_mut(host) {
                    run.health.fails = true;
                }
            }
            Fault::HandOver => self.hand_over(),
        }
    }

    fn crash(&mut self, host: Host) {
        let down = short_or_long(&mut self.env);
        self.crash_for(host, down);
    }

    fn pause(&mut self, host: Host) {
        let still = short_or_long(&mut self.env);
        self.stop(host, self.env.now + still);
    }

    /// Whether a copy of everything would be left in a node that may lead.
    fn may_wipe(&self, host: Host) -> bool {
        let other = MEMBERS[usize::from(host == MEMBERS[0])];
        match self.env.plan.budget {
            // What never belonged to the pair cannot be told from a new directory.
            Budget::Excessive => self.disk(other).record.configuration.is_some(),
            Budget::Survivable => self.is_whole() && !self.shrinks_to(host),
        }
    }

    fn may_forget(&self) -> bool {
        let both = MEMBERS.iter().all(|host| self.disk(*host).record.configuration.is_some());
        match self.env.plan.budget {
            Budget::Excessive => both,
            Budget::Survivable => both && self.is_whole(),
        }
    }

    /// Whether a proposal is on its way by which this node would be the only member.
    fn shrinks_to(&self, host: Host) -> bool {
        let incarnation = self.disk(host).incarnation;
        let shrinks = |message: &Message| match message {
            Message::Ask(_, request) => match &request.ask {
                Ask::Propose { next, .. } => next.members == [incarnation],
                _ => false,
            },
            _ => false,
        };
        self.env
            .queue
            .iter()
            .any(|event| matches!(event, Event::Arrive(parcel) if shrinks(&parcel.message)))
            || self.inbox_of(WITNESS).any(|parcel| shrinks(&parcel.message))
    }
}

/// What may happen in a run, to choose from.
fn kinds(faults: &Faults) -> Vec<Kind> {
    let rows = [
        (faults.crashes, Kind::CrashMember),
        (faults.pauses, Kind::PauseMember),
        (faults.cuts, Kind::Cut),
        (faults.cuts, Kind::Cut),
        (faults.cuts, Kind::Isolate),
        (faults.wipes, Kind::Wipe),
        (faults.slow_disks, Kind::SlowDisk),
        (faults.failing_disks, Kind::FailingDisk),
        (faults.witness_crashes, Kind::CrashWitness),
        (faults.amnesia, Kind::Amnesia),
        (faults.broker_crashes, Kind::CrashBroker),
        (faults.pauses && faults.witness_crashes, Kind::PauseWitness),
        (faults.handovers, Kind::HandOver),
    ];
    rows.into_iter().filter(|(on, _)| *on).map(|(_, kind)| kind).collect()
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    CrashMember,
    PauseMember,
    Cut,
    Isolate,
    Wipe,
    SlowDisk,
    FailingDisk,
    CrashWitness,
    PauseWitness,
    Amnesia,
    CrashBroker,
    HandOver,
}

/// Faults are short or long, seen from the pair's patience.
fn short_or_long(env: &mut Env) -> Moment {
    let longest = if env.random.chance(50) { 500 } else { 4_000 };
    Duration::from_millis(env.random.between(10, longest))
}
