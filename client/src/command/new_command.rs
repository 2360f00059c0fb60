//! A command before it is sent.

use std::time::Duration;

use bytes::Bytes;

use super::body::Body;
use super::error::CommandError;
use super::id::CommandId;
use super::target::Target;
use super::wire::Submit;

/// A command before it is sent.
///
/// It has its id from the beginning: sending the same value again, for as long as it takes,
/// sends one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCommand {
    id: CommandId,
    service: String,
    body: Vec<Bytes>,
    not_before_ms: Option<u64>,
    delay: Option<Duration>,
    time_to_live: Option<Duration>,
    attempts: Option<u32>,
}

impl NewCommand {
    /// A command for a service, with body frames and a random id.
    #[must_use]
    pub fn new(service: impl Into<String>, body: Vec<Bytes>) -> Self {
        Self {
            id: CommandId::generate(),
            service: service.into(),
            body,
            not_before_ms: None,
            delay: None,
            time_to_live: None,
            attempts: None,
        }
    }

    /// The same command with an id of the sender's choice.
    #[must_use]
    pub fn with_id(mut self, id: CommandId) -> Self {
        self.id = id;
        self
    }

    /// The same command, to be sent to its worker only after this time.
    #[must_use]
    pub fn delayed(mut self, delay: Duration) -> Self {
        self.delay = Some(delay);
        self
    }

    /// The same command, not to be sent to its worker before a time in milliseconds since 1970.
    #[must_use]
    pub fn not_before_ms(mut self, unix_ms: u64) -> Self {
        self.not_before_ms = Some(unix_ms);
        self
    }

    /// The same command, given up if it has no reply this long after it was accepted.
    #[must_use]
    pub fn time_to_live(mut self, time: Duration) -> Self {
        self.time_to_live = Some(time);
        self
    }

    /// The same command, given up after so many attempts.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = Some(attempts);
        self
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> CommandId {
        self.id
    }

    /// The service that it is meant for.
    #[must_use]
    pub fn service(&self) -> &str {
        &self.service
    }

    /// Its body frames.
    #[must_use]
    pub fn body(&self) -> &[Bytes] {
        &self.body
    }

    /// The request that it makes.
    pub(super) fn submit(self) -> Result<Submit, CommandError> {
        let invalid =
            |error: &dyn std::error::Error| CommandError::InvalidArgument(error.to_string());
        Ok(Submit {
            id: Some(self.id),
            target: Target::new(self.service).map_err(|error| invalid(&error))?,
            body: Body::new(self.body).map_err(|error| invalid(&error))?,
            not_before_ms: self.not_before_ms,
            delay_ms: self.delay.map(milliseconds),
            ttl_ms: self.time_to_live.map(milliseconds),
            attempts: self.attempts,
        })
    }
}

/// Rounded up: a time that is not zero does not become it.
fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_reach_the_request() {
        let id = CommandId::generate();
        let command = NewCommand::new("echo", vec![Bytes::from("hi")])
            .with_id(id)
            .delayed(Duration::from_micros(1500))
            .time_to_live(Duration::from_secs(60))
            .attempts(3);
        assert_eq!((command.id(), command.service()), (id, "echo"));
        let submit = command.clone().submit().unwrap();
        assert_eq!((submit.id, submit.attempts), (Some(id), Some(3)));
        assert_eq!(
            (submit.delay_ms, submit.ttl_ms, submit.not_before_ms),
            (Some(2), Some(60_000), None)
        );
        let other = NewCommand::new("echo", vec![Bytes::from("hi")]);
        assert_ne!(other.id(), id);
        for wrong in [
            NewCommand::new("titanic.request", vec![Bytes::new()]),
            NewCommand::new("", vec![Bytes::new()]),
            NewCommand::new("echo", vec![Bytes::from(vec![0; 2 << 20])]),
        ] {
            assert!(matches!(wrong.submit(), Err(CommandError::InvalidArgument(_))));
        }
    }
}
