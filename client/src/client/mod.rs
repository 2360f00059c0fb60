//! A client: what its users' threads call, and the background thread that does the work.
//!
//! ```text
//! caller's threads                        starlog-client thread
//!   append ──┐                              ┌── Lane per partition: Coalescer, Outbox
//!   read   ──┤                              ├── Calls: CallDesk
//!   call   ──┼── commands + eventfd ──>  loop ── BrokerLink: one DEALER to the broker in use
//!   status ──┘                              ├── TopologyDesk
//!      ^                                    └── Replays: one DEALER per replayer
//!      └──────── promises, channels ────────┘
//! ```

mod acknowledged;
mod admission;
mod broker_link;
mod calls;
mod command;
mod event_loop;
mod frames_log;
mod hand_over;
mod lane;
mod open_read;
mod replays;
mod status;
mod topology_desk;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use broker::dialect::{ServiceName, Topology};
use broker::net::{Endpoint, Queue, Waker};
use bytes::Bytes;
use store::names::StoreName;
use store::slot::PartitionNumber;
use store::wire::append::{encode_append, encoded_bytes};
use store::wire::replay::RequestNumber;

use self::acknowledged::Acknowledged;
use self::admission::Gate;
use self::calls::Caller;
use self::command::Command;
use self::event_loop::{EventLoop, Given};
use self::lane::Ticket;
use self::topology_desk::{KnownTopology, TOPOLOGY_SERVICE};
use crate::append::coalescer::Waiting;
use crate::append::{Append, AppendError, PendingAppend};
use crate::call::desk::Call;
use crate::call::{CallError, PendingCall};
use crate::command::Commands;
use crate::config::ClientConfig;
use crate::error::{ConnectError, LookupError, Refusal};
use crate::handle::StoreHandle;
use crate::pending::{Pending, pending};

pub(crate) use self::acknowledged::Mark;
use self::command::PartitionKey;
pub(crate) use self::command::ReadEvent;
pub use self::frames_log::FRAMES_LOG_TARGET;
pub use self::hand_over::{HandOver, HandOverError, HandedOver};
pub(crate) use self::open_read::{Next, OpenRead};
pub use self::status::{ProcessStatus, Status};

/// How long a store that nobody knows is looked for again: its processes may just be registering
/// at a broker that has just been started.
const STORE_GRACE: Duration = Duration::from_secs(1);
const STORE_GRACE_STEP: Duration = Duration::from_millis(50);

/// A connection to Starlog through the first of its brokers that answers.
///
/// Cloning gives another handle on the same client; many threads can share one. With the last
/// handle the background thread ends, and what still waits learns what is known of it.
#[derive(Debug, Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: Arc<ClientConfig>,
    commands: Queue<Command>,
    gate: Arc<Gate>,
    next_request: AtomicU64,
    known_topology: KnownTopology,
    acknowledged: Acknowledged,
    context: SocketContext,
    thread: Option<JoinHandle<()>>,
}

/// libzmq's context, for the sockets of this client.
struct SocketContext(zmq::Context);

impl std::fmt::Debug for SocketContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SocketContext")
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // The thread may have ended already; then nobody takes the command.
        self.commands.send(Command::Close);
        let thread = self.thread.take();
        // The last handle may go on the thread itself, inside of a future that it has just woken.
        let elsewhere = |thread: &JoinHandle<()>| thread.thread().id() != thread::current().id();
        if let Some(Err(_)) = thread.filter(elsewhere).map(JoinHandle::join) {
            log::error!("the client's thread had panicked");
        }
    }
}

