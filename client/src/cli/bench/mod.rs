//! `starlog bench`: measures appends, reads, subscriptions, commands, starts and failovers, and
//! what the machine allows.
//!
//! ```text
//! flags ──► plan ──► system (running, or own child processes) ──► load ──► report
//!                                                  limits ────────────────►│
//! ```

mod append;
mod children;
mod commands;
mod failover;
mod fanout;
mod fill;
mod latency;
mod limits;
mod load;
mod machine;
mod pair;
mod preset;
mod pressure;
mod read;
mod rejoin;
mod replay;
mod start;
mod store_process;
mod streams;
mod system;

use std::time::{Duration, Instant};

use broker::error_code::ErrorCode;

use crate::cli::failure::{Failure, Stop};
use crate::cli::flags::BenchCommand;
use crate::cli::session::Session;

/// Runs a measurement.
///
/// # Errors
/// [`Stop`] when what is to be measured fails or can't be started.
pub fn run(session: &Session, command: BenchCommand) -> Result<(), Stop> {
    match command {
        BenchCommand::Append(flags) => append::run(session, flags),
        BenchCommand::Replay(flags) => replay::run(session, flags),
        BenchCommand::Read(flags) => read::run(session, &flags),
        BenchCommand::Fanout(flags) => fanout::run(session, &flags),
        BenchCommand::Start(flags) => start::run(session, &flags),
        BenchCommand::Preset(flags) => preset::run(session, &flags),
        BenchCommand::Failover(flags) => failover::run(session, &flags),
        BenchCommand::Rejoin(flags) => rejoin::run(session, &flags),
        BenchCommand::Limits(flags) => limits::run(session, &flags),
        BenchCommand::Commands(flags) => commands::run(session, &flags),
        BenchCommand::RawBroker => limits::raw::broker().map_err(Stop::from),
        BenchCommand::RawPeer => limits::raw::peer().map_err(Stop::from),
        BenchCommand::RawSource => limits::raw::source().map_err(Stop::from),
        BenchCommand::CommandWorker { endpoint, service } => {
            commands::worker::run(endpoint, &service).map_err(Stop::from)
        }
        BenchCommand::RawWorker { endpoint } => limits::raw::worker(&endpoint).map_err(Stop::from),
    }
}

/// The clock of all measurements.
#[expect(clippy::disallowed_methods, reason = "a measuring loop reads the clock")]
fn now() -> Instant {
    Instant::now()
}

/// A failure of the measurement itself rather than of what is measured.
fn broken(sentence: impl Into<String>) -> Failure {
    Failure::local(ErrorCode::INTERNAL, sentence)
}

/// How many of `count` in a second; 0 when no time has passed.
fn per_second(count: u64, elapsed: Duration) -> f64 {
    if elapsed.is_zero() { 0.0 } else { (approximate(count) / elapsed.as_secs_f64()).round() }
}

/// A count as a floating-point number, for rates and ratios.
#[expect(clippy::as_conversions, reason = "beyond 2^53 a rate's last digits don't matter")]
fn approximate(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates() {
        assert!((per_second(1000, Duration::from_millis(500)) - 2000.0).abs() < f64::EPSILON);
        assert!(per_second(1000, Duration::ZERO).abs() < f64::EPSILON);
    }
}
