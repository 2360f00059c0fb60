//! How a store process is: the answer to STATUS, a MessagePack map with named fields.
//!
//! Fields that a reader does not know are ignored, so that newer processes may say more.

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
    /// Durability level: `memory` or `local`.
    pub durability: String,
    /// Version of the software.
    pub version: String,
    /// One entry for each hosted partition.
    pub partitions: Vec<PartitionStatus>,
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
    /// What is wrong or slow, in words for people; empty when all is well.
    pub degraded: Vec<String>,
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

    #[test]
    fn it_survives_the_way_there_and_back() {
        let status = StatusReply {
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
                degraded: vec!["disk full".into()],
            }],
        };
        assert_eq!(StatusReply::decode(&status.encode().unwrap()).unwrap(), status);
        assert!(StatusReply::decode(b"\x81").is_err());
    }
}
