//! One store process of the tool's own, which can be killed and started again.

use std::ffi::OsString;
use std::path::PathBuf;

use super::broken;
use super::children::{ChildProcess, MemoryBytes};
use crate::cli::failure::Failure;

/// A store. Dropping it ends it.
#[derive(Debug)]
pub struct StoreProcess {
    program: PathBuf,
    arguments: Vec<OsString>,
    child: Option<ChildProcess>,
}

impl StoreProcess {
    /// Starts it.
    ///
    /// # Errors
    /// [`Failure`] when it can't be started.
    pub fn start(program: PathBuf, arguments: Vec<OsString>) -> Result<Self, Failure> {
        let mut process = Self { program, arguments, child: None };
        process.restart()?;
        Ok(process)
    }

    /// Ends it with SIGKILL: it has no time to do anything.
    pub fn kill(&mut self) {
        if let Some(child) = self.child.take() {
            child.kill();
        }
    }

    /// Starts it again after a kill.
    ///
    /// # Errors
    /// [`Failure`] when it can't be started.
    pub fn restart(&mut self) -> Result<(), Failure> {
        self.child = Some(ChildProcess::start(&self.program, &self.arguments)?);
        Ok(())
    }

    /// Memory that it holds now.
    ///
    /// # Errors
    /// [`Failure`] when it has ended.
    pub fn memory(&self) -> Result<MemoryBytes, Failure> {
        self.child.as_ref().ok_or_else(|| broken("the store is not running"))?.memory()
    }
}
