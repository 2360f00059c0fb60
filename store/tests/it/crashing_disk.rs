//! A disk in memory that forgets what was not synced, tears writes, fails and fills up.
//!
//! ```text
//!  live     what the running process sees
//!  durable  what a power loss can't take: file content after `sync`, names after `sync_dir`
//! ```
//!
//! A crash stops every operation from then on; [`CrashingDisk::reboot`] then gives the disk as the
//! next process finds it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use store::disk::{Disk, DiskFile, OpenMode};

const SECTOR_BYTES: usize = 512;

/// What a crash leaves of everything that was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaves {
    /// All of it: the process was killed, the machine lives.
    All,
    /// None of it: the power went, and nothing had been written back.
    Nothing,
    /// Some sectors, lengths and names, chosen by this seed.
    Some(u64),
}

/// Clones share the disk.
#[derive(Clone)]
pub struct CrashingDisk {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    files: BTreeMap<u64, FileState>,
    live: BTreeMap<PathBuf, Node>,
    durable: BTreeMap<PathBuf, Node>,
    /// Changes of names that no `sync_dir` has covered.
    names: Vec<NameChange>,
    next_file: u64,
    operations: u64,
    syncs: u64,
    crash_at: Option<u64>,
    crashed: bool,
    /// Syncs of files until one fails.
    syncs_until_failure: Option<u64>,
    capacity: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    Folder,
    File(u64),
}

#[derive(Default, Clone)]
struct FileState {
    live: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

#[derive(Clone)]
enum NameChange {
    Add(PathBuf, Node),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf),
}

impl NameChange {
    fn is_in(&self, dir: &Path) -> bool {
        let (Self::Add(path, _) | Self::Remove(path) | Self::Rename(path, _)) = self;
        path.parent() == Some(dir)
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, Node>) {
        match self {
            Self::Add(path, node) => {
                names.insert(path.clone(), *node);
            }
            Self::Remove(path) => {
                names.remove(path);
            }
            Self::Rename(from, to) => {
                let moved: Vec<_> =
                    names.keys().filter(|path| path.starts_with(from)).cloned().collect();
                for path in moved {
                    let below = path.strip_prefix(from).unwrap();
                    let target = if below == Path::new("") { to.clone() } else { to.join(below) };
                    if let Some(node) = names.remove(&path) {
                        names.insert(target, node);
                    }
                }
            }
        }
    }
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes } => {
                let end = offset + bytes.len();
                if content.len() < end {
                    content.resize(end, 0);
                }
                content[*offset..end].copy_from_slice(bytes);
            }
            Self::Length(length) => content.resize(*length, 0),
        }
    }
}

/// A small generator of numbers (SplitMix64), so that a seed is all there is to print.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

impl CrashingDisk {
    /// A disk that has one empty folder.
    pub fn new(dir: &Path) -> Self {
        let mut inner = Inner::default();
        inner.live.insert(dir.to_owned(), Node::Folder);
        inner.durable = inner.live.clone();
        Self { inner: Arc::new(Mutex::new(inner)) }
    }

    /// Crashes in the middle of the n-th operation from now on that changes something.
    pub fn crash_at(&self, operation: u64) {
        let mut inner = self.lock();
        inner.crash_at = Some(inner.operations + operation);
    }

    /// Operations so far that changed something.
    pub fn operations(&self) -> u64 {
        self.lock().operations
    }

    /// Syncs of files so far.
    pub fn syncs(&self) -> u64 {
        self.lock().syncs
    }

