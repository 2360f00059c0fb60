//! A pair under load that something is done to, and the proof afterwards.

use std::{
    path::Path,
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use client::{Client, StoreHandle};
use starlog_examples::{
    clock::{Deadline, now},
    faults::{SIDES, Side, StoreId, Target},
    history::{Acknowledged, History, Verdict},
    link::{Direction, Link},
    orders::OrderDesk,
    probe::ProbeError,
    quickstart::{
        load::{Appender, LoadError},
        meter::Meter,
        verify::Replay,
    },
    topology::{PairView, STORE, Topology, TopologyConfig, TopologyError, links::StoreLinks},
};
use store::{Durability, disk::FileDisk, verify};

use super::listener::Listener;
use crate::program::QUICKSTART;

/// How long anything may take that has to happen.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// Longer than all timeouts of a pair together: what has not happened by then does not happen.
const LONG: Duration = Duration::from_secs(3);
/// Longer than a failover or a shrink takes: enough to see that none happens.
const A_WHILE: Duration = Duration::from_millis(1_500);
/// No answer for that long: what was under way has been answered.
const SILENCE: Duration = Duration::from_millis(500);
/// Events that every partition acknowledges before appends are said to go on.
const PROGRESS_EVENTS: u64 = 20;
/// Appending threads.
const DESKS: u64 = 2;
/// Appends that each of them keeps under way.
const WINDOW: usize = 16;
/// Pause between two appends of a thread: a load, and not the measure of a machine.
const PACE: Duration = Duration::from_millis(2);
/// Partitions of the pair.
const PARTITIONS: u16 = 2;
/// Lines of a child's log that a failure shows.
const LOG_LINES: usize = 25;

/// What is started, where it differs from the usual.
#[derive(Clone)]
pub struct Setup {
    pub brokers: usize,
    pub durability: Durability,
    pub store_flags: Vec<&'static str>,
}

impl Default for Setup {
    fn default() -> Self {
        // A pair that has just been whole may grow again at once: a test does not wait for that.
        let store_flags = vec!["--grow-backoff", "0s"];
        Self { brokers: 1, durability: Durability::Pair, store_flags }
    }
}

/// A pair with its witness, a load and a subscription.
pub struct Trial {
    pub topology: Topology,
    pub meter: Arc<Meter>,
    orders: StoreHandle,
    listener: Listener,
    load: Vec<JoinHandle<Result<Vec<Acknowledged>, LoadError>>>,
    folder: Option<tempfile::TempDir>,
}

/// A node of the only pair.
pub const fn node(side: Side) -> Target {
    Target::Store(id(side))
}

/// The same as a store process.
pub const fn id(side: Side) -> StoreId {
    StoreId { pair: 0, side }
}

/// The configuration of a topology with one pair.
pub fn config(data: &Path, setup: &Setup) -> TopologyConfig {
    TopologyConfig {
        program: QUICKSTART.into(),
        data: data.to_owned(),
        listen: "tcp://127.0.0.1:*".parse().unwrap(),
        brokers: setup.brokers,
        hosted: vec![0..=PARTITIONS - 1],
        copies: 2,
        durability: setup.durability,
        commands: false,
        links: true,
        store_flags: setup.store_flags.iter().map(ToString::to_string).collect(),
        seed: 1,
        drop_one_in: 0,
        segment_bytes: 1 << 20,
        projections: Vec::new(),
    }
}

impl Trial {
    /// A pair that is whole and acknowledges.
    pub fn start() -> Self {
        Self::with(&Setup::default())
    }

    pub fn with(setup: &Setup) -> Self {
        let folder = tempfile::Builder::new().prefix("starlog-pair-").tempdir().unwrap();
        let topology = Topology::start(config(folder.path(), setup));
        let topology = topology.unwrap_or_else(|error| {
            show_logs(folder.path());
            panic!("{error}");
        });
        let orders = topology.client().store(STORE).unwrap();
        let meter = Arc::new(Meter::new(u64::MAX));
        let load = (0..DESKS).map(|desk| append(desk, orders.clone(), Arc::clone(&meter)));
        let load = load.collect();
        let listener = Listener::start(&orders);
        let mut trial = Self { topology, meter, orders, listener, load, folder: Some(folder) };
        trial.wait_progress();
        trial
    }

    /// The folder of everything.
    pub fn data(&self) -> &Path {
        &self.topology.config().data
    }

    /// A client of its own.
    pub fn client(&self) -> Client {
        Client::connect([self.topology.endpoint().as_str()]).unwrap()
    }

    /// The side that leads now.
    pub fn leader(&mut self) -> Side {
        self.topology.leader(0, PATIENCE).unwrap().side
    }

    /// Which data a node has, as it says itself.
    pub fn incarnation(&mut self, side: Side) -> String {
        let view = self.wait_pair("answering", |view| view.nodes.contains_key(&side));
        view.nodes[&side].incarnation.clone()
    }

    pub fn kill(&mut self, side: Side) {
        self.topology.kill(node(side)).unwrap();
    }

    pub fn restart(&mut self, side: Side) {
        self.topology.restart(node(side)).unwrap();
    }

    pub fn links(&self, side: Side) -> &StoreLinks {
        self.topology.links(id(side)).unwrap()
    }

    /// Both links between the two nodes.
    pub fn peer_links(&self) -> [&Link; 2] {
        SIDES.map(|side| self.links(side).peer.as_ref().unwrap())
    }

    pub fn witness_link(&self, side: Side) -> &Link {
        self.links(side).witness.as_ref().unwrap()
    }

    /// What `side` says does not reach the other node, which is heard as before.
    pub fn hold_peer_from(&self, side: Side) {
        self.links(side).peer.as_ref().unwrap().hold(Direction::Out);
        self.links(side.other()).peer.as_ref().unwrap().hold(Direction::Back);
    }

    /// Heals every link.
    pub fn heal(&self) {
        SIDES.iter().flat_map(|&side| self.links(side).all()).for_each(Link::heal);
    }

    /// Waits until every partition has acknowledged more than it had when this was called.
    pub fn wait_progress(&mut self) -> Instant {
        let events = |meter: &Meter, partition: u16| -> u64 {
            let reigns = meter.reigns().into_iter();
            reigns.filter(|((of, _), _)| *of == partition).map(|(_, reign)| reign.events).sum()
        };
        let before: Vec<u64> = (0..PARTITIONS).map(|number| events(&self.meter, number)).collect();
        let wanted = |number: &u16| {
            events(&self.meter, *number) >= before[usize::from(*number)] + PROGRESS_EVENTS
        };
        let went_on = Deadline::after(PATIENCE).wait_for(|| {
            self.topology.check_alive().unwrap_or_else(|error| panic!("{error}"));
            (0..PARTITIONS).all(|number| wanted(&number)).then(now)
        });
        went_on.unwrap_or_else(|| {
            panic!("appends do not go on; the pair: {}", self.topology.view(0));
        })
    }

    /// Waits until the pair is as wanted.
    pub fn wait_pair(&mut self, awaited: &str, is_so: impl Fn(&PairView) -> bool) -> PairView {
        let waited = self.topology.wait_pair(0, (awaited, PATIENCE), is_so);
        waited.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Waits until this side leads with so many members and appends go on.
    pub fn wait_led_by(&mut self, side: Side, members: usize) {
        let is_so = |view: &PairView| view.leader() == Some(side) && view.members() == members;
        self.wait_pair(&format!("led by {side:?} with {members} members"), is_so);
        self.wait_progress();
    }

    /// Makes this side the leader. A pair that is just changing refuses, and is asked again.
    pub fn hand_over_to(&mut self, side: Side) {
        let led = Deadline::after(PATIENCE).wait_for(|| {
            let leader = self.leader();
            if leader == side {
                return Some(());
            }
            let refused = self.topology.hand_over(id(leader), PATIENCE).err()?;
            let is_refusal = matches!(
                refused,
                TopologyError::Probe(ProbeError::Refused { .. } | ProbeError::Silent(_))
            );
            assert!(is_refusal, "{refused}");
            None
        });
        assert_eq!(led, Some(()), "{side:?} never leads: {}", self.topology.view(0));
        self.wait_led_by(side, 2);
    }

    /// Waits until both nodes are members and appends go on.
    pub fn wait_whole(&mut self) {
        self.wait_pair("whole", |view| view.members() == 2);
        self.wait_progress();
    }

    /// Watches that the pair is so, and remains so for longer than a change would take.
    pub fn wait_stays(&mut self, is_so: impl Fn(&PairView) -> bool) {
        let changed = Deadline::after(A_WHILE).wait_for(|| {
            let view = self.topology.view(0);
            (!is_so(&view)).then_some(view)
        });
        assert!(changed.is_none(), "the pair has changed: {}", changed.unwrap_or_default());
    }

    /// Waits until this side knows that it leads no more, by whatever it still hears.
    pub fn wait_deposed(&mut self, side: Side) {
        let leads = |view: &PairView| {
            let partitions = view.nodes.get(&side).map(|node| node.partitions.as_slice());
            partitions.unwrap_or_default().iter().any(|partition| partition.leader)
        };
        self.wait_pair("led by one", |view| view.nodes.contains_key(&side) && !leads(view));
    }

    /// Once answers that were under way have come, there are none for longer than any time-out.
    pub fn expect_silence(&self) {
        let silent = || self.nothing_acknowledged_for(SILENCE).then_some(());
        assert_eq!(Deadline::after(PATIENCE).wait_for(silent), Some(()), "answers go on");
        assert!(self.nothing_acknowledged_for(LONG), "something is acknowledged");
    }

    fn nothing_acknowledged_for(&self, time: Duration) -> bool {
        let before = self.meter.acknowledged();
        let moved = || (self.meter.acknowledged() != before).then_some(());
        Deadline::after(time).wait_for(moved).is_none()
    }

    /// Ends the load and holds everything against everything: what was acknowledged, both logs,
    /// the subscription. Every process has to end well, and every file has to be clean.
    pub fn prove(mut self) -> Verdict {
        self.heal();
        self.wait_whole();
        self.meter.finish();
        let mut history = History::default();
        for thread in self.load.drain(..) {
            let appends = thread.join().unwrap().unwrap_or_else(|error| panic!("{error}"));
            appends.into_iter().for_each(|append| history.acknowledge(append));
        }
        let logs = self.topology.both_logs(0, PATIENCE).unwrap_or_else(|error| panic!("{error}"));
        let replay = Replay::read(&self.orders, &[]).unwrap();
        let given = self.listener.until(&replay.heads, PATIENCE);
        let mut verdict = history.check(&replay.log);
        for (partition, [one, other]) in logs {
            verdict.compare_nodes(partition, [&one, &other]);
        }
        verdict.check_delivery(&replay.log, &given);
        let broken: Vec<String> = verdict.violations.iter().map(ToString::to_string).collect();
        assert!(verdict.holds(), "{:?}:\n{}", verdict.counts, broken.join("\n"));
        assert!(verdict.acknowledged > 0 && verdict.of_system > 0, "{verdict:?}");
        self.stop_and_check_files();
        verdict
    }

    fn stop_and_check_files(&mut self) {
        for side in [self.leader().other(), self.leader()] {
            self.topology.terminate(node(side)).unwrap_or_else(|error| panic!("{error}"));
        }
        let disk: Arc<dyn store::disk::Disk> = Arc::new(FileDisk);
        for side in SIDES {
            let data = self.topology.config().store_folder(id(side));
            for folder in verify::partition_folders(&*disk, &data).unwrap() {
                let report = verify::verify_partition(&disk, &folder).unwrap();
                assert_eq!(report.verdict(), verify::Verdict::Clean, "{report}");
            }
        }
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        self.meter.abort();
        if std::thread::panicking()
            && let Some(folder) = self.folder.take()
        {
            let kept = folder.keep();
            eprintln!("the pair says: {}; data in {}", self.topology.view(0), kept.display());
            show_logs(&kept);
        }
    }
}

/// Starts a thread that appends until the meter says that it is over.
fn append(
    number: u64,
    orders: StoreHandle,
    meter: Arc<Meter>,
) -> JoinHandle<Result<Vec<Acknowledged>, LoadError>> {
    std::thread::spawn(move || {
        let desk = OrderDesk::new(7, (number, DESKS), WINDOW + 1)?.until(u64::MAX);
        let paced = desk.inspect(|_| std::thread::sleep(PACE));
        Appender::new(orders, &meter, WINDOW).run(paced)
    })
}

/// The last words of every child, for a failed test.
pub fn show_logs(data: &Path) {
    for log in std::fs::read_dir(data.join("logs")).into_iter().flatten().flatten() {
        let text =
            String::from_utf8_lossy(&std::fs::read(log.path()).unwrap_or_default()).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        let last = lines.get(lines.len().saturating_sub(LOG_LINES)..).unwrap_or_default();
        eprintln!("--- {}\n{}", log.path().display(), last.join("\n"));
    }
}