impl Client {
    /// Sets up a client for these brokers, with the usual settings.
    ///
    /// Returns at once and talks to nobody yet: whether a broker is there shows in the first use.
    ///
    /// # Errors
    /// [`ConnectError`] when an endpoint is none, or the system refuses a thread.
    pub fn connect<I>(brokers: I) -> Result<Self, ConnectError>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let endpoint = |text: I::Item| {
            let text = text.as_ref();
            text.parse::<Endpoint>().map_err(|error| ConnectError::Endpoint {
                endpoint: text.to_owned(),
                reason: error.to_string(),
            })
        };
        let brokers = brokers.into_iter().map(endpoint).collect::<Result<_, _>>()?;
        Self::with_config(ClientConfig { brokers, ..ClientConfig::default() })
    }

    /// Sets up a client with settings of one's own.
    ///
    /// # Errors
    /// [`ConnectError`] when no endpoint is named, or the system refuses a thread.
    pub fn with_config(config: ClientConfig) -> Result<Self, ConnectError> {
        if config.brokers.is_empty() {
            return Err(ConnectError::NoEndpoint);
        }
        let config = Arc::new(config);
        let known_topology = KnownTopology::default();
        let acknowledged = Acknowledged::default();
        let waker = Waker::new()?;
        // It is bounded by the gate: an append is admitted before it gets here.
        let (commands, received) = Queue::new(waker.clone());
        let context = zmq::Context::new();
        let gate = Gate::new(config.queue_appends_max, config.queue_bytes_max);
        let thread = thread::Builder::new().name("starlog-client".to_owned()).spawn({
            let given = Given {
                config: Arc::clone(&config),
                context: context.clone(),
                commands: received,
                waker,
                known_topology: known_topology.clone(),
                acknowledged: acknowledged.clone(),
            };
            move || EventLoop::new(given).run()
        })?;
        let shared = Shared {
            config,
            commands,
            gate,
            next_request: AtomicU64::new(1),
            known_topology,
            acknowledged,
            context: SocketContext(context),
            thread: Some(thread),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Its settings.
    #[must_use]
    pub fn config(&self) -> &ClientConfig {
        &self.shared.config
    }

    /// Finds a store. Blocks for at most the request time-out.
    ///
    /// # Errors
    /// [`LookupError`] when no broker answers, or none knows the store.
    pub fn store(&self, name: &str) -> Result<StoreHandle, LookupError> {
        let name = StoreName::new(name).map_err(|error| {
            let code = broker::error_code::ErrorCode::INVALID_ARGUMENT;
            LookupError::Refused(Refusal::new(code, error.to_string()))
        })?;
        let timeout = self.config().request_timeout;
        let started = clock();
        loop {
            let topology = self.topology(timeout)?;
            if let Some(store) = topology.store(name.as_str()) {
                return Ok(StoreHandle::new(self.clone(), name, store.partitions));
            }
            if clock().saturating_duration_since(started) >= STORE_GRACE.min(timeout) {
                let known = topology.stores.iter().map(|store| store.name.clone()).collect();
                return Err(LookupError::StoreNotFound { store: name.to_string(), known });
            }
            thread::sleep(STORE_GRACE_STEP);
        }
    }

    /// What the broker in use knows now: stores, their members, and other services.
    ///
    /// # Errors
    /// [`LookupError`] when no broker answers within `timeout`.
    pub fn topology(&self, timeout: Duration) -> Result<Topology, LookupError> {
        self.ask_topology(timeout).wait().map(|topology| (*topology).clone())
    }

    /// How all store processes are.
    ///
    /// # Errors
    /// [`LookupError`] when no broker answers; a silent store is part of the answer.
    pub fn status(&self, timeout: Duration) -> Result<Status, LookupError> {
        status::ask(self, timeout)
    }

    /// Asks the leader of a pair to let the other node lead. No append is lost or refused by it.
    ///
    /// # Errors
    /// [`HandOverError`] when there is no such pair, or its leader does not hand over.
    pub fn hand_over(
        &self,
        wanted: &HandOver,
        timeout: Duration,
    ) -> Result<HandedOver, HandOverError> {
        hand_over::hand_over(self, wanted, timeout)
    }

    /// Calls a Majordomo service: the reply is the body frames of its worker's reply, those of
    /// all parts if there are several.
    ///
    /// Until `timeout` is over the call is repeated, under the same number, when the service is
    /// refused for the moment (nobody offers it, its workers are busy) and when the broker is
    /// lost; and the broker repeats it when a worker is lost. So the service has to bear a request
    /// that comes more than once; if it does not, use [`Client::call_once`].
    pub fn call(&self, service: &str, body: Vec<Bytes>, timeout: Duration) -> PendingCall {
        self.any_call(service, body, (timeout, false))
    }

    /// Calls a Majordomo service, and delivers the request at most once: whatever is lost on the
    /// way ends the call, with an unknown outcome.
    pub fn call_once(&self, service: &str, body: Vec<Bytes>, timeout: Duration) -> PendingCall {
        self.any_call(service, body, (timeout, true))
    }

    fn any_call(
        &self,
        service: &str,
        body: Vec<Bytes>,
        (timeout, once): (Duration, bool),
    ) -> PendingCall {
        let service = match callable(service, &body) {
            Ok(service) => service,
            Err(reason) => return Pending::ready(Err(CallError::InvalidArgument(reason))),
        };
        let admission = match self.shared.gate.admit(body.iter().map(Bytes::len).sum()) {
            Ok(admission) => admission,
            Err(full) => {
                let (requests, bytes) = (full.appends, full.bytes);
                return Pending::ready(Err(CallError::QueueFull { requests, bytes }));
            }
        };
        let submitted = clock();
        let (promise, pending) = pending(CallError::abandoned);
        let call = Call { service, body, once, deadline: submitted + timeout };
        self.command(Command::Call(call, Caller { promise, submitted, admission }));
        pending
    }

    /// Titanic's commands, through any of its processes.
    #[must_use]
    pub fn commands(&self) -> Commands {
        Commands::new(self.clone())
    }

    /// The newest topology that the background thread has seen.
    pub(crate) fn known_topology(&self) -> Option<Arc<Topology>> {
        self.shared.known_topology.get()
    }

    /// What this client was told is committed in a partition.
    pub(crate) fn acknowledged(&self, store: &Arc<StoreName>, partition: PartitionNumber) -> Mark {
        let key = PartitionKey { store: Arc::clone(store), partition };
        self.shared.acknowledged.of(&key).get()
    }

    pub(crate) fn ask_topology(&self, timeout: Duration) -> Pending<Arc<Topology>, LookupError> {
        let (promise, pending) = pending(|| LookupError::Closed);
        self.command(Command::Topology { deadline: clock() + timeout, promise });
        pending
    }

    /// Queues an append whose limits have been checked.
    pub(crate) fn append(
        &self,
        store: &Arc<StoreName>,
        partition: PartitionNumber,
        append: &Append,
    ) -> PendingAppend {
        let bytes = encoded_bytes(&append.writes);
        let admission = match self.shared.gate.admit(bytes) {
            Ok(admission) => admission,
            Err(full) => {
                let (appends, bytes) = (full.appends, full.bytes);
                return Pending::ready(Err(AppendError::QueueFull { appends, bytes }));
            }
        };
        let mut encoded = Vec::with_capacity(bytes);
        if let Err(error) = encode_append(&append.writes, &mut encoded) {
            return Pending::ready(Err(AppendError::InvalidArgument(error.to_string())));
        }
        let submitted = clock();
        let (promise, pending) = pending(AppendError::abandoned);
        let waiting = Waiting {
            bytes,
            durability: append.durability,
            deadline: submitted + self.config().request_timeout,
            append: (Ticket { promise, submitted, admission }, Bytes::from(encoded)),
        };
        let key = PartitionKey { store: Arc::clone(store), partition };
        self.command(Command::Append { key, append: waiting });
        pending
    }

    pub(crate) fn zmq_context(&self) -> &zmq::Context {
        &self.shared.context.0
    }

    fn next_request(&self) -> RequestNumber {
        RequestNumber(self.shared.next_request.fetch_add(1, Ordering::Relaxed))
    }

    fn command(&self, command: Command) {
        // If the thread has ended the command is dropped, and its promise with it.
        self.shared.commands.send(command);
    }
}

/// The service, if calls may go there.
fn callable(service: &str, body: &[Bytes]) -> Result<ServiceName, String> {
    let name = ServiceName::new(service.to_owned()).filter(|name| !name.is_none());
    let name = name.ok_or_else(|| {
        let max = ServiceName::BYTES_MAX;
        format!("a service has a name of 1 to {max} bytes without control characters")
    })?;
    if body.is_empty() {
        return Err("a request has at least one frame, which may be empty".to_owned());
    }
    let partition = service.rsplit_once('/').is_some_and(|(store, number)| {
        StoreName::new(store).is_ok() && number.parse::<u16>().is_ok()
    });
    // Their requests are numbered otherwise, and more than numbers hangs on it.
    if partition || service.as_bytes() == TOPOLOGY_SERVICE {
        return Err(format!("{service} is no service to call: use `Client::store` or `topology`"));
    }
    Ok(name)
}

#[expect(clippy::disallowed_methods, reason = "callers' own waiting reads the clock")]
fn clock() -> Instant {
    Instant::now()
}
