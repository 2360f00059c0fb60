//! Each rule of the protocol, undone around the shipped machines, lets the search find a loss.

use std::time::Duration;

use super::rules::Rule;
use super::scenarios::{Scenario, formed};
use super::world::Budget;

const LIMIT: Duration = Duration::from_secs(60);
const NONE: Budget = Budget {
    appends: 0,
    timeouts: 0,
    restarts: 0,
    wipes: 0,
    snapshots: 0,
    put_backs: 0,
    copies: 0,
    witness_restarts: 0,
    amnesias: 0,
    handovers: 0,
};

fn without(rule: Rule, budget: Budget) -> Scenario {
    let name = match rule {
        Rule::None => "all rules",
        Rule::Acknowledge => "without R1",
        Rule::Follow => "without R2",
        Rule::Promise => "without R3, the leader's half",
        Rule::Silence => "without R3, the follower's half",
        Rule::Eligibility => "without R4",
        Rule::OneSuccessor => "without R5",
        Rule::Floor => "without floor and known positions",
        Rule::Numbers => "without proposal numbers",
    };
    Scenario { name, begin: formed(budget), ships: false, states_min: 0 }
}

/// The same world is sound with the rule and broken without it.
fn finds(scenario: &Scenario, rule: Rule) {
    let outcome = scenario.search(rule, LIMIT);
    assert!(!outcome.broken.is_empty(), "{} nothing is lost", scenario.name);
    for (property, steps) in &outcome.broken {
        println!("  not so: {property}, after {} steps", steps.len());
    }
}

#[test]
fn r1_acknowledge_what_every_member_has() {
    finds(
        &without(Rule::Acknowledge, Budget { appends: 1, timeouts: 1, ..NONE }),
        Rule::Acknowledge,
    );
}

#[test]
fn r2_follow_one_epoch() {
    let budget = Budget { appends: 2, timeouts: 1, restarts: 1, ..NONE };
    finds(&without(Rule::Follow, budget).late(), Rule::Follow);
}

#[test]
fn r3_a_leader_that_asks_commits_by_both_rules() {
    finds(&without(Rule::Promise, Budget { appends: 1, timeouts: 2, ..NONE }), Rule::Promise);
}

/// The follower's half of R3 is a second line of defence, and the search says so: a new leader
/// goes on from its own log, which holds whatever it acknowledged, before or after it asked. The
/// half would matter for a register that fixes at the vote what the new leader's log is; it stays
/// because a follower that promised nothing would confirm its leader's lease while it asks for
/// its place.
#[test]
fn r3_a_candidate_that_acknowledges_loses_nothing() {
    let budget = Budget { appends: 1, timeouts: 1, restarts: 1, ..NONE };
    let outcome = without(Rule::Silence, budget).search(Rule::Silence, LIMIT);
    assert!(outcome.broken.is_empty(), "{:#?}", outcome.broken);
}

#[test]
fn r4_only_members_come_to_lead() {
    let budget = Budget { appends: 1, timeouts: 2, ..NONE };
    finds(&without(Rule::Eligibility, budget), Rule::Eligibility);
}

#[test]
fn r5_one_successor() {
    finds(
        &without(Rule::OneSuccessor, Budget { appends: 1, timeouts: 2, ..NONE }),
        Rule::OneSuccessor,
    );
}

/// A directory below the floor, and one below what the witness heard of it.
#[test]
fn floor_and_known_positions() {
    let mut below_floor = without(Rule::Floor, Budget { timeouts: 1, put_backs: 1, ..NONE });
    below_floor.begin.host(0).backup = None;
    finds(&below_floor, Rule::Floor);
    let mut below_known = without(Rule::Floor, Budget { appends: 1, put_backs: 1, ..NONE });
    below_known.begin.tells_positions = true;
    below_known.begin.host(1).backup = None;
    finds(&below_known, Rule::Floor);
}

#[test]
fn proposal_numbers() {
    finds(
        &without(Rule::Numbers, Budget { appends: 1, timeouts: 2, copies: 1, ..NONE }),
        Rule::Numbers,
    );
}
