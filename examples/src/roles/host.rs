//! A projection host: one thread per projection, all views in one embedded database.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    path::PathBuf,
    thread::JoinHandle,
    time::Duration,
};

use broker::net::{Endpoint, Stop, stop_on_signals};
use client::{
    Client, ConnectError, LookupError, StoreHandle,
    views::{
        self, HostOptions, HostProgress, ProgressError, ProgressService, ProjectionHost, StopFlag,
        ViewError, ViewStore,
    },
};
use store::PartitionNumber;
use thiserror::Error;

use crate::{
    topology::{HostStatus, STATUS_LINE, VIEWS_FILE},
    views::{ProjectionName, ViewProjection},
};

/// How often a projection host tells where it is.
const STATUS_INTERVAL: Duration = Duration::from_millis(50);
/// Pause before the broker is asked for the store again.
const LOOKUP_PAUSE: Duration = Duration::from_millis(200);

/// Flags of a projection host.
#[derive(Debug, clap::Args)]
pub struct HostFlags {
    /// Where the brokers listen.
    #[arg(long, required = true)]
    broker: Vec<Endpoint>,
    /// Folder for the views.
    #[arg(long)]
    data: PathBuf,
    /// Which store to project.
    #[arg(long)]
    store: String,
    /// What to project.
    #[arg(long = "projection", required = true)]
    projections: Vec<ProjectionName>,
}

/// Why a projection host ended badly.
#[derive(Debug, Error)]
pub enum HostError {
    /// No client.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// No such store.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// The database.
    #[error(transparent)]
    Views(#[from] ViewError),
    /// Others can't be told of it.
    #[error(transparent)]
    Progress(#[from] ProgressError),
    /// A projection.
    #[error(transparent)]
    Projection(#[from] views::HostError),
    /// Signals, threads or standard output.
    #[error("the system refuses what a projection host needs: {0}")]
    System(#[from] io::Error),
    /// A projection's thread.
    #[error("a projection's thread panicked")]
    Panic,
}

/// A projection at work.
struct Projecting {
    progress: HostProgress,
    /// For `starlog doctor`.
    _told: ProgressService,
    thread: JoinHandle<Result<(), HostError>>,
}

/// Projects until SIGTERM or SIGINT, or until a projection fails.
pub(super) fn run(flags: HostFlags) -> Result<(), HostError> {
    let stop = stop_on_signals()?;
    let client = Client::connect(flags.broker.iter().map(Endpoint::as_str))?;
    let Some(store) = find_store(&client, &flags.store, &stop)? else { return Ok(()) };
    let views = ViewStore::open(flags.data.join(VIEWS_FILE))?;
    let flag = StopFlag::new();
    let projecting = flags.projections.into_iter().map(|name| {
        let host = ProjectionHost::new(store.clone(), views.clone(), HostOptions::default());
        let (progress, told) = (host.progress(), host.tell_progress(&name.to_string())?);
        let flag = flag.clone();
        let work = move || Ok(host.run(&mut ViewProjection(name), &flag).map(drop)?);
        let thread = std::thread::Builder::new().name(name.to_string()).spawn(work)?;
        Ok(Projecting { progress, _told: told, thread })
    });
    let projecting = projecting.collect::<Result<Vec<_>, HostError>>()?;
    let told = tell_until_stopped(&projecting, store.partitions(), &stop);
    flag.stop();
    for projection in projecting {
        projection.thread.join().unwrap_or(Err(HostError::Panic))?;
    }
    told
}

/// Asks until the broker knows the store. `None`: the host is to stop.
fn find_store(client: &Client, name: &str, stop: &Stop) -> Result<Option<StoreHandle>, HostError> {
    while !stop.is_requested() {
        match client.store(name) {
            Ok(store) => return Ok(Some(store)),
            // The topology is still coming up, or coming back.
            Err(error) if error.retry() => std::thread::sleep(LOOKUP_PAUSE),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

/// Prints a line whenever something has changed.
fn tell_until_stopped(
    projecting: &[Projecting],
    partitions: u16,
    stop: &Stop,
) -> Result<(), HostError> {
    let mut told = None;
    while !stop.is_requested() && !projecting.iter().any(|one| one.thread.is_finished()) {
        let status = status(projecting, partitions);
        if told.as_ref() != Some(&status) {
            let text = serde_json::to_string(&status).map_err(io::Error::from)?;
            let mut output = io::stdout().lock();
            writeln!(output, "{STATUS_LINE}{text}").and_then(|()| output.flush())?;
            told = Some(status);
        }
        std::thread::sleep(STATUS_INTERVAL);
    }
    Ok(())
}

/// What all projections together have reached and met.
fn status(projecting: &[Projecting], partitions: u16) -> HostStatus {
    let mut status = HostStatus::default();
    let counters: Vec<_> = projecting.iter().map(|one| one.progress.counters()).collect();
    let slowest = |partition: u16| {
        let position = |of: &views::HostCounters| {
            of.checkpoint.position(PartitionNumber(partition)).sequence.0
        };
        counters.iter().map(position).min().unwrap_or_default()
    };
    status.positions = (0..partitions)
        .map(|partition| (partition, slowest(partition)))
        .collect::<BTreeMap<_, _>>();
    for counters in counters.iter().map(|counters| &counters.subscription) {
        status.gaps_found += counters.gaps_found;
        status.gaps_repaired += counters.gaps_repaired;
        status.failovers += counters.failovers;
        status.events_lost += counters.events_lost;
        status.duplicates_dropped += counters.duplicates_dropped;
    }
    status
}
