//! Where logs ended that this process has served and let go.
//!
//! Readers are told a lineage and an epoch, and both stay the same as long as a process runs. A
//! log that comes back within that time must go on from where it was: if it does not, only a new
//! epoch, which a start counts, tells its readers that they have more than it holds.

use std::collections::BTreeMap;

use super::StoreError;
use crate::event::{LogMark, Sequence};
use crate::names::StoreName;
use crate::slot::PartitionNumber;

/// Most ends that are kept of stores that come and go. Those of detached stores are kept beyond
/// it: their number is limited by what the node hosts.
const ENDS_MAX: usize = 16 * 1024;

/// The ends of logs with records in them. Nobody stands in an empty one.
#[derive(Debug, Default)]
pub(super) struct Ends {
    known: BTreeMap<(StoreName, PartitionNumber), LogMark>,
    /// A removed store found no room: nobody knows any more which one that was.
    forgot: bool,
}

/// What there is in a log that is to be served.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    /// Its mark at the sequence where the log ended that was served; `None` where it has no
    /// record of that sequence.
    pub(super) there: Option<LogMark>,
    /// Where it ends.
    pub(super) end: Sequence,
}

impl Found {
    /// A log without records.
    const EMPTY: Self = Self { there: None, end: Sequence::ZERO };
}

impl Ends {
    /// A store is let go, and this is where its logs ended.
    pub(super) fn keep(
        &mut self,
        store: &StoreName,
        ends: impl IntoIterator<Item = (PartitionNumber, LogMark)>,
    ) {
        let ends = ends.into_iter().filter(|(_, mark)| mark.sequence > Sequence::ZERO);
        self.known.extend(ends.map(|(number, mark)| ((store.clone(), number), mark)));
    }

    /// A store that was let go is not listed any more. If there are too many such ones, it is
    /// forgotten; what is added is then refused, for it may be just that one.
    pub(super) fn removed(&mut self, store: &StoreName) {
        if self.known.len() > ENDS_MAX {
            self.known.retain(|(name, _), _| name != store);
            self.forgot = true;
        }
    }

    /// Where a log ended that was let go, if this process knows of one.
    pub(super) fn of(&self, store: &StoreName, number: PartitionNumber) -> Option<LogMark> {
        self.known.get(&(store.clone(), number)).copied()
    }

    /// The log is served again.
    pub(super) fn served(&mut self, store: &StoreName, number: PartitionNumber) {
        self.known.remove(&(store.clone(), number));
    }

    /// Whether a log of a listed store may be served.
    pub(super) fn check(
        &self,
        (store, partition): (&StoreName, PartitionNumber),
        found: Found,
    ) -> Result<(), StoreError> {
        match self.of(store, partition) {
            Some(stood) if found.there != Some(stood) => Err(StoreError::Cut {
                name: store.clone(),
                partition,
                stood: stood.sequence,
                end: found.end,
            }),
            _ => Ok(()),
        }
    }

    /// Whether an empty log may be served, of a store that is not listed yet.
    pub(super) fn check_new(
        &self,
        store: &StoreName,
        partition: PartitionNumber,
    ) -> Result<(), StoreError> {
        self.check((store, partition), Found::EMPTY)?;
        match self.forgot {
            true => Err(StoreError::Forgotten { name: store.clone() }),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Epoch;

    fn name(name: &str) -> StoreName {
        StoreName::new(name).unwrap()
    }

    fn mark(sequence: u64, epoch: u64, chain: u8) -> LogMark {
        LogMark { sequence: Sequence(sequence), epoch: Epoch(epoch), chain: [chain; 16] }
    }

    /// Of `users`, partition 1 stood at 80 and partition 2 was empty.
    fn ends() -> Ends {
        let mut ends = Ends::default();
        let of_users = [(1, mark(80, 3, 7)), (2, LogMark::default())];
        ends.keep(&name("users"), of_users.map(|(number, mark)| (PartitionNumber(number), mark)));
        ends
    }

    #[test]
    fn what_may_be_served() {
        let log = |there, end| Found { there, end: Sequence(end) };
        let (same, stands) = (Some(mark(80, 3, 7)), Ok(()));
        let cut_at = |end| Err((Sequence(80), Sequence(end)));
        let rows = [
            ("the same log", ("users", 1), log(same, 80), stands),
            ("it has gone on", ("users", 1), log(same, 90), stands),
            ("an earlier copy", ("users", 1), log(None, 40), cut_at(40)),
            ("a new log", ("users", 1), Found::EMPTY, cut_at(0)),
            ("as long, other records", ("users", 1), log(Some(mark(80, 3, 8)), 80), cut_at(80)),
            ("longer, other records", ("users", 1), log(Some(mark(80, 3, 8)), 95), cut_at(95)),
            ("of another epoch", ("users", 1), log(Some(mark(80, 2, 7)), 80), cut_at(80)),
            ("its oldest records are gone", ("users", 1), log(None, 90), cut_at(90)),
            ("nobody stood in it", ("users", 2), Found::EMPTY, stands),
            ("it was not hosted", ("users", 0), log(None, 40), stands),
            ("another store", ("orders", 1), log(None, 40), stands),
        ];
        for (row, (store, number), found, expected) in rows {
            let result = ends().check((&name(store), PartitionNumber(number)), found);
            let result = result.map_err(|error| match error {
                StoreError::Cut { stood, end, .. } => (stood, end),
                other => panic!("{row}: {other}"),
            });
            assert_eq!(result, expected, "{row}");
        }
    }

    #[test]
    fn an_end_is_known_until_the_log_is_served_again() {
        let mut ends = ends();
        let (users, one) = (name("users"), PartitionNumber(1));
        ends.removed(&users);
        assert!(matches!(ends.check_new(&users, one), Err(StoreError::Cut { .. })));
        assert!(ends.check_new(&users, PartitionNumber(0)).is_ok());
        ends.served(&users, one);
        assert!(ends.check_new(&users, one).is_ok());
    }

    #[test]
    fn who_has_forgotten_a_removed_store_adds_none() {
        let mut ends = Ends::default();
        let numbers = |count: usize| (0..).map(PartitionNumber).take(count);
        let full = |number| (number, mark(1, 1, 1));
        let (orders, users) = (name("orders"), name("users"));
        ends.keep(&orders, numbers(ENDS_MAX).map(full));
        ends.removed(&orders);
        assert!(ends.check_new(&users, PartitionNumber(0)).is_ok(), "there was room for all");
        ends.keep(&users, numbers(1).map(full));
        let users_0 = (&users, PartitionNumber(0));
        assert!(ends.check(users_0, Found::EMPTY).is_err(), "one that is detached is known");
        ends.removed(&users);
        assert_eq!(ends.known.len(), ENDS_MAX);
        for store in ["users", "other"] {
            let result = ends.check_new(&name(store), PartitionNumber(0));
            assert!(matches!(result, Err(StoreError::Forgotten { .. })), "{result:?}");
        }
        let of_orders = ends.check_new(&orders, PartitionNumber(0));
        assert!(matches!(of_orders, Err(StoreError::Cut { .. })), "{of_orders:?}");
        let listed = (&name("other"), PartitionNumber(0));
        assert!(ends.check(listed, Found::EMPTY).is_ok(), "it was detached when the process began");
    }
}
