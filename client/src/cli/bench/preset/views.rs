//! Floods on documents: a view that is read while it is written, and a checkpoint that moves.

use std::path::Path;
use std::thread;
use std::time::Duration;

use client::views::{Condition, ViewError, ViewStore};

use super::report::Row;
use crate::cli::bench::latency::Latencies;
use crate::cli::bench::load::random_bytes;
use crate::cli::bench::{broken, now};
use crate::cli::failure::Failure;

/// Bytes of the document.
const VIEW_BYTES: usize = 1024;
const VIEW_WRITES: u64 = 50;
const VIEW_READERS: usize = 5;
const READS_PER_WRITE: u64 = 10;
const POINTER_WRITES: u64 = 200;

/// Runs both in a file of their own in `folder`, which is removed.
///
/// # Errors
/// [`Failure`] when the file can't be made, written or read.
pub fn floods(folder: &Path, at_most: impl Fn(u64) -> u64) -> Result<Vec<Row>, Failure> {
    let place = tempfile::Builder::new().prefix("starlog-views-").tempdir_in(folder);
    let place = place.map_err(|error| Failure::system("can't make a folder for views", &error))?;
    let views = ViewStore::open(place.path().join("views")).map_err(failed)?;
    let [written, read] = view(&views, at_most(VIEW_WRITES))?;
    Ok(vec![written, read, pointer(&views, at_most(POINTER_WRITES))?])
}

fn failed(error: ViewError) -> Failure {
    broken(error.to_string())
}

/// One writer and several readers of one document.
fn view(views: &ViewStore, writes: u64) -> Result<[Row; 2], Failure> {
    let data = random_bytes(VIEW_BYTES, 1);
    views.put("flood", "view", &data, Condition::Any).map_err(failed)?;
    let reads = writes * READS_PER_WRITE;
    let write = || views.put("flood", "view", &data, Condition::Any).map(drop).map_err(failed);
    let read = || match views.get("flood", "view").map_err(failed)? {
        Some(document) if document.data == data => Ok(()),
        _ => Err(broken("a document is not what was written")),
    };
    let (written, read) = thread::scope(|scope| {
        let readers: Vec<_> =
            (0..VIEW_READERS).map(|_| scope.spawn(|| repeat(reads, read))).collect();
        let written = repeat(writes, write);
        let ended = |thread: thread::ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|_| Err(broken("a reader's thread ended early")))
        };
        (written, readers.into_iter().map(ended).collect::<Result<Vec<_>, Failure>>())
    });
    let (written, read) = (written?, read?);
    let mut latencies = Latencies::new()?;
    let mut elapsed = Duration::ZERO;
    for (own, time) in &read {
        latencies.add(own)?;
        elapsed = elapsed.max(*time);
    }
    let what = format!("documents of {VIEW_BYTES} B, while they are read");
    let readers = format!("{VIEW_READERS} readers of the document that is written");
    Ok([
        Row::new("view write", what, writes, written.1).with(&written.0),
        Row::new("view read", readers, latencies.count(), elapsed).with(&latencies),
    ])
}

fn pointer(views: &ViewStore, writes: u64) -> Result<Row, Failure> {
    let mut position: u64 = 0;
    let (latencies, elapsed) = repeat(writes, || {
        position += 1;
        let put = views.put("flood", "pointer", &position.to_le_bytes(), Condition::Any);
        put.map(drop).map_err(failed)
    })?;
    let what = "a position of 8 B, one transaction each";
    Ok(Row::new("pointer", what, writes, elapsed).with(&latencies))
}

/// Does something again and again; how long each time and all of them took.
fn repeat(
    count: u64,
    mut step: impl FnMut() -> Result<(), Failure>,
) -> Result<(Latencies, Duration), Failure> {
    let mut latencies = Latencies::new()?;
    let started = now();
    let mut before = started;
    for _ in 0..count {
        step()?;
        let after = now();
        latencies.record(after.saturating_duration_since(before));
        before = after;
    }
    Ok((latencies, before.saturating_duration_since(started)))
}
