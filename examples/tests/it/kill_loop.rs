//! kill -9 and stops of broker, stores and hosts at moments that a seed decides.
//!
//! The quickstart itself makes the proof and exits with 0 only if it holds: no acknowledged append
//! lost or doubled, orders and versions gapless, bytes equal, views equal to a full replay.

use std::time::Duration;

use crate::program;

const PATIENCE: Duration = Duration::from_secs(120);
const SEEDS: u64 = 3;
const SEEDS_SLOW: u64 = 30;

#[test]
fn no_seed_breaks_a_promise() {
    let slow = std::env::var("SLOW_TESTS").is_ok_and(|value| value == "1");
    let seeds = if slow { 100..100 + SEEDS_SLOW } else { 1..1 + SEEDS };
    for seed in seeds {
        survive(seed, if slow { 12_000 } else { 4_000 }, if slow { 12 } else { 6 });
    }
}

/// One load with faults. The seed in the message repeats it.
fn survive(seed: u64, events: u64, faults: u64) {
    let folder = tempfile::tempdir().unwrap();
    // Small segments are sealed and indexed all the time, so that kills hit that as well.
    let seed_number = seed;
    let segment = if seed.is_multiple_of(2) { "64KiB" } else { "64MiB" };
    let [seed, events, faults] = [seed, events, faults].map(|number| number.to_string());
    let load = ["--seed", &seed, "--events", &events, "--segment", segment];
    let harm = ["--faults", &faults, "--drop-one-in", "8"];
    // Stores without a peer have to survive it, too.
    let copies = ["--copies", if seed_number.is_multiple_of(3) { "1" } else { "2" }];
    let arguments = [&load[..], &harm, &copies].concat();
    let ended = program::quickstart(&arguments, (folder.path(), PATIENCE));
    if !ended.status.success() {
        let kept = folder.keep();
        panic!("seed {seed} fails: {arguments:?}, data in {kept:?}\n{}", ended.words());
    }
    assert!(ended.output.contains("kill -9 of broker"), "seed {seed}:\n{}", ended.words());
}
