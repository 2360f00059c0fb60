//! How a store process is: the answer to STATUS, a MessagePack map with named fields.
//!
//! Fields that a reader does not know are ignored, so that newer processes may say more.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{WireError, map};

/// One process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusReply {
    /// Incarnation of its data directory, as UUID text.
    pub incarnation: String,
    /// Lineage of its history, as UUID text.
    pub lineage: String,
    /// Its epoch.
    pub epoch: u64,
    /// Durability level: `memory`, `local` or `pair`.
    pub durability: String,
    /// Version of the software.
    pub version: String,
    /// One entry for each hosted partition.
    pub partitions: Vec<PartitionStatus>,
    /// The file system of its data directory; absent if the operating system does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<DiskStatus>,
    /// Its replays.
    #[serde(default)]
    pub reads: ReadsStatus,
    /// The pair that it belongs to; absent if it has no peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pair: Option<PairStatus>,
}

/// Room on the file system of a data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskStatus {
    /// Bytes that the process may still take.
    pub free_bytes: u64,
    /// Bytes that there are.
    pub total_bytes: u64,
    /// Bytes of the segments by which logs grow.
    pub segment_bytes: u32,
}

/// Replays under way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadsStatus {
    /// All of them.
    pub open: u32,
    /// Those whose reader has taken nothing for 5 s.
    pub stalled: u32,
    /// For how long the slowest of these has taken nothing, in milliseconds.
    pub stalled_ms: u64,
}

/// One hosted partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionStatus {
    /// Its store.
    pub store: String,
    /// Its number, from 0.
    pub partition: u16,
    /// How many the store has.
    pub partitions: u16,
    /// Whether this node leads it.
    pub leader: bool,
    /// Oldest sequence that is there (inclusive; 0 = none).
    pub first: u64,
    /// Newest sequence handed to the operating system (inclusive).
    pub written: u64,
    /// Newest sequence synced (inclusive).
    pub durable: u64,
    /// The head: newest committed sequence (inclusive).
    pub committed: u64,
    /// Files of the log.
    pub segments: u32,
    /// Records that were set aside when this node followed another leader: never acknowledged at
    /// level `pair`, and never replayed by the system.
    #[serde(default)]
    pub parked_records: u64,
    /// Files that hold them.
    #[serde(default)]
    pub parked_files: u32,
    /// What is wrong or slow, in words for people; empty when all is well.
    pub degraded: Vec<String>,
}

/// A pair as one of its nodes sees it. Words are for people, numbers for programs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairStatus {
    /// How the node was configured: `primary` or `backup`.
    pub role: String,
    /// What it is now, for example `leading`, `following`, `candidate`.
    pub standing: String,
    /// Epoch of the configuration that it knows.
    pub epoch: u64,
    /// Incarnation of the leader as UUID text, if one is known.
    pub leader: Option<String>,
    /// Incarnations of the members, as UUID texts.
    pub members: Vec<String>,
    /// The other node.
    pub peer: NeighbourStatus,
    /// The witness.
    pub witness: NeighbourStatus,
    /// At the leader: events that the follower still lacks, if there is a follower.
    pub lag_events: Option<u64>,
    /// The same in bytes of records.
    pub lag_bytes: Option<u64>,
    /// On how many nodes an event stands when it is acknowledged now; 0 if nothing is.
    pub copies: u8,
    /// How often since the start of the process: `failovers`, `shrinks`, `grows`.
    #[serde(default)]
    pub counts: BTreeMap<String, u64>,
    /// What is wrong, in words for people; empty when all is well.
    pub degraded: Vec<String>,
}

/// Somebody whom a node of a pair hears, or should.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeighbourStatus {
    /// Where it can be reached.
    pub endpoint: String,
    /// Incarnation of the other node as UUID text, once it is known; absent for a witness.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incarnation: Option<String>,
    /// How it is, in words: `heard 35 ms ago`.
    pub words: String,
    /// When it was last heard, in milliseconds before now; `None` = never.
    pub heard_ms: Option<u64>,
}

impl StatusReply {
    /// The map as bytes.
    ///
    /// # Errors
    /// [`WireError::MessagePack`] if the encoder refuses.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        map::encode(self)
    }

    /// Reads a map.
    ///
    /// # Errors
    /// [`WireError::MessagePack`] says what is wrong.
    pub fn decode(body: &[u8]) -> Result<Self, WireError> {
        map::decode(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> StatusReply {
        StatusReply {
            incarnation: "a".into(),
            lineage: "b".into(),
            epoch: 3,
            durability: "local".into(),
            version: "0.1.0".into(),
            partitions: vec![PartitionStatus {
                store: "orders".into(),
                partition: 1,
                partitions: 2,
                leader: true,
                first: 1,
                written: 9,
                durable: 8,
                committed: 8,
                segments: 1,
                parked_records: 4,
                parked_files: 1,
                degraded: vec!["disk full".into()],
            }],
            disk: Some(DiskStatus { free_bytes: 7, total_bytes: 9, segment_bytes: 4096 }),
            reads: ReadsStatus { open: 3, stalled: 1, stalled_ms: 7_000 },
            pair: None,
        }
    }

    #[test]
    fn it_survives_the_way_there_and_back() {
        let status = status();
        assert_eq!(StatusReply::decode(&status.encode().unwrap()).unwrap(), status);
        assert!(StatusReply::decode(b"\x81").is_err());
    }

    #[test]
    fn a_pair_survives_the_way_there_and_back() {
        let pair = PairStatus {
            role: "primary".into(),
            standing: "leading".into(),
            epoch: 7,
            leader: Some("a".into()),
            members: vec!["a".into(), "c".into()],
            peer: NeighbourStatus {
                endpoint: "tcp://10.0.0.2:7501".into(),
                incarnation: Some("c".into()),
                words: "heard 35 ms ago".into(),
                heard_ms: Some(35),
            },
            witness: NeighbourStatus { words: "never heard".into(), ..Default::default() },
            lag_events: Some(12),
            lag_bytes: Some(4096),
            copies: 2,
            counts: BTreeMap::from([("failovers".to_owned(), 1)]),
            degraded: vec!["the witness is silent".into()],
        };
        let status = StatusReply { pair: Some(pair), ..status() };
        assert_eq!(StatusReply::decode(&status.encode().unwrap()).unwrap(), status);
    }

    /// A reply of a process that knows nothing of pairs is read, too.
    #[test]
    fn fields_of_pairs_may_be_absent() {
        #[derive(Serialize)]
        struct Older {
            incarnation: &'static str,
            lineage: &'static str,
            epoch: u64,
            durability: &'static str,
            version: &'static str,
            partitions: Vec<()>,
        }
        let (incarnation, lineage, durability, version) = ("a", "b", "local", "0.1.0");
        let older =
            Older { incarnation, lineage, epoch: 3, durability, version, partitions: Vec::new() };
        let bytes = rmp_serde::to_vec_named(&older).unwrap();
        let reads = ReadsStatus::default();
        let expected = StatusReply { partitions: Vec::new(), disk: None, reads, ..status() };
        assert_eq!(StatusReply::decode(&bytes).unwrap(), expected);
    }
}
