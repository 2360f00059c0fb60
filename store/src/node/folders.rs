//! The folders of stores and partitions below a node's directory.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use uuid::Uuid;

use super::file::StoreEntry;
use crate::event::{Epoch, Sequence};
use crate::log::OpenError;
use crate::log::appender::{Place, create_first_segment};
use crate::log::control::Control;
use crate::log::disk::Disk;
use crate::log::durable::{create_folder, sync_parent};
use crate::names::StoreName;
use crate::partition::{Partition, Setup};
use crate::slot::PartitionNumber;

/// Opens and makes folders of partitions.
pub(crate) struct Folders {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
}

impl Folders {
    /// Folder of a store.
    pub(crate) fn store(&self, name: &StoreName) -> PathBuf {
        self.dir.join(name.as_str())
    }

    fn partition(&self, name: &StoreName, number: PartitionNumber) -> PathBuf {
        self.store(name).join(number.to_string())
    }

    /// Whether something stands where a store's folder would be.
    pub(crate) fn store_is_there(&self, name: &StoreName) -> Result<bool, OpenError> {
        let names = self.disk.list(&self.dir).map_err(OpenError::io(&self.dir))?;
        Ok(names.iter().any(|found| found == name.as_str()))
    }

    /// Makes the folders of a store; those that are complete stay.
    pub(crate) fn make(
        &self,
        store: &StoreEntry,
        epoch: Epoch,
        segment_bytes: u32,
    ) -> Result<(), OpenError> {
        let dir = self.store(&store.name);
        create_folder(&*self.disk, &dir).map_err(OpenError::io(&dir))?;
        for (number, id) in &store.hosted {
            let dir = self.partition(&store.name, *number);
            match Control::read(&*self.disk, &dir) {
                Ok(control) if control.partition_id == *id => continue,
                Ok(control) => {
                    let (expected, found) = (*id, control.partition_id);
                    return Err(OpenError::Exchanged { dir, expected, found });
                }
                Err(OpenError::Missing { .. }) => {}
                Err(error) => return Err(error),
            }
            let place = Place { disk: Arc::clone(&self.disk), dir: dir.clone(), partition_id: *id };
            let made = create_folder(&*self.disk, &dir)
                .and_then(|()| create_first_segment(&place, epoch, segment_bytes))
                .and_then(|()| new_control(store, *number, *id).write(&*self.disk, &dir));
            made.map_err(OpenError::io(&dir))?;
        }
        Ok(())
    }

    /// Opens the hosted partitions of a store, each by itself.
    pub(crate) fn open(
        &self,
        store: &StoreEntry,
        setup: &Setup,
    ) -> Vec<(PartitionNumber, Result<Partition, OpenError>)> {
        let open = |(number, id): &(PartitionNumber, Uuid)| {
            (*number, self.open_one(store, (*number, *id), setup))
        };
        store.hosted.iter().map(open).collect()
    }

    /// Opens one hosted partition of a store.
    pub(crate) fn open_one(
        &self,
        store: &StoreEntry,
        (number, id): (PartitionNumber, Uuid),
        setup: &Setup,
    ) -> Result<Partition, OpenError> {
        let control = self.control(store, number)?;
        let dir = self.partition(&store.name, number);
        if control.partition_id != id {
            let (expected, found) = (id, control.partition_id);
            return Err(OpenError::Exchanged { dir, expected, found });
        }
        let place = Place { disk: Arc::clone(&self.disk), dir, partition_id: id };
        Partition::open(&place, &control, setup)
    }

    /// The control file of a partition, which must be that partition's.
    fn control(&self, store: &StoreEntry, number: PartitionNumber) -> Result<Control, OpenError> {
        let dir = self.partition(&store.name, number);
        let control = Control::read(&*self.disk, &dir)?;
        let expected = describe(&store.name, number, store.partitions);
        let found = describe(&control.store, control.number, control.partitions);
        if expected != found {
            return Err(OpenError::OtherPartition { dir, expected, found });
        }
        Ok(control)
    }

    /// The ids of a store's folders as they are now.
    pub(crate) fn ids(
        &self,
        store: &StoreEntry,
    ) -> Result<Vec<(PartitionNumber, Uuid)>, OpenError> {
        let id = |(number, _): &(PartitionNumber, Uuid)| {
            self.control(store, *number).map(|control| (*number, control.partition_id))
        };
        store.hosted.iter().map(id).collect()
    }

    /// Renames the folder of a store that is listed no more; a person may delete it.
    pub(crate) fn put_away(&self, name: &StoreName) -> Result<PathBuf, OpenError> {
        let from = self.store(name);
        let names = self.disk.list(&self.dir).map_err(OpenError::io(&self.dir))?;
        let free = (1_u32..).map(|number| format!("{name}.removed-{number}"));
        let to = free.into_iter().find(|to| !names.contains(to)).unwrap_or_default();
        let to = self.dir.join(to);
        self.disk
            .rename(&from, &to)
            .and_then(|()| sync_parent(&*self.disk, &to))
            .map_err(OpenError::io(&from))?;
        Ok(to)
    }
}

/// What a partition is, for comparing and for messages.
fn describe(store: &StoreName, number: PartitionNumber, partitions: u16) -> String {
    format!("partition {number} of {partitions} of store {store}")
}

fn new_control(store: &StoreEntry, number: PartitionNumber, partition_id: Uuid) -> Control {
    #[expect(clippy::disallowed_methods, reason = "the time of creation, for people")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Control {
        partition_id,
        store: store.name.clone(),
        number,
        partitions: store.partitions,
        first: Sequence(1),
        created_micros: u64::try_from(now.as_micros()).unwrap_or_default(),
    }
}

/// Whether a partition's data is not what this node left there.
pub(crate) fn is_foreign(error: &OpenError) -> bool {
    matches!(
        error,
        OpenError::Missing { .. } | OpenError::Exchanged { .. } | OpenError::OtherPartition { .. }
    )
}
