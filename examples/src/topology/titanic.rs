//! Titanic as a child process, beside the topology whose first pair keeps its store.

use std::time::Duration;

use crate::{
    process::{Process, ProcessError},
    topology::{END_PATIENCE, START_PATIENCE, Topology, TopologyError, start::make_folder},
};

/// What Titanic prints when it takes commands.
const TITANIC_LINE: &str = "starlog-titanic serving ";

/// A running Titanic. Dropping it kills it.
#[derive(Debug)]
pub struct Titanic {
    process: Process,
}

impl Topology {
    /// Starts a Titanic that registers with all brokers.
    ///
    /// # Errors
    /// [`TopologyError::Process`] if it does not come up.
    pub fn start_titanic(&self) -> Result<Titanic, TopologyError> {
        make_folder(&self.config.titanic_folder())?;
        let launch = self.config.titanic_launch(&self.broker_endpoints());
        let mut process = Process::start(&launch)?;
        process.wait_for_line(TITANIC_LINE, START_PATIENCE)?;
        Ok(Titanic { process })
    }
}

impl Titanic {
    /// SIGKILL.
    ///
    /// # Errors
    /// [`ProcessError::Signal`].
    pub fn kill(&mut self) -> Result<(), ProcessError> {
        self.process.kill()
    }

    /// Starts a killed one again, and waits for at most `patience` until it takes commands.
    ///
    /// # Errors
    /// [`ProcessError`] if it does not come up.
    pub fn restart(&mut self, patience: Duration) -> Result<(), ProcessError> {
        let mut process = Process::start(&self.process.launch().clone())?;
        process.wait_for_line(TITANIC_LINE, patience)?;
        self.process = process;
        Ok(())
    }

    /// Finds out whether it has ended although nobody killed it.
    ///
    /// # Errors
    /// [`ProcessError::Ended`].
    pub fn check_alive(&mut self) -> Result<(), ProcessError> {
        self.process.check_alive()
    }

    /// Ends it in good order.
    ///
    /// # Errors
    /// [`ProcessError`] if it does not end with 0.
    pub fn stop(mut self) -> Result<(), ProcessError> {
        self.process.terminate(END_PATIENCE)
    }
}
