//! What a client was told is committed: its own reads must see it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use broker::dialect::{StoreTopology, Topology};
use store::event::{Epoch, Sequence};

use super::command::PartitionKey;

/// The newest acknowledgement of one partition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Reign that acknowledged.
    pub(crate) epoch: Epoch,
    /// Last acknowledged sequence (inclusive).
    pub(crate) sequence: Sequence,
    /// Whether no failover can take it back; see [`acknowledged_lasts`].
    pub(crate) lasting: bool,
}

impl Mark {
    /// What a member that is in this epoch must have before it answers.
    pub(crate) fn at_least(self, epoch: Epoch) -> Sequence {
        // A later reign may have begun without it, and then nobody will ever have it.
        if self.lasting || epoch <= self.epoch { self.sequence } else { Sequence::ZERO }
    }

    fn raise(&mut self, newer: Mark) {
        if newer.epoch > self.epoch && !newer.lasting {
            *self = newer;
            return;
        }
        self.epoch = self.epoch.max(newer.epoch);
        self.sequence = self.sequence.max(newer.sequence);
        self.lasting = newer.lasting;
    }
}

/// One partition's mark, shared by its lane and by readers.
#[derive(Debug, Clone, Default)]
pub(crate) struct SharedMark(Arc<Mutex<Mark>>);

impl SharedMark {
    pub(crate) fn get(&self) -> Mark {
        *self.lock()
    }

    pub(super) fn raise(&self, newer: Mark) {
        self.lock().raise(newer);
    }

    fn lock(&self) -> MutexGuard<'_, Mark> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The marks of all partitions that were used.
#[derive(Debug, Clone, Default)]
pub(super) struct Acknowledged(Arc<Mutex<HashMap<PartitionKey, SharedMark>>>);

impl Acknowledged {
    pub(super) fn of(&self, key: &PartitionKey) -> SharedMark {
        let mut marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        marks.entry(key.clone()).or_default().clone()
    }
}

/// Whether what this partition acknowledges, and every conflict that it reports, is there to stay
/// whoever comes to lead: at level `pair`, and at `local` without a peer. `None` while nobody
/// leads.
pub(super) fn acknowledged_lasts(
    topology: &Topology,
    store: &StoreTopology,
    partition: u16,
) -> Option<bool> {
    let leader = store.leader(partition)?;
    Some(match leader.durability.as_str() {
        "pair" => true,
        "local" => {
            let members = store.members.iter().filter(|member| member.partition == partition);
            let witness = topology.witness.as_ref();
            let of_a_pair = witness.is_some_and(|witness| {
                witness.pairs.iter().any(|pair| pair.lineage == leader.lineage)
            });
            members.count() == 1 && !of_a_pair
        }
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use broker::dialect::{MemberTopology, PairTopology, WitnessTopology};
    use uuid::Uuid;

    use super::*;

    fn mark(epoch: u64, sequence: u64, lasting: bool) -> Mark {
        Mark { epoch: Epoch(epoch), sequence: Sequence(sequence), lasting }
    }

    #[test]
    fn a_lasting_mark_is_asked_of_everybody_another_only_of_its_reign() {
        assert_eq!(mark(3, 9, true).at_least(Epoch(4)), Sequence(9));
        assert_eq!(mark(3, 9, false).at_least(Epoch(3)), Sequence(9));
        assert_eq!(mark(3, 9, false).at_least(Epoch(4)), Sequence::ZERO);
    }

    #[test]
    fn marks_rise_and_fall_only_with_a_reign_that_may_have_cut() {
        let mut lasting = mark(3, 9, true);
        lasting.raise(mark(4, 5, true));
        assert_eq!(lasting, mark(4, 9, true), "an old append, answered again");
        let mut local = mark(3, 9, false);
        local.raise(mark(3, 7, false));
        assert_eq!(local, mark(3, 9, false));
        local.raise(mark(4, 5, false));
        assert_eq!(local, mark(4, 5, false));
    }

    #[test]
    fn levels_peers_and_witnesses_tell_what_lasts() {
        let member = |leader, durability: &str| MemberTopology {
            partition: 0,
            leader,
            epoch: 3,
            incarnation: Uuid::nil(),
            lineage: Uuid::nil(),
            durability: durability.to_owned(),
            feed: String::new(),
            replay: String::new(),
            alive_ms: 0,
        };
        let pair = |lineage| PairTopology {
            lineage,
            epoch: 3,
            leader: None,
            nodes: Vec::new(),
            ready: true,
        };
        // Members; lineage of a pair that the witness knows; what lasts.
        let rows = [
            (vec![member(true, "pair")], None, Some(true)),
            (vec![member(true, "pair"), member(false, "pair")], None, Some(true)),
            (vec![member(true, "local")], None, Some(true)),
            (vec![member(true, "local"), member(false, "local")], None, Some(false)),
            (vec![member(true, "local")], Some(Uuid::nil()), Some(false)),
            (vec![member(true, "local")], Some(Uuid::from_u128(7)), Some(true)),
            (vec![member(true, "memory")], None, Some(false)),
            (vec![member(false, "pair")], None, None),
        ];
        for (members, paired, lasts) in rows {
            let store = StoreTopology { name: "orders".to_owned(), partitions: 1, members };
            let pairs = paired.map(pair).into_iter().collect();
            let witness = Some(WitnessTopology { pairs, ..WitnessTopology::default() });
            let topology = Topology { witness, ..Topology::default() };
            assert_eq!(acknowledged_lasts(&topology, &store, 0), lasts, "{store:?} {paired:?}");
        }
    }
}
