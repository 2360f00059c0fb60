//! The files of one partition.
//!
//! ```text
//! DIR/node                                   what this node is and which partitions it hosts
//! DIR/STORE/PARTITION/control                the partition's own id, its store and number
//! DIR/STORE/PARTITION/promise                how far the log was committed at the last close
//! DIR/STORE/PARTITION/00000000000000000001.segment    sealed: footer at its end, never changed
//! DIR/STORE/PARTITION/00000000000000262144.segment    open: zeros after its last record
//! DIR/STORE/PARTITION/spare.tmp              the next segment, being filled with zeros
//! DIR/STORE/PARTITION/torn/                  bytes that recovery cut off
//! DIR/STORE/PARTITION/parked/                records that were cut off on purpose
//! DIR/STORE/PARTITION/cut                    where to cut, while a cut is under way
//! DIR/STORE/PARTITION/index/                 derived from the segments, can be made anew
//!
//!   Appender (one)  ---->  open segment  ---->  Segments  <----  readers (many)
//!        |                                         ^
//!        +--- spare, made ahead by a background thread          recovery, once at open
//! ```
//!
//! `FORMAT.md` draws every byte.

pub(crate) mod appender;
pub(crate) mod control;
pub(crate) mod cut;
pub mod disk;
pub(crate) mod durable;
mod error;
pub(crate) mod fetch;
pub(crate) mod fetch_places;
pub(crate) mod fields;
pub(crate) mod parked;
pub(crate) mod promise;
pub(crate) mod recovery;
pub(crate) mod scan;
pub(crate) mod segment;
pub(crate) mod segments;
pub(crate) mod slots;
pub(crate) mod spare;

pub use error::{OpenError, ReadError};
