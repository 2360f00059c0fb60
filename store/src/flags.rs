//! The flags of a serving process, as the command line and the environment give them.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use broker::net::Endpoint;
use broker::process::{memory_max, parse_memory_max};
use clap::Args;
use store::pair::{PairSettings, PairTiming, Role};
use store::server::config::Config;
use store::server::units::{StoreSpec, parse_duration, parse_range, parse_size};
use store::{Durability, NodeOptions};

#[derive(Args)]
pub(crate) struct RunFlags {
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
    /// When an append is acknowledged: handed to the system (memory), synced here (local), synced
    /// on every member of the pair (pair). Default: pair with --role, else local
    #[arg(long, value_name = "LEVEL", env = "STARLOG_DURABILITY", value_parser = parse_durability)]
    durability: Option<Durability>,
    /// Size of a log file
    #[arg(long, value_name = "SIZE", value_parser = parse_size, env = "STARLOG_SEGMENT",
          default_value = "64MiB")]
    segment: u64,
    /// How often brokers and subscribers hear from us
    #[arg(long, value_name = "TIME", value_parser = parse_duration, env = "STARLOG_HEARTBEAT",
          default_value = "500ms")]
    heartbeat: Duration,
    /// Memory beyond which the process ends itself, to be started again: what libzmq keeps for a
    /// peer has no other limit. Pages of files do not count. 0 for no limit; default: three
    /// quarters of the machine's
    #[arg(long, value_name = "SIZE", value_parser = parse_memory_max, env = "STARLOG_MEMORY_MAX")]
    memory_max: Option<u64>,
    #[command(flatten)]
    pair: PairFlags,
}

/// What makes this node one of two. The first four go together.
#[derive(Args)]
#[command(next_help_heading = "Pair")]
struct PairFlags {
    /// Part of this node in a pair: the primary begins where both are new
    #[arg(long, value_name = "primary|backup", value_parser = parse_role, env = "STARLOG_ROLE")]
    role: Option<Role>,
    /// The other node's --pair-listen
    #[arg(long, value_name = "ENDPOINT", env = "STARLOG_PEER")]
    peer: Option<Endpoint>,
    /// Where the other node connects
    #[arg(long, value_name = "ENDPOINT", env = "STARLOG_PAIR_LISTEN")]
    pair_listen: Option<Endpoint>,
    /// The --witness-listen of the one broker that is this pair's witness
    #[arg(long, value_name = "ENDPOINT", env = "STARLOG_WITNESS")]
    witness: Option<Endpoint>,
    /// Fewest copies with which appends are acknowledged: with 2, one node alone takes none
    #[arg(long, value_name = "1|2", value_parser = clap::value_parser!(u8).range(1..=2),
          env = "STARLOG_MIN_COPIES", default_value_t = 1)]
    min_copies: u8,
    /// How often the nodes and the witness hear from each other
    #[arg(long, value_name = "TIME", value_parser = parse_duration,
          env = "STARLOG_PAIR_HEARTBEAT", default_value = "100ms")]
    pair_heartbeat: Duration,
    /// How long a leader waits for its follower before it goes on alone
    #[arg(long, value_name = "TIME", value_parser = parse_duration,
          env = "STARLOG_FOLLOWER_PATIENCE", default_value = "400ms")]
    follower_patience: Duration,
    /// How long a follower waits for its leader before it wants to take over
    #[arg(long, value_name = "TIME", value_parser = parse_duration,
          env = "STARLOG_LEADER_PATIENCE", default_value = "600ms")]
    leader_patience: Duration,
    /// How long a leader waits before it takes a follower back that was lost within a minute,
    /// doubling up to a minute; 0s = not at all
    #[arg(long, value_name = "TIME", value_parser = parse_duration,
          env = "STARLOG_GROW_BACKOFF", default_value = "1s")]
    grow_backoff: Duration,
}

fn parse_durability(text: &str) -> Result<Durability, String> {
    match text {
        "memory" => Ok(Durability::Memory),
        "local" => Ok(Durability::Local),
        "pair" => Ok(Durability::Pair),
        other => Err(format!("`{other}` is no durability: say memory, local or pair")),
    }
}

fn parse_role(text: &str) -> Result<Role, String> {
    match text {
        "primary" => Ok(Role::Primary),
        "backup" => Ok(Role::Backup),
        other => Err(format!("`{other}` is no role: say primary or backup")),
    }
}

impl RunFlags {
    /// The configuration that the flags stand for.
    ///
    /// # Errors
    /// A sentence that says which flag to change.
    pub(crate) fn into_config(self) -> Result<Config, String> {
        let defaults = Config::default();
        let segment_bytes = u32::try_from(self.segment)
            .map_err(|_| "a segment must be smaller than 4GiB".to_owned())?;
        let level = if self.pair.role.is_some() { Durability::Pair } else { Durability::Local };
        let durability = self.durability.unwrap_or(level);
        let pair = self.pair.into_settings(durability, segment_bytes)?;
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
            node: NodeOptions { segment_bytes, durability, ..defaults.node },
            pair,
            memory_bytes_max: memory_max(self.memory_max),
        })
    }
}

impl PairFlags {
    fn into_settings(
        self,
        durability: Durability,
        segment_bytes: u32,
    ) -> Result<Option<PairSettings>, String> {
        let named = [
            ("--role", self.role.is_some()),
            ("--peer", self.peer.is_some()),
            ("--pair-listen", self.pair_listen.is_some()),
            ("--witness", self.witness.is_some()),
        ];
        let (Some(role), Some(peer), Some(listen), Some(witness)) =
            (self.role, self.peer, self.pair_listen, self.witness)
        else {
            let of = |wanted| {
                let flags = named.iter().filter(|(_, there)| *there == wanted);
                flags.map(|(flag, _)| *flag).collect::<Vec<_>>().join(", ")
            };
            return match (of(true), of(false)) {
                (there, _) if there.is_empty() => Ok(None),
                (there, missing) => Err(format!(
                    "{there} is about a pair, and {missing} is missing: a node of a pair names its \
                     role, its peer, where it listens for it, and their witness"
                )),
            };
        };
        let timing = PairTiming {
            heartbeat: self.pair_heartbeat,
            follower_patience: self.follower_patience,
            leader_patience: self.leader_patience,
            grow_backoff: self.grow_backoff,
        };
        let copies_min = self.min_copies;
        Ok(Some(PairSettings {
            role,
            peer,
            listen,
            witness,
            copies_min,
            timing,
            durability,
            segment_bytes,
        }))
    }
}
