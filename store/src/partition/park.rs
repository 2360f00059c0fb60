//! Taking back what another node's history has overtaken: it is set aside, then cut off.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use thiserror::Error;

use super::core::Core;
use super::{LogReader, Partition, Shared};
use crate::event::{LogMark, Sequence};
use crate::log::appender::Place;
use crate::log::cut::cut_log;
use crate::log::fetch::fetch_one;
use crate::log::parked::{Tail, park};
use crate::log::{OpenError, ReadError};
use crate::names::StoreName;
use crate::record::decode;
use crate::slot::PartitionNumber;

/// Bytes read and written at once.
const PIECE_BYTES: usize = 1024 * 1024;

/// Records that were set aside.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parked {
    /// How many there are; 0 where the log ended with the mark already.
    pub records: u64,
    /// The first of them; 0 where there is none.
    pub first: Sequence,
    /// The last of them, inclusive; 0 where there is none.
    pub last: Sequence,
    /// The file that holds them, whole records back to back.
    pub file: Option<PathBuf>,
}

/// Why a log was not cut. Unless the sentence says so, nothing was changed and the partition goes
/// on.
#[derive(Debug, Error)]
pub enum CutError {
    /// The node does not serve it.
    #[error("partition {partition} of store {store} is not served here")]
    NotHosted {
        /// The store.
        store: StoreName,
        /// The partition.
        partition: PartitionNumber,
    },
    /// The partition numbers events.
    #[error("this node leads the partition: only a follower's log is cut")]
    Leads,
    /// The log holds other records up to there.
    #[error("the log here has another history up to sequence {sequence} than the one to keep")]
    OtherHistory {
        /// Where it was to be cut.
        sequence: Sequence,
    },
    /// An append reaches over the place.
    #[error("sequence {sequence} is not the end of an append")]
    WithinAppend {
        /// Where it was to be cut.
        sequence: Sequence,
    },
    /// What is committed everywhere would go.
    #[error(
        "the log was to end with sequence {sequence}, but all up to {held} is committed: the other \
         node lacks what it once had. Don't start both: keep this directory, and ask for help"
    )]
    BelowHeld {
        /// Where it was to be cut.
        sequence: Sequence,
        /// Up to where it is known to be committed on every node.
        held: Sequence,
    },
    /// The records to be set aside can't be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The records can't be set aside.
    #[error("what is to be cut off can't be kept: {0}. Make space, it is tried again then")]
    Parking(#[from] io::Error),
    /// The partition is closed.
    #[error("the partition is closed")]
    Closed,
    /// The cut, or opening the partition after it, failed; the next start goes on with it.
    #[error("the partition is closed, and its log could not be cut: {0}")]
    Open(#[from] OpenError),
}

impl Partition {
    /// Sets aside what stands after a mark, closes the partition, and cuts its log there. `None`
    /// where nothing stands there: the partition stays open.
    pub(crate) fn cut(&self, to: LogMark) -> Result<Option<Parked>, CutError> {
        let shared = self.shared();
        let (place, parked) = {
            let mut guard = shared.core.lock().unwrap_or_else(PoisonError::into_inner);
            let core = guard.as_ref().ok_or(CutError::Closed)?;
            check(shared, core, to)?;
            let end = core.appender.end();
            if end.last == to.sequence {
                return Ok(None);
            }
            let place = core.appender.place().clone();
            let first = to.sequence.next();
            let tail = Tail { epoch: end.epoch, first, last: end.last };
            let file = self.park(&place, tail)?;
            // Nothing is written any more from here on.
            *guard = None;
            let records = end.last.0 - to.sequence.0;
            (place, Parked { records, first, last: end.last, file: Some(file) })
        };
        self.close();
        cut_log(&place, to)?;
        Ok(Some(parked))
    }

    fn park(&self, place: &Place, tail: Tail) -> Result<PathBuf, CutError> {
        let reader = LogReader::new(Arc::clone(&self.shared().read));
        let mut next = tail.first;
        park(&*place.disk, &place.dir, tail, &mut || {
            if next > tail.last {
                return Ok(Bytes::new());
            }
            let block = reader.read(next, PIECE_BYTES)?;
            next = block.last.next();
            Ok::<_, CutError>(block.records)
        })
    }
}

/// Whether a log may be cut at a mark.
fn check(shared: &Shared, core: &Core, to: LogMark) -> Result<(), CutError> {
    let sequence = to.sequence;
    if core.leads() {
        return Err(CutError::Leads);
    }
    let held = shared.read.watermarks.held();
    if sequence < held {
        return Err(CutError::BelowHeld { sequence, held });
    }
    if sequence > core.appender.end().last {
        return Err(CutError::OtherHistory { sequence });
    }
    if sequence == Sequence::ZERO {
        let empty = to.chain == LogMark::default().chain;
        return if empty { Ok(()) } else { Err(CutError::OtherHistory { sequence }) };
    }
    let bytes = fetch_one(&shared.read.segments, sequence)?;
    let view =
        decode(&bytes).map_err(|error| ReadError::Undecodable { reason: error.to_string() })?;
    if view.chain().0 != to.chain {
        return Err(CutError::OtherHistory { sequence });
    }
    if !view.ends_append() {
        return Err(CutError::WithinAppend { sequence });
    }
    Ok(())
}
