//! Requests and answers as frames; what a frame may be is checked before it is read.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::configuration::Configuration;
use super::message::{WitnessAnswer, WitnessRequest};
use super::record::HISTORY_MAX;

/// Largest second frame that is looked at.
pub const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;

const HEADER_BYTES: usize = 16;
const SIGNATURE: [u8; 4] = *b"SLW\x01";
/// Maps within lists within maps; nothing of ours is deeper.
const DEPTH_MAX: usize = 16;

/// A number that an answer brings back, so that its receiver knows which request it belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// Why frames are no message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// Another protocol, or another version of it.
    #[error("the first frame is not SLW version 1; use the same release on all nodes")]
    Header,
    /// A message has two frames.
    #[error("the message has {0} frames, and needs 2")]
    Frames(usize),
    /// More bytes than any message needs.
    #[error("the body has {0} bytes; 8388608 is the most")]
    TooLarge(usize),
    /// Not the MessagePack map that belongs there.
    #[error("the body is not the MessagePack map that belongs there: {0}")]
    Malformed(String),
    /// A list is too long, or parts contradict each other.
    #[error("the body's parts are beyond the limits or contradict each other")]
    Unsound,
}

/// The two frames of a request.
#[must_use]
pub fn encode_request(token: Token, request: &WitnessRequest) -> [Vec<u8>; 2] {
    encode(token, request)
}

/// The two frames of an answer.
#[must_use]
pub fn encode_answer(token: Token, answer: &WitnessAnswer) -> [Vec<u8>; 2] {
    encode(token, answer)
}

/// Reads a request.
///
/// # Errors
/// Not a sound request of this version.
pub fn decode_request<F: AsRef<[u8]>>(frames: &[F]) -> Result<(Token, WitnessRequest), CodecError> {
    let (token, request) = decode::<WitnessRequest, F>(frames)?;
    if request.is_sound() { Ok((token, request)) } else { Err(CodecError::Unsound) }
}

/// Reads an answer.
///
/// # Errors
/// Not a sound answer of this version.
pub fn decode_answer<F: AsRef<[u8]>>(frames: &[F]) -> Result<(Token, WitnessAnswer), CodecError> {
    let (token, answer) = decode::<WitnessAnswer, F>(frames)?;
    let is_sound = answer.history.len() <= HISTORY_MAX
        && answer.history.iter().chain(&answer.configuration).all(Configuration::is_sound);
    if is_sound { Ok((token, answer)) } else { Err(CodecError::Unsound) }
}

fn encode<T: Serialize>(token: Token, body: &T) -> [Vec<u8>; 2] {
    let mut header = Vec::with_capacity(HEADER_BYTES);
    header.extend_from_slice(&SIGNATURE);
    header.extend_from_slice(&[0; 4]);
    header.extend_from_slice(&token.0.to_le_bytes());
    // Writing plain structs into memory cannot fail; an empty frame would be refused by the reader.
    [header, rmp_serde::to_vec_named(body).unwrap_or_default()]
}

fn decode<T: DeserializeOwned, F: AsRef<[u8]>>(frames: &[F]) -> Result<(Token, T), CodecError> {
    let [header, body] = frames else {
        return Err(CodecError::Frames(frames.len()));
    };
    let (header, body) = (header.as_ref(), body.as_ref());
    let token = header.strip_prefix(&SIGNATURE).and_then(|rest| rest.strip_prefix(&[0; 4]));
    let token: [u8; 8] = token.and_then(|token| token.try_into().ok()).ok_or(CodecError::Header)?;
    if body.len() > BODY_BYTES_MAX {
        return Err(CodecError::TooLarge(body.len()));
    }
    let mut decoder = rmp_serde::Deserializer::from_read_ref(body);
    decoder.set_max_depth(DEPTH_MAX);
    let body =
        T::deserialize(&mut decoder).map_err(|error| CodecError::Malformed(error.to_string()))?;
    Ok((Token(u64::from_le_bytes(token)), body))
}
