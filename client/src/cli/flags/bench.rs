//! Flags of `starlog bench`.

use std::path::PathBuf;
use std::time::Duration;

use broker::net::Endpoint;
use clap::{Args, Subcommand};
use client::{Durability, StoreName};

use super::{
    BenchCommandsFlags, BenchReadFlags, DurabilityFlag, FailoverFlags, FanoutFlags, PresetFlags,
    RejoinFlags, StartFlags, parse_duration, parse_size,
};

/// `starlog bench …`.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Append in a closed loop and print rate and latency.
    Append(BenchAppendFlags),
    /// Read a store's history and print the rate.
    Replay(BenchReplayFlags),
    /// Read whole streams out of many, straight from the store, and print rate and latency.
    Read(BenchReadFlags),
    /// Append at a fixed rate and print how soon live subscribers have each event.
    Fanout(FanoutFlags),
    /// Kill a filled store, start it again, and print how soon it serves, and its memory and disk.
    Start(StartFlags),
    /// Run a measurement whose numbers are fixed.
    Preset(PresetFlags),
    /// Kill the leader of a pair again and again and print how long appends stood still.
    Failover(FailoverFlags),
    /// Give a pair's follower an empty disk and print how fast it becomes a member again.
    Rejoin(RejoinFlags),
    /// Send commands to Titanic and print how fast they are accepted and answered.
    Commands(BenchCommandsFlags),
    /// Measure what disk and sockets of this machine allow.
    Limits(LimitsFlags),
    /// The bare broker process of the round-trip measurement.
    #[command(hide = true)]
    RawBroker,
    /// The bare worker process of the round-trip measurement.
    #[command(hide = true)]
    RawWorker {
        /// Where the bare broker listens.
        endpoint: Endpoint,
    },
    /// The bare other node of the pair's round-trip measurement.
    #[command(hide = true)]
    RawPeer,
    /// The bare replayer of the one-way measurements.
    #[command(hide = true)]
    RawSource,
    /// The idle worker of the commands' measurement.
    #[command(hide = true)]
    CommandWorker {
        /// Where the broker listens.
        endpoint: Endpoint,
        /// What it offers.
        service: String,
    },
}

/// What is measured: a running system, or one that the tool starts for itself.
#[derive(Debug, Clone, Args)]
pub struct SystemFlags {
    /// Store to use; with --broker it must exist.
    #[arg(long, value_name = "NAME", default_value = "bench")]
    pub store: StoreName,
    /// Folder of starlog-broker and starlog-store; the tool then starts its own processes, as it
    /// does without --broker [default: the tool's own folder].
    #[arg(long, value_name = "FOLDER")]
    pub bin_dir: Option<PathBuf>,
    /// Folder for the data of its own processes and for the disk limits; left as it is afterwards
    /// [default: a temporary one, removed].
    #[arg(long, value_name = "FOLDER")]
    pub data: Option<PathBuf>,
    /// Durability level of its own store [default: local, or pair with --pair].
    #[arg(long, value_name = "LEVEL")]
    pub durability: Option<DurabilityFlag>,
    /// Make its own store a pair: two processes, and a broker that is their witness.
    #[arg(long)]
    pub pair: bool,
    /// How long the pair's leader waits before it takes back a follower that was lost within a
    /// minute; 0s = not at all.
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = parse_duration)]
    pub grow_backoff: Duration,
    /// Partitions of its own store.
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub partitions: u16,
}

impl SystemFlags {
    /// Durability level of the tool's own store.
    pub fn level(&self) -> Durability {
        let usual = if self.pair { DurabilityFlag::Pair } else { DurabilityFlag::Local };
        self.durability.unwrap_or(usual).into()
    }
}

/// The load of `bench append`, and what `bench replay` writes first.
#[derive(Debug, Clone, Args)]
pub struct LoadFlags {
    /// Client connections, each with a thread of its own.
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub clients: u16,
    /// Appends that each client keeps under way.
    #[arg(long, value_name = "N", default_value_t = 64)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=65536))]
    pub in_flight: u32,
    /// Events per append.
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub batch: u16,
    /// Bytes of data per event.
    #[arg(long, value_name = "SIZE", default_value = "256", value_parser = parse_size)]
    pub size: usize,
    /// Streams that the events are spread over.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub streams: u32,
    /// Spread with hot and cold streams: the exponent of a Zipf distribution; 0 is uniform.
    #[arg(long, value_name = "EXPONENT", default_value_t = 0.0)]
    pub skew: f64,
}

