//! A member's process: the shipped machines of a pair, and around them what the store's loops do.
//!
//! ```text
//!   timers, heartbeats, witness ─> Pair ─────────┐ rule, standing           (deciding)
//!   peer's stream ─> Leader, Follower ───────────┼─> Partition ─> SimDisk   (copying)
//!   brokers ─> WorkerLink ─> SessionTable ───────┘        │                 (serving)
//!                                                         └─> feed, replay  (feeding)
//! ```

mod copying;
mod deciding;
mod feeding;
mod serving;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use broker::witness::{Incarnation, Lineage, PartitionName, ProcessId, Sequences};
use starlog_examples::random::Random;
use store::Durability;
use store::pair::lease::Lease;
use store::pair::machine::Pair;
use store::pair::protocol::{Input, PairRecord, PairSetup, Role, Standing, Timer};
use store::pair::replication::{FollowerInput, Leader, LeaderInput};

use self::copying::FollowerSide;
pub use self::feeding::FEED_HEARTBEAT;
use self::serving::{Serving, Token};
use crate::clock::Moment;
use crate::engine::Partition;
use crate::env::Env;
use crate::network::{Host, MEMBERS};
use crate::witness::Fate;

/// Timings of the pair, as they are by default; what takes a minute there takes seconds here.
pub const HEARTBEAT: Duration = Duration::from_millis(100);
const FOLLOWER_PATIENCE: Duration = Duration::from_millis(400);
const LEADER_PATIENCE: Duration = Duration::from_millis(600);
const SETTLED: Duration = Duration::from_secs(5);
const GROW_MAX: Duration = Duration::from_secs(4);
/// A sync that takes longer makes a leader hand over.
const STALL: Duration = Duration::from_secs(1);

/// What survives a process.
#[derive(Debug)]
pub struct Disk {
    pub incarnation: Incarnation,
    pub lineage: Lineage,
    pub epoch: u64,
    pub record: PairRecord,
    pub logs: Vec<Partition<Token>>,
}

impl Disk {
    /// A directory that was just made.
    pub fn new(env: &mut Env) -> Self {
        Self {
            incarnation: Incarnation(env.uuid()),
            lineage: Lineage(env.uuid()),
            epoch: 0,
            record: PairRecord::default(),
            logs: (0..env.plan.partitions).map(|_| Partition::default()).collect(),
        }
    }

    fn durable(&self) -> Sequences {
        self.logs.iter().enumerate().map(|(n, log)| (name(n), log.durable())).collect()
    }

    fn held(&self) -> Sequences {
        self.logs.iter().enumerate().map(|(n, log)| (name(n), log.held())).collect()
    }
}

/// How bad a member's disk is at the moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct DiskHealth {
    /// Syncs take that much longer.
    pub slow: Option<Duration>,
    /// The next sync fails.
    pub fails: bool,
}

/// One of the two nodes.
pub enum Member {
    Down(Box<Disk>),
    Up(Box<Run>),
}

impl Member {
    pub fn disk(&self) -> &Disk {
        match self {
            Self::Down(disk) => disk,
            Self::Up(run) => &run.disk,
        }
    }

    pub fn run(&self) -> Option<&Run> {
        match self {
            Self::Up(run) => Some(run),
            Self::Down(_) => None,
        }
    }

    /// Ends the process; what was not synced is lost, all or in part.
    pub fn crash(self, random: &mut Random) -> Self {
        let Self::Up(run) = self else { return self };
        let mut disk = run.disk;
        for log in &mut disk.logs {
            log.crash(random);
        }
        Self::Down(Box::new(disk))
    }
}

/// The peer whose handshake was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Peer {
    process: ProcessId,
    incarnation: Incarnation,
    /// Newest token that it sent.
    token: u64,
    heard_at: Instant,
}

/// What is still to be done before time goes on.
#[derive(Debug)]
enum Work {
    Pair(Input),
    Lead(LeaderInput),
    Follow(FollowerInput),
}

/// How far a partition was when everybody was last told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Told {
    written: u64,
    durable: u64,
    committed: u64,
}

