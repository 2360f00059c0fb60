//! What is searched, how far, and what must have been met on the way.

use std::time::{Duration, Instant};

use stateright::{Checker, HasDiscoveries, Model};

use super::rules::Rule;
use super::sightings::{Sighting, Sightings};
use super::steps::{PairModel, Step};
use super::world::{Budget, World};
use crate::pair::protocol::{Input, Note};

const SLOW_SEARCH: Duration = Duration::from_secs(25);

/// A bounded search.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub name: &'static str,
    pub begin: World,
    pub ships: bool,
    /// Fewest states that the search meets; fewer mean that something cannot happen any more.
    pub states_min: usize,
}

/// What a search came to.
pub struct Outcome {
    pub states: usize,
    pub is_complete: bool,
    pub seen: Sightings,
    /// Properties that do not hold, each with the steps that lead there.
    pub broken: Vec<(&'static str, Vec<Step>)>,
}

impl Scenario {
    fn new(name: &'static str, states_min: usize, budget: Budget) -> Scenario {
        Scenario { name, begin: formed(budget), ships: false, states_min }
    }

    /// Reports, answers and acknowledgements take their time, too.
    pub fn late(mut self) -> Scenario {
        self.begin.is_late = true;
        self
    }

    fn telling_positions(mut self) -> Scenario {
        self.begin.tells_positions = true;
        self
    }

