//! Gives the machine its inputs and carries out what it asks for, in order.

use std::time::Instant;

use uuid::Uuid;

use super::PairLoop;
use crate::Epoch;
use crate::pair::protocol::{FollowerProgress, Halt, Input, Note, Output, PairRecord};
use crate::pair::settings::PairError;
use crate::server::lifecycle::Fatal;

impl PairLoop {
    /// Gives the machine an input, and all that follow from it.
    pub(super) fn give(&mut self, input: Input, now: Instant) -> Result<(), PairError> {
        self.inputs.push_back(input);
        if self.inputs.len() > 1 {
            // Whoever gave the first one goes on with this.
            return Ok(());
        }
        while let Some(input) = self.inputs.front() {
            let mut outputs = Vec::new();
            if needs_logs(input) {
                let (durable, held) = self.logs.positions();
                self.machine.handle(Input::Logs { durable, held }, &mut outputs);
            }
            self.machine.handle(input.clone(), &mut outputs);
            for output in outputs {
                self.carry_out(output, now)?;
            }
            self.inputs.pop_front();
        }
        self.settle_reign();
        Ok(())
    }

    fn carry_out(&mut self, output: Output, now: Instant) -> Result<(), PairError> {
        match output {
            Output::Save(record) => self.save(&record)?,
            Output::Peer(message) => self.send_to_peer(message, now)?,
            Output::Witness(request) => self.send_to_witness(&request, now)?,
            Output::Arm(timer) => {
                let [lot, ..] = *Uuid::new_v4().as_bytes();
                self.timers.arm(timer, now, lot);
            }
            Output::Disarm(timer) => self.timers.disarm(timer),
            Output::Commit(rule) => self.commit_by(rule, now)?,
            Output::Become(standing) => self.become_one(&standing, now)?,
            Output::Cut { epoch } => self.cut(epoch),
            Output::Note(note) => self.note(note),
            Output::Halt(halt) => {
                self.shared.lifecycle.fail(Fatal::Pair(halt_sentence(halt).to_owned()));
            }
        }
        Ok(())
    }

    fn save(&self, record: &PairRecord) -> Result<(), PairError> {
        let node = &self.shared.node;
        let bytes = rmp_serde::to_vec_named(record);
        let bytes = bytes.map_err(|error| PairError::Record(error.to_string()))?;
        let (lineage, epoch) = match &record.configuration {
            Some(configuration) => (configuration.lineage.0, Epoch(configuration.epoch)),
            None => (node.lineage(), node.epoch()),
        };
        node.save_pair_record(&bytes, lineage, epoch)?;
        Ok(())
    }

    fn note(&mut self, note: Note) {
        let epoch = self.machine.epoch();
        match note {
            Note::Failover => {
                self.counts.failovers += 1;
                log::warn!("took over from a silent leader, epoch {epoch}");
            }
            Note::Solo => {
                self.counts.shrinks += 1;
                log::warn!("goes on without the other node, epoch {epoch}: one copy only");
            }
            Note::Rejoined => {
                self.counts.grows += 1;
                log::info!("the other node is a member again, epoch {epoch}");
            }
            Note::Deposed => log::warn!("another node leads, epoch {epoch}"),
            Note::LostRace => log::info!("the witness preferred another proposal, epoch {epoch}"),
            Note::LeaderKept => log::info!("the witness hears the leader: it stays, epoch {epoch}"),
            Note::HandedOver => {
                log::info!("the other node leads now, as it was asked to, epoch {epoch}");
                self.answer_hand_overs(|| Ok(()));
            }
        }
    }
}

/// Whether the machine may ask the witness for something, which rests on how far the logs are.
const fn needs_logs(input: &Input) -> bool {
    !matches!(
        input,
        Input::Follower(
            FollowerProgress::Owes | FollowerProgress::Acknowledged { .. } | FollowerProgress::Near
        ) | Input::Logs { .. }
            | Input::Brokers(_)
    )
}

const fn halt_sentence(halt: Halt) -> &'static str {
    match halt {
        Halt::PutBack => {
            "the witness knows this directory in a later state, so it was put back to an earlier \
             one: nothing was changed; run `starlog-store pair renew --data DIR` on it, and it \
             joins as a new node"
        }
        Halt::SecondProcess => {
            "another process uses a copy of this directory: run `starlog-store pair renew --data \
             DIR` on one of them, or start it with an empty directory"
        }
        Halt::BothBringData => {
            "both nodes bring events of their own: a pair begins with data on one side only; start \
             the node whose data can be given up with an empty directory"
        }
        Halt::OtherLineage => {
            "the other node has another history: it is another store's directory, or one side was \
             promoted by force; start the node whose data can be given up with an empty directory"
        }
    }
}
