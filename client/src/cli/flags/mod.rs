//! What was typed: the command line as clap reads it, before it means anything.
//!
//! Each command turns its flags into what it means (a request, a plan) in its own module, where
//! combinations are checked that clap can't see.

mod append;
mod bench;
mod bench_commands;
mod bench_pair;
mod bench_preset;
mod bench_reading;
mod command;
mod operate;
mod pair;
mod read;
mod transfer;
mod value;

use std::time::Duration;

use broker::net::Endpoint;
use clap::{Args, Parser, Subcommand, ValueEnum};
use client::StoreName;

pub use append::{AppendFlags, ContentTypeFlag, DurabilityFlag, Source};
pub use bench::{
    BenchAppendFlags, BenchCommand, BenchReplayFlags, LimitsFlags, LoadFlags, SystemFlags,
};
pub use bench_commands::BenchCommandsFlags;
pub use bench_pair::{FailoverFlags, PressureFlags, RejoinFlags};
pub use bench_preset::{PresetFlags, PresetName};
pub use bench_reading::{BenchReadFlags, FanoutFlags, StartFlags};
pub use command::{
    CloseFlags, CommandVerb, DeadFlags, ListFlags, PurgeFlags, ReplyFlags, RequeueFlags, SendFlags,
};
pub use operate::{CompletionsFlags, DoctorFlags, Shell, TopologyFlags, VerifyFlags};
pub use pair::{HandoverFlags, NodeName, PairCommand, PairStatusFlags};
pub use read::{ReadFlags, ReplayFlags, TailFlags, TailFrom};
pub use transfer::{ExportFlags, ImportFlags};
pub use value::{parse_duration, parse_size};

use crate::cli::exit;

/// Append, read and follow events of a Starlog topology, send commands, look after it, measure it.
#[derive(Debug, Parser)]
#[command(name = "starlog", version, after_help = exit::HELP, max_term_width = 100)]
#[command(propagate_version = true, disable_help_subcommand = true)]
pub struct CommandLine {
    /// Flags that every command has.
    #[command(flatten)]
    pub global: GlobalFlags,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags that every command has.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct GlobalFlags {
    /// Endpoint of a broker; may be repeated or be a comma list [default: tcp://127.0.0.1:7400].
    #[arg(long = "broker", value_name = "ENDPOINT", env = "STARLOG_BROKER", global = true)]
    #[arg(value_delimiter = ',', hide_env_values = true)]
    pub brokers: Vec<Endpoint>,
    /// Form of what is printed on standard output; errors follow it on standard error.
    #[arg(short, long, value_name = "FORM", global = true, default_value = "table")]
    pub output: Format,
    /// How long to wait for an answer.
    #[arg(long, value_name = "DURATION", global = true, default_value = "10s")]
    #[arg(value_parser = parse_duration)]
    pub timeout: Duration,
    /// No progress and no remarks on standard error.
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Log more to standard error; repeat for more still.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Print each message to and from the broker on standard error, one per line: direction, kind,
    /// service, number, bytes of each frame, and the first bytes.
    #[arg(long, global = true)]
    pub trace: bool,
}

/// The form of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Columns for people.
    Table,
    /// One JSON document.
    Json,
    /// One JSON object per line.
    Ndjson,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Append one event, or several in one atomic append, to a stream.
    Append(AppendFlags),
    /// Print the events of one stream.
    Read(ReadFlags),
    /// Print the history of a store's partitions.
    Replay(ReplayFlags),
    /// Follow a store: print each event as it is committed, until interrupted.
    Tail(TailFlags),
    /// Append events from a file to the streams that they come from; can be run again.
    Import(ImportFlags),
    /// Print events for `import`, one per line.
    Export(ExportFlags),
    /// Show partitions, pairs and witness, and what needs doing; exit 5 if a partition has no
    /// leader.
    Status(StatusFlags),
    /// Show brokers, stores with their members, services and witnesses.
    Topology(TopologyFlags),
    /// Name what is stuck, and what to do; exit 0 when nothing is.
    Doctor(DoctorFlags),
    /// Show pairs of nodes, and let the other node of one lead.
    #[command(subcommand)]
    Pair(PairCommand),
    /// Send commands to services whose workers may be away, fetch replies, and look after both.
    #[command(subcommand, name = "command")]
    Commands(CommandVerb),
    /// Check every byte of a data directory; exit 12 on a torn tail, 6 on damage.
    Verify(VerifyFlags),
    /// Measure appends, reads, subscriptions and starts, and the limits that this machine sets
    /// them.
    #[command(subcommand)]
    Bench(BenchCommand),
    /// Print a script that completes command lines in a shell.
    Completions(CompletionsFlags),
}

/// `starlog status`.
#[derive(Debug, Args)]
#[command(after_help = "\
Lines marked with ! need somebody to act, those marked with ~ mend themselves, those marked with -
are good to know; the last line sums up.

Examples:
  starlog status
  starlog status orders -o json")]
pub struct StatusFlags {
    /// Only this store.
    pub store: Option<StoreName>,
}

#[cfg(test)]
mod tests;
