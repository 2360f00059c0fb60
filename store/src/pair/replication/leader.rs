//! The leader's side.

use std::collections::{BTreeMap, VecDeque};

use broker::witness::PartitionName;
use bytes::Bytes;

use super::lane::{Lane, Stage, Stream};
use super::progress::Progress;
use super::search::{Search, Step};
use super::{BLOCK_BYTES_MAX, Counted, PATIENCE_TICKS, WINDOW_BYTES};
use crate::pair::message::{Ack, CutDone, Mark, MarkReport};
use crate::pair::protocol::FollowerProgress;

/// Brings one follower up to date, and keeps it so.
#[derive(Debug)]
pub struct Leader {
    epoch: u64,
    counts: Counted,
    lanes: BTreeMap<PartitionName, Lane>,
    /// Lanes that have something to read and wait for their turn.
    waiting: VecDeque<PartitionName>,
    flying_bytes: usize,
    progress: Progress,
}

/// Something that happened at the leader.
#[derive(Debug, Clone)]
pub enum LeaderInput {
    /// A partition is there, or our log of it has moved (all inclusive).
    Moved {
        /// The partition.
        partition: PartitionName,
        /// Newest sequence written.
        written: u64,
        /// Newest sequence committed.
        committed: u64,
    },
    /// The follower says what is in its log.
    Mark(MarkReport),
    /// What is at a place of our log.
    Own {
        /// The partition.
        partition: PartitionName,
        /// The place.
        at: u64,
        /// What is there; `None` if our log ends before it.
        mark: Option<Mark>,
    },
    /// The follower has cut.
    CutDone(CutDone),
    /// A block was read, or could not be read.
    Block {
        /// The partition.
        partition: PartitionName,
        /// Its first sequence.
        from: u64,
        /// Its last sequence and the records.
        block: Option<(u64, Bytes)>,
    },
    /// The follower has something.
    Ack(Ack),
    /// The same leader goes on in a new epoch.
    Epoch(u64),
    /// The follower counts from now on: say when it has caught up. All partitions that there are
    /// were told of before.
    Both,
    /// The follower does not count any more: nobody asks whether it has caught up.
    Alone,
    /// Whether nothing more is taken in: then say when the follower has everything.
    Draining(bool),
    /// A heartbeat has passed.
    Tick,
}

/// Records on their way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sending {
    /// The partition.
    pub partition: PartitionName,
    /// Sequence before the first record.
    pub previous: u64,
    /// Sequence of the last record.
    pub last: u64,
    /// What is committed (inclusive).
    pub committed: u64,
    /// The records.
    pub records: Bytes,
}

/// Something to be done at the leader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaderOutput {
    /// Ask the follower what is at a place of its log.
    Probe(PartitionName, u64),
    /// Look what is at a place of our log.
    Look(PartitionName, u64),
    /// Order the follower to cut.
    Cut(PartitionName, Mark),
    /// Read records from this sequence on, at most [`BLOCK_BYTES_MAX`] but at least one append.
    Read(PartitionName, u64),
    /// Send records.
    Send(Sending),
    /// Tell what is committed, and what was sent and counted.
    Commit {
        /// The partition.
        partition: PartitionName,
        /// What is committed (inclusive).
        committed: u64,
        /// What was sent (inclusive).
        sent: u64,
        /// What was counted (inclusive).
        counted: u64,
    },
    /// The follower has said in this epoch what it has (inclusive).
    Copied {
        /// The partition.
        partition: PartitionName,
        /// What counts at this level of durability.
        counted: u64,
        /// What it has synced.
        synced: u64,
    },
    /// The catalogue must be sent (again): some partitions were not reported.
    Catalogue,
    /// The follower is doing otherwise.
    Progress(FollowerProgress),
}

impl Leader {
    /// The leader of an epoch before it knows anything of its follower.
    #[must_use]
    pub fn new(epoch: u64, counts: Counted) -> Self {
        Self {
            epoch,
            counts,
            lanes: BTreeMap::new(),
            waiting: VecDeque::new(),
            flying_bytes: 0,
            progress: Progress::default(),
        }
    }

    /// The epoch in which acknowledgements count.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// How many records the follower has not acknowledged; `None` while a log is unaligned.
    #[must_use]
    pub fn lag_records(&self) -> Option<u64> {
        let lag =
            |lane: &Lane| lane.is_streaming().then(|| lane.written.saturating_sub(lane.counted));
        self.lanes.values().map(lag).sum()
    }

