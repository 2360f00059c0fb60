//! Bringing the follower up to date: carries out what the replication machine of a leader asks for.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use broker::witness::PartitionName;
use bytes::Bytes;

use super::peer::Way;
use super::{Done as AnyDone, PairLoop};
use crate::event::Sequence;
use crate::pair::message::{Body, Catalogue, Commit, CutOrder, Mark, Probe, RecordsHead};
use crate::pair::protocol::{CommitRule, Input};
use crate::pair::replication::{BLOCK_BYTES_MAX, Leader, LeaderInput, LeaderOutput, Sending};
use crate::pair::settings::PairError;
use crate::{LogReader, ReadError};

/// Records so near to the end of the log were written just now, so that reading them does not wait
/// for a disk. Others are read by the worker.
const FRESH_RECORDS: u64 = 512;

/// The leader's side of replication.
pub(super) struct LeaderSide {
    machine: Leader,
    /// Which beginning of this process with a follower it is.
    since: u64,
}

impl LeaderSide {
    /// The epoch in which acknowledgements count.
    pub(super) const fn epoch(&self) -> u64 {
        self.machine.epoch()
    }
}

/// What the worker has read.
pub(super) struct Done {
    since: u64,
    partition: PartitionName,
    result: Read,
}

enum Read {
    Block { from: u64, block: Option<(u64, Bytes)> },
    Mark { at: u64, mark: Option<Mark> },
}

impl PairLoop {
    /// Begins with the accepted follower.
    pub(super) fn begin_to_lead(&mut self, now: Instant) -> Result<(), PairError> {
        if self.session.is_none() {
            return Ok(());
        }
        self.beginnings += 1;
        let since = self.beginnings;
        let mut machine = Leader::new(self.machine.epoch(), self.counted());
        let mut outputs = Vec::new();
        for (name, log) in self.logs.iter() {
            log.partition().reset_copied();
            let marks = log.partition().watermarks();
            let (written, committed) = (marks.written().0, marks.committed().0);
            let partition = name.clone();
            machine.handle(LeaderInput::Moved { partition, written, committed }, &mut outputs);
        }
        self.leader = Some(LeaderSide { machine, since });
        for output in outputs {
            self.carry_out_leading(output, &mut VecDeque::new(), now)?;
        }
        if self.machine.rule() == CommitRule::Both {
            self.lead_input(LeaderInput::Both, now)?;
        }
        self.send_catalogue()
    }

    /// Tells the follower which partitions there are.
    pub(super) fn send_catalogue(&self) -> Result<(), PairError> {
        let Some(leader) = &self.leader else {
            return Ok(());
        };
        let (epoch, since) = (leader.machine.epoch(), leader.since);
        let stores = self.logs.listings();
        self.send(Way::Bulk, &Body::Catalogue(Catalogue { epoch, since, stores }), 0)
    }

