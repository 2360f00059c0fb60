//! Stores that leave a node while it runs, and come back.

use std::path::PathBuf;

use uuid::Uuid;

use super::ends::{Ends, Found};
use super::file::{StoreEntry, StoreState};
use super::{Node, State, Store, StoreError, listed};
use crate::names::StoreName;
use crate::partition::Partition;

impl Node {
    /// Takes a store off the list and puts its folder away as `NAME.removed-K`, which is returned.
    /// Until the node is opened anew, no store of that name is made in whose partitions readers of
    /// this one may have stood further.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], `Open`.
    pub fn remove_store(&self, name: &StoreName) -> Result<PathBuf, StoreError> {
        let mut state = self.lock();
        listed(&state, name)?;
        self.change(&mut state, |file| file.stores.retain(|store| store.name != *name))?;
        let_go(&mut state, name);
        state.ends.removed(name);
        Ok(self.folders.put_away(name)?)
    }

    /// Closes a store and leaves its files alone: they can be copied or replaced meanwhile.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], `Detached`, `Open`.
    pub fn detach_store(&self, name: &StoreName) -> Result<(), StoreError> {
        let mut state = self.lock();
        if listed(&state, name)?.state == StoreState::Detached {
            return Err(StoreError::Detached { name: name.clone() });
        }
        self.change(&mut state, |file| file.set_state(name, StoreState::Detached))?;
        let_go(&mut state, name);
        Ok(())
    }

    /// Serves a detached store again, with whatever folders of it lie there now. Since these may
    /// be other ones, the node draws a new incarnation.
    ///
    /// A log that does not go on from where it was when this node detached the store is refused:
    /// its readers know the epoch, and would not be told of the cut. Opening the node anew counts
    /// another one.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], `Attached`, `Cut`, `Read`, `Open`; the store stays detached.
    pub fn attach_store(&self, name: &StoreName) -> Result<Store, StoreError> {
        let mut state = self.lock();
        let entry = listed(&state, name)?.clone();
        if entry.state != StoreState::Detached {
            return Err(StoreError::Attached { name: name.clone() });
        }
        let entry = StoreEntry { hosted: self.folders.ids(&entry)?, ..entry };
        let store = self.open_folders(&state, &entry);
        let checked = store.hosted().try_for_each(|log| check(&state.ends, name, log));
        let attached = checked.and_then(|()| {
            Ok(self.change(&mut state, |file| {
                file.incarnation = Uuid::new_v4();
                file.set_hosted(name, entry.hosted);
                file.set_state(name, StoreState::Attached);
            })?)
        });
        if let Err(error) = attached {
            store.close();
            return Err(error);
        }
        for partition in store.hosted() {
            state.ends.served(name, partition.number());
        }
        state.open.insert(name.clone(), store.clone());
        Ok(store)
    }
}

/// Closes a store, and keeps in mind where its logs end.
///
/// That is the end of what is written. It never lies below what a reader was shown, and asking for
/// it needs no disk, which may be what is wrong. When a log is closed it is above the head only if
/// a write or sync has failed, and then the process has to be started again anyway.
fn let_go(state: &mut State, name: &StoreName) {
    let Some(store) = state.open.remove(name) else { return };
    store.close();
    // Not before: what was queued is written by now.
    state.ends.keep(name, store.hosted().map(|log| (log.number(), log.mark())));
}

/// Whether a log that was opened may be served.
fn check(ends: &Ends, name: &StoreName, log: &Partition) -> Result<(), StoreError> {
    let Some(stood) = ends.of(name, log.number()) else { return Ok(()) };
    let there = log.log_reader().mark(stood.sequence)?;
    ends.check((name, log.number()), Found { there, end: log.mark().sequence })
}
