//! The fixed header that starts every message of the dialect.

use std::borrow::Borrow;
use std::fmt;

use bytes::Bytes;

use crate::error_code::ErrorCode;

/// First bytes of every message of the dialect; also what tells it from MDP.
pub const MAGIC: &[u8; 3] = b"SLG";

/// Length of the fixed part; the service name follows.
pub const HEADER_BYTES: usize = 72;

const VERSION: u8 = 1;

const _: () = assert!(HEADER_BYTES == 68 + 2 + 2, "the reserved field ends the fixed part");

/// Bits of [`Header::flags`].
pub mod flags {
    /// The broker never delivers this request a second time.
    pub const NO_RESEND: u8 = 1;
    /// The body came from an MDP client: the stream name, then one MessagePack map. The number of
    /// such a request only identifies it; it does not order it.
    pub const PLAIN: u8 = 2;
    /// Further REPLY messages follow for the same request.
    pub const MORE: u8 = 4;
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Peer → broker, first on a connection; body [`Hello`](super::Hello).
    Hello,
    /// Broker → peer, the answer to HELLO; body [`Welcome`](super::Welcome).
    Welcome,
    /// Both ways: I am alive.
    Heartbeat,
    /// Both ways: I am leaving on purpose.
    Goodbye,
    /// Broker → peer: no; body [`ErrorBody`](super::ErrorBody). With a service it concerns that
    /// registration, without one the whole conversation.
    Refused,
    /// Client → broker → worker.
    Request,
    /// Worker → broker → client.
    Reply,
    /// Worker → broker: I offer this service; body [`Registration`](super::Registration).
    Register,
    /// Worker → broker: I no longer offer it.
    Unregister,
    /// Worker → broker: you may send more.
    Credit,
    /// Broker → member that does not lead: work waits for a partition without a leader.
    Vote,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Kind> {
        Some(match byte {
            1 => Kind::Hello,
            2 => Kind::Welcome,
            3 => Kind::Heartbeat,
            4 => Kind::Goodbye,
            5 => Kind::Refused,
            6 => Kind::Request,
            7 => Kind::Reply,
            8 => Kind::Register,
            9 => Kind::Unregister,
            10 => Kind::Credit,
            11 => Kind::Vote,
            _ => return None,
        })
    }

    fn byte(self) -> u8 {
        match self {
            Kind::Hello => 1,
            Kind::Welcome => 2,
            Kind::Heartbeat => 3,
            Kind::Goodbye => 4,
            Kind::Refused => 5,
            Kind::Request => 6,
            Kind::Reply => 7,
            Kind::Register => 8,
            Kind::Unregister => 9,
            Kind::Credit => 10,
            Kind::Vote => 11,
        }
    }
}

/// A conversation's random id. Whoever knows it can take the conversation over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub [u8; 16]);

impl SessionId {
    /// A fresh one. For loops only: randomness is an input of a machine.
    pub fn random() -> SessionId {
        SessionId(*uuid::Uuid::new_v4().as_bytes())
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        uuid::Uuid::from_bytes(self.0).simple().fmt(formatter)
    }
}

/// The name of a service: up to 128 bytes of UTF-8 without control characters, or empty where a
/// message concerns no service. Cloning copies no text.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceName(Bytes);

impl ServiceName {
    /// Longest name in bytes.
    pub const BYTES_MAX: usize = 128;

    /// No service.
    pub const NONE: ServiceName = ServiceName(Bytes::new());

    /// A name from a frame or a text, if it keeps the rules; an empty one is [`ServiceName::NONE`].
    pub fn new(name: impl Into<Bytes>) -> Option<ServiceName> {
        let name: Bytes = name.into();
        let text = str::from_utf8(&name).ok()?;
        let good = name.len() <= Self::BYTES_MAX && !text.chars().any(char::is_control);
        good.then_some(ServiceName(name))
    }

    /// The service of one partition, for example `orders/3`.
    pub fn partition(store: &str, partition: u16) -> Option<ServiceName> {
        ServiceName::new(format!("{store}/{partition}"))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        // Checked when the name was made, so the default never shows.
        str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The bytes, as they stand in a frame.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// Whether this is [`ServiceName::NONE`].
    pub fn is_none(&self) -> bool {
        self.0.is_empty()
    }
}

impl Borrow<[u8]> for ServiceName {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl fmt::Debug for ServiceName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", self.as_str())
    }
}

