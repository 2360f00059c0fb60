//! How each child is started.

use std::{ffi::OsString, ops::RangeInclusive, path::PathBuf};

use broker::net::Endpoint;
use store::Durability;

use crate::{
    faults::{Side, StoreId},
    process::Launch,
    topology::{COMMAND_STORE, STORE, links::Neighbours},
    views::ProjectionName,
};

/// Name of the database in a projection host's folder.
pub(crate) const VIEWS_FILE: &str = "views.redb";

/// What to start.
#[derive(Debug, Clone)]
pub struct TopologyConfig {
    /// This program.
    pub program: PathBuf,
    /// Folder for everything that the children write.
    pub data: PathBuf,
    /// Where the first broker listens, which is the witness as well.
    pub listen: Endpoint,
    /// Brokers side by side, at least one.
    pub brokers: usize,
    /// Which partitions each pair hosts, from 0 and without a hole.
    pub hosted: Vec<RangeInclusive<u16>>,
    /// Nodes that keep each partition: 2 are a pair, 1 stands alone.
    pub copies: usize,
    /// When an append is acknowledged.
    pub durability: Durability,
    /// Whether the first pair also keeps the store of commands.
    pub commands: bool,
    /// Whether stores reach all others through links that can be cut.
    pub links: bool,
    /// Further flags of the stores, as `starlog-store` takes them.
    pub store_flags: Vec<String>,
    /// Seed of the messages that are lost on purpose.
    pub seed: u64,
    /// About one feed message with records out of so many is lost; none if 0.
    pub drop_one_in: u64,
    /// Length of the stores' segment files, as `starlog-store --segment` takes it.
    pub segment_bytes: u32,
    /// What each projection host projects.
    pub projections: Vec<Vec<ProjectionName>>,
}

/// Sockets of a store process.
#[derive(Debug, Clone)]
pub(super) struct StoreSockets {
    pub(super) listen: Endpoint,
    pub(super) feed: Endpoint,
    pub(super) announced_feed: Endpoint,
    pub(super) pair: Option<Endpoint>,
}

/// Sockets of a broker.
#[derive(Debug, Clone)]
pub(super) struct BrokerSockets {
    pub(super) listen: Endpoint,
    pub(super) witness: Option<Endpoint>,
}

impl TopologyConfig {
    /// Partitions of the store.
    #[must_use]
    pub fn partitions(&self) -> u16 {
        self.hosted.iter().map(|range| range.end() + 1).max().unwrap_or(0)
    }

    /// The store processes of a pair.
    #[must_use]
    pub fn nodes_of(&self, pair: usize) -> Vec<StoreId> {
        let sides = [Side::A, Side::B].into_iter().take(self.copies);
        sides.map(|side| StoreId { pair, side }).collect()
    }

    /// All store processes.
    #[must_use]
    pub fn store_ids(&self) -> Vec<StoreId> {
        (0..self.hosted.len()).flat_map(|pair| self.nodes_of(pair)).collect()
    }

    /// Data directory of a broker.
    #[must_use]
    pub fn broker_folder(&self, index: usize) -> PathBuf {
        self.data.join(format!("broker-{}", index + 1))
    }

    /// Data directory of a store process.
    #[must_use]
    pub fn store_folder(&self, id: StoreId) -> PathBuf {
        self.data.join(format!("store-{id}"))
    }

    /// What a store process has said, over all of its lives.
    #[must_use]
    pub fn store_log(&self, id: StoreId) -> PathBuf {
        self.data.join("logs").join(format!("store-{id}.log"))
    }

    /// Folder of a projection host.
    #[must_use]
    pub fn host_folder(&self, index: usize) -> PathBuf {
        self.data.join(format!("host-{}", index + 1))
    }

    /// The database with the views of a projection host.
    #[must_use]
    pub fn host_views(&self, index: usize) -> PathBuf {
        self.host_folder(index).join(VIEWS_FILE)
    }

