//! Flags of `starlog bench failover` and `starlog bench rejoin`.

use std::time::Duration;

use clap::Args;

use super::bench::SystemFlags;
use super::{parse_duration, parse_size};

/// The load that goes on meanwhile.
#[derive(Debug, Clone, Args)]
pub struct PressureFlags {
    /// Client connections, each with a thread of its own.
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub clients: u16,
    /// Appends that each client keeps under way.
    #[arg(long, value_name = "N", default_value_t = 64)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=65536))]
    pub in_flight: u32,
    /// Bytes of data per event.
    #[arg(long, value_name = "SIZE", default_value = "256", value_parser = parse_size)]
    pub size: usize,
    /// Streams that the events are spread over.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub streams: u32,
}

/// `starlog bench failover`.
#[derive(Debug, Args)]
#[command(after_help = "\
It starts a broker that is the witness and two stores that are a pair, keeps them under load, ends
the leader with SIGKILL, starts it again when the other node acknowledges, waits until it is a
member again, and repeats that. The outage is the longest interval between two acknowledgements at
one client. With --quiet-duration nothing is killed, and what happened all the same is counted.

Examples:
  starlog bench failover --kills 2 --between 200ms
  starlog bench failover --quiet-duration 1s -o json")]
pub struct FailoverFlags {
    /// The load.
    #[command(flatten)]
    pub pressure: PressureFlags,
    /// The system.
    #[command(flatten)]
    pub system: SystemFlags,
    /// How often the leader is killed.
    #[arg(long, value_name = "N", default_value_t = 20)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub kills: u32,
    /// Load on the whole pair before each kill.
    #[arg(long, value_name = "DURATION", default_value = "500ms", value_parser = parse_duration)]
    pub between: Duration,
    /// Kill nothing: full load for this long, counting leader changes and shrinks.
    #[arg(long, value_name = "DURATION", conflicts_with = "kills", value_parser = parse_duration)]
    pub quiet_duration: Option<Duration>,
}

/// `starlog bench rejoin`.
#[derive(Debug, Args)]
#[command(after_help = "\
It starts a pair, fills it, finds out what it can take, goes on with a part of that in an open loop,
kills the follower, throws its disk away, and starts it again.

Examples:
  starlog bench rejoin --fill 4MiB --probe 300ms -o json")]
pub struct RejoinFlags {
    /// The load.
    #[command(flatten)]
    pub pressure: PressureFlags,
    /// The system.
    #[command(flatten)]
    pub system: SystemFlags,
    /// Records in the log before the follower loses its disk.
    #[arg(long, value_name = "SIZE", default_value = "2048MiB", value_parser = parse_size)]
    pub fill: usize,
    /// How long the largest possible rate is looked for.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = parse_duration)]
    pub probe: Duration,
    /// Events per second of the open loop [default: a quarter of the largest possible rate].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: Option<u32>,
}
