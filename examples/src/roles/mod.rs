//! What a child process is: `quickstart --as broker|store|titanic|host …`.
//!
//! A role takes the flags of its own program, as far as the topology uses them, and does nothing
//! but call that program's `run`. Only the projection host is a program of this crate.

mod host;

use std::{ffi::OsString, io, ops::RangeInclusive, path::PathBuf, time::Duration};

use broker::{config::WitnessConfig, net::Endpoint};
use clap::{Parser, Subcommand};
use rustix::process::{Signal, set_parent_process_death_signal};
use store::{
    Durability, NodeOptions, StoreName,
    pair::{PairSettings, PairTiming, Role as PairRole},
    server::units::{StoreSpec, parse_duration, parse_range},
};
use thiserror::Error;

pub use host::{HostError, HostFlags};

/// Why a child ended badly.
#[derive(Debug, Error)]
pub enum RoleError {
    /// The broker.
    #[error(transparent)]
    Broker(#[from] broker::server::RunError),
    /// The store.
    #[error(transparent)]
    Store(#[from] store::server::RunError),
    /// Titanic.
    #[error(transparent)]
    Titanic(#[from] titanic::server::RunError),
    /// The projection host.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The child cannot be tied to its parent.
    #[error("the end of the parent cannot be watched for: {0}")]
    Parent(io::Error),
}

#[derive(Debug, Parser)]
#[command(name = "quickstart --as")]
struct RoleFlags {
    #[command(subcommand)]
    role: Role,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// What `starlog-broker` is.
    Broker {
        #[arg(long)]
        listen: Endpoint,
        #[arg(long)]
        data: PathBuf,
        #[arg(long)]
        witness_listen: Option<Endpoint>,
    },
    /// What `starlog-store` is.
    Store(StoreFlags),
    /// What `starlog-titanic` is.
    Titanic {
        #[arg(long, required = true)]
        broker: Vec<Endpoint>,
        #[arg(long)]
        store: StoreName,
        #[arg(long)]
        data: PathBuf,
    },
    /// A projection host.
    Host(HostFlags),
}

#[derive(Debug, clap::Args)]
struct StoreFlags {
    #[arg(long)]
    broker: Vec<Endpoint>,
    #[arg(long)]
    data: PathBuf,
    #[arg(long = "store", required = true)]
    stores: Vec<StoreSpec>,
    #[arg(long, value_parser = parse_range)]
    host: RangeInclusive<u16>,
    #[arg(long, value_parser = parse_durability)]
    durability: Durability,
    #[arg(long)]
    segment: u32,
    #[arg(long)]
    listen: Endpoint,
    #[arg(long)]
    feed: Endpoint,
    #[arg(long)]
    advertise_feed: Endpoint,
    #[command(flatten)]
    pair: PairFlags,
}

/// What a store of a pair is told besides.
#[derive(Debug, clap::Args)]
struct PairFlags {
    #[arg(long, value_parser = parse_role, requires_all = ["peer", "pair_listen", "witness"])]
    role: Option<PairRole>,
    #[arg(long)]
    peer: Option<Endpoint>,
    #[arg(long)]
    pair_listen: Option<Endpoint>,
    #[arg(long)]
    witness: Option<Endpoint>,
    #[arg(long, default_value_t = 1)]
    min_copies: u8,
    #[arg(long, value_parser = parse_duration)]
    grow_backoff: Option<Duration>,
}

fn parse_durability(text: &str) -> Result<Durability, String> {
    let levels = [Durability::Memory, Durability::Local, Durability::Pair];
    let level = levels.into_iter().find(|level| level.as_str() == text);
    level.ok_or_else(|| format!("`{text}` is no durability"))
}

fn parse_role(text: &str) -> Result<PairRole, String> {
    match text {
        "primary" => Ok(PairRole::Primary),
        "backup" => Ok(PairRole::Backup),
        other => Err(format!("`{other}` is no role")),
    }
}

/// Runs a role until it is told to end.
///
/// # Errors
/// [`RoleError`] of the server. Wrong flags end the process with code 2, as everywhere.
pub fn run(program: &OsString, arguments: impl Iterator<Item = OsString>) -> Result<(), RoleError> {
    end_with_parent().map_err(RoleError::Parent)?;
    let flags = RoleFlags::parse_from(std::iter::once(program.clone()).chain(arguments));
    match flags.role {
        Role::Broker { listen, data, witness_listen } => {
            let witness = witness_listen.map(WitnessConfig::new);
            let listen = vec![listen];
            let config = broker::config::Config { listen, data, witness, ..Default::default() };
            Ok(broker::server::run(config)?)
        }
        Role::Store(flags) => Ok(store::server::run(&flags.into_config())?),
        Role::Titanic { broker, store, data } => {
            let config = titanic::config::Config {
                brokers: broker,
                store,
                data: Some(data),
                ..Default::default()
            };
            Ok(titanic::server::run(&config)?)
        }
        Role::Host(flags) => Ok(host::run(flags)?),
    }
}

/// A parent that is killed takes its children along: a run leaves nothing behind.
fn end_with_parent() -> io::Result<()> {
    Ok(set_parent_process_death_signal(Some(Signal::KILL))?)
}

impl StoreFlags {
    fn into_config(self) -> store::server::config::Config {
        let (segment_bytes, durability) = (self.segment, self.durability);
        store::server::config::Config {
            brokers: self.broker,
            data: self.data,
            stores: self.stores,
            host: Some(self.host),
            listen: self.listen,
            feed: self.feed,
            advertise_feed: Some(self.advertise_feed),
            node: NodeOptions { segment_bytes, durability, ..NodeOptions::default() },
            pair: self.pair.into_settings(durability, segment_bytes),
            ..Default::default()
        }
    }
}

impl PairFlags {
    fn into_settings(self, durability: Durability, segment_bytes: u32) -> Option<PairSettings> {
        let defaults = PairTiming::default();
        let grow_backoff = self.grow_backoff.unwrap_or(defaults.grow_backoff);
        Some(PairSettings {
            role: self.role?,
            peer: self.peer?,
            listen: self.pair_listen?,
            witness: self.witness?,
            copies_min: self.min_copies,
            timing: PairTiming { grow_backoff, ..defaults },
            durability,
            segment_bytes,
        })
    }
}
