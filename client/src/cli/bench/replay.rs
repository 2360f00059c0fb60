//! `starlog bench replay`.

use std::time::Duration;

use client::{ClientConfig, PartitionNumber, ReadAllOptions, StoreHandle};
use serde::Serialize;

use super::append::{hundredths, progress_bar, sync_mode};
use super::limits::{Limit, Which, limits_table, measure_for};
use super::load::Load;
use super::machine::Machine;
use super::system::{System, SystemLine};
use super::{now, per_second};
use crate::cli::failure::{Failure, Stop};
use crate::cli::flags::{BenchReplayFlags, LimitsFlags, LoadFlags};
use crate::cli::output::{Alignment, Table};
use crate::cli::session::Session;

/// How the events to read are written: fast, because it is not what is measured.
const FILL_IN_FLIGHT: u32 = 8;
const FILL_BATCH: u16 = 100;
/// How long each limit is measured.
const LIMIT_DURATION: Duration = Duration::from_secs(2);

/// Reads history and prints the rate.
///
/// # Errors
/// [`Stop`] when the system can't be started, filled or read.
pub fn run(session: &Session, flags: BenchReplayFlags) -> Result<(), Stop> {
    let system = System::start(session, &flags.system)?;
    let limits = LimitsFlags { data: None, duration: LIMIT_DURATION, size: flags.size };
    let limits = match flags.with_limits {
        true => measure_for(system.folder(), &limits, Which::Replay)?,
        false => Vec::new(),
    };
    if system.is_own() {
        fill(session, &system, &flags)?;
    }
    let config = ClientConfig { check_signatures: !flags.crc_only, ..system.client_config() };
    let store = system.connect_with(config)?;
    let rounds = (0..flags.rounds)
        .map(|_| read_everything(&store, flags.events))
        .collect::<Result<Vec<_>, Failure>>()?;
    let report = Report {
        bench: "replay",
        machine: Machine::describe(system.folder()),
        system: system.describe()?,
        signatures_checked: !flags.crc_only,
        ratios: Ratios::of(&rounds, &limits),
        limits,
        rounds,
    };
    session.printer().document(&report, || report.to_table())
}

fn fill(session: &Session, system: &System, flags: &BenchReplayFlags) -> Result<(), Failure> {
    let load = Load {
        flags: LoadFlags {
            clients: 1,
            in_flight: FILL_IN_FLIGHT,
            batch: FILL_BATCH,
            size: flags.size,
            streams: flags.streams,
            skew: 0.0,
        },
        seed: 1,
        warmup: Duration::ZERO,
        duration: None,
        events: Some(flags.events),
    };
    let progress = progress_bar(session, Some(flags.events));
    let measured = load.run(&[system.connect()?], &progress);
    progress.finish_and_clear();
    measured.map(|_| ())
}

/// One reading of the whole history.
#[derive(Debug, Serialize)]
struct Round {
    events: u64,
    seconds: f64,
    events_per_second: f64,
    data_bytes_per_second: f64,
    /// Until the first event was there.
    first_event_ms: f64,
}

fn read_everything(store: &StoreHandle, events_max: u64) -> Result<Round, Failure> {
    let (mut events, mut data_bytes) = (0, 0);
    let started = now();
    let mut first = None;
    for partition in (0..store.partitions()).map(PartitionNumber) {
        let options = ReadAllOptions { limit: Some(events_max), ..ReadAllOptions::default() };
        for event in store.read_all(partition, options) {
            let event = event?;
            first.get_or_insert_with(now);
            events += 1;
            data_bytes += u64::try_from(event.data.len()).unwrap_or(u64::MAX);
        }
    }
    let elapsed = now().saturating_duration_since(started);
    let first = first.map_or(Duration::ZERO, |first| first.saturating_duration_since(started));
    Ok(Round {
        events,
        seconds: elapsed.as_secs_f64(),
        events_per_second: per_second(events, elapsed),
        data_bytes_per_second: per_second(data_bytes, elapsed),
        first_event_ms: first.as_secs_f64() * 1e3,
    })
}

#[derive(Debug, Serialize)]
struct Report {
    bench: &'static str,
    machine: Machine,
    system: SystemLine,
    signatures_checked: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    limits: Vec<Limit>,
    rounds: Vec<Round>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ratios: Option<Ratios>,
}

/// The best round against the limits of the same run.
#[derive(Debug, Serialize)]
struct Ratios {
    /// Events against signatures.
    events_to_sha1: f64,
    /// Bytes of data, without names and headers, against those of blocks of 1 MiB one way.
    data_to_w1m: f64,
}

impl Ratios {
    fn of(rounds: &[Round], limits: &[Limit]) -> Option<Self> {
        let limit = |name: &str| limits.iter().find(|limit| limit.name == name);
        let faster = |a: &&Round, b: &&Round| a.events_per_second.total_cmp(&b.events_per_second);
        let best = rounds.iter().max_by(faster)?;
        Some(Self {
            events_to_sha1: hundredths(best.events_per_second / limit("SHA1")?.per_second),
            data_to_w1m: hundredths(best.data_bytes_per_second / limit("W1M")?.bytes_per_second),
        })
    }
}

impl Report {
    fn to_table(&self) -> String {
        let columns = ["ROUND", "EVENTS", "SECONDS", "EVENTS/S", "MB/S", "FIRST EVENT MS"];
        let mut table = Table::new(&columns.map(|name| (name, Alignment::Right)));
        for (number, round) in (1..).zip(&self.rounds) {
            let number: u32 = number;
            table.row([
                number.to_string(),
                round.events.to_string(),
                format!("{:.2}", round.seconds),
                format!("{:.0}", round.events_per_second),
                format!("{:.1}", round.data_bytes_per_second / 1e6),
                format!("{:.1}", round.first_event_ms),
            ]);
        }
        let checked = match self.signatures_checked {
            true => "CRC and signature of every event",
            false => "CRC of every event",
        };
        let mut text = format!(
            "{}\nsync: {}\nchecked: {checked}\n",
            self.machine.to_line(),
            sync_mode(&self.system.durability),
        );
        if !self.limits.is_empty() {
            text.push_str(&limits_table(&self.limits));
        }
        text.push_str(&table.render());
        if let Some(Ratios { events_to_sha1, data_to_w1m }) = &self.ratios {
            text.push_str(&format!(
                "best round: events/s = {events_to_sha1:.2} x SHA1, data/s = {data_to_w1m:.2} x \
                 W1M\n"
            ));
        }
        text
    }
}
