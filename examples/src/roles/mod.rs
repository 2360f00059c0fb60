//! What a child process is: `quickstart --as broker|store|host …`.
//!
//! A role takes the flags of its own program, as far as the topology uses them, and does nothing
//! but call that program's `run`. Only the projection host is a program of this crate.

mod host;

use std::{ffi::OsString, io, ops::RangeInclusive, path::PathBuf};

use broker::net::Endpoint;
use clap::{Parser, Subcommand};
use rustix::process::{Signal, set_parent_process_death_signal};
use store::{
    NodeOptions,
    server::units::{StoreSpec, parse_range},
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
    },
    /// What `starlog-store` is.
    Store(StoreFlags),
    /// A projection host.
    Host(HostFlags),
}

#[derive(Debug, clap::Args)]
struct StoreFlags {
    #[arg(long)]
    broker: Endpoint,
    #[arg(long)]
    data: PathBuf,
    #[arg(long)]
    store: StoreSpec,
    #[arg(long, value_parser = parse_range)]
    host: RangeInclusive<u16>,
    #[arg(long)]
    segment: u32,
    #[arg(long)]
    listen: Endpoint,
    #[arg(long)]
    feed: Endpoint,
    #[arg(long)]
    advertise_feed: Endpoint,
}

/// Runs a role until it is told to end.
///
/// # Errors
/// [`RoleError`] of the server. Wrong flags end the process with code 2, as everywhere.
pub fn run(program: &OsString, arguments: impl Iterator<Item = OsString>) -> Result<(), RoleError> {
    end_with_parent().map_err(RoleError::Parent)?;
    let flags = RoleFlags::parse_from(std::iter::once(program.clone()).chain(arguments));
    match flags.role {
        Role::Broker { listen, data } => {
            let config =
                broker::config::Config { listen: vec![listen], data, ..Default::default() };
            Ok(broker::server::run(config)?)
        }
        Role::Store(flags) => Ok(store::server::run(&flags.into_config())?),
        Role::Host(flags) => Ok(host::run(flags)?),
    }
}

/// A parent that is killed takes its children along: a run leaves nothing behind.
fn end_with_parent() -> io::Result<()> {
    Ok(set_parent_process_death_signal(Some(Signal::KILL))?)
}

impl StoreFlags {
    fn into_config(self) -> store::server::config::Config {
        store::server::config::Config {
            brokers: vec![self.broker],
            data: self.data,
            stores: vec![self.store],
            host: Some(self.host),
            listen: self.listen,
            feed: self.feed,
            advertise_feed: Some(self.advertise_feed),
            node: NodeOptions { segment_bytes: self.segment, ..NodeOptions::default() },
            ..Default::default()
        }
    }
}
