//! What a store's folder takes on the disk, by what it is for (`store/FORMAT.md`).

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use serde::Serialize;

/// Bytes that are looked at in one go.
const LOOK_BYTES: usize = 1 << 20;

/// Bytes of all partitions of a store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct DiskBytes {
    /// Written in segments, with their headers and footers.
    pub log_bytes: u64,
    /// Files of the index.
    pub index_bytes: u64,
    /// Zeros laid out ahead: the rest of the open segment, and the next one.
    pub ahead_bytes: u64,
    /// All other files.
    pub other_bytes: u64,
}

impl DiskBytes {
    /// Looks at the folder of one store.
    ///
    /// # Errors
    /// What the system says about a file; files that vanish meanwhile count nothing.
    pub fn of_store(folder: &Path) -> io::Result<Self> {
        let mut all = Self::default();
        for partition in fs::read_dir(folder)? {
            let partition = partition?.path();
            if partition.is_dir() {
                all.add_partition(&partition)?;
            }
        }
        Ok(all)
    }

    fn add_partition(&mut self, folder: &Path) -> io::Result<()> {
        for file in fs::read_dir(folder)? {
            let path = file?.path();
            if path.is_dir() {
                let bytes = folder_bytes(&path)?;
                let is_index = path.file_name().is_some_and(|name| name == "index");
                *if is_index { &mut self.index_bytes } else { &mut self.other_bytes } += bytes;
                continue;
            }
            let Some(file) = still_there(File::open(&path))? else { continue };
            let length = file.metadata()?.len();
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("segment") => {
                    let written = written_bytes(&file, length)?;
                    self.log_bytes += written;
                    self.ahead_bytes += length - written;
                }
                Some("tmp") => self.ahead_bytes += length,
                _ => self.other_bytes += length,
            }
        }
        Ok(())
    }
}

fn folder_bytes(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for file in fs::read_dir(folder)? {
        bytes += still_there(file?.metadata())?.map_or(0, |metadata| metadata.len());
    }
    Ok(bytes)
}

/// The store goes on meanwhile, and renames and removes files.
fn still_there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

/// Bytes up to the last one that is not zero: all of a sealed segment, and the used part of the
/// open one.
fn written_bytes(file: &File, length: u64) -> io::Result<u64> {
    let mut buffer = vec![0; LOOK_BYTES];
    let mut end = length;
    while end > 0 {
        let step = end.min(u64::try_from(LOOK_BYTES).unwrap_or(u64::MAX));
        let part = &mut buffer[..usize::try_from(step).unwrap_or(LOOK_BYTES)];
        file.read_exact_at(part, end - step)?;
        if let Some(last) = part.iter().rposition(|byte| *byte != 0) {
            return Ok(end - step + u64::try_from(last).unwrap_or(0) + 1);
        }
        end -= step;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_counts_as_what_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let partition = folder.path().join("0");
        fs::create_dir_all(partition.join("index")).unwrap();
        let mut open = vec![0; LOOK_BYTES * 2 + 10];
        open[LOOK_BYTES + 3] = 7;
        let files: [(&str, &[u8]); 5] = [
            ("00000000000000000001.segment", &[1; 100]),
            ("00000000000000000101.segment", &open),
            ("spare.tmp", &[0; 50]),
            ("index/run-1-100.index", &[2; 30]),
            ("control", &[3; 20]),
        ];
        for (name, bytes) in files {
            fs::write(partition.join(name), bytes).unwrap();
        }
        let written = u64::try_from(LOOK_BYTES).unwrap() + 4;
        let expected = DiskBytes {
            log_bytes: 100 + written,
            index_bytes: 30,
            ahead_bytes: u64::try_from(open.len()).unwrap() - written + 50,
            other_bytes: 20,
        };
        assert_eq!(DiskBytes::of_store(folder.path()).unwrap(), expected);
    }

    #[test]
    fn an_empty_segment_has_nothing_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        for length in [0, 1, LOOK_BYTES + 1] {
            fs::write(&path, vec![0; length]).unwrap();
            let file = File::open(&path).unwrap();
            assert_eq!(written_bytes(&file, u64::try_from(length).unwrap()).unwrap(), 0);
        }
    }
}
