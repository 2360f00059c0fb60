//! One data directory in one process: which stores and partitions it hosts, and under which epoch.
//!
//! ```text
//! DIR/lock      held while a process uses the directory
//! DIR/node      incarnation, lineage, epoch, list of stores; every change is durable there first
//! DIR/STORE/PARTITION/…            see `log`
//! DIR/STORE.removed-1/…            put away by a command; a person may delete it
//! ```

mod ends;
mod error;
mod file;
mod folders;
mod leaving;
mod lock;
mod member;
mod options;
mod store;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

pub use error::StoreError;
pub use options::NodeOptions;
pub use store::Store;

use crate::event::Epoch;
use crate::log::OpenError;
use crate::log::disk::{Disk, FileDisk};
use crate::log::slots::SlotFile;
use crate::names::StoreName;
use crate::partition::background::Background;
use crate::partition::{Backgrounds, Setup};
use crate::slot::{PARTITIONS_MAX, PartitionNumber};
use ends::Ends;
pub(crate) use file::NODE_NAME;
use file::{NODE_MAGIC, NodeFile, StoreEntry, StoreState};
use folders::{Folders, is_foreign};
use lock::DirLock;

/// A data directory that this process has opened. Dropping it closes everything.
pub struct Node {
    folders: Folders,
    /// How partitions are opened, but for the epoch.
    setup: Setup,
    state: Mutex<State>,
    /// Released last.
    _lock: Option<DirLock>,
}

struct State {
    slots: SlotFile,
    file: NodeFile,
    open: BTreeMap<StoreName, Store>,
    /// Of stores that were open.
    ends: Ends,
}

/// A store as the node lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreInfo {
    /// Its name.
    pub name: StoreName,
    /// Partitions of the whole store.
    pub partitions: u16,
    /// Those that this node hosts.
    pub hosted: Vec<PartitionNumber>,
    /// Whether its files are left alone for now.
    pub detached: bool,
}

impl Node {
    /// Opens a directory, which is made if it does not exist, with all attached stores in it.
    ///
    /// A partition that can't be used does not stop the others: see [`Store::problems`].
    ///
    /// # Errors
    /// [`OpenError`], e.g. when another process has the directory, or when it belongs to a pair.
    pub fn open(dir: &Path, options: &NodeOptions) -> Result<Self, OpenError> {
        Self::open_locked(dir, options, Self::open_on)
    }

    fn open_locked(
        dir: &Path,
        options: &NodeOptions,
        open_on: impl FnOnce(Arc<dyn Disk>, &Path, &NodeOptions) -> Result<Self, OpenError>,
    ) -> Result<Self, OpenError> {
        options.validate()?;
        std::fs::create_dir_all(dir).map_err(OpenError::io(dir))?;
        let lock = DirLock::acquire(dir)?;
        let mut node = open_on(Arc::new(FileDisk), dir, options)?;
        node._lock = Some(lock);
        Ok(node)
    }

