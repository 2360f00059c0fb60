//! `starlog-store`: flags → configuration → run → exit code.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use broker::net::Endpoint;
use clap::{Args, Parser, Subcommand};
use store::disk::{Disk, FileDisk};
use store::names::StoreName;
use store::server::admin::{self, Command};
use store::server::config::Config;
use store::server::exit_code::{self, EXIT_DAMAGED, EXIT_TORN_TAIL, EXIT_USAGE};
use store::server::units::{StoreSpec, parse_duration, parse_range, parse_size};
use store::verify::{Verdict, partition_folders, verify_partition};
use store::{Durability, NodeOptions, OpenError};

/// Starlog's event store: serves partitions of event stores from one data directory.
///
/// Exit codes: 0 stopped on request; 1 a command was refused; 2 usage; 3 another process uses the
/// data directory; 4 a partition is missing or was exchanged; 5 an address cannot be bound; 6 the
/// data is damaged; 7 the disk failed while running; 8 the data was written by a newer version;
/// 9 a store exists with other partitions or is detached; 10 a thread failed; 11 the operating
/// system refused something; 12 `verify` found a torn tail and no damage.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Commands>,
    #[command(flatten)]
    run: RunFlags,
}

#[derive(Args)]
struct RunFlags {
    /// Broker to register with; may be given several times
    #[arg(long, value_name = "ENDPOINT", value_delimiter = ',', env = "STARLOG_BROKER")]
    broker: Vec<Endpoint>,
    /// Data directory
    #[arg(long, value_name = "DIR", env = "STARLOG_DATA", required = true)]
    data: Option<PathBuf>,
    /// Store to create if it is not there; those that are there are served anyway
    #[arg(long, value_name = "NAME[:PARTITIONS]", value_delimiter = ',', env = "STARLOG_STORE")]
    store: Vec<StoreSpec>,
    /// Partitions of a new store that are kept here, e.g. 0-1; all if not given
    #[arg(long, value_name = "FIRST-LAST", value_parser = parse_range, env = "STARLOG_HOST")]
    host: Option<RangeInclusive<u16>>,
    /// Where history and status can be asked for
    #[arg(
        long,
        value_name = "ENDPOINT",
        env = "STARLOG_LISTEN",
        default_value = "tcp://127.0.0.1:*"
    )]
    listen: Endpoint,
    /// Where the feed can be heard
    #[arg(
        long,
        value_name = "ENDPOINT",
        env = "STARLOG_FEED",
        default_value = "tcp://127.0.0.1:*"
    )]
    feed: Endpoint,
    /// What others are told to connect to instead of --listen
    #[arg(long, value_name = "ENDPOINT", env = "STARLOG_ADVERTISE_LISTEN")]
    advertise_listen: Option<Endpoint>,
    /// What others are told to connect to instead of --feed
    #[arg(long, value_name = "ENDPOINT", env = "STARLOG_ADVERTISE_FEED")]
    advertise_feed: Option<Endpoint>,
    /// Allow addresses that other machines can reach
    #[arg(long, env = "STARLOG_OPEN_NETWORK")]
    open_network: bool,
    /// When an append is acknowledged: handed to the system (memory) or synced (local)
    #[arg(long, value_name = "LEVEL", env = "STARLOG_DURABILITY", default_value = "local",
          value_parser = parse_durability)]
    durability: Durability,
    /// Size of a log file
    #[arg(long, value_name = "SIZE", value_parser = parse_size, env = "STARLOG_SEGMENT",
          default_value = "64MiB")]
    segment: u64,
    /// How often brokers and subscribers hear from us
    #[arg(long, value_name = "TIME", value_parser = parse_duration, env = "STARLOG_HEARTBEAT",
          default_value = "500ms")]
    heartbeat: Duration,
}

#[derive(Subcommand)]
enum Commands {
    /// Add, remove, detach, attach or list stores, also of a running process
    #[command(subcommand)]
    Store(StoreCommand),
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
    /// Serve a detached store again
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

fn parse_durability(text: &str) -> Result<Durability, String> {
    match text {
        "memory" => Ok(Durability::Memory),
        "local" => Ok(Durability::Local),
        other => Err(format!("`{other}` is no durability: say memory or local")),
    }
}

impl RunFlags {
    fn into_config(self) -> Result<Config, String> {
        let defaults = Config::default();
        let segment_bytes = u32::try_from(self.segment)
            .map_err(|_| "a segment must be smaller than 4GiB".to_owned())?;
        Ok(Config {
            data: self.data.unwrap_or(defaults.data),
            brokers: if self.broker.is_empty() { defaults.brokers } else { self.broker },
            stores: self.store,
            host: self.host,
            listen: self.listen,
            feed: self.feed,
            advertise_listen: self.advertise_listen,
            advertise_feed: self.advertise_feed,
            open_network: self.open_network,
            heartbeat: self.heartbeat,
            node: NodeOptions { segment_bytes, durability: self.durability, ..defaults.node },
        })
    }
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
        Some(Commands::Store(command)) => match command.into_command() {
            Ok((dir, command)) => {
                let done = admin::execute(&dir, &command).map(|shown| print!("{shown}"));
                finish(done, exit_code::of_command)
            }
            Err(sentence) => usage(&sentence),
        },
    }
}

/// Checks all partitions of a folder; the worst of them decides the exit code.
fn verify(dir: &Path) -> ExitCode {
    let disk: Arc<dyn Disk> = Arc::new(FileDisk);
    let mut worst = Verdict::Clean;
    let mut check = || -> Result<(), OpenError> {
        let folders = partition_folders(&*disk, dir)?;
        if folders.is_empty() {
            return Err(OpenError::Missing { path: dir.to_owned() });
        }
        for folder in folders {
            let report = verify_partition(&disk, &folder)?;
            print!("{report}");
            worst = worst.max(report.verdict());
        }
        Ok(())
    };
    match (check(), worst) {
        (Ok(()), Verdict::Clean) => ExitCode::SUCCESS,
        (Ok(()), Verdict::TornTail) => ExitCode::from(EXIT_TORN_TAIL),
        (Ok(()), Verdict::Damaged) => ExitCode::from(EXIT_DAMAGED),
        (Err(error), _) => finish(Err(error), exit_code::of_open),
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
