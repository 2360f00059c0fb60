//! Flags of `starlog bench preset`.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::bench::SystemFlags;
use super::parse_duration;

/// `starlog bench preset`.
#[derive(Debug, Args)]
#[command(after_help = "\
  seed-20000    6 clients x 64 appends in flight x 1 event of 16 bytes, synced; the seed of this
                design asks for 20,000 a second
  seed-300k     300,000 events written, then read back with every signature checked
  streams-100k  one load over one stream, and over 100,000 streams
  lokad         the floods of the test client of Lokad's data platform: single writes, batches,
                import, a view read while it is written, and a checkpoint

Examples:
  starlog bench preset seed-20000 --broker tcp://127.0.0.1:7400 --events 2000
  starlog bench preset seed-300k --events 2000
  starlog bench preset streams-100k --events 2000 -o json
  starlog bench preset lokad --events 500")]
pub struct PresetFlags {
    /// What is run.
    #[arg(value_name = "NAME")]
    pub preset: PresetName,
    /// The system.
    #[command(flatten)]
    pub system: SystemFlags,
    /// How long each load runs that has no number of events of its own.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_duration)]
    pub duration: Duration,
    /// End each load after so many events at most.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub events: Option<u64>,
}

/// A measurement with a name and fixed numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PresetName {
    /// Six clients, small events.
    #[value(name = "seed-20000")]
    Seed20000,
    /// Written, read back, checked.
    #[value(name = "seed-300k")]
    Seed300k,
    /// Many streams against one.
    #[value(name = "streams-100k")]
    Streams100k,
    /// The floods of an older test client.
    Lokad,
}

impl PresetName {
    /// As it is typed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Seed20000 => "seed-20000",
            Self::Seed300k => "seed-300k",
            Self::Streams100k => "streams-100k",
            Self::Lokad => "lokad",
        }
    }
}