/// A process that runs.
pub struct Run {
    pub host: Host,
    pub life: u64,
    pub disk: Disk,
    pub health: DiskHealth,
    process: ProcessId,
    pair: Pair,
    lease: Lease<u64>,
    timers: BTreeMap<Timer, Instant>,
    peer: Option<Peer>,
    /// Whether the peer's present process has accepted us.
    welcomed: bool,
    hello_at: Instant,
    leader: Option<Leader>,
    follower: Option<FollowerSide>,
    /// Epoch in which this leader began with its present follower.
    leading_since: u64,
    /// Epoch in which the log was found to agree with the leader's.
    aligned: u64,
    leading: bool,
    /// Whether appends are taken.
    intake: bool,
    /// Epoch whose first records are written.
    topology_of: u64,
    told: Vec<Told>,
    logs_told: (Sequences, Sequences),
    syncing_since: Vec<Option<Instant>>,
    stalled: bool,
    work: VecDeque<Work>,
    serving: Serving,
    /// Newest sequence that the feed brought, by partition.
    fed: Vec<u64>,
    feed_beat_at: Instant,
    fate: Fate,
    pub halted: Option<String>,
}

impl Run {
    pub fn start(host: Host, life: u64, mut disk: Disk, env: &mut Env) -> Self {
        let now = env.local(host);
        for log in &mut disk.logs {
            drop(log.follow(disk.epoch));
        }
        let process = ProcessId(env.uuid());
        let setup = PairSetup {
            me: disk.incarnation,
            process,
            lineage: disk.lineage,
            epoch: disk.epoch,
            role: if host == MEMBERS[0] { Role::Primary } else { Role::Backup },
            level: Durability::Pair,
            copies_min: env.plan.copies_min,
            brings_data: disk.logs.iter().any(|log| log.written() > 0),
            durable: disk.durable(),
            held: disk.held(),
        };
        let pair = Pair::new(setup, disk.record.clone());
        let partitions = disk.logs.len();
        let mut run = Self {
            host,
            life,
            health: DiskHealth::default(),
            process,
            pair,
            lease: Lease::new(LEADER_PATIENCE / 2),
            timers: BTreeMap::new(),
            peer: None,
            welcomed: false,
            hello_at: now,
            leader: None,
            follower: None,
            leading_since: 0,
            aligned: 0,
            leading: false,
            intake: false,
            topology_of: 0,
            told: vec![Told::default(); partitions],
            logs_told: (Sequences::new(), Sequences::new()),
            syncing_since: vec![None; partitions],
            stalled: false,
            work: VecDeque::new(),
            serving: Serving::new(now, partitions),
            fed: vec![0; partitions],
            feed_beat_at: now,
            fate: Fate::Lives,
            halted: None,
            disk,
        };
        env.say(host, || format!("starts as {:?} {:?}", run.disk.incarnation, run.disk.record));
        run.do_work(env, Work::Pair(Input::Start));
        run.serving_starts(env);
        run.settle(env);
        run
    }

    fn now(&self, env: &Env) -> Instant {
        env.local(self.host)
    }

    fn other(&self) -> Host {
        MEMBERS[usize::from(self.host == MEMBERS[0])]
    }

    pub fn fate(&self) -> Fate {
        self.fate
    }

    pub fn is_leading(&self) -> bool {
        self.leading
    }

    pub fn standing(&self) -> &Standing {
        self.pair.standing()
    }

    pub fn pair(&self) -> &Pair {
        &self.pair
    }

    pub fn deadline(&self, env: &Env) -> Option<Moment> {
        let stall = self.syncing_since.iter().flatten().map(|since| *since + STALL).min();
        let stall = stall.filter(|_| self.leading && !self.stalled);
        let timers = self.timers.values().min().copied();
        let hello = (!self.welcomed).then_some(self.hello_at);
        let feed = Some(self.feed_beat_at);
        let all = [stall, timers, hello, feed, self.serving.deadline()];
        crate::appender::earliest(all).map(|at| env.moment_of(self.host, at))
    }

