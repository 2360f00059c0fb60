//! Taking the leader's records: carries out what the replication machine of a follower asks for.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use broker::witness::{Configuration, Incarnation, PartitionName};
use bytes::Bytes;

use super::leading::mark;
use super::peer::Way;
use super::reigning::engine_rule;
use super::{Done as AnyDone, PairLoop};
use crate::event::{LogMark, Sequence};
use crate::pair::message::{Body, Catalogue, Commit, CutOrder, Mark, Probe, RecordsHead};
use crate::pair::protocol::Input;
use crate::pair::replication::{
    Counted, Follower, FollowerInput, FollowerOutput, Replicated as Batch,
};
use crate::pair::settings::PairError;
use crate::server::lifecycle::Fatal;
use crate::server::start::serve;
use crate::{
    CutError, Epoch, Node, PartitionNumber, ReplicateError, Replicated, Store, StoreError,
    StoreName,
};

/// The follower's side of replication.
pub(super) struct FollowerSide {
    machine: Follower,
    leader: Incarnation,
    /// Whether the logs were found, or made, to agree with the leader's.
    pub(super) is_aligned: bool,
    /// Which beginning of the leader with this node it is.
    pub(super) since: u64,
    /// What the leader has listed, until the partitions are there and at rest.
    pub(super) catalogue: Option<Catalogue>,
    /// Whether the worker makes stores.
    pub(super) making: bool,
    /// Cuts that wait until the pair record says that they come, or that failed and are tried
    /// again.
    cuts: Vec<(PartitionName, Mark)>,
    /// Partitions whose writer could not take records just now.
    refused: Vec<PartitionName>,
}

/// What the worker or a writer has done.
pub(super) struct Done {
    pub(super) since: u64,
    pub(super) what: What,
}

pub(super) enum What {
    Made(Result<(), StoreError>),
    Mark { partition: PartitionName, at: u64, mark: Option<Mark> },
    Cut { partition: PartitionName, to: Mark, result: Result<Option<Store>, CutError> },
    NotWritten { partition: PartitionName, error: ReplicateError },
}

impl FollowerSide {
    pub(super) const fn new(
        (leader, epoch): (Incarnation, u64),
        counted: Counted,
        catalogue: &Catalogue,
    ) -> Self {
        Self {
            machine: Follower::new(epoch, counted),
            leader,
            is_aligned: false,
            since: catalogue.since,
            catalogue: None,
            making: false,
            cuts: Vec::new(),
            refused: Vec::new(),
        }
    }
}

impl PairLoop {
    pub(super) fn follow_in(
        &mut self,
        configuration: &Configuration,
        now: Instant,
    ) -> Result<(), PairError> {
        let epoch = Epoch(configuration.epoch);
        for (_, log) in self.logs.iter() {
            log.partition().follow(epoch);
        }
        let same = self.follower.as_ref().is_some_and(|side| side.leader == configuration.leader);
        if !same {
            self.follower = None;
        }
        self.follow_input(FollowerInput::Epoch(configuration.epoch), now)?;
        // A candidate that was refused has not told how its logs moved meanwhile.
        let names: Vec<_> = self.logs.iter().map(|(name, _)| name.clone()).collect();
        names.iter().try_for_each(|name| self.follower_moved(name, now))?;
        self.early_catalogue(configuration.epoch, now)
    }

    /// The directory has other partitions than before.
    pub(super) fn follow_directory(&mut self, now: Instant) -> Result<(), PairError> {
        let new = self.logs.follow_directory();
        let epoch = Epoch(self.machine.epoch());
        for log in new.iter().filter_map(|name| self.logs.get(name)) {
            if self.machine.leads() {
                log.partition().lead(epoch);
            } else {
                log.partition().follow(epoch);
            }
            log.partition().set_rule(engine_rule(self.machine.rule()));
        }
        if self.machine.leads() {
            self.lack_topology(new.iter().cloned());
        }
        if self.leader.is_some() && !new.is_empty() {
            for name in &new {
                self.leader_moved(name, now)?;
            }
            self.send_catalogue()?;
        }
        Ok(())
    }

    /// Whether records and orders of this epoch may be taken now.
    pub(super) fn takes_from(&self, epoch: u64) -> bool {
        let leader = self.session.as_ref().map(|session| session.incarnation);
        leader.is_some_and(|leader| self.machine.follows() == Some((leader, epoch)))
    }

    pub(super) fn probe(&mut self, probe: Probe, now: Instant) -> Result<(), PairError> {
        self.follow_input_of(probe.epoch, FollowerInput::Probe(probe), now)
    }

    pub(super) fn cut_ordered(&mut self, order: CutOrder, now: Instant) -> Result<(), PairError> {
        self.follow_input_of(order.epoch, FollowerInput::Cut(order), now)
    }

    pub(super) fn records(
        &mut self,
        head: RecordsHead,
        records: Bytes,
        now: Instant,
    ) -> Result<(), PairError> {
        self.follow_input_of(head.epoch, FollowerInput::Records(head, records), now)
    }

