//! MessagePack maps with named fields.

use serde::{Deserialize, Serialize};

use super::WireError;

/// Deepest nesting that is followed, so that a peer's brackets can't exhaust our stack.
const DEPTH_MAX: usize = 24;

pub(super) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, WireError> {
    rmp_serde::to_vec_named(value).map_err(|error| malformed(&error))
}

/// Reads the value at the front of `body`, from which text and binary fields may borrow; what
/// follows it is ignored, as unknown fields are.
pub(super) fn decode<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, WireError> {
    let mut decoder = rmp_serde::Deserializer::from_read_ref(body);
    decoder.set_max_depth(DEPTH_MAX);
    T::deserialize(&mut decoder).map_err(|error| malformed(&error))
}

fn malformed(error: &dyn std::error::Error) -> WireError {
    WireError::MessagePack { reason: error.to_string() }
}
