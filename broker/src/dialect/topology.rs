//! What `mmi.topology` answers: stores, partitions, leaders and where to reach them.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The body of the answer to `mmi.topology`, after the frame `200`: what one broker knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topology {
    /// The broker's id; a new one at each start.
    pub broker: Uuid,
    /// Version of the broker's software; empty from one that is too old to say it.
    #[serde(default)]
    pub version: String,
    /// Where the broker can be reached, as it announces it.
    #[serde(default)]
    pub endpoints: Vec<String>,
    /// Every store of which a member is registered.
    pub stores: Vec<StoreTopology>,
    /// Every other service with live workers or waiting requests.
    pub services: Vec<ServiceTopology>,
    /// The programs that speak the dialect with it, the most numerous first.
    #[serde(default)]
    pub agents: Vec<AgentTopology>,
    /// The witness that this broker is, if it is one.
    #[serde(default)]
    pub witness: Option<WitnessTopology>,
}

/// A witness, as it sees the pairs that it decides about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WitnessTopology {
    /// Where members reach it.
    pub endpoint: String,
    /// Why it decides nothing, as a sentence; nothing if it works.
    #[serde(default)]
    pub stopped: Option<String>,
    /// Milliseconds for which a leader keeps its place after its last word.
    pub lease_ms: u64,
    /// Every pair that it knows, in the order of lineages.
    pub pairs: Vec<PairTopology>,
}

/// What a witness knows of one pair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairTopology {
    /// The pair's history.
    pub lineage: Uuid,
    /// Epoch of the configuration that holds; 0 if the witness knows none.
    pub epoch: u64,
    /// Who leads.
    pub leader: Option<Uuid>,
    /// Members, and other nodes that were heard lately.
    pub nodes: Vec<WitnessedNode>,
    /// Whether the witness decides. It does not after the loss of its record, until every node that
    /// could know more has reported.
    pub ready: bool,
}

/// One node of a pair, as its witness sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WitnessedNode {
    /// Its data.
    pub incarnation: Uuid,
    /// Whether it belongs to the configuration that holds.
    pub member: bool,
    /// Milliseconds since it was last heard; nothing if it was not heard since the witness started.
    pub heard_ms: Option<u64>,
}

/// One store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreTopology {
    /// Its name.
    pub name: String,
    /// How many partitions it has.
    pub partitions: u16,
    /// Who hosts them; a partition without an entry has no live member.
    pub members: Vec<MemberTopology>,
}

/// One member of one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberTopology {
    /// Number of the partition, from 0.
    pub partition: u16,
    /// Whether the broker sends it the partition's requests.
    pub leader: bool,
    /// The epoch that it registered.
    pub epoch: u64,
    /// Its incarnation.
    pub incarnation: Uuid,
    /// The lineage of its log.
    pub lineage: Uuid,
    /// Its durability level.
    pub durability: String,
    /// Where its feed can be heard.
    pub feed: String,
    /// Where its history can be asked for.
    pub replay: String,
    /// Milliseconds since the broker last heard it.
    pub alive_ms: u64,
}

/// One service that is not a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceTopology {
    /// Its name.
    pub name: String,
    /// Live workers.
    pub workers: u32,
    /// Requests that wait for a worker.
    pub waiting: u32,
}

/// A program and its version, as its processes call themselves in HELLO.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentTopology {
    /// `NAME/VERSION`, as it was said.
    pub agent: String,
    /// Connections of it.
    pub connections: u32,
}

impl Topology {
    /// The store of this name.
    pub fn store(&self, name: &str) -> Option<&StoreTopology> {
        self.stores.iter().find(|store| store.name == name)
    }
}

impl StoreTopology {
    /// The leader of a partition.
    pub fn leader(&self, partition: u16) -> Option<&MemberTopology> {
        self.members.iter().find(|member| member.leader && member.partition == partition)
    }
}
