//! The Titanic that is measured: a running one, or a process of the tool's own.

use std::ffi::OsString;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use broker::error_code::ErrorCode;
use broker::net::Endpoint;
use client::command::wire::{CommandState, Purge, Selection};
use client::command::{CommandError, CommandId, Commands};
use client::{Client, ClientConfig};

use super::load::NOBODY;
use super::worker;
use crate::cli::bench::children::ChildProcess;
use crate::cli::bench::system::{System, programs};
use crate::cli::bench::{broken, now};
use crate::cli::failure::Failure;
use crate::cli::flags::BenchCommandsFlags;

/// How long Titanic may take to serve; a million commands without a checkpoint take their time.
const SERVING_WAIT_MAX: Duration = Duration::from_secs(600);
/// How long one question may take while Titanic is not there yet.
const ASK_WAIT: Duration = Duration::from_millis(250);
const ASK_INTERVAL: Duration = Duration::from_millis(10);
/// Commands that are closed at once.
const PURGE: u32 = 1000;

/// A Titanic at the broker, with what is needed to start it anew if it is ours.
#[derive(Debug)]
pub struct Titanic {
    asking: Commands,
    own: Option<Own>,
}

#[derive(Debug)]
struct Own {
    program: PathBuf,
    arguments: Vec<OsString>,
    child: Option<ChildProcess>,
}

impl Titanic {
    /// Starts a Titanic, unless the system is a running one, and waits until it serves.
    ///
    /// # Errors
    /// [`Failure`] when it can't be started or does not serve.
    pub fn start(system: &System, flags: &BenchCommandsFlags) -> Result<Self, Failure> {
        let config = ClientConfig { request_timeout: ASK_WAIT, ..system.client_config() };
        let own = match system.is_own() {
            true => Some(Own::new(system, flags)?),
            false => None,
        };
        let mut titanic = Self { asking: Client::with_config(config)?.commands(), own };
        titanic.restart()?;
        Ok(titanic)
    }

    /// Whether it is the tool's own, to be ended and filled as the tool likes.
    pub fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// Ends it in good order, starts it again, and returns how long that start took.
    ///
    /// # Errors
    /// [`Failure`] when it does not serve.
    pub fn restart(&mut self) -> Result<Duration, Failure> {
        if let Some(own) = &mut self.own {
            drop(own.child.take());
        }
        let started = now();
        if let Some(own) = &mut self.own {
            own.child = Some(ChildProcess::start(&own.program, &own.arguments)?);
        }
        self.wait_until_serving()?;
        Ok(now().saturating_duration_since(started))
    }

    /// Bytes of memory that its process holds.
    ///
    /// # Errors
    /// [`Failure`] when it is not ours or has ended.
    pub fn memory_bytes(&self) -> Result<u64, Failure> {
        let child = self.own.as_ref().and_then(|own| own.child.as_ref());
        child.ok_or_else(|| broken("no Titanic of its own runs"))?.memory_bytes()
    }

    /// It serves when it can tell that it does not know a command.
    fn wait_until_serving(&self) -> Result<(), Failure> {
        let deadline = now() + SERVING_WAIT_MAX;
        let nothing = CommandId::generate();
        loop {
            let error = match self.asking.status(nothing) {
                Ok(_) | Err(CommandError::Unknown { .. }) => return Ok(()),
                Err(error) => error,
            };
            if now() >= deadline || !self.is_own() {
                let sentence = format!("no Titanic serves ({error}): start starlog-titanic");
                return Err(Failure::local(ErrorCode::NO_WORKER, sentence));
            }
            thread::sleep(ASK_INTERVAL);
        }
    }
}

impl Own {
    fn new(system: &System, flags: &BenchCommandsFlags) -> Result<Self, Failure> {
        let brokers = system.client_config().brokers;
        let endpoints = brokers.iter().flat_map(|at| ["--broker".into(), at.as_str().into()]);
        let mut arguments: Vec<OsString> = endpoints.collect();
        arguments.extend(["--store".into(), flags.system.store.as_str().into()]);
        arguments.extend(["--data".into(), system.folder().join("titanic").into()]);
        let program = programs(&flags.system)?.join("starlog-titanic");
        Ok(Self { program, arguments, child: None })
    }
}

/// Starts the idle worker and waits until the broker knows it.
///
/// # Errors
/// [`Failure`] when it can't be started.
pub fn start_worker(system: &System, service: &str) -> Result<ChildProcess, Failure> {
    let tool = std::env::current_exe()
        .map_err(|error| Failure::system("can't find this program", &error))?;
    let brokers = system.client_config().brokers;
    let endpoint = brokers.first().map(Endpoint::as_str);
    let endpoint = endpoint.ok_or_else(|| broken("there is no broker"))?;
    let child = ChildProcess::start(&tool, ["bench", "command-worker", endpoint, service])?;
    child.wait_for_line(worker::STARTED)?;
    Ok(child)
}

/// Closes everything that was left open for the service that nobody offers.
///
/// # Errors
/// [`Failure`] when Titanic refuses.
pub fn close_all(commands: &Commands) -> Result<(), Failure> {
    loop {
        let which = Selection::Matching {
            state: CommandState::Queued,
            service: Some(NOBODY.to_owned()),
            older_ms: 0,
        };
        let swept = commands.purge(&Purge { which, limit: PURGE, dry_run: false })?;
        if swept.matched == 0 {
            return Ok(());
        }
    }
}
