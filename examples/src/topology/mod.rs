//! The topology as child processes on the loopback.
//!
//! ```text
//!                      +--------+   dialect    +----------------------------+
//!   aggregates ------->| broker |<-------------| store 1: partitions 0, 1   |--feed--+
//!   (this process)     +--------+<------+      +----------------------------+        v
//!                                       |      +----------------------------+   forwarders
//!                                       +------| store 2: partitions 2, 3   |--feed--+ (here; they
//!                                              +----------------------------+        | lose some)
//!                            host 1, host 2  <----- feed, replay --------------------+
//! ```
//!
//! Every child is this very program, started again with `--as ROLE`. The system chooses the
//! ports; a child that is started again binds those of its first life.

mod host_status;
mod launch;

pub use host_status::HostStatus;
pub use launch::TopologyConfig;
pub(crate) use launch::VIEWS_FILE;

use std::{
    collections::BTreeSet,
    io,
    net::TcpListener,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use broker::net::{Endpoint, EndpointError};
use client::{Client, ConnectError};
use thiserror::Error;

use crate::{
    clock::Deadline,
    faults::Target,
    forwarder::{DropPlan, Forwarder, ForwarderError},
    process::{Process, ProcessError},
    topology::launch::StoreSockets,
};

/// Name of the store.
pub const STORE: &str = "orders";
/// Its partitions.
pub const PARTITIONS: u16 = 4;
/// Which of them each store process hosts.
pub const HOSTED: [RangeInclusive<u16>; 2] = [0..=1, 2..=3];

/// How long a child may take to say that it is there.
const START_PATIENCE: Duration = Duration::from_secs(20);
/// How long a child may take to end after SIGTERM.
const END_PATIENCE: Duration = Duration::from_secs(15);
/// How long the topology may take until every partition has a leader.
const READY_PATIENCE: Duration = Duration::from_secs(30);

/// What the store prints before the endpoint where it answers reads.
pub(crate) const REPLAY_LINE: &str = "starlog-store replay ";
/// What the store prints before the endpoint of its feed.
pub(crate) const FEED_LINE: &str = "starlog-store feed ";
/// What the broker prints before its endpoint.
pub(crate) const BROKER_LINE: &str = "starlog-broker listening on ";
/// What a projection host prints before its [`HostStatus`].
pub(crate) const STATUS_LINE: &str = "host status ";

/// Why the topology does not run.
#[derive(Debug, Error)]
pub enum TopologyError {
    /// A child.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A forwarder.
    #[error(transparent)]
    Forwarder(#[from] ForwarderError),
    /// A child printed something else than an endpoint.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// No client.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Something else listens where the broker should.
    #[error(
        "the broker cannot listen on {endpoint}: {reason}; stop what listens there, or give \
         another endpoint with --listen"
    )]
    Listen {
        /// Where.
        endpoint: Endpoint,
        /// What the system said.
        reason: io::Error,
    },
    /// The data folder.
    #[error("{path} cannot be made: {reason}; give another folder with --data")]
    Folder {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        reason: io::Error,
    },
    /// Some partition stays without a leader.
    #[error("not every partition has a leader after {seconds} s: {last}")]
    NotReady {
        /// How long was waited.
        seconds: u64,
        /// What the broker said last.
        last: String,
    },
    /// No such child.
    #[error("there is no {0}")]
    NoTarget(Target),
}

#[derive(Debug)]
struct StoreChild {
    process: Process,
    forwarder: Forwarder,
}

#[derive(Debug)]
struct HostChild {
    process: Process,
    earlier: HostStatus,
    status: HostStatus,
}

/// The running topology; dropping it kills every child.
#[derive(Debug)]
pub struct Topology {
    config: TopologyConfig,
    broker: Process,
    endpoint: Endpoint,
    stores: Vec<StoreChild>,
    hosts: Vec<HostChild>,
    client: Client,
    killed: BTreeSet<Target>,
}

