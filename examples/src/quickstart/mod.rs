//! The main job: a topology, a load, faults, and the proof that nothing came of them.
//!
//! ```text
//!   start topology --> load ----------------------> heal --> replay --> compare --> report
//!                       |   ^ gate                   (all)    (log, fresh views)
//!                       v   |
//!                      nemesis: kill -9, stop, start again; forwarders drop feed messages
//! ```

pub mod commands;
pub mod flags;
pub mod load;
pub mod meter;
pub mod nemesis;
pub mod progress;
pub mod report;
mod serve;
pub mod verify;
pub mod workload;

pub use report::Report;
pub use workload::Workload;

use std::{collections::BTreeMap, time::Duration};

use broker::net::EndpointError;
use client::{LookupError, StoreHandle};
use thiserror::Error;

use crate::{
    clock::{self, Deadline},
    dump::DumpError,
    faults::{Fault, Schedule, Target},
    history::{History, Verdict},
    quickstart::{
        commands::CommandsError,
        load::LoadError,
        meter::Meter,
        nemesis::{Happened, Nemesis},
        progress::Progress,
        report::FaultReport,
        verify::{Replay, VerifyError, heads},
    },
    topology::{STORE, Topology, TopologyConfig, TopologyError},
};

/// How long the projection hosts may take to reach the end of the log after the load.
const CATCH_UP_PATIENCE: Duration = Duration::from_secs(60);
/// How often the main thread looks at faults and progress during the load.
const TURN_INTERVAL: Duration = Duration::from_millis(5);

