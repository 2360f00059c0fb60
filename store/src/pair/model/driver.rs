//! That what ought to come about does: calm worlds, in which everything that can happen does,
//! after one fault.

use stateright::Model;

use super::rules::Rule;
use super::scenarios::{formed, fresh};
use super::sightings::{Sighting, Sightings};
use super::steps::{PairModel, Step};
use super::world::{Budget, World};
use crate::pair::protocol::{CommitRule, Note, Standing};

/// A world with somebody who lets things happen.
struct Calm {
    world: World,
    model: PairModel,
}

impl Calm {
    fn new(world: World) -> Calm {
        let seen = Sightings::default();
        Calm {
            world,
            model: PairModel { begins: Vec::new(), ships: false, undone: Rule::None, seen },
        }
    }

    /// One thing happens, whether or not there is a budget for it.
    fn step(&mut self, step: Step) -> &mut Calm {
        self.world.budget = Budget {
            appends: 1,
            timeouts: 1,
            restarts: 1,
            wipes: 1,
            witness_restarts: 1,
            amnesias: 1,
            handovers: 1,
            ..Budget::default()
        };
        if let Some(next) = self.model.next_state(&self.world, step) {
            self.world = next;
        }
        self.world.budget = Budget::default();
        self
    }

    /// Everything but faults and timeouts happens, until nothing does; not to those that are away.
    fn settle(&mut self, away: &[usize]) -> &mut Calm {
        let is_due = |step: &Step| match step {
            Step::Deliver { leader_heard, .. } => !leader_heard,
            Step::BeatToPeer(of) | Step::Replicate(of) => away.is_empty() && *of < 2,
            Step::BeatToWitness(of) | Step::Ask(of) | Step::Sync(of) => !away.contains(of),
            _ => false,
        };
        // A question that nobody can answer yet is asked for ever.
        for _ in 0..300 {
            let mut steps = Vec::new();
            self.model.actions(&self.world, &mut steps);
            let mut steps = steps.into_iter().filter(is_due);
            let Some(next) = steps.find_map(|step| self.model.next_state(&self.world, step)) else {
                return self;
            };
            self.world = next;
        }
        self
    }

    /// Host `of` leads with so many members, acknowledges an event, and nothing was broken.
    fn leads(&mut self, of: usize, members: usize) -> &mut Calm {
        let pair = &self.world.hosts[of].pair;
        let Standing::Leading { configuration } = pair.standing() else {
            panic!("{:#?}", self.world);
        };
        assert_eq!(configuration.members.len(), members);
        let rule = if members == 1 { CommitRule::Alone } else { CommitRule::Both };
        assert_eq!(pair.rule(), rule);
        let before = self.world.acknowledged.len();
        self.step(Step::Append(of));
        self.settle(if members == 1 { &[0, 1] } else { &[] });
        self.step(Step::Sync(of));
        assert_eq!(self.world.acknowledged.len(), before + 1, "{:#?}", self.world);
        assert_eq!(self.world.broken, None);
        assert!(self.world.keeps_what_it_acknowledged());
        self
    }

    fn met(&self, note: Note) -> &Calm {
        assert!(self.model.seen.has(Sighting::Note(note)), "{note:?}");
        self
    }
}

fn whole() -> Calm {
    Calm::new(formed(Budget::default()))
}

#[test]
fn two_new_nodes_become_a_pair() {
    Calm::new(fresh(Budget::default())).settle(&[]).leads(0, 2);
}

#[test]
fn a_follower_takes_over_and_the_former_leader_comes_back() {
    let mut calm = whole();
    calm.step(Step::Append(0)).step(Step::Sync(0));
    calm.step(Step::Abandon(1)).settle(&[0]).leads(1, 1).met(Note::Failover);
    calm.step(Step::Restart(0)).settle(&[]).leads(1, 2).met(Note::Rejoined);
}

#[test]
fn a_leader_goes_on_alone_and_takes_its_follower_in_again() {
    let mut calm = whole();
    calm.step(Step::Silence(0)).settle(&[1]).leads(0, 1).met(Note::Solo);
    calm.settle(&[]).leads(0, 2).met(Note::Rejoined);
}

#[test]
fn a_replaced_leader_steps_down() {
    let mut calm = whole();
    calm.step(Step::Abandon(1)).settle(&[0]).leads(1, 1);
    calm.step(Step::Append(0)).step(Step::Sync(0)).settle(&[]).leads(1, 2).met(Note::Deposed);
}

#[test]
fn a_leader_that_restarts_leads_again() {
    whole().step(Step::Restart(0)).settle(&[]).leads(0, 2);
}

#[test]
fn a_follower_that_restarts_follows_again() {
    whole().step(Step::Restart(1)).settle(&[]).leads(0, 2);
}

#[test]
fn both_restart_in_either_order() {
    whole().step(Step::Restart(0)).step(Step::Restart(1)).settle(&[]).leads(0, 2);
    whole().step(Step::Restart(1)).step(Step::Restart(0)).settle(&[]).leads(0, 2);
}

#[test]
fn a_leader_hands_over_and_back() {
    let mut calm = whole();
    calm.step(Step::HandOver(0)).settle(&[]).leads(1, 2).met(Note::HandedOver);
    calm.step(Step::HandOver(1)).settle(&[]).leads(0, 2);
}

#[test]
fn a_handover_without_an_answer_leaves_the_leader() {
    let mut calm = whole();
    calm.step(Step::HandOver(0)).step(Step::HandOverTakesLong(0)).settle(&[]);
    calm.leads(0, 2);
}

#[test]
fn a_wiped_follower_becomes_a_member_again() {
    whole().step(Step::Wipe(1)).step(Step::Silence(0)).settle(&[]).leads(0, 2);
}

#[test]
fn a_wiped_leader_becomes_a_member_again() {
    whole().step(Step::Wipe(0)).step(Step::Abandon(1)).settle(&[]).leads(1, 2);
}

#[test]
fn a_witness_that_lost_its_record_hears_both_and_goes_on() {
    let mut calm = whole();
    calm.step(Step::Amnesia).settle(&[]).leads(0, 2);
    calm.step(Step::Abandon(1)).settle(&[0]).leads(1, 1);
}

#[test]
fn a_witness_that_lost_its_record_waits_for_the_other_member() {
    let mut calm = whole();
    calm.step(Step::Amnesia).step(Step::Abandon(1)).settle(&[0]);
    assert!(!calm.world.hosts[1].pair.leads(), "the witness decides on the word of one node");
    calm.settle(&[]).leads(0, 2);
}

#[test]
fn a_witness_that_restarts_knows_what_it_knew() {
    let mut calm = whole();
    calm.step(Step::Abandon(1)).settle(&[0]).step(Step::RestartWitness).settle(&[]);
    calm.leads(1, 2);
}
