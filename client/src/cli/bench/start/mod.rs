//! `starlog bench start`: how soon a killed store serves again, and what it takes of memory and
//! disk.

mod disk;

use std::thread;
use std::time::Duration;

use client::{ClientConfig, ContentType, ExpectedVersion, NewEvent, ReadOptions, StoreHandle};
use serde::Serialize;
use store::event::EVENT_DATA_BYTES_MAX;

use self::disk::DiskBytes;
use super::append::{progress_bar, sync_mode};
use super::children::MemoryBytes;
use super::fill::{Filled, Filling};
use super::machine::Machine;
use super::store_process::StoreProcess;
use super::system::{System, SystemLine};
use super::{approximate, broken, now, per_second};
use crate::cli::failure::{Failure, Stop};
use crate::cli::flags::StartFlags;
use crate::cli::output::{Alignment, Table};
use crate::cli::session::Session;

/// How long a store may take to serve; a log without an index has to be read as a whole.
const SERVING_WAIT_MAX: Duration = Duration::from_secs(600);
/// The index is taken for built when two looks so far apart find the same.
const SETTLE_INTERVAL: Duration = Duration::from_millis(500);
const SETTLE_LOOKS_MAX: u32 = 240;

/// Runs the measurement and prints it.
///
/// # Errors
/// [`Stop`] when the system can't be started or filled, or the store does not come back.
pub fn run(session: &Session, flags: &StartFlags) -> Result<(), Stop> {
    if flags.size > EVENT_DATA_BYTES_MAX {
        return Err(Failure::usage(format!("--size is at most {EVENT_DATA_BYTES_MAX}")).into());
    }
    if let Some(folder) = flags.system.data.as_ref().filter(|folder| folder.join("store").exists())
    {
        let sentence = format!(
            "{} holds data of an earlier run, which would count as this one's: give another folder",
            folder.display()
        );
        return Err(Failure::usage(sentence).into());
    }
    let (system, process) = System::start_single(session, &flags.system)?;
    let patient = ClientConfig { request_timeout: SERVING_WAIT_MAX, ..system.client_config() };
    let store = system.connect_with(patient)?;
    let filling = Filling {
        events: flags.events,
        streams: u32::try_from(flags.events).unwrap_or(u32::MAX).min(flags.streams),
        size: flags.size,
    };
    let progress = progress_bar(session, Some(filling.events));
    let filled = filling.write(&store, &progress);
    progress.finish_and_clear();
    let mut bench = Bench { system, process, store, filled: filled? };
    let (disk, memory_filled) = bench.settle()?;
    let rounds = (0..flags.rounds).map(|_| bench.round()).collect::<Result<Vec<_>, Failure>>()?;
    let report = Report::new(&bench, filling, (disk, memory_filled), rounds)?;
    session.printer().document(&report, || report.to_table())
}

/// A filled store.
struct Bench {
    // Declared in the order in which they are to end.
    store: StoreHandle,
    process: StoreProcess,
    system: System,
    filled: Filled,
}

impl Bench {
    /// Waits until the index is built, and says what disk and memory hold then.
    fn settle(&self) -> Result<(DiskBytes, MemoryBytes), Failure> {
        let folder = self.system.folder().join("store").join(self.store.name().as_str());
        let look = || {
            DiskBytes::of_store(&folder).map_err(|error| {
                Failure::system(&format!("can't look at {}", folder.display()), &error)
            })
        };
        let mut last = look()?;
        for _ in 0..SETTLE_LOOKS_MAX {
            thread::sleep(SETTLE_INTERVAL);
            let disk = look()?;
            if disk == last {
                return Ok((disk, self.process.memory()?));
            }
            last = disk;
        }
        Err(broken("the index is not built in time"))
    }

    /// Kills the store, starts it, and waits until it has taken an append and given a stream.
    fn round(&mut self) -> Result<Round, Failure> {
        self.process.kill();
        let started = now();
        self.process.restart()?;
        let first = self.filled.streams.first();
        let stream = first.ok_or_else(|| broken("there is no stream"))?;
        let event_type = "Measured".parse().map_err(|_| broken("no event type"))?;
        let event = NewEvent::new(event_type, ContentType::Bytes, Vec::new());
        self.store.append(stream.clone(), ExpectedVersion::Exists, vec![event]).wait()?;
        let serving = now().saturating_duration_since(started);
        let mut events: u64 = 0;
        // A new client: the old one would first look for the store where it was.
        let reader = self.system.connect()?;
        for event in reader.read_stream(stream.clone(), ReadOptions::default()) {
            event?;
            events += 1;
        }
        let read = now().saturating_duration_since(started);
        let (_, memory) = self.settle()?;
        Ok(Round {
            serving_seconds: serving.as_secs_f64(),
            first_read_seconds: read.as_secs_f64(),
            first_read_events: events,
            memory,
        })
    }
}

