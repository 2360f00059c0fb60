//! The service `titanic.command`: one MessagePack map asks, one answers.
//!
//! ```text
//! {op: "submit", id?, service, body: [bin], not_before_ms?, delay_ms?, ttl_ms?, attempts?}
//!                                                        -> {status, text?, id}
//! {op: "reply", id, wait_ms?}                            -> {status, text?, body: [bin]}
//! {op: "close", id}                                      -> {status, text?}
//! {op: "status", id}                                     -> {status, text?, command: info}
//! {op: "list", state?, service?, after?, limit?}         -> {status, text?, commands, next?}
//! {op: "requeue", ids: [id] | state: "dead", service?, older_ms?, limit?, dry_run?, attempts?}
//! {op: "purge", ids: [id] | state, service?, older_ms?, limit?, dry_run?}
//!                                        both -> {status, text?, matched, done, commands}
//! info: {id, state, service, attempt, attempts_max, accepted_ms, due_ms?, expires_ms?, reason?}
//! ```
//!
//! An id is 16 bytes or 32 hexadecimal digits; statuses are those of TSP; unknown fields are
//! passed over.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::body::Body;
use super::id::CommandId;
use super::pack::{PackError, pack, unpack};
use super::target::Target;
use super::tsp::{Status, StatusCode};

mod map;

use self::map::{AnswerMap, RequestMap};

/// Most ids in one request.
pub const IDS_MAX: usize = 256;
/// Most commands in one answer, and most that one requeue or purge is about.
pub const LIMIT_MAX: u32 = 1000;
/// How many that are if the request does not say.
pub const LIMIT_DEFAULT: u32 = 100;
/// Longest wait for a reply that can be asked for.
pub const WAIT_MS_MAX: u32 = 10 * 60 * 1000;

/// A request to `titanic.command`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandRequest {
    /// Take a command in.
    Submit(Submit),
    /// Give its reply out.
    Reply {
        /// The command.
        id: CommandId,
        /// How long to wait for a reply that is not there yet.
        wait_ms: u32,
    },
    /// End a command.
    Close {
        /// The command.
        id: CommandId,
    },
    /// Tell how a command is.
    Status {
        /// The command.
        id: CommandId,
    },
    /// Tell of many.
    List(List),
    /// Try dead ones again.
    Requeue(Requeue),
    /// End many.
    Purge(Purge),
}

/// A command to be taken in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submit {
    /// Its id, if the sender chose one.
    pub id: Option<CommandId>,
    /// Whom it is meant for.
    pub target: Target,
    /// What it carries.
    pub body: Body,
    /// Not to be sent before this, in milliseconds since 1970.
    pub not_before_ms: Option<u64>,
    /// Not to be sent before so many milliseconds have passed.
    pub delay_ms: Option<u64>,
    /// When it dies by itself: so many milliseconds after it was taken in.
    pub ttl_ms: Option<u64>,
    /// Attempts that it may take.
    pub attempts: Option<u32>,
}

/// Which commands to tell of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    /// Only those in this state.
    pub state: Option<CommandState>,
    /// Only those for this service.
    pub service: Option<String>,
    /// Only those behind this id (exclusive): the `next` of the answer before.
    pub after: Option<CommandId>,
    /// How many at most, up to [`LIMIT_MAX`].
    pub limit: u32,
}

impl Default for List {
    fn default() -> Self {
        Self { state: None, service: None, after: None, limit: LIMIT_DEFAULT }
    }
}

/// Which commands a requeue or purge is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// These, at most [`IDS_MAX`].
    Ids(Vec<CommandId>),
    /// All that fit.
    Matching {
        /// In this state; for a requeue always [`CommandState::Dead`].
        state: CommandState,
        /// For this service.
        service: Option<String>,
        /// Accepted at least so many milliseconds ago.
        older_ms: u64,
    },
}

/// Try dead commands again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requeue {
    /// Which ones.
    pub which: Selection,
    /// How many at most.
    pub limit: u32,
    /// Whether only to tell what would be done.
    pub dry_run: bool,
    /// Attempts that they may take from now on.
    pub attempts: Option<u32>,
}

/// Close many commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purge {
    /// Which ones.
    pub which: Selection,
    /// How many at most.
    pub limit: u32,
    /// Whether only to tell what would be done.
    pub dry_run: bool,
}

/// Where a command is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CommandState {
    /// It waits to be sent.
    Queued,
    /// It is at a worker, as far as is known.
    Dispatched,
    /// Its reply is there.
    Replied,
    /// It is not tried any more.
    Dead,
    /// It is over.
    Closed,
}