    /// Opens an existing directory of another kind of disk. There is no lock: the caller makes
    /// sure that nobody else uses it.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open_on(
        disk: Arc<dyn Disk>,
        dir: &Path,
        options: &NodeOptions,
    ) -> Result<Self, OpenError> {
        options.validate()?;
        let (mut slots, mut file) = open_node_file(&*disk, dir)?;
        if file.pair.is_some() {
            return Err(OpenError::PairMember { dir: dir.to_owned() });
        }
        file.epoch = file.epoch.next();
        let path = dir.join(NODE_NAME);
        slots.write(&file.encode()).map_err(OpenError::io(&path))?;
        Self::start(Folders { disk, dir: dir.to_owned() }, options, (slots, file, true))
    }

    /// Opens all stores of a directory whose node file is as it should be.
    fn start(
        folders: Folders,
        options: &NodeOptions,
        (slots, file, leads): (SlotFile, NodeFile, bool),
    ) -> Result<Self, OpenError> {
        let dir = folders.dir.as_path();
        let start = |name| Background::start(name).map(Arc::new).map_err(OpenError::io(dir));
        let backgrounds =
            Backgrounds { preparer: start("store-preparer")?, indexer: start("store-indexer")? };
        let queue = Setup::queue_limits(options.queue_messages_max, options.queue_bytes_max);
        let setup = Setup {
            leads,
            epoch: file.epoch,
            level: options.durability,
            segment_bytes: options.segment_bytes,
            queue,
            batch_bytes_max: options.batch_bytes_max,
            backgrounds,
        };
        let state = Mutex::new(State { slots, file, open: BTreeMap::new(), ends: Ends::default() });
        let node = Self { folders, setup, state, _lock: None };
        node.open_stores()?;
        Ok(node)
    }

    fn open_stores(&self) -> Result<(), OpenError> {
        let mut state = self.lock();
        let names: Vec<_> = state
            .file
            .stores
            .iter()
            .filter(|store| store.state != StoreState::Detached)
            .map(|store| store.name.clone())
            .collect();
        for name in names {
            self.open_store(&mut state, &name)?;
        }
        let foreign = state.open.values().flat_map(Store::problems);
        if foreign.into_iter().any(|(_, error)| is_foreign(error)) {
            // Whoever knew this node by what it had must not take it for the same any more.
            let incarnation = Uuid::new_v4();
            log::error!(
                "{}: data is missing or exchanged, this node is now incarnation {incarnation}",
                self.dir().display()
            );
            self.change(&mut state, |file| file.incarnation = incarnation)?;
        }
        Ok(())
    }

    /// Opens a listed store; completes it first if a crash left it half made.
    fn open_store(&self, state: &mut State, name: &StoreName) -> Result<Store, OpenError> {
        let missing = || OpenError::Missing { path: self.folders.store(name) };
        let entry = state.file.store(name).cloned().ok_or_else(missing)?;
        if entry.state == StoreState::Making {
            self.folders.make(&entry, state.file.epoch, self.setup.segment_bytes)?;
            self.change(state, |file| file.set_state(name, StoreState::Attached))?;
        }
        let store = self.open_folders(state, &entry);
        state.open.insert(name.clone(), store.clone());
        Ok(store)
    }

    /// Opens the folders of a store. One that can't be used does not stop the others.
    fn open_folders(&self, state: &State, entry: &StoreEntry) -> Store {
        let name = &entry.name;
        let results = self.folders.open(entry, &self.setup_now(state));
        for (number, result) in &results {
            if let Err(error) = result {
                log::error!("partition {number} of store {name} is not served: {error}");
            }
        }
        Store::new(name.clone(), entry.partitions, results)
    }

    fn setup_now(&self, state: &State) -> Setup {
        Setup { epoch: state.file.epoch, ..self.setup.clone() }
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.folders.dir
    }

    /// Number of this start of a node without a peer, which stands in every record that is
    /// appended; of a member of a pair, the newest epoch that was [saved](Node::save_pair_record).
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.lock().file.epoch
    }

    /// The history that this node's logs belong to.
    #[must_use]
    pub fn lineage(&self) -> Uuid {
        self.lock().file.lineage
    }

    /// Identity of this node's data; another one after data was restored or exchanged.
    #[must_use]
    pub fn incarnation(&self) -> Uuid {
        self.lock().file.incarnation
    }

    /// All stores of the node, in the order of their creation.
    #[must_use]
    pub fn stores(&self) -> Vec<StoreInfo> {
        let info = |store: &StoreEntry| StoreInfo {
            name: store.name.clone(),
            partitions: store.partitions,
            hosted: store.hosted.iter().map(|(number, _)| *number).collect(),
            detached: store.state == StoreState::Detached,
        };
        self.lock().file.stores.iter().map(info).collect()
    }

    /// A store that is attached.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Detached`].
    pub fn store(&self, name: &StoreName) -> Result<Store, StoreError> {
        let state = self.lock();
        let entry = listed(&state, name)?;
        let detached = || StoreError::Detached { name: entry.name.clone() };
        state.open.get(name).cloned().ok_or_else(detached)
    }

    /// Makes a store of `partitions` partitions, some of which this node hosts.
    ///
    /// # Errors
    /// [`StoreError::Exists`], `FolderExists`, `Partitions`, `Cut`, `Forgotten`, `Open`.
    pub fn create_store(
        &self,
        name: &StoreName,
        partitions: u16,
        hosted: RangeInclusive<u16>,
    ) -> Result<Store, StoreError> {
        check_numbers(partitions, &hosted)?;
        let mut state = self.lock();
        if let Some(entry) = state.file.store(name) {
            // A store whose making failed half-way is made further.
            if entry.state != StoreState::Making || !has_numbers(entry, partitions, &hosted) {
                return Err(StoreError::Exists { name: name.clone() });
            }
        } else {
            if self.folders.store_is_there(name)? {
                return Err(StoreError::FolderExists { dir: self.folders.store(name) });
            }
            let mut numbers = hosted.clone().map(PartitionNumber);
            numbers.try_for_each(|number| state.ends.check_new(name, number))?;
            let hosted = hosted.map(|number| (PartitionNumber(number), Uuid::new_v4()));
            let entry = StoreEntry {
                name: name.clone(),
                state: StoreState::Making,
                partitions,
                hosted: hosted.collect(),
            };
            self.change(&mut state, |file| file.stores.push(entry))?;
        }
        Ok(self.open_store(&mut state, name)?)
    }

    /// The store if it is there with exactly these numbers, else a new one.
    ///
    /// # Errors
    /// [`StoreError::OtherPartitions`], `Detached`, and those of [`Node::create_store`].
    pub fn ensure_store(
        &self,
        name: &StoreName,
        partitions: u16,
        hosted: RangeInclusive<u16>,
    ) -> Result<Store, StoreError> {
        let entry = self.lock().file.store(name).cloned();
        match entry {
            None => self.create_store(name, partitions, hosted),
            Some(entry) if !has_numbers(&entry, partitions, &hosted) => {
                let numbers = |all: u16, first: Option<u16>, last: Option<u16>| {
                    let (first, last) = (first.unwrap_or_default(), last.unwrap_or_default());
                    format!("{all} partitions, {first} to {last} here")
                };
                let ends = |place: Option<&(PartitionNumber, Uuid)>| place.map(|(at, _)| at.0);
                let (first, last) = (ends(entry.hosted.first()), ends(entry.hosted.last()));
                Err(StoreError::OtherPartitions {
                    name: name.clone(),
                    found: numbers(entry.partitions, first, last),
                    wanted: numbers(partitions, Some(*hosted.start()), Some(*hosted.end())),
                })
            }
            Some(entry) if entry.state == StoreState::Making => {
                self.create_store(name, partitions, hosted)
            }
            Some(_) => self.store(name),
        }
    }

    /// Finishes what is queued in all stores and lets go of their files.
    pub fn close(&self) {
        let stores = std::mem::take(&mut self.lock().open);
        for store in stores.values() {
            store.close();
        }
        self.setup.backgrounds.preparer.stop();
        self.setup.backgrounds.indexer.stop();
    }

    /// Changes the node file, durably; on an error what is in memory stays as it was.
    fn change(
        &self,
        state: &mut State,
        change: impl FnOnce(&mut NodeFile),
    ) -> Result<(), OpenError> {
        let mut file = state.file.clone();
        change(&mut file);
        let path = self.dir().join(NODE_NAME);
        state.slots.write(&file.encode()).map_err(OpenError::io(&path))?;
        state.file = file;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.close();
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node")
            .field("dir", &self.folders.dir)
            .field("epoch", &self.epoch())
            .finish_non_exhaustive()
    }
}

