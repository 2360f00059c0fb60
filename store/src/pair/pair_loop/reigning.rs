//! What the node is, as the rest of the process is told.
//!
//! Stepping down: the others hear of it first, then the partitions refuse appends. Taking over: the
//! partitions number events under the new epoch, then the rule, then the others hear of the epoch,
//! then come the `$topology` events, and last appends are taken in.

use std::time::{Duration, Instant};

use broker::witness::{Configuration, PartitionName};

use super::PairLoop;
use crate::Epoch;
use crate::pair::handle::HandOverReply;
use crate::pair::lease::Proof;
use crate::pair::protocol::{CommitRule, Input, Standing};
use crate::pair::replication::LeaderInput;
use crate::pair::settings::PairError;
use crate::pair::status::standing_word;
use crate::pair::topology_log;
use crate::partition::{self, Durability};
use crate::server::reign::{Closed, Intake};

/// Whoever asked for a handover is told after so long that it is still open.
const HAND_OVER_PATIENCE: Duration = Duration::from_secs(8);

impl PairLoop {
    pub(super) fn become_one(
        &mut self,
        standing: &Standing,
        now: Instant,
    ) -> Result<(), PairError> {
        log::info!("{} (epoch {})", standing_word(standing), self.machine.epoch());
        if !self.machine.leads() {
            self.step_down();
            self.answer_hand_overs(|| match standing {
                Standing::Following { .. } => Ok(()),
                _ => Err("this node leads no more, and it is open who does".to_owned()),
            });
        }
        match standing {
            Standing::Leading { configuration } => {
                self.lead_in(configuration, now)?;
                let words = "the other node did not take over in time: this one leads on";
                self.answer_hand_overs(|| Err(words.to_owned()));
            }
            Standing::HandingOver { .. } => self.lead_input(LeaderInput::Draining(true), now)?,
            Standing::Following { configuration } => self.follow_in(configuration, now)?,
            Standing::Joining | Standing::Stalled(_) | Standing::Candidate => {}
        }
        self.report(now);
        Ok(())
    }

    fn lead_in(&mut self, configuration: &Configuration, now: Instant) -> Result<(), PairError> {
        self.follower = None;
        self.logs.set_leading(true);
        let epoch = Epoch(configuration.epoch);
        if self.leading {
            // Appends that wait are numbered under it from the next call on, and no record may be
            // seen by a loop that does not know of its epoch.
            self.shared.reign.change(|state| state.epoch = epoch);
        }
        for (_, log) in self.logs.iter() {
            log.partition().lead(epoch);
        }
        self.renew_lease_of_reign();
        let Some(leader) = &self.leader else {
            return self.begin_to_lead(now);
        };
        if leader.epoch() != epoch.0 {
            // What the follower has, it says anew.
            self.logs.iter().for_each(|(_, log)| log.partition().reset_copied());
            self.lead_input(LeaderInput::Epoch(epoch.0), now)?;
        }
        self.lead_input(LeaderInput::Draining(false), now)
    }

    /// Nobody hears of us as the leader from now on.
    fn step_down(&mut self) {
        self.logs.set_leading(false);
        if !self.leading && self.leader.is_none() {
            return;
        }
        self.leading = false;
        self.leader = None;
        let standing = standing_word(self.machine.standing());
        self.shared.reign.change(|state| {
            state.leading = false;
            state.intake = Intake::Closed(Closed::NotLeader);
            state.standing = standing;
        });
        self.renew_lease_of_reign();
        self.topology.1.clear();
        for (_, log) in self.logs.iter() {
            log.partition().follow(Epoch(self.machine.epoch()));
        }
    }

    /// Proofs of an earlier reign, or from before a standstill, are worth nothing.
    pub(super) fn renew_lease_of_reign(&mut self) {
        let members = self.machine.configuration().map_or(0, |known| known.members.len());
        let proof = if members > 1 { Proof::Member } else { Proof::Witness };
        let epoch = if self.machine.leads() { self.machine.epoch() } else { 0 };
        let mut failed = Vec::new();
        self.lease.reset(epoch, proof, &mut failed);
        for reply in failed {
            reply(false);
        }
    }

    /// An echo came: whoever waited for it is answered, and the others may rely on it.
    pub(super) fn proved(&mut self, from: Proof, token: u64, epoch: u64) {
        let mut confirmed = Vec::new();
        self.lease.echo(from, token, epoch, &mut confirmed);
        for reply in confirmed {
            reply(true);
        }
        if let Some(until) = self.lease.until().filter(|_| !self.is_sole_member()) {
            self.shared.reign.renew_lease(until);
        }
    }

    fn is_sole_member(&self) -> bool {
        let members = self.machine.configuration().map(|known| known.members.as_slice());
        members == Some(&[self.me])
    }

    pub(super) fn commit_by(&mut self, rule: CommitRule, now: Instant) -> Result<(), PairError> {
        for (_, log) in self.logs.iter() {
            log.partition().set_rule(engine_rule(rule));
        }
        if rule != CommitRule::Both {
            return self.lead_input(LeaderInput::Alone, now);
        }
        // What was committed by the former rule is what the follower has to have.
        self.leader_looks(now)?;
        self.lead_input(LeaderInput::Both, now)
    }