    pub(super) fn lead_input(&mut self, input: LeaderInput, now: Instant) -> Result<(), PairError> {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let Some(leader) = &mut self.leader else {
                return Ok(());
            };
            let mut outputs = Vec::new();
            leader.machine.handle(input, &mut outputs);
            for output in outputs {
                self.carry_out_leading(output, &mut inputs, now)?;
            }
        }
        Ok(())
    }

    fn carry_out_leading(
        &mut self,
        output: LeaderOutput,
        inputs: &mut VecDeque<LeaderInput>,
        now: Instant,
    ) -> Result<(), PairError> {
        let Some(LeaderSide { machine, .. }) = &self.leader else {
            return Ok(());
        };
        let epoch = machine.epoch();
        match output {
            LeaderOutput::Probe(partition, at) => {
                self.send(Way::Bulk, &Body::Probe(Probe { epoch, partition, at }), 0)
            }
            LeaderOutput::Look(partition, at) => {
                self.look_in_own_log(partition, at);
                Ok(())
            }
            LeaderOutput::Cut(partition, to) => {
                self.send(Way::Bulk, &Body::Cut(CutOrder { epoch, partition, to }), 0)
            }
            LeaderOutput::Read(partition, from) => {
                inputs.extend(self.read_block(partition, from));
                Ok(())
            }
            LeaderOutput::Send(sending) => self.send_records(epoch, sending),
            LeaderOutput::Commit { partition, committed, sent, counted } => {
                let commit = Commit { epoch, partition, committed, sent, counted };
                self.send(Way::Bulk, &Body::Commit(commit), 0)
            }
            LeaderOutput::Copied { partition, counted, synced } => {
                if let Some(log) = self.logs.get(&partition) {
                    log.partition().raise_synced(Sequence(synced));
                    log.partition().raise_copied(Sequence(counted));
                }
                Ok(())
            }
            LeaderOutput::Catalogue => self.send_catalogue(),
            LeaderOutput::Progress(progress) => self.give(Input::Follower(progress), now),
        }
    }

    fn send_records(&self, epoch: u64, sending: Sending) -> Result<(), PairError> {
        let Sending { partition, previous, last, committed, records } = sending;
        let head = RecordsHead { epoch, partition, previous, last, committed };
        self.send(Way::Bulk, &Body::Records(head, records), 0)
    }

    /// Reads a block: at once if it is fresh, else by the worker.
    fn read_block(&self, partition: PartitionName, from: u64) -> Option<LeaderInput> {
        let log = self.logs.get(&partition)?;
        let reader = Arc::clone(&log.reader);
        let written = log.partition().watermarks().written().0;
        if written.saturating_sub(from) <= FRESH_RECORDS {
            let block = block(&reader, &partition, from);
            return Some(LeaderInput::Block { partition, from, block });
        }
        self.read_later(partition, move |partition| {
            let block = block(&reader, partition, from);
            Read::Block { from, block }
        });
        None
    }

    fn look_in_own_log(&self, partition: PartitionName, at: u64) {
        let Some(log) = self.logs.get(&partition) else {
            return;
        };
        let reader = Arc::clone(&log.reader);
        self.read_later(partition, move |partition| {
            let mark = mark(&reader, partition, at);
            Read::Mark { at, mark }
        });
    }

    fn read_later(
        &self,
        partition: PartitionName,
        read: impl FnOnce(&PartitionName) -> Read + Send + 'static,
    ) {
        let since = self.leader.as_ref().map_or(0, |leader| leader.since);
        self.worker.submit(Box::new(move || {
            let result = read(&partition);
            AnyDone::Leading(Done { since, partition, result })
        }));
    }

    pub(super) fn leading_done(&mut self, done: Done, now: Instant) -> Result<(), PairError> {
        let Done { since, partition, result } = done;
        if self.leader.as_ref().is_none_or(|leader| leader.since != since) {
            return Ok(());
        }
        let input = match result {
            Read::Block { from, block } => LeaderInput::Block { partition, from, block },
            Read::Mark { at, mark } => LeaderInput::Own { partition, at, mark },
        };
        self.lead_input(input, now)
    }

    pub(super) fn leader_moved(
        &mut self,
        name: &PartitionName,
        now: Instant,
    ) -> Result<(), PairError> {
        let (Some(_), Some(log)) = (&self.leader, self.logs.get(name)) else {
            return Ok(());
        };
        let marks = log.partition().watermarks();
        let (written, committed) = (marks.written().0, marks.committed().0);
        let partition = name.clone();
        self.lead_input(LeaderInput::Moved { partition, written, committed }, now)
    }

    /// Looks how far all logs are. Between two heartbeats only those are looked at to which
    /// something was written.
    pub(super) fn leader_looks(&mut self, now: Instant) -> Result<(), PairError> {
        let names: Vec<_> = self.logs.iter().map(|(name, _)| name.clone()).collect();
        names.iter().try_for_each(|name| self.leader_moved(name, now))
    }

    pub(super) fn tick_leader(&mut self, now: Instant) -> Result<(), PairError> {
        self.leader_looks(now)?;
        self.lead_input(LeaderInput::Tick, now)
    }

    /// Events that the follower has not acknowledged.
    pub(super) fn lag(&self) -> Option<u64> {
        self.leader.as_ref()?.machine.lag_records()
    }
}

fn block(reader: &LogReader, partition: &PartitionName, from: u64) -> Option<(u64, Bytes)> {
    match reader.read(Sequence(from), BLOCK_BYTES_MAX) {
        Ok(block) if block.count > 0 => Some((block.last.0, block.records)),
        Ok(_) => None,
        Err(error) => {
            complain(partition, &error);
            None
        }
    }
}

/// What is at a place of a log.
pub(super) fn mark(reader: &LogReader, partition: &PartitionName, at: u64) -> Option<Mark> {
    reader
        .mark(Sequence(at))
        .unwrap_or_else(|error| {
            complain(partition, &error);
            None
        })
        .map(Mark::from)
}

fn complain(partition: &PartitionName, error: &ReadError) {
    if !matches!(error, ReadError::Closed) {
        log::error!("{} can't be read for the other node: {error}", partition.0);
    }
}