/// One kill and start.
#[derive(Debug, Serialize)]
struct Round {
    /// From the start of the process until an append was acknowledged.
    serving_seconds: f64,
    /// From the start of the process until a whole stream was read, after that append.
    first_read_seconds: f64,
    first_read_events: u64,
    /// When the index was built again.
    memory: MemoryBytes,
}

#[derive(Debug, Serialize)]
struct Report {
    bench: &'static str,
    machine: Machine,
    system: SystemLine,
    events: u64,
    streams: u32,
    size: usize,
    filled_events_per_second: f64,
    /// Before the first kill.
    memory_filled: MemoryBytes,
    disk: DiskBytes,
    disk_per_record: DiskPerRecord,
    rounds: Vec<Round>,
}

/// Bytes per record beyond its data and names.
#[derive(Debug, Serialize)]
struct DiskPerRecord {
    without_indexes: f64,
    with_indexes: f64,
}

impl DiskPerRecord {
    fn of(disk: DiskBytes, filled: &Filled) -> Self {
        let beyond = |bytes: u64| {
            let bytes = approximate(bytes.saturating_sub(filled.content_bytes));
            (bytes / approximate(filled.events.max(1)) * 10.0).round() / 10.0
        };
        Self {
            without_indexes: beyond(disk.log_bytes),
            with_indexes: beyond(disk.log_bytes + disk.index_bytes),
        }
    }
}

impl Report {
    fn new(
        bench: &Bench,
        filling: Filling,
        (disk, memory_filled): (DiskBytes, MemoryBytes),
        rounds: Vec<Round>,
    ) -> Result<Self, Failure> {
        let Bench { system, filled, .. } = bench;
        Ok(Self {
            bench: "start",
            machine: Machine::describe(system.folder()),
            system: system.describe()?,
            events: filled.events,
            streams: filling.streams,
            size: filling.size,
            filled_events_per_second: per_second(filled.events, filled.elapsed),
            memory_filled,
            disk,
            disk_per_record: DiskPerRecord::of(disk, filled),
            rounds,
        })
    }

    fn to_table(&self) -> String {
        let columns = ["ROUND", "SERVING S", "FIRST READ S", "MEMORY MB", "RESIDENT MB"];
        let mut table = Table::new(&columns.map(|name| (name, Alignment::Right)));
        for (number, round) in (1..).zip(&self.rounds) {
            let number: u32 = number;
            table.row([
                number.to_string(),
                format!("{:.3}", round.serving_seconds),
                format!("{:.3}", round.first_read_seconds),
                megabytes(round.memory.own_bytes),
                megabytes(round.memory.resident_bytes),
            ]);
        }
        format!(
            "{}\nsync: {}\nload: {} events of {} bytes in {} streams, written at {:.0}/s\nmemory \
             then: {} MB without pages of files, {} MB with them\ndisk: {} MB log, {} MB index, {} \
             MB laid out ahead; per record beyond data and names {:.1} bytes, with indexes {:.1}\n\
             started again after SIGKILL:\n{}",
            self.machine.to_line(),
            sync_mode(&self.system.durability),
            self.events,
            self.size,
            self.streams,
            self.filled_events_per_second,
            megabytes(self.memory_filled.own_bytes),
            megabytes(self.memory_filled.resident_bytes),
            megabytes(self.disk.log_bytes),
            megabytes(self.disk.index_bytes),
            megabytes(self.disk.ahead_bytes),
            self.disk_per_record.without_indexes,
            self.disk_per_record.with_indexes,
            table.render(),
        )
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1}", approximate(bytes) / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_record_takes_beyond_its_content() {
        let filled = Filled {
            streams: Vec::new(),
            events: 10,
            content_bytes: 1000,
            elapsed: Duration::ZERO,
        };
        let disk = DiskBytes { log_bytes: 2200, index_bytes: 300, ..DiskBytes::default() };
        let per_record = DiskPerRecord::of(disk, &filled);
        assert!((per_record.without_indexes - 120.0).abs() < 0.01, "{per_record:?}");
        assert!((per_record.with_indexes - 150.0).abs() < 0.01, "{per_record:?}");
    }
}
