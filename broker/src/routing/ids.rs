//! Names of peers and requests inside the routing table.

use std::fmt;

use bytes::Bytes;

/// A routing id: opaque bytes that libzmq gives to a connection.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId(pub Bytes);

impl fmt::Debug for PeerId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{self}")
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("peer ")?;
        self.0.iter().take(16).try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

/// A request, in the order of arrival.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct RequestId(pub u64);

/// A service, never used again for another one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ServiceKey(pub u64);