    pub fn tick(&mut self, env: &mut Env) {
        let now = self.now(env);
        while let Some(timer) = self.elapsed_timer(now) {
            self.timers.remove(&timer);
            if timer == Timer::Beat {
                self.do_work(env, Work::Lead(LeaderInput::Tick));
            }
            self.do_work(env, Work::Pair(Input::Elapsed(timer)));
            if self.fate == Fate::Dies {
                return;
            }
        }
        if !self.welcomed && self.hello_at <= now {
            self.hello_at = now + HEARTBEAT;
            self.say_hello(env);
        }
        let stalls = self.syncing_since.iter().flatten().any(|since| *since + STALL <= now);
        if stalls && self.leading && !std::mem::replace(&mut self.stalled, true) {
            self.do_work(env, Work::Pair(Input::DiskStalled));
        }
        self.serving_tick(env);
        self.feed_tick(env);
        self.settle(env);
    }

    fn elapsed_timer(&self, now: Instant) -> Option<Timer> {
        let due = self.timers.iter().filter(|(_, at)| **at <= now);
        due.min_by_key(|(timer, at)| (**at, **timer)).map(|(timer, _)| *timer)
    }

    /// A person asks for it.
    pub fn hand_over(&mut self, env: &mut Env) {
        self.do_work(env, Work::Pair(Input::HandOver));
        self.settle(env);
    }

    /// A sync has ended.
    pub fn synced(&mut self, env: &mut Env, partition: usize, cuts: u64) {
        self.disk.logs[partition].synced(cuts);
        self.syncing_since[partition] = None;
        if self.syncing_since.iter().all(Option::is_none) {
            self.stalled = false;
        }
        self.settle(env);
    }

    /// Does something and all that follows from it at once.
    fn do_work(&mut self, env: &mut Env, work: Work) {
        self.work.push_back(work);
        self.work_off(env);
    }

    fn work_off(&mut self, env: &mut Env) {
        while let Some(work) = self.work.pop_front() {
            if self.fate == Fate::Dies {
                self.work.clear();
                return;
            }
            match work {
                Work::Pair(input) => self.give_pair(env, input),
                Work::Lead(input) => self.give_leader(env, input),
                Work::Follow(input) => self.give_follower(env, input),
            }
        }
    }

    /// Begins syncs, and tells everybody how far the logs are, until nothing moves any more.
    fn settle(&mut self, env: &mut Env) {
        while self.fate == Fate::Lives {
            self.open_intake(env);
            let mut moved = false;
            for number in 0..self.disk.logs.len() {
                self.begin_sync(env, number);
                let log = &self.disk.logs[number];
                let told = Told {
                    written: log.written(),
                    durable: log.durable(),
                    committed: log.committed(),
                };
                let before = std::mem::replace(&mut self.told[number], told);
                if told != before {
                    moved = true;
                    self.log_moved(env, number, before, told);
                }
                self.say_answers(env, number);
            }
            if !moved {
                return;
            }
        }
    }

    fn begin_sync(&mut self, env: &mut Env, number: usize) {
        let Some(cuts) = self.disk.logs[number].begin_sync() else { return };
        self.syncing_since[number] = Some(env.local(self.host));
        let (least, most) = env.plan.sync;
        let time = least + crate::network::micros(&mut env.random, most - least);
        let at = env.now + time + self.health.slow.unwrap_or_default();
        let fails = std::mem::take(&mut self.health.fails);
        let (host, life) = (self.host, self.life);
        env.queue.put(at, crate::env::Event::Synced { host, life, partition: number, cuts, fails });
    }

    fn log_moved(&mut self, env: &mut Env, number: usize, before: Told, told: Told) {
        let log = &self.disk.logs[number];
        log.assert_sound();
        let from = before.committed.min(told.committed);
        if self.leading {
            env.oracle.commits(self.disk.incarnation.0, number, log, from);
        } else {
            env.oracle.shows(number, log, from);
        }
        let Told { written, durable, committed } = told;
        if self.leader.is_some() {
            let partition = name(number);
            self.do_work(env, Work::Lead(LeaderInput::Moved { partition, written, committed }));
        }
        if self.follower.is_some() {
            let partition = name(number);
            self.do_work(env, Work::Follow(FollowerInput::Moved { partition, written, durable }));
        }
        self.feed(env, number);
    }
}

/// What the members call a partition among themselves.
pub fn name(partition: usize) -> PartitionName {
    PartitionName(format!("orders/{partition}"))
}

/// The place of a partition.
fn number(name: &PartitionName) -> usize {
    name.0.rsplit('/').next().unwrap().parse().unwrap()
}
