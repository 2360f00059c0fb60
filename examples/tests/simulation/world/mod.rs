//! One run: all processes of a plan, what happens to them in order, and what must hold.

mod happenings;
mod invariants;
mod processes;

use std::collections::BTreeMap;
use std::time::Duration;

use broker::witness::Configuration;
use starlog_examples::random::Random;

use crate::appender::Appender;
use crate::clock::{Clock, Moment};
use crate::env::{Env, Event};
use crate::member::{Disk, Member};
use crate::network::{BROKERS, FIRST_CLIENT, Host, MEMBERS, Network, WITNESS, micros};
use crate::oracle::{Counters, Oracle};
use crate::plan::{Budget, Plan};
use crate::queue::Queue;
use crate::reader::Reader;
use crate::routing::BrokerHost;
use crate::trace::Trace;
use crate::witness::WitnessHost;

/// More events than any run needs.
const EVENTS_MAX: u64 = 3_000_000;
/// How long clients go on appending when everything is well again.
const QUIET_LOAD: Duration = Duration::from_millis(1_500);
/// How long a run goes on after trouble that it cannot recover from.
const AFTERMATH: Duration = Duration::from_secs(8);

/// What a run has shown.
#[derive(Debug, Clone)]
pub struct Report {
    pub digest: u64,
    pub events: u64,
    pub counters: Counters,
}

/// See the module's comment.
pub struct World {
    pub(crate) env: Env,
    members: [Option<Member>; 2],
    witness: WitnessHost,
    brokers: [BrokerHost; 2],
    appenders: Vec<Appender>,
    readers: Vec<Reader>,
    /// When each process next looks at the time.
    wake_at: Vec<Option<Moment>>,
    /// Processes that stand still: since when, until when, and what came meanwhile.
    stopped: BTreeMap<Host, Stopped>,
    lives: u64,
    healed: bool,
    configurations: BTreeMap<u64, Configuration>,
}

#[derive(Debug)]
struct Stopped {
    since: Moment,
    until: Moment,
    inbox: Vec<Event>,
}

impl World {
    pub fn new(plan: Plan, readable: bool) -> Self {
        let hosts = FIRST_CLIENT + plan.clients + plan.readers;
        let random = &mut Random::for_part(plan.seed, 2);
        let drift = i64::try_from(plan.drift_ppm).unwrap();
        let clocks = (0..hosts).map(|_| {
            let beginning = Duration::from_secs(random.below(1_000_000));
            let sign = if random.chance(50) { 1 } else { -1 };
            Clock::new(beginning, sign * drift)
        });
        let mut env = Env {
            now: Duration::ZERO,
            clocks: clocks.collect(),
            queue: Queue::default(),
            network: Network::new(plan.weather.clone(), Random::for_part(plan.seed, 3)),
            random: Random::for_part(plan.seed, 4),
            trace: Trace::new(readable),
            oracle: Oracle::new(plan.partitions),
            plan,
        };
        let disks = [Disk::new(&mut env), Disk::new(&mut env)];
        let mut world = Self {
            env,
            members: disks.map(|disk| Some(Member::Down(Box::new(disk)))),
            witness: WitnessHost::default(),
            brokers: BROKERS.map(BrokerHost::new),
            appenders: Vec::new(),
            readers: Vec::new(),
            wake_at: vec![None; usize::from(hosts)],
            stopped: BTreeMap::new(),
            lives: 0,
            healed: false,
            configurations: BTreeMap::new(),
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        for host in MEMBERS.into_iter().chain(BROKERS).chain([WITNESS]) {
            let at = micros(&mut self.env.random, Duration::from_millis(300));
            self.env.queue.put(at, Event::Start(host));
        }
        let (clients, readers) = (self.env.plan.clients, self.env.plan.readers);
        for number in 0..clients {
            let appender = Appender::new(Host(FIRST_CLIENT + number), &mut self.env);
            self.appenders.push(appender);
        }
        for number in 0..readers {
            let reader = Reader::new(Host(FIRST_CLIENT + clients + number), &mut self.env);
            self.readers.push(reader);
        }
        for number in 0..clients + readers {
            self.plan_wake(Host(FIRST_CLIENT + number));
        }
        self.plan_trouble();
    }

    /// Runs until everything is well again, or must be.
    pub fn run(mut self) -> Report {
        while let Some((at, event)) = self.env.queue.take() {
            self.env.now = at;
            assert!(self.env.trace.events() < EVENTS_MAX, "too much happens: a loop?");
            self.happen(event);
            self.assert_sound();
            if !self.healed && !self.env.is_troubled() {
                self.heal();
            }
            if self.healed && self.is_over() {
                return self.finish();
            }
        }
        unreachable!("clocks go on for ever")
    }

    fn is_over(&mut self) -> bool {
        let now = self.env.now;
        let trouble = self.env.plan.trouble;
        match self.env.plan.budget {
            Budget::Excessive => now > trouble + AFTERMATH,
            Budget::Survivable => {
                let well = now > trouble + QUIET_LOAD && self.is_well();
                let late = now > trouble + self.env.plan.recovery;
                assert!(well || !late, "it does not recover:\n{}", self.picture());
                well
            }
        }
    }

    fn finish(mut self) -> Report {
        for reader in &self.readers {
            self.env.oracle.counters.gaps_repaired += reader.gaps_repaired();
        }
        for appender in &self.appenders {
            appender.assert_in_order();
        }
        if self.env.plan.budget == Budget::Survivable {
            self.env.oracle.counters.recovered += 1;
            for host in MEMBERS {
                let verdict = self.env.oracle.verdict(&self.disk(host).logs);
                assert!(verdict.holds(), "{host}: {:?}", verdict.violations);
            }
        }
        let Env { trace, oracle, .. } = self.env;
        Report { digest: trace.digest(), events: trace.events(), counters: oracle.counters }
    }
}
