//! One run: all processes of a plan, what happens to them in order, and what must hold.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use broker::witness::Configuration;
use starlog_examples::random::Random;
use store::pair::protocol::Standing;

use crate::appender::Appender;
use crate::clock::{Clock, Moment};
use crate::env::{Env, Event, Message};
use crate::member::{Disk, DiskHealth, Member, Run};
use crate::network::{
    BROKERS, FIRST_CLIENT, Host, MEMBERS, Network, Parcel, WITNESS, Weather, micros,
};
use crate::oracle::{Counters, Oracle};
use crate::plan::{Budget, Plan};
use crate::queue::Queue;
use crate::reader::Reader;
use crate::routing::BrokerHost;
use crate::trace::Trace;
use crate::witness::{Fate, WitnessHost};

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

    // ---- what happens

    fn happen(&mut self, event: Event) {
        let event = match event {
            Event::Arrive(parcel) if self.stopped.contains_key(&parcel.to) => {
                let stopped = self.stopped.get_mut(&parcel.to);
                return stopped.unwrap().inbox.push(Event::Arrive(parcel));
            }
            Event::Synced { host, .. } if self.stopped.contains_key(&host) => {
                return self.stopped.get_mut(&host).unwrap().inbox.push(event);
            }
            Event::Wake(host) if self.stopped.contains_key(&host) => return,
            event => event,
        };
        match event {
            Event::Arrive(parcel) => self.arrive(parcel),
            Event::Wake(host) => self.wake(host),
            Event::Synced { host, life, partition, cuts, fails } => {
                self.synced((host, life), partition, cuts, fails);
            }
            Event::Nemesis => self.trouble(),
            Event::Start(host) => self.start(host),
            Event::Resume(host) => self.resume(host),
            Event::Heal(from, to) => {
                let mut arrivals = Vec::new();
                self.env.network.heal(self.env.now, from, to, &mut arrivals);
                self.env.put(arrivals);
            }
        }
    }

    fn arrive(&mut self, parcel: Parcel<Message>) {
        if !self.env.network.is_current(&parcel) || !self.is_alive(parcel.to) {
            return;
        }
        self.env.note(&parcel);
        let Parcel { from, to, way, generation, message } = parcel;
        match to {
            WITNESS => {
                if let Message::Ask(token, request) = message {
                    let fate = self.witness.receive(&mut self.env, from, (token, *request));
                    self.bury(to, fate);
                }
            }
            host if BROKERS.contains(&host) => {
                if let Message::Dialect(frames) = message {
                    let broker = &mut self.brokers[usize::from(host.0 - BROKERS[0].0)];
                    broker.receive(&mut self.env, (from, generation), frames);
                }
            }
            host if MEMBERS.contains(&host) => {
                self.with_run(host, |run, env| match message {
                    Message::Dialect(frames) => run.hear_broker(env, from, frames),
                    Message::Pair(frames) => run.hear_peer(env, way, &frames),
                    Message::Answer(token, answer) => run.answered(env, token, *answer),
                    Message::Subscribe(partition) => run.subscribed(env, from, partition),
                    Message::Read { partition, request, from: first, epoch } => {
                        run.read(env, from, (partition, request), (first, epoch));
                    }
                    other => panic!("{other:?} for a member"),
                });
            }
            host => self.arrive_at_client(host, from, message),
        }
        self.plan_wake(to);
    }

    fn arrive_at_client(&mut self, host: Host, from: Host, message: Message) {
        let place = usize::from(host.0 - FIRST_CLIENT);
        let env = &mut self.env;
        if let Some(appender) = self.appenders.get_mut(place) {
            if let Message::Dialect(frames) = message {
                appender.receive(env, from, frames);
            }
            return;
        }
        let reader = &mut self.readers[place - self.appenders.len()];
        match message {
            Message::Feed(part) => reader.hear_feed(env, &part),
            Message::Block { request, block, end, head } => {
                reader.hear_block(env, request, &block, (end, head));
            }
            Message::Refused { request, ahead } => reader.hear_refusal(env, request, ahead),
            other => panic!("{other:?} for a reader"),
        }
    }

    fn wake(&mut self, host: Host) {
        let wake_at = &mut self.wake_at[usize::from(host.0)];
        if *wake_at != Some(self.env.now) {
            return;
        }
        *wake_at = None;
        self.env.note(&host);
        self.tick(host);
        self.plan_wake(host);
    }

    fn tick(&mut self, host: Host) {
        let env = &mut self.env;
        match host.0 {
            0 | 1 => self.with_run(host, Run::tick),
            2 => {}
            3 | 4 => self.brokers[usize::from(host.0 - BROKERS[0].0)].tick(env),
            number => {
                let place = usize::from(number - FIRST_CLIENT);
                match self.appenders.get_mut(place) {
                    Some(appender) => appender.tick(env),
                    None => self.readers[place - self.appenders.len()].tick(env),
                }
            }
        }
    }

    fn plan_wake(&mut self, host: Host) {
        let env = &self.env;
        let deadline = match host.0 {
            0 | 1 => self.process(host).and_then(|run| run.deadline(env)),
            2 => None,
            3 | 4 => self.brokers[usize::from(host.0 - BROKERS[0].0)].deadline(env),
            number => {
                let place = usize::from(number - FIRST_CLIENT);
                match self.appenders.get(place) {
                    Some(appender) => appender.deadline(env),
                    None => self.readers[place - self.appenders.len()].deadline(env),
                }
            }
        };
        let wake_at = &mut self.wake_at[usize::from(host.0)];
        if deadline != *wake_at
            && let Some(at) = deadline
        {
            *wake_at = Some(at.max(env.now + Duration::from_micros(1)));
            self.env.queue.put(wake_at.unwrap(), Event::Wake(host));
        }
    }

    fn synced(&mut self, (host, life): (Host, u64), partition: usize, cuts: u64, fails: bool) {
        if self.process(host).is_none_or(|run| run.life != life) {
            return;
        }
        self.env.note(&(host, partition, cuts, fails));
        if fails {
            self.env.oracle.counters.failed_syncs += 1;
            self.env.say(host, || "a sync failed: it ends".to_owned());
            self.crash_for(host, Duration::from_millis(300));
            return;
        }
        self.with_run(host, |run, env| run.synced(env, partition, cuts));
        self.plan_wake(host);
    }

    // ---- processes

    fn start(&mut self, host: Host) {
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

    fn with_run(&mut self, host: Host, does: impl FnOnce(&mut Run, &mut Env)) {
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
    fn bury(&mut self, host: Host, fate: Fate) {
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

    fn resume(&mut self, host: Host) {
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

    // ---- what is the case

    fn is_alive(&self, host: Host) -> bool {
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

    /// Whether both nodes, with the directories that they have now, are members.
    pub(crate) fn is_whole(&self) -> bool {
        let ours: BTreeSet<_> = MEMBERS.map(|host| self.disk(host).incarnation).into();
        let record = self.witness.record(self.disk(MEMBERS[0]).lineage);
        let held = record.and_then(|record| record.configuration());
        held.is_some_and(|held| held.members.iter().copied().collect::<BTreeSet<_>>() == ours)
    }

    /// Everything is repaired and nothing breaks any more.
    fn heal(&mut self) {
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

    /// Whether both members have everything, everybody was told, and nobody waits.
    fn is_well(&self) -> bool {
        let leads = |host: &Host| self.process(*host).is_some_and(Run::is_leading);
        let [Some(leader), None] = ({
            let mut leaders = MEMBERS.into_iter().filter(leads);
            [leaders.next(), leaders.next()]
        }) else {
            return false;
        };
        let other = MEMBERS[usize::from(leader == MEMBERS[0])];
        let follows = self
            .process(other)
            .is_some_and(|run| matches!(run.standing(), Standing::Following { .. }));
        let same = self.disk(leader).logs.iter().zip(&self.disk(other).logs).enumerate();
        let mut same = same.map(|(number, (ours, theirs))| {
            ours.mark() == theirs.mark()
                && ours.committed() == ours.written()
                && theirs.committed() == ours.committed()
                && self.readers.iter().all(|reader| reader.last(number) == ours.committed())
        });
        follows
            && self.is_whole()
            && self.appenders.iter().all(Appender::is_idle)
            && same.all(|same| same)
    }

    /// What must hold at all times, over all processes.
    fn assert_sound(&mut self) {
        for host in MEMBERS {
            let Some(run) = self.process(host) else { continue };
            if let Some(configuration) = run.pair().configuration().cloned() {
                if run.is_leading() {
                    self.assert_copied(host, &configuration);
                }
                let known = self.configurations.entry(configuration.epoch);
                let known = known.or_insert_with(|| configuration.clone());
                assert_eq!(*known, configuration, "two configurations have one epoch");
            }
        }
    }

    /// What a leader shows is on the disk of every member.
    fn assert_copied(&self, leader: Host, configuration: &Configuration) {
        let other = MEMBERS[usize::from(leader == MEMBERS[0])];
        if !configuration.has(self.disk(other).incarnation) {
            return;
        }
        for (ours, theirs) in self.disk(leader).logs.iter().zip(&self.disk(other).logs) {
            let committed = ours.committed();
            let copied = theirs.durable() >= committed;
            assert!(copied, "{committed} is shown and {other} has {}", theirs.durable());
            let same = ours.mark_at(committed) == theirs.mark_at(committed);
            assert!(same, "{committed} is shown and {other} has something else there");
        }
    }

    /// What everybody is, for people.
    fn picture(&self) -> String {
        let mut lines = Vec::new();
        for host in MEMBERS {
            let logs: Vec<String> = self
                .disk(host)
                .logs
                .iter()
                .map(|log| {
                    let (written, durable) = (log.written(), log.durable());
                    format!("{written}/{durable}/{} {:?}", log.committed(), log.rule())
                })
                .collect();
            let standing = self.process(host).map(|run| format!("{:?}", run.standing()));
            let incarnation = self.disk(host).incarnation;
            lines.push(format!("{host} {incarnation:?}: {standing:?}, {}", logs.join(", ")));
        }
        let record = self.witness.record(self.disk(MEMBERS[0]).lineage);
        lines.push(format!("witness: {:?}", record.and_then(|record| record.configuration())));
        let idle: Vec<bool> = self.appenders.iter().map(Appender::is_idle).collect();
        lines.push(format!("clients idle: {idle:?}"));
        let reads = self.readers.iter().map(|reader| reader.last(0));
        lines.push(format!("readers: {:?}", reads.collect::<Vec<_>>()));
        lines.join("\n")
    }
}
