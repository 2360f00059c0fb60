//! The follower's side.

use std::collections::BTreeMap;

use broker::witness::PartitionName;
use bytes::Bytes;
use thiserror::Error;

use super::{BLOCK_BYTES_MAX, Counted};
use crate::pair::message::{Ack, Commit, CutDone, CutOrder, Mark, MarkReport, Probe, RecordsHead};

/// Makes the logs of a node those of its leader.
#[derive(Debug)]
pub struct Follower {
    epoch: u64,
    counts: Counted,
    lanes: BTreeMap<PartitionName, Lane>,
    /// Cuts that were asked for and are not done.
    cutting: usize,
}

/// One partition.
#[derive(Debug, Clone)]
struct Lane {
    end: Mark,
    held: u64,
    stage: Stage,
}

#[derive(Debug, Clone)]
enum Stage {
    /// The leader was told where the log ends.
    Reported,
    /// The leader has said where both agree; other partitions still wait for that, or are cut.
    Agreed(Mark),
    /// The log is being cut.
    Cutting,
    /// Records flow.
    Flowing(Flow),
}

#[derive(Debug, Clone)]
struct Flow {
    /// Newest sequence handed to the writer (inclusive).
    accepted: u64,
    written: u64,
    durable: u64,
    /// Bytes accepted since the last acknowledgement.
    silent_bytes: usize,
    /// Something that does not follow `accepted` has come, and the leader was told.
    gap: bool,
}

/// How a log ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEnd {
    /// The partition.
    pub partition: PartitionName,
    /// Its last record.
    pub end: Mark,
    /// What is known to be committed and on every member (inclusive): never cut.
    pub held: u64,
}

/// Something that happened at the follower.
#[derive(Debug, Clone)]
pub enum FollowerInput {
    /// These partitions, all that the leader has listed, are there.
    Ready(Vec<LogEnd>),
    /// The leader wants to know what is at a place.
    Probe(Probe),
    /// What is at a place of our log.
    Own {
        /// The partition.
        partition: PartitionName,
        /// The place.
        at: u64,
        /// What is there.
        mark: Option<Mark>,
    },
    /// The leader says where both logs agree.
    Cut(CutOrder),
    /// The log was cut.
    CutDone {
        /// The partition.
        partition: PartitionName,
        /// How it ends now.
        end: Mark,
    },
    /// Records came.
    Records(RecordsHead, Bytes),
    /// The writer did not take, or could not append, what was to follow `previous`.
    NotWritten {
        /// The partition.
        partition: PartitionName,
        /// Where the log really ends (inclusive).
        written: u64,
        /// Whether the records do not belong to this log, so that both must be compared anew.
        parted: Option<Mark>,
    },
    /// Our log has moved (inclusive).
    Moved {
        /// The partition.
        partition: PartitionName,
        /// Newest sequence written.
        written: u64,
        /// Newest sequence synced.
        durable: u64,
    },
    /// The leader tells what is committed.
    Commit(Commit),
    /// The same leader goes on in a new epoch.
    Epoch(u64),
}

/// Records for the writer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replicated {
    /// The partition.
    pub partition: PartitionName,
    /// Sequence before the first record.
    pub previous: u64,
    /// The records.
    pub records: Bytes,
}

/// Something to be done at the follower.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FollowerOutput {
    /// Send what is at a place, or how a log ends.
    Report(MarkReport),
    /// Look what is at a place of our log.
    Look(PartitionName, u64),
    /// The leader has answered for every partition. What lies behind these marks is to be parked
    /// and cut; that this is about to happen must be durable before.
    Cut(Vec<(PartitionName, Mark)>),
    /// The logs agree with those of the leader.
    Aligned,
    /// Send that a log ends with the mark that the leader has asked for.
    CutDone(CutDone),
    /// Hand records to the writer.
    Write(Replicated),
    /// Send an acknowledgement.
    Ack(Ack),
    /// The leader says that this is committed (inclusive).
    Told(PartitionName, u64),
    /// Going on could destroy what was acknowledged.
    Halt(Conflict),
}

/// The leader lacks what must not get lost.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{} was committed up to {held} on every member, but the leader's history agrees with it only \
     up to {agreed}: nothing was cut; find out which directory was put back to an earlier state \
     before starting this node again", partition.0
)]
pub struct Conflict {
    /// The partition.
    pub partition: PartitionName,
    /// What must not be cut (inclusive).
    pub held: u64,
    /// Where the histories part.
    pub agreed: u64,
}

impl Follower {
    /// A follower of this epoch's leader that knows nothing of the leader's logs.
    #[must_use]
    pub const fn new(epoch: u64, counts: Counted) -> Self {
        Self { epoch, counts, lanes: BTreeMap::new(), cutting: 0 }
    }