    pub(super) fn commit_told(&mut self, commit: Commit, now: Instant) -> Result<(), PairError> {
        self.follow_input_of(commit.epoch, FollowerInput::Commit(commit), now)
    }

    fn follow_input_of(
        &mut self,
        epoch: u64,
        input: FollowerInput,
        now: Instant,
    ) -> Result<(), PairError> {
        if self.takes_from(epoch) { self.follow_input(input, now) } else { Ok(()) }
    }

    pub(super) fn follow_input(
        &mut self,
        input: FollowerInput,
        now: Instant,
    ) -> Result<(), PairError> {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let Some(side) = &mut self.follower else {
                return Ok(());
            };
            let mut outputs = Vec::new();
            side.machine.handle(input, &mut outputs);
            for output in outputs {
                self.carry_out_following(output, &mut inputs, now)?;
            }
        }
        Ok(())
    }

    fn carry_out_following(
        &mut self,
        output: FollowerOutput,
        inputs: &mut VecDeque<FollowerInput>,
        now: Instant,
    ) -> Result<(), PairError> {
        let Some(side) = &mut self.follower else {
            return Ok(());
        };
        let epoch = side.machine.epoch();
        match output {
            FollowerOutput::Report(report) => self.send(Way::Bulk, &Body::Mark(report), 0),
            FollowerOutput::Look(partition, at) => {
                self.look_for_leader(partition, at);
                Ok(())
            }
            FollowerOutput::Cut(cuts) => {
                side.cuts.extend(cuts);
                self.give(Input::Cutting { epoch }, now)
            }
            FollowerOutput::Aligned => {
                side.is_aligned = true;
                self.give(Input::Aligned { epoch }, now)
            }
            FollowerOutput::CutDone(done) => {
                inputs.extend(self.moved_input(&done.partition));
                self.send(Way::Bulk, &Body::CutDone(done), 0)
            }
            FollowerOutput::Write(batch) => {
                inputs.extend(self.write(batch));
                Ok(())
            }
            FollowerOutput::Ack(ack) => self.send(Way::Bulk, &Body::Ack(ack), 0),
            FollowerOutput::Told(partition, committed) => {
                if let Some(log) = self.logs.get(&partition) {
                    log.partition().raise_told(Sequence(committed));
                }
                Ok(())
            }
            FollowerOutput::Halt(conflict) => {
                self.shared.lifecycle.fail(Fatal::Pair(conflict.to_string()));
                Ok(())
            }
        }
    }

    fn look_for_leader(&self, partition: PartitionName, at: u64) {
        let Some(log) = self.logs.get(&partition) else {
            return;
        };
        let reader = Arc::clone(&log.reader);
        self.work(move || {
            let mark = mark(&reader, &partition, at);
            What::Mark { partition, at, mark }
        });
    }

    fn work(&self, job: impl FnOnce() -> What + Send + 'static) {
        let since = self.follower.as_ref().map_or(0, |side| side.since);
        self.worker.submit(Box::new(move || AnyDone::Following(Done { since, what: job() })));
    }

    /// Hands records to the writer.
    fn write(&self, batch: Batch) -> Option<FollowerInput> {
        let Batch { partition, previous, records } = batch;
        let log = self.logs.get(&partition)?;
        let since = self.follower.as_ref().map_or(0, |side| side.since);
        let (queue, outstanding) = (self.done_queue.clone(), Arc::clone(&log.outstanding));
        let name = partition.clone();
        let done = Box::new(move |result: Result<Sequence, ReplicateError>| {
            outstanding.fetch_sub(1, Ordering::AcqRel);
            if let Err(error) = result {
                let what = What::NotWritten { partition: name, error };
                queue.send(AnyDone::Following(Done { since, what }));
            }
        });
        log.outstanding.fetch_add(1, Ordering::AcqRel);
        let previous = Sequence(previous);
        match log.partition().replicate(Replicated { records, previous }, done) {
            Ok(()) => None,
            Err(_) => {
                // The queue is full; `done` was dropped with the call.
                log.outstanding.fetch_sub(1, Ordering::AcqRel);
                let written = previous.0;
                Some(FollowerInput::NotWritten { partition, written, parted: None })
            }
        }
    }

    /// The pair record says that the log is about to be cut.
    pub(super) fn cut(&mut self, epoch: u64) {
        let Some(side) = self.follower.as_mut().filter(|side| side.machine.epoch() == epoch) else {
            return;
        };
        for (partition, to) in std::mem::take(&mut side.cuts) {
            let node = self.shared.node.clone();
            self.work(move || {
                let result = cut(&node, &partition, to);
                What::Cut { partition, to, result }
            });
        }
    }

    pub(super) fn following_done(&mut self, done: Done, now: Instant) -> Result<(), PairError> {
        let is_mine = self.follower.as_ref().is_some_and(|side| side.since == done.since);
        match done.what {
            What::Cut { partition, to, result } => self.was_cut((partition, to), result, now),
            _ if !is_mine => Ok(()),
            What::Made(result) => self.made(result, now),
            What::Mark { partition, at, mark } => {
                self.follow_input(FollowerInput::Own { partition, at, mark }, now)
            }
            What::NotWritten { partition, error } => self.not_written(partition, &error, now),
        }
    }

    fn was_cut(
        &mut self,
        (partition, to): (PartitionName, Mark),
        result: Result<Option<Store>, CutError>,
        now: Instant,
    ) -> Result<(), PairError> {
        match result {
            Ok(reopened) => {
                if let Some(store) = reopened {
                    serve(&store, &self.shared.directory, &self.shared.lifecycle);
                    self.follow_directory(now)?;
                }
                self.follow_input(FollowerInput::CutDone { partition, end: to }, now)
            }
            Err(error @ (CutError::Open(_) | CutError::BelowHeld { .. })) => {
                let words = format!("{}: {error}", partition.0);
                self.shared.lifecycle.fail(Fatal::Pair(words));
                Ok(())
            }
            Err(error) => {
                log::error!("{} is not cut yet, it is tried again: {error}", partition.0);
                if let Some(side) = &mut self.follower {
                    side.cuts.push((partition, to));
                }
                Ok(())
            }
        }
    }

    fn not_written(
        &mut self,
        partition: PartitionName,
        error: &ReplicateError,
        now: Instant,
    ) -> Result<(), PairError> {
        let Some(log) = self.logs.get(&partition) else {
            return Ok(());
        };
        let end = log.partition().mark();
        let parted = match error {
            ReplicateError::Gap { .. } | ReplicateError::EpochAhead { .. } => None,
            ReplicateError::OtherHistory { .. } => Some(end.into()),
            ReplicateError::Busy | ReplicateError::DiskFull => {
                if let Some(side) = &mut self.follower {
                    side.refused.push(partition);
                }
                return Ok(());
            }
            ReplicateError::Leading | ReplicateError::Poisoned | ReplicateError::Closed => {
                return Ok(());
            }
            ReplicateError::Invalid { .. } | ReplicateError::TooLong { .. } => {
                log::error!("{}: records of the leader were not taken: {error}", partition.0);
                None
            }
        };
        let written = end.sequence.0;
        self.follow_input(FollowerInput::NotWritten { partition, written, parted }, now)
    }

    pub(super) fn follower_moved(
        &mut self,
        name: &PartitionName,
        now: Instant,
    ) -> Result<(), PairError> {
        let takes = self.follower.as_ref().is_some_and(|side| {
            self.machine.follows() == Some((side.leader, side.machine.epoch()))
        });
        // A candidate has promised to acknowledge nothing.
        match self.moved_input(name).filter(|_| takes) {
            Some(input) => self.follow_input(input, now),
            None => Ok(()),
        }
    }

    fn moved_input(&self, name: &PartitionName) -> Option<FollowerInput> {
        let marks = self.logs.get(name)?.partition().watermarks();
        let (written, durable) = (marks.written().0, marks.durable().0);
        Some(FollowerInput::Moved { partition: name.clone(), written, durable })
    }

    /// Tries again what had to wait.
    pub(super) fn tick_follower(&mut self, now: Instant) -> Result<(), PairError> {
        let Some(side) = &mut self.follower else {
            return Ok(());
        };
        let refused = std::mem::take(&mut side.refused);
        let epoch = side.machine.epoch();
        let cuts = !side.cuts.is_empty();
        for partition in refused {
            let Some(log) = self.logs.get(&partition) else {
                continue;
            };
            let written = log.partition().mark().sequence.0;
            self.follow_input(FollowerInput::NotWritten { partition, written, parted: None }, now)?;
        }
        if cuts {
            self.give(Input::Cutting { epoch }, now)?;
        }
        self.make_ready(now)
    }
}

/// Parks and cuts what lies behind a mark; the store as it is served from now on, if it changed.
fn cut(node: &Node, partition: &PartitionName, to: Mark) -> Result<Option<Store>, CutError> {
    let Some((store, number)) = partition.0.rsplit_once('/') else {
        return Ok(None);
    };
    let (Ok(store), Ok(number)) = (StoreName::new(store), number.parse()) else {
        return Ok(None);
    };
    let (store, parked) = node.cut(&store, PartitionNumber(number), LogMark::from(to))?;
    if parked.records == 0 {
        return Ok(None);
    }
    let (name, records) = (&partition.0, parked.records);
    log::warn!(
        "{name}: {records} records ({} to {}) that the leader does not have were set aside in {}; \
         they were not acknowledged by both nodes and are not replayed",
        parked.first,
        parked.last,
        parked.file.map(|file| file.display().to_string()).unwrap_or_default(),
    );
    Ok(Some(store))
}
