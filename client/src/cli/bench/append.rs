//! `starlog bench append`.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::latency::LatencySummary;
use super::limits::{Limit, Which, limits_table, measure_for};
use super::load::{Load, Measured};
use super::machine::Machine;
use super::per_second;
use super::system::{System, SystemLine};
use crate::cli::failure::{Failure, Stop};
use crate::cli::flags::{BenchAppendFlags, LimitsFlags, LoadFlags};
use crate::cli::output::Alignment;
use crate::cli::session::Session;

/// How long a load without an end of its own runs.
const DURATION_DEFAULT: Duration = Duration::from_secs(10);
/// How long each limit is measured before a load.
const LIMIT_DURATION: Duration = Duration::from_secs(2);

/// Runs the load and prints what was measured.
///
/// # Errors
/// [`Stop`] when the system can't be started or an append fails.
pub fn run(session: &Session, flags: BenchAppendFlags) -> Result<(), Stop> {
    let load = plan(&flags)?;
    let system = System::start(session, &flags.system)?;
    let which = match (system.is_pair(), flags.load.batch > 1) {
        (false, false) => Which::Single,
        (false, true) => Which::Batches,
        (true, false) => Which::Pair,
        (true, true) => Which::PairBatches,
    };
    let limits = match flags.with_limits {
        true => measure_for(system.folder(), &limits_flags(&flags), which)?,
        false => Vec::new(),
    };
    let clients =
        (0..load.flags.clients).map(|_| system.connect()).collect::<Result<Vec<_>, Failure>>()?;
    let progress = progress_bar(session, load.events);
    let measured = load.run(&clients, &progress);
    progress.finish_and_clear();
    let report = Report::new(&system, &load, limits, &measured?)?;
    session.printer().document(&report, || report.to_table())
}

fn plan(flags: &BenchAppendFlags) -> Result<Load, Failure> {
    if flags.load.size > store::event::EVENT_DATA_BYTES_MAX {
        let max = store::event::EVENT_DATA_BYTES_MAX;
        return Err(Failure::usage(format!("--size is at most {max}")));
    }
    let duration = match (flags.duration, flags.events) {
        (None, None) => Some(DURATION_DEFAULT),
        (duration, _) => duration,
    };
    Ok(Load {
        flags: flags.load.clone(),
        seed: flags.seed,
        warmup: flags.warmup,
        duration,
        events: flags.events,
    })
}

fn limits_flags(flags: &BenchAppendFlags) -> LimitsFlags {
    LimitsFlags { data: None, duration: LIMIT_DURATION, size: flags.load.size }
}

