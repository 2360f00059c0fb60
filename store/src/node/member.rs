//! A node as a member of a pair. What the pair is and who leads it is known elsewhere: here are its
//! record in the node file, and logs that follow until they are told to lead.

use std::path::Path;
use std::sync::Arc;

use uuid::Uuid;

use super::file::{NODE_MAGIC, NODE_NAME, NodeFile};
use super::folders::Folders;
use super::lock::DirLock;
use super::{Node, NodeOptions, Store, open_node_file};
use crate::event::{Epoch, LogMark};
use crate::log::OpenError;
use crate::log::disk::{Disk, FileDisk};
use crate::log::slots::SlotFile;
use crate::names::StoreName;
use crate::partition::{CutError, Durability, Parked};
use crate::slot::PartitionNumber;

impl Node {
    /// Opens a directory, which is made if it does not exist, for a member of a pair: its epoch
    /// stays, and its partitions follow, commit nothing, and show what is known to be committed.
    ///
    /// At level `memory` a restart may have lost what the other member believes to be here, so the
    /// node draws a new incarnation.
    ///
    /// # Errors
    /// [`OpenError`], e.g. when another process has the directory.
    pub fn open_member(dir: &Path, options: &NodeOptions) -> Result<Self, OpenError> {
        Self::open_locked(dir, options, Self::open_member_on)
    }

    /// [`Node::open_member`] for an existing directory of another kind of disk, without a lock.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open_member_on(
        disk: Arc<dyn Disk>,
        dir: &Path,
        options: &NodeOptions,
    ) -> Result<Self, OpenError> {
        options.validate()?;
        let (mut slots, mut file) = open_node_file(&*disk, dir)?;
        if options.durability == Durability::Memory {
            file.incarnation = Uuid::new_v4();
        }
        // Also where nothing changes: what a killed process has written may not be on disk yet,
        // and nobody may act on a record that a power loss can take back.
        let path = dir.join(NODE_NAME);
        slots.write(&file.encode()).map_err(OpenError::io(&path))?;
        Self::start(Folders { disk, dir: dir.to_owned() }, options, (slots, file, false))
    }

    /// What the pair had saved last; `None` if the node belongs to none.
    #[must_use]
    pub fn pair_record(&self) -> Option<Vec<u8>> {
        self.lock().file.pair.clone()
    }

    /// Saves what the pair must know of itself, with the history that the logs belong to and the
    /// newest epoch that a record may have. Durable on return; the node is a member from then on.
    ///
    /// # Errors
    /// [`OpenError::EpochBehind`] when a log has records of a higher epoch, [`OpenError::Io`]; what
    /// was saved before stands then.
    pub fn save_pair_record(
        &self,
        record: &[u8],
        lineage: Uuid,
        epoch: Epoch,
    ) -> Result<(), OpenError> {
        let mut state = self.lock();
        let partitions = state.open.values().flat_map(Store::hosted);
        if let Some(log) = partitions.map(|partition| partition.mark().epoch).max()
            && log > epoch
        {
            return Err(OpenError::EpochBehind { dir: self.dir().to_owned(), log, node: epoch });
        }
        self.change(&mut state, |file| {
            file.pair = Some(record.to_vec());
            file.lineage = lineage;
            file.epoch = epoch;
        })
    }

    /// Cuts the log of a partition that follows: what stands after `to` is set aside in a file of
    /// its own, durable, and only then taken off. The partition is opened anew; the store that is
    /// returned has it, while those who hold the former one find it closed. Other partitions are
    /// not touched.
    ///
    /// # Errors
    /// [`CutError`]. When setting aside fails nothing is cut.
    pub fn cut(
        &self,
        store: &StoreName,
        number: PartitionNumber,
        to: LogMark,
    ) -> Result<(Store, Parked), CutError> {
        let mut state = self.lock();
        let not_hosted = || CutError::NotHosted { store: store.clone(), partition: number };
        let open = state.open.get(store).cloned().ok_or_else(not_hosted)?;
        let entry = state.file.store(store).cloned().ok_or_else(not_hosted)?;
        let partition = open.partition(number).ok_or_else(not_hosted)?;
        let parked = match partition.cut(to) {
            Ok(None) => return Ok((open, Parked::default())),
            Ok(Some(parked)) => parked,
            Err(error) => return Err(error),
        };
        let id = (number, partition.id());
        let reopened = self.folders.open_one(&entry, id, &self.setup_now(&state))?;
        let store = open.reopened(number, reopened);
        state.open.insert(store.name().clone(), store.clone());
        Ok((store, parked))
    }

    /// Gives the data of a directory that no process uses another identity, e.g. after it was put
    /// back from a copy: nobody takes it for what it was before. Returns the new incarnation.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn renew(dir: &Path) -> Result<Uuid, OpenError> {
        change_offline(dir, |file| file.incarnation = Uuid::new_v4()).map(|file| file.incarnation)
    }

    /// Takes a directory that no process uses out of its pair, for good. What it holds becomes a
    /// history of its own: a new lineage. Returns that.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn leave_pair(dir: &Path) -> Result<Uuid, OpenError> {
        let left = change_offline(dir, |file| {
            file.incarnation = Uuid::new_v4();
            file.lineage = Uuid::new_v4();
            file.pair = None;
        });
        left.map(|file| file.lineage)
    }
}

/// Changes the node file of a directory that no process uses.
fn change_offline(dir: &Path, change: impl FnOnce(&mut NodeFile)) -> Result<NodeFile, OpenError> {
    let path = dir.join(NODE_NAME);
    if !path.exists() {
        return Err(OpenError::NoNode { dir: dir.to_owned() });
    }
    let _lock = DirLock::acquire(dir)?;
    let opened = SlotFile::open(&FileDisk, &path, NODE_MAGIC)?;
    let (mut slots, content) = opened.ok_or_else(|| OpenError::NoNode { dir: dir.to_owned() })?;
    let mut file = NodeFile::decode(&content).map_err(OpenError::block(&path, 0))?;
    change(&mut file);
    slots.write(&file.encode()).map_err(OpenError::io(&path))?;
    Ok(file)
}