    /// Tells the rest of the process what holds now. The epoch is told before there is a record of
    /// it, and appends are taken in after the `$topology` events.
    pub(super) fn settle_reign(&mut self) {
        let leads = self.machine.leads();
        let epoch = Epoch(self.machine.epoch());
        let configuration = self.machine.configuration();
        let members: Vec<_> = match configuration {
            Some(known) => known.members.iter().map(|member| member.0).collect(),
            None => vec![self.me.0],
        };
        let leader = configuration.map(|known| known.leader.0);
        let standing = standing_word(self.machine.standing());
        let lineage = self.machine.lineage().0;
        let intake = self.intake();
        let serving = self.serves();
        let regained = leads && !self.leading;
        self.leading = leads;
        self.shared.reign.change(|state| {
            (state.epoch, state.lineage) = (epoch, lineage);
            state.leading = leads;
            if regained || !leads {
                state.intake = Intake::Closed(Closed::NotLeader);
            }
            (state.members, state.leader) = (members, leader);
            (state.standing, state.serving) = (standing, serving);
        });
        if leads && self.topology.0 != epoch.0 {
            let names: Vec<_> = self.logs.iter().map(|(name, _)| name.clone()).collect();
            self.topology.0 = epoch.0;
            self.lack_topology(names);
        }
        self.shared.reign.change(|state| state.intake = intake);
        if leads && self.is_sole_member() {
            self.shared.reign.need_no_lease();
        } else if regained && let Some(until) = self.lease.until() {
            self.shared.reign.renew_lease(until);
        }
    }

    /// Whether what is committed here may be shown under the present epoch. At level `local` it may
    /// be a tail that the leader does not have, and that is about to be cut.
    fn serves(&self) -> bool {
        if self.machine.leads() || self.settings.durability != Durability::Local {
            return true;
        }
        match self.machine.follows() {
            Some(_) => self.follower.as_ref().is_some_and(|side| side.is_aligned),
            None => self.shared.reign.state().serving,
        }
    }

    fn intake(&self) -> Intake {
        match (self.machine.standing(), self.machine.rule()) {
            (Standing::Leading { .. }, CommitRule::Alone | CommitRule::Both) => Intake::Open,
            (Standing::Leading { .. }, _) if self.settings.copies_min > 1 => {
                Intake::Closed(Closed::OneCopy)
            }
            (Standing::Leading { .. }, _) => Intake::Closed(Closed::Stalled),
            (Standing::HandingOver { .. }, _) => Intake::Closed(Closed::HandingOver),
            _ => Intake::Closed(Closed::NotLeader),
        }
    }

    /// These partitions do not tell of the present epoch yet. It is the first that a new leader
    /// writes: the writers take it before anything that is handed in afterwards.
    pub(super) fn lack_topology(&mut self, names: impl IntoIterator<Item = PartitionName>) {
        self.topology.1.extend(names);
        self.record_topology();
    }

    /// Writes what is still to be written. A leader that led before may have full queues: then it
    /// tries again with the next heartbeat.
    pub(super) fn record_topology(&mut self) {
        let (_, lacking) = &mut self.topology;
        if lacking.is_empty() {
            return;
        }
        let mut history = self.machine.history().to_vec();
        let newest = self.machine.configuration();
        history.extend(newest.filter(|known| history.last() != Some(*known)).cloned());
        let logs = &self.logs;
        lacking.retain(|name| {
            let submission = topology_log::submission(&history, name);
            match (logs.get(name), submission) {
                (Some(log), Ok(submission)) => log.partition().submit(submission).is_err(),
                _ => false,
            }
        });
    }

    /// Nobody waits for ever: the witness may be away.
    pub(super) fn give_up_hand_overs(&mut self, now: Instant) {
        let is_late = |(since, _): &(Instant, HandOverReply)| {
            now.saturating_duration_since(*since) > HAND_OVER_PATIENCE
        };
        if self.hand_over.first().is_some_and(is_late) {
            let words = "the witness has not decided yet: see `starlog pair status`";
            self.answer_hand_overs(|| Err(words.to_owned()));
        }
    }

    pub(super) fn answer_hand_overs(&mut self, answer: impl Fn() -> Result<(), String>) {
        for (_, reply) in self.hand_over.drain(..) {
            reply(answer());
        }
    }

    pub(super) fn wish_hand_over(
        &mut self,
        reply: HandOverReply,
        now: Instant,
    ) -> Result<(), PairError> {
        if !self.machine.leads() {
            reply(Err("this node does not lead: ask the other one".to_owned()));
            return Ok(());
        }
        self.give(Input::HandOver, now)?;
        match self.machine.standing() {
            Standing::HandingOver { .. } => self.hand_over.push((now, reply)),
            _ => reply(Err(
                "there is no follower that has everything: wait until it has caught up, \
                            see `starlog pair status`"
                    .to_owned(),
            )),
        }
        Ok(())
    }
}

pub(super) const fn engine_rule(rule: CommitRule) -> partition::CommitRule {
    match rule {
        CommitRule::Held => partition::CommitRule::Held,
        CommitRule::Alone => partition::CommitRule::Alone,
        CommitRule::Both => partition::CommitRule::Both,
        CommitRule::Told => partition::CommitRule::Told,
    }
}
