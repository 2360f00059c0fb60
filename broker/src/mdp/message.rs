//! MDP messages as frames, strict in both directions: wrong header, wrong number of frames and
//! unknown command bytes are errors.
//!
//! ```text
//! one cell per frame, "" is an empty frame, + is one or more
//!
//!                    0.1 (RFC 7)                             0.2 (RFC 18)
//! client REQUEST     "" | MDPC01 | service | body+           MDPC02 | 01 | service | body+
//! client PARTIAL                                             MDPC02 | 02 | service | body+
//! client REPLY/FINAL "" | MDPC01 | service | body+           MDPC02 | 03 | service | body+
//! worker READY       "" | MDPW01 | 01 | service              MDPW02 | 01 | service
//! worker REQUEST     "" | MDPW01 | 02 | client | "" | body+  MDPW02 | 02 | client | "" | body+
//! worker PARTIAL                                             MDPW02 | 03 | client | "" | body+
//! worker REPLY/FINAL "" | MDPW01 | 03 | client | "" | body+  MDPW02 | 04 | client | "" | body+
//! HEARTBEAT          "" | MDPW01 | 04                        MDPW02 | 05
//! DISCONNECT         "" | MDPW01 | 05                        MDPW02 | 06
//! ```

use bytes::Bytes;

use crate::dialect::ServiceName;
use crate::net::Frames;

/// First body frame of an answer that reports an error; the second is `CODE text`.
pub const ERROR_FRAME: &[u8] = b"#starlog-error";

/// Names in this space belong to the broker (RFC 8).
pub const MMI_PREFIX: &str = "mmi.";

/// Which version of the protocol a message speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// RFC 7.
    V01,
    /// RFC 18.
    V02,
}

/// A message that a broker receives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToBroker {
    /// From a client.
    Request {
        /// The client's version.
        version: Version,
        /// The service that is asked.
        service: ServiceName,
        /// One frame or more.
        body: Frames,
    },
    /// From a worker.
    Worker {
        /// The worker's version.
        version: Version,
        /// What it says.
        command: WorkerCommand,
    },
}

/// What a worker says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkerCommand {
    /// It offers this service.
    Ready(ServiceName),
    /// A part of the answer; more follow. Version 0.2 only.
    Partial {
        /// The client frame of the request.
        client: Bytes,
        /// One frame or more.
        body: Frames,
    },
    /// The answer, or its last part.
    Final {
        /// The client frame of the request.
        client: Bytes,
        /// One frame or more.
        body: Frames,
    },
    /// It is alive.
    Heartbeat,
    /// It leaves.
    Disconnect,
}

/// What a broker says to a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToWorker {
    /// Work to do.
    Request {
        /// To be sent back with the answer; otherwise without meaning.
        client: Bytes,
        /// One frame or more.
        body: Frames,
    },
    /// The broker is alive.
    Heartbeat,
    /// The conversation is over: close the socket.
    Disconnect,
}

/// What a broker says to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToClient {
    /// The service that was asked.
    pub service: ServiceName,
    /// One frame or more.
    pub body: Frames,
    /// Whether this ends the answer. In version 0.1 it always does.
    pub last: bool,
}

/// Why frames are not an MDP message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// No header of MDP.
    #[error("the message has no MDP header")]
    Header,
    /// Too few or too many frames for this command.
    #[error("the number of frames does not fit the command")]
    FrameCount,
    /// A command byte that this version does not have.
    #[error("the command is unknown")]
    Command,
    /// The frame after the client frame is not empty.
    #[error("the client envelope does not end with an empty frame")]
    Envelope,
    /// The service name is empty, longer than 128 bytes, not UTF-8, or has control characters.
    #[error("the service name breaks a rule: 1 to 128 bytes of UTF-8, no control characters")]
    Service,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Client,
    Worker,
}

impl Version {
    fn header(self, side: Side) -> &'static [u8] {
        match (self, side) {
            (Version::V01, Side::Client) => b"MDPC01",
            (Version::V01, Side::Worker) => b"MDPW01",
            (Version::V02, Side::Client) => b"MDPC02",
            (Version::V02, Side::Worker) => b"MDPW02",
        }
    }

    /// The frames up to and including the command.
    fn start(self, side: Side, command: Option<&'static [u8]>, capacity: usize) -> Frames {
        let mut frames = Frames::with_capacity(capacity);
        if self == Version::V01 {
            frames.push(Bytes::new());
        }
        frames.push(Bytes::from_static(self.header(side)));
        frames.extend(command.map(Bytes::from_static));
        frames
    }
}

