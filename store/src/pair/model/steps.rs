//! Everything that can happen next, as the checker asks for it.

use broker::witness::Ask;
use stateright::{Model, Property};

use super::rules::Rule;
use super::sightings::{Sighting, Sightings};
use super::world::{Budget, Envelope, Host, World};
use crate::pair::protocol::{CommitRule, Input, Standing, Timer};

/// A bounded world to be searched.
#[derive(Clone, Debug)]
pub struct PairModel {
    pub begins: Vec<World>,
    /// Whether appends are also shipped one by one, so that they may come late.
    pub ships: bool,
    pub undone: Rule,
    pub seen: Sightings,
}

/// Something happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A message arrives; a copy of it may come again.
    Deliver {
        envelope: Box<Envelope>,
        leader_heard: bool,
        again: bool,
    },
    BeatToPeer(usize),
    BeatToWitness(usize),
    /// A follower has not heard its leader for long.
    Abandon(usize),
    /// A leader has not heard its follower.
    Silence(usize),
    /// The last question got lost, and its answer too.
    Ask(usize),
    HandOver(usize),
    HandOverTakesLong(usize),
    Append(usize),
    Sync(usize),
    Replicate(usize),
    Restart(usize),
    Wipe(usize),
    Snapshot(usize),
    PutBack(usize),
    RestartWitness,
    Amnesia,
}

impl Model for PairModel {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        self.begins.clone()
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        if world.broken.is_some() {
            return;
        }
        for envelope in &world.network {
            deliveries(world, envelope, steps);
        }
        for of in [0, 1] {
            if !world.hosts[of].is_halted {
                talk(world, of, steps);
                work(world, of, self.undone, steps);
                timeouts(world, of, steps);
            }
            faults(world, of, steps);
        }
        if world.budget.witness_restarts > 0 {
            steps.push(Step::RestartWitness);
        }
        if world.budget.amnesias > 0 {
            steps.push(Step::Amnesia);
        }
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        let mut next = world.clone();
        next.take(step, self);
        for of in [0, 1] {
            next.settle(of, self.undone, &self.seen);
        }
        (next != *world).then_some(next)
    }

    fn properties(&self) -> Vec<Property<PairModel>> {
        vec![
            Property::always("no event, epoch or cut contradicts another", |_, world: &World| {
                world.broken.is_none()
            }),
            Property::always(
                "whoever may lead has all that was acknowledged",
                |_, world: &World| world.keeps_what_it_acknowledged(),
            ),
            Property::always("whoever leads is whole", |_, world: &World| {
                world.leaders_are_whole()
            }),
        ]
    }
}

fn deliveries(world: &World, envelope: &Envelope, steps: &mut Vec<Step>) {
    let mut deliver = |leader_heard, again| {
        let envelope = Box::new(envelope.clone());
        steps.push(Step::Deliver { envelope, leader_heard, again });
    };
    deliver(false, false);
    let Envelope::Request(request) = envelope else {
        return;
    };
    let may_be_copied = match request.ask {
        Ask::Propose { cosigned, .. } => {
            let holds = world.witness.record().configuration();
            if !cosigned && holds.is_some_and(|holds| holds.leader != request.member) {
                deliver(true, false);
            }
            true
        }
        Ask::Report { .. } => true,
        Ask::Beat => false,
    };
    if may_be_copied && world.budget.copies > 0 {
        deliver(false, true);
    }
}

fn talk(world: &World, of: usize, steps: &mut Vec<Step>) {
    if !world.hosts[1 - of].is_halted {
        steps.push(Step::BeatToPeer(of));
    }
    steps.push(Step::BeatToWitness(of));
    let me = world.hosts[of].me;
    let is_about = |envelope: &Envelope| match envelope {
        Envelope::Request(request) => request.member == me,
        Envelope::Answer(answer) => answer.member == me,
        _ => false,
    };
    let pair = &world.hosts[of].pair;
    let joins = matches!(pair.standing(), Standing::Joining | Standing::Stalled(_));
    let answered = world.witness.record().nodes.get(&me).map(|node| node.answered);
    let reports = answered.unwrap_or_default() < pair.record().reported;
    if (joins || reports || pair.asks()) && !world.network.iter().any(is_about) {
        steps.push(Step::Ask(of));
    }
}

fn work(world: &World, of: usize, rule: Rule, steps: &mut Vec<Step>) {
    let host = &world.hosts[of];
    if world.budget.appends > 0 && world.takes_appends(of) {
        steps.push(Step::Append(of));
    }
    if host.durable < host.log.len() {
        steps.push(Step::Sync(of));
    }
    if world.can_replicate(of, rule) {
        steps.push(Step::Replicate(of));
    }
}

fn timeouts(world: &World, of: usize, steps: &mut Vec<Step>) {
    let pair = &world.hosts[of].pair;
    if world.budget.handovers > 0 && world.takes_appends(of) {
        steps.push(Step::HandOver(of));
    }
    if world.budget.timeouts == 0 {
        return;
    }
    if pair.follows().is_some() {
        steps.push(Step::Abandon(of));
    }
    if pair.leads() && pair.rule() == CommitRule::Both && !pair.asks() {
        steps.push(Step::Silence(of));
    }
    if matches!(pair.standing(), Standing::HandingOver { .. }) {
        steps.push(Step::HandOverTakesLong(of));
    }
}

