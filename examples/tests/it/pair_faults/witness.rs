//! The witness killed, and without its record.

use std::fs;

use starlog_examples::{clock::Deadline, faults::Target};

use super::trial::{PATIENCE, Setup, Trial};

/// The first broker is the witness; the second one carries the load while it is away.
const WITNESS: Target = Target::Broker(0);

fn with_two_brokers() -> Trial {
    Trial::with(&Setup { brokers: 2, ..Setup::default() })
}

/// Takes the witness's record away.
fn lose_record(trial: &Trial) {
    let record = trial.topology.config().broker_folder(0).join("witness");
    assert!(fs::read_dir(&record).unwrap().count() > 0, "there was a record");
    fs::remove_dir_all(&record).unwrap();
}

/// Waits until the witness knows the pair and would decide.
fn wait_ready(trial: &Trial) {
    let client = trial.client();
    let ready = Deadline::after(PATIENCE).wait_for(|| {
        let topology = client.topology(PATIENCE).ok()?;
        let pairs = topology.witness?.pairs;
        (!pairs.is_empty() && pairs.iter().all(|pair| pair.ready)).then_some(())
    });
    assert_eq!(ready, Some(()), "the witness never came to know the pair");
}

#[test]
fn a_killed_witness_is_not_missed_before_the_next_change() {
    let mut trial = with_two_brokers();
    let leader = trial.leader();
    trial.topology.kill(WITNESS).unwrap();
    trial.wait_progress();
    trial.wait_stays(|view| view.leader() == Some(leader) && view.members() == 2);
    trial.topology.restart(WITNESS).unwrap();
    trial.prove();
}

#[test]
fn a_change_waits_for_the_witness() {
    let mut trial = with_two_brokers();
    let leader = trial.leader();
    trial.topology.kill(WITNESS).unwrap();
    trial.wait_progress();
    trial.kill(leader.other());
    // Nobody may shrink without the witness.
    trial.expect_silence();
    trial.topology.restart(WITNESS).unwrap();
    trial.wait_led_by(leader, 1);
    trial.restart(leader.other());
    trial.wait_led_by(leader, 2);
    trial.prove();
}

#[test]
fn a_failover_waits_for_the_witness() {
    let mut trial = with_two_brokers();
    let leader = trial.leader();
    trial.topology.kill(WITNESS).unwrap();
    trial.wait_progress();
    trial.kill(leader);
    // Nobody may take over without the witness.
    trial.expect_silence();
    trial.topology.restart(WITNESS).unwrap();
    trial.wait_led_by(leader.other(), 1);
    trial.restart(leader);
    trial.wait_led_by(leader.other(), 2);
    trial.prove();
}

#[test]
fn a_witness_without_its_record_learns_it_from_both_nodes() {
    let mut trial = Trial::start();
    let leader = trial.leader();
    trial.topology.kill(WITNESS).unwrap();
    lose_record(&trial);
    trial.topology.restart(WITNESS).unwrap();
    wait_ready(&trial);
    trial.wait_progress();
    trial.kill(leader);
    trial.wait_led_by(leader.other(), 1);
    trial.restart(leader);
    trial.wait_led_by(leader.other(), 2);
    trial.prove();
}

#[test]
fn a_witness_without_its_record_believes_no_single_node() {
    let mut trial = Trial::start();
    let leader = trial.leader();
    trial.kill(leader);
    trial.wait_led_by(leader.other(), 1);
    // Only the survivor knows that it acknowledged alone.
    trial.topology.kill(WITNESS).unwrap();
    trial.kill(leader.other());
    lose_record(&trial);
    trial.topology.restart(WITNESS).unwrap();
    trial.restart(leader);
    // It lacks what the other one acknowledged.
    trial.expect_silence();
    trial.restart(leader.other());
    trial.wait_led_by(leader.other(), 2);
    trial.prove();
}