    /// Takes an input; what is to be done is appended to `out`.
    pub fn handle(&mut self, input: LeaderInput, out: &mut Vec<LeaderOutput>) {
        match input {
            LeaderInput::Moved { partition, written, committed } => {
                let lane = self.lanes.entry(partition.clone());
                let lane = lane.or_insert_with(|| Lane::new(0, 0));
                lane.written = lane.written.max(written);
                lane.committed = lane.committed.max(committed);
                self.moved(&partition, out);
            }
            LeaderInput::Mark(report) if report.epoch == self.epoch => self.mark(report, out),
            LeaderInput::Own { partition, at, mark } => {
                self.search(&partition, out, |search| search.ours(at, mark));
            }
            LeaderInput::CutDone(done) if done.epoch == self.epoch => self.cut_done(&done, out),
            LeaderInput::Block { partition, from, block } => {
                self.block(&partition, (from, block), out);
            }
            LeaderInput::Ack(ack) if ack.epoch == self.epoch => self.ack(&ack, out),
            LeaderInput::Epoch(epoch) => self.renew(epoch, out),
            LeaderInput::Both => {
                let mut progress = Vec::new();
                self.progress.set_target(self.lanes.iter(), &mut progress);
                out.extend(progress.into_iter().map(LeaderOutput::Progress));
            }
            LeaderInput::Alone => self.progress.forget_target(),
            LeaderInput::Draining(draining) => {
                self.progress.draining = draining;
                self.repeat_progress(out);
            }
            LeaderInput::Tick => self.tick(out),
            // Of another epoch.
            LeaderInput::Mark(_) | LeaderInput::CutDone(_) | LeaderInput::Ack(_) => {}
        }
        self.pump(out);
    }

    /// Nothing that was said in the old epoch counts in the new one; the records that flow go on.
    fn renew(&mut self, epoch: u64, out: &mut Vec<LeaderOutput>) {
        self.epoch = epoch;
        self.progress.forget_target();
        let mut progress = Vec::new();
        for (name, lane) in &mut self.lanes {
            (lane.counted, lane.synced) = (0, 0);
            // Questions and orders of the old epoch are not answered: say them again soon.
            lane.waited = PATIENCE_TICKS - 1;
            self.progress.update(name, lane, &mut progress);
        }
        // Whoever listens has forgotten what was owed in the old epoch.
        if self.progress.owes() && !progress.contains(&FollowerProgress::Owes) {
            progress.push(FollowerProgress::Owes);
        }
        out.extend(progress.into_iter().map(LeaderOutput::Progress));
    }

    fn mark(&mut self, report: MarkReport, out: &mut Vec<LeaderOutput>) {
        let Some(lane) = self.lanes.get_mut(&report.partition) else {
            return;
        };
        lane.waited = 0;
        if let Some(at) = report.at {
            return self.search(&report.partition, out, |search| search.theirs(at, report.mark));
        }
        // The follower begins: whatever was under way before is void.
        self.flying_bytes -= lane.flying_bytes();
        let search = Search::new(lane.written, report.end.sequence);
        let (first, at, end) = (search.first(), search.at(), report.end);
        lane.stage = Stage::Searching(search);
        if at > 0 && at == end.sequence {
            // The end was reported: asking for it would cost a round trip.
            out.push(LeaderOutput::Look(report.partition.clone(), at));
            self.search(&report.partition, out, |search| search.theirs(at, Some(end)));
        } else {
            self.step(&report.partition, first, out);
        }
        self.moved(&report.partition, out);
    }

    fn search(
        &mut self,
        partition: &PartitionName,
        out: &mut Vec<LeaderOutput>,
        answer: impl FnOnce(&mut Search) -> Step,
    ) {
        let lane = self.lanes.get_mut(partition);
        if let Some(Lane { stage: Stage::Searching(search), .. }) = lane {
            let step = answer(search);
            self.step(partition, step, out);
        }
    }

    fn step(&mut self, partition: &PartitionName, step: Step, out: &mut Vec<LeaderOutput>) {
        let Some(lane) = self.lanes.get_mut(partition) else {
            return;
        };
        match step {
            Step::Wait => {}
            Step::Ask(at) => {
                out.push(LeaderOutput::Look(partition.clone(), at));
                out.push(LeaderOutput::Probe(partition.clone(), at));
            }
            Step::Found(to) => {
                lane.stage = Stage::Cutting(to);
                lane.waited = 0;
                out.push(LeaderOutput::Cut(partition.clone(), to));
            }
        }
    }

    fn cut_done(&mut self, done: &CutDone, out: &mut Vec<LeaderOutput>) {
        let Some(lane) = self.lanes.get_mut(&done.partition) else {
            return;
        };
        if let Stage::Cutting(to) = &lane.stage
            && done.end.sequence == to.sequence
        {
            lane.stage = Stage::Streaming(Stream::after(to.sequence));
            lane.waited = 0;
            self.moved(&done.partition, out);
        }
    }

