//! Whether the log that speaks is the one that was read.

use store::event::{Epoch, Sequence};

use crate::position::{Lineage, Position};

/// What a reader knows of the history that it stands on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Footing {
    lineage: Option<Lineage>,
    /// Highest epoch whose log is known to reach to where the reader is.
    confirmed: Epoch,
}

/// What a leader says of its log.
#[derive(Debug, Clone, Copy)]
pub(super) struct Announcement {
    pub(super) lineage: Lineage,
    pub(super) epoch: Epoch,
    /// Where the former reigns end (inclusive).
    pub(super) cut: Sequence,
    /// Newest committed sequence (inclusive).
    pub(super) head: Sequence,
}

/// What follows for a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ground {
    /// All that was read is in that log.
    Firm,
    /// A reign in between may have cut off what was read: a store has to be asked.
    Unsure,
    /// Not all of it is.
    Lost { other_lineage: bool },
}

impl Footing {
    pub(super) fn new(position: Position) -> Self {
        Self { lineage: position.lineage, confirmed: position.epoch }
    }

    pub(super) fn confirmed(&self) -> Epoch {
        self.confirmed
    }

    pub(super) fn at(&self, sequence: Sequence) -> Position {
        Position { lineage: self.lineage, epoch: self.confirmed, sequence }
    }

    pub(super) fn is_other(&self, lineage: Lineage) -> bool {
        self.lineage.is_some_and(|own| own != lineage)
    }

    /// Judges a leader's word for a reader that has read up to `last` (inclusive).
    pub(super) fn judge(&self, last: Sequence, said: &Announcement) -> Ground {
        // Who has read nothing has lost nothing.
        if last == Sequence::ZERO {
            return Ground::Firm;
        }
        if self.is_other(said.lineage) {
            return Ground::Lost { other_lineage: true };
        }
        if said.epoch <= self.confirmed {
            return Ground::Firm;
        }
        // A position that names no reign can only be compared with where the log ends.
        let unnamed = self.confirmed == Epoch::ZERO;
        let reaches = if unnamed { said.cut.max(said.head) } else { said.cut };
        if reaches < last {
            Ground::Lost { other_lineage: false }
        } else if unnamed || said.epoch.0 == self.confirmed.0.saturating_add(1) {
            Ground::Firm
        } else {
            // The cut tells where the last of the former reigns ended. One of them may have ended
            // below `last`, and the next one may have filled up what it cut off.
            Ground::Unsure
        }
    }

    /// The log of this epoch is known to reach to where the reader is.
    pub(super) fn confirm(&mut self, lineage: Lineage, epoch: Epoch) {
        self.lineage = Some(lineage);
        self.confirmed = self.confirmed.max(epoch);
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const OURS: Lineage = Lineage(Uuid::from_u128(1));
    const OTHER: Lineage = Lineage(Uuid::from_u128(2));

    fn said(lineage: Lineage, epoch: u64, cut: u64, head: u64) -> Announcement {
        let (cut, head) = (Sequence(cut), Sequence(head));
        Announcement { lineage, epoch: Epoch(epoch), cut, head }
    }

    #[test]
    fn what_a_leader_says_of_its_log() {
        let lost = Ground::Lost { other_lineage: false };
        // For a reader at sequence 10 of epoch 3.
        let rows = [
            ("the reign that we know", said(OURS, 3, 4, 9), Ground::Firm),
            ("the next, cut where we are", said(OURS, 4, 10, 10), Ground::Firm),
            ("the next, still without its head", said(OURS, 4, 12, 8), Ground::Firm),
            ("the next, cut before us", said(OURS, 4, 9, 9), lost),
            ("the next, cut before us and grown", said(OURS, 4, 9, 50), lost),
            ("the one after, cut before us", said(OURS, 5, 9, 50), lost),
            ("the one after, and who knows of the first", said(OURS, 5, 30, 50), Ground::Unsure),
            ("another history", said(OTHER, 4, 50, 50), Ground::Lost { other_lineage: true }),
        ];
        for (name, said, ground) in rows {
            let position =
                Position { lineage: Some(OURS), epoch: Epoch(3), sequence: Sequence(10) };
            assert_eq!(Footing::new(position).judge(Sequence(10), &said), ground, "{name}");
        }
    }

    #[test]
    fn a_position_without_a_reign_is_compared_with_the_end() {
        let after = Footing::new(Position::after(Sequence(10)));
        assert_eq!(after.judge(Sequence(10), &said(OURS, 7, 4, 10)), Ground::Firm);
        assert_eq!(after.judge(Sequence(10), &said(OURS, 7, 10, 4)), Ground::Firm);
        let lost = Ground::Lost { other_lineage: false };
        assert_eq!(after.judge(Sequence(10), &said(OURS, 7, 4, 9)), lost);
        let start = Footing::new(Position::START);
        assert_eq!(start.judge(Sequence::ZERO, &said(OTHER, 9, 0, 0)), Ground::Firm);
    }
}