/// Frames taken off the front one by one.
struct Reader(std::vec::IntoIter<Bytes>);

impl Reader {
    fn next(&mut self) -> Result<Bytes, MessageError> {
        self.0.next().ok_or(MessageError::FrameCount)
    }

    /// The header, with the empty frame that 0.1 puts before it.
    fn header(&mut self) -> Result<(Version, Side), MessageError> {
        let mut header = self.0.next().ok_or(MessageError::Header)?;
        let version = if header.is_empty() {
            header = self.0.next().ok_or(MessageError::Header)?;
            Version::V01
        } else {
            Version::V02
        };
        for side in [Side::Client, Side::Worker] {
            if header == version.header(side) {
                return Ok((version, side));
            }
        }
        Err(MessageError::Header)
    }

    fn command(&mut self) -> Result<u8, MessageError> {
        match self.next()?.as_ref() {
            [command] => Ok(*command),
            _ => Err(MessageError::Command),
        }
    }

    fn service(&mut self) -> Result<ServiceName, MessageError> {
        let name = ServiceName::new(self.next()?).ok_or(MessageError::Service)?;
        if name.is_none() { Err(MessageError::Service) } else { Ok(name) }
    }

    fn envelope(&mut self) -> Result<Bytes, MessageError> {
        let client = self.next()?;
        if client.is_empty() || !self.next()?.is_empty() {
            return Err(MessageError::Envelope);
        }
        Ok(client)
    }

    fn body(self) -> Result<Frames, MessageError> {
        if self.0.len() == 0 { Err(MessageError::FrameCount) } else { Ok(self.0.collect()) }
    }

    fn end<T>(self, value: T) -> Result<T, MessageError> {
        if self.0.len() == 0 { Ok(value) } else { Err(MessageError::FrameCount) }
    }
}

impl ToBroker {
    /// Reads what a broker received, without the routing id.
    ///
    /// # Errors
    /// The first rule that the message breaks.
    pub fn decode(frames: Frames) -> Result<ToBroker, MessageError> {
        let mut reader = Reader(frames.into_iter());
        match reader.header()? {
            (version, Side::Client) => {
                if version == Version::V02 && reader.command()? != 1 {
                    return Err(MessageError::Command);
                }
                let service = reader.service()?;
                Ok(ToBroker::Request { version, service, body: reader.body()? })
            }
            (version, Side::Worker) => {
                let command = WorkerCommand::read(version, reader)?;
                Ok(ToBroker::Worker { version, command })
            }
        }
    }

    /// The frames of a message to a broker.
    pub fn encode(self) -> Frames {
        match self {
            ToBroker::Request { version, service, body } => {
                let command: Option<&'static [u8]> = match version {
                    Version::V01 => None,
                    Version::V02 => Some(b"\x01"),
                };
                let mut frames = version.start(Side::Client, command, 3 + body.len());
                frames.push(service.as_bytes().clone());
                frames.extend(body);
                frames
            }
            ToBroker::Worker { version, command } => command.write(version),
        }
    }
}

impl WorkerCommand {
    fn read(version: Version, mut reader: Reader) -> Result<WorkerCommand, MessageError> {
        let command = reader.command()?;
        // Version 0.2 put PARTIAL in between, so the numbers after it moved by one.
        match (version, command) {
            (_, 1) => {
                let service = reader.service()?;
                reader.end(WorkerCommand::Ready(service))
            }
            (Version::V02, 3) => {
                let client = reader.envelope()?;
                Ok(WorkerCommand::Partial { client, body: reader.body()? })
            }
            (Version::V01, 3) | (Version::V02, 4) => {
                let client = reader.envelope()?;
                Ok(WorkerCommand::Final { client, body: reader.body()? })
            }
            (Version::V01, 4) | (Version::V02, 5) => reader.end(WorkerCommand::Heartbeat),
            (Version::V01, 5) | (Version::V02, 6) => reader.end(WorkerCommand::Disconnect),
            _ => Err(MessageError::Command),
        }
    }