    fn block(
        &mut self,
        partition: &PartitionName,
        (from, block): (u64, Option<(u64, Bytes)>),
        out: &mut Vec<LeaderOutput>,
    ) {
        let Some(lane) = self.lanes.get_mut(partition) else {
            return;
        };
        let committed = lane.committed;
        let Stage::Streaming(stream) = &mut lane.stage else {
            return;
        };
        stream.reading = false;
        let Some((last, records)) = block else {
            // The next tick tries again.
            return;
        };
        if from == stream.sent + 1 {
            let bytes = records.len();
            stream.sent(last, bytes);
            stream.told = committed;
            self.flying_bytes += bytes;
            let (partition, previous) = (partition.clone(), from - 1);
            out.push(LeaderOutput::Send(Sending { partition, previous, last, committed, records }));
        }
        self.moved(partition, out);
    }

    fn ack(&mut self, ack: &Ack, out: &mut Vec<LeaderOutput>) {
        let Some(lane) = self.lanes.get_mut(&ack.partition) else {
            return;
        };
        let Stage::Streaming(stream) = &mut lane.stage else {
            return;
        };
        self.flying_bytes -= stream.acknowledged(ack);
        let counted = match self.counts {
            Counted::Written => ack.written,
            Counted::Durable => ack.durable,
        };
        lane.waited = 0;
        let risen = counted > lane.counted;
        if risen || ack.durable > lane.synced {
            lane.counted = lane.counted.max(counted);
            lane.synced = lane.synced.max(ack.durable);
            let (partition, synced) = (ack.partition.clone(), lane.synced);
            let counted = lane.counted;
            out.push(LeaderOutput::Copied { partition, counted, synced });
        }
        self.moved(&ack.partition, out);
        if risen {
            let mut progress = Vec::new();
            self.progress.acknowledged(&mut progress);
            out.extend(progress.into_iter().map(LeaderOutput::Progress));
        }
    }

    /// A lane has changed: count it, and put it into the queue if it has something to read.
    fn moved(&mut self, partition: &PartitionName, out: &mut Vec<LeaderOutput>) {
        let Some(lane) = self.lanes.get_mut(partition) else {
            return;
        };
        let mut progress = Vec::new();
        self.progress.update(partition, lane, &mut progress);
        out.extend(progress.into_iter().map(LeaderOutput::Progress));
        if lane.wanted().is_some() && !lane.queued {
            lane.queued = true;
            self.waiting.push_back(partition.clone());
        }
    }

    /// Has blocks read, lane by lane, while the window is open.
    fn pump(&mut self, out: &mut Vec<LeaderOutput>) {
        while self.flying_bytes + BLOCK_BYTES_MAX <= WINDOW_BYTES {
            let Some(partition) = self.waiting.pop_front() else {
                return;
            };
            let Some(lane) = self.lanes.get_mut(&partition) else {
                continue;
            };
            lane.queued = false;
            let wanted = lane.wanted();
            if let (Some(from), Stage::Streaming(stream)) = (wanted, &mut lane.stage) {
                stream.reading = true;
                out.push(LeaderOutput::Read(partition, from));
            }
        }
    }

    /// Asks again for what does not come, and tells what is committed.
    fn tick(&mut self, out: &mut Vec<LeaderOutput>) {
        let mut unknown = false;
        for (name, lane) in &mut self.lanes {
            if lane.wanted().is_some() && !lane.queued {
                lane.queued = true;
                self.waiting.push_back(name.clone());
            }
            lane.waited += 1;
            let overdue = lane.waited.is_multiple_of(PATIENCE_TICKS);
            match &mut lane.stage {
                Stage::Unknown => unknown = true,
                Stage::Searching(search) if overdue => {
                    out.push(LeaderOutput::Look(name.clone(), search.at()));
                    out.push(LeaderOutput::Probe(name.clone(), search.at()));
                }
                Stage::Cutting(to) if overdue => {
                    out.push(LeaderOutput::Cut(name.clone(), *to));
                }
                Stage::Streaming(stream)
                    if stream.told < lane.committed || (overdue && lane.counted < stream.sent) =>
                {
                    stream.told = lane.committed;
                    out.push(LeaderOutput::Commit {
                        partition: name.clone(),
                        committed: lane.committed,
                        sent: stream.sent,
                        counted: lane.counted,
                    });
                }
                _ => {}
            }
        }
        if unknown {
            out.push(LeaderOutput::Catalogue);
        }
        self.repeat_progress(out);
    }

    fn repeat_progress(&self, out: &mut Vec<LeaderOutput>) {
        let mut progress = Vec::new();
        self.progress.repeat(&mut progress);
        out.extend(progress.into_iter().map(LeaderOutput::Progress));
    }
}
