//! What the machine is told, and what it asks for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use broker::dialect::SessionId;
use broker::error_code::ErrorCode;
use bytes::Bytes;
use client::command::{CommandId, Session, Shard, tsp};
use client::{EventId, ExpectedVersion, PartitionNumber, Sequence, StreamName, Version};

pub use crate::reads::FindTicket;
use crate::record::{Entry, Logged};

/// The time, on both clocks: one that never jumps, and the one that others know too.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For leases, pauses and requests that wait.
    pub instant: Instant,
    /// For what commands say about time: milliseconds since 1970.
    pub unix_ms: u64,
}

/// How a process works.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Settings {
    /// This run of the process.
    pub session: Session,
    /// Partitions of the store.
    pub partitions: u16,
    /// Number of brokers; they are numbered from 0.
    pub brokers: usize,
    /// Most attempts of one service under way.
    pub in_flight: usize,
    /// Most attempts under way in all.
    pub in_flight_total: usize,
    /// Attempts of a command that asks for no other number.
    pub attempts: u32,
    /// How long a worker, and its queue at the broker, may take.
    pub attempt_timeout: Duration,
    /// Pause after a first failed attempt; it doubles with each further one.
    pub backoff: Duration,
    /// Longest such pause.
    pub backoff_max: Duration,
    /// A process that is silent for so long has lost its shards.
    pub claim_lease: Duration,
    /// Size of the cache for bodies.
    pub cache_bytes: usize,
    /// Whether changes are kept for [`Titanic::take_changes`](crate::Titanic::take_changes).
    pub keeps_changes: bool,
}

impl Settings {
    /// The defaults.
    #[must_use]
    pub fn new(session: Session, partitions: u16, brokers: usize) -> Settings {
        Settings {
            session,
            partitions,
            brokers,
            in_flight: 16,
            in_flight_total: 16_384,
            attempts: 10,
            attempt_timeout: Duration::from_secs(60),
            backoff: Duration::from_millis(500),
            backoff_max: Duration::from_secs(300),
            claim_lease: Duration::from_secs(5),
            cache_bytes: 64 * 1024 * 1024,
            keeps_changes: false,
        }
    }
}

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// Committed records, as the subscription gives them.
    Log {
        /// Of this partition.
        partition: PartitionNumber,
        /// In the order of the log.
        entries: Vec<Logged>,
        /// Last sequence of the batch, inclusive.
        through: Sequence,
    },
    /// Whether the subscription has reached all heads and hears the feed.
    Live(bool),
    /// This session is certainly over.
    Gone(Session),
    /// Requests can be sent through this broker.
    BrokerUp(usize),
    /// They cannot any more.
    BrokerDown(usize),
    /// Somebody wants something; one [`Output::Answer`] follows.
    Request {
        /// Names the request.
        ticket: RequestTicket,
        /// What is wanted.
        ask: Ask,
        /// How long somebody waits for the answer.
        left: Duration,
    },
    /// Nobody hears the answer to this one any more.
    Forget(RequestTicket),
    /// The answer to [`Output::Append`].
    Appended {
        /// Which.
        ticket: AppendTicket,
        /// Sequence of the record, also if it was there before.
        result: Result<Sequence, AppendFailure>,
    },
    /// The answer to [`Output::Find`].
    Found {
        /// Which.
        ticket: FindTicket,
        /// As many as were asked for, in this order; an error if they cannot be read now.
        result: Result<Vec<Option<Logged>>, ()>,
    },
    /// The answer to [`Output::Ask`].
    Presence {
        /// Where it was asked.
        broker: usize,
        /// What for.
        service: Arc<str>,
        /// Whether a worker is there; nothing if that could not be learned.
        present: Option<bool>,
    },
    /// The answer to [`Output::Call`].
    Called {
        /// Which.
        ticket: CallTicket,
        /// The frames of the reply.
        result: Result<Vec<Bytes>, CallFailure>,
    },
    /// The process is to end: nothing new is sent, and [`Output::Stopped`] follows.
    Stop,
    /// The time of [`Titanic::deadline`](crate::Titanic::deadline) has come.
    Tick,
}