/// Why a run did not come to a report.
#[derive(Debug, Error)]
pub enum RunError {
    /// A child process.
    #[error(transparent)]
    Topology(#[from] TopologyError),
    /// An endpoint.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The dump.
    #[error(transparent)]
    Dump(#[from] DumpError),
    /// The store is not found.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// An append.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Commands.
    #[error(transparent)]
    Commands(#[from] CommandsError),
    /// The final reads.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// Signals, folders.
    #[error("{what}: {reason}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        reason: std::io::Error,
    },
}

/// A run: what is started, what is appended, what goes wrong.
#[derive(Debug)]
pub struct Run {
    /// The processes.
    pub topology: TopologyConfig,
    /// The events.
    pub workload: Workload,
    /// The faults.
    pub schedule: Schedule,
}

/// A load that is over.
struct Loaded {
    history: History,
    took: Duration,
    faults: Vec<Happened>,
}

impl Run {
    /// Does everything up to the report. The topology still runs, without projection hosts.
    ///
    /// # Errors
    /// [`RunError`] if it does not come to a report; a report may still tell of failures.
    pub fn execute(&self, progress: &mut Progress) -> Result<(Report, Topology), RunError> {
        let stores = match self.topology.copies {
            1 => "two stores",
            _ => "its witness, two pairs of stores",
        };
        progress.say(&format!("starting a broker, {stores} and two projection hosts"));
        let mut topology = Topology::start(self.topology.clone())?;
        let orders = topology.client().store(STORE)?;
        let meter = Meter::new(0);
        progress.say(&format!("appending {}", self.workload.title()));
        let loaded = self.load(&mut topology, &orders, &meter, progress)?;
        topology.wait_ready()?;
        progress.say("reading everything back");
        let report = self.prove(&mut topology, &orders, (loaded, &meter))?;
        Ok((report, topology))
    }

    fn load(
        &self,
        topology: &mut Topology,
        orders: &StoreHandle,
        meter: &Meter,
        progress: &mut Progress,
    ) -> Result<Loaded, RunError> {
        let mut history = History::after(heads(orders)?);
        let started = clock::now();
        progress.start_load(self.workload.events());
        let (faults, took) = std::thread::scope(|scope| {
            let mut nemesis = Nemesis::new(topology, meter, &self.schedule);
            let threads = self.workload.spawn(scope, orders, meter);
            let mut turned = Ok(());
            while turned.is_ok() && !threads.iter().all(|thread| thread.is_finished()) {
                std::thread::sleep(TURN_INTERVAL);
                turned = nemesis.turn(clock::now(), progress);
                progress.at(meter.acknowledged());
            }
            if turned.is_err() {
                meter.abort();
            }
            let mut acknowledged = Vec::new();
            for thread in threads {
                let appended = thread.join().map_err(|_| LoadError::Panicked);
                acknowledged.push(appended.and_then(|appended| appended));
            }
            // A child that ended by itself explains the appends that failed for it.
            turned?;
            for append in acknowledged.into_iter().collect::<Result<Vec<_>, _>>()?.concat() {
                history.acknowledge(append);
            }
            let took = clock::now().duration_since(started);
            progress.end_load();
            Ok::<_, RunError>((nemesis.finish(progress)?, took))
        })?;
        Ok(Loaded { history, took, faults })
    }

    fn prove(
        &self,
        topology: &mut Topology,
        orders: &StoreHandle,
        (loaded, meter): (Loaded, &Meter),
    ) -> Result<Report, RunError> {
        let projections = self.topology.projections.concat();
        let replay = Replay::read(orders, &projections)?;
        let mut verdict = loaded.history.check(&replay.log);
        self.compare_nodes(topology, &mut verdict)?;
        let late_hosts = wait_for_hosts(topology, &replay.heads)?;
        let hosts = topology.host_statuses();
        topology.stop_hosts()?;
        let compare = |index| replay.compare_host(topology.config(), index);
        let views = (0..self.topology.projections.len()).map(compare);
        Ok(Report {
            title: self.workload.title(),
            load: loaded.took,
            retries: meter.retries(),
            faults: loaded.faults.iter().map(|fault| self.fault_report(fault, meter)).collect(),
            copies: self.topology.copies,
            dropped_messages: topology.dropped_messages(),
            hosts,
            late_hosts,
            verdict,
            views: views.collect::<Result<_, _>>()?,
            tables: self.workload.tables(&replay.documents).map_err(VerifyError::from)?,
            data: self.topology.data.clone(),
        })
    }
}

impl Run {
    fn fault_report(&self, happened: &Happened, meter: &Meter) -> FaultReport {
        let words = happened.planned.describe(happened.hit);
        let mut report = FaultReport { words, outage: None, away: None };
        if let (Target::Store(id), Fault::Kill { .. }) = (happened.hit, happened.planned.fault) {
            let partitions = self.topology.hosted.get(id.pair).cloned();
            let partitions: Vec<u16> = partitions.into_iter().flatten().collect();
            report.outage = meter.outage(happened.at, &partitions);
            if self.topology.copies > 1 {
                report.away = happened.whole.map(|whole| whole.duration_since(happened.healed));
            }
        }
        report
    }

    /// Reads every partition from both nodes of its pair and compares the bytes.
    fn compare_nodes(
        &self,
        topology: &mut Topology,
        verdict: &mut Verdict,
    ) -> Result<(), RunError> {
        if self.topology.copies == 1 {
            return Ok(());
        }
        for pair in 0..self.topology.hosted.len() {
            for (partition, [one, other]) in topology.both_logs(pair, CATCH_UP_PATIENCE)? {
                verdict.compare_nodes(partition, [&one, &other]);
            }
        }
        Ok(())
    }
}

/// Waits until every projection host has come to the end of the log; tells which have not.
fn wait_for_hosts(
    topology: &mut Topology,
    heads: &BTreeMap<u16, u64>,
) -> Result<Vec<usize>, TopologyError> {
    let behind = |topology: &mut Topology| -> Vec<usize> {
        let statuses = topology.host_statuses().into_iter().enumerate();
        statuses.filter(|(_, status)| !status.reached(heads)).map(|(index, _)| index).collect()
    };
    let waited = Deadline::after(CATCH_UP_PATIENCE).wait_for(|| {
        if let Err(error) = topology.check_alive() {
            return Some(Err(error));
        }
        behind(topology).is_empty().then_some(Ok(()))
    });
    waited.transpose()?;
    Ok(behind(topology))
}
