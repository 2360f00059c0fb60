//! What the blocks of one read have said, and whether another block goes on from there.

use store::event::{Epoch, Event, Sequence};
use store::wire::replay::Block;
use uuid::Uuid;

use super::cursor::BlockError;

/// See the module's comment. Nothing is known before the first event was taken.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Seen {
    lineage: Option<Uuid>,
    epoch: Epoch,
    /// Newest committed sequence of the first block (inclusive).
    head: Sequence,
    last: Option<Last>,
}

/// The last event that was taken. An epoch has one leader, and it writes a sequence once: the same
/// epoch at the same sequence is the same event, with the same history before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Last {
    /// Its sequence or version, whichever the read counts by.
    pub(super) place: u64,
    sequence: Sequence,
    epoch: Epoch,
}

impl Last {
    pub(super) fn is(&self, event: &Event) -> bool {
        (event.sequence, event.epoch) == (self.sequence, self.epoch)
    }
}

impl Seen {
    pub(super) fn last(&self) -> Option<Last> {
        self.last
    }

    /// Whether the block goes on where the read is. `first`: it is the first one since the read
    /// was asked for, and so begins with the last event that was taken.
    pub(super) fn check(&self, block: &Block, first: bool) -> Result<(), BlockError> {
        let (Some(lineage), Some(last)) = (self.lineage, self.last) else { return Ok(()) };
        if block.lineage != lineage {
            return Err(BlockError::EpochChanged);
        }
        let lags = block.head < last.sequence || (block.end && block.head < self.head);
        // A reign that changes within a read may have cut it: it is asked for anew.
        let changed_within = block.epoch > self.epoch && !first;
        match block.epoch < self.epoch || lags || changed_within {
            true => Err(BlockError::Behind),
            false => Ok(()),
        }
    }

    /// Notes a block and the last event that was taken of it.
    pub(super) fn note(&mut self, block: &Block, event: &Event, place: u64) {
        if self.lineage.is_none() {
            self.head = block.head;
        }
        self.lineage = Some(block.lineage);
        self.epoch = self.epoch.max(block.epoch);
        self.last = Some(Last { place, sequence: event.sequence, epoch: event.epoch });
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use store::wire::replay::RequestNumber;

    use super::*;

    fn block(epoch: u64, head: u64, end: bool) -> Block {
        Block {
            request: RequestNumber(1),
            lineage: Uuid::from_u128(1),
            incarnation: Uuid::nil(),
            epoch: Epoch(epoch),
            first: Sequence::ZERO,
            last: Sequence::ZERO,
            head: Sequence(head),
            count: 0,
            end,
            records: Bytes::new(),
        }
    }

    #[test]
    fn where_a_read_may_go_on() {
        assert_eq!(Seen::default().check(&block(1, 5, true), false), Ok(()));
        // Twenty of fifty events were taken in epoch 3.
        let last = Last { place: 20, sequence: Sequence(20), epoch: Epoch(2) };
        let (epoch, head) = (Epoch(3), Sequence(50));
        let seen = Seen { lineage: Some(Uuid::from_u128(1)), epoch, head, last: Some(last) };
        let other_lineage = Block { lineage: Uuid::from_u128(2), ..block(3, 50, false) };
        let (behind, changed) = (Err(BlockError::Behind), Err(BlockError::EpochChanged));
        let rows = [
            ("goes on", block(3, 60, false), false, Ok(())),
            ("ends at the head", block(3, 50, true), false, Ok(())),
            ("another history", other_lineage, true, changed),
            ("a former reign", block(2, 60, false), true, behind.clone()),
            ("lags, and ends", block(3, 40, true), true, behind.clone()),
            ("lags, and goes on", block(3, 40, false), true, Ok(())),
            ("lags too far", block(4, 19, false), true, behind.clone()),
            ("a new reign", block(4, 60, false), true, Ok(())),
            ("a new reign within", block(4, 60, false), false, behind),
        ];
        for (name, block, first, result) in rows {
            assert_eq!(seen.check(&block, first), result, "{name}");
        }
    }
}