fn faults(world: &World, of: usize, steps: &mut Vec<Step>) {
    let Budget { restarts, wipes, snapshots, put_backs, .. } = world.budget;
    if restarts > 0 {
        steps.push(Step::Restart(of));
    }
    if wipes > 0 && other_has_all(world, of) {
        steps.push(Step::Wipe(of));
    }
    if snapshots > 0 {
        steps.push(Step::Snapshot(of));
    }
    if put_backs > 0 && may_be_put_back(world, of) {
        steps.push(Step::PutBack(of));
    }
}

/// The one disk that holds what was acknowledged alone cannot be lost without losing it.
fn other_has_all(world: &World, of: usize) -> bool {
    let other = &world.hosts[1 - of];
    let is_member = world.newest.as_ref().is_some_and(|newest| newest.has(other.me));
    is_member && !other.is_halted && !other.is_put_back
}

/// A snapshot can be told from a disk only by what somebody else was told of that disk: the floor,
/// or what the witness heard in a heartbeat. So only snapshots that are behind that are put back,
/// and those that lack nothing. And as for a wipe, the other node must have everything.
fn may_be_put_back(world: &World, of: usize) -> bool {
    let host = &world.hosts[of];
    let Some((disk, log, _)) = &host.backup else {
        return false;
    };
    let lacks_nothing = log[..] == *host.synced() && disk.aligned == host.disk.aligned;
    let earlier = Host { disk: disk.clone(), durable: log.len(), ..Host::clone(host) }.position();
    let is_told = |node: &broker::witness::NodeRecord| !earlier.reaches(&node.known);
    let told = world.witness.record().nodes.get(&host.me).is_some_and(is_told);
    let is_below_floor = world.newest.as_ref().is_some_and(|newest| {
        newest.has(host.me) && !broker::witness::covers(&earlier.durable, &newest.floor)
    });
    lacks_nothing || ((told || is_below_floor) && other_has_all(world, of))
}

impl World {
    fn take(&mut self, step: Step, model: &PairModel) {
        let (rule, seen) = (model.undone, &model.seen);
        match step {
            Step::Deliver { envelope, leader_heard, again } => {
                self.deliver(*envelope, leader_heard, again, model);
            }
            Step::BeatToPeer(of) => self.beat_to_peer(of, rule, seen),
            Step::BeatToWitness(of) => self.beat_to_witness(of, rule, seen),
            Step::Abandon(of) => {
                self.budget.timeouts -= 1;
                self.give(of, Input::Elapsed(Timer::Abandon), rule, seen);
            }
            Step::Silence(of) => {
                self.budget.timeouts -= 1;
                self.give(of, Input::Elapsed(Timer::Silence), rule, seen);
            }
            Step::HandOverTakesLong(of) => {
                self.budget.timeouts -= 1;
                self.give(of, Input::Elapsed(Timer::HandOver), rule, seen);
            }
            Step::Ask(of) => self.ask_again(of, rule, seen),
            Step::HandOver(of) => {
                self.budget.handovers -= 1;
                self.give(of, Input::HandOver, rule, seen);
            }
            Step::Append(of) => {
                self.append(of, model.ships);
                self.budget.appends -= 1;
            }
            Step::Sync(of) => self.sync(of, rule, seen),
            Step::Replicate(to) => self.replicate(to, rule, seen),
            fault => self.suffer(fault, rule, seen),
        }
    }

    fn deliver(&mut self, envelope: Envelope, leader_heard: bool, again: bool, model: &PairModel) {
        let (rule, seen) = (model.undone, &model.seen);
        if again {
            self.budget.copies -= 1;
        } else {
            self.network.remove(&envelope);
        }
        match envelope {
            Envelope::Request(request) => self.request(request, leader_heard, rule),
            Envelope::Answer(answer) => self.answer(answer, rule, seen),
            Envelope::Synced { .. } => self.synced(&envelope, rule, seen),
            Envelope::Bulk { .. } => self.bulk(&envelope, rule, seen),
        }
    }

    fn suffer(&mut self, fault: Step, rule: Rule, seen: &Sightings) {
        match fault {
            Step::Restart(of) => {
                self.budget.restarts -= 1;
                self.restart(of, rule, seen);
            }
            Step::Wipe(of) => {
                self.budget.wipes -= 1;
                self.wipe(of, rule, seen);
            }
            Step::Snapshot(of) => {
                self.budget.snapshots -= 1;
                let host = self.host(of);
                host.backup = Some((host.disk.clone(), host.synced().to_vec(), host.held));
            }
            Step::PutBack(of) => {
                self.budget.put_backs -= 1;
                self.put_back(of, rule, seen);
            }
            Step::RestartWitness => {
                self.budget.witness_restarts -= 1;
                self.restart_witness(false);
            }
            Step::Amnesia => {
                self.budget.amnesias -= 1;
                self.restart_witness(true);
                seen.note(Sighting::Recalled);
            }
            _ => {}
        }
    }

    fn put_back(&mut self, of: usize, rule: Rule, seen: &Sightings) {
        let host = self.host(of);
        let Some((disk, log, held)) = host.backup.clone() else {
            return;
        };
        if log[..] != *host.synced() {
            host.is_put_back = true;
            // The witness has it in memory; that it forgets it, too, is one fault more.
            self.budget.witness_restarts = 0;
            self.budget.amnesias = 0;
        }
        let host = self.host(of);
        host.durable = log.len();
        host.log = log;
        host.disk = disk;
        host.held = held;
        self.restart(of, rule, seen);
    }
}
