//! The model checker drives the machine through every order of events of small worlds: two
//! processes, a store, workers, clients, crashes anywhere.
//!
//! What is checked, in every state:
//! * an accepted command is in the log, and until it is closed no process calls it unknown,
//! * a reply that somebody fetched never becomes another one,
//! * in the log nothing follows a close, and no step contradicts those before it,
//! * a worker only gets what a committed Dispatched of that very process announced,
//! * who was told that a command is closed was told the truth.
//!
//! A rule can be taken out of the world around the machine ([`Rule`]), and then the checker has to
//! find the damage: a check that cannot fail proves nothing.

mod process;
mod rules;
mod steps;
mod world;

use stateright::{Checker, Model};

use self::process::Question;
use self::rules::Rule;
use self::steps::{Step, TitanicModel};
use self::world::{Budget, World, commands};

/// States of one world that an ordinary test run looks at, at most.
const STATES_MAX: usize = 80_000;
/// The same with `SLOW_TESTS=1`.
const STATES_MAX_SLOW: usize = 400_000;

fn states_max() -> usize {
    match std::env::var_os("SLOW_TESTS").is_some_and(|value| value == "1") {
        true => STATES_MAX_SLOW,
        false => STATES_MAX,
    }
}

/// What is promised, and has to hold in every state.
const PROMISES: [&str; 5] = ["kept", "replies", "log", "dispatched", "closed"];

/// A world to begin with, what may happen in it, and what must be met on the way.
struct Scenario {
    name: &'static str,
    begin: World,
    budget: Budget,
    sightings: &'static [&'static str],
}

fn explore(begin: &World, budget: Budget, undone: Rule) -> impl Checker<TitanicModel> + use<> {
    let begin = World { budget: Budget { commands: 1, ..budget }, ..begin.clone() };
    let model = TitanicModel { begin, undone };
    model.checker().threads(2).target_state_count(states_max()).spawn_bfs().join()
}

/// Lets everything happen to this process that need not be chosen, until nothing is left.
fn settle(world: &mut World, of: usize) {
    let model = TitanicModel { begin: world.clone(), undone: Rule::None };
    loop {
        let mut steps = Vec::new();
        model.actions(world, &mut steps);
        let is_due = |step: &Step| match step {
            Step::Store(by, _) | Step::Answer(by, _) | Step::Find(by, _) | Step::Hear(by) => {
                *by == of
            }
            _ => false,
        };
        let Some(step) = steps.into_iter().find(is_due) else {
            return;
        };
        happens(world, step);
    }
}

fn happens(world: &mut World, step: Step) {
    let model = TitanicModel { begin: world.clone(), undone: Rule::None };
    *world = model.next_state(world, step).unwrap();
}

/// The first process holds the shard.
fn claimed() -> World {
    let mut world = World::new(Budget { commands: 1, starts: 2, leases: 9, ..Budget::default() });
    settle(&mut world, 0);
    world
}

/// Both run, and the first holds the shard.
fn both() -> World {
    let mut world = claimed();
    happens(&mut world, Step::Start(1));
    world
}

fn submitted(mut world: World) -> World {
    world.budget.submits = 1;
    happens(&mut world, Step::Ask(0, Question::Submit, commands(1)[0]));
    world
}

/// Both run, and the first has sent the first attempt to a worker.
fn dispatched() -> World {
    let mut world = submitted(both());
    settle(&mut world, 0);
    assert_eq!(world.process(0).calls.len(), 1);
    world
}

/// Both have sent an attempt to a worker, because the second took the first for dead.
fn doubled() -> World {
    let mut world = dispatched();
    settle(&mut world, 1);
    happens(&mut world, Step::Lease(1));
    settle(&mut world, 1);
    assert_eq!(world.process(1).calls.len(), 1);
    world
}

/// The last attempt was lost.
fn dead() -> World {
    let mut world = dispatched();
    world.budget.losses = 2;
    for _ in 0..2 {
        happens(&mut world, Step::LoseWorker(0, 0));
        settle(&mut world, 0);
    }
    settle(&mut world, 1);
    world
}

