//! How the process is, for STATUS and for the command line.

use super::Identity;
use super::directory::Directory;
use crate::wire::status::{PartitionStatus, StatusReply};
use crate::{Partition, Store};

/// The status map as bytes.
pub(super) fn status(directory: &Directory, identity: &Identity) -> Vec<u8> {
    let partitions = directory.stores().iter().flat_map(store_status).collect();
    let reply = StatusReply {
        incarnation: identity.incarnation().to_string(),
        lineage: identity.lineage.to_string(),
        epoch: identity.epoch.0,
        durability: identity.durability.as_str().to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        partitions,
    };
    // Plain maps into memory: the encoder has nothing to refuse.
    reply.encode().unwrap_or_default()
}

/// The hosted partitions of a store, those that can't be served included.
fn store_status(store: &Store) -> Vec<PartitionStatus> {
    let served = store.hosted().map(|partition| served(store, partition));
    let broken = store.problems().iter().map(|(number, _)| PartitionStatus {
        store: store.name().to_string(),
        partition: number.0,
        partitions: store.partitions(),
        leader: false,
        first: 0,
        written: 0,
        durable: 0,
        committed: 0,
        segments: 0,
        // Paths and offsets are not for remote callers.
        degraded: vec!["damaged or missing, not served: see the store's log".to_owned()],
    });
    served.chain(broken).collect()
}

fn served(store: &Store, partition: &Partition) -> PartitionStatus {
    let status = partition.status();
    let mut degraded = Vec::new();
    if status.poisoned {
        degraded.push("the disk failed: the process is about to end".to_owned());
    }
    if status.disk_full {
        degraded.push("the disk is full: appends are refused until space returns".to_owned());
    }
    if status.torn_bytes > 0 {
        let bytes = status.torn_bytes;
        degraded.push(format!("a torn tail of {bytes} bytes was cut off and kept at the start"));
    }
    PartitionStatus {
        store: store.name().to_string(),
        partition: partition.number().0,
        partitions: store.partitions(),
        leader: true,
        first: status.first.0,
        written: status.written.0,
        durable: status.durable.0,
        committed: status.head.0,
        segments: u32::try_from(status.segments).unwrap_or(u32::MAX),
        degraded,
    }
}
