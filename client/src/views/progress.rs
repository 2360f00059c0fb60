//! How far a projection is, told to whoever asks: a Majordomo service for each projection.
//!
//! ```text
//! starlog doctor ──> broker ── "projection.orders.sales" ──> ProgressService ──looks──> host
//!                          <── ProjectionProgress, a MessagePack map ──
//! ```
//!
//! It answers from threads of its own, so that it also tells of a projection that stands still.

use std::io;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use broker::mdp::{Worker, WorkerConfig, WorkerError};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

use super::host::{HostProgress, ProjectionHost, StopFlag};
use store::slot::PartitionNumber;

/// How long a thread waits for a question before it looks at its stop flag.
const WAIT: Duration = Duration::from_millis(100);
/// Deepest nesting that is followed in an answer.
const DEPTH_MAX: usize = 8;

/// Where one projection of one host is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectionProgress {
    /// The host, which has another id after each start.
    pub host: Uuid,
    /// Number of its process, for people.
    pub process: u32,
    /// The store that it follows.
    pub store: String,
    /// The projection.
    pub projection: String,
    /// Events handled and committed in this run.
    pub events: u64,
    /// Why it has ended, if it has failed.
    #[serde(default)]
    pub error: Option<String>,
    /// One entry for each partition that it follows.
    pub positions: Vec<ProjectionPosition>,
}

/// How far a projection is in one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectionPosition {
    /// The partition.
    pub partition: u16,
    /// Highest epoch that it has seen.
    pub epoch: u64,
    /// The last sequence that is in its views (inclusive).
    pub sequence: u64,
}

impl ProjectionProgress {
    /// What every service of this kind begins with.
    pub const SERVICES: &'static str = "projection.";

    /// The service that tells of a projection.
    #[must_use]
    pub fn service(store: &str, projection: &str) -> String {
        format!("{}{store}.{projection}", Self::SERVICES)
    }

    /// Reads an answer.
    ///
    /// # Errors
    /// [`ProgressError::Malformed`]; unknown fields are passed over.
    pub fn decode(body: &[u8]) -> Result<Self, ProgressError> {
        let mut decoder = rmp_serde::Deserializer::from_read_ref(body);
        decoder.set_max_depth(DEPTH_MAX);
        Self::deserialize(&mut decoder).map_err(|error| ProgressError::Malformed(error.to_string()))
    }

    fn encode(&self) -> Bytes {
        // Plain maps into memory: the encoder has nothing to refuse.
        rmp_serde::to_vec_named(self).map(Bytes::from).unwrap_or_default()
    }
}

/// Why the progress of a projection can't be told, or read.
#[derive(Debug, Error)]
pub enum ProgressError {
    /// The names give no service name, or there is no socket.
    #[error(transparent)]
    Worker(#[from] WorkerError),
    /// No thread.
    #[error("the process has too few resources: {0}: raise its limits (ulimit -n, ulimit -u)")]
    Resources(#[from] io::Error),
    /// The answer is no such map.
    #[error("the answer is not the map of a projection's progress: {0}")]
    Malformed(String),
}

/// Tells of one projection at every broker until it is dropped.
#[derive(Debug)]
pub struct ProgressService {
    stop: StopFlag,
    threads: Vec<JoinHandle<()>>,
}

/// What an answer is made of.
#[derive(Debug, Clone)]
struct Told {
    progress: HostProgress,
    /// All but what changes.
    frame: ProjectionProgress,
}

impl ProgressService {
    pub(super) fn start(host: &ProjectionHost, projection: &str) -> Result<Self, ProgressError> {
        let store = host.store().name().as_str();
        let service = ProjectionProgress::service(store, projection);
        let position = |partition: PartitionNumber| ProjectionPosition {
            partition: partition.0,
            epoch: 0,
            sequence: 0,
        };
        let frame = ProjectionProgress {
            host: Uuid::new_v4(),
            process: std::process::id(),
            store: store.to_owned(),
            projection: projection.to_owned(),
            events: 0,
            error: None,
            positions: host.followed().into_iter().map(position).collect(),
        };
        let told = Told { progress: host.progress(), frame };
        let mut serving = Self { stop: StopFlag::new(), threads: Vec::new() };
        for broker in &host.store().client().config().brokers {
            let worker = Worker::ready(WorkerConfig::new(broker.clone(), &service))?;
            let (told, stop) = (told.clone(), serving.stop.clone());
            let thread = thread::Builder::new().name("starlog-progress".to_owned());
            serving.threads.push(thread.spawn(move || serve(worker, &told, &stop))?);
        }
        Ok(serving)
    }
}

impl Drop for ProgressService {
    fn drop(&mut self) {
        self.stop.stop();
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so, and there is nothing to save.
            let _ = thread.join();
        }
    }
}

fn serve(mut worker: Worker, told: &Told, stop: &StopFlag) {
    while !stop.is_stopped() {
        let served = match worker.receive_for(WAIT) {
            Ok(Some(job)) => worker.reply(job, vec![told.now().encode()]),
            other => other.map(drop),
        };
        if let Err(error) = served {
            log::warn!("nobody is told any more how far {} is: {error}", told.frame.projection);
            return;
        }
    }
}

impl Told {
    fn now(&self) -> ProjectionProgress {
        let counters = self.progress.counters();
        let mut now = self.frame.clone();
        now.events = counters.events;
        now.error = counters.error;
        for place in &mut now.positions {
            let position = counters.checkpoint.position(PartitionNumber(place.partition));
            (place.epoch, place.sequence) = (position.epoch.0, position.sequence.0);
        }
        now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_survives_the_way_there_and_back() {
        let progress = ProjectionProgress {
            host: Uuid::from_u128(7),
            process: 4711,
            store: "orders".to_owned(),
            projection: "sales".to_owned(),
            events: 12,
            error: Some("no".to_owned()),
            positions: vec![ProjectionPosition { partition: 1, epoch: 3, sequence: 9 }],
        };
        assert_eq!(ProjectionProgress::decode(&progress.encode()).unwrap(), progress);
        assert!(ProjectionProgress::decode(b"\x81").is_err());
        assert_eq!(ProjectionProgress::service("orders", "sales"), "projection.orders.sales");
    }
}