impl Topology {
    /// Starts broker, stores and hosts, and waits until every partition has a leader.
    ///
    /// # Errors
    /// [`TopologyError`], which names the child that does not come up.
    pub fn start(config: TopologyConfig) -> Result<Self, TopologyError> {
        check_free(&config.listen)?;
        for folder in ["logs", "broker"] {
            make_folder(&config.data.join(folder))?;
        }
        let mut broker = Process::start(&config.broker_launch(&config.listen))?;
        let endpoint: Endpoint = broker.wait_for_line(BROKER_LINE, START_PATIENCE)?.parse()?;
        // Started again it binds the same port, which the others know.
        broker.set_next_launch(config.broker_launch(&endpoint));
        let client = Client::connect([endpoint.as_str()])?;
        let (stores, hosts, killed) = (Vec::new(), Vec::new(), BTreeSet::new());
        let mut topology = Self { config, broker, endpoint, stores, hosts, client, killed };
        for index in 0..HOSTED.len() {
            let store = topology.start_store(index)?;
            topology.stores.push(store);
        }
        topology.wait_ready()?;
        topology.start_hosts()?;
        Ok(topology)
    }

    /// Where the broker listens.
    #[must_use]
    pub const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// What was started.
    #[must_use]
    pub const fn config(&self) -> &TopologyConfig {
        &self.config
    }

    /// A client of this topology.
    #[must_use]
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// Feed messages lost on purpose so far.
    #[must_use]
    pub fn dropped_messages(&self) -> u64 {
        self.stores.iter().map(|store| store.forwarder.dropped()).sum()
    }

    /// Waits until every partition of the store has a leader that answers.
    ///
    /// # Errors
    /// [`TopologyError::NotReady`], or [`TopologyError::Process`] if a child has ended.
    pub fn wait_ready(&mut self) -> Result<(), TopologyError> {
        let mut last = String::from("nothing heard");
        let deadline = Deadline::after(READY_PATIENCE);
        let ready = deadline.wait_for(|| {
            if let Err(error) = self.check_alive() {
                return Some(Err(error));
            }
            match self.client.status(Duration::from_secs(1)) {
                Ok(status) if status.ready() && led_partitions(&status) == PARTITIONS => {
                    return Some(Ok(()));
                }
                Ok(status) => last = format!("{} partitions led", led_partitions(&status)),
                Err(error) => last = error.to_string(),
            }
            None
        });
        let seconds = READY_PATIENCE.as_secs();
        ready.unwrap_or(Err(TopologyError::NotReady { seconds, last }))
    }

    /// Finds out whether a child has ended although nobody killed it.
    ///
    /// # Errors
    /// [`TopologyError::Process`] names it.
    pub fn check_alive(&mut self) -> Result<(), TopologyError> {
        let stores = (0..self.stores.len()).map(Target::Store);
        let hosts = (0..self.hosts.len()).map(Target::Host);
        for target in std::iter::once(Target::Broker).chain(stores).chain(hosts) {
            if !self.killed.contains(&target) {
                self.process(target)?.check_alive()?;
            }
        }
        Ok(())
    }

    /// SIGKILL.
    ///
    /// # Errors
    /// [`TopologyError::Process`].
    pub fn kill(&mut self, target: Target) -> Result<(), TopologyError> {
        self.read_host_lines();
        self.killed.insert(target);
        Ok(self.process(target)?.kill()?)
    }

