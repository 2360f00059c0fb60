//! The witness's process: one machine per lineage, a table of who was heard, and a disk.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use broker::witness::{
    Incarnation, Lineage, ProcessId, Witness, WitnessId, WitnessInput, WitnessOutput,
    WitnessRecord, WitnessRequest,
};

use crate::env::{Env, Message};
use crate::network::{Host, WITNESS};
use crate::plan::Mistake;

/// How long a leader that was heard is protected.
pub const LEASE: Duration = Duration::from_millis(600);

/// Whether a process goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Fate {
    Lives,
    Dies,
}

/// See the module's comment.
#[derive(Debug, Default)]
pub struct WitnessHost {
    disk: BTreeMap<Lineage, WitnessRecord>,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    fresh: WitnessId,
    machines: BTreeMap<Lineage, Witness>,
    heard: Vec<Heard>,
}

/// A process, in the order in which they came.
#[derive(Debug)]
struct Heard {
    member: Incarnation,
    process: ProcessId,
    at: Instant,
}

impl WitnessHost {
    pub fn start(&mut self, env: &mut Env) {
        let fresh = WitnessId(env.uuid());
        let machine = |(lineage, record): (&Lineage, &WitnessRecord)| {
            (*lineage, Witness::new(*lineage, fresh, Some(record.clone())))
        };
        let machines = self.disk.iter().map(machine).collect();
        self.running = Some(Running { fresh, machines, heard: Vec::new() });
        env.say(WITNESS, || "starts".to_owned());
    }

    pub fn crash(&mut self) {
        self.running = None;
    }

    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// The disk is lost; only while the process does not run.
    pub fn forget(&mut self) {
        assert!(self.running.is_none());
        self.disk.clear();
    }

    /// What holds, as the disk has it.
    pub fn record(&self, lineage: Lineage) -> Option<&WitnessRecord> {
        self.disk.get(&lineage)
    }

    pub fn receive(
        &mut self,
        env: &mut Env,
        from: Host,
        (token, request): (u64, WitnessRequest),
    ) -> Fate {
        let now = env.local(WITNESS);
        let Some(running) = &mut self.running else { return Fate::Lives };
        let other_process = running.hear(now, &request);
        let (fresh, lineage) = (running.fresh, request.lineage);
        let machine = running.machines.entry(lineage);
        let machine = machine.or_insert_with(|| Witness::new(lineage, fresh, None));
        let leader = machine.record().configuration().map(|configuration| configuration.leader);
        let leader_heard = leader.is_some_and(|leader| {
            running.heard.iter().any(|heard| heard.member == leader && heard.at + LEASE > now)
        });
        let mut outputs = Vec::new();
        machine.handle(WitnessInput { request, leader_heard, other_process }, &mut outputs);
        for output in outputs {
            match output {
                WitnessOutput::Save(record) => {
                    env.say(WITNESS, || format!("saves {:?}", record.configuration()));
                    if self.save(env, record) == Fate::Dies {
                        return Fate::Dies;
                    }
                }
                WitnessOutput::Answer(answer) => {
                    if let Some(refusal) = &answer.refusal {
                        env.say(WITNESS, || format!("refuses {from}: {refusal:?}"));
                    }
                    env.send_datagram(WITNESS, from, Message::Answer(token, Box::new(answer)));
                }
            }
        }
        Fate::Lives
    }

    fn save(&mut self, env: &mut Env, record: WitnessRecord) -> Fate {
        let crashes = env.plan.faults.crashes_at_saves && env.is_troubled();
        if crashes && env.random.chance(3) {
            return Fate::Dies;
        }
        if env.plan.mistake != Some(Mistake::WitnessForgets) || env.random.chance(50) {
            self.disk.insert(record.lineage, record);
        }
        if crashes && env.random.chance(3) { Fate::Dies } else { Fate::Lives }
    }
}

impl Running {
    /// Notes who is there; whether another process of the same incarnation came before and still
    /// is.
    fn hear(&mut self, now: Instant, request: &WitnessRequest) -> bool {
        self.heard.retain(|heard| heard.at + LEASE > now);
        let (member, process) = (request.member, request.process);
        let other = self.heard.iter().position(|it| it.member == member && it.process != process);
        match self.heard.iter().position(|it| it.member == member && it.process == process) {
            Some(place) => {
                self.heard[place].at = now;
                other.is_some_and(|other| other < place)
            }
            None => {
                self.heard.push(Heard { member, process, at: now });
                other.is_some()
            }
        }
    }
}
