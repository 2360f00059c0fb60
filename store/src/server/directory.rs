//! Which partitions the process serves right now. Commands change it; every loop follows.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use broker::net::Waker;

use crate::names::StoreName;
use crate::{Partition, PartitionNumber, Store};

/// The served partitions, shared by all loops.
///
/// Each change has a number. A loop compares it with the last one that it has followed, and the
/// broker loop reports when it has let go of partitions that left: only then is a store closed.
#[derive(Clone, Default)]
pub(crate) struct Directory(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    settled: Condvar,
}

#[derive(Default)]
struct State {
    /// Each store with the change that brought it.
    stores: BTreeMap<StoreName, (u64, Store)>,
    changes: u64,
    settled: u64,
    wakers: Vec<Waker>,
}

/// One partition as a loop sees it.
#[derive(Clone)]
pub(crate) struct Hosted {
    pub(crate) store: StoreName,
    /// How many partitions the store has.
    pub(crate) partitions: u16,
    pub(crate) partition: Partition,
    /// The change that brought it. A store that went and came back is another one to the loops,
    /// although its partitions have the same ids.
    pub(crate) since: u64,
}

/// Why a partition is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Absent {
    /// No store of this name is served here.
    Store,
    /// The store has no such partition.
    Number {
        /// How many it has.
        partitions: u16,
    },
    /// The store has it, but it is served elsewhere.
    Elsewhere,
}

impl Directory {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a loop woken at every change.
    pub(crate) fn watch(&self, waker: &Waker) {
        self.lock().wakers.push(waker.clone());
    }

    /// Starts serving a store.
    pub(crate) fn insert(&self, store: Store) {
        let mut state = self.lock();
        state.changed();
        let since = state.changes;
        state.stores.insert(store.name().clone(), (since, store));
    }

    /// Stops serving a store; the number of the change, or `None` if it was not served.
    pub(crate) fn remove(&self, name: &StoreName) -> Option<u64> {
        let mut state = self.lock();
        state.stores.remove(name)?;
        state.changed();
        Some(state.changes)
    }

    /// The number of the newest change.
    pub(crate) fn changes(&self) -> u64 {
        self.lock().changes
    }

    /// Everything that is served, with the number of the change that made it so.
    pub(crate) fn snapshot(&self) -> (u64, Vec<Hosted>) {
        let state = self.lock();
        let hosted = state
            .stores
            .values()
            .flat_map(|(since, store)| store.hosted().map(|one| hosted(store, one, *since)));
        (state.changes, hosted.collect())
    }

    /// The stores that are served.
    pub(crate) fn stores(&self) -> Vec<Store> {
        self.lock().stores.values().map(|(_, store)| store.clone()).collect()
    }

    /// One partition.
    pub(crate) fn find(&self, name: &StoreName, number: u16) -> Result<Hosted, Absent> {
        let state = self.lock();
        let (since, store) = state.stores.get(name).ok_or(Absent::Store)?;
        let partitions = store.partitions();
        if number >= partitions {
            return Err(Absent::Number { partitions });
        }
        let partition = store.partition(PartitionNumber(number)).ok_or(Absent::Elsewhere)?;
        Ok(hosted(store, partition, *since))
    }

    /// The broker loop holds nothing any more that left with this change or before.
    pub(crate) fn settle(&self, change: u64) {
        let mut state = self.lock();
        state.settled = state.settled.max(change);
        self.0.settled.notify_all();
    }

    /// Waits until the broker loop has settled a change; `false` if it takes too long.
    pub(crate) fn wait_settled(&self, change: u64, timeout: Duration) -> bool {
        let waiting =
            self.0.settled.wait_timeout_while(self.lock(), timeout, |state| state.settled < change);
        let (state, _) = waiting.unwrap_or_else(PoisonError::into_inner);
        state.settled >= change
    }
}

impl State {
    fn changed(&mut self) {
        self.changes += 1;
        for waker in &self.wakers {
            waker.wake();
        }
    }
}

fn hosted(store: &Store, partition: &Partition, since: u64) -> Hosted {
    let (name, partition) = (store.name().clone(), partition.clone());
    Hosted { store: name, partitions: store.partitions(), partition, since }
}
