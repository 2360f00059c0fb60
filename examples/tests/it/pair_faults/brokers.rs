//! Brokers side by side: stores register with all, clients take the first that answers.

use starlog_examples::faults::Target;

use super::trial::{Setup, Trial};

#[test]
fn killing_one_broker_after_the_other_loses_no_call() {
    let mut trial = Trial::with(&Setup { brokers: 2, ..Setup::default() });
    let leader = trial.leader();
    for broker in [0, 1, 0] {
        trial.topology.kill(Target::Broker(broker)).unwrap();
        trial.wait_progress();
        trial.topology.restart(Target::Broker(broker)).unwrap();
        trial.topology.wait_ready().unwrap();
    }
    trial.wait_stays(|view| view.leader() == Some(leader) && view.members() == 2);
    trial.prove();
}

#[test]
fn a_leader_lost_together_with_a_broker_is_succeeded() {
    let mut trial = Trial::with(&Setup { brokers: 2, ..Setup::default() });
    let leader = trial.leader();
    trial.topology.kill(Target::Broker(1)).unwrap();
    trial.kill(leader);
    trial.wait_led_by(leader.other(), 1);
    trial.restart(leader);
    trial.topology.restart(Target::Broker(1)).unwrap();
    trial.wait_led_by(leader.other(), 2);
    trial.prove();
}