    /// The epoch in which it takes records.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Takes an input; what is to be done is appended to `out`.
    pub fn handle(&mut self, input: FollowerInput, out: &mut Vec<FollowerOutput>) {
        match input {
            FollowerInput::Ready(ends) => self.ready(ends, out),
            FollowerInput::Probe(probe) if probe.epoch == self.epoch => {
                out.push(FollowerOutput::Look(probe.partition, probe.at));
            }
            FollowerInput::Own { partition, at, mark } => {
                if let Some(lane) = self.lanes.get(&partition) {
                    let (epoch, end) = (self.epoch, lane.end);
                    let report = MarkReport { epoch, partition, at: Some(at), mark, end };
                    out.push(FollowerOutput::Report(report));
                }
            }
            FollowerInput::Cut(order) if order.epoch == self.epoch => self.cut(order, out),
            FollowerInput::CutDone { partition, end } => self.cut_done(&partition, end, out),
            FollowerInput::Records(head, records) if head.epoch == self.epoch => {
                self.records(head, records, out);
            }
            FollowerInput::NotWritten { partition, written, parted } => {
                self.not_written(&partition, written, parted, out);
            }
            FollowerInput::Moved { partition, written, durable } => {
                self.moved(&partition, written, durable, out);
            }
            FollowerInput::Commit(commit) if commit.epoch == self.epoch => {
                self.commit(&commit, out);
            }
            FollowerInput::Epoch(epoch) => self.renew(epoch, out),
            // Of another epoch.
            FollowerInput::Probe(_)
            | FollowerInput::Cut(_)
            | FollowerInput::Records(..)
            | FollowerInput::Commit(_) => {}
        }
    }

    /// Reports the partitions that are not in agreement with the leader yet.
    fn ready(&mut self, ends: Vec<LogEnd>, out: &mut Vec<FollowerOutput>) {
        for LogEnd { partition, end, held } in ends {
            let lane = self.lanes.entry(partition.clone());
            let lane = lane.or_insert_with(|| Lane { end, held, stage: Stage::Reported });
            if matches!(lane.stage, Stage::Reported) {
                (lane.end, lane.held) = (end, held);
                out.push(begin(self.epoch, partition, end));
            }
        }
    }

    fn cut(&mut self, order: CutOrder, out: &mut Vec<FollowerOutput>) {
        let CutOrder { partition, to, .. } = order;
        let Some(lane) = self.lanes.get_mut(&partition) else {
            return;
        };
        match &lane.stage {
            Stage::Reported | Stage::Agreed(_) => {}
            // The leader has not heard that it is done.
            Stage::Flowing(flow) if flow.accepted == to.sequence => {
                let (epoch, end) = (self.epoch, to);
                out.push(FollowerOutput::CutDone(CutDone { epoch, partition, end }));
                return;
            }
            Stage::Cutting | Stage::Flowing(_) => return,
        }
        if to.sequence < lane.held {
            let (held, agreed) = (lane.held, to.sequence);
            out.push(FollowerOutput::Halt(Conflict { partition, held, agreed }));
            return;
        }
        lane.stage = Stage::Agreed(to);
        if !self.lanes.values().any(|lane| matches!(lane.stage, Stage::Reported)) {
            self.agreed(out);
        }
    }

    /// The leader has answered for every partition: now the logs may be changed.
    fn agreed(&mut self, out: &mut Vec<FollowerOutput>) {
        let mut cuts = Vec::new();
        for (name, lane) in &mut self.lanes {
            if let Stage::Agreed(to) = lane.stage
                && to.sequence != lane.end.sequence
            {
                lane.stage = Stage::Cutting;
                cuts.push((name.clone(), to));
            }
        }
        self.cutting += cuts.len();
        if !cuts.is_empty() {
            out.push(FollowerOutput::Cut(cuts));
        }
        self.flow(out);
    }

    fn cut_done(&mut self, partition: &PartitionName, end: Mark, out: &mut Vec<FollowerOutput>) {
        let Some(lane) = self.lanes.get_mut(partition) else {
            return;
        };
        if !matches!(lane.stage, Stage::Cutting) {
            return;
        }
        lane.end = end;
        lane.stage = Stage::Agreed(end);
        self.cutting -= 1;
        self.flow(out);
    }

    /// Takes records from now on, unless a cut is pending: a node is aligned as a whole.
    fn flow(&mut self, out: &mut Vec<FollowerOutput>) {
        if self.cutting > 0 {
            return;
        }
        out.push(FollowerOutput::Aligned);
        for (name, lane) in &mut self.lanes {
            if let Stage::Agreed(end) = lane.stage
                && end.sequence == lane.end.sequence
            {
                lane.stage = Stage::Flowing(Flow::after(end.sequence));
                let (epoch, partition) = (self.epoch, name.clone());
                out.push(FollowerOutput::CutDone(CutDone { epoch, partition, end }));
            }
        }
    }

