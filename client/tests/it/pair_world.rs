//! A pair of store nodes with a broker that is their witness, all in this process.

use std::path::PathBuf;
use std::time::Duration;

use broker::config::WitnessConfig;
use broker::net::Endpoint;
use client::{Client, ClientConfig, PairStatus, Status, StoreHandle};
use store::Durability;
use store::pair::{PairSettings, PairTiming, Role};
use tempfile::TempDir;

use crate::world::{config, loopback, wait_until};

/// Two nodes that host `orders`.
pub struct PairWorld {
    // In the order in which they are to end.
    nodes: [Option<store::server::Handle>; 2],
    broker: broker::server::Handle,
    folder: TempDir,
    partitions: u16,
    durability: Durability,
}

impl PairWorld {
    /// Both nodes are members.
    pub fn start(partitions: u16, durability: Durability) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut broker_config = broker::config::Config {
            listen: vec![loopback()],
            data: folder.path().join("broker"),
            drain: Duration::from_millis(100),
            witness: Some(WitnessConfig::new(loopback())),
            ..Default::default()
        };
        broker_config.routing.heartbeat = Duration::from_millis(100);
        let broker = broker::server::start(broker_config).unwrap();
        let mut world = Self { nodes: [None, None], broker, folder, partitions, durability };
        world.start_node(0);
        world.start_node(1);
        world.wait_until_whole();
        world
    }

    pub fn start_node(&mut self, number: usize) {
        let link = |number: usize| -> Endpoint {
            format!("ipc://{}", self.path(&format!("link-{number}")).display()).parse().unwrap()
        };
        let segment_bytes: u32 = 4 * 1024 * 1024;
        let mut config = store::server::config::Config {
            data: self.path(&format!("store-{number}")),
            brokers: self.broker.endpoints().to_vec(),
            stores: vec![format!("orders:{}", self.partitions).parse().unwrap()],
            heartbeat: Duration::from_millis(100),
            pair: Some(PairSettings {
                role: if number == 0 { Role::Primary } else { Role::Backup },
                peer: link(1 - number),
                listen: link(number),
                witness: self.broker.witness_endpoint().unwrap().clone(),
                copies_min: 1,
                timing: PairTiming { grow_backoff: Duration::ZERO, ..PairTiming::default() },
                durability: self.durability,
                segment_bytes,
            }),
            ..Default::default()
        };
        config.node.segment_bytes = segment_bytes;
        config.node.durability = self.durability;
        self.nodes[number] = Some(store::server::start(&config).unwrap());
    }

    /// Ends a node; to the other one it falls silent.
    pub fn stop_node(&mut self, number: usize) {
        self.nodes[number].take().unwrap().stop().unwrap();
    }

    /// Ends the leader, has the other node lead for so many events, and starts it again. `take`
    /// takes that many events more, and is called with 0 for as long as the pair is not whole.
    pub fn restart_leader(&mut self, events: usize, mut take: impl FnMut(usize)) {
        self.wait_until_whole();
        let leader = self.leader_of_whole().unwrap();
        self.stop_node(leader);
        take(events);
        self.start_node(leader);
        wait_until("the pair is whole again", || {
            take(0);
            self.leader_of_whole() == Some(1 - leader)
        });
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn endpoint(&self) -> Endpoint {
        self.broker.endpoints()[0].clone()
    }

    pub fn config(&self) -> ClientConfig {
        config(self.endpoint())
    }

    pub fn client(&self) -> Client {
        Client::with_config(self.config()).unwrap()
    }

    pub fn orders(&self) -> StoreHandle {
        self.client().store("orders").unwrap()
    }

    pub fn status(&self) -> Status {
        self.client().status(Duration::from_secs(1)).unwrap()
    }

    /// The number of the node that leads, if both are members and the status of both is known.
    pub fn leader_of_whole(&self) -> Option<usize> {
        let status = self.status();
        let pairs: Vec<PairStatus> =
            status.processes.into_iter().filter_map(|p| p.answer.ok()?.pair).collect();
        let whole = pairs.len() == 2 && pairs.iter().all(|pair| pair.members.len() == 2);
        let leading = pairs.iter().find(|pair| pair.standing.starts_with("leading"))?;
        whole.then_some(usize::from(leading.role == "backup"))
    }

    pub fn wait_until_whole(&self) {
        wait_until("both nodes are members", || self.leader_of_whole().is_some());
    }
}