/// First frame of every message of the dialect. Integers are little-endian.
///
/// ```text
///  off size
///    0   3  "SLG"                     3  1  version (1)
///    4   1  kind                      5  1  flags
///    6   2  code, 0 = no error
///    8  16  session                  24  8  number
///   32   8  lowest                   40  8  epoch
///   48   8  credit in messages       56  8  credit in bytes
///   64   4  time in milliseconds     68  2  length of the service name
///   70   2  reserved, zero           72  …  service name
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the message is.
    pub kind: Kind,
    /// Bits of [`flags`]; unknown bits are passed over.
    pub flags: u8,
    /// The error that a REPLY or REFUSED carries.
    pub code: Option<ErrorCode>,
    /// REQUEST and REPLY: the client's session. Otherwise the session of the peer that is not the
    /// broker.
    pub session: SessionId,
    /// Number of the request within session and service, from 1.
    pub number: u64,
    /// Lowest number of this session and service that the client still waits for (inclusive).
    pub lowest: u64,
    /// REGISTER: the epoch in which the worker leads or follows. REPLY: the epoch that answered.
    pub epoch: u64,
    /// Cumulative: up to so many requests of this service may be sent in this worker session.
    pub credit_messages: u64,
    /// Cumulative: while fewer body bytes than this were sent, the next request may be sent.
    pub credit_bytes: u64,
    /// REQUEST: milliseconds left until the deadline. Error REPLY: retry after. HELLO and WELCOME:
    /// the sender's heartbeat interval.
    pub time_ms: u32,
    /// The service, or none.
    pub service: ServiceName,
}

/// Why a frame is not a header.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Not a message of the dialect at all.
    #[error("the frame does not start with SLG")]
    Magic,
    /// A version that this build does not speak.
    #[error("header version {0} is not supported: this build speaks version 1")]
    Version(u8),
    /// The frame ends before the header does, or goes on after it.
    #[error("the header has {0} bytes, which does not fit its service name")]
    Length(usize),
    /// A kind that this version does not know.
    #[error("kind {0} is unknown")]
    Kind(u8),
    /// A code that this version does not know.
    #[error("error code {0} is unknown")]
    Code(u16),
    /// The service name is too long, not UTF-8, or has control characters.
    #[error("the service name breaks a rule: up to 128 bytes of UTF-8, no control characters")]
    Service,
    /// The reserved bytes are not zero.
    #[error("reserved bytes are not zero")]
    Reserved,
}

impl Header {
    /// A header of this kind with everything else zero or empty.
    pub fn new(kind: Kind, session: SessionId) -> Header {
        Header {
            kind,
            flags: 0,
            code: None,
            session,
            number: 0,
            lowest: 0,
            epoch: 0,
            credit_messages: 0,
            credit_bytes: 0,
            time_ms: 0,
            service: ServiceName::NONE,
        }
    }

    /// Whether a bit of [`flags`] is set.
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The bytes of the frame.
    pub fn encode(&self) -> Vec<u8> {
        let name = self.service.as_bytes();
        let mut bytes = Vec::with_capacity(HEADER_BYTES + name.len());
        bytes.extend_from_slice(MAGIC);
        bytes.push(VERSION);
        bytes.push(self.kind.byte());
        bytes.push(self.flags);
        bytes.extend_from_slice(&self.code.map_or(0, ErrorCode::number).to_le_bytes());
        bytes.extend_from_slice(&self.session.0);
        for number in
            [self.number, self.lowest, self.epoch, self.credit_messages, self.credit_bytes]
        {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&self.time_ms.to_le_bytes());
        let length = u16::try_from(name.len()).unwrap_or_default();
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend_from_slice(name);
        bytes
    }