    pub(super) fn broker_launch(&self, index: usize, sockets: &BrokerSockets) -> Launch {
        let mut flags = vec![
            ("--listen", sockets.listen.as_str().into()),
            ("--data", self.broker_folder(index).into()),
        ];
        flags.extend(sockets.witness.iter().map(|at| ("--witness-listen", at.as_str().into())));
        self.launch(&format!("broker-{}", index + 1), "broker", flags)
    }

    pub(super) fn store_launch(
        &self,
        id: StoreId,
        neighbours: &Neighbours,
        sockets: &StoreSockets,
    ) -> Launch {
        let hosted = self.hosted.get(id.pair).cloned().unwrap_or(0..=0);
        let hosted = format!("{}-{}", hosted.start(), hosted.end());
        let mut flags: Vec<(&str, OsString)> = vec![
            ("--data", self.store_folder(id).into()),
            ("--store", format!("{STORE}:{}", self.partitions()).into()),
            ("--host", hosted.into()),
            ("--durability", self.durability.to_string().into()),
            ("--segment", self.segment_bytes.to_string().into()),
            ("--listen", sockets.listen.as_str().into()),
            ("--feed", sockets.feed.as_str().into()),
            ("--advertise-feed", sockets.announced_feed.as_str().into()),
        ];
        if self.commands && id.pair == 0 {
            // As many partitions as the pair hosts, so that it hosts all of them.
            let partitions = self.hosted.first().map_or(1, |hosted| hosted.end() + 1);
            flags.push(("--store", format!("{COMMAND_STORE}:{partitions}").into()));
        }
        flags.extend(neighbours.brokers.iter().map(|at| ("--broker", at.as_str().into())));
        if let Some(pair) = &sockets.pair {
            let role = if id.side == Side::A { "primary" } else { "backup" };
            flags.extend([("--role", role.into()), ("--pair-listen", pair.as_str().into())]);
            flags.extend(neighbours.peer.iter().map(|at| ("--peer", at.as_str().into())));
            flags.extend(neighbours.witness.iter().map(|at| ("--witness", at.as_str().into())));
        }
        let mut launch = self.launch(&format!("store-{id}"), "store", flags);
        launch.arguments.extend(self.store_flags.iter().map(OsString::from));
        launch
    }

    /// Folder of Titanic.
    #[must_use]
    pub fn titanic_folder(&self) -> PathBuf {
        self.data.join("titanic")
    }

    pub(super) fn titanic_launch(&self, brokers: &[Endpoint]) -> Launch {
        let flags = [("--store", COMMAND_STORE.into()), ("--data", self.titanic_folder().into())];
        let brokers = brokers.iter().map(|broker| ("--broker", broker.as_str().into()));
        self.launch("titanic", "titanic", flags.into_iter().chain(brokers))
    }

    pub(super) fn host_launch(&self, index: usize, brokers: &[Endpoint]) -> Launch {
        let name = format!("host-{}", index + 1);
        let projections = self.projections.get(index).map(Vec::as_slice).unwrap_or_default();
        let flags = [("--store", STORE.into()), ("--data", self.host_folder(index).into())];
        let brokers = brokers.iter().map(|broker| ("--broker", broker.as_str().into()));
        let projections =
            projections.iter().map(|projection| ("--projection", projection.as_str().into()));
        self.launch(&name, "host", flags.into_iter().chain(brokers).chain(projections))
    }

    fn launch(
        &self,
        name: &str,
        role: &str,
        flags: impl IntoIterator<Item = (&'static str, OsString)>,
    ) -> Launch {
        let mut arguments = vec![OsString::from("--as"), OsString::from(role)];
        for (flag, value) in flags {
            arguments.extend([OsString::from(flag), value]);
        }
        Launch {
            name: name.to_owned(),
            program: self.program.clone(),
            arguments,
            log: self.data.join("logs").join(format!("{name}.log")),
        }
    }
}