/// A bar that shows on a terminal only, and only if wanted.
pub fn progress_bar(session: &Session, events: Option<u64>) -> ProgressBar {
    if session.quiet || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let template = match events {
        Some(_) => "{wide_bar} {human_pos}/{human_len} events {per_sec}",
        None => "{spinner} {human_pos} events {per_sec}",
    };
    let style = ProgressStyle::with_template(template);
    let bar = events.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

#[derive(Debug, Serialize)]
struct Report {
    bench: &'static str,
    machine: Machine,
    system: SystemLine,
    load: LoadLine,
    events: u64,
    seconds: f64,
    events_per_second: f64,
    appends_per_second: f64,
    data_bytes_per_second: f64,
    latency: LatencySummary,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    limits: Vec<Limit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ratios: Option<Ratios>,
    /// Bytes of data against what RB carries in one direction.
    #[serde(skip_serializing_if = "Option::is_none")]
    data_rate_to_batches: Option<f64>,
}

/// The load as it is reported.
#[derive(Debug, Serialize)]
struct LoadLine {
    clients: u16,
    in_flight: u32,
    batch: u16,
    size: usize,
    streams: u32,
    skew: f64,
    seed: u64,
}

impl LoadLine {
    fn new(flags: &LoadFlags, seed: u64) -> Self {
        let LoadFlags { clients, in_flight, batch, size, streams, skew } = *flags;
        Self { clients, in_flight, batch, size, streams, skew, seed }
    }
}

impl Report {
    fn new(
        system: &System,
        load: &Load,
        limits: Vec<Limit>,
        measured: &Measured,
    ) -> Result<Self, Failure> {
        let Measured { latencies, events, elapsed } = measured;
        let system_line = system.describe()?;
        let latency = latencies.summary();
        let appends_per_second = per_second(latencies.count(), *elapsed);
        let data = events.saturating_mul(u64::try_from(load.flags.size).unwrap_or(u64::MAX));
        let ratios = Floor::of(&limits, &system_line.durability).map(|floor| Ratios {
            basis: floor.basis,
            p50_to_basis: hundredths((latency.p50_us - floor.extra_us) / floor.latency_us),
            p50_extra: floor.extra,
            rate_to_in_flight_per_basis: hundredths(
                appends_per_second * floor.latency_us / 1e6 / in_flight(&load.flags),
            ),
        });
        let data_bytes_per_second = per_second(data, *elapsed);
        let batches = limits.iter().find(|limit| limit.name == "RB");
        let data_rate_to_batches =
            batches.map(|limit| hundredths(data_bytes_per_second / limit.bytes_per_second));
        Ok(Self {
            bench: "append",
            machine: Machine::describe(system.folder()),
            system: system_line,
            load: LoadLine::new(&load.flags, load.seed),
            events: *events,
            seconds: elapsed.as_secs_f64(),
            events_per_second: per_second(*events, *elapsed),
            appends_per_second,
            data_bytes_per_second,
            latency,
            limits,
            ratios,
            data_rate_to_batches,
        })
    }

    fn to_table(&self) -> String {
        let LoadLine { clients, in_flight, batch, size, streams, skew, seed } = &self.load;
        let mut text = format!(
            "{}\nsync: {}\nload: {clients} clients x {in_flight} in flight x {batch} events of \
             {size} bytes, {streams} streams (skew {skew}, seed {seed})\n",
            self.machine.to_line(),
            sync_mode(&self.system.durability),
        );
        if !self.limits.is_empty() {
            text.push_str(&limits_table(&self.limits));
        }
        let columns = ["EVENTS", "SECONDS", "EVENTS/S", "APPENDS/S"];
        let mut table = LatencySummary::table(&columns.map(|name| (name, Alignment::Right)));
        let first = [
            self.events.to_string(),
            format!("{:.2}", self.seconds),
            format!("{:.0}", self.events_per_second),
            format!("{:.0}", self.appends_per_second),
        ];
        table.row(first.into_iter().chain(self.latency.cells()));
        text.push_str(&table.render());
        if let Some(ratios) = &self.ratios {
            text.push_str(&format!(
                "p50 = {:.2} x ({basis}){}, appends/s = {:.2} x in flight / ({basis})\n",
                ratios.p50_to_basis,
                ratios.p50_extra.map(|extra| format!(" + {extra}")).unwrap_or_default(),
                ratios.rate_to_in_flight_per_basis,
                basis = ratios.basis,
            ));
        }
        if let Some(ratio) = self.data_rate_to_batches {
            text.push_str(&format!("data/s = {ratio:.2} x RB\n"));
        }
        text
    }
}

/// What a durability level does before it acknowledges.
pub fn sync_mode(durability: &str) -> String {
    match durability {
        "memory" => "none before the acknowledgement (memory)".to_owned(),
        "local" => "fdatasync before every acknowledgement (local)".to_owned(),
        "pair" => "fdatasync on both nodes before every acknowledgement (pair)".to_owned(),
        other => other.to_owned(),
    }
}

/// The figures against the limits of the same run.
#[derive(Debug, Serialize)]
struct Ratios {
    basis: &'static str,
    /// Median latency, without the extra, against the least that one append must take.
    p50_to_basis: f64,
    /// What the median has to pay once, whatever else it takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    p50_extra: Option<&'static str>,
    /// Rate of appends against as many as are in flight per that least time.
    rate_to_in_flight_per_basis: f64,
}

/// The least time that one acknowledged append must take on this machine.
pub struct Floor {
    /// The limits that it is made of.
    pub basis: &'static str,
    /// Their medians together.
    pub latency_us: f64,
    /// A round trip between the nodes of a pair, which is paid once and beside the rest.
    pub extra: Option<&'static str>,
    /// Its median; 0 without one.
    pub extra_us: f64,
}

impl Floor {
    /// The floor of a durability level; `None` where a limit was not measured.
    pub fn of(limits: &[Limit], durability: &str) -> Option<Self> {
        let p50 = |name: &str| {
            let limit = limits.iter().find(|limit| limit.name == name)?;
            Some(limit.latency.p50_us)
        };
        let round_trip = p50("R")?;
        let floor = |basis, latency_us| Self { basis, latency_us, extra: None, extra_us: 0.0 };
        Some(match (durability, p50("P")) {
            ("memory", _) => floor("R", round_trip),
            (_, Some(peer)) => Self {
                extra: Some("P"),
                extra_us: peer,
                ..floor("S2 + R", p50("S2")? + round_trip)
            },
            _ => floor("S + R", p50("S")? + round_trip),
        })
    }
}

fn in_flight(flags: &LoadFlags) -> f64 {
    f64::from(flags.clients) * f64::from(flags.in_flight)
}

/// Rounded to a hundredth, for ratios.
pub fn hundredths(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}
