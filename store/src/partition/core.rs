//! One round of appending: judge, encode, write. Whoever holds the core is the writer.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::append::{
    Allowed, Append, AppendError, Durability, Mode, Origin, Receipt, SignatureCheck, Submission,
};
use super::background::Background;
use super::batcher::{Batcher, Stamp, Verdict};
use super::commits::{Needs, Outcome, PendingAnswer, SyncTarget};
use super::evidence::Evidence;
use super::index_work::IndexWork;
use super::poison::Poison;
use super::reader::ReadSide;
use super::watermarks::Watermarks;
use crate::event::Epoch;
use crate::log::appender::{Appender, LogEnd, RollError};
use crate::log::segment::append_bytes_max;
use crate::log::spare::SpareShelf;
use crate::slot::PartitionNumber;

/// A spare is made once a segment is so full: one part in this many.
const SPARE_AT_PART: u32 = 4;

/// What one partition needs for appending; owned by one thread at a time.
pub(crate) struct Core {
    pub(crate) batcher: Batcher,
    pub(crate) appender: Appender,
    pub(crate) parts: Parts,
    pub(crate) reign: Reign,
    pub(crate) evidence: Evidence,
}

/// Who numbers events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reign {
    /// This node does.
    pub(crate) leads: bool,
    /// Under this epoch, or another node does under one up to this.
    pub(crate) epoch: Epoch,
}

/// What the core shares with others.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) number: PartitionNumber,
    pub(crate) partitions: u16,
    pub(crate) level: Durability,
    pub(crate) watermarks: Arc<Watermarks>,
    pub(crate) index: Arc<IndexWork>,
    pub(crate) read: Arc<ReadSide>,
    pub(crate) shelf: Arc<SpareShelf>,
    pub(crate) preparer: Arc<Background>,
    pub(crate) poison: Arc<Poison>,
}

impl Core {
    /// Takes in submissions and writes what is new; the answers wait in the result.
    pub(crate) fn round(&mut self, submissions: Vec<Submission>) -> Vec<PendingAnswer> {
        let mut appends = Vec::with_capacity(submissions.len());
        let mut answers = Vec::with_capacity(submissions.len());
        for submission in submissions {
            let Submission { appends: asked, mode, origin, signatures, answer } = submission;
            answers.push(PendingAnswer::new(asked.len(), answer));
            appends.push((asked, Terms { mode, origin, signatures }));
        }
        if !self.reign.leads {
            answers.into_iter().for_each(|answer| answer.refuse_all(&AppendError::NotLeader));
            return Vec::new();
        }
        self.restore_evidence();
        let begun = self.batcher.begin(appends.iter().flat_map(|(appends, _)| appends));
        let stamp = self.stamp();
        for ((appends, terms), answer) in appends.iter().zip(&mut answers) {
            for append in appends {
                answer.push(match &begun {
                    Ok(()) => self.decide(append, *terms, stamp),
                    Err(error) => Outcome::refused(error.clone()),
                });
            }
        }
        self.flush();
        self.prepare_spare();
        answers
    }

    /// What is to be synced so that everything written is durable.
    pub(crate) fn sync_target(&self) -> SyncTarget {
        let segment = Arc::clone(self.appender.open_segment());
        SyncTarget { segment, last: self.appender.end().last }
    }

    #[expect(clippy::disallowed_methods, reason = "a loop reads the clock")]
    fn stamp(&self) -> Stamp {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Stamp {
            now_micros: u64::try_from(now.as_micros()).unwrap_or_default(),
            committed_up_to: self.parts.watermarks.everywhere(),
        }
    }

    fn decide(&mut self, append: &Append, terms: Terms, stamp: Stamp) -> Outcome {
        if self.parts.poison.is_set() {
            return Outcome::refused(AppendError::Poisoned);
        }
        if let Err(error) = self.check(append, terms) {
            return Outcome::refused(error);
        }
        match self.batcher.judge(append) {
            Verdict::Known(receipt) => self.done(append, receipt),
            Verdict::Refused(_) | Verdict::New(_) if terms.mode == Mode::LookUp => {
                Outcome::refused(AppendError::Unknown)
            }
            Verdict::Refused(error @ AppendError::LogUnreadable { .. }) => Outcome::refused(error),
            Verdict::Refused(error) => {
                // It rests on the newest record of some stream or id; waiting for all that was
                // written before is never wrong, and costs one sync at most.
                let committed = self.batcher.end().last;
                Outcome { result: Err(error), needs: Needs { committed, ..Needs::default() } }
            }
            Verdict::New(before) => match self.make_room(append) {
                Ok(()) => {
                    let receipt = self.batcher.encode(append, before, stamp);
                    self.done(append, receipt)
                }
                Err(error) => Outcome::refused(error),
            },
        }
    }