fn scenarios() -> Vec<Scenario> {
    let none = Budget::default();
    let scenario = |name, begin, budget, sightings| Scenario { name, begin, budget, sightings };
    vec![
        scenario(
            "from submit to close",
            claimed(),
            Budget { submits: 1, fetches: 1, closes: 1, ..none },
            &["a reply is fetched", "closed while it was with a worker"],
        ),
        scenario(
            "sent twice, to both",
            both(),
            Budget { submits: 2, fetches: 1, unknowns: 1, ticks: 1, ..none },
            &[],
        ),
        scenario(
            "a crash while it is accepted and dispatched",
            submitted(claimed()),
            Budget { submits: 1, fetches: 1, crashes: 1, starts: 1, leases: 1, ..none },
            &["takeover", "second attempt"],
        ),
        scenario(
            "a takeover of one that is alive",
            dispatched(),
            Budget { fetches: 1, leases: 1, ..none },
            &["takeover", "second attempt", "a reply is fetched"],
        ),
        scenario(
            "two attempts at once",
            doubled(),
            Budget { fetches: 2, closes: 1, ..none },
            &["late reply", "a reply is fetched", "closed while it was with a worker"],
        ),
        scenario(
            "two attempts, a crash, and answers that get lost",
            doubled(),
            Budget { fetches: 1, unknowns: 1, ticks: 1, crashes: 1, starts: 1, leases: 1, ..none },
            &["late reply", "dead"],
        ),
        scenario(
            "lost workers",
            dispatched(),
            Budget { losses: 2, absences: 1, requeues: 1, fetches: 1, ..none },
            &["second attempt", "dead", "requeued"],
        ),
        scenario(
            "dead, requeued and closed by both",
            dead(),
            Budget { requeues: 2, closes: 2, fetches: 1, ..none },
            &["requeued", "second attempt"],
        ),
    ]
}

#[test]
fn no_order_of_events_breaks_a_promise() {
    for Scenario { name, begin, budget, sightings } in scenarios() {
        let checker = explore(&begin, budget, Rule::None);
        let (states, depth) = (checker.unique_state_count(), checker.max_depth());
        let is_whole = if checker.state_count() < states_max() { "" } else { "not " };
        println!("{name}: {states} different states, {depth} steps deep, {is_whole}all of them");
        for promise in PROMISES {
            checker.assert_no_discovery(promise);
        }
        for sighting in sightings {
            assert!(checker.discovery(sighting).is_some(), "{name}: {sighting} was never met");
        }
    }
}

#[test]
fn a_rule_that_does_not_hold_is_found_out() {
    let none = Budget::default();
    let rows = [
        (Rule::IdsAreUnique, "log", dispatched(), Budget { closes: 1, leases: 1, ..none }),
        (Rule::AcceptAfterCommit, "kept", claimed(), Budget { submits: 1, ..none }),
        (Rule::DispatchAfterCommit, "dispatched", submitted(both()), none),
        (Rule::FirstReplyWins, "replies", doubled(), Budget { fetches: 2, ..none }),
        (Rule::LookUpsAreStrong, "kept", submitted(both()), Budget { fetches: 1, ..none }),
    ];
    for (rule, promise, begin, budget) in rows {
        explore(&begin, budget, Rule::None).assert_no_discovery(promise);
        let checker = explore(&begin, budget, rule);
        let Some(path) = checker.discovery(promise) else {
            panic!("nobody misses {rule:?}");
        };
        println!("without {rule:?}: \"{promise}\" is broken after {:?}", path.into_actions());
    }
}

#[test]
fn nothing_rests_on_who_holds_a_shard() {
    let budget = Budget { submits: 1, fetches: 1, leases: 1, closes: 1, ..Budget::default() };
    let checker = explore(&both(), budget, Rule::ClaimsExcludeEachOther);
    for promise in PROMISES {
        checker.assert_no_discovery(promise);
    }
}