    #[expect(clippy::disallowed_methods, reason = "how long a search took is printed")]
    pub fn search(&self, undone: Rule, limit: Duration) -> Outcome {
        let seen = Sightings::default();
        let begins = vec![self.begin.clone()];
        let model = PairModel { begins, ships: self.ships, undone, seen: seen.clone() };
        let began = Instant::now();
        let checker = model
            .checker()
            .threads(2)
            .timeout(limit)
            .finish_when(HasDiscoveries::AnyFailures)
            .spawn_bfs()
            .join();
        let states = checker.unique_state_count();
        let is_complete = began.elapsed() < limit;
        let ended = if is_complete { "all of" } else { "stopped after" };
        println!("{}: {ended} {states} states, {:.1?}", self.name, began.elapsed());
        let discoveries = checker.discoveries().into_iter();
        let steps = |path: stateright::Path<World, Step>| path.into_actions();
        let broken = discoveries.map(|(name, path)| (name, steps(path))).collect();
        Outcome { states, is_complete, seen, broken }
    }
}

/// A pair formed in the plainest way: host 0 leads in epoch 2, host 1 is a member, one event is
/// acknowledged. The backup of host 1 is from before it had that.
pub fn formed(budget: Budget) -> World {
    let seen = Sightings::default();
    let model = PairModel { begins: Vec::new(), ships: false, undone: Rule::None, seen };
    let mut world = fresh(Budget { appends: 1, ..Budget::default() });
    let is_due = |world: &World, step: &Step| match step {
        Step::Deliver { leader_heard, .. } => !leader_heard,
        Step::Replicate(_) => !world.acknowledged.is_empty(),
        _ => true,
    };
    for _ in 0..200 {
        let mut steps = Vec::new();
        model.actions(&world, &mut steps);
        let mut steps = steps.into_iter().filter(|step| is_due(&world, step));
        let Some(next) = steps.find_map(|step| model.next_state(&world, step)) else {
            break;
        };
        world = next;
        if world.hosts[1].log.is_empty() && world.hosts[1].disk.configuration.is_some() {
            world.host(1).backup = Some((world.hosts[1].disk.clone(), Vec::new(), 0));
        }
    }
    assert!(world.hosts[1].durable == 1 && world.acknowledged.len() == 1, "{world:#?}");
    world.host(0).backup = Some((world.hosts[0].disk.clone(), world.hosts[0].log.clone(), 1));
    world.network.clear();
    world.budget = budget;
    world
}

/// Two new nodes.
pub fn fresh(budget: Budget) -> World {
    let seen = Sightings::default();
    let mut world = World::new(budget);
    for of in [0, 1] {
        world.give(of, Input::Start, Rule::None, &seen);
    }
    world.connect(Rule::None, &seen);
    world
}

/// Small enough for every test run; together they cover every fault.
fn small() -> Vec<Scenario> {
    let none = Budget::default();
    let mut begins = Scenario::new("new nodes", 11_000, none);
    begins.begin = fresh(Budget { appends: 1, restarts: 1, ..none });
    let failover = Budget { appends: 1, timeouts: 2, ..none };
    let crash = Budget { appends: 1, timeouts: 1, restarts: 1, ..none };
    let mut shipped =
        Scenario::new("late events", 12_000, Budget { appends: 1, timeouts: 1, ..none });
    shipped.ships = true;
    let mut below_floor =
        Scenario::new("below the floor", 230, Budget { timeouts: 1, put_backs: 1, ..none });
    below_floor.begin.host(0).backup = None;
    vec![
        begins,
        Scenario::new("failover", 66_000, failover),
        Scenario::new("crash", 31_000, crash),
        shipped.late(),
        Scenario::new("copies", 3000, Budget { timeouts: 2, copies: 1, ..none }),
        Scenario::new("handover", 12_000, Budget { appends: 1, timeouts: 1, handovers: 1, ..none }),
        Scenario::new("wiped", 34_000, Budget { appends: 1, timeouts: 1, wipes: 1, ..none }),
        Scenario::new("put back", 2100, Budget { appends: 1, put_backs: 1, ..none })
            .telling_positions(),
        below_floor,
        Scenario::new("amnesia", 30_000, Budget { appends: 1, timeouts: 1, amnesias: 1, ..none }),
        Scenario::new(
            "witness restarts",
            2500,
            Budget { timeouts: 2, witness_restarts: 1, ..none },
        ),
    ]
}

/// The same faults, more of them at once.
fn large() -> Vec<Scenario> {
    let none = Budget::default();
    let crash = Budget { appends: 2, timeouts: 2, restarts: 1, ..none };
    let mut shipped = Scenario::new("late events", 1, Budget { appends: 2, timeouts: 2, ..none });
    shipped.ships = true;
    let wiped = Budget { appends: 1, timeouts: 2, restarts: 1, wipes: 1, ..none };
    let put_back = Budget { appends: 1, timeouts: 1, put_backs: 1, ..none };
    let amnesia = Budget { appends: 1, timeouts: 2, restarts: 1, amnesias: 1, ..none };
    let late_amnesia = Budget { timeouts: 2, copies: 1, amnesias: 1, ..none };
    let late_reports = Budget { timeouts: 1, restarts: 1, copies: 1, amnesias: 1, ..none };
    vec![
        Scenario::new("late reports", 1, late_reports).late(),
        Scenario::new("failover", 1, Budget { appends: 2, timeouts: 3, ..none }),
        Scenario::new("crash", 1, crash),
        Scenario::new("late crash", 1, Budget { appends: 1, ..crash }).late(),
        shipped.late(),
        Scenario::new("copies", 1, Budget { appends: 1, timeouts: 3, copies: 1, ..none }),
        Scenario::new("handover", 1, Budget { handovers: 1, ..crash }),
        Scenario::new("wiped", 1, wiped),
        Scenario::new("put back", 1, put_back).telling_positions(),
        Scenario::new("amnesia", 1, amnesia),
        Scenario::new("late amnesia", 1, late_amnesia).late(),
    ]
}

fn hold(scenarios: &[Scenario], limit: Duration) {
    let mut met = Vec::new();
    let mut states = 0;
    for scenario in scenarios {
        let outcome = scenario.search(Rule::None, limit);
        assert!(outcome.broken.is_empty(), "{}: {:#?}", scenario.name, outcome.broken);
        let is_whole = outcome.is_complete || limit == SLOW_SEARCH;
        assert!(is_whole, "{} does not end", scenario.name);
        assert!(outcome.states >= scenario.states_min, "{} met too little", scenario.name);
        states += outcome.states;
        met.push(outcome.seen);
    }
    println!("{states} states in all");
    for sighting in [
        Sighting::Note(Note::Failover),
        Sighting::Note(Note::Solo),
        Sighting::Note(Note::Rejoined),
        Sighting::Note(Note::Deposed),
        Sighting::Note(Note::LostRace),
        Sighting::Note(Note::LeaderKept),
        Sighting::Note(Note::HandedOver),
        Sighting::Zombie,
        Sighting::Cut,
        Sighting::Halted,
        Sighting::OldBulk,
        Sighting::OldAcknowledgement,
        Sighting::Recalled,
    ] {
        assert!(met.iter().any(|seen| seen.has(sighting)), "nowhere met: {sighting:?}");
    }
}

#[test]
fn the_protocol_holds_in_small_worlds() {
    hold(&small(), Duration::from_secs(120));
}

#[test]
fn the_protocol_holds_in_larger_worlds() {
    if std::env::var_os("SLOW_TESTS").is_some() {
        hold(&large(), SLOW_SEARCH);
    }
}