    fn check(&self, append: &Append, terms: Terms) -> Result<(), AppendError> {
        append.check_shape(&Allowed {
            partition: self.parts.number,
            partitions: self.parts.partitions,
            bytes_max: self.append_bytes_max(),
            origin: terms.origin,
        })?;
        match terms.signatures {
            SignatureCheck::Due => append.check_signatures(),
            SignatureCheck::Done => Ok(()),
        }
    }

    /// Most record bytes of one append. It must fit the open segment or, if the setting has
    /// changed, the next one.
    pub(crate) fn append_bytes_max(&self) -> usize {
        let open = self.appender.open_segment().header.segment_bytes;
        let segment_bytes = open.min(self.parts.shelf.segment_bytes());
        usize::try_from(append_bytes_max(segment_bytes)).unwrap_or_default()
    }

    /// An append that is in the log, to be acknowledged at the level asked for.
    fn done(&self, append: &Append, receipt: Receipt) -> Outcome {
        let level = self.parts.level;
        let durability = append.durability.unwrap_or(level).max(level);
        let mut needs = Needs { committed: receipt.last, ..Needs::default() };
        match durability {
            // To be committed says as much or more.
            same if same == level => {}
            Durability::Memory => {}
            Durability::Local => needs.durable = receipt.last,
            Durability::Pair => needs.everywhere = receipt.last,
        }
        Outcome { result: Ok(Receipt { durability, ..receipt }), needs }
    }

    /// Makes sure that an append fits the open segment together with what is buffered.
    fn make_room(&mut self, append: &Append) -> Result<(), AppendError> {
        let (count, bytes) = self.batcher.buffered();
        let (count, bytes) = (count + append.event_count(), bytes + append.record_bytes());
        if self.appender.fits(count, bytes) {
            return Ok(());
        }
        self.flush();
        self.roll()
    }

    /// Starts the next segment; everything encoded is written.
    pub(crate) fn roll(&mut self) -> Result<(), AppendError> {
        if self.parts.poison.is_set() {
            return Err(AppendError::Poisoned);
        }
        if !self.parts.index.wait_for_room() {
            return Err(AppendError::Busy);
        }
        self.request_spare();
        match self.appender.roll(self.reign.epoch) {
            Ok(sealed) => {
                self.parts.watermarks.raise_durable(self.appender.end().last);
                self.parts.index.sealed(&sealed);
                Ok(())
            }
            Err(RollError::Full) => Err(AppendError::DiskFull),
            Err(RollError::Io(error)) => {
                self.parts.poison.set(&format!("starting a segment failed: {error}"));
                Err(AppendError::Poisoned)
            }
        }
    }

    /// Writes the buffer. After a failure nothing in it will ever commit.
    fn flush(&mut self) {
        if self.batcher.buffered().0 == 0 || self.parts.poison.is_set() {
            return;
        }
        let segment = self.appender.open_segment();
        let (first, offset) = (segment.header.first, segment.end());
        if let Err(error) = self.appender.write(&self.batcher.write()) {
            let path = self.appender.open_segment().path.display();
            self.parts.poison.set(&format!("write to {path} failed: {error}"));
            return;
        }
        self.batcher.written(first, offset);
        self.show_end();
    }

    /// Tells everybody how far the log is written now.
    fn show_end(&self) {
        let end = self.appender.end();
        self.parts.read.set_end(end);
        self.parts.watermarks.raise_written(end.last);
    }

    /// Records of another node were written.
    pub(crate) fn continue_after_write(&mut self) {
        self.batcher.continue_from(self.appender.end());
        self.show_end();
    }

    /// Numbers events under this epoch from now on.
    pub(crate) fn lead(&mut self, epoch: Epoch) {
        self.reign = Reign { leads: true, epoch };
        self.batcher.continue_from(LogEnd { epoch, ..self.appender.end() });
    }

    /// Numbers nothing from now on.
    pub(crate) fn follow(&mut self, epoch: Epoch) {
        self.reign = Reign { leads: false, epoch };
    }

    pub(crate) const fn leads(&self) -> bool {
        self.reign.leads
    }

    pub(crate) const fn epoch(&self) -> Epoch {
        self.reign.epoch
    }

    /// Has the next segment made in good time.
    pub(crate) fn prepare_spare(&self) {
        let segment = self.appender.open_segment();
        if segment.end() >= segment.header.segment_bytes / SPARE_AT_PART {
            self.request_spare();
        }
    }

    #[expect(clippy::disallowed_methods, reason = "a loop reads the clock")]
    fn request_spare(&self) {
        if self.parts.shelf.request(Instant::now()) {
            let shelf = Arc::clone(&self.parts.shelf);
            self.parts.preparer.run(Box::new(move || shelf.make(Instant::now())));
        }
    }
}

/// Under which terms a submission is taken in.
#[derive(Debug, Clone, Copy)]
struct Terms {
    mode: Mode,
    origin: Origin,
    signatures: SignatureCheck,
}
