//! The tests: many seeds, some of them twice, one that somebody asked for, and planted mistakes.

use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::oracle::Counters;
use crate::plan::{Budget, Mistake, Plan};
use crate::world::{Report, World};

/// Runs of `cargo test`; each has its own seed.
const SEEDS: u64 = 1_000;
const SEEDS_SLOW: u64 = 50_000;
/// Runs in which more is lost than can be borne.
const SEEDS_EXCESSIVE: u64 = 150;
/// One seed in so many is run twice.
const TWICE_EVERY: u64 = 20;
/// Runs in which a planted mistake must show.
const SEEDS_MISTAKE_MAX: u64 = 400;
const THREADS: u64 = 2;

fn run(seed: u64, budget: Budget, mistake: Option<Mistake>, readable: bool) -> Report {
    let plan = Plan { mistake, ..Plan::draw(seed, budget) };
    if readable {
        println!("{plan:#?}");
    }
    World::new(plan, readable).run()
}

/// What a panic says.
fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default()
}

fn try_run(seed: u64, budget: Budget, mistake: Option<Mistake>) -> Result<Report, String> {
    catch_unwind(AssertUnwindSafe(|| run(seed, budget, mistake, false)))
        .map_err(|panic| words(&*panic))
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// Runs seeds until all are done or some have failed.
fn run_all(first: u64, count: u64, budget: Budget) -> Counters {
    let next = AtomicU64::new(first);
    let results: Mutex<(Counters, Vec<String>)> = Mutex::default();
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        return;
                    }
                    let outcome = run_once_or_twice(seed, budget);
                    let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
                    match outcome {
                        Ok(report) => results.0.add(&report.counters),
                        Err(why) => results.1.push(format!("{}\n{why}", command(seed, budget))),
                    }
                    if results.1.len() >= 5 {
                        return;
                    }
                }
            });
        }
    });
    let (counters, failures) = results.into_inner().unwrap();
    assert!(failures.is_empty(), "{} runs failed:\n\n{}", failures.len(), failures.join("\n\n"));
    println!("{count} seeds: {counters}");
    counters
}

fn run_once_or_twice(seed: u64, budget: Budget) -> Result<Report, String> {
    let report = try_run(seed, budget, None)?;
    if seed.is_multiple_of(TWICE_EVERY) {
        let again = try_run(seed, budget, None)?;
        let same = (report.digest, report.events) == (again.digest, again.events);
        if !same {
            return Err("the same seed has two histories".to_owned());
        }
    }
    Ok(report)
}

fn command(seed: u64, budget: Budget) -> String {
    let test = match budget {
        Budget::Survivable => "a_seed_that_was_asked_for",
        Budget::Excessive => "an_excessive_seed_that_was_asked_for",
    };
    format!(
        "seed {seed}: STARLOG_SEED={seed} cargo test -p starlog-examples --test simulation {test} \
         -- --nocapture"
    )
}

#[test]
fn a_seed_that_was_asked_for() {
    if let Some(seed) = number("STARLOG_SEED") {
        let report = run(seed, Budget::Survivable, None, true);
        println!("{report:?}");
    }
}

#[test]
fn an_excessive_seed_that_was_asked_for() {
    if let Some(seed) = number("STARLOG_SEED") {
        let report = run(seed, Budget::Excessive, None, true);
        println!("{report:?}");
    }
}

#[test]
fn whatever_can_be_borne_is_borne() {
    let slow = if env::var_os("SLOW_TESTS").is_some() { SEEDS_SLOW } else { SEEDS };
    let first = number("STARLOG_FIRST_SEED").unwrap_or(1);
    let counters = run_all(first, number("STARLOG_SEEDS").unwrap_or(slow), Budget::Survivable);
    // Halts have no place here; all else must have happened for the run to say something.
    let missing: Vec<&str> =
        counters.missing().into_iter().filter(|name| *name != "halts").collect();
    assert!(missing.is_empty(), "these never happened: {missing:?}");
}

#[test]
fn what_cannot_be_borne_stops_and_says_nothing_wrong() {
    let count = number("STARLOG_SEEDS").unwrap_or(SEEDS_EXCESSIVE);
    let counters = run_all(1, count, Budget::Excessive);
    assert!(counters.wipes > 0 && counters.amnesias > 0 && counters.acknowledged > 0);
}

/// Seeds are tried until the mistake shows.
fn assert_found(mistake: Mistake) {
    let found = (1..=SEEDS_MISTAKE_MAX).find_map(|seed| {
        try_run(seed, Budget::Survivable, Some(mistake)).err().map(|why| (seed, why))
    });
    let (seed, why) = found.unwrap_or_else(|| panic!("{mistake:?} was not found"));
    println!("{mistake:?} shows with seed {seed}: {why}");
}

#[test]
fn a_follower_that_acknowledges_before_its_sync_is_found() {
    assert_found(Mistake::AcknowledgesEarly);
}

#[test]
fn a_leader_that_goes_on_alone_unasked_is_found() {
    assert_found(Mistake::GoesOnAlone);
}

#[test]
fn a_witness_that_answers_before_its_sync_is_found() {
    assert_found(Mistake::WitnessForgets);
}

#[test]
fn a_member_that_forgets_its_promise_is_found() {
    assert_found(Mistake::MemberForgets);
}

#[test]
fn a_deposed_leader_that_commits_by_itself_is_found() {
    assert_found(Mistake::CommitsWhenDeposed);
}

#[test]
fn a_feed_that_shows_too_much_is_found() {
    assert_found(Mistake::ShowsUncommitted);
}
