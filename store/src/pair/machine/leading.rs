//! A leader: what it waits for before it acknowledges, and how it goes on without its follower.

use broker::witness::{Configuration, Incarnation};

use super::super::protocol::{CommitRule, FollowerProgress, Note, Output, Standing, Timer};
use super::{Pair, Part, Reign};
use crate::Durability;

impl Pair {
    /// Leads in a configuration that was granted to this run. What is in the log stays, for it may
    /// have been acknowledged; it counts as committed once the members of this epoch have it.
    pub(super) fn lead(&mut self, granted: Configuration, cosigned: bool, out: &mut Vec<Output>) {
        let is_alone = granted.members.len() == 1;
        let former = self.record.configuration.as_ref();
        let was_alone = former.is_none_or(|former| former.members.len() == 1);
        let note = match self.part {
            Part::Candidate if !cosigned => Some(Note::Failover),
            Part::Leading(_) if is_alone && !was_alone => Some(Note::Solo),
            Part::Leading(_) if !is_alone && was_alone => Some(Note::Rejoined),
            _ => None,
        };
        if matches!(self.part, Part::Leading(_)) && is_alone && !was_alone {
            self.patience.membership_ended();
        }
        self.stop_timers(out);
        self.record.aligned = granted.epoch;
        self.record.promised = granted.epoch;
        self.record.peer = None;
        self.record.configuration = Some(granted.clone());
        self.agreed = granted.epoch;
        self.part = Part::Leading(Reign::default());
        self.save(out);
        self.become_one(Standing::Leading { configuration: granted }, out);
        if is_alone && self.setup.copies_min > 1 {
            // What is in the log may have been acknowledged; nothing new will be.
            self.commit(CommitRule::Alone, out);
        }
        self.commit(self.rule_of_reign(), out);
        out.extend(note.map(Output::Note));
        self.stop_asking(out);
        if is_alone {
            self.wait_to_grow(out);
        } else {
            out.extend([Output::Arm(Timer::Silence), Output::Arm(Timer::Settled)]);
        }
        if self.setup.level == Durability::Local {
            out.push(Output::Arm(Timer::Alone));
        }
        self.beat_to_peer(out);
    }

    /// What the leader waits for now.
    pub(super) fn rule_of_reign(&self) -> CommitRule {
        let Part::Leading(reign) = self.part else {
            return self.rule;
        };
        let is_alone = self.configuration().is_none_or(|known| known.members.len() == 1);
        if reign.handover.is_promised() || reign.lapsed {
            CommitRule::Held
        } else if !is_alone || reign.growing.is_some() {
            CommitRule::Both
        } else if self.setup.copies_min > 1 {
            CommitRule::Held
        } else {
            CommitRule::Alone
        }
    }

    pub(super) fn change_reign(&mut self, change: impl FnOnce(&mut Reign)) {
        if let Part::Leading(reign) = &mut self.part {
            change(reign);
        }
    }

    /// Whom the leader waits for: its follower, or the node that it is about to take in.
    fn awaited(&self) -> Option<Incarnation> {
        let Part::Leading(reign) = self.part else {
            return None;
        };
        reign.growing.or_else(|| self.configuration()?.follower())
    }

    pub(super) fn follower_is_heard(&mut self, from: Incarnation, outputs: &mut Vec<Output>) {
        match self.awaited() {
            Some(awaited) if awaited != from => {}
            Some(_) => {
                self.hear(outputs);
                self.somebody_is_heard(outputs);
            }
            None => self.hear(outputs),
        }
    }

    fn hear(&mut self, outputs: &mut Vec<Output>) {
        self.change_reign(|reign| reign.hears = true);
        outputs.push(Output::Arm(Timer::Silence));
    }

    pub(super) fn follower_does(&mut self, progress: FollowerProgress, outputs: &mut Vec<Output>) {
        let Part::Leading(reign) = self.part else {
            return;
        };
        match progress {
            FollowerProgress::Near => self.joiner_is_near(outputs),
            FollowerProgress::CaughtUp => self.joiner_caught_up(outputs),
            FollowerProgress::Owes => {
                if !reign.owes {
                    outputs.push(Output::Arm(Timer::Patience));
                }
                self.change_reign(|reign| reign.owes = true);
            }
            FollowerProgress::Acknowledged { owes } => {
                self.change_reign(|reign| reign.owes = owes);
                let timer = Timer::Patience;
                outputs.push(if owes { Output::Arm(timer) } else { Output::Disarm(timer) });
                self.hear(outputs);
                if self.awaited().is_some() {
                    self.somebody_is_heard(outputs);
                }
            }
            FollowerProgress::Drained => self.follower_drained(outputs),
        }
    }

    pub(super) fn follower_is_silent(&mut self, outputs: &mut Vec<Output>) {
        self.change_reign(|reign| reign.hears = false);
        self.follower_is_slow(outputs);
    }

    /// The follower does not acknowledge, or is not heard. Both rules hold until the witness has
    /// decided: the follower may have asked, too.
    pub(super) fn follower_is_slow(&mut self, outputs: &mut Vec<Output>) {
        let Part::Leading(reign) = self.part else {
            return;
        };
        if self.open.is_some() || reign.handover.is_promised() {
            return;
        }
        if reign.growing.is_some() {
            return self.give_up_growing(outputs);
        }
        let Some(known) = self.record.configuration.clone() else {
            return;
        };
        if known.members.len() > 1 {
            self.cancel_handover(outputs);
            let next = self.successor(&known, false);
            self.propose(known.epoch, next, false, outputs);
            self.ask(outputs);
        }
    }

    /// What the leader asked for cannot be granted any more.
    pub(super) fn change_refused(&mut self, outputs: &mut Vec<Output>) {
        let Part::Leading(reign) = self.part else {
            return;
        };
        if reign.growing.is_some() {
            self.give_up_growing(outputs);
        } else if reign.handover.is_promised() {
            outputs.push(Output::Arm(Timer::HandOver));
        } else {
            // The follower gets another chance; if it stays silent, the leader asks again.
            outputs.push(Output::Arm(Timer::Silence));
            if reign.owes {
                outputs.push(Output::Arm(Timer::Patience));
            }
        }
    }

    /// At level `local` a leader that hears nobody may have been replaced, and stops.
    pub(super) fn lapse(&mut self, outputs: &mut Vec<Output>) {
        self.change_reign(|reign| reign.lapsed = true);
        let rule = self.rule_of_reign();
        self.commit(rule, outputs);
    }

    pub(super) fn somebody_is_heard(&mut self, outputs: &mut Vec<Output>) {
        if self.leads() && self.setup.level == Durability::Local {
            outputs.push(Output::Arm(Timer::Alone));
            self.change_reign(|reign| reign.lapsed = false);
            let rule = self.rule_of_reign();
            self.commit(rule, outputs);
        }
    }
}
