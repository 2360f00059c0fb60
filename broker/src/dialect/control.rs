//! Bodies of control messages: MessagePack maps with names, so that fields can be added.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::SessionId;

/// Largest control body that is looked at.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// What a peer is to the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sends requests.
    Client,
    /// Offers services.
    Worker,
}

/// Body of HELLO. The header's time is the sender's heartbeat interval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Lowest version of the dialect that the sender speaks (inclusive).
    pub version_min: u16,
    /// Highest version of the dialect that the sender speaks (inclusive).
    pub version_max: u16,
    /// What the sender wants to be.
    pub role: Role,
    /// Name and version of the program, for logs and the topology.
    pub agent: String,
}

/// Body of WELCOME. The header's time is the broker's heartbeat interval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The version to speak from now on: the highest common one.
    pub version: u16,
    /// The broker's id; a new one at each start.
    pub broker: Uuid,
    /// Largest message body in bytes that the broker takes.
    pub message_bytes_max: u64,
    /// A client session may have so many requests unanswered; beyond it the answer is BUSY.
    pub requests_max: u64,
    /// The same, in body bytes.
    pub request_bytes_max: u64,
}

/// Body of REGISTER. Service and epoch stand in the header, the first credit too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// Present if the service is a partition of a store.
    #[serde(default)]
    pub partition: Option<PartitionRegistration>,
}

/// What a member tells of itself when it registers a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionRegistration {
    /// The store's name.
    pub store: String,
    /// Number of the partition, from 0.
    pub partition: u16,
    /// How many partitions the store has.
    pub partitions: u16,
    /// Whether the member leads the partition in the header's epoch.
    pub leader: bool,
    /// The member's incarnation.
    pub incarnation: Uuid,
    /// The lineage of its log.
    pub lineage: Uuid,
    /// The durability level, for people: `memory`, `local`, `pair`.
    pub durability: String,
    /// Where the feed can be heard.
    pub feed: String,
    /// Where history can be asked for.
    pub replay: String,
}

/// Body of REFUSED and of a REPLY with a code.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// A sentence for a person, with what to do next.
    pub message: String,
    /// Facts for a program, by name.
    #[serde(default)]
    pub details: BTreeMap<String, Detail>,
}

/// One fact of an [`ErrorBody`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Detail {
    /// A number.
    Number(u64),
    /// Anything else.
    Text(String),
}

impl ErrorBody {
    /// A sentence without details.
    pub fn new(message: impl Into<String>) -> ErrorBody {
        ErrorBody { message: message.into(), details: BTreeMap::new() }
    }

    /// Adds a fact.
    #[must_use]
    pub fn with(mut self, name: &str, detail: Detail) -> ErrorBody {
        self.details.insert(name.to_owned(), detail);
        self
    }
}

/// Why a control body cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// More bytes than any control body needs.
    #[error("the control body has {0} bytes; 65536 is the most")]
    TooLarge(usize),
    /// Not the MessagePack map that belongs to the message.
    #[error("the control body is not the MessagePack map that belongs here: {0}")]
    Malformed(String),
}

/// A control body as a frame: a MessagePack map with named fields.
pub fn encode_body<T: Serialize>(body: &T) -> Bytes {
    // Writing plain structs into memory cannot fail; an empty frame would be refused by the reader.
    rmp_serde::to_vec_named(body).map(Bytes::from).unwrap_or_default()
}

/// Reads a control body. Unknown fields are passed over.
///
/// # Errors
/// Too large, or not the map that belongs there.
pub fn decode_body<T: DeserializeOwned>(frame: &[u8]) -> Result<T, BodyError> {
    if frame.len() > BODY_BYTES_MAX {
        return Err(BodyError::TooLarge(frame.len()));
    }
    rmp_serde::from_slice(frame).map_err(|error| BodyError::Malformed(error.to_string()))
}

impl From<Uuid> for SessionId {
    fn from(id: Uuid) -> SessionId {
        SessionId(*id.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_maps_with_names_and_unknown_fields_are_passed_over() {
        #[derive(Serialize)]
        struct Later {
            version_min: u16,
            version_max: u16,
            role: &'static str,
            agent: &'static str,
            invented_later: Vec<u8>,
        }
        let later = Later {
            version_min: 1,
            version_max: 9,
            role: "worker",
            agent: "future",
            invented_later: vec![1, 2],
        };
        let hello: Hello = decode_body(&encode_body(&later)).unwrap();
        assert_eq!((hello.version_max, hello.role), (9, Role::Worker));
    }

    #[test]
    fn error_details_are_numbers_or_texts() {
        let body = ErrorBody::new("the stream is at 6")
            .with("actual", Detail::Number(6))
            .with("stream", Detail::Text("order-17".to_owned()));
        assert_eq!(decode_body::<ErrorBody>(&encode_body(&body)), Ok(body));
    }

    #[test]
    fn rubbish_and_giants_are_errors() {
        assert!(matches!(decode_body::<Hello>(b"\xC1"), Err(BodyError::Malformed(_))));
        assert!(matches!(decode_body::<Hello>(b""), Err(BodyError::Malformed(_))));
        let giant = vec![0; BODY_BYTES_MAX + 1];
        assert_eq!(decode_body::<Hello>(&giant), Err(BodyError::TooLarge(giant.len())));
        // Deep nesting in an unknown field must end in an error, not in an overflowing stack.
        let mut nested = b"\x81\xA1x".to_vec();
        nested.resize(BODY_BYTES_MAX, 0x91);
        assert!(decode_body::<Hello>(&nested).is_err());
    }
}