    /// Reads a frame. The service name stays where it is: nothing is copied.
    ///
    /// # Errors
    /// The first rule that the frame breaks.
    pub fn decode(frame: &Bytes) -> Result<Header, HeaderError> {
        if !frame.starts_with(MAGIC) {
            return Err(HeaderError::Magic);
        }
        let mut fields = Fields { rest: frame.get(MAGIC.len()..).unwrap_or_default() };
        let length = || HeaderError::Length(frame.len());
        let version = fields.take::<1>().ok_or_else(length)?[0];
        if version != VERSION {
            return Err(HeaderError::Version(version));
        }
        if frame.len() < HEADER_BYTES {
            return Err(length());
        }
        let [kind, flags] = fields.take().ok_or_else(length)?;
        let code = u16::from_le_bytes(fields.take().ok_or_else(length)?);
        let session = SessionId(fields.take().ok_or_else(length)?);
        let mut number = || fields.take().map(u64::from_le_bytes).ok_or_else(length);
        let (request, lowest, epoch) = (number()?, number()?, number()?);
        let (credit_messages, credit_bytes) = (number()?, number()?);
        let time_ms = u32::from_le_bytes(fields.take().ok_or_else(length)?);
        let name_bytes = usize::from(u16::from_le_bytes(fields.take().ok_or_else(length)?));
        if fields.take() != Some([0, 0]) {
            return Err(HeaderError::Reserved);
        }
        if frame.len() != HEADER_BYTES + name_bytes {
            return Err(length());
        }
        let code = match code {
            0 => None,
            number => Some(ErrorCode::from_number(number).ok_or(HeaderError::Code(number))?),
        };
        Ok(Header {
            kind: Kind::from_byte(kind).ok_or(HeaderError::Kind(kind))?,
            flags,
            code,
            session,
            number: request,
            lowest,
            epoch,
            credit_messages,
            credit_bytes,
            time_ms,
            service: ServiceName::new(frame.slice(HEADER_BYTES..)).ok_or(HeaderError::Service)?,
        })
    }
}

/// Cuts fixed fields off the front.
struct Fields<'a> {
    rest: &'a [u8],
}

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Header {
        Header {
            kind: Kind::Request,
            flags: flags::NO_RESEND,
            code: Some(ErrorCode::BUSY),
            session: SessionId([9; 16]),
            number: 1,
            lowest: 2,
            epoch: 3,
            credit_messages: 4,
            credit_bytes: 5,
            time_ms: 6,
            service: ServiceName::partition("orders", 7).unwrap(),
        }
    }

    #[test]
    fn every_field_stands_where_the_drawing_says() {
        let bytes = sample().encode();
        assert_eq!(bytes.len(), 72 + 8);
        assert_eq!(&bytes[..8], &[b'S', b'L', b'G', 1, 6, 1, 11, 0]);
        assert_eq!(&bytes[8..24], &[9; 16]);
        for (offset, value) in [(24, 1), (32, 2), (40, 3), (48, 4), (56, 5), (64, 6)] {
            assert_eq!(bytes[offset], value, "offset {offset}");
        }
        assert_eq!(&bytes[68..72], &[8, 0, 0, 0]);
        assert_eq!(&bytes[72..], b"orders/7");
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        for byte in 1..=11 {
            let kind = Kind::from_byte(byte).unwrap();
            assert_eq!(kind.byte(), byte);
            let header = Header { kind, ..sample() };
            assert_eq!(Header::decode(&header.encode().into()), Ok(header));
        }
    }

    #[test]
    fn every_broken_rule_has_its_error() {
        let broken = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = sample().encode();
            change(&mut bytes);
            Header::decode(&bytes.into()).unwrap_err()
        };
        assert_eq!(broken(&|bytes| bytes[0] = b'X'), HeaderError::Magic);
        assert_eq!(broken(&|bytes| bytes.clear()), HeaderError::Magic);
        assert_eq!(broken(&|bytes| bytes.truncate(3)), HeaderError::Length(3));
        assert_eq!(broken(&|bytes| bytes[3] = 2), HeaderError::Version(2));
        assert_eq!(broken(&|bytes| bytes.truncate(71)), HeaderError::Length(71));
        assert_eq!(broken(&|bytes| bytes.truncate(79)), HeaderError::Length(79));
        assert_eq!(broken(&|bytes| bytes.push(b'x')), HeaderError::Length(81));
        assert_eq!(broken(&|bytes| bytes[4] = 0), HeaderError::Kind(0));
        assert_eq!(broken(&|bytes| bytes[4] = 12), HeaderError::Kind(12));
        assert_eq!(broken(&|bytes| bytes[6] = 99), HeaderError::Code(99));
        assert_eq!(broken(&|bytes| bytes[70] = 1), HeaderError::Reserved);
        assert_eq!(broken(&|bytes| bytes[72] = 0xFF), HeaderError::Service);
        assert_eq!(broken(&|bytes| bytes[72] = b'\n'), HeaderError::Service);
        let long = |bytes: &mut Vec<u8>| {
            bytes[68] = 129;
            bytes.resize(72 + 129, b'x');
        };
        assert_eq!(broken(&long), HeaderError::Service);
    }
}
