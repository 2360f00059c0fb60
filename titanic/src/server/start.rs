//! Starts the threads in order, and stops them in order.

use std::io::{self, Write};
use std::thread::JoinHandle;
use std::time::Duration;

use broker::dialect::LinkSettings;
use broker::net::{self, Stop, TICK, Waker};
use client::command::Session;
use client::{Client, ClientConfig, ConnectError, LookupError, StoreHandle};
use thiserror::Error;

use super::caller::Caller;
use super::counter::{Counter, Place};
use super::event_loop::{EventLoop, Keeping, Progress, clock};
use super::follower::Follower;
use super::keeper::{File, Keeper, KeeperError, Left};
use super::lifecycle::{Fatal, Lifecycle, Queue};
use super::readers::Readers;
use super::wire::Wire;
use crate::config::{Config, ConfigError};
use crate::{Input, Settings, Titanic};

/// How often a starting process looks whether it serves already.
const SERVING_CHECK: Duration = Duration::from_millis(20);
/// How long a broker may take to say which stores there are.
const TOPOLOGY_WAIT: Duration = Duration::from_millis(500);
/// Pause before an absent store is looked for again, and how often people are told of it.
const STORE_PAUSE: Duration = Duration::from_millis(100);
const STORE_REMARK: Duration = Duration::from_secs(10);