    fn records(&mut self, head: RecordsHead, records: Bytes, out: &mut Vec<FollowerOutput>) {
        let RecordsHead { partition, previous, last, committed, .. } = head;
        let Some(Lane { stage: Stage::Flowing(flow), .. }) = self.lanes.get_mut(&partition) else {
            return;
        };
        if last <= flow.accepted {
            return;
        }
        if previous == flow.accepted {
            flow.accepted = last;
            flow.gap = false;
            flow.silent_bytes += records.len();
            let replicated = Replicated { partition: partition.clone(), previous, records };
            out.push(FollowerOutput::Write(replicated));
            out.push(FollowerOutput::Told(partition, committed));
        } else if !flow.gap {
            flow.gap = true;
            out.push(flow.ack(self.epoch, partition));
        }
    }

    fn not_written(
        &mut self,
        partition: &PartitionName,
        written: u64,
        parted: Option<Mark>,
        out: &mut Vec<FollowerOutput>,
    ) {
        let Some(lane) = self.lanes.get_mut(partition) else {
            return;
        };
        let Stage::Flowing(flow) = &mut lane.stage else {
            return;
        };
        if let Some(end) = parted {
            lane.end = end;
            lane.stage = Stage::Reported;
            out.push(begin(self.epoch, partition.clone(), end));
        } else if written < flow.accepted {
            flow.accepted = written;
            flow.gap = true;
            out.push(flow.ack(self.epoch, partition.clone()));
        }
    }

    fn moved(
        &mut self,
        partition: &PartitionName,
        written: u64,
        durable: u64,
        out: &mut Vec<FollowerOutput>,
    ) {
        let Some(lane) = self.lanes.get_mut(partition) else {
            return;
        };
        let Stage::Flowing(flow) = &mut lane.stage else {
            return;
        };
        let synced = durable > flow.durable;
        let risen = written > flow.written;
        flow.written = flow.written.max(written);
        flow.durable = flow.durable.max(durable);
        // The leader waits for what counts. Between two syncs it must hear of what is written, or
        // its window would stay shut.
        let counts = match self.counts {
            Counted::Durable => synced,
            Counted::Written => risen || synced,
        };
        if counts || (risen && flow.silent_bytes >= BLOCK_BYTES_MAX) {
            out.push(flow.ack(self.epoch, partition.clone()));
        }
    }

    fn commit(&mut self, commit: &Commit, out: &mut Vec<FollowerOutput>) {
        let Some(lane) = self.lanes.get_mut(&commit.partition) else {
            return;
        };
        let Stage::Flowing(flow) = &mut lane.stage else {
            return;
        };
        out.push(FollowerOutput::Told(commit.partition.clone(), commit.committed));
        let lost = flow.accepted < commit.sent;
        if lost || flow.durable > commit.counted || flow.written > commit.counted {
            flow.gap = lost;
            out.push(flow.ack(self.epoch, commit.partition.clone()));
        }
    }

    /// What was said in the old epoch does not count any more, what is there is said anew.
    fn renew(&mut self, epoch: u64, out: &mut Vec<FollowerOutput>) {
        self.epoch = epoch;
        let mut flowing = true;
        for (name, lane) in &mut self.lanes {
            match &mut lane.stage {
                Stage::Flowing(flow) => {
                    // Records of the new epoch may have come, and were not taken, before it was
                    // known here.
                    flow.gap = true;
                    out.push(flow.ack(epoch, name.clone()));
                    flow.gap = false;
                }
                Stage::Cutting => flowing = false,
                Stage::Reported | Stage::Agreed(_) => {
                    flowing = false;
                    lane.stage = Stage::Reported;
                    out.push(begin(epoch, name.clone(), lane.end));
                }
            }
        }
        if flowing && !self.lanes.is_empty() {
            out.push(FollowerOutput::Aligned);
        }
    }
}

impl Flow {
    const fn after(sequence: u64) -> Self {
        // The first move of the log says how far it is synced.
        Self { accepted: sequence, written: 0, durable: 0, silent_bytes: 0, gap: false }
    }

    fn ack(&mut self, epoch: u64, partition: PartitionName) -> FollowerOutput {
        self.silent_bytes = 0;
        let Self { accepted, written, durable, gap, .. } = *self;
        FollowerOutput::Ack(Ack { epoch, partition, accepted, written, durable, gap })
    }
}

/// The report with which a partition begins.
const fn begin(epoch: u64, partition: PartitionName, end: Mark) -> FollowerOutput {
    let report = MarkReport { epoch, partition, at: None, mark: Some(end), end };
    FollowerOutput::Report(report)
}
