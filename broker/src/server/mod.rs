//! The broker as a process: one ROUTER on every endpoint, one thread, one
//! [`RoutingTable`](crate::routing::RoutingTable); and, if asked for, the [witness](self::witness)
//! of pairs with a socket and a thread of its own.

mod directory;
mod event_loop;
mod outboxes;
mod witness;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use uuid::Uuid;

use crate::config::{Config, ConfigError};
use crate::net::{self, BindError, Endpoint, Stop, TICK, Waker};
use crate::process::{TooMuchMemory, Watchdog, announce};
use crate::routing::Identity;

use directory::DataDirectory;
use event_loop::EventLoop;
pub use witness::WitnessError;

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
    Socket(#[from] zmq::Error),
    /// The witness could not go on, and must not go on with what it has.
    #[error(transparent)]
    Witness(#[from] WitnessError),
    /// The process took more memory than it may.
    #[error(transparent)]
    Memory(#[from] TooMuchMemory),
    /// A thread panicked; the log says where.
    #[error("a thread of the broker panicked")]
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
            RunError::Socket(_) | RunError::Witness(WitnessError::Socket(_)) => 7,
            RunError::Panic => 8,
            RunError::Witness(WitnessError::Record(_)) => 9,
            // The same as that of the other servers.
            RunError::Memory(_) => 15,
        }
    }
}

/// A running broker. Dropping it stops the broker and waits for it.
#[derive(Debug)]
pub struct Handle {
    endpoints: Vec<Endpoint>,
    witness_endpoint: Option<Endpoint>,
    stop: Stop,
    /// The routing thread, and the witness's. When one ends the other one is asked to.
    threads: Vec<JoinHandle<Result<(), RunError>>>,
}

impl Handle {
    /// The bound endpoints, with real ports, in the order of the configuration.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// Where the witness was bound, with its real port. Nothing if the broker is none, or cannot be
    /// because a record is damaged; `mmi.topology` then says which.
    pub fn witness_endpoint(&self) -> Option<&Endpoint> {
        self.witness_endpoint.as_ref()
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
        self.join()
    }

    /// Waits for every thread, whatever becomes of the one before it.
    fn join(&mut self) -> Result<(), RunError> {
        let mut result = Ok(());
        for thread in self.threads.drain(..) {
            result = result.and(thread.join().unwrap_or(Err(RunError::Panic)));
        }
        result
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.stop.request();
        if let Err(error) = self.join() {
            log::error!("{error}");
        }
    }
}

impl Handle {
    /// Starts one of the broker's threads, which keeps the directory locked while it runs.
    fn spawn(
        &mut self,
        name: &str,
        lock: Arc<DataDirectory>,
        run: impl FnOnce() -> Result<(), RunError> + Send + 'static,
    ) -> Result<(), StartError> {
        let stop_at_end = StopAtEnd(self.stop.clone());
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let _kept = (stop_at_end, lock);
            run()
        })?;
        self.threads.push(thread);
        Ok(())
    }
}

/// Asks the other threads to stop when this one ends, however that comes about.
struct StopAtEnd(Stop);

impl Drop for StopAtEnd {
    fn drop(&mut self) {
        self.0.request();
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
/// `starlog-broker listening on tcp://127.0.0.1:7400`, and for a witness
/// `starlog-broker witness on tcp://127.0.0.1:7401`.
///
/// # Errors
/// What kept it from starting, or how it failed; see [`RunError::exit_code`].
pub fn run(config: Config) -> Result<(), RunError> {
    let stop = net::stop_on_signals().map_err(StartError::System)?;
    let watchdog = Watchdog::new(config.memory_bytes_max);
    let handle = start_with(config, stop)?;
    for endpoint in handle.endpoints() {
        announce(format_args!("starlog-broker listening on {endpoint}"));
    }
    if let Some(endpoint) = handle.witness_endpoint() {
        announce(format_args!("starlog-broker witness on {endpoint}"));
    }
    let too_much = wait_stop(&handle.stop, watchdog).map_err(StartError::System)?;
    let stopped = handle.wait();
    too_much.map_or(stopped, |too_much| Err(too_much.into()))
}

/// Waits until the broker is asked to stop. Has it stop if it takes too much memory, and says so.
fn wait_stop(stop: &Stop, mut watchdog: Watchdog) -> io::Result<Option<TooMuchMemory>> {
    let waker = Waker::new()?;
    stop.register(&waker);
    while !stop.is_requested() {
        net::poll(&mut [waker.poll_item()], Some(TICK))?;
        if let Some(too_much) = watchdog.look() {
            log::error!("{too_much}");
            stop.request();
            return Ok(Some(too_much));
        }
    }
    Ok(None)
}

fn start_with(config: Config, stop: Stop) -> Result<Handle, StartError> {
    config.validate()?;
    let directory = Arc::new(DataDirectory::open(&config.data)?);
    let context = zmq::Context::new();
    let (socket, endpoints) = listen(&config, &context)?;
    let announced =
        if config.advertise_listen.is_empty() { &endpoints } else { &config.advertise_listen };
    let identity = Identity {
        broker: Uuid::new_v4(),
        endpoints: announced.iter().map(Endpoint::to_string).collect(),
    };
    let (board, witness) = match &config.witness {
        None => (None, None),
        Some(settings) => {
            let now = event_loop::clock();
            let opened = witness::open(settings, &config.data, &context, (now, &stop))?;
            (Some(opened.board), opened.working)
        }
    };
    let waker = Waker::new()?;
    stop.register(&waker);
    let events = EventLoop::new(config, identity, socket, (stop.clone(), waker), board);
    let mut handle = Handle { endpoints, witness_endpoint: None, stop, threads: Vec::new() };
    let lock = Arc::clone(&directory);
    handle.spawn("broker", lock, move || Ok(events.run()?))?;
    if let Some((endpoint, witness)) = witness {
        handle.witness_endpoint = Some(endpoint);
        handle.spawn("witness", directory, move || Ok(witness.run()?))?;
    }
    Ok(handle)
}

/// The one socket for clients and workers, on every endpoint of the configuration.
fn listen(
    config: &Config,
    context: &zmq::Context,
) -> Result<(zmq::Socket, Vec<Endpoint>), StartError> {
    let socket = net::socket(context, zmq::ROUTER)?;
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
    Ok((socket, endpoints))
}