/// `starlog bench append`.
#[derive(Debug, Args)]
#[command(after_help = "\
Without --broker (or STARLOG_BROKER) it starts a broker and a store of its own on loopback.

Examples:
  starlog bench append --broker tcp://127.0.0.1:7400 --store orders --events 2000 --warmup 0s
  starlog bench append --clients 2 --in-flight 64 --batch 1 --size 256 --duration 1s -o json
  starlog bench append --pair --in-flight 1 --duration 1s")]
pub struct BenchAppendFlags {
    /// The load.
    #[command(flatten)]
    pub load: LoadFlags,
    /// The system.
    #[command(flatten)]
    pub system: SystemFlags,
    /// End after this long, not counting the warm-up [default: 10s, or none with --events].
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub duration: Option<Duration>,
    /// End after this many events, not counting the warm-up.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub events: Option<u64>,
    /// Load of the same kind before counting starts.
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = parse_duration)]
    pub warmup: Duration,
    /// Seed of the choice of streams.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Measure S and R first (of a pair S2, R and P, for batches RB too; see `bench limits`), in
    /// the same folder, and print the figures as ratios to them.
    #[arg(long)]
    pub with_limits: bool,
}

/// `starlog bench replay`.
#[derive(Debug, Args)]
#[command(after_help = "\
Its own store is filled with --events events first. With --broker it reads what is there, at most
--events of each partition.

Examples:
  starlog bench replay --broker tcp://127.0.0.1:7400 --store orders
  starlog bench replay --events 2000 --size 256 -o json")]
pub struct BenchReplayFlags {
    /// The system.
    #[command(flatten)]
    pub system: SystemFlags,
    /// Events to read.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    pub events: u64,
    /// Bytes of data per event that is written first.
    #[arg(long, value_name = "SIZE", default_value = "256", value_parser = parse_size)]
    pub size: usize,
    /// Streams that the events written first are spread over.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub streams: u32,
    /// Check only the checksums of records, not the events' signatures.
    #[arg(long)]
    pub crc_only: bool,
    /// Measure W64K, W1M and SHA1 first (see `bench limits`), and print the best round as ratios
    /// to them.
    #[arg(long)]
    pub with_limits: bool,
    /// How often the history is read.
    #[arg(long, value_name = "N", default_value_t = 3)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..))]
    pub rounds: u16,
}

/// `starlog bench limits`.
#[derive(Debug, Args)]
#[command(after_help = "\
  S         4 KiB written and synced (fdatasync) in a zero-filled file
  S2, S4    the same in two and in four files at once
  R         one ZeroMQ round trip client - broker - worker and back, three plain processes on
            loopback
  P         one ZeroMQ round trip between two plain processes, as between the nodes of a pair
  RT64      as R, with 64 in flight
  RB        as R, with 25.6 kB there and back, 8 in flight: batches of 100 events of 256 bytes
  R40       one ZeroMQ round trip between two plain processes, 100 bytes out and 40 kB back
  R40x16    the same with 16 in flight
  W64K, W1M messages of 64 KiB and of 1 MiB one way; the latency is from one arrival to the next
  SHA1      signatures of events of --size bytes on one core

Examples:
  starlog bench limits --duration 100ms
  starlog bench limits --data . --duration 100ms -o json")]
pub struct LimitsFlags {
    /// Folder on the disk to measure; the files are removed [default: the temporary folder].
    #[arg(long, value_name = "FOLDER")]
    pub data: Option<PathBuf>,
    /// How long each of them is measured.
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = parse_duration)]
    pub duration: Duration,
    /// Bytes of a message's body in R, P and RT64, and of an event's data in SHA1.
    #[arg(long, value_name = "SIZE", default_value = "256", value_parser = parse_size)]
    pub size: usize,
}