    /// Lets nothing happen until the result is dropped.
    pub fn pause(&self) -> impl Drop + '_ {
        self.lock()
    }

    /// Makes the n-th sync of a file from now on fail, and only that one.
    pub fn fail_sync(&self, nth: u64) {
        self.lock().syncs_until_failure = Some(nth);
    }

    /// Limits the bytes of all files.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.lock().capacity = bytes;
    }

    /// Bytes of all files.
    pub fn used(&self) -> u64 {
        self.lock().used()
    }

    /// Stops everything, and gives the disk that the next process finds.
    pub fn reboot(&self, leaves: Leaves) -> Self {
        let mut inner = self.lock();
        inner.crashed = true;
        if leaves == Leaves::All {
            // What was not synced is still only in the machine's memory.
            let after = Inner {
                files: inner.files.clone(),
                live: inner.live.clone(),
                durable: inner.durable.clone(),
                names: inner.names.clone(),
                next_file: inner.next_file,
                ..Inner::default()
            };
            return Self { inner: Arc::new(Mutex::new(after)) };
        }
        let mut random = Random(if let Leaves::Some(seed) = leaves { seed } else { 0 });
        let mut after = Inner { next_file: inner.next_file, ..Inner::default() };
        for (number, file) in &inner.files {
            let content = file.after_crash(leaves, &mut random);
            let state = FileState { live: content.clone(), durable: content, unsynced: vec![] };
            after.files.insert(*number, state);
        }
        let kept = match leaves {
            Leaves::All | Leaves::Nothing => 0,
            Leaves::Some(_) => usize::try_from(random.below(inner.names.len() as u64 + 1)).unwrap(),
        };
        let mut names = inner.durable.clone();
        inner.names[..kept].iter().for_each(|change| change.apply(&mut names));
        // What lies in a folder whose own name was lost can't be reached.
        let root = names.keys().next().cloned().unwrap();
        let all = names.clone();
        names.retain(|path, _| {
            let mut above = path.ancestors().skip(1).take_while(|above| above.starts_with(&root));
            above.all(|folder| all.contains_key(folder))
        });
        after.live = names.clone();
        after.durable = names;
        Self { inner: Arc::new(Mutex::new(after)) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }
}

impl FileState {
    fn after_crash(&self, leaves: Leaves, random: &mut Random) -> Vec<u8> {
        match leaves {
            Leaves::All | Leaves::Nothing => self.durable.clone(),
            Leaves::Some(_) => {
                let mut content = self.durable.clone();
                for change in &self.unsynced {
                    change.tear(&mut content, random);
                }
                content
            }
        }
    }
}

impl Change {
    /// Applies some of the sectors, or none, or all.
    fn tear(&self, content: &mut Vec<u8>, random: &mut Random) {
        let Self::Write { offset, bytes } = self else {
            if random.below(2) == 0 {
                self.apply(content);
            }
            return;
        };
        let chance = random.below(3);
        let mut at = 0;
        while at < bytes.len() {
            let place = offset + at;
            let length = (SECTOR_BYTES - place % SECTOR_BYTES).min(bytes.len() - at);
            let kept = chance == 2 || (chance == 1 && random.below(2) == 0);
            if kept {
                let sector = bytes[at..at + length].to_vec();
                Self::Write { offset: place, bytes: sector }.apply(content);
            }
            at += length;
        }
    }
}

impl Inner {
    fn used(&self) -> u64 {
        let linked = self.live.values().filter_map(|node| match node {
            Node::File(number) => self.files.get(number),
            Node::Folder => None,
        });
        linked.map(|file| file.live.len() as u64).sum()
    }

    fn check(&self) -> io::Result<()> {
        if self.crashed { Err(io::Error::other("the machine has crashed")) } else { Ok(()) }
    }

    /// Counts an operation that changes something. In a crash it may still leave its traces among
    /// what is not synced.
    fn begin(&mut self) -> io::Result<bool> {
        self.check()?;
        self.operations += 1;
        Ok(self.crash_at == Some(self.operations))
    }

    fn end(&mut self, crashes: bool) -> io::Result<()> {
        self.crashed |= crashes;
        self.check()
    }

    fn change_name(&mut self, change: NameChange) {
        change.apply(&mut self.live);
        self.names.push(change);
    }

    fn change_file(&mut self, number: u64, change: Change) {
        let file = self.files.entry(number).or_default();
        change.apply(&mut file.live);
        file.unsynced.push(change);
    }
}

fn not_found(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, path.display().to_string())
}

