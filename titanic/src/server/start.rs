//! Starts the threads in order, and stops them in order.

use std::io;
use std::time::Duration;

use broker::dialect::LinkSettings;
use broker::link::{BrokerLink, LinkNumber};
use broker::net::{self, Queue, Stop, Waker, Wire};
use broker::process::{self, Running, announce};
use client::command::Session;
use client::{Client, ClientConfig, ConnectError, LookupError, StoreHandle};
use thiserror::Error;

use super::caller::Caller;
use super::counter::Counter;
use super::event_loop::{EventLoop, Keeping, Progress, clock};
use super::follower::Follower;
use super::keeper::{File, Keeper, KeeperError, Left};
use super::lifecycle::{Fatal, Lifecycle};
use super::readers::Readers;
use crate::config::{Config, ConfigError};
use crate::{Input, Settings, Titanic};

/// How long a broker may take to say which stores there are.
const TOPOLOGY_WAIT: Duration = Duration::from_millis(500);
/// Pause before an absent store is looked for again, and how often people are told of it.
const STORE_PAUSE: Duration = Duration::from_millis(100);
const STORE_REMARK: Duration = Duration::from_secs(10);
/// Messages that wait for a full socket. What may be under way, with a window for each service,
/// keeps them far below this; a wire that gets here has lost its peer and is opened anew.
const OUTBOX_MAX: usize = 65_536;

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
pub type RunError = process::RunError<StartError, Fatal>;

/// A running Titanic. It serves once the view is at the head of the log and a broker knows the
/// services. Stopped, it lets calls under way come to their end, releases what it has claimed and
/// says goodbye. Dropping it stops it.
pub type Handle = Running<Fatal>;

/// Keeps commands until SIGTERM or SIGINT, or until it must not go on.
///
/// Prints one line to standard output once the view is at the head of the log and a broker knows
/// the services: `starlog-titanic serving commands`, with the name of the store.
///
/// # Errors
/// [`RunError`] says what to do.
pub fn run(config: &Config) -> Result<(), RunError> {
    let serving = || announce(format_args!("starlog-titanic serving {}", config.store));
    process::run(|stop| start_with(config, stop), serving, config.memory_bytes_max)
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
    lifecycle.stop().register(&waker);
    let setup = Setup { config: config.clone(), client, file, lifecycle: lifecycle.clone(), waker };
    let thread = lifecycle.spawn("titanic-loop", move || setup.run())?;
    Ok(Running::new(&lifecycle, move || {
        // A thread that panicked has said so to the lifecycle.
        let _ = thread.join();
    }))
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
        while !self.lifecycle.stop().is_requested() {
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
        let link = LinkSettings {
            agent: concat!("starlog-titanic/", env!("CARGO_PKG_VERSION")).to_owned(),
            heartbeat: self.config.heartbeat,
            ..LinkSettings::default()
        };
        let wires = || {
            let brokers = self.config.brokers.iter();
            brokers.map(|broker| Wire::new(broker.clone(), OUTBOX_MAX, now))
        };
        let counter = |(number, wire)| {
            let link = BrokerLink::with_wire(LinkNumber(number), wire, link.clone());
            Counter::new(link, self.config.brokers.len())
        };
        Ok(EventLoop {
            machine,
            store,
            context: zmq::Context::new(),
            counters: wires().enumerate().map(counter).collect(),
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
