//! `starlog bench preset`: measurements with a name, whose numbers are the same everywhere.

mod lokad;
mod report;
mod views;

use std::time::Duration;

use client::{PartitionNumber, ReadAllOptions, Sequence, StoreHandle};

use self::report::{Comparison, Report, Row};
use super::append::progress_bar;
use super::load::Load;
use super::machine::Machine;
use super::system::System;
use super::{broken, now};
use crate::cli::failure::{Failure, Stop};
use crate::cli::flags::{LoadFlags, PresetFlags, PresetName};
use crate::cli::session::Session;
use crate::cli::tail::head;

/// Clients of `seed-20000`, and the rate that the seed of this design asks of them.
const SEED_CLIENTS: u16 = 6;
const SEED_EVENTS_PER_SECOND: f64 = 20_000.0;
/// Events of `seed-300k`.
const SEED_HISTORY: u64 = 300_000;
/// Streams of `streams-100k`.
const MANY_STREAMS: u32 = 100_000;

/// Runs the preset and prints what was measured.
///
/// # Errors
/// [`Stop`] when the system can't be started, or a load fails.
pub fn run(session: &Session, flags: &PresetFlags) -> Result<(), Stop> {
    let system = System::start(session, &flags.system)?;
    let mut bench = Preset { session, flags, system, rows: Vec::new() };
    let comparison = match flags.preset {
        PresetName::Seed20000 => bench.seed_20000()?,
        PresetName::Seed300k => bench.seed_300k()?,
        PresetName::Streams100k => bench.streams_100k()?,
        PresetName::Lokad => bench.lokad()?,
    };
    let Preset { system, rows, .. } = bench;
    let report = Report {
        bench: "preset",
        preset: flags.preset.as_str(),
        machine: Machine::describe(system.folder()),
        system: system.describe()?,
        rows,
        comparison,
    };
    session.printer().document(&report, || report.to_table())
}

/// A preset at work.
struct Preset<'a> {
    session: &'a Session,
    flags: &'a PresetFlags,
    system: System,
    rows: Vec<Row>,
}

/// When a load ends.
#[derive(Debug, Clone, Copy)]
enum End {
    /// After the time that the user gave.
    ByTime,
    /// After so many events.
    After(u64),
}

impl Preset<'_> {
    fn seed_20000(&mut self) -> Result<Option<Comparison>, Failure> {
        let load = LoadFlags {
            clients: SEED_CLIENTS,
            in_flight: 64,
            batch: 1,
            size: 16,
            streams: 10_000,
            skew: 0.0,
        };
        self.append("append", "6 clients x 64 in flight x 16 B", load, End::ByTime)?;
        let rate = self.rows.last().map_or(0.0, Row::rate);
        Ok(Some(Comparison::new("append to the seed's 20,000/s", rate / SEED_EVENTS_PER_SECOND)))
    }

    fn seed_300k(&mut self) -> Result<Option<Comparison>, Failure> {
        let store = self.system.connect()?;
        let before = heads(&store)?;
        let load = LoadFlags {
            clients: 1,
            in_flight: 64,
            batch: 1,
            size: 256,
            streams: 10_000,
            skew: 0.0,
        };
        let end = End::After(SEED_HISTORY);
        let written = self.append("write", "64 in flight x 256 B, signed", load, end)?;
        let row = read_back(&store, &before, written)?;
        self.rows.push(row);
        Ok(None)
    }

    fn streams_100k(&mut self) -> Result<Option<Comparison>, Failure> {
        let load = |streams| LoadFlags {
            clients: 4,
            in_flight: 256,
            batch: 1,
            size: 256,
            streams,
            skew: 0.0,
        };
        let what = "4 clients x 256 in flight x 256 B";
        self.append("one stream", what, load(1), End::ByTime)?;
        self.append("100,000 streams", what, load(MANY_STREAMS), End::ByTime)?;
        let rates: Vec<f64> = self.rows.iter().map(Row::rate).collect();
        Ok(match *rates {
            [one, many] if one > 0.0 => {
                Some(Comparison::new("100,000 streams to one stream", many / one))
            }
            _ => None,
        })
    }

    /// Runs one load of appends, and returns how many events were counted.
    fn append(
        &mut self,
        name: &'static str,
        what: impl Into<String>,
        load: LoadFlags,
        end: End,
    ) -> Result<u64, Failure> {
        let clients = (0..load.clients)
            .map(|_| self.system.connect())
            .collect::<Result<Vec<_>, Failure>>()?;
        let (duration, events) = match end {
            End::ByTime => (Some(self.flags.duration), self.flags.events),
            End::After(events) => (None, Some(self.at_most(events))),
        };
        let load = Load { flags: load, seed: 1, warmup: Duration::ZERO, duration, events };
        let progress = progress_bar(self.session, events);
        let measured = load.run(&clients, &progress);
        progress.finish_and_clear();
        let measured = measured?;
        let row = Row::new(name, what, measured.events, measured.elapsed);
        self.rows.push(row.with(&measured.latencies));
        Ok(measured.events)
    }

    fn at_most(&self, events: u64) -> u64 {
        self.flags.events.map_or(events, |most| most.min(events))
    }
}

/// The newest committed sequence of every partition.
fn heads(store: &StoreHandle) -> Result<Vec<(PartitionNumber, Sequence)>, Failure> {
    let partitions = (0..store.partitions()).map(PartitionNumber);
    partitions.map(|partition| Ok((partition, head(store, partition)?))).collect()
}

/// Reads what was appended behind the heads; the client checks every signature.
fn read_back(
    store: &StoreHandle,
    before: &[(PartitionNumber, Sequence)],
    written: u64,
) -> Result<Row, Failure> {
    let (started, mut events) = (now(), 0);
    for (partition, head) in before {
        let options = ReadAllOptions { from: Some(head.next()), ..ReadAllOptions::default() };
        for event in store.read_all(*partition, options) {
            event?;
            events += 1;
        }
    }
    if events < written {
        return Err(broken(format!("of {written} written events {events} came back")));
    }
    let elapsed = now().saturating_duration_since(started);
    Ok(Row::new("read back", "every CRC and signature checked", events, elapsed))
}