impl Disk for CrashingDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        let mut inner = self.lock();
        inner.check()?;
        let number = match (inner.live.get(path).copied(), mode) {
            (Some(Node::File(_)), OpenMode::CreateNew) => {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            (Some(Node::File(number)), _) => number,
            (None, OpenMode::CreateNew) => {
                let crashes = inner.begin()?;
                inner.next_file += 1;
                let number = inner.next_file;
                inner.files.insert(number, FileState::default());
                inner.change_name(NameChange::Add(path.to_owned(), Node::File(number)));
                inner.end(crashes)?;
                number
            }
            _ => return Err(not_found(path)),
        };
        Ok(Box::new(CrashingFile { disk: self.clone(), number }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut inner = self.lock();
        let crashes = inner.begin()?;
        if !inner.live.contains_key(from) {
            return Err(not_found(from));
        }
        inner.change_name(NameChange::Rename(from.to_owned(), to.to_owned()));
        inner.end(crashes)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.lock();
        inner.check()?;
        if !inner.live.contains_key(path) {
            return Err(not_found(path));
        }
        let crashes = inner.begin()?;
        inner.change_name(NameChange::Remove(path.to_owned()));
        inner.end(crashes)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let inner = self.lock();
        inner.check()?;
        if inner.live.get(dir) != Some(&Node::Folder) {
            return Err(not_found(dir));
        }
        let names = inner.live.keys().filter(|path| path.parent() == Some(dir));
        Ok(names.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect())
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let mut inner = self.lock();
        inner.check()?;
        match inner.live.get(dir) {
            Some(Node::Folder) => Ok(()),
            Some(Node::File(_)) => Err(io::ErrorKind::AlreadyExists.into()),
            None => {
                let crashes = inner.begin()?;
                inner.change_name(NameChange::Add(dir.to_owned(), Node::Folder));
                inner.end(crashes)
            }
        }
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut inner = self.lock();
        let crashes = inner.begin()?;
        inner.end(crashes)?;
        let (synced, rest) = std::mem::take(&mut inner.names)
            .into_iter()
            .partition(|change: &NameChange| change.is_in(dir));
        inner.names = rest;
        let synced: Vec<NameChange> = synced;
        for change in synced {
            change.apply(&mut inner.durable);
        }
        Ok(())
    }
}

struct CrashingFile {
    disk: CrashingDisk,
    number: u64,
}

impl DiskFile for CrashingFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let inner = self.disk.lock();
        inner.check()?;
        let content = &inner.files[&self.number].live;
        let start = usize::try_from(offset).unwrap().min(content.len());
        let length = buffer.len().min(content.len() - start);
        buffer[..length].copy_from_slice(&content[start..start + length]);
        Ok(length)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut inner = self.disk.lock();
        let crashes = inner.begin()?;
        let offset = usize::try_from(offset).unwrap();
        let grows = (offset + bytes.len()).saturating_sub(inner.files[&self.number].live.len());
        if inner.capacity.is_some_and(|capacity| inner.used() + grows as u64 > capacity) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        inner.change_file(self.number, Change::Write { offset, bytes: bytes.to_vec() });
        inner.end(crashes)
    }

    fn sync(&self) -> io::Result<()> {
        let mut inner = self.disk.lock();
        let crashes = inner.begin()?;
        inner.end(crashes)?;
        inner.syncs += 1;
        if let Some(left) = &mut inner.syncs_until_failure {
            *left -= 1;
            if *left == 0 {
                inner.syncs_until_failure = None;
                return Err(io::Error::other("a sync failed"));
            }
        }
        let file = inner.files.get_mut(&self.number).unwrap();
        for change in std::mem::take(&mut file.unsynced) {
            change.apply(&mut file.durable);
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        let inner = self.disk.lock();
        inner.check()?;
        Ok(inner.files[&self.number].live.len() as u64)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut inner = self.disk.lock();
        let crashes = inner.begin()?;
        inner.change_file(self.number, Change::Length(usize::try_from(length).unwrap()));
        inner.end(crashes)
    }
}
