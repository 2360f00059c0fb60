//! Where the partitions below a folder are.

use std::path::{Path, PathBuf};

use crate::log::OpenError;
use crate::log::control::CONTROL_NAME;
use crate::log::disk::Disk;

/// Levels below a data directory: the store's folder, then the partition's.
const LEVELS: usize = 2;

/// The folders of all partitions in `dir`: a data directory, a store's folder or a partition's
/// own. Ascending by path; empty if there is none.
///
/// # Errors
/// [`OpenError::Io`] when `dir` can't be read.
pub fn partition_folders(disk: &dyn Disk, dir: &Path) -> Result<Vec<PathBuf>, OpenError> {
    let mut found = Vec::new();
    let mut level = vec![dir.to_owned()];
    for depth in 0..=LEVELS {
        let mut below = Vec::new();
        for folder in std::mem::take(&mut level) {
            let names = match disk.list(&folder) {
                Ok(names) => names,
                // Below the folder that was named there are files, too.
                Err(_) if depth > 0 => continue,
                Err(error) => return Err(OpenError::io(dir)(error)),
            };
            if names.iter().any(|name| name == CONTROL_NAME) {
                found.push(folder);
            } else {
                below.extend(names.iter().map(|name| folder.join(name)));
            }
        }
        level = below;
    }
    found.sort();
    Ok(found)
}
