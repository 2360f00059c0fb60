//! The bodies of the messages between two nodes: maps whose fields are named as here.

use broker::witness::{Configuration, Incarnation, Lineage, PartitionName, WitnessId};
use serde::{Deserialize, Serialize};

use crate::pair::protocol::{PeerMessage, Role};

/// Who a node is: the first thing that it says, over each of its connections.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Lowest version of these messages that it speaks.
    pub version_min: u8,
    /// Highest version of these messages that it speaks.
    pub version_max: u8,
    /// How it was configured.
    pub role: Role,
    /// History of its directory.
    pub lineage: Lineage,
    /// Its data.
    pub incarnation: Incarnation,
    /// Newest configuration that it knows.
    pub configuration: Option<Configuration>,
    /// Whether it has events.
    pub brings_data: bool,
    /// The witness that has answered it since it started.
    pub witness: Option<WitnessId>,
    /// What must be the same on both nodes.
    pub settings: Settings,
    /// Its stores.
    pub stores: Vec<Listing>,
}

/// What must be the same on both nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Durability level.
    pub durability: String,
    /// Fewest copies with which the leader acknowledges.
    pub copies_min: u8,
    /// Length of a new segment file, in bytes.
    pub segment_bytes: u32,
    /// How often the nodes hear from each other, in milliseconds.
    pub heartbeat_ms: u64,
}

/// A store and what of it a node hosts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// Its name.
    pub store: String,
    /// Partitions of the whole store.
    pub partitions: u16,
    /// First partition that is hosted.
    pub first: u16,
    /// Last partition that is hosted (inclusive).
    pub last: u16,
}

/// Why a node does not take another one for its peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// A sentence for the person who configured the other node.
    pub reason: String,
    /// Whether it may pass by itself, so that asking again makes sense.
    pub passing: bool,
}

/// A heartbeat; it may carry something between the machines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    /// What the sender's machine says.
    pub message: Option<PeerMessage>,
}

/// The partitions that there are. The follower makes what it lacks, then reports the end of each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Catalogue {
    /// Epoch of the leader.
    pub epoch: u64,
    /// Number of the beginning of the leader's process with a follower. If the follower knows
    /// another one, it begins anew, too.
    pub since: u64,
    /// The stores.
    pub stores: Vec<Listing>,
}

/// A place in a log, and all that lies before it in one number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Sequence (inclusive); 0 for the place before the first record.
    pub sequence: u64,
    /// Epoch of the record at that place.
    pub epoch: u64,
    /// Its chain: equal chains mean equal histories.
    #[serde(with = "serde_bytes")]
    pub chain: [u8; 16],
}

/// A question for a place in the follower's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// Epoch of the leader.
    pub epoch: u64,
    /// The partition.
    pub partition: PartitionName,
    /// The place.
    pub at: u64,
}

/// The answer to a [`Probe`], or the end of a log where the leader has sent its catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarkReport {
    /// Epoch of the leader.
    pub epoch: u64,
    /// The partition.
    pub partition: PartitionName,
    /// The place that was asked for; `None`: nobody asked, the follower begins with this log.
    pub at: Option<u64>,
    /// What is at the place; `None` if the log does not reach there.
    pub mark: Option<Mark>,
    /// Where the log ends.
    pub end: Mark,
}

/// An order to set aside all records behind a mark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CutOrder {
    /// Epoch of the leader.
    pub epoch: u64,
    /// The partition.
    pub partition: PartitionName,
    /// The last place in which both logs agree; often the end of the follower's.
    pub to: Mark,
}

/// The log ends with that mark now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CutDone {
    /// Epoch of the leader.
    pub epoch: u64,
    /// The partition.
    pub partition: PartitionName,
    /// Where the log ends.
    pub end: Mark,
}

/// What is said about the records of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordsHead {
    /// Epoch of the leader.
    pub epoch: u64,
    /// The partition.
    pub partition: PartitionName,
    /// Sequence before the first of the records.
    pub previous: u64,
    /// Sequence of the last of the records (inclusive).
    pub last: u64,
    /// What is committed (inclusive).
    pub committed: u64,
}

/// What a follower has of the leader's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// Epoch of the leader whose records they are.
    pub epoch: u64,
    /// The partition.
    pub partition: PartitionName,
    /// Newest sequence that was accepted (inclusive): what comes next must follow it.
    pub accepted: u64,
    /// Newest sequence written (inclusive).
    pub written: u64,
    /// Newest sequence synced (inclusive).
    pub durable: u64,
    /// Something is missing: send again what follows `accepted`.
    pub gap: bool,
}

/// What is committed, where no records are there to carry it. The follower answers with an [`Ack`]
/// if it has less than was sent, or more than was counted: one of the two got lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// Epoch of the leader.
    pub epoch: u64,
    /// The partition.
    pub partition: PartitionName,
    /// What is committed (inclusive).
    pub committed: u64,
    /// What was sent (inclusive).
    pub sent: u64,
    /// What the leader has counted of the acknowledgements (inclusive).
    pub counted: u64,
}
