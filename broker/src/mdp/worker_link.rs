//! A worker's conversation with a broker, without a socket.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Version;
use super::message::{ToBroker, ToWorker, WorkerCommand};
use crate::dialect::ServiceName;
use crate::liveness::{Liveness, Pulse};
use crate::net::Frames;

/// What the machine has the loop do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// Send on the socket.
    Send(Frames),
    /// Give this request to the caller.
    Request { client: Bytes, body: Frames },
    /// Close the socket; at or after `at` connect a new one and call `open`.
    Reopen { at: Instant },
}

/// READY first, heartbeats both ways, a new socket after DISCONNECT or silence.
#[derive(Debug)]
pub(super) struct Link {
    version: Version,
    service: ServiceName,
    heartbeat: Duration,
    patience: Duration,
    reconnect: Duration,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    broker: Liveness,
    pulse: Pulse,
}

/// The agreed times.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub heartbeat: Duration,
    pub patience: Duration,
    pub reconnect: Duration,
}

impl Link {
    pub(super) fn new(version: Version, service: ServiceName, times: Times) -> Link {
        let Times { heartbeat, patience, reconnect } = times;
        Link { version, service, heartbeat, patience, reconnect, open: None }
    }

    /// A new socket is connected: READY goes first.
    pub(super) fn open(&mut self, now: Instant) -> Frames {
        self.open = Some(Open {
            broker: Liveness::new(now, self.patience),
            pulse: Pulse::new(now, self.heartbeat),
        });
        self.encode(WorkerCommand::Ready(self.service.clone()))
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.open.as_ref().map(|open| open.broker.deadline().min(open.pulse.deadline()))
    }

    /// The broker said something. What cannot be understood is dropped.
    pub(super) fn receive(&mut self, now: Instant, frames: Frames) -> Option<Output> {
        let message = ToWorker::decode(self.version, frames).ok()?;
        let open = self.open.as_mut()?;
        open.broker.heard(now);
        match message {
            ToWorker::Request { client, body } => Some(Output::Request { client, body }),
            ToWorker::Heartbeat => None,
            ToWorker::Disconnect => Some(self.reopen(now)),
        }
    }

    /// Time has gone by.
    pub(super) fn tick(&mut self, now: Instant) -> Option<Output> {
        let open = self.open.as_mut()?;
        if open.broker.is_expired(now) {
            return Some(self.reopen(now));
        }
        if open.pulse.is_due(now) {
            open.pulse.sent(now);
            return Some(Output::Send(self.encode(WorkerCommand::Heartbeat)));
        }
        None
    }

    /// An answer, which counts as a heartbeat; nothing if the conversation is over.
    pub(super) fn say(&mut self, now: Instant, command: WorkerCommand) -> Option<Frames> {
        self.open.as_mut()?.pulse.sent(now);
        Some(self.encode(command))
    }

    fn reopen(&mut self, now: Instant) -> Output {
        self.open = None;
        Output::Reopen { at: now + self.reconnect }
    }

    fn encode(&self, command: WorkerCommand) -> Frames {
        ToBroker::Worker { version: self.version, command }.encode()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[allow(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
    fn link() -> (Link, Instant) {
        let times = Times { heartbeat: SECOND, patience: 4 * SECOND, reconnect: 2 * SECOND };
        let service = ServiceName::new("echo").unwrap();
        (Link::new(Version::V02, service, times), Instant::now())
    }

    fn encode(command: WorkerCommand) -> Frames {
        ToBroker::Worker { version: Version::V02, command }.encode()
    }

    #[test]
    fn ready_first_then_heartbeats_until_the_broker_is_silent_for_too_long() {
        let (mut link, start) = link();
        assert_eq!(link.tick(start), None);
        assert_eq!(link.deadline(), None);
        let ready = WorkerCommand::Ready(ServiceName::new("echo").unwrap());
        assert_eq!(link.open(start), encode(ready));
        assert_eq!(link.tick(start), None);
        for second in 1..4 {
            let now = start + second * SECOND;
            assert_eq!(link.deadline(), Some(now));
            assert_eq!(link.tick(now), Some(Output::Send(encode(WorkerCommand::Heartbeat))));
        }
        let end = start + 4 * SECOND;
        assert_eq!(link.tick(end), Some(Output::Reopen { at: end + 2 * SECOND }));
        assert_eq!(link.say(end, WorkerCommand::Heartbeat), None, "nothing more on this socket");
    }

    #[test]
    fn any_word_of_the_broker_keeps_it_alive_and_disconnect_ends_it() {
        let (mut link, start) = link();
        link.open(start);
        let now = start + 3 * SECOND;
        assert_eq!(link.receive(now, ToWorker::Heartbeat.encode(Version::V02)), None);
        assert!(matches!(link.tick(start + 5 * SECOND), Some(Output::Send(_))));
        let body = vec![Bytes::from_static(b"b")];
        let client = Bytes::from_static(b"c");
        let request = ToWorker::Request { client: client.clone(), body: body.clone() };
        assert_eq!(
            link.receive(now, request.encode(Version::V02)),
            Some(Output::Request { client, body })
        );
        assert_eq!(link.receive(now, vec![Bytes::from_static(b"rubbish")]), None);
        let disconnect = ToWorker::Disconnect.encode(Version::V02);
        assert_eq!(link.receive(now, disconnect), Some(Output::Reopen { at: now + 2 * SECOND }));
        assert_eq!(link.receive(now, ToWorker::Heartbeat.encode(Version::V02)), None);
    }
}
