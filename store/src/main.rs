//! `starlog-store`: flags → configuration → run → exit code.

mod flags;

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand};
use store::disk::{Disk, FileDisk};
use store::names::StoreName;
use store::server::admin::{self, Command};
use store::server::exit_code::{self, EXIT_DAMAGED, EXIT_TORN_TAIL, EXIT_USAGE};
use store::server::units::{StoreSpec, parse_range};
use store::verify::{Verdict, verify_below};

use crate::flags::RunFlags;

/// Starlog's event store: serves partitions of event stores from one data directory.
///
/// Exit codes: 0 stopped on request; 1 a command was refused; 2 usage; 3 another process uses the
/// data directory; 4 a partition is missing or was exchanged; 5 an address cannot be bound; 6 the
/// data is damaged; 7 the disk failed while running; 8 the data was written by a newer version;
/// 9 a store exists with other partitions or is detached; 10 a thread failed; 11 the operating
/// system refused something; 12 `verify` found a torn tail and no damage; 13 the node must not be,
/// or go on, in its pair like this: another directory, another history, or no --role; 14 a log
/// lacks what readers of the running process may have read: start the process again; 15 the process
/// took more memory than --memory-max allows: start it again.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Commands>,
    #[command(flatten)]
    run: RunFlags,
}

#[derive(Subcommand)]
enum Commands {
    /// Add, remove, detach, attach or list stores, also of a running process
    #[command(subcommand)]
    Store(StoreCommand),
    /// Take a directory out of its pair, or make it a new node of it; no process may use it
    #[command(subcommand)]
    Pair(PairCommand),
    /// Check every byte of partitions without changing anything. Check a copy, or a detached
    /// store, if a process is writing. Exit codes: 0 clean, 12 torn tail, 6 damaged
    Verify {
        /// A data directory, a store's folder in it, or a partition's
        dir: PathBuf,
    },
}

#[derive(Subcommand)]
enum StoreCommand {
    /// List the stores of a data directory
    List(Data),
    /// Create a store, and serve it if the process runs
    Add {
        /// Name and number of partitions
        #[arg(value_name = "NAME[:PARTITIONS]")]
        store: StoreSpec,
        /// Partitions that are kept here, e.g. 0-1; all if not given
        #[arg(long, value_name = "FIRST-LAST", value_parser = parse_range)]
        host: Option<RangeInclusive<u16>>,
        #[command(flatten)]
        data: Data,
    },
    /// Stop serving a store: its folder may then be copied or replaced
    Detach(Named),
    /// Serve a detached store again. An earlier copy of it has to wait until the process is started
    /// again, which tells its readers that the log was cut
    Attach(Named),
    /// Stop serving a store for ever; its folder is kept under another name
    Remove {
        #[command(flatten)]
        named: Named,
        /// Yes, really
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Subcommand)]
enum PairCommand {
    /// Go on alone, for good, with what this directory holds: a new lineage. Events that only the
    /// other node has are lost to it
    Leave {
        #[command(flatten)]
        data: Data,
        /// Yes, acknowledged events may be missing here
        #[arg(long)]
        accept_loss: bool,
    },
    /// Draw a new incarnation for a directory that was put back from a copy: the pair then fills
    /// up what it lacks before it counts as a member
    Renew(Data),
}

#[derive(Args)]
struct Data {
    /// Data directory
    #[arg(long = "data", value_name = "DIR", env = "STARLOG_DATA")]
    dir: PathBuf,
}

#[derive(Args)]
struct Named {
    /// Name of the store
    name: StoreName,
    #[command(flatten)]
    data: Data,
}

impl StoreCommand {
    fn into_command(self) -> Result<(PathBuf, Command), String> {
        Ok(match self {
            Self::List(data) => (data.dir, Command::List),
            Self::Add { store, host, data } => (data.dir, Command::Add { store, host }),
            Self::Detach(Named { name, data }) => (data.dir, Command::Detach(name)),
            Self::Attach(Named { name, data }) => (data.dir, Command::Attach(name)),
            Self::Remove { named: Named { name, data }, yes: true } => {
                (data.dir, Command::Remove(name))
            }
            Self::Remove { named: Named { name, .. }, yes: false } => {
                return Err(format!("{name} would no longer be served: say --yes if you mean it"));
            }
        })
    }
}

fn main() -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info")).init();
    let cli = Cli::parse();
    match cli.command {
        None => match cli.run.into_config() {
            Ok(config) => finish(store::server::run(&config), exit_code::of_run),
            Err(sentence) => usage(&sentence),
        },
        Some(Commands::Verify { dir }) => verify(&dir),
        Some(Commands::Pair(command)) => pair(&command),
        Some(Commands::Store(command)) => match command.into_command() {
            Ok((dir, command)) => {
                let done = admin::execute(&dir, &command).map(|shown| print!("{shown}"));
                finish(done, exit_code::of_command)
            }
            Err(sentence) => usage(&sentence),
        },
    }
}

fn pair(command: &PairCommand) -> ExitCode {
    let done = match command {
        PairCommand::Leave { accept_loss: false, .. } => {
            return usage(
                "what the other node has acknowledged alone is not in this directory, and a pair \
                 that is left never comes back together: say --accept-loss if you mean it",
            );
        }
        PairCommand::Leave { data, accept_loss: true } => admin::leave_pair(&data.dir),
        PairCommand::Renew(data) => admin::renew(&data.dir),
    };
    finish(done.map(|shown| print!("{shown}")), exit_code::of_command)
}

/// Checks all partitions of a folder; the worst of them decides the exit code.
fn verify(dir: &Path) -> ExitCode {
    let disk: Arc<dyn Disk> = Arc::new(FileDisk);
    match verify_below(&disk, dir, |report| print!("{report}")) {
        Ok(Verdict::Clean) => ExitCode::SUCCESS,
        Ok(Verdict::TornTail) => ExitCode::from(EXIT_TORN_TAIL),
        Ok(Verdict::Damaged) => ExitCode::from(EXIT_DAMAGED),
        Err(error) => finish(Err(error), exit_code::of_open),
    }
}

fn usage(sentence: &str) -> ExitCode {
    eprintln!("starlog-store: {sentence}");
    ExitCode::from(EXIT_USAGE)
}

fn finish<E: std::fmt::Display>(done: Result<(), E>, code: fn(&E) -> u8) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("starlog-store: {error}");
            ExitCode::from(code(&error))
        }
    }
}
