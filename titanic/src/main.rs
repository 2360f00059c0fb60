//! `starlog-titanic`: flags → configuration → run → exit code.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use broker::config::{DEFAULT_ENDPOINT, parse_duration};
use broker::net::Endpoint;
use broker::process::{memory_max, parse_memory_max};
use clap::Parser;
use client::StoreName;
use titanic::config::{Config, DEFAULT_STORE};

/// Starlog's persistent command queue: keeps commands in a store until their services have done
/// them and their senders have closed them.
///
/// Exit codes: 0 stopped on request; 2 usage; 3 another process uses the data directory; 4 the data
/// directory cannot be used; 5 it holds the view of another store; 6 the store's log was cut or
/// exchanged: start again, and the view is made anew; 7 the store cannot be followed; 10 a thread
/// failed; 11 the operating system refused something; 15 the process took more memory than
/// --memory-max allows: start it again.
#[derive(Debug, Parser)]
#[command(name = "starlog-titanic", version)]
struct Flags {
    /// Broker to register with; may be given several times
    #[arg(long, value_name = "ENDPOINT", value_delimiter = ',', env = "STARLOG_BROKER",
          default_value = DEFAULT_ENDPOINT)]
    broker: Vec<Endpoint>,
    /// Store that keeps the commands
    #[arg(long, value_name = "NAME", env = "STARLOG_TITANIC_STORE", value_parser = parse_store,
          default_value = DEFAULT_STORE)]
    store: StoreName,
    /// Directory for the view, so that a start need not replay the whole store
    #[arg(long, value_name = "DIR", env = "STARLOG_TITANIC_DATA")]
    data: Option<PathBuf>,
    /// Calls to one service that may be under way
    #[arg(long, value_name = "NUMBER", env = "STARLOG_IN_FLIGHT", default_value_t = 16)]
    in_flight: usize,
    /// How often a command is tried if its sender says nothing else
    #[arg(long, value_name = "NUMBER", env = "STARLOG_ATTEMPTS", default_value_t = 10)]
    attempts: u32,
    /// How long one attempt may take
    #[arg(long, value_name = "TIME", value_parser = parse_duration,
          env = "STARLOG_ATTEMPT_TIMEOUT", default_value = "60s")]
    attempt_timeout: Duration,
    /// How long a command waits after its first failure; doubles with every further one
    #[arg(long, value_name = "TIME", value_parser = parse_duration, env = "STARLOG_BACKOFF",
          default_value = "500ms")]
    backoff: Duration,
    /// Longest wait after a failure
    #[arg(long, value_name = "TIME", value_parser = parse_duration, env = "STARLOG_BACKOFF_MAX",
          default_value = "5m")]
    backoff_max: Duration,
    /// Silence after which other processes take over what one has claimed
    #[arg(long, value_name = "TIME", value_parser = parse_duration, env = "STARLOG_CLAIM_LEASE",
          default_value = "5s")]
    claim_lease: Duration,
    /// How often brokers hear from us
    #[arg(long, value_name = "TIME", value_parser = parse_duration, env = "STARLOG_HEARTBEAT",
          default_value = "500ms")]
    heartbeat: Duration,
    /// Memory beyond which the process ends itself, to be started again: what libzmq keeps of a
    /// message that never ends has no other limit. Pages of files do not count. 0 for no limit;
    /// default: three quarters of the machine's
    #[arg(long, value_name = "SIZE", value_parser = parse_memory_max, env = "STARLOG_MEMORY_MAX")]
    memory_max: Option<u64>,
}

fn parse_store(text: &str) -> Result<StoreName, String> {
    StoreName::new(text).map_err(|error| error.to_string())
}

impl From<Flags> for Config {
    fn from(flags: Flags) -> Self {
        Self {
            brokers: flags.broker,
            store: flags.store,
            data: flags.data,
            in_flight: flags.in_flight,
            attempts: flags.attempts,
            attempt_timeout: flags.attempt_timeout,
            backoff: flags.backoff,
            backoff_max: flags.backoff_max,
            claim_lease: flags.claim_lease,
            heartbeat: flags.heartbeat,
            memory_bytes_max: memory_max(flags.memory_max),
        }
    }
}

fn main() -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info")).init();
    match titanic::server::run(&Flags::parse().into()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("starlog-titanic: {error}");
            ExitCode::from(titanic::server::exit_code::of_run(&error))
        }
    }
}