    fn write(self, version: Version) -> Frames {
        let byte: &'static [u8] = match (version, &self) {
            (_, WorkerCommand::Ready(_)) => b"\x01",
            // Version 0.1 has no PARTIAL; `Worker` collects the parts before it sends them.
            (_, WorkerCommand::Partial { .. }) => b"\x03",
            (Version::V01, WorkerCommand::Final { .. }) => b"\x03",
            (Version::V02, WorkerCommand::Final { .. }) => b"\x04",
            (_, WorkerCommand::Heartbeat) => heartbeat(version),
            (_, WorkerCommand::Disconnect) => disconnect(version),
        };
        let mut frames = version.start(Side::Worker, Some(byte), 8);
        match self {
            WorkerCommand::Ready(service) => frames.push(service.as_bytes().clone()),
            WorkerCommand::Partial { client, body } | WorkerCommand::Final { client, body } => {
                frames.push(client);
                frames.push(Bytes::new());
                frames.extend(body);
            }
            WorkerCommand::Heartbeat | WorkerCommand::Disconnect => {}
        }
        frames
    }
}

fn heartbeat(version: Version) -> &'static [u8] {
    match version {
        Version::V01 => b"\x04",
        Version::V02 => b"\x05",
    }
}

fn disconnect(version: Version) -> &'static [u8] {
    match version {
        Version::V01 => b"\x05",
        Version::V02 => b"\x06",
    }
}

impl ToWorker {
    /// Reads what a worker received.
    ///
    /// # Errors
    /// The first rule that the message breaks, also when it is in another version.
    pub fn decode(version: Version, frames: Frames) -> Result<ToWorker, MessageError> {
        let mut reader = Reader(frames.into_iter());
        if reader.header()? != (version, Side::Worker) {
            return Err(MessageError::Header);
        }
        match (version, reader.command()?) {
            (_, 2) => {
                let client = reader.envelope()?;
                Ok(ToWorker::Request { client, body: reader.body()? })
            }
            (Version::V01, 4) | (Version::V02, 5) => reader.end(ToWorker::Heartbeat),
            (Version::V01, 5) | (Version::V02, 6) => reader.end(ToWorker::Disconnect),
            _ => Err(MessageError::Command),
        }
    }

    /// The frames of a message to a worker of this version.
    pub fn encode(self, version: Version) -> Frames {
        match self {
            ToWorker::Request { client, body } => {
                let mut frames = version.start(Side::Worker, Some(b"\x02"), 5 + body.len());
                frames.push(client);
                frames.push(Bytes::new());
                frames.extend(body);
                frames
            }
            ToWorker::Heartbeat => version.start(Side::Worker, Some(heartbeat(version)), 3),
            ToWorker::Disconnect => version.start(Side::Worker, Some(disconnect(version)), 3),
        }
    }
}

impl ToClient {
    /// Reads what a client received.
    ///
    /// # Errors
    /// The first rule that the message breaks, also when it is in another version.
    pub fn decode(version: Version, frames: Frames) -> Result<ToClient, MessageError> {
        let mut reader = Reader(frames.into_iter());
        if reader.header()? != (version, Side::Client) {
            return Err(MessageError::Header);
        }
        let last = match version {
            Version::V01 => true,
            Version::V02 => match reader.command()? {
                2 => false,
                3 => true,
                _ => return Err(MessageError::Command),
            },
        };
        let service = reader.service()?;
        Ok(ToClient { service, body: reader.body()?, last })
    }

    /// The frames of a message to a client of this version. Version 0.1 knows no parts.
    pub fn encode(self, version: Version) -> Frames {
        let command: Option<&'static [u8]> = match (version, self.last) {
            (Version::V01, _) => None,
            (Version::V02, false) => Some(b"\x02"),
            (Version::V02, true) => Some(b"\x03"),
        };
        let mut frames = version.start(Side::Client, command, 3 + self.body.len());
        frames.push(self.service.as_bytes().clone());
        frames.extend(self.body);
        frames
    }
}

#[cfg(test)]
mod tests;
