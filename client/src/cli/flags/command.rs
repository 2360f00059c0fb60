//! Flags of `starlog command`.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use client::command::wire::CommandState;
use client::command::{CommandId, Target};

use super::{Source, parse_duration};

/// `starlog command …`.
#[derive(Debug, Subcommand)]
pub enum CommandVerb {
    /// Leave a command with Titanic, which gives it to a worker of its service when there is one.
    Send(SendFlags),
    /// Show how far one command is.
    Status(CommandStatusFlags),
    /// Print the reply to a command; it can be fetched again until the command is closed.
    Reply(ReplyFlags),
    /// Close commands: nothing more is done for them and their replies are given up.
    Close(CloseFlags),
    /// List open commands.
    List(ListFlags),
    /// List commands that were given up, and why.
    Dead(DeadFlags),
    /// Give dead commands new attempts.
    Requeue(RequeueFlags),
    /// Close many commands at once.
    Purge(PurgeFlags),
}

/// `starlog command send`.
#[derive(Debug, Args)]
#[command(after_help = "\
The command is kept when this says so and exits 0, whether there is a worker or not. Exit 5 with
\"outcome\":\"unknown\" means that it may have been kept: send the same again with the same --id,
which can't double it. Exit 2 may mean that the id belongs to another command. With --wait it is
sent, waited for and left open; exit 5 with \"retry\":true then means that there was no reply yet:
fetch it later with `starlog command reply`.

Examples:
  starlog command send echo hello --id 0190163D8694739BAEA5966C26F8AD91
  starlog command send echo '{\"order\":17}' --delay 1s --ttl 1h --attempts 3 -o json
  starlog command send echo hello --wait 20s")]
pub struct SendFlags {
    /// Service whose worker is to do it.
    #[arg(value_parser = parse_target)]
    pub service: Target,
    /// What the worker is given, one frame each: text, @FILE, or - for standard input.
    #[arg(required = true)]
    pub body: Vec<Source>,
    /// Id of the command, 32 hex digits; the same command with the same id is kept once
    /// [default: a new one].
    #[arg(long, value_name = "ID")]
    pub id: Option<CommandId>,
    /// Give it to a worker only after this time.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub delay: Option<Duration>,
    /// Give it up, as a dead command, when it has no reply after this time.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub ttl: Option<Duration>,
    /// Give it up after so many attempts that failed [default: Titanic's --attempts].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub attempts: Option<u32>,
    /// Wait so long for the reply and print it.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub wait: Option<Duration>,
}

/// `starlog command status`.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit 3 means that no such command was ever kept.

Examples:
  starlog command status 0190163D8694739BAEA5966C26F8AD91
  starlog command status 0190163d8694739baea5966c26f8ad91 -o json")]
pub struct CommandStatusFlags {
    /// The command.
    pub id: CommandId,
}

/// `starlog command reply`.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit 5 means that there is no reply yet, exit 3 that there will be none: the command is unknown,
closed or dead, as \"state\" among the error's details says. A dead one can be requeued or purged.

Examples:
  starlog command reply 0190163D8694739BAEA5966C26F8AD91 --wait 20s
  starlog command reply 0190163D8694739BAEA5966C26F8AD91 --wait 20s -o json")]
pub struct ReplyFlags {
    /// The command.
    pub id: CommandId,
    /// Wait so long for the reply if it is not there yet.
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = parse_duration)]
    pub wait: Duration,
}

/// `starlog command close`.
#[derive(Debug, Args)]
#[command(after_help = "\
Closing a command that is closed, or that nobody knows, is no error.

Examples:
  starlog command close 0190163D8694739BAEA5966C26F8AD91")]
pub struct CloseFlags {
    /// The commands.
    #[arg(required = true, value_name = "ID")]
    pub ids: Vec<CommandId>,
}

/// `starlog command list`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  starlog command list
  starlog command list --state queued --service echo --limit 10 -o ndjson")]
pub struct ListFlags {
    /// Only commands in this state.
    #[arg(long, value_name = "STATE")]
    pub state: Option<StateFlag>,
    /// Only commands for this service.
    #[arg(long, value_name = "NAME")]
    pub service: Option<String>,
    /// At most so many.
    #[arg(long, value_name = "N", default_value_t = 100)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
}

/// `starlog command dead`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  starlog command dead
  starlog command dead --service echo -o json")]
pub struct DeadFlags {
    /// Only commands for this service.
    #[arg(long, value_name = "NAME")]
    pub service: Option<String>,
    /// At most so many.
    #[arg(long, value_name = "N", default_value_t = 100)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
}

/// `starlog command requeue`.
#[derive(Debug, Args)]
#[command(after_help = "\
A requeued command starts over with all its attempts and without a time to live.

Examples:
  starlog command requeue --dead --dry-run
  starlog command requeue --dead --service echo --attempts 3 -o json")]
pub struct RequeueFlags {
    /// The commands.
    #[arg(value_name = "ID", required_unless_present = "dead", conflicts_with = "dead")]
    pub ids: Vec<CommandId>,
    /// All dead commands, as far as --service and --limit let them through.
    #[arg(long)]
    pub dead: bool,
    /// What else is chosen by, and what happens to it.
    #[command(flatten)]
    pub sweep: SweepFlags,
    /// New limit of attempts [default: Titanic's --attempts].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub attempts: Option<u32>,
}

/// `starlog command purge`.
#[derive(Debug, Args)]
#[command(after_help = "\
Purging closes: events stay in the log, and whoever asks for the reply is told that it is closed.

Examples:
  starlog command purge --state dead --dry-run
  starlog command purge --state replied --older 24h --service echo -o json")]
pub struct PurgeFlags {
    /// The commands.
    #[arg(value_name = "ID", required_unless_present = "state", conflicts_with = "state")]
    pub ids: Vec<CommandId>,
    /// All commands in this state, as far as the other flags let them through.
    #[arg(long, value_name = "STATE")]
    pub state: Option<StateFlag>,
    /// With --state, only commands that were accepted longer ago than this.
    #[arg(long, value_name = "DURATION", conflicts_with = "ids", value_parser = parse_duration)]
    pub older: Option<Duration>,
    /// What else is chosen by, and what happens to it.
    #[command(flatten)]
    pub sweep: SweepFlags,
}

/// What `requeue` and `purge` have in common.
#[derive(Debug, Args)]
pub struct SweepFlags {
    /// With --dead or --state, only commands for this service.
    #[arg(long, value_name = "NAME", conflicts_with = "ids")]
    pub service: Option<String>,
    /// At most so many.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub limit: u32,
    /// Only show what would be done.
    #[arg(long)]
    pub dry_run: bool,
}

/// The state of an open command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StateFlag {
    /// It waits: for its time, for a worker, or for the next attempt.
    Queued,
    /// A worker has it.
    Dispatched,
    /// Its reply can be fetched.
    Replied,
    /// It was given up.
    Dead,
}

impl From<StateFlag> for CommandState {
    fn from(flag: StateFlag) -> Self {
        match flag {
            StateFlag::Queued => Self::Queued,
            StateFlag::Dispatched => Self::Dispatched,
            StateFlag::Replied => Self::Replied,
            StateFlag::Dead => Self::Dead,
        }
    }
}

fn parse_target(text: &str) -> Result<Target, String> {
    Target::new(text).map_err(|error| error.to_string())
}