impl CommandState {
    /// All of them, in the order of a life.
    pub const ALL: [Self; 5] =
        [Self::Queued, Self::Dispatched, Self::Replied, Self::Dead, Self::Closed];

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Dispatched => "dispatched",
            Self::Replied => "replied",
            Self::Dead => "dead",
            Self::Closed => "closed",
        }
    }
}

impl fmt::Display for CommandState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A word that is no state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a state is queued, dispatched, replied, dead or closed")]
pub struct CommandStateError;

impl FromStr for CommandState {
    type Err = CommandStateError;

    fn from_str(word: &str) -> Result<Self, CommandStateError> {
        Self::ALL.into_iter().find(|state| state.as_str() == word).ok_or(CommandStateError)
    }
}

/// How a command is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Hash)]
pub struct Info {
    /// The command.
    pub id: CommandId,
    /// Where it is in its life.
    pub state: CommandState,
    /// Whom it is meant for.
    pub service: String,
    /// Newest attempt, from 1; 0 before the first.
    pub attempt: u32,
    /// Attempts that it may take in all.
    pub attempts_max: u32,
    /// When it was taken in, in milliseconds since 1970.
    pub accepted_ms: u64,
    /// When it is to be sent, in milliseconds since 1970; only while it waits for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_ms: Option<u64>,
    /// When it dies by itself, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<u64>,
    /// Why it is dead, or why its last attempt failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// An answer of `titanic.command`; which fields are set depends on the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandAnswer {
    /// How it went.
    pub status: Status,
    /// The command that was taken in.
    pub id: Option<CommandId>,
    /// Its reply.
    pub body: Option<Body>,
    /// How it is.
    pub command: Option<Info>,
    /// How many are.
    pub commands: Vec<Info>,
    /// Where a list goes on: [`List::after`] of the next request.
    pub next: Option<CommandId>,
    /// How many commands a requeue or purge is about.
    pub matched: u32,
    /// For how many it was done.
    pub done: u32,
}

/// Why bytes are no request or no answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WireError {
    /// Not such a map.
    #[error(transparent)]
    Map(#[from] PackError),
    /// A field that this request needs.
    #[error("{op} needs the field `{field}`")]
    Missing {
        /// The request.
        op: &'static str,
        /// The field.
        field: &'static str,
    },
    /// No such request.
    #[error("{op:?} is no request: use submit, reply, close, status, list, requeue or purge")]
    Op {
        /// The word, or its front.
        op: String,
    },
    /// More than allowed.
    #[error("`{field}` is at most {max}: ask for less at a time")]
    TooMany {
        /// The field.
        field: &'static str,
        /// The limit.
        max: u32,
    },
    /// Two fields that don't go together, or a value that is not allowed there.
    #[error("{0}")]
    Contradiction(&'static str),
    /// A status that TSP does not know.
    #[error("{0} is no status: 200, 300, 400 and 500 are")]
    Status(u16),
}

impl CommandRequest {
    /// The one frame.
    ///
    /// # Errors
    /// [`WireError::TooMany`] when it asks for more than allowed.
    pub fn encode(&self) -> Result<Bytes, WireError> {
        let map = RequestMap::from(self);
        // What would be refused there is refused here.
        Self::try_from(map.clone())?;
        Ok(Bytes::from(pack(&map)?))
    }

    /// Reads the one frame.
    ///
    /// # Errors
    /// [`WireError`] says what is wrong.
    pub fn decode(frame: &[u8]) -> Result<Self, WireError> {
        Self::try_from(unpack::<RequestMap>(frame)?)
    }
}

impl CommandAnswer {
    /// An answer that says only how it went.
    #[must_use]
    pub fn new(status: Status) -> Self {
        Self {
            status,
            id: None,
            body: None,
            command: None,
            commands: Vec::new(),
            next: None,
            matched: 0,
            done: 0,
        }
    }

    /// The one frame.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let packed = pack(&AnswerMap::from(self));
        // Plain fields always have a form; an empty frame would be taken for malformed.
        Bytes::from(packed.unwrap_or_default())
    }

    /// Reads the one frame.
    ///
    /// # Errors
    /// [`WireError`] says what is wrong.
    pub fn decode(frame: &[u8]) -> Result<Self, WireError> {
        let map: AnswerMap = unpack(frame)?;
        let code = StatusCode::from_number(map.status).ok_or(WireError::Status(map.status))?;
        Ok(Self {
            status: Status { code, text: map.text },
            id: map.id,
            body: map.body,
            command: map.command,
            commands: map.commands,
            next: map.next,
            matched: map.matched,
            done: map.done,
        })
    }
}

#[cfg(test)]
mod tests;