fn listed<'a>(state: &'a State, name: &StoreName) -> Result<&'a StoreEntry, StoreError> {
    state.file.store(name).ok_or_else(|| StoreError::NotFound { name: name.clone() })
}

fn has_numbers(entry: &StoreEntry, partitions: u16, hosted: &RangeInclusive<u16>) -> bool {
    let numbers = entry.hosted.iter().map(|(number, _)| number.0);
    entry.partitions == partitions && numbers.eq(hosted.clone())
}

fn check_numbers(partitions: u16, hosted: &RangeInclusive<u16>) -> Result<(), StoreError> {
    let possible = (1..=PARTITIONS_MAX).contains(&partitions);
    if possible && hosted.start() <= hosted.end() && *hosted.end() < partitions {
        return Ok(());
    }
    let (first, last) = (hosted.start(), hosted.end());
    Err(StoreError::Partitions { wanted: format!("{partitions}, hosting {first} to {last}") })
}

/// The node file of a directory; a new one where the directory is new.
fn open_node_file(disk: &dyn Disk, dir: &Path) -> Result<(SlotFile, NodeFile), OpenError> {
    let path = dir.join(NODE_NAME);
    if let Some((slots, content)) = SlotFile::open(disk, &path, NODE_MAGIC)? {
        let file = NodeFile::decode(&content).map_err(OpenError::block(&path, 0))?;
        return Ok((slots, file));
    }
    let names = disk.list(dir).map_err(OpenError::io(dir))?;
    let half_made = |name: &str| name == "node.tmp" || DirLock::is_its_name(name);
    if names.iter().any(|name| !half_made(name)) {
        // Starting empty beside folders with data would take them for lost.
        return Err(OpenError::NodeFileMissing { dir: dir.to_owned() });
    }
    let file = NodeFile::new();
    let slots = SlotFile::create(disk, &path, (NODE_MAGIC, &file.encode()))
        .map_err(OpenError::io(&path))?;
    Ok((slots, file))
}
