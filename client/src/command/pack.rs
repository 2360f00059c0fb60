//! MessagePack maps with named fields, read with a bound on their nesting.

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

/// Deepest nesting that is followed, so that a peer's brackets can't exhaust our stack.
const DEPTH_MAX: usize = 24;

/// Why bytes are not the MessagePack map that belongs there, or a value has none.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the MessagePack map is malformed ({reason}): see titanic/PROTOCOL.md for its fields")]
pub struct PackError {
    /// What the codec says.
    pub reason: String,
}

impl PackError {
    pub(super) fn new(reason: impl ToString) -> Self {
        Self { reason: reason.to_string() }
    }
}

pub(super) fn pack<T: Serialize>(value: &T) -> Result<Vec<u8>, PackError> {
    rmp_serde::to_vec_named(value).map_err(PackError::new)
}

/// Reads the value at the front of `bytes`; what follows it is ignored, as unknown fields are.
pub(super) fn unpack<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, PackError> {
    let mut decoder = rmp_serde::Deserializer::from_read_ref(bytes);
    decoder.set_max_depth(DEPTH_MAX);
    T::deserialize(&mut decoder).map_err(PackError::new)
}