    /// SIGSTOP.
    ///
    /// # Errors
    /// [`TopologyError::Process`].
    pub fn pause(&mut self, target: Target) -> Result<(), TopologyError> {
        Ok(self.process(target)?.pause()?)
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// [`TopologyError::Process`].
    pub fn resume(&mut self, target: Target) -> Result<(), TopologyError> {
        Ok(self.process(target)?.resume()?)
    }

    /// Starts a killed child again, on the data and the ports of its first life.
    ///
    /// # Errors
    /// [`TopologyError::Process`] if it does not come up.
    pub fn restart(&mut self, target: Target) -> Result<(), TopologyError> {
        self.read_host_lines();
        let launch = self.process(target)?.launch().clone();
        let mut process = Process::start(&launch)?;
        match target {
            Target::Broker => drop(process.wait_for_line(BROKER_LINE, START_PATIENCE)?),
            Target::Store(_) => drop(process.wait_for_line(FEED_LINE, START_PATIENCE)?),
            Target::Host(index) => {
                if let Some(host) = self.hosts.get_mut(index) {
                    let past = std::mem::take(&mut host.status).cut_off();
                    host.earlier = past.with_earlier(&host.earlier);
                }
            }
        }
        *self.process(target)? = process;
        self.killed.remove(&target);
        Ok(())
    }

    /// What the projection hosts have told, over all of their lives.
    pub fn host_statuses(&mut self) -> Vec<HostStatus> {
        self.read_host_lines();
        self.hosts.iter().map(|host| host.status.clone().with_earlier(&host.earlier)).collect()
    }

    /// Ends the projection hosts, so that their views can be opened.
    ///
    /// # Errors
    /// [`TopologyError::Process`] if one does not end well.
    pub fn stop_hosts(&mut self) -> Result<(), TopologyError> {
        for host in &mut self.hosts {
            host.process.terminate(END_PATIENCE)?;
        }
        self.read_host_lines();
        self.hosts.clear();
        Ok(())
    }

    /// Starts the projection hosts.
    ///
    /// # Errors
    /// [`TopologyError::Process`] if one does not start.
    pub fn start_hosts(&mut self) -> Result<(), TopologyError> {
        for index in 0..self.config.projections.len() {
            make_folder(&self.config.host_folder(index))?;
            let process = Process::start(&self.config.host_launch(index, &self.endpoint))?;
            let (earlier, status) = (HostStatus::default(), HostStatus::default());
            self.hosts.push(HostChild { process, earlier, status });
        }
        Ok(())
    }

    /// Ends everything in good order: every child has to exit with 0.
    ///
    /// # Errors
    /// [`TopologyError::Process`] names the one that does not.
    pub fn stop(mut self) -> Result<(), TopologyError> {
        self.stop_hosts()?;
        for store in &mut self.stores {
            store.process.terminate(END_PATIENCE)?;
        }
        Ok(self.broker.terminate(END_PATIENCE)?)
    }

    fn process(&mut self, target: Target) -> Result<&mut Process, TopologyError> {
        let found = match target {
            Target::Broker => Some(&mut self.broker),
            Target::Store(index) => self.stores.get_mut(index).map(|store| &mut store.process),
            Target::Host(index) => self.hosts.get_mut(index).map(|host| &mut host.process),
        };
        found.ok_or(TopologyError::NoTarget(target))
    }

    fn start_store(&self, index: usize) -> Result<StoreChild, TopologyError> {
        let seed = self.config.seed.wrapping_add(u64::try_from(index).unwrap_or(0));
        let forwarder = Forwarder::start(DropPlan::new(seed, self.config.drop_one_in))?;
        let any_port: Endpoint = "tcp://127.0.0.1:*".parse()?;
        let mut sockets = StoreSockets {
            listen: any_port.clone(),
            feed: any_port,
            announced_feed: forwarder.endpoint().clone(),
        };
        let launch = self.config.store_launch(index, &self.endpoint, &sockets);
        let mut process = Process::start(&launch)?;
        sockets.listen = process.wait_for_line(REPLAY_LINE, START_PATIENCE)?.parse()?;
        sockets.feed = process.wait_for_line(FEED_LINE, START_PATIENCE)?.parse()?;
        forwarder.connect(sockets.feed.clone())?;
        process.set_next_launch(self.config.store_launch(index, &self.endpoint, &sockets));
        Ok(StoreChild { process, forwarder })
    }

    fn read_host_lines(&mut self) {
        for host in &mut self.hosts {
            while let Some(line) = host.process.next_line() {
                let status = line.strip_prefix(STATUS_LINE);
                if let Some(status) = status.and_then(|text| serde_json::from_str(text).ok()) {
                    host.status = status;
                }
            }
        }
    }
}

/// Tries the broker's endpoint, so that a person is told at once which flag helps.
fn check_free(listen: &Endpoint) -> Result<(), TopologyError> {
    let address = listen.as_str().strip_prefix("tcp://").filter(|text| !text.ends_with('*'));
    match address.map(TcpListener::bind) {
        Some(Err(reason)) => Err(TopologyError::Listen { endpoint: listen.clone(), reason }),
        _ => Ok(()),
    }
}

fn make_folder(path: &Path) -> Result<(), TopologyError> {
    std::fs::create_dir_all(path)
        .map_err(|reason| TopologyError::Folder { path: path.to_owned(), reason })
}

fn led_partitions(status: &client::Status) -> u16 {
    let stores = status.topology.stores.iter().filter(|store| store.name == STORE);
    let led = stores.flat_map(|store| &store.members).filter(|member| member.leader).count();
    u16::try_from(led).unwrap_or(u16::MAX)
}
