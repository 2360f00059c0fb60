//! How the process is, for STATUS and for the command line.

use super::Identity;
use super::directory::Directory;
use super::reign::ReignState;
use crate::pair;
use crate::wire::status::{
    DiskStatus, NeighbourStatus, PairStatus, PartitionStatus, ReadsStatus, StatusReply,
};
use crate::{Partition, Store};

/// The status map as bytes.
pub(super) fn status(
    directory: &Directory,
    identity: &Identity,
    (disk, reads): (Option<DiskStatus>, ReadsStatus),
) -> Vec<u8> {
    let state = identity.state();
    let partitions = directory.stores();
    let partitions = partitions.iter().flat_map(|store| store_status(store, &state)).collect();
    let reply = StatusReply {
        incarnation: state.incarnation.to_string(),
        lineage: state.lineage.to_string(),
        epoch: state.epoch.0,
        durability: identity.durability.as_str().to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        partitions,
        disk,
        reads,
        pair: identity.reign.pair().map(|pair| pair_status(pair.status())),
    };
    // Plain maps into memory: the encoder has nothing to refuse.
    reply.encode().unwrap_or_default()
}

/// The hosted partitions of a store, those that can't be served included.
fn store_status(store: &Store, state: &ReignState) -> Vec<PartitionStatus> {
    let served = store.hosted().map(|partition| served(store, partition, state.leading));
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
        parked_records: 0,
        parked_files: 0,
        // Paths and offsets are not for remote callers.
        degraded: vec!["damaged or missing, not served: see the store's log".to_owned()],
    });
    served.chain(broken).collect()
}

fn served(store: &Store, partition: &Partition, leader: bool) -> PartitionStatus {
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
        leader,
        first: status.first.0,
        written: status.written.0,
        durable: status.durable.0,
        committed: status.head.0,
        segments: u32::try_from(status.segments).unwrap_or(u32::MAX),
        parked_records: status.parked_records,
        parked_files: u32::try_from(status.parked_files).unwrap_or(u32::MAX),
        degraded,
    }
}

/// The pair, in the words of the wire.
fn pair_status(status: pair::PairStatus) -> PairStatus {
    let text = |id: uuid::Uuid| id.to_string();
    let counts =
        [("failovers", status.failovers), ("shrinks", status.shrinks), ("grows", status.grows)];
    PairStatus {
        role: status.role.to_owned(),
        standing: status.standing,
        epoch: status.epoch,
        leader: status.leader.map(text),
        members: status.members.into_iter().map(text).collect(),
        peer: NeighbourStatus {
            endpoint: status.peer_endpoint,
            incarnation: status.peer_incarnation.map(text),
            words: status.peer,
            heard_ms: status.peer_heard_ms,
        },
        witness: NeighbourStatus {
            endpoint: status.witness_endpoint,
            incarnation: None,
            words: status.witness,
            heard_ms: status.witness_heard_ms,
        },
        lag_events: status.lag_events,
        lag_bytes: status.lag_bytes,
        copies: status.copies,
        counts: counts.map(|(name, count)| (name.to_owned(), count)).into(),
        degraded: status.degraded,
    }
}
