//! How the pairs are, as their nodes say, and waiting for it.

use std::{collections::BTreeMap, fmt, time::Duration};

use bytes::Bytes;
use store::wire::status::{PartitionStatus, StatusReply};

use crate::{
    clock::Deadline,
    faults::{SIDES, Side, StoreId, Target},
    topology::{STORE, Topology, TopologyError},
};

/// What both nodes hold of each partition, byte for byte: side A first.
pub type BothLogs = BTreeMap<u16, [Bytes; 2]>;

/// How long a node may take to say how it is; one that is stopped says nothing.
const ANSWER_PATIENCE: Duration = Duration::from_millis(300);

/// What the nodes of a pair say. A store without a peer counts as one.
#[derive(Debug, Clone, Default)]
pub struct PairView {
    /// The answers of those that answer.
    pub nodes: BTreeMap<Side, StatusReply>,
}

impl PairView {
    /// The node that leads every partition that it hosts, in the highest epoch if several say so.
    #[must_use]
    pub fn leader(&self) -> Option<Side> {
        let leads = |node: &StatusReply| {
            !node.partitions.is_empty() && node.partitions.iter().all(|partition| partition.leader)
        };
        let leaders = self.nodes.iter().filter(|(_, node)| leads(node));
        leaders.max_by_key(|(_, node)| node.epoch).map(|(side, _)| *side)
    }

    /// Members of the configuration that the leader goes by; 1 without a peer, 0 without a leader.
    #[must_use]
    pub fn members(&self) -> usize {
        let leader = self.leader().and_then(|side| self.nodes.get(&side));
        leader.map_or(0, |node| node.pair.as_ref().map_or(1, |pair| pair.members.len()))
    }

    /// The leader's epoch.
    #[must_use]
    pub fn epoch(&self) -> Option<u64> {
        self.leader().and_then(|side| self.nodes.get(&side)).map(|node| node.epoch)
    }

    /// Committed sequences that a node tells, by partition of the store [`STORE`].
    #[must_use]
    pub fn heads(&self, side: Side) -> BTreeMap<u16, u64> {
        let partitions = self.nodes.get(&side).map(|node| node.partitions.as_slice());
        let ours = |partition: &&PartitionStatus| partition.store == STORE;
        let heads = partitions.unwrap_or_default().iter().filter(ours);
        heads.map(|partition| (partition.partition, partition.committed)).collect()
    }
}

impl fmt::Display for PairView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nodes.is_empty() {
            return f.write_str("no node answers");
        }
        for (index, (side, node)) in self.nodes.iter().enumerate() {
            let comma = if index == 0 { "" } else { "; " };
            write!(f, "{comma}{side:?} is in epoch {}", node.epoch)?;
            if let Some(pair) = &node.pair {
                write!(f, ", {}, {} members", pair.standing, pair.members.len())?;
                write!(f, ", peer {}, witness {}", pair.peer.words, pair.witness.words)?;
                for words in &pair.degraded {
                    write!(f, ", {words}")?;
                }
            }
        }
        Ok(())
    }
}

impl Topology {
    /// Asks the nodes of a pair that are not known to be dead.
    #[must_use]
    pub fn view(&self, pair: usize) -> PairView {
        let mut view = PairView::default();
        for id in self.config.nodes_of(pair) {
            if !self.killed.contains(&Target::Store(id))
                && let Some(store) = self.stores.get(&id)
                && let Ok(status) = self.probe.status(&store.sockets.listen, ANSWER_PATIENCE)
            {
                view.nodes.insert(id.side, status);
            }
        }
        view
    }

    /// Waits until a pair is as wanted, and returns what it is then.
    ///
    /// # Errors
    /// [`TopologyError::Pair`] with what its nodes say instead, or [`TopologyError::Process`] if
    /// a child has ended by itself.
    pub fn wait_pair(
        &mut self,
        pair: usize,
        (awaited, patience): (&str, Duration),
        is_so: impl Fn(&PairView) -> bool,
    ) -> Result<PairView, TopologyError> {
        let mut last = PairView::default();
        let found = Deadline::after(patience).wait_for(|| {
            if let Err(error) = self.check_alive() {
                return Some(Err(error));
            }
            last = self.view(pair);
            is_so(&last).then(|| Ok(last.clone()))
        });
        found.unwrap_or_else(|| {
            let (awaited, seconds) = (awaited.to_owned(), patience.as_secs());
            Err(TopologyError::Pair { pair, awaited, seconds, last: last.to_string() })
        })
    }

