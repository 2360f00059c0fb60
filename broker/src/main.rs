//! `starlog-broker`: flags → [`Config`] → [`broker::server::run`] → exit code.
//!
//! Exit codes: 0 clean stop, 2 usage, 3 an endpoint cannot be bound, 4 the data directory cannot be
//! written, 5 another broker uses it, 6 the system refuses a socket or a thread, 7 a socket failed
//! while running, 8 a panic, 9 a record of the witness could not be made durable, 15 the process
//! took more memory than --memory-max allows.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use broker::config::{Config, DEFAULT_ENDPOINT, WitnessConfig, parse_duration};
use broker::net::Endpoint;
use broker::process::{memory_max, parse_memory_max};
use clap::{Parser, ValueEnum};

/// Starlog's broker: routes requests from clients to workers and to the leaders of partitions.
#[derive(Debug, Parser)]
#[command(name = "starlog-broker", version, after_help = EXIT_CODES)]
struct Arguments {
    /// Endpoint to bind; may be given several times, and the port may be *
    #[arg(long, value_name = "ENDPOINT", num_args = 1.., default_value = DEFAULT_ENDPOINT)]
    listen: Vec<Endpoint>,
    /// Endpoint to announce instead of the bound one; needed for a wildcard host
    #[arg(long, value_name = "ENDPOINT", num_args = 1..)]
    advertise_listen: Vec<Endpoint>,
    /// Directory for what the broker keeps
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Be the witness of pairs, too, and bind this endpoint for their members; it should not run on
    /// the machine of a member
    #[arg(long, value_name = "ENDPOINT")]
    witness_listen: Option<Endpoint>,
    /// How long a leader that the witness has heard keeps its place
    #[arg(long, default_value = "600ms", value_parser = parse_duration)]
    witness_lease: Duration,
    /// How often the broker says something to every worker, also to busy ones
    #[arg(long, default_value = "500ms", value_parser = parse_duration)]
    heartbeat: Duration,
    /// Silence after which an idle MDP worker is dead
    #[arg(long, default_value = "10s", value_parser = parse_duration)]
    worker_expiry: Duration,
    /// Silence after which a busy MDP worker is dead
    #[arg(long, default_value = "60s", value_parser = parse_duration)]
    busy_expiry: Duration,
    /// How long an MDP request waits for a worker
    #[arg(long, default_value = "30s", value_parser = parse_duration)]
    request_expiry: Duration,
    /// Answer failed MDP requests with two frames, `#starlog-error` and `CODE text`
    #[arg(long, default_value = "on")]
    mdp_errors: Switch,
    /// Bind other addresses than loopback. Without keys anyone who reaches them can read and
    /// append to every store and answer requests as a worker
    #[arg(long)]
    open_network: bool,
    /// How long a stopping broker waits for workers to finish what they hold
    #[arg(long, default_value = "2s", value_parser = parse_duration)]
    drain: Duration,
    /// Memory beyond which the broker ends itself, to be started again: what libzmq keeps for a
    /// peer has no other limit. Pages of files do not count. 0 for no limit; default: three
    /// quarters of the machine's
    #[arg(long, value_name = "SIZE", value_parser = parse_memory_max)]
    memory_max: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Switch {
    On,
    Off,
}

const EXIT_CODES: &str = "Exit codes: 0 clean stop, 2 usage, 3 an endpoint cannot be bound, \
4 the data directory cannot be written, 5 another broker uses it, 6 the system refuses a socket or \
a thread, 7 a socket failed while running, 8 a panic, 9 a record of the witness could not be made \
durable, 15 the process took more memory than --memory-max allows: start it \
again.\n\nThe log goes to standard error; \
RUST_LOG=debug shows more of it.";

impl From<Arguments> for Config {
    fn from(arguments: Arguments) -> Config {
        let lease = arguments.witness_lease;
        let witness = arguments
            .witness_listen
            .map(|listen| WitnessConfig { lease, ..WitnessConfig::new(listen) });
        let mut config = Config {
            witness,
            listen: arguments.listen,
            advertise_listen: arguments.advertise_listen,
            data: arguments.data,
            open_network: arguments.open_network,
            drain: arguments.drain,
            memory_bytes_max: memory_max(arguments.memory_max),
            ..Config::default()
        };
        config.routing.heartbeat = arguments.heartbeat;
        config.routing.worker_expiry = arguments.worker_expiry;
        config.routing.busy_expiry = arguments.busy_expiry;
        config.routing.request_expiry = arguments.request_expiry;
        config.routing.mdp_errors = arguments.mdp_errors == Switch::On;
        config
    }
}

fn main() -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info")).init();
    match broker::server::run(Arguments::parse().into()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("starlog-broker: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
