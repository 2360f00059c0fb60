//! The broker as a process: one ROUTER on every endpoint, one thread, one
//! [`RoutingTable`](crate::routing::RoutingTable).

mod directory;
mod event_loop;
mod outboxes;

use std::io;
use std::path::PathBuf;
use std::thread::JoinHandle;

use uuid::Uuid;

use crate::config::{Config, ConfigError};
use crate::net::{self, BindError, Endpoint, Stop, Waker};
use crate::routing::Identity;

use directory::DataDirectory;
use event_loop::EventLoop;

/// Messages that libzmq may hold for one peer, each way. It counts messages and not bytes, so a
/// large number would let a slow peer hold gigabytes; what is beyond waits in an outbox of ours,
/// which counts both.
const PIPE_MESSAGES: i32 = 128;

/// Why a broker does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration contradicts itself.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// An endpoint cannot be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The data directory cannot be used.
    #[error("the data directory {0} cannot be written: {1}; choose another one with --data")]
    Directory(PathBuf, #[source] io::Error),
    /// Another broker uses the data directory.
    #[error("{0} is used by another broker: stop it, or choose another directory with --data")]
    Locked(PathBuf),
    /// libzmq gives no socket.
    #[error("no socket: {0}")]
    Socket(#[from] zmq::Error),
    /// The system gives no thread or no file descriptor.
    #[error("the system refuses what a broker needs: {0}")]
    System(#[from] io::Error),
}

/// Why a broker did not stop cleanly.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The socket failed.
    #[error("the broker's socket failed: {0}")]
    Socket(zmq::Error),
    /// The thread panicked; the log says where.
    #[error("the broker's thread panicked")]
    Panic,
}

impl RunError {
    /// The process's exit code; 0 is a clean stop.
    pub fn exit_code(&self) -> u8 {
        match self {
            RunError::Start(StartError::Config(_)) => 2,
            RunError::Start(StartError::Bind(_)) => 3,
            RunError::Start(StartError::Directory(..)) => 4,
            RunError::Start(StartError::Locked(_)) => 5,
            RunError::Start(StartError::Socket(_) | StartError::System(_)) => 6,
            RunError::Socket(_) => 7,
            RunError::Panic => 8,
        }
    }
}

/// A running broker. Dropping it stops the broker and waits for it.
#[derive(Debug)]
pub struct Handle {
    endpoints: Vec<Endpoint>,
    stop: Stop,
    thread: Option<JoinHandle<Result<(), zmq::Error>>>,
}

impl Handle {
    /// The bound endpoints, with real ports, in the order of the configuration.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// Stops the broker: it finishes what workers hold, says goodbye, and closes.
    ///
    /// # Errors
    /// How it failed, if it did not run until now.
    pub fn stop(self) -> Result<(), RunError> {
        self.stop.request();
        self.wait()
    }

    /// Waits until the broker has stopped by itself or on a signal.
    ///
    /// # Errors
    /// How it failed.
    pub fn wait(mut self) -> Result<(), RunError> {
        match self.thread.take().map(JoinHandle::join) {
            None | Some(Ok(Ok(()))) => Ok(()),
            Some(Ok(Err(error))) => Err(RunError::Socket(error)),
            Some(Err(_)) => Err(RunError::Panic),
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.stop.request();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the broker's thread panicked");
        }
    }
}

/// Starts a broker in a thread of this process.
///
/// # Errors
/// What keeps it from starting, as a sentence for a person.
pub fn start(config: Config) -> Result<Handle, StartError> {
    start_with(config, Stop::new())
}

/// Runs a broker until SIGTERM or SIGINT. Prints one line per bound endpoint on standard output:
/// `starlog-broker listening on tcp://127.0.0.1:7400`.
///
/// # Errors
/// What kept it from starting, or how it failed; see [`RunError::exit_code`].
pub fn run(config: Config) -> Result<(), RunError> {
    let stop = net::stop_on_signals().map_err(StartError::System)?;
    let handle = start_with(config, stop)?;
    for endpoint in handle.endpoints() {
        announce(endpoint);
    }
    handle.wait()
}

/// Whoever started us may have closed our standard output, which is no reason to stop.
fn announce(endpoint: &Endpoint) {
    use std::io::Write;
    let mut output = io::stdout().lock();
    let written =
        writeln!(output, "starlog-broker listening on {endpoint}").and_then(|()| output.flush());
    if let Err(error) = written {
        log::warn!("standard output is closed: {error}");
    }
}

fn start_with(config: Config, stop: Stop) -> Result<Handle, StartError> {
    config.validate()?;
    let directory = DataDirectory::open(&config.data)?;
    let context = zmq::Context::new();
    let socket = net::socket(&context, zmq::ROUTER)?;
    socket.set_sndhwm(PIPE_MESSAGES)?;
    socket.set_rcvhwm(PIPE_MESSAGES)?;
    let mut endpoints = Vec::with_capacity(config.listen.len());
    for endpoint in &config.listen {
        let bound = net::bind(&socket, endpoint)?;
        log::info!("listening on {bound}");
        if config.open_network && !bound.is_loopback() {
            log::warn!("{bound} is open: anyone who reaches it can read, append and serve");
        }
        endpoints.push(bound);
    }
    let announced =
        if config.advertise_listen.is_empty() { &endpoints } else { &config.advertise_listen };
    let identity = Identity {
        broker: Uuid::new_v4(),
        endpoints: announced.iter().map(Endpoint::to_string).collect(),
    };
    let waker = Waker::new()?;
    stop.register(&waker);
    let events = EventLoop::new(config, identity, socket, (stop.clone(), waker));
    let thread = std::thread::Builder::new().name("broker".to_owned()).spawn(move || {
        let result = events.run();
        // The lock is held for as long as the loop runs.
        drop(directory);
        result
    })?;
    Ok(Handle { endpoints, stop, thread: Some(thread) })
}
