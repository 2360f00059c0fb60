//! What a projection has applied, kept beside its documents in the same transactions.

use serde::{Deserialize, Serialize};
use store::Event;

use crate::views::{Documents, FoldError, update};

/// Count and digest of the events of one partition that a projection applied.
///
/// The digest covers sequence and id of every event in the order of application: it equals that
/// of a full replay only if each event was applied once and in order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Audit {
    /// How many.
    pub events: u64,
    /// Sequence of the newest one.
    pub sequence: u64,
    /// CRC-32 chained over sequences and ids.
    pub digest: u32,
}

impl Audit {
    fn apply(&mut self, event: &Event) {
        let mut crc = crc32fast::Hasher::new_with_initial(self.digest);
        crc.update(&event.sequence.0.to_le_bytes());
        crc.update(event.id.as_bytes());
        self.digest = crc.finalize();
        self.sequence = event.sequence.0;
        self.events += 1;
    }
}

/// Takes down that a projection applied these events of a partition.
pub(super) fn fold(
    documents: &mut dyn Documents,
    (view, partition): (&'static str, u16),
    events: &[Event],
) -> Result<(), FoldError> {
    update(documents, (view, &partition.to_string()), |audit: &mut Audit| {
        events.iter().for_each(|event| audit.apply(event));
    })
}

#[cfg(test)]
mod tests {
    use store::Sequence;

    use super::*;
    use crate::views::tests::recorded;

    fn audit_of(sequences: &[u64]) -> Audit {
        let mut audit = Audit::default();
        for &sequence in sequences {
            let event = Event { sequence: Sequence(sequence), ..recorded("a-1", "A", "{}") };
            audit.apply(&event);
        }
        audit
    }

    #[test]
    fn lost_doubled_and_swapped_events_change_it() {
        let sound = audit_of(&[1, 2, 3]);
        assert_eq!(sound, audit_of(&[1, 2, 3]));
        for other in [&[1, 3][..], &[1, 2, 2, 3], &[2, 1, 3]] {
            assert_ne!(sound, audit_of(other), "{other:?}");
        }
        assert_ne!(sound.digest, audit_of(&[2, 1, 3]).digest);
    }
}