/// Something to do. What has a ticket is answered exactly once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Append this, and hand in [`Input::Appended`].
    Append {
        /// Names the append.
        ticket: AppendTicket,
        /// What to append, and to which stream.
        entry: Entry,
        /// At which version.
        expected: ExpectedVersion,
    },
    /// Look events up, and hand in [`Input::Found`].
    Find {
        /// Names the look-up.
        ticket: FindTicket,
        /// The stream whose partition holds them.
        stream: StreamName,
        /// At most 32.
        ids: Vec<EventId>,
    },
    /// Send a request, once, and hand in [`Input::Called`].
    Call(Call),
    /// Ask a broker's `mmi.service`, and hand in [`Input::Presence`].
    Ask(Inquiry),
    /// Answer a request with these frames.
    Answer {
        /// Which.
        ticket: RequestTicket,
        /// The frames.
        body: Vec<Bytes>,
    },
    /// For the log: a record that no Titanic writes.
    Illegal(String),
    /// Everything that can be brought to an end is.
    Stopped,
}

/// A request to a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Names the call.
    pub ticket: CallTicket,
    /// Through this broker.
    pub broker: usize,
    /// To a worker of this service.
    pub service: Arc<str>,
    /// Frames of its body.
    pub body: Vec<Bytes>,
    /// When to give up.
    pub timeout: Duration,
}

/// Whether a broker has workers of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inquiry {
    /// Which broker.
    pub broker: usize,
    /// About which service.
    pub service: Arc<str>,
}

/// Names a request; the loop draws it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestTicket(pub u64);

/// Names an append; to be carried back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AppendTicket {
    /// A step of a command; step 0 is an accept.
    Step {
        /// The command.
        command: CommandId,
        /// Number of the step.
        step: u32,
    },
    /// A claim, or its end.
    Claim {
        /// Of this shard.
        shard: Shard,
        /// The version it makes.
        version: Version,
    },
    /// A sign of life.
    Sign,
}

/// Names a call; to be carried back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallTicket {
    /// The command that is sent.
    pub command: CommandId,
    /// For which time.
    pub attempt: u32,
}

/// Why something is not in the log, or may not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppendFailure {
    /// Another event has this id.
    Reused,
    /// The stream is not at the expected version.
    WrongVersion,
    /// It never will be accepted as it is.
    Refused(String),
    /// Not done, or not known: the same again.
    Again,
}

/// Why there is no reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallFailure {
    /// Says whether the request reached anybody.
    pub code: ErrorCode,
    /// For people.
    pub text: String,
}

/// What a request asks for.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The service it was sent to.
    pub door: Door,
    /// Its body, as it came.
    pub body: Vec<Bytes>,
    /// What tells it from all other requests, and stays the same when it is delivered again.
    pub key: RequestKey,
}

/// Identity of a request at brokers: an accept without an id makes one of it, so that the same
/// request, delivered twice, is one command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestKey {
    /// The client's session.
    pub session: SessionId,
    /// Number within the session and service.
    pub number: u64,
}

/// The services that Titanic offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Door {
    /// `titanic.request`
    Request,
    /// `titanic.reply`
    Reply,
    /// `titanic.close`
    Close,
    /// `titanic.command`
    Command,
}

impl Door {
    /// All of them.
    pub const ALL: [Door; 4] = [Door::Request, Door::Reply, Door::Close, Door::Command];

    /// The service's name.
    #[must_use]
    pub fn service(self) -> &'static str {
        match self {
            Door::Request => tsp::REQUEST,
            Door::Reply => tsp::REPLY,
            Door::Close => tsp::CLOSE,
            Door::Command => tsp::COMMAND,
        }
    }

    /// The door with this name.
    #[must_use]
    pub fn of(service: &str) -> Option<Door> {
        Door::ALL.into_iter().find(|door| door.service() == service)
    }
}
