//! `starlog bench commands`: how fast Titanic accepts and answers, empty and with many commands.

mod load;
mod report;
mod titanic;
pub mod worker;

use std::time::Duration;

use client::command::{BODY_BYTES_MAX, Commands};

use self::load::Load;
use self::report::{Basis, Figure, Filled, Ratios, Report, Round};
use self::titanic::{Titanic, close_all, start_worker};
use super::limits::{self, Limit, Which};
use super::machine::Machine;
use super::system::System;
use crate::cli::bench::per_second;
use crate::cli::failure::{Failure, Stop};
use crate::cli::flags::{BenchCommandsFlags, LimitsFlags};
use crate::cli::session::Session;

/// Accepts under way in the second figure, as messages in RT64.
const IN_FLIGHT: usize = 64;
/// Accepts under way while the store is filled; that is not what is measured.
const FILL_IN_FLIGHT: usize = 1024;
/// Longest time that one limit is measured.
const LIMIT_DURATION_MAX: Duration = Duration::from_secs(2);

/// Runs the measurement and prints it.
///
/// # Errors
/// [`Stop`] when the system can't be started, or a command is refused.
pub fn run(session: &Session, flags: &BenchCommandsFlags) -> Result<(), Stop> {
    if flags.size > BODY_BYTES_MAX / 2 {
        return Err(Failure::usage(format!("--size is at most {}", BODY_BYTES_MAX / 2)).into());
    }
    let system = System::start(session, &flags.system)?;
    let titanic = Titanic::start(&system, flags)?;
    if !titanic.is_own() && (flags.open.is_some() || flags.closed.is_some()) {
        let sentence = "--open and --closed start Titanic again, so they need the tool's own: \
                        leave --broker out (and STARLOG_BROKER), or give --bin-dir";
        return Err(Failure::usage(sentence).into());
    }
    let limits = measure_limits(&system, flags)?;
    let _worker = start_worker(&system, load::WORKER)?;
    let line = system.describe()?;
    let commands = system.client()?.commands();
    let basis = Basis::of(&limits, &line.durability);
    let mut bench = Bench { flags, commands, titanic, basis };
    let round = bench.round()?;
    let filled = bench.filled()?;
    let report = Report {
        bench: "commands",
        machine: Machine::describe(system.folder()),
        system: line,
        size: flags.size,
        limits,
        round,
        filled,
    };
    session.printer().document(&report, || report.to_table())
}

fn measure_limits(system: &System, flags: &BenchCommandsFlags) -> Result<Vec<Limit>, Failure> {
    let which = if system.is_pair() { Which::PairCommands } else { Which::Commands };
    let duration = flags.duration.min(LIMIT_DURATION_MAX);
    let limits = LimitsFlags { data: None, duration, size: flags.size };
    limits::measure_for(system.folder(), &limits, which)
}

/// A system that serves, with its limits known.
struct Bench<'a> {
    flags: &'a BenchCommandsFlags,
    commands: Commands,
    titanic: Titanic,
    basis: Option<Basis>,
}

impl Bench<'_> {
    /// The three figures, one after the other; nothing that they accepted stays open.
    fn round(&self) -> Result<Round, Failure> {
        let load = Load::new(&self.commands, self.flags.size);
        let reply = Figure::from(&load.round(self.flags.duration)?);
        let accept = Figure::from(&load.accept(1, self.flags.duration)?);
        let accept64 = Figure::from(&load.accept(IN_FLIGHT, self.flags.duration)?);
        let ratios = self.basis.map(|basis| Ratios::of((&accept, &accept64, &reply), &basis));
        Ok(Round { accept, accept64, reply, ratios })
    }

    /// The same with closed commands, and then with open ones.
    fn filled(&mut self) -> Result<Vec<Filled>, Failure> {
        let mut filled = Vec::new();
        if self.flags.closed.is_none() && self.flags.open.is_none() {
            return Ok(filled);
        }
        close_all(&self.commands)?;
        self.titanic.restart()?;
        let empty = self.titanic.memory_bytes()?;
        if let Some(count) = self.flags.closed {
            filled.push(self.with_many("closed", count, empty)?);
            close_all(&self.commands)?;
        }
        if let Some(count) = self.flags.open {
            filled.push(self.with_many("open", count, empty)?);
        }
        Ok(filled)
    }

    fn with_many(
        &mut self,
        state: &'static str,
        count: u32,
        memory_bytes_empty: u64,
    ) -> Result<Filled, Failure> {
        let load = Load::new(&self.commands, self.flags.size);
        let accepted = load.fill(FILL_IN_FLIGHT, u64::from(count))?;
        if state == "closed" {
            close_all(&self.commands)?;
        }
        let start = self.titanic.restart()?;
        Ok(Filled {
            state,
            commands: count,
            accepts_per_second: per_second(u64::from(count), accepted.elapsed),
            start_seconds: start.as_secs_f64(),
            memory_bytes: self.titanic.memory_bytes()?,
            memory_bytes_empty,
            round: self.round()?,
        })
    }
}
