//! Starts the loops in order, and stops them in order.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use broker::dialect::LinkSettings;
use broker::net::{self, BindError, Endpoint, Stop};
use broker::process::{self, Running, announce};
use thiserror::Error;

use super::admin::{AdminError, AdminLoop};
use super::append::{AppendLoop, AppendLoopError, AppendSettings};
use super::config::{Config, ConfigError};
use super::data_disk::DataDisk;
use super::directory::Directory;
use super::feed::{self, FeedError, FeedLoop};
use super::lifecycle::{Fatal, Lifecycle};
use super::reading::ReadThread;
use super::reign::Reign;
use super::replay::{self, ReplayError, ReplayLoop};
use super::units::StoreSpec;
use super::{Identity, Places};
use crate::pair::{PairError, PairLoop, PairShared};
use crate::{Node, OpenError, Store, StoreError};

/// Why a process could not start serving.
#[derive(Debug, Error)]
pub enum StartError {
    /// The configuration contradicts itself.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data directory can't be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A store can't be served as asked.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// None of the hosted partitions can be served; the first reason.
    #[error("no partition can be served. The first one, {store}/{partition}: {problem}")]
    NothingLeft {
        /// The store.
        store: String,
        /// The partition.
        partition: u16,
        /// What is wrong.
        problem: Arc<OpenError>,
    },
    /// A partition can't be served, which in a pair is too many: its node may come to lead.
    #[error(
        "{store}/{partition} cannot be served ({problem}), and a node of a pair needs all of its \
         partitions: repair it, or start with an empty --data, which is filled by the other node"
    )]
    Unsound {
        /// The store.
        store: String,
        /// The partition.
        partition: u16,
        /// What is wrong.
        problem: Arc<OpenError>,
    },
    /// The pair's part can't be started.
    #[error(transparent)]
    Pair(#[from] PairError),
    /// Neither the command line nor the data directory names a store.
    #[error("there is no store to serve: name one with --store NAME:PARTITIONS")]
    NoStore,
    /// A socket can't be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A socket can't be made.
    #[error("a socket cannot be made: {0}: raise the limit of open files (ulimit -n)")]
    Socket(#[from] zmq::Error),
    /// The command socket can't be made.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// A thread or a file descriptor is missing.
    #[error("the process has too few resources: {0}: raise its limits (ulimit -n, ulimit -u)")]
    Resources(#[from] std::io::Error),
}

/// Why a running process ended other than cleanly.
pub type RunError = process::RunError<StartError, Fatal>;

/// A serving process. Dropping it stops everything.
pub struct Handle {
    running: Running<Fatal>,
    replay: Endpoint,
    feed: Endpoint,
    pair_listen: Option<Endpoint>,
}

impl Handle {
    /// Where history and status can be asked for.
    #[must_use]
    pub const fn replay(&self) -> &Endpoint {
        &self.replay
    }

    /// Where the feed can be heard.
    #[must_use]
    pub const fn feed(&self) -> &Endpoint {
        &self.feed
    }

    /// Where the other node of the pair connects, if there is one.
    #[must_use]
    pub const fn pair_listen(&self) -> Option<&Endpoint> {
        self.pair_listen.as_ref()
    }

    /// Waits until a broker has taken our registrations; `false` if that takes too long.
    #[must_use]
    pub fn wait_serving(&self, timeout: Duration) -> bool {
        self.running.wait_serving(timeout)
    }

    /// Answers what is under way, says goodbye to the brokers, ends all threads, closes the log.
    ///
    /// # Errors
    /// [`Fatal`] if the process had to stop.
    pub fn stop(self) -> Result<(), Fatal> {
        self.running.stop()
    }
}

/// What is to be ended in this order, also if a start comes to nothing.
struct Threads {
    lifecycle: Lifecycle,
    append: Option<JoinHandle<()>>,
    others: Vec<JoinHandle<()>>,
    node: Arc<Node>,
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.lifecycle.intake.request();
        // A thread that panicked has said so to the lifecycle.
        if let Some(append) = self.append.take() {
            let _ = append.join();
        }
        self.lifecycle.rest.request();
        for thread in self.others.drain(..) {
            let _ = thread.join();
        }
        self.node.close();
    }
}

/// Serves until SIGTERM or SIGINT, or until it must not go on.
///
/// Prints one line per socket to standard output once it is bound, and one once a broker knows us:
///
/// ```text
/// starlog-store replay tcp://127.0.0.1:40001
/// starlog-store feed tcp://127.0.0.1:40002
/// starlog-store pair-listen tcp://127.0.0.1:40003
/// starlog-store serving
/// ```
///
/// The third one stands there in a pair alone.
///
/// # Errors
/// [`RunError`] says what to do.
pub fn run(config: &Config) -> Result<(), RunError> {
    let start = |stop| {
        let handle = start_with(config, stop)?;
        announce(format_args!("starlog-store replay {}", handle.replay));
        announce(format_args!("starlog-store feed {}", handle.feed));
        if let Some(pair_listen) = &handle.pair_listen {
            announce(format_args!("starlog-store pair-listen {pair_listen}"));
        }
        Ok(handle.running)
    };
    process::run(start, || announce("starlog-store serving"), config.memory_bytes_max)
}

/// Starts serving, in threads of its own.
///
/// # Errors
/// [`StartError`] says what to do; nothing is left running.
pub fn start(config: &Config) -> Result<Handle, StartError> {
    start_with(config, Stop::new())
}

fn start_with(config: &Config, stop: Stop) -> Result<Handle, StartError> {
    config.validate()?;
    let context = zmq::Context::new();
    // Bound before the log is opened: a taken address shall not cost a recovery and an epoch.
    let (feed_socket, replay_socket) = (feed::socket(&context)?, replay::socket(&context)?);
    let replay = net::bind(&replay_socket, &config.listen)?;
    let feed = net::bind(&feed_socket, &config.feed)?;
    let node = Arc::new(match config.pair {
        None => Node::open(&config.data, &config.node)?,
        Some(_) => Node::open_member(&config.data, &config.node)?,
    });
    let directory = Directory::default();
    let lifecycle = Lifecycle::new(stop);
    for store in stores(&node, config)? {
        serve(&store, &directory, &lifecycle);
    }
    let places = Places {
        replay: config.advertise_listen.clone().unwrap_or_else(|| replay.clone()),
        feed: config.advertise_feed.clone().unwrap_or_else(|| feed.clone()),
    };
    if config.brokers.is_empty() {
        lifecycle.now_serving();
    }
    let (append, others) = (None, Vec::new());
    let mut threads = Threads { lifecycle: lifecycle.clone(), append, others, node: node.clone() };
    let shared = (&directory, &lifecycle);
    let (reign, pair_loop) = reign(config, &context, (&node, &directory, &lifecycle))?;
    let pair_listen = reign.pair().map(|pair| pair.listen().clone());
    let identity = Identity { reign, durability: config.node.durability };
    let admin = AdminLoop::bind(&config.data, (node, identity.clone()), shared)?;
    let (reads, reader) = ReadThread::start(&lifecycle)?;
    threads.others.push(reader);
    let heartbeat = config.broker_heartbeat();
    let settings = AppendSettings {
        brokers: config.brokers.clone(),
        link: LinkSettings {
            agent: concat!("starlog-store/", env!("CARGO_PKG_VERSION")).to_owned(),
            heartbeat,
            ..LinkSettings::default()
        },
        identity: identity.clone(),
        places,
    };
    let disk = DataDisk::new(&config.data, config.node.segment_bytes);
    let asked = (identity.clone(), disk);
    let replay_loop = ReplayLoop::new(replay_socket, asked, shared, reads.clone())?;
    let feed_loop = FeedLoop::new(feed_socket, (identity, config.heartbeat), shared)?;
    let append_loop = AppendLoop::new(&context, settings, shared, reads)?;
    threads.others.push(lifecycle.spawn("store-replay", move || replay_loop.run())?);
    threads.others.push(lifecycle.spawn("store-feed", move || feed_loop.run())?);
    threads.others.push(lifecycle.spawn("store-admin", move || admin.run())?);
    threads.append = Some(lifecycle.spawn("store-append", move || append_loop.run())?);
    if let Some(pair_loop) = pair_loop {
        threads.others.push(lifecycle.spawn("store-pair", move || pair_loop.run())?);
    }
    let running = Running::new(&lifecycle, move || drop(threads));
    Ok(Handle { running, replay, feed, pair_listen })
}

/// Who leads at first: this node if it has no peer, nobody before the pair has decided.
fn reign(
    config: &Config,
    context: &zmq::Context,
    (node, directory, lifecycle): (&Arc<Node>, &Directory, &Lifecycle),
) -> Result<(Reign, Option<PairLoop>), StartError> {
    let Some(settings) = &config.pair else {
        return Ok((Reign::alone(node), None));
    };
    let reign = Reign::member(node);
    let shared = PairShared {
        node: node.clone(),
        directory: directory.clone(),
        reign: reign.clone(),
        lifecycle: lifecycle.clone(),
    };
    let (pair_loop, pair) = PairLoop::bind(context, settings.clone(), shared)?;
    reign.set_pair(pair);
    Ok((reign, Some(pair_loop)))
}

/// Creates the stores that were asked for, and lists all that are to be served.
fn stores(node: &Node, config: &Config) -> Result<Vec<Store>, StartError> {
    for spec in &config.stores {
        ensure(node, spec, config.host.clone())?;
    }
    let attached = node.stores().into_iter().filter(|info| !info.detached);
    let stores = attached.map(|info| node.store(&info.name)).collect::<Result<Vec<_>, _>>()?;
    let broken = stores.iter().find_map(|store| {
        let (partition, problem) = store.problems().first()?;
        Some((store.name().to_string(), partition.0, problem.clone()))
    });
    let any = stores.iter().any(|store| store.hosted().next().is_some());
    match (broken, config.pair.is_some()) {
        (Some((store, partition, problem)), true) => {
            Err(StartError::Unsound { store, partition, problem })
        }
        (Some((store, partition, problem)), false) if !any => {
            Err(StartError::NothingLeft { store, partition, problem })
        }
        // A new node of a pair learns from the other one what there is to serve.
        (None, false) if !any => Err(StartError::NoStore),
        _ => Ok(stores),
    }
}

/// Creates a store unless it is there as it was asked for. What was not asked for may be as it is.
pub(super) fn ensure(
    node: &Node,
    spec: &StoreSpec,
    host: Option<RangeInclusive<u16>>,
) -> Result<Store, StoreError> {
    let there = node.stores().into_iter().find(|info| info.name == spec.name);
    let partitions = spec.partitions.or(there.as_ref().map(|info| info.partitions)).unwrap_or(1);
    let hosted = there.and_then(|info| {
        let (first, last) = (info.hosted.first()?.0, info.hosted.last()?.0);
        Some(first..=last)
    });
    let hosted = host.or(hosted).unwrap_or(0..=partitions.saturating_sub(1));
    node.ensure_store(&spec.name, partitions, hosted)
}

/// Lists a store for the loops. A disk that fails one of its partitions ends the process.
pub(crate) fn serve(store: &Store, directory: &Directory, lifecycle: &Lifecycle) {
    for partition in store.hosted() {
        let (lifecycle, name) = (lifecycle.clone(), store.name().clone());
        let number = partition.number();
        partition.on_poison(Arc::new(move || {
            lifecycle.fail(Fatal::Poisoned { store: name.clone(), partition: number });
        }));
    }
    directory.insert(store.clone());
}

impl From<AppendLoopError> for StartError {
    fn from(error: AppendLoopError) -> Self {
        match error {
            AppendLoopError::Socket(error) => Self::Socket(error),
            AppendLoopError::Waker(error) => Self::Resources(error),
        }
    }
}

impl From<FeedError> for StartError {
    fn from(error: FeedError) -> Self {
        match error {
            FeedError::Socket(error) => Self::Socket(error),
            FeedError::Waker(error) => Self::Resources(error),
        }
    }
}

impl From<ReplayError> for StartError {
    fn from(error: ReplayError) -> Self {
        match error {
            ReplayError::Socket(error) => Self::Socket(error),
            ReplayError::Waker(error) => Self::Resources(error),
        }
    }
}
