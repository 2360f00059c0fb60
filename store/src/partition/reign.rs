//! Who numbers the events of a partition, and by which rule they commit, while it is open.

use std::sync::PoisonError;

use super::core::Core;
use super::queue::Work;
use super::{AppendError, CommitRule, Partition, refuse};
use crate::event::{Epoch, Sequence};

impl Partition {
    /// Takes appends from now on, and numbers them under this epoch, which is no lower than that of
    /// any record of the log.
    pub fn lead(&self, epoch: Epoch) {
        let shared = self.shared();
        let mut core = shared.core.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(core) = &mut *core else { return };
        if core.appender.end().epoch > epoch {
            shared.poison.set("it was asked to lead under an epoch below that of its last record");
            return;
        }
        core.lead(epoch);
        shared.read.set_epoch(epoch);
    }

    /// Takes no appends from now on, but records of the node that leads under this epoch or an
    /// earlier one.
    ///
    /// When this returns, nobody waits for an append before it any more: those that were not taken
    /// in yet got [`AppendError::NotLeader`], those that were not committed
    /// [`AppendError::Unknown`]. Nothing of the former is written.
    pub fn follow(&self, epoch: Epoch) {
        let shared = self.shared();
        let waiting = {
            let mut core = shared.core.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(core) = &mut *core else { return };
            if shared.read.epoch() != epoch {
                shared.read.watermarks.reset_told();
            }
            core.follow(epoch);
            shared.read.set_epoch(epoch);
            shared.queue.take_submissions()
        };
        for submission in waiting {
            refuse(Work::Submission(submission), &AppendError::NotLeader);
        }
        shared.commits.give_up();
    }

    /// Whether it numbers events.
    #[must_use]
    pub fn leads(&self) -> bool {
        let core = self.shared().core.lock().unwrap_or_else(PoisonError::into_inner);
        core.as_ref().is_some_and(Core::leads)
    }

    /// Decides about commits by another rule. When this returns, nothing is committed by the former
    /// one any more.
    pub fn set_rule(&self, rule: CommitRule) {
        self.watermarks().set_rule(rule);
        self.shared().commits.settle();
    }

    /// The node that copies this one has everything up to `last` (inclusive): synced, or held in
    /// memory at level `memory`.
    pub fn raise_copied(&self, last: Sequence) {
        self.watermarks().raise_copied(last);
        self.shared().commits.settle();
    }

    /// The node that copies this one has synced everything up to `last` (inclusive). At other
    /// levels than `memory` that is what [`Partition::raise_copied`] says already.
    pub fn raise_synced(&self, last: Sequence) {
        self.watermarks().raise_synced(last);
        self.shared().commits.settle();
    }

    /// Forgets what is known of a copy: another node makes it from now on, or none.
    pub fn reset_copied(&self) {
        self.watermarks().reset_copied();
    }

    /// The node that leads says that everything up to `last` (inclusive) is committed.
    pub fn raise_told(&self, last: Sequence) {
        self.watermarks().raise_told(last);
        self.shared().commits.settle();
    }

    /// Up to where (inclusive) the log is known to be committed and with every node that must have
    /// it. Nothing up to there is ever cut; survives a restart as far as records and promise say.
    #[must_use]
    pub fn held(&self) -> Sequence {
        self.watermarks().held()
    }
}
