//! How a command ends when it does not end well.

use std::collections::BTreeMap;
use std::io;

use broker::dialect::Detail;
use broker::error_code::{ErrorCode, Outcome};
use client::command::CommandError;
use client::{AppendError, ConnectError, HandOverError, LookupError, ReadError, SubscriptionError};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::cli::exit;
use crate::cli::flags::Format;

/// An error as people and scripts get it.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// The stable name of what went wrong.
    pub code: ErrorCode,
    /// A sentence that says what to do.
    pub message: String,
    /// Whether what was asked for is certainly not done.
    pub outcome: Outcome,
    /// Whether the same again can succeed.
    pub retry: bool,
    /// Numbers and names that belong to the code.
    pub details: Map<String, Value>,
}

impl Failure {
    /// A failure whose outcome is the usual one of its code.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        let (outcome, retry) = (code.outcome(), code.retry());
        Self { code, message: message.into(), outcome, retry, details: Map::new() }
    }

    /// A failure of this tool's own making: nothing was sent.
    #[must_use]
    pub fn local(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { outcome: Outcome::NotDone, retry: false, ..Self::new(code, message) }
    }

    /// Input that makes no sense.
    #[must_use]
    pub fn usage(message: impl Into<String>) -> Self {
        Self::local(ErrorCode::INVALID_ARGUMENT, message)
    }

    /// Something that the operating system refused to this tool.
    #[must_use]
    pub fn system(what: &str, error: &io::Error) -> Self {
        Self::local(ErrorCode::IO, format!("{what}: {error}"))
    }

    /// The same failure with one more detail.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }

    /// The exit code.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        exit::of(self.code)
    }

    /// The error as it stands on standard error: a sentence, or one line of JSON.
    #[must_use]
    pub fn print(&self, format: Format) -> String {
        match format {
            Format::Table => {
                let doubt = match self.outcome {
                    Outcome::NotDone => "",
                    Outcome::Unknown => " (it may have been done)",
                };
                format!("error: {}: {}{doubt}", self.code.as_str(), self.message)
            }
            Format::Json | Format::Ndjson => self.to_json(),
        }
    }

    fn to_json(&self) -> String {
        let line = ErrorLine {
            error: ErrorFields {
                code: self.code.as_str(),
                message: &self.message,
                retry: self.retry,
                outcome: match self.outcome {
                    Outcome::NotDone => "not_done",
                    Outcome::Unknown => "unknown",
                },
                details: &self.details,
            },
        };
        // Plain fields with text keys always have a JSON form.
        serde_json::to_string(&line).unwrap_or_default()
    }
}

/// An error as one line of JSON.
#[derive(Serialize)]
struct ErrorLine<'a> {
    error: ErrorFields<'a>,
}

#[derive(Serialize)]
struct ErrorFields<'a> {
    code: &'static str,
    message: &'a str,
    retry: bool,
    outcome: &'static str,
    details: &'a Map<String, Value>,
}

/// Why a command stopped early.
#[derive(Debug)]
pub enum Stop {
    /// It failed.
    Failed(Failure),
    /// It did what it should, and what it printed is told once more by this exit code.
    Found(u8),
    /// Whoever read standard output has had enough, as `head` does: no failure.
    OutputClosed,
}

impl Stop {
    /// The reason for a failed write to standard output.
    #[must_use]
    pub fn of_output(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::OutputClosed,
            _ => Self::Failed(Failure::system("can't write to standard output", error)),
        }
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// The errors of operations that may have been done all the same.
macro_rules! from_doubtful_error {
    ($($error:ty),*) => {$(
        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                let message = error.to_string();
                let (outcome, retry) = (error.outcome(), error.retry());
                Self { outcome, retry, ..Self::new(error.code(), message) }
                    .told_by(error.details())
            }
        }
    )*};
}

from_doubtful_error!(AppendError, CommandError, HandOverError);

/// The errors of operations that change nothing: whatever happened, nothing was done.
macro_rules! from_harmless_error {
    ($($error:ty),*) => {$(
        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                let message = error.to_string();
                Self { retry: error.retry(), ..Self::local(error.code(), message) }
                    .told_by(error.details())
            }
        }
    )*};
}

from_harmless_error!(LookupError, ReadError, SubscriptionError);

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        Self::local(ErrorCode::INTERNAL, error.to_string())
    }
}

impl Failure {
    /// Takes over the facts of a library error, whose sentence may start with its code: the code
    /// is printed by [`Failure::print`].
    fn told_by(mut self, details: BTreeMap<String, Detail>) -> Self {
        let code = format!("{}: ", self.code.as_str());
        if let Some(sentence) = self.message.strip_prefix(&code) {
            self.message = sentence.to_owned();
        }
        self.details = details
            .into_iter()
            .map(|(name, detail)| match detail {
                Detail::Number(number) => (name, Value::from(number)),
                Detail::Text(text) => (name, Value::from(text)),
            })
            .collect();
        self
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_conflict_in_both_forms() {
        let failure = Failure::new(ErrorCode::WRONG_EXPECTED_VERSION, "read it again")
            .with("expected", 4)
            .with("actual", 6);
        assert_eq!(failure.exit_code(), exit::CONFLICT);
        assert_eq!(failure.print(Format::Table), "error: WRONG_EXPECTED_VERSION: read it again");
        let parsed: Value = serde_json::from_str(&failure.print(Format::Ndjson)).unwrap();
        let expected = json!({"error": {
            "code": "WRONG_EXPECTED_VERSION", "message": "read it again", "retry": false,
            "outcome": "not_done", "details": {"expected": 4, "actual": 6},
        }});
        assert_eq!(parsed, expected);
    }

    #[test]
    fn doubt_is_never_hidden() {
        let failure = Failure::new(ErrorCode::TIMEOUT_UNKNOWN, "no answer");
        assert!(failure.print(Format::Table).ends_with("(it may have been done)"));
        assert!(failure.print(Format::Json).contains(r#""outcome":"unknown""#));
        assert_eq!(failure.exit_code(), exit::UNAVAILABLE);
    }

    #[test]
    fn a_closed_pipe_is_no_failure() {
        let closed = io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(matches!(Stop::of_output(&closed), Stop::OutputClosed));
        let full = io::Error::from(io::ErrorKind::StorageFull);
        assert!(matches!(Stop::of_output(&full), Stop::Failed(_)));
    }
}
