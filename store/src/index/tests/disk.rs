//! A disk in memory that can be damaged, and that forgets what was not synced.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use super::Random;
use crate::log::disk::{Disk, DiskFile, OpenMode};

type Names = BTreeMap<PathBuf, usize>;

#[derive(Clone, Default)]
pub(super) struct MemoryDisk(Arc<Mutex<Contents>>);

#[derive(Default)]
struct Contents {
    names: Names,
    /// Names after each change since the last `sync_dir`, and at that moment.
    names_since_sync: Vec<Names>,
    files: Vec<Content>,
    /// Changes until everything fails, as for a process that is no more.
    changes_left: Option<usize>,
    changes: usize,
}

#[derive(Default, Clone)]
struct Content {
    now: Vec<u8>,
    synced: Vec<u8>,
}

struct MemoryFile {
    disk: MemoryDisk,
    file: usize,
}

impl MemoryDisk {
    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().unwrap()
    }

    fn change(&self) -> io::Result<MutexGuard<'_, Contents>> {
        let mut contents = self.contents();
        match &mut contents.changes_left {
            Some(0) => return Err(io::Error::other("the process is gone")),
            Some(left) => *left -= 1,
            None => {}
        }
        contents.changes += 1;
        Ok(contents)
    }

    fn change_names(&self, change: impl FnOnce(&mut Contents) -> io::Result<()>) -> io::Result<()> {
        let mut contents = self.change()?;
        if contents.names_since_sync.is_empty() {
            contents.names_since_sync.push(Names::new());
        }
        change(&mut contents)?;
        let names = contents.names.clone();
        contents.names_since_sync.push(names);
        Ok(())
    }

    /// Number of changes so far.
    pub(super) fn changes(&self) -> usize {
        self.contents().changes
    }

    /// Lets everything fail after so many more changes.
    pub(super) fn fail_after(&self, changes: usize) {
        self.contents().changes_left = Some(changes);
    }

    /// What a machine finds after its power failed: each name as it was at any time since the
    /// folder was synced, and each sector of a file with its synced or its newest bytes.
    pub(super) fn after_crash(&self, random: &mut Random) -> Self {
        let contents = self.contents();
        let states = contents.names_since_sync.as_slice();
        let mut names = if states.is_empty() { contents.names.clone() } else { Names::new() };
        let all: BTreeSet<_> = states.iter().flat_map(|names| names.keys()).collect();
        for name in all {
            if let Some(file) = states[random.below(states.len())].get(name) {
                names.insert(name.clone(), *file);
            }
        }
        let files = contents.files.iter().map(|content| {
            let mut after = content.now.clone();
            let lossy = random.below(2) == 0;
            for (at, sector) in after.chunks_mut(512).enumerate() {
                if lossy && random.below(2) == 0 {
                    let synced = content.synced.get(at * 512..).unwrap_or_default();
                    for (at, byte) in sector.iter_mut().enumerate() {
                        *byte = synced.get(at).copied().unwrap_or(0);
                    }
                }
            }
            Content { synced: after.clone(), now: after }
        });
        let files = files.collect();
        Self(Arc::new(Mutex::new(Contents { names, files, ..Contents::default() })))
    }

    /// Changes the bytes of a file behind everybody's back.
    pub(super) fn tamper(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut contents = self.contents();
        let file = contents.names[path];
        change(&mut contents.files[file].now);
    }

    /// The bytes of a file.
    pub(super) fn bytes(&self, path: &Path) -> Vec<u8> {
        let contents = self.contents();
        contents.files[contents.names[path]].now.clone()
    }

    /// Puts a file there.
    pub(super) fn put(&self, path: &Path, bytes: Vec<u8>) {
        let mut contents = self.contents();
        let file = contents.files.len();
        contents.files.push(Content { synced: bytes.clone(), now: bytes });
        contents.names.insert(path.to_owned(), file);
    }

    /// Names of all files, sorted.
    pub(super) fn names(&self) -> Vec<String> {
        self.list(Path::new("")).unwrap()
    }
}

impl Disk for MemoryDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        let found = self.contents().names.get(path).copied();
        let file = match (mode, found) {
            (OpenMode::CreateNew, Some(_)) => return Err(io::ErrorKind::AlreadyExists.into()),
            (OpenMode::CreateNew, None) => {
                let mut file = 0;
                self.change_names(|contents| {
                    file = contents.files.len();
                    contents.files.push(Content::default());
                    contents.names.insert(path.to_owned(), file);
                    Ok(())
                })?;
                file
            }
            (_, Some(file)) => file,
            (_, None) => return Err(io::ErrorKind::NotFound.into()),
        };
        Ok(Box::new(MemoryFile { disk: self.clone(), file }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change_names(|contents| {
            let file = contents.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
            contents.names.insert(to.to_owned(), file);
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.change_names(|contents| {
            contents.names.remove(path).map(|_| ()).ok_or(io::ErrorKind::NotFound.into())
        })
    }

    fn list(&self, _dir: &Path) -> io::Result<Vec<String>> {
        let contents = self.contents();
        let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
        Ok(contents.names.keys().map(name).collect())
    }

    fn create_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        let mut contents = self.change()?;
        let names = contents.names.clone();
        contents.names_since_sync = vec![names];
        Ok(())
    }
}

impl DiskFile for MemoryFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let contents = self.disk.contents();
        let bytes = contents.files[self.file].now.get(usize::try_from(offset).unwrap()..);
        let bytes = bytes.unwrap_or_default();
        let count = bytes.len().min(buffer.len());
        buffer[..count].copy_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut contents = self.disk.change()?;
        let now = &mut contents.files[self.file].now;
        let offset = usize::try_from(offset).unwrap();
        let end = offset + bytes.len();
        if now.len() < end {
            now.resize(end, 0);
        }
        now[offset..end].copy_from_slice(bytes);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut contents = self.disk.change()?;
        let content = &mut contents.files[self.file];
        content.synced = content.now.clone();
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(u64::try_from(self.disk.contents().files[self.file].now.len()).unwrap())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut contents = self.disk.change()?;
        contents.files[self.file].now.resize(usize::try_from(length).unwrap(), 0);
        Ok(())
    }
}
