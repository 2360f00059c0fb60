//! The floods of the test client of Lokad's data platform (abdullin/lokad-data-platform,
//! `Platform.TestClient`), with its numbers.
//!
//! ```text
//! there    here
//! WRFL     write     each thread appends one event after the other
//! WBFL     batch     each thread brings one large batch after the other
//! IEFL     import    each of five threads brings 10,000 events
//! EN       enumerate reads history
//! VRWFL    view      one thread writes a document while five read it
//! EPW      pointer   one thread moves a checkpoint
//! ```
//!
//! A large batch is many appends of 1,000 events, which is the most that one may hold. What the
//! old client slept between two steps is left out.

use client::{PartitionNumber, ReadAllOptions};

use super::report::{Comparison, Row};
use super::{End, Preset, views};
use crate::cli::bench::now;
use crate::cli::failure::Failure;
use crate::cli::flags::LoadFlags;

/// Threads, events of each, bytes of an event.
const WRITES: [(u16, u64, usize); 6] =
    [(5, 20, 44), (10, 10, 44), (5, 20, 600), (10, 10, 600), (1, 100, 44), (1, 100, 600)];
/// Threads, events of a batch, batches of each thread, bytes of an event.
const BATCHES: [(u16, u64, u64, usize); 4] =
    [(1, 50_000, 5, 10), (5, 10_000, 5, 10), (1, 10_000, 25, 10), (1, 10_000, 5, 50)];
const IMPORT_THREADS: u16 = 5;
const IMPORT_EVENTS: u64 = 10_000;
const IMPORT_BYTES: usize = 10;
/// Most events of one append.
const BATCH: u16 = 1000;
/// Appends of one large batch that are under way at a time.
const BATCHES_IN_FLIGHT: u32 = 4;
/// Events that are read.
const ENUMERATED: u64 = 75_000;

impl Preset<'_> {
    /// Runs all floods, one after the other, on the same store.
    pub fn lokad(&mut self) -> Result<Option<Comparison>, Failure> {
        for (threads, events, size) in WRITES {
            let load = load(threads, 1, 1, size);
            let what = format!("{threads} threads x {events} events x {size} B, one by one");
            self.append("write", what, load, End::After(u64::from(threads) * events))?;
        }
        for (threads, events, batches, size) in BATCHES {
            let load = load(threads, BATCHES_IN_FLIGHT, BATCH, size);
            let what = format!("{threads} threads x {batches} x {events} events x {size} B");
            let all = u64::from(threads) * events * batches;
            self.append("batch", what, load, End::After(all))?;
        }
        let load = load(IMPORT_THREADS, 1, BATCH, IMPORT_BYTES);
        let what = format!("{IMPORT_THREADS} threads x {IMPORT_EVENTS} events x {IMPORT_BYTES} B");
        let all = u64::from(IMPORT_THREADS) * IMPORT_EVENTS;
        self.append("import", what, load, End::After(all))?;
        let row = self.enumerate()?;
        self.rows.push(row);
        let rows = views::floods(self.system.folder(), |events| self.at_most(events))?;
        self.rows.extend(rows);
        Ok(None)
    }

    fn enumerate(&self) -> Result<Row, Failure> {
        let store = self.system.connect()?;
        let most = self.at_most(ENUMERATED);
        let (started, mut events) = (now(), 0);
        for partition in (0..store.partitions()).map(PartitionNumber) {
            let options = ReadAllOptions { limit: Some(most - events), ..Default::default() };
            for event in store.read_all(partition, options) {
                event?;
                events += 1;
            }
        }
        let elapsed = now().saturating_duration_since(started);
        Ok(Row::new("enumerate", "history from its beginning", events, elapsed))
    }
}

/// A load on the one stream that the old client wrote to.
fn load(clients: u16, in_flight: u32, batch: u16, size: usize) -> LoadFlags {
    LoadFlags { clients, in_flight, batch, size, streams: 1, skew: 0.0 }
}
