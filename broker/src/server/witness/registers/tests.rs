#![allow(clippy::disallowed_methods, reason = "a test needs some instant to start from")]

use super::*;
use crate::witness::{
    Ask, Configuration, Position, ProcessId, ProposalNumber, WitnessAnswer, WitnessRefusal,
};
use uuid::Uuid;

const LEASE: Duration = Duration::from_millis(600);
const PAIR: u128 = 100;

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn node(number: u128) -> Incarnation {
    Incarnation(id(number))
}

/// The configuration of `epoch`, led by the first of its members.
fn configuration(lineage: u128, epoch: u64, members: &[u128]) -> Configuration {
    let mut sorted: Vec<Incarnation> = members.iter().copied().map(node).collect();
    let leader = sorted[0];
    sorted.sort_unstable();
    Configuration {
        lineage: Lineage(id(lineage)),
        epoch,
        leader,
        members: sorted,
        floor: [].into(),
    }
}

struct Bench {
    registers: Registers,
    now: Instant,
    saved: BTreeMap<Lineage, WitnessRecord>,
}

impl Bench {
    /// A witness that has listened for a lease.
    fn new() -> Bench {
        Bench::with(4, Vec::new())
    }

    fn with(max: usize, records: Vec<WitnessRecord>) -> Bench {
        let start = Instant::now();
        let registers = Registers::new(start, (LEASE, max), WitnessId(id(77)), records);
        Bench { registers, now: start + LEASE, saved: BTreeMap::new() }
    }

    fn request(&self, member: u128, ask: Ask) -> WitnessRequest {
        WitnessRequest {
            lineage: Lineage(id(PAIR)),
            member: node(member),
            process: ProcessId(id(1_000 + member)),
            position: Position::default(),
            ask,
        }
    }

    /// Requests that arrive together, and their answers.
    fn together(&mut self, requests: Vec<WitnessRequest>) -> Vec<WitnessAnswer> {
        let heard: Vec<_> =
            requests.into_iter().filter(|request| self.registers.hear(self.now, request)).collect();
        let mut answers = Vec::new();
        for request in heard {
            let mut outputs = Vec::new();
            self.registers.decide(self.now, request, &mut outputs);
            for output in outputs {
                match output {
                    WitnessOutput::Save(record) => {
                        self.saved.insert(record.lineage, record);
                    }
                    WitnessOutput::Answer(answer) => answers.push(answer),
                }
            }
        }
        answers
    }

    fn ask(&mut self, member: u128, ask: Ask) -> WitnessAnswer {
        let request = self.request(member, ask);
        self.together(vec![request]).pop().expect("an answer")
    }

    /// What the witness says to a proposal: the epoch that holds, and why it is not the new one.
    fn propose(&mut self, number: u64, next: Configuration) -> (u64, Option<WitnessRefusal>) {
        let by = next.leader.0.as_u128();
        let ask = proposal(number, next.epoch - 1, next);
        let answer = self.ask(by, ask);
        (answer.configuration.map(|held| held.epoch).unwrap_or_default(), answer.refusal)
    }

    /// A pair of 1 and 2, led by 1 in epoch 2.
    fn pair() -> Bench {
        let mut bench = Bench::new();
        assert_eq!(bench.propose(1, configuration(PAIR, 1, &[1])), (1, None));
        assert_eq!(bench.propose(2, configuration(PAIR, 2, &[1, 2])), (2, None));
        bench
    }
}

fn proposal(number: u64, base: u64, next: Configuration) -> Ask {
    let witness = WitnessId(id(77));
    Ask::Propose { witness, number: ProposalNumber(number), base, next, cosigned: false }
}

#[test]
fn a_leader_keeps_its_place_for_a_lease_after_its_last_word() {
    let mut bench = Bench::pair();
    bench.now += LEASE - Duration::from_millis(1);
    let takeover = configuration(PAIR, 3, &[2]);
    assert_eq!(bench.propose(1, takeover.clone()), (2, Some(WitnessRefusal::LeaderAlive)));
    bench.now += Duration::from_millis(1);
    assert_eq!(bench.propose(2, takeover), (3, None));
}

