//! Flags of `starlog bench commands`.

use std::time::Duration;

use clap::Args;

use super::bench::SystemFlags;
use super::{parse_duration, parse_size};

/// `starlog bench commands`.
#[derive(Debug, Args)]
#[command(after_help = "\
  accept    one command after the other, for a service without a worker
  accept64  the same with 64 in flight
  reply     from sending a command until its reply is there; the worker is idle and answers at once

The figures are told as ratios to S, R and RT64 (see `bench limits`), which are measured first.
Without --broker (or STARLOG_BROKER) it starts a broker, a store and a Titanic of its own.

Examples:
  starlog bench commands --broker tcp://127.0.0.1:7400 --duration 200ms
  starlog bench commands --duration 200ms --size 1kB -o json")]
pub struct BenchCommandsFlags {
    /// The system.
    #[command(flatten)]
    pub system: SystemFlags,
    /// How long each of the three is measured.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = parse_duration)]
    pub duration: Duration,
    /// Bytes of a command's body.
    #[arg(long, value_name = "SIZE", default_value = "256", value_parser = parse_size)]
    pub size: usize,
    /// Then send and close so many commands, start Titanic again and measure anew.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub closed: Option<u32>,
    /// Then leave so many commands open, start Titanic again and measure anew.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub open: Option<u32>,
}
