//! What the disk allows: small writes, each synced, in files that were filled with zeros before.
//!
//! A sync into written space only has to carry data; into a growing file it has to carry the
//! file's new size too, which costs about twice as much. The store writes into zero-filled
//! segments, so that is what the limit is measured in.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::NamedTempFile;

use crate::cli::bench::latency::Latencies;
use crate::cli::bench::now;
use crate::cli::failure::Failure;

/// Size of one write: the page that a sync carries at least.
pub const WRITE_BYTES: usize = 4096;
/// Writes until the file is full; then they start again at its beginning.
const FILE_WRITES: u64 = 4096;

/// Writes and syncs in `files` files of `folder` at once for `duration`.
///
/// # Errors
/// [`Failure`] when the disk refuses.
pub fn synced_writes(
    folder: &Path,
    files: usize,
    duration: Duration,
) -> Result<Latencies, Failure> {
    let refused =
        |error: &io::Error| Failure::system(&format!("can't write to {}", folder.display()), error);
    let zero_filled: Vec<NamedTempFile> = (0..files)
        .map(|_| zero_filled_file(folder))
        .collect::<io::Result<_>>()
        .map_err(|error| refused(&error))?;
    let deadline = now() + duration;
    let results: Vec<Result<Latencies, Failure>> = thread::scope(|scope| {
        let threads: Vec<_> = zero_filled
            .iter()
            .map(|file| scope.spawn(move || write_until(file.as_file(), deadline)))
            .collect();
        threads.into_iter().map(|thread| super::joined(thread.join())).collect()
    });
    let mut all = Latencies::new()?;
    for latencies in results {
        all.add(&latencies?)?;
    }
    Ok(all)
}

/// A file with a name, as the store's have: some file systems spare themselves the sync of a file
/// without one.
fn zero_filled_file(folder: &Path) -> io::Result<NamedTempFile> {
    let file = tempfile::Builder::new().prefix("starlog-limits-").tempfile_in(folder)?;
    let zeros = [0; WRITE_BYTES];
    for place in 0..FILE_WRITES {
        file.as_file().write_all_at(&zeros, place * offset_step())?;
    }
    file.as_file().sync_all()?;
    Ok(file)
}

fn offset_step() -> u64 {
    u64::try_from(WRITE_BYTES).unwrap_or(u64::MAX)
}

fn write_until(file: &File, deadline: Instant) -> Result<Latencies, Failure> {
    let mut latencies = Latencies::new()?;
    let page = [0xa5; WRITE_BYTES];
    let mut written: u64 = 0;
    let mut started = now();
    while started < deadline {
        file.write_all_at(&page, written % FILE_WRITES * offset_step())
            .and_then(|()| file.sync_data())
            .map_err(|error| Failure::system("can't write and sync", &error))?;
        written += 1;
        let ended = now();
        latencies.record(ended.saturating_duration_since(started));
        started = ended;
    }
    Ok(latencies)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_written_and_nothing_stays() {
        let folder = tempfile::tempdir().unwrap();
        let duration = Duration::from_millis(20);
        for files in [1, 2] {
            let latencies = synced_writes(folder.path(), files, duration).unwrap();
            assert!(latencies.count() > 0, "{files} files");
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_folder_that_is_not_there_is_a_failure() {
        let failure = synced_writes(Path::new("/nowhere"), 1, Duration::ZERO).unwrap_err();
        assert!(failure.message.contains("/nowhere"), "{}", failure.message);
    }
}