    /// Reads what both nodes of a pair hold while nothing is appended. A pair that changes under
    /// the reading, as on a busy machine a short silence makes it do, writes into its logs: then
    /// it is read again.
    ///
    /// # Errors
    /// As [`Topology::wait_pair`], and [`TopologyError::Probe`] if a node does not give its log.
    pub fn both_logs(
        &mut self,
        pair: usize,
        patience: Duration,
    ) -> Result<BothLogs, TopologyError> {
        let level =
            |view: &PairView| view.members() == 2 && view.heads(Side::A) == view.heads(Side::B);
        let deadline = Deadline::after(patience);
        loop {
            let view = self.wait_pair(pair, ("level", deadline.remaining()), level)?;
            let mut logs = BothLogs::new();
            for &partition in view.heads(Side::A).keys() {
                let [one, other] =
                    SIDES.map(|side| self.records(StoreId { pair, side }, partition));
                logs.insert(partition, [one?, other?]);
            }
            let after = self.view(pair);
            if level(&after) && after.heads(Side::A) == view.heads(Side::A) {
                return Ok(logs);
            }
        }
    }

    /// Whether a pair has a leader, and all its nodes are members.
    #[must_use]
    pub fn is_whole(&self, pair: usize) -> bool {
        self.view(pair).members() == self.config.copies
    }

    /// Waits until every pair has a leader, and all nodes are members.
    ///
    /// # Errors
    /// As [`Topology::wait_pair`].
    pub fn wait_whole(&mut self, patience: Duration) -> Result<(), TopologyError> {
        let copies = self.config.copies;
        for pair in 0..self.config.hosted.len() {
            self.wait_pair(pair, ("whole", patience), |view| view.members() == copies)?;
        }
        Ok(())
    }

    /// The node that leads a pair.
    ///
    /// # Errors
    /// [`TopologyError::Pair`] if none does within `patience`.
    pub fn leader(&mut self, pair: usize, patience: Duration) -> Result<StoreId, TopologyError> {
        let view = self.wait_pair(pair, ("led", patience), |view| view.leader().is_some())?;
        let side = view.leader().unwrap_or(Side::A);
        Ok(StoreId { pair, side })
    }

    /// Asks the leader of a pair to hand over to the other node.
    ///
    /// # Errors
    /// [`TopologyError::Probe`] with the sentence of a leader that cannot.
    pub fn hand_over(&mut self, leader: StoreId, patience: Duration) -> Result<(), TopologyError> {
        let store = self.store(leader)?;
        Ok(self.probe.hand_over(&store.sockets.listen, patience)?)
    }
}

#[cfg(test)]
mod tests {
    use store::wire::status::PairStatus;

    use super::*;

    fn node(leads: bool, epoch: u64, members: usize) -> StatusReply {
        let partition = PartitionStatus {
            store: String::from("orders"),
            partition: 3,
            partitions: 4,
            leader: leads,
            first: 1,
            written: 9,
            durable: 9,
            committed: 7,
            segments: 1,
            parked_records: 0,
            parked_files: 0,
            degraded: Vec::new(),
        };
        let pair = PairStatus {
            members: vec![String::new(); members],
            degraded: vec![String::from("the peer is silent")],
            ..PairStatus::default()
        };
        StatusReply {
            incarnation: String::new(),
            lineage: String::new(),
            epoch,
            durability: String::from("pair"),
            version: String::new(),
            partitions: vec![partition],
            disk: None,
            reads: Default::default(),
            pair: Some(pair),
        }
    }

    fn view(nodes: [(Side, StatusReply); 2]) -> PairView {
        PairView { nodes: nodes.into() }
    }

    #[test]
    fn the_leader_of_the_highest_epoch_counts() {
        let deposed = view([(Side::A, node(true, 3, 2)), (Side::B, node(true, 4, 1))]);
        assert_eq!((deposed.leader(), deposed.members()), (Some(Side::B), 1));
        assert_eq!(deposed.epoch(), Some(4));
        let nobody = view([(Side::A, node(false, 3, 2)), (Side::B, node(false, 3, 2))]);
        assert_eq!((nobody.leader(), nobody.members(), nobody.epoch()), (None, 0, None));
        assert_eq!(nobody.heads(Side::A), BTreeMap::from([(3, 7)]));
    }

    #[test]
    fn a_store_without_a_peer_is_whole_by_itself() {
        let alone = StatusReply { pair: None, ..node(true, 2, 0) };
        let view = PairView { nodes: BTreeMap::from([(Side::A, alone)]) };
        assert_eq!((view.leader(), view.members()), (Some(Side::A), 1));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let words = view([(Side::A, node(true, 3, 1)), (Side::B, node(false, 2, 0))]).to_string();
        for part in ["A is in epoch 3", "1 members", "B is in epoch 2", "the peer is silent"] {
            assert!(words.contains(part), "{part}: {words}");
        }
        assert_eq!(PairView::default().to_string(), "no node answers");
    }
}