#[test]
fn a_heartbeat_that_waits_behind_a_proposal_counts_before_it() {
    let mut bench = Bench::pair();
    bench.now += 10 * LEASE;
    let takeover = bench.request(2, proposal(1, 2, configuration(PAIR, 3, &[2])));
    let beat = bench.request(1, Ask::Beat);
    let answers = bench.together(vec![takeover, beat]);
    assert_eq!(answers[0].refusal, Some(WitnessRefusal::LeaderAlive));
    assert_eq!(answers[1].configuration.as_ref().unwrap().epoch, 2);
}

#[test]
fn a_witness_that_has_just_started_replaces_nobody() {
    let before = Bench::pair();
    let records: Vec<WitnessRecord> = before.saved.into_values().collect();
    let mut bench = Bench::with(4, records);
    bench.now -= Duration::from_millis(1);
    let takeover = configuration(PAIR, 3, &[2]);
    assert_eq!(bench.propose(1, takeover.clone()), (2, Some(WitnessRefusal::LeaderAlive)));
    bench.now += Duration::from_millis(1);
    assert_eq!(bench.propose(2, takeover), (3, None));
}

#[test]
fn the_second_process_with_the_same_data_is_told_so_and_the_first_goes_on() {
    let mut bench = Bench::pair();
    bench.ask(1, Ask::Beat);
    let copy = WitnessRequest {
        process: ProcessId(id(5)),
        ..bench.request(1, proposal(9, 2, configuration(PAIR, 3, &[1])))
    };
    let answer = bench.together(vec![copy.clone()]).remove(0);
    assert_eq!(answer.refusal, Some(WitnessRefusal::SecondProcess));
    assert_eq!(bench.propose(3, configuration(PAIR, 3, &[1, 2])), (3, None));
    // After a restart nobody else speaks any more.
    bench.now += LEASE;
    assert_eq!(bench.together(vec![copy]).remove(0).refusal, Some(WitnessRefusal::Lost));
}

#[test]
fn pairs_do_not_touch_each_other_and_their_number_is_bounded() {
    let mut bench = Bench::pair();
    let of = |bench: &Bench, lineage: u128, ask: Ask| WitnessRequest {
        lineage: Lineage(id(lineage)),
        ..bench.request(1, ask)
    };
    for lineage in 200..203 {
        let begins = of(&bench, lineage, proposal(1, 0, configuration(lineage, 1, &[1])));
        assert_eq!(bench.together(vec![begins]).remove(0).configuration.unwrap().epoch, 1);
    }
    // Four are known, which is all that there is room for.
    let fifth = of(&bench, 300, proposal(1, 0, configuration(300, 1, &[1])));
    assert!(bench.together(vec![fifth]).is_empty());
    assert_eq!(bench.ask(1, Ask::Beat).configuration.unwrap().epoch, 2);
    assert_eq!(bench.registers.view().len(), 4);
}

#[test]
fn a_pair_of_which_nothing_is_known_makes_room() {
    let mut bench = Bench::with(2, Vec::new());
    for lineage in 1..1_000 {
        let stranger =
            WitnessRequest { lineage: Lineage(id(lineage)), ..bench.request(1, Ask::Beat) };
        assert_eq!(bench.together(vec![stranger])[0].refusal, Some(WitnessRefusal::Empty));
    }
    assert_eq!(bench.registers.by_lineage.len(), 2);
    assert!(bench.registers.view().is_empty());
    assert!(bench.saved.is_empty());
}

#[test]
fn the_view_names_members_and_whoever_knocks() {
    let mut bench = Bench::pair();
    bench.now += LEASE;
    bench.ask(2, Ask::Beat);
    bench.ask(3, Ask::Beat);
    let view = bench.registers.view();
    let [pair] = view.as_slice() else {
        panic!("{view:?}");
    };
    assert_eq!((pair.lineage, pair.epoch, pair.leader), (id(PAIR), 2, Some(id(1))));
    let nodes: Vec<_> = pair.nodes.iter().map(|node| (node.incarnation, node.member)).collect();
    assert_eq!(nodes, [(id(1), true), (id(2), true), (id(3), false)]);
    assert_eq!(pair.nodes[0].heard_at, Some(bench.now - LEASE));
    assert_eq!(pair.nodes[1].heard_at, Some(bench.now));
}
