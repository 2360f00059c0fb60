//! What the leader has: the follower makes the stores that it lacks, then says how its logs end.

use std::time::Instant;

use broker::witness::PartitionName;

use super::following::{Done, FollowerSide, What};
use super::{Done as AnyDone, PairLoop};
use crate::pair::message::{Catalogue, Listing};
use crate::pair::replication::{FollowerInput, LogEnd};
use crate::pair::settings::PairError;
use crate::server::directory::Directory;
use crate::server::lifecycle::Lifecycle;
use crate::server::start::serve;
use crate::{Node, StoreError, StoreName};

/// A catalogue that has overtaken the news of its epoch, which comes over another connection. It
/// is kept: until the leader sends it again, the new reign would wait for its follower.
#[derive(Debug, Default)]
pub(super) struct Early(Option<Catalogue>);

impl Early {
    /// Keeps it, unless `epoch`, which is known here, is later.
    fn keep(&mut self, catalogue: Catalogue, epoch: u64) {
        let newest = self.0.as_ref().map_or(epoch, |kept| kept.epoch);
        if catalogue.epoch >= newest {
            self.0 = Some(catalogue);
        }
    }

    /// That of this epoch, if it has come. Older ones are dropped.
    fn take(&mut self, epoch: u64) -> Option<Catalogue> {
        let is_due = self.0.as_ref().is_some_and(|kept| kept.epoch <= epoch);
        self.0.take_if(|_| is_due).filter(|kept| kept.epoch == epoch)
    }
}

impl PairLoop {
    pub(super) fn catalogue(
        &mut self,
        catalogue: Catalogue,
        now: Instant,
    ) -> Result<(), PairError> {
        if !self.takes_from(catalogue.epoch) {
            self.early.keep(catalogue, self.machine.epoch());
            return Ok(());
        }
        let Some((leader, epoch)) = self.machine.follows() else {
            return Ok(());
        };
        if self.follower.as_ref().is_none_or(|side| side.since != catalogue.since) {
            self.follower = Some(FollowerSide::new((leader, epoch), self.counted(), &catalogue));
        }
        if let Some(side) = &mut self.follower {
            side.catalogue = Some(catalogue);
        }
        self.make_ready(now)
    }

    /// The node follows in this epoch from now on.
    pub(super) fn early_catalogue(&mut self, epoch: u64, now: Instant) -> Result<(), PairError> {
        match self.early.take(epoch) {
            Some(catalogue) => self.catalogue(catalogue, now),
            None => Ok(()),
        }
    }

    /// Has the listed stores made, and reports them once their writers are at rest: what they
    /// still hold of an earlier leader would move an end that was reported.
    pub(super) fn make_ready(&mut self, now: Instant) -> Result<(), PairError> {
        let Some(side) = &mut self.follower else {
            return Ok(());
        };
        let Some(catalogue) = side.catalogue.as_ref().filter(|_| !side.making) else {
            return Ok(());
        };
        let is_there = |listing: &Listing| {
            let name = PartitionName(format!("{}/{}", listing.store, listing.last));
            self.logs.get(&name).is_some()
        };
        let missing: Vec<_> =
            catalogue.stores.iter().filter(|listing| !is_there(listing)).cloned().collect();
        if !missing.is_empty() {
            side.making = true;
            let since = side.since;
            let (node, directory) = (self.shared.node.clone(), self.shared.directory.clone());
            let lifecycle = self.shared.lifecycle.clone();
            self.worker.submit(Box::new(move || {
                let made = make(&missing, &node, (&directory, &lifecycle));
                AnyDone::Following(Done { since, what: What::Made(made) })
            }));
            return Ok(());
        }
        if self.logs.has_outstanding() {
            return Ok(());
        }
        let listed = catalogue.stores.iter().flat_map(|listing| {
            let numbers = listing.first..=listing.last;
            numbers.map(|number| PartitionName(format!("{}/{number}", listing.store)))
        });
        let end = |partition: PartitionName| {
            let log = self.logs.get(&partition)?.partition();
            let (end, held) = (log.mark().into(), log.held().0);
            Some(LogEnd { partition, end, held })
        };
        let ends = listed.filter_map(end).collect();
        side.catalogue = None;
        self.follow_input(FollowerInput::Ready(ends), now)
    }

    pub(super) fn made(
        &mut self,
        result: Result<(), StoreError>,
        now: Instant,
    ) -> Result<(), PairError> {
        if let Err(error) = result {
            log::error!("a store of the leader can't be made here: {error}");
        }
        if let Some(side) = &mut self.follower {
            side.making = false;
        }
        self.follow_directory(now)
    }
}

/// Makes what is missing here of the leader's stores, and has it served.
fn make(
    listings: &[Listing],
    node: &Node,
    (directory, lifecycle): (&Directory, &Lifecycle),
) -> Result<(), StoreError> {
    for listing in listings {
        let name = StoreName::new(&listing.store).map_err(|_| StoreError::Partitions {
            wanted: format!("a name that is none, {:?}", listing.store),
        })?;
        let store = node.ensure_store(&name, listing.partitions, listing.first..=listing.last)?;
        serve(&store, directory, lifecycle);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(epoch: u64) -> Catalogue {
        Catalogue { epoch, since: 1, stores: Vec::new() }
    }

    #[test]
    fn what_comes_early_is_there_when_its_epoch_is() {
        let mut early = Early::default();
        early.keep(of(6), 5);
        assert_eq!(early.take(5), None);
        assert_eq!(early.take(6), Some(of(6)));
        assert_eq!(early.take(6), None, "once");
    }

    #[test]
    fn a_later_one_takes_the_place_of_an_earlier_one_and_not_the_other_way_round() {
        let mut early = Early::default();
        early.keep(of(7), 5);
        early.keep(of(6), 5);
        assert_eq!(early.take(6), None);
        assert_eq!(early.take(7), Some(of(7)));
        early.keep(of(4), 5);
        assert_eq!(early.take(4), None, "its epoch is over");
        early.keep(of(6), 5);
        assert_eq!(early.take(8), None);
        assert_eq!(early.take(6), None, "it was dropped");
    }
}