/// Why a process could not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The configuration contradicts itself.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data directory cannot be used.
    #[error(transparent)]
    Data(#[from] KeeperError),
    /// The client cannot be set up.
    #[error(transparent)]
    Client(#[from] ConnectError),
    /// A thread or a file descriptor is missing.
    #[error("the process has too few resources: {0}: raise its limits (ulimit -n, ulimit -u)")]
    Resources(#[from] io::Error),
}

/// Why a running process ended other than cleanly.
#[derive(Debug, Error)]
pub enum RunError {
    /// It could not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// It had to stop.
    #[error(transparent)]
    Fatal(#[from] Fatal),
}

/// A running Titanic. Dropping it stops it.
pub struct Handle {
    lifecycle: Lifecycle,
    thread: Option<JoinHandle<()>>,
}

impl Handle {
    /// Waits until the view is at the head of the log and a broker knows the services; `false` if
    /// that takes too long.
    #[must_use]
    pub fn wait_serving(&self, timeout: Duration) -> bool {
        self.lifecycle.wait_serving(timeout)
    }

    /// Lets calls under way come to their end, releases what it has claimed, says goodbye.
    ///
    /// # Errors
    /// [`Fatal`] if the process had to stop.
    pub fn stop(mut self) -> Result<(), Fatal> {
        self.end();
        self.lifecycle.fatal().map_or(Ok(()), Err)
    }

    fn end(&mut self) {
        self.lifecycle.stop.request();
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so to the lifecycle.
            let _ = thread.join();
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.end();
    }
}

/// Keeps commands until SIGTERM or SIGINT, or until it must not go on.
///
/// Prints one line to standard output once the view is at the head of the log and a broker knows
/// the services: `starlog-titanic serving commands`, with the name of the store.
///
/// # Errors
/// [`RunError`] says what to do.
pub fn run(config: &Config) -> Result<(), RunError> {
    let stop = net::stop_on_signals().map_err(StartError::from)?;
    let waker = Waker::new().map_err(StartError::from)?;
    stop.register(&waker);
    let handle = start_with(config, stop.clone())?;
    let mut serving = false;
    while !stop.is_requested() {
        if !serving && handle.wait_serving(Duration::ZERO) {
            announce(config);
            serving = true;
        }
        let pause = if serving { TICK } else { SERVING_CHECK };
        let mut items = [waker.poll_item()];
        net::poll(&mut items, Some(pause)).map_err(|error| StartError::Resources(error.into()))?;
    }
    handle.stop().map_err(Into::into)
}

fn announce(config: &Config) {
    let mut out = io::stdout().lock();
    // Whoever started us may have closed our output; serving matters more.
    let _ = writeln!(out, "starlog-titanic serving {}", config.store).and_then(|()| out.flush());
}

/// Starts in threads of its own. Broker and store need not be there yet.
///
/// # Errors
/// [`StartError`] says what to do; nothing is left running.
pub fn start(config: &Config) -> Result<Handle, StartError> {
    start_with(config, Stop::new())
}

fn start_with(config: &Config, stop: Stop) -> Result<Handle, StartError> {
    config.validate()?;
    let file = match &config.data {
        Some(dir) => Some(File::open(dir, &config.store)?),
        None => {
            log::warn!(
                "without --data every start replays the whole store {}: name a directory to start \
                 from where the last run ended",
                config.store
            );
            None
        }
    };
    let client = Client::with_config(ClientConfig {
        brokers: config.brokers.clone(),
        heartbeat_interval: config.heartbeat,
        ..ClientConfig::default()
    })?;
    let lifecycle = Lifecycle::new(stop);
    let waker = Waker::new()?;
    lifecycle.stop.register(&waker);
    let setup = Setup { config: config.clone(), client, file, lifecycle: lifecycle.clone(), waker };
    let thread = lifecycle.spawn("titanic-loop", move || setup.run())?;
    Ok(Handle { lifecycle, thread: Some(thread) })
}

/// Why the loop ended.
#[derive(Debug, Error)]
enum LoopError {
    #[error("a socket failed: {0}")]
    Socket(#[from] zmq::Error),
    #[error("a thread or a file descriptor is missing: {0}")]
    Resources(#[from] io::Error),
    #[error(transparent)]
    Data(#[from] KeeperError),
    #[error(transparent)]
    Lookup(#[from] LookupError),
}

/// What the loop is made of, once the store is there.
struct Setup {
    config: Config,
    client: Client,
    file: Option<File>,
    lifecycle: Lifecycle,
    waker: Waker,
}

impl Setup {
    /// The loop's whole life, on its thread.
    fn run(self) -> Result<(), LoopError> {
        match self.find_store()? {
            Some(store) => self.serve(store),
            None => Ok(()),
        }
    }

    /// Waits for the store; nothing if the process is asked to stop before it is there.
    fn find_store(&self) -> Result<Option<StoreHandle>, LoopError> {
        let name = self.config.store.as_str();
        let mut remark_at = clock() + STORE_REMARK;
        while !self.lifecycle.stop.is_requested() {
            let topology = self.client.topology(TOPOLOGY_WAIT);
            if topology.as_ref().is_ok_and(|topology| topology.store(name).is_some()) {
                match self.client.store(name) {
                    Ok(store) => return Ok(Some(store)),
                    Err(error) if error.code().retry() => {}
                    Err(LookupError::StoreNotFound { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            if remark_at <= clock() {
                remark_at = clock() + STORE_REMARK;
                match topology {
                    Ok(_) => log::warn!("no store process has registered {name} yet: waiting"),
                    Err(error) => log::warn!("waiting for the store {name}: {error}"),
                }
            }
            net::poll(&mut [self.waker.poll_item()], Some(STORE_PAUSE))?;
            self.waker.drain();
        }
        Ok(None)
    }

    fn serve(self, store: StoreHandle) -> Result<(), LoopError> {
        let session = Session::random();
        let (machine, left) = self.machine(&store, session)?;
        let gone = left.session;
        let mut events = self.event_loop((store, session), machine, left)?;
        if let Some(gone) = gone {
            // Its file was free, so nobody has to wait for its lease to run out.
            events.hand_in(Input::Gone(gone))?;
        }
        Ok(events.run()?)
    }

    fn event_loop(
        self,
        (store, session): (StoreHandle, Session),
        machine: Titanic,
        left: Left,
    ) -> Result<EventLoop, LoopError> {
        let checkpoint = left.checkpoint;
        let (lifecycle, waker) = (&self.lifecycle, &self.waker);
        let (queue, events) = Queue::new(waker.clone());
        let follower = Follower::start(&store, checkpoint.clone(), (lifecycle, waker))?;
        let readers = Readers::start(&store, lifecycle, &queue)?;
        let now = clock();
        let keeping = match self.file {
            None => None,
            Some(file) => {
                file.begin(session)?;
                let keeper = Keeper::start(file, lifecycle, &queue)?;
                let under_way = false;
                Some(Keeping { keeper, checkpoint, under_way, due: now, place_due: now })
            }
        };
        let context = zmq::Context::new();
        let link = LinkSettings {
            agent: concat!("starlog-titanic/", env!("CARGO_PKG_VERSION")).to_owned(),
            heartbeat: self.config.heartbeat,
            ..LinkSettings::default()
        };
        let wires = || {
            let brokers = self.config.brokers.iter();
            brokers.map(|broker| Wire::new(&context, broker.clone(), now))
        };
        let counters = Place::all(self.config.brokers.len()).zip(wires());
        Ok(EventLoop {
            machine,
            store,
            counters: counters.map(|(at, wire)| Counter::new(at, wire, link.clone())).collect(),
            callers: wires().map(|wire| Caller::new(wire, link.clone())).collect(),
            follower,
            readers,
            keeping,
            events,
            queue,
            waker: self.waker,
            lifecycle: self.lifecycle,
            progress: Progress::default(),
        })
    }

    /// The machine, with what the last run has left behind.
    fn machine(&self, store: &StoreHandle, session: Session) -> Result<(Titanic, Left), LoopError> {
        let Some(file) = &self.file else {
            return Ok((Titanic::new(self.settings(store, session)), Left::default()));
        };
        let mut machine = Titanic::new(self.settings(store, session));
        let mut damage = None;
        let left = file.restore(|id, record| {
            if let Err(damaged) = machine.restore_command(id, record) {
                damage.get_or_insert(damaged);
            }
        })?;
        if !left.claims.is_empty()
            && let Err(damaged) = machine.restore_claims(&left.claims)
        {
            damage.get_or_insert(damaged);
        }
        if let Some(damaged) = damage {
            log::warn!("the view on disk is of no use ({damaged}): it is made anew");
            file.forget()?;
            return Ok((Titanic::new(self.settings(store, session)), Left::default()));
        }
        for (partition, position) in &left.checkpoint.0 {
            machine.restore_position(*partition, position.sequence);
        }
        Ok((machine, left))
    }

    fn settings(&self, store: &StoreHandle, session: Session) -> Settings {
        let config = &self.config;
        Settings {
            in_flight: config.in_flight,
            attempts: config.attempts,
            attempt_timeout: config.attempt_timeout,
            backoff: config.backoff,
            backoff_max: config.backoff_max,
            claim_lease: config.claim_lease,
            keeps_changes: self.file.is_some(),
            ..Settings::new(session, store.partitions(), config.brokers.len())
        }
    }
}
