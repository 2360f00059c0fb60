//! Why a topology does not run.

use std::{io, path::PathBuf};

use broker::net::{Endpoint, EndpointError};
use client::ConnectError;
use thiserror::Error;

use crate::{faults::Target, forwarder::ForwarderError, probe::ProbeError, process::ProcessError};

/// Why the topology does not run.
#[derive(Debug, Error)]
pub enum TopologyError {
    /// A child.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A forwarder.
    #[error(transparent)]
    Forwarder(#[from] ForwarderError),
    /// A child printed something else than an endpoint.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// No client.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A question to one store process.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// Something else listens where the broker should.
    #[error(
        "the broker cannot listen on {endpoint}: {reason}; stop what listens there, or give \
         another endpoint with --listen"
    )]
    Listen {
        /// Where.
        endpoint: Endpoint,
        /// What the system said.
        reason: io::Error,
    },
    /// A port or a link.
    #[error("no port or no thread for a link: {0}")]
    Link(#[from] io::Error),
    /// The data folder.
    #[error("{path} cannot be made: {reason}; give another folder with --data")]
    Folder {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        reason: io::Error,
    },
    /// Some partition stays without a leader.
    #[error("not every partition has a leader after {seconds} s: {last}")]
    NotReady {
        /// How long was waited.
        seconds: u64,
        /// What the broker said last.
        last: String,
    },
    /// A pair does not come to a state that was waited for.
    #[error("pair {} is not {awaited} after {seconds} s: {last}", pair + 1)]
    Pair {
        /// Which pair, from 0.
        pair: usize,
        /// What was waited for.
        awaited: String,
        /// How long was waited.
        seconds: u64,
        /// What its nodes said last.
        last: String,
    },
    /// No such child.
    #[error("there is no {0}")]
    NoTarget(Target),
}
