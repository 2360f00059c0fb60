//! Whether what the records say of those before them counts as evidence after a crash.
//!
//! A record says up to where the log was committed when it was written. On the node that numbered
//! it, all of that was synced by then, so a log that ends below it is damaged. A node that copies
//! a longer part of the log writes both at once: after a power loss the later one may be there
//! without the earlier ones, and that is no damage. So it notes in the promise file that records
//! don't count, before the first such write, and takes the note back once all of them are synced.

use super::core::Core;
use super::replicate::ReplicateError;
use crate::event::Sequence;
use crate::log::durable::is_full;

/// What the promise file of a partition says of its records.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Evidence {
    /// Up to here (inclusive) records may have come to disk before those that they speak of.
    /// `None`: what the records say counts.
    pub(crate) doubtful: Option<Sequence>,
}

impl Core {
    /// Before records up to `last` are written that speak of those up to `committed_up_to`: notes
    /// that they don't count, if some of these are not synced yet.
    pub(crate) fn weigh_evidence(
        &mut self,
        committed_up_to: Sequence,
        last: Sequence,
    ) -> Result<(), ReplicateError> {
        if committed_up_to <= self.parts.watermarks.durable() {
            self.restore_evidence();
        } else if self.evidence.doubtful.is_none()
            && let Err(error) = self.promise(false)
        {
            if is_full(&error) {
                return Err(ReplicateError::DiskFull);
            }
            self.parts.poison.set(&format!("the promise can't be written: {error}"));
            return Err(ReplicateError::Poisoned);
        } else {
            self.evidence.doubtful = Some(last);
        }
        Ok(())
    }

    /// Takes the note back if all records that it was about are synced.
    pub(crate) fn restore_evidence(&mut self) {
        let Some(last) = self.evidence.doubtful else { return };
        if last > self.parts.watermarks.durable() {
            return;
        }
        match self.promise(true) {
            Ok(()) => self.evidence.doubtful = None,
            // Recovery knows less then and is still right.
            Err(error) => log::warn!("the promise can't be written: {error}"),
        }
    }

    /// Leaves a promise of what is committed; at closing, after the last sync.
    pub(crate) fn promise(&self, records_count: bool) -> std::io::Result<()> {
        self.appender.promise(self.parts.watermarks.everywhere(), records_count)
    }
}
