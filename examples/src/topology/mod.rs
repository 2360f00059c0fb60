//! The topology as child processes on the loopback.
//!
//! ```text
//!                      +---------+  dialect   +------------------------------+
//!   aggregates ------->| brokers |<-----------| store 1a: partitions 0, 1    |--feed--+
//!   (this process)     |  the    |<--------+  |   ^ pair                     |        v
//!                      | first:  |<-----+  +--| store 1b: the same           | forwarders
//!                      | witness |<--+  |     +------------------------------+ (here; they
//!                      +---------+   |  +-----| stores 2a, 2b: partitions 2, 3 |  lose some)
//!                                    +--------+------------------------------+        |
//!                            host 1, host 2  <----- feed, replay ---------------------+
//! ```
//!
//! Every child is this very program, started again with `--as ROLE`. Ports are
//! chosen free; a child that is started again binds those of its first life. Stores may reach all
//! others through [`links`] that a test cuts.

mod error;
mod host_status;
mod launch;
pub mod links;
mod pairs;
mod start;
mod titanic;

pub use error::TopologyError;
pub use host_status::HostStatus;
pub use launch::TopologyConfig;
pub(crate) use launch::VIEWS_FILE;
pub use pairs::PairView;
pub use titanic::Titanic;

use std::{
    collections::{BTreeMap, BTreeSet},
    process::ExitStatus,
    time::Duration,
};

use broker::net::Endpoint;
use bytes::Bytes;
use client::Client;
use store::StoreName;

use crate::{
    clock::Deadline,
    faults::{StoreId, Target},
    forwarder::Forwarder,
    probe::Probe,
    process::{Launch, Process, ProcessError},
    topology::{
        launch::StoreSockets,
        links::{Neighbours, StoreLinks},
        start::make_folder,
    },
};

/// Name of the store.
pub const STORE: &str = "orders";
/// Name of the store that Titanic keeps commands in.
pub const COMMAND_STORE: &str = "commands";

/// How long a child may take to say that it is there.
const START_PATIENCE: Duration = Duration::from_secs(20);
/// How long a child may take to end after SIGTERM.
const END_PATIENCE: Duration = Duration::from_secs(15);
/// How long the topology may take until every partition has a leader.
const READY_PATIENCE: Duration = Duration::from_secs(30);

/// What the store prints before the endpoint of its feed.
pub(crate) const FEED_LINE: &str = "starlog-store feed ";
/// What the broker prints before its endpoint.
pub(crate) const BROKER_LINE: &str = "starlog-broker listening on ";
/// What the broker prints before the endpoint of its witness.
pub(crate) const WITNESS_LINE: &str = "starlog-broker witness on ";
/// What a projection host prints before its [`HostStatus`].
pub(crate) const STATUS_LINE: &str = "host status ";

#[derive(Debug)]
struct BrokerChild {
    process: Process,
    endpoint: Endpoint,
    witness: Option<Endpoint>,
}

#[derive(Debug)]
struct StoreChild {
    process: Process,
    sockets: StoreSockets,
    links: Option<StoreLinks>,
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
    brokers: Vec<BrokerChild>,
    stores: BTreeMap<StoreId, StoreChild>,
    hosts: Vec<HostChild>,
    client: Client,
    probe: Probe,
    killed: BTreeSet<Target>,
}

impl Topology {
    /// Where the first broker listens.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        self.brokers.first().map_or(&self.config.listen, |broker| &broker.endpoint)
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

    /// The links of a store process, if it was started with links.
    #[must_use]
    pub fn links(&self, id: StoreId) -> Option<&StoreLinks> {
        self.stores.get(&id).and_then(|store| store.links.as_ref())
    }

    /// Feed messages lost on purpose so far.
    #[must_use]
    pub fn dropped_messages(&self) -> u64 {
        self.stores.values().map(|store| store.forwarder.dropped()).sum()
    }

    /// The committed records of a partition as one store process holds them, byte for byte.
    ///
    /// # Errors
    /// [`TopologyError::Probe`] if the process does not give them.
    pub fn records(&self, id: StoreId, partition: u16) -> Result<Bytes, TopologyError> {
        let name = StoreName::new(STORE).map_err(|_| TopologyError::NoTarget(Target::Store(id)))?;
        let listen = &self.store(id)?.sockets.listen;
        Ok(self.probe.records(listen, (&name, partition), READY_PATIENCE)?)
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
                Ok(status) if status.ready() && led(&status) == self.config.partitions() => {
                    return Some(Ok(()));
                }
                Ok(status) => last = format!("{} partitions led", led(&status)),
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
        let brokers = (0..self.brokers.len()).map(Target::Broker);
        let stores = self.stores.keys().copied().map(Target::Store);
        let hosts = (0..self.hosts.len()).map(Target::Host);
        for target in brokers.chain(stores).chain(hosts).collect::<Vec<_>>() {
            if !self.killed.contains(&target) {
                self.process(target)?.check_alive()?;
            }
        }
        Ok(())
    }

