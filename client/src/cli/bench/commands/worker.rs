//! The idle worker of the measurement: a process that answers at once.

use broker::mdp::{Worker, WorkerConfig};
use broker::net::Endpoint;

use crate::cli::bench::broken;
use crate::cli::bench::limits::raw::{announce, end_with_parent};
use crate::cli::failure::Failure;

/// What it prints when it has started.
pub const STARTED: &str = "command worker started";

/// Answers every request with the request itself, until its parent is gone.
///
/// # Errors
/// [`Failure`] when its socket fails.
pub fn run(endpoint: Endpoint, service: &str) -> Result<(), Failure> {
    end_with_parent()?;
    let failed = |error: broker::mdp::WorkerError| broken(error.to_string());
    let mut worker = Worker::ready(WorkerConfig::new(endpoint, service)).map_err(failed)?;
    announce(STARTED)?;
    loop {
        let job = worker.receive().map_err(failed)?;
        let answer = job.body.clone();
        worker.reply(job, answer).map_err(failed)?;
    }
}
