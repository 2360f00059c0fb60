//! Flags of `starlog bench read`, `fanout` and `start`.

use std::time::Duration;

use clap::Args;

use super::bench::SystemFlags;
use super::{parse_duration, parse_size};

/// `starlog bench read`.
#[derive(Debug, Args)]
#[command(after_help = "\
First --events events are appended, round and round over as many streams as that makes, so that the
events of a stream lie far apart. Then whole streams are read, chosen at random:

  alone   one read at a time through the client library
  many    --in-flight reads at a time through the client library, each by a thread of its own
  bare    --in-flight reads at a time without the library, by one thread, checked as it does

The figures are told as ratios to R40 and R40x16 (see `bench limits`), which are measured first.

Examples:
  starlog bench read --broker tcp://127.0.0.1:7400 --events 2000 --length 20 --duration 200ms
  starlog bench read --events 1000 --in-flight 4 --duration 200ms -o json")]
pub struct BenchReadFlags {
    /// The system.
    #[command(flatten)]
    pub system: SystemFlags,
    /// Events to append first, rounded up to whole streams.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub events: u64,
    /// Events of each stream.
    #[arg(long, value_name = "N", default_value_t = 100)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub length: u32,
    /// Bytes of data per event.
    #[arg(long, value_name = "SIZE", default_value = "256", value_parser = parse_size)]
    pub size: usize,
    /// Reads under way in `many` and `bare`.
    #[arg(long, value_name = "N", default_value_t = 16)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=64))]
    pub in_flight: u16,
    /// Client connections that the reads of `many` are spread over [default: one for every 4,
    /// which is what a replayer keeps under way for one connection].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub clients: Option<u16>,
    /// How long each of the three is measured.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = parse_duration)]
    pub duration: Duration,
}

/// `starlog bench fanout`.
#[derive(Debug, Args)]
#[command(after_help = "\
One client appends at a fixed rate, whether answered or not; subscribers with connections of their
own follow. The latency is the time from the call of append until a subscriber has the event in its
hands, told as a ratio to S + R (see `bench limits`; of a pair to S2 + R, and P), measured first.

Examples:
  starlog bench fanout --broker tcp://127.0.0.1:7400 --rate 500 --duration 200ms
  starlog bench fanout --rate 500 --subscribers 2 --duration 200ms -o json")]
pub struct FanoutFlags {
    /// The system.
    #[command(flatten)]
    pub system: SystemFlags,
    /// Appends per second.
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rate: u32,
    /// Subscribers, each to all partitions.
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub subscribers: u16,
    /// Bytes of data per event, at least 24.
    #[arg(long, value_name = "SIZE", default_value = "256", value_parser = parse_size)]
    pub size: usize,
    /// Streams that the events are spread over.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub streams: u32,
    /// How long events are counted.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_duration)]
    pub duration: Duration,
}

/// `starlog bench start`.
#[derive(Debug, Args)]
#[command(after_help = "\
It starts a broker and a store, appends --events events, ends the store with SIGKILL and starts it
again, --rounds times, while a client already waits for the answer to an append. What the system
keeps in its page cache stays there. Memory is what belongs to the process alone (RssAnon), without
pages of files. Disk counts what is written, without the zeros that are laid out ahead.

Examples:
  starlog bench start --events 2000 --streams 100 --rounds 1
  starlog bench start --events 2000 --size 16 --rounds 2 -o json")]
pub struct StartFlags {
    /// The system.
    #[command(flatten)]
    pub system: SystemFlags,
    /// Events to append first.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub events: u64,
    /// Bytes of data per event.
    #[arg(long, value_name = "SIZE", default_value = "256", value_parser = parse_size)]
    pub size: usize,
    /// Streams that the events are spread over.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub streams: u32,
    /// How often the store is killed.
    #[arg(long, value_name = "N", default_value_t = 3)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..))]
    pub rounds: u16,
}
