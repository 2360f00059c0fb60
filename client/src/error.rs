//! Errors that several operations share, and what all of them can tell.
//!
//! Each operation has an enum of its own ([`AppendError`](crate::AppendError),
//! [`ReadError`](crate::ReadError), …). Every one of them answers the same three questions:
//! which code, whether the thing may have happened, and whether trying again can help.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use broker::dialect::{Detail, ErrorBody};
use broker::error_code::ErrorCode;
use thiserror::Error;

/// A broker's or store's refusal, as it was sent.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}: {message}", code.as_str())]
pub struct Refusal {
    /// What kind of refusal.
    pub code: ErrorCode,
    /// A sentence for people.
    pub message: String,
    /// The same as data.
    pub details: BTreeMap<String, Detail>,
    /// How long to wait before trying again, if the peer said so.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), details: BTreeMap::new(), retry_after: None }
    }

    /// The refusal whose code stands in a header, and the rest in a body.
    #[must_use]
    pub fn from_body(code: ErrorCode, body: ErrorBody) -> Self {
        Self { code, message: body.message, details: body.details, retry_after: None }
    }

    /// A number among the details.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u64> {
        match self.details.get(name) {
            Some(Detail::Number(number)) => Some(*number),
            _ => None,
        }
    }

    /// A text among the details.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.details.get(name) {
            Some(Detail::Text(text)) => Some(text),
            _ => None,
        }
    }
}

/// Facts of an error for programs, by name.
pub(crate) struct Details(BTreeMap<String, Detail>);

impl Details {
    pub(crate) fn none() -> Self {
        Self(BTreeMap::new())
    }

    pub(crate) fn text(mut self, name: &str, text: impl fmt::Display) -> Self {
        self.0.insert(name.to_owned(), Detail::Text(text.to_string()));
        self
    }

    pub(crate) fn number(mut self, name: &str, number: impl TryInto<u64>) -> Self {
        self.0.insert(name.to_owned(), Detail::Number(number.try_into().unwrap_or(u64::MAX)));
        self
    }

    pub(crate) fn done(self) -> BTreeMap<String, Detail> {
        self.0
    }
}

/// Nobody answered: which brokers were tried, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unavailable {
    /// The brokers that were tried.
    pub brokers: Vec<String>,
    /// How long.
    pub waited: Duration,
}

impl Unavailable {
    pub(crate) fn details(&self) -> BTreeMap<String, Detail> {
        let waited = self.waited.as_millis();
        Details::none().text("brokers", self.brokers.join(",")).number("waited_ms", waited).done()
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "no broker answered within {:.1?} at {}: start one (starlog-broker --listen ENDPOINT) \
             or name another endpoint",
            self.waited,
            self.brokers.join(", ")
        )
    }
}

/// Why a client could not be set up. Nothing was sent.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// No broker was named.
    #[error("no broker endpoint was given: name at least one, e.g. tcp://127.0.0.1:7400")]
    NoEndpoint,
    /// An endpoint is not one.
    #[error("{endpoint:?} is no endpoint ({reason}): write it as tcp://HOST:PORT")]
    Endpoint {
        /// The text given.
        endpoint: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The operating system refused what a client needs.
    #[error("the client's thread could not be started: {0}")]
    Start(#[from] std::io::Error),
}

/// Why the topology could not be learnt or a store not be found.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LookupError {
    /// Nobody answered.
    #[error("{0}")]
    Unavailable(Unavailable),
    /// There is no such store.
    #[error(
        "STORE_NOT_FOUND: no store {store:?} is registered at the broker (known: {}): check the \
         name, or start a starlog-store that serves it",
        if known.is_empty() { "none".to_owned() } else { known.join(", ") }
    )]
    StoreNotFound {
        /// The name asked for.
        store: String,
        /// The names that the broker knows.
        known: Vec<String>,
    },
    /// The broker refused.
    #[error("{0}")]
    Refused(Refusal),
    /// The client was closed.
    #[error("the client is closed: connect a new one")]
    Closed,
}

impl LookupError {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Unavailable(_) | Self::Closed => ErrorCode::NO_WORKER,
            Self::StoreNotFound { .. } => ErrorCode::STORE_NOT_FOUND,
            Self::Refused(refusal) => refusal.code,
        }
    }

    /// What the error tells, as data.
    #[must_use]
    pub fn details(&self) -> BTreeMap<String, Detail> {
        match self {
            Self::Unavailable(unavailable) => unavailable.details(),
            Self::StoreNotFound { store, known } => {
                Details::none().text("store", store).text("known", known.join(",")).done()
            }
            Self::Refused(refusal) => refusal.details.clone(),
            Self::Closed => BTreeMap::new(),
        }
    }

    /// Whether trying again later can help.
    #[must_use]
    pub fn retry(&self) -> bool {
        match self {
            Self::Unavailable(_) => true,
            Self::StoreNotFound { .. } | Self::Closed => false,
            Self::Refused(refusal) => refusal.code.retry(),
        }
    }
}