    /// The process that a fault aimed at this target hits now.
    ///
    /// # Errors
    /// [`TopologyError::Pair`] if a leader is meant and none comes up.
    pub fn resolve(&mut self, target: Target) -> Result<Target, TopologyError> {
        match target {
            Target::Leader(pair) => Ok(Target::Store(self.leader(pair, READY_PATIENCE)?)),
            target => Ok(target),
        }
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

    /// SIGTERM; the child has to end with 0.
    ///
    /// # Errors
    /// [`TopologyError::Process`].
    pub fn terminate(&mut self, target: Target) -> Result<(), TopologyError> {
        self.killed.insert(target);
        Ok(self.process(target)?.terminate(END_PATIENCE)?)
    }

    /// How a child is started again.
    ///
    /// # Errors
    /// [`TopologyError::NoTarget`].
    pub fn launch(&mut self, target: Target) -> Result<Launch, TopologyError> {
        Ok(self.process(target)?.launch().clone())
    }

    /// Changes how a child is started again.
    ///
    /// # Errors
    /// [`TopologyError::NoTarget`].
    pub fn set_launch(&mut self, target: Target, launch: Launch) -> Result<(), TopologyError> {
        self.process(target)?.set_next_launch(launch);
        Ok(())
    }

    /// Waits until a child has ended by itself, and returns how. `None`: it still runs.
    ///
    /// # Errors
    /// [`TopologyError::Process`] if that cannot be found out.
    pub fn wait_end(
        &mut self,
        target: Target,
        patience: Duration,
    ) -> Result<Option<ExitStatus>, TopologyError> {
        let process = self.process(target)?;
        match Deadline::after(patience).wait_for(|| process.check_alive().err()) {
            Some(ProcessError::Ended { status, .. }) => {
                self.killed.insert(target);
                Ok(Some(status))
            }
            Some(error) => Err(error.into()),
            None => Ok(None),
        }
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
            Target::Broker(0) => drop(process.wait_for_line(WITNESS_LINE, START_PATIENCE)?),
            Target::Broker(_) => drop(process.wait_for_line(BROKER_LINE, START_PATIENCE)?),
            Target::Store(_) | Target::Leader(_) => {
                drop(process.wait_for_line(FEED_LINE, START_PATIENCE)?);
            }
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
        let brokers = self.broker_endpoints();
        for index in 0..self.config.projections.len() {
            make_folder(&self.config.host_folder(index))?;
            let process = Process::start(&self.config.host_launch(index, &brokers))?;
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
        for store in self.stores.values_mut() {
            store.process.terminate(END_PATIENCE)?;
        }
        for broker in &mut self.brokers {
            broker.process.terminate(END_PATIENCE)?;
        }
        Ok(())
    }

    fn broker_endpoints(&self) -> Vec<Endpoint> {
        self.brokers.iter().map(|broker| broker.endpoint.clone()).collect()
    }

    fn store(&self, id: StoreId) -> Result<&StoreChild, TopologyError> {
        self.stores.get(&id).ok_or(TopologyError::NoTarget(Target::Store(id)))
    }

    fn process(&mut self, target: Target) -> Result<&mut Process, TopologyError> {
        let found = match target {
            Target::Broker(index) => self.brokers.get_mut(index).map(|broker| &mut broker.process),
            Target::Store(id) => self.stores.get_mut(&id).map(|store| &mut store.process),
            Target::Host(index) => self.hosts.get_mut(index).map(|host| &mut host.process),
            Target::Leader(_) => None,
        };
        found.ok_or(TopologyError::NoTarget(target))
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

/// Partitions of the store that somebody leads.
fn led(status: &client::Status) -> u16 {
    let stores = status.topology.stores.iter().filter(|store| store.name == STORE);
    let leaders = stores.flat_map(|store| &store.members).filter(|member| member.leader);
    let partitions: BTreeSet<_> = leaders.map(|member| member.partition).collect();
    u16::try_from(partitions.len()).unwrap_or(u16::MAX)
}
