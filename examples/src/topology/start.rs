//! Starting the children in order: brokers, stores, hosts.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::TcpListener,
    ops::Range,
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
};

use broker::net::Endpoint;
use client::Client;

use crate::{
    faults::StoreId,
    forwarder::{DropPlan, Forwarder},
    probe::Probe,
    process::Process,
    topology::{
        BROKER_LINE, BrokerChild, FEED_LINE, Neighbours, READY_PATIENCE, START_PATIENCE,
        StoreChild, StoreLinks, Topology, TopologyConfig, TopologyError, WITNESS_LINE,
        launch::{BrokerSockets, StoreSockets},
    },
};

/// Ports to choose from: below those that systems give to outgoing connections.
const PORTS: Range<u16> = 10_000..30_000;
/// Runs side by side begin that far from each other.
const PORTS_APART: u32 = 97;

impl Topology {
    /// Starts brokers, stores and hosts, and waits until every partition has a leader and every
    /// pair is whole.
    ///
    /// # Errors
    /// [`TopologyError`], which names the child that does not come up.
    pub fn start(config: TopologyConfig) -> Result<Self, TopologyError> {
        check_free(&config.listen)?;
        make_folder(&config.data.join("logs"))?;
        let brokers = (0..config.brokers).map(|index| start_broker(&config, index));
        let brokers: Vec<BrokerChild> = brokers.collect::<Result<_, _>>()?;
        let client = Client::connect(brokers.iter().map(|broker| broker.endpoint.as_str()))?;
        let mut topology = Self {
            config,
            brokers,
            stores: BTreeMap::new(),
            hosts: Vec::new(),
            client,
            probe: Probe::new(),
            killed: BTreeSet::new(),
        };
        topology.start_stores()?;
        topology.wait_ready()?;
        topology.wait_whole(READY_PATIENCE)?;
        topology.start_hosts()?;
        Ok(topology)
    }

    fn start_stores(&mut self) -> Result<(), TopologyError> {
        // A node is told where its peer will listen before the peer has been started.
        let paired = self.config.copies > 1;
        let mut listens = BTreeMap::new();
        for id in self.config.store_ids() {
            listens.insert(id, if paired { Some(free_endpoint()?) } else { None });
        }
        for id in self.config.store_ids() {
            let peer = StoreId { side: id.side.other(), ..id };
            let neighbours = Neighbours {
                peer: listens.get(&peer).cloned().flatten(),
                witness: self.brokers.first().and_then(|first| first.witness.clone()),
                brokers: self.broker_endpoints(),
            };
            let pair = listens.get(&id).cloned().flatten();
            let store = self.start_store(id, neighbours, pair)?;
            self.stores.insert(id, store);
        }
        Ok(())
    }

    fn start_store(
        &self,
        id: StoreId,
        mut neighbours: Neighbours,
        pair: Option<Endpoint>,
    ) -> Result<StoreChild, TopologyError> {
        let links = match self.config.links {
            true => Some(StoreLinks::start(&neighbours)?),
            false => None,
        };
        if let Some(links) = &links {
            neighbours = links.neighbours()?;
        }
        let seed = self.config.seed.wrapping_add(u64::try_from(self.stores.len()).unwrap_or(0));
        let forwarder = Forwarder::start(DropPlan::new(seed, self.config.drop_one_in))?;
        let announced_feed = forwarder.endpoint().clone();
        let (listen, feed) = (free_endpoint()?, free_endpoint()?);
        let sockets = StoreSockets { listen, feed, announced_feed, pair };
        let mut process = Process::start(&self.config.store_launch(id, &neighbours, &sockets))?;
        process.wait_for_line(FEED_LINE, START_PATIENCE)?;
        forwarder.connect(sockets.feed.clone())?;
        Ok(StoreChild { process, sockets, links, forwarder })
    }
}

fn start_broker(config: &TopologyConfig, index: usize) -> Result<BrokerChild, TopologyError> {
    make_folder(&config.broker_folder(index))?;
    let is_first = index == 0;
    let is_told = is_first && !config.listen.as_str().ends_with('*');
    let sockets = BrokerSockets {
        listen: if is_told { config.listen.clone() } else { free_endpoint()? },
        witness: if is_first { Some(free_endpoint()?) } else { None },
    };
    let mut process = Process::start(&config.broker_launch(index, &sockets))?;
    let line = if is_first { WITNESS_LINE } else { BROKER_LINE };
    process.wait_for_line(line, START_PATIENCE)?;
    Ok(BrokerChild { process, endpoint: sockets.listen, witness: sockets.witness })
}

/// An endpoint that is free now, and stays so for a child that is started again on it: the system
/// gives these ports to nobody who does not ask for them.
fn free_endpoint() -> Result<Endpoint, TopologyError> {
    static DRAWN: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(PORTS_APART);
    let mut failed = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..PORTS.len() {
        let drawn = start.wrapping_add(DRAWN.fetch_add(1, Ordering::Relaxed));
        let offset = usize::try_from(drawn).unwrap_or(0) % PORTS.len();
        let Some(port) = PORTS.clone().nth(offset) else { break };
        match TcpListener::bind(("127.0.0.1", port)) {
            Ok(_) => return Ok(format!("tcp://127.0.0.1:{port}").parse()?),
            Err(reason) => failed = reason,
        }
    }
    Err(failed.into())
}

/// Tries the broker's endpoint, so that a person is told at once which flag helps.
fn check_free(listen: &Endpoint) -> Result<(), TopologyError> {
    let address = listen.as_str().strip_prefix("tcp://").filter(|text| !text.ends_with('*'));
    match address.map(TcpListener::bind) {
        Some(Err(reason)) => Err(TopologyError::Listen { endpoint: listen.clone(), reason }),
        _ => Ok(()),
    }
}

pub(super) fn make_folder(path: &Path) -> Result<(), TopologyError> {
    std::fs::create_dir_all(path)
        .map_err(|reason: io::Error| TopologyError::Folder { path: path.to_owned(), reason })
}
