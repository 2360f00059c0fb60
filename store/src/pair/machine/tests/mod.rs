//! The table of states and events, row by row.

mod following;
mod growing;
mod handover;

use broker::witness::{
    Ask, Configuration, Incarnation, Lineage, PartitionName, Position, ProcessId, ProposalNumber,
    Sequences, WitnessAnswer, WitnessId, WitnessRefusal, WitnessRequest,
};
use uuid::Uuid;

use super::*;
use crate::Durability;
use crate::pair::protocol::{FollowerProgress, Note, Role, Stall};

const ME: Incarnation = Incarnation(Uuid::from_u128(1));
const PEER: Incarnation = Incarnation(Uuid::from_u128(2));
const LINEAGE: Lineage = Lineage(Uuid::from_u128(100));
const WITNESS: WitnessId = WitnessId(Uuid::from_u128(200));
const OTHER_WITNESS: WitnessId = WitnessId(Uuid::from_u128(201));
const PROCESS: ProcessId = ProcessId(Uuid::from_u128(300));

fn sequences(count: u64) -> Sequences {
    Sequences::from([(PartitionName("orders/0".into()), count)])
}

fn configuration(epoch: u64, leader: Incarnation, members: &[Incarnation]) -> Configuration {
    let members = members.to_vec();
    Configuration { lineage: LINEAGE, epoch, leader, members, floor: sequences(8) }
}

fn setup() -> PairSetup {
    PairSetup {
        me: ME,
        process: PROCESS,
        lineage: LINEAGE,
        epoch: 3,
        role: Role::Primary,
        level: Durability::Pair,
        copies_min: 1,
        brings_data: false,
        durable: sequences(10),
        held: sequences(9),
    }
}

/// A node and what it put out last.
struct Bench {
    pair: Pair,
    outputs: Vec<Output>,
}

impl Bench {
    fn new(setup: PairSetup, configuration: Option<Configuration>) -> Bench {
        let promised = configuration.as_ref().map_or(0, |known| known.epoch);
        let witness = Some(WITNESS);
        let record = PairRecord { configuration, promised, witness, ..PairRecord::default() };
        let mut bench = Bench { pair: Pair::new(setup, record), outputs: Vec::new() };
        bench.give(Input::Start);
        bench.give(Input::PeerUp { peer: PEER });
        bench
    }

    /// Follows the peer in epoch 5, as a member.
    fn following() -> Bench {
        let both = configuration(5, PEER, &[ME, PEER]);
        let mut bench = Bench::new(setup(), Some(both.clone()));
        bench.told(both, None);
        assert_eq!(bench.pair.follows(), Some((PEER, 5)));
        bench
    }

    /// Leads in epoch 6 with these members.
    fn leading_as(setup: PairSetup, members: &[Incarnation]) -> Bench {
        let mut bench = Bench::new(setup, Some(configuration(5, ME, members)));
        bench.told(configuration(5, ME, members), None);
        bench.granted();
        assert!(bench.pair.leads() && bench.pair.epoch() == 6);
        bench
    }

    fn leading(members: &[Incarnation]) -> Bench {
        Bench::leading_as(setup(), members)
    }

    fn give(&mut self, input: Input) -> &mut Bench {
        self.outputs.clear();
        self.pair.handle(input, &mut self.outputs);
        self
    }

    fn elapsed(&mut self, timer: Timer) -> &mut Bench {
        self.give(Input::Elapsed(timer))
    }

    /// The witness answers, having decided all numbers so far.
    fn told(&mut self, holds: Configuration, refusal: Option<WitnessRefusal>) -> &mut Bench {
        let answer = self.answer(WITNESS, Some(holds), refusal);
        self.give(Input::Witness(answer))
    }

    fn answer(
        &self,
        witness: WitnessId,
        configuration: Option<Configuration>,
        refusal: Option<WitnessRefusal>,
    ) -> WitnessAnswer {
        WitnessAnswer {
            witness,
            member: ME,
            process: PROCESS,
            configuration,
            history: Vec::new(),
            answered: self.pair.record().number,
            refusal,
        }
    }

    /// The witness grants what is open.
    fn granted(&mut self) -> &mut Bench {
        let next = self.pair.open.clone().expect("a proposal").next;
        self.told(next, None)
    }

    fn refused(&mut self, refusal: WitnessRefusal) -> &mut Bench {
        let holds = self.pair.configuration().cloned().expect("a configuration");
        self.told(holds, Some(refusal))
    }

    fn beat(&mut self, configuration: Option<Configuration>, leads: bool) -> &mut Bench {
        let message = PeerMessage::Beat { configuration, leads, has_data: false };
        self.give(Input::Peer { from: PEER, message })
    }

    /// The peer beats in the epoch that it is led in.
    fn is_heard(&mut self) -> &mut Bench {
        self.beat(self.pair.configuration().cloned(), false)
    }

    fn saved(&self) -> Option<&PairRecord> {
        self.outputs.iter().find_map(|output| match output {
            Output::Save(record) => Some(record),
            _ => None,
        })
    }

    fn place(&self, wanted: impl Fn(&Output) -> bool) -> usize {
        let place = self.outputs.iter().position(wanted);
        place.unwrap_or_else(|| panic!("{:#?}", self.outputs))
    }

    fn has(&self, output: &Output) -> bool {
        self.outputs.contains(output)
    }

    /// The proposal that was just sent: base, epoch, members, cosigned.
    fn proposed(&self) -> Option<(u64, u64, Vec<Incarnation>, bool)> {
        self.outputs.iter().find_map(|output| match output {
            Output::Witness(WitnessRequest {
                ask: Ask::Propose { base, next, cosigned, .. },
                ..
            }) => Some((*base, next.epoch, next.members.clone(), *cosigned)),
            _ => None,
        })
    }

    fn reported(&self) -> bool {
        let is_report = |output: &Output| {
            matches!(output, Output::Witness(WitnessRequest { ask: Ask::Report { .. }, .. }))
        };
        self.outputs.iter().any(is_report)
    }
}

fn is_save(output: &Output) -> bool {
    matches!(output, Output::Save(_))
}

fn is_question(output: &Output) -> bool {
    matches!(output, Output::Witness(_))
}

#[test]
fn start_reports_under_a_new_number() {
    let mut pair = Pair::new(setup(), PairRecord::default());
    let mut outputs = Vec::new();
    pair.handle(Input::Start, &mut outputs);
    assert_eq!(outputs[0], Output::Commit(CommitRule::Held));
    assert_eq!(pair.record().reported, ProposalNumber(1));
    let bench = Bench { pair, outputs };
    assert!(bench.place(is_save) < bench.place(is_question) && bench.reported());
}

#[test]
fn a_new_pair_begins_with_whoever_has_events_else_with_the_primary() {
    let with = |role, brings_data| PairSetup { role, brings_data, ..setup() };
    for (role, mine, theirs, begins) in [
        (Role::Primary, false, false, true),
        (Role::Backup, false, false, false),
        (Role::Primary, false, true, false),
        (Role::Backup, true, false, true),
    ] {
        let mut bench = Bench::new(with(role, mine), None);
        let answer = bench.answer(WITNESS, None, Some(WitnessRefusal::Empty));
        bench.give(Input::Witness(answer));
        assert_eq!(bench.pair.standing(), &Standing::Stalled(Stall::Peer));
        let message = PeerMessage::Beat { configuration: None, leads: false, has_data: theirs };
        bench.give(Input::Peer { from: PEER, message });
        let expected = begins.then(|| (0, 4, vec![ME], false));
        assert_eq!(bench.proposed(), expected, "{role:?} {mine} {theirs}");
    }
    let mut bench = Bench::new(with(Role::Primary, true), None);
    let message = PeerMessage::Beat { configuration: None, leads: false, has_data: true };
    bench.give(Input::Peer { from: PEER, message });
    assert!(bench.has(&Output::Halt(Halt::BothBringData)));
    bench.give(Input::Start);
    assert_eq!(bench.outputs, [], "whoever halted does nothing any more");
}

#[test]
fn a_new_node_joins_a_pair_that_exists() {
    let alone = configuration(5, PEER, &[PEER]);
    let mut bench = Bench::new(setup(), None);
    bench.beat(Some(alone.clone()), true);
    assert_eq!(bench.saved().unwrap().configuration, Some(alone.clone()));
    assert!(bench.reported() && bench.pair.follows().is_none(), "the witness is heard first");
    bench.told(alone.clone(), None);
    assert_eq!(bench.pair.follows(), Some((PEER, 5)));

    let mut bench = Bench::new(PairSetup { brings_data: true, ..setup() }, None);
    bench.beat(Some(alone), true);
    assert!(bench.has(&Output::Halt(Halt::BothBringData)));
}

#[test]
fn another_history_is_not_joined() {
    let mut bench = Bench::new(setup(), Some(configuration(5, PEER, &[ME, PEER])));
    let lineage = Lineage(Uuid::from_u128(7));
    bench.beat(Some(Configuration { lineage, ..configuration(9, PEER, &[PEER]) }), true);
    assert!(bench.has(&Output::Halt(Halt::OtherLineage)));
}

#[test]
fn a_leader_that_restarts_asks_for_the_next_epoch_before_it_leads() {
    let mut bench = Bench::new(setup(), Some(configuration(5, ME, &[ME, PEER])));
    bench.told(configuration(5, ME, &[ME, PEER]), None);
    assert!(!bench.pair.leads());
    assert_eq!(bench.proposed(), Some((5, 6, vec![ME, PEER], false)));
    bench.granted();
    let record = bench.saved().unwrap();
    assert_eq!((record.aligned, record.promised), (6, 6));
    let leads = bench.place(|output| matches!(output, Output::Become(Standing::Leading { .. })));
    let commits = bench.place(|output| *output == Output::Commit(CommitRule::Both));
    assert!(bench.place(is_save) < leads && leads < commits);
}

#[test]
fn joining_without_an_answer_stalls_and_asks_again() {
    let mut bench = Bench::new(setup(), Some(configuration(5, ME, &[ME, PEER])));
    bench.elapsed(Timer::Ask);
    assert!(bench.has(&Output::Become(Standing::Stalled(Stall::Witness))) && bench.reported());
    let answer = bench.answer(WITNESS, None, Some(WitnessRefusal::Missing { node: PEER }));
    bench.give(Input::Witness(answer));
    assert_eq!(bench.pair.standing(), &Standing::Stalled(Stall::WitnessWaits));
}

#[test]
fn a_directory_that_was_put_back_or_copied_halts() {
    let mut bench = Bench::new(setup(), Some(configuration(5, PEER, &[ME, PEER])));
    bench.refused(WitnessRefusal::PutBack { node: ME });
    assert!(bench.has(&Output::Halt(Halt::PutBack)));

    let mut bench = Bench::new(setup(), Some(configuration(5, PEER, &[ME, PEER])));
    for round in 1..=20 {
        bench.refused(WitnessRefusal::SecondProcess);
        assert_eq!(bench.has(&Output::Halt(Halt::SecondProcess)), round == 20, "{round}");
    }
}

/// It had heard of the epoch by a beat; then the witness lost its record, and granted it anew.
#[test]
fn another_configuration_of_the_same_epoch_is_believed_if_the_witness_holds_it() {
    let mut bench = Bench::following();
    bench.told(configuration(6, PEER, &[PEER]), None);
    let both = configuration(6, PEER, &[ME, PEER]);
    bench.told(both.clone(), None);
    assert_eq!(bench.pair.configuration(), Some(&both));
    assert_eq!(bench.pair.follows(), Some((PEER, 6)));
}

#[test]
fn a_report_that_was_not_taken_is_repeated() {
    let both = configuration(5, PEER, &[ME, PEER]);
    let mut bench = Bench::new(setup(), Some(both.clone()));
    let missing = WitnessRefusal::Missing { node: ME };
    bench.told(both.clone(), Some(missing.clone()));
    assert!(!bench.pair.is_known && bench.pair.follows().is_none(), "nothing is settled by it");
    bench.elapsed(Timer::Ask);
    assert!(bench.reported());
    bench.told(both.clone(), Some(WitnessRefusal::PutBack { node: ME }));
    assert!(bench.has(&Output::Halt(Halt::PutBack)));

    let mut bench = Bench::following();
    bench.told(both, Some(missing));
    assert!(bench.reported(), "a witness that has forgotten it learns of it again");
}

#[test]
fn a_proposal_refused_for_its_log_is_followed_by_a_report() {
    let mut bench = Bench::following();
    bench.elapsed(Timer::Abandon).refused(WitnessRefusal::PutBack { node: ME });
    assert!(bench.reported() && !bench.has(&Output::Halt(Halt::PutBack)));
    assert!(!bench.has(&Output::Disarm(Timer::Ask)), "the report may get lost");
    bench.refused(WitnessRefusal::PutBack { node: ME });
    assert!(bench.has(&Output::Halt(Halt::PutBack)));
}

#[test]
fn answers_that_are_not_for_this_report_do_not_count() {
    let both = configuration(5, PEER, &[ME, PEER]);
    let newer = configuration(6, ME, &[ME]);
    let mut bench = Bench::new(setup(), Some(both));
    let mut former = bench.answer(WITNESS, Some(newer.clone()), None);
    former.process = ProcessId(Uuid::from_u128(299));
    let mut early = bench.answer(WITNESS, Some(newer.clone()), None);
    early.answered = ProposalNumber(0);
    for answer in [former, early] {
        bench.give(Input::Witness(answer));
        assert_eq!((bench.pair.epoch(), bench.outputs.len()), (5, 0));
    }
    let other = bench.answer(OTHER_WITNESS, Some(newer.clone()), None);
    bench.give(Input::Witness(other));
    assert_eq!(bench.saved().unwrap().witness, Some(OTHER_WITNESS));
    assert!(bench.reported() && bench.pair.epoch() == 5);
    let read = bench.answer(OTHER_WITNESS, Some(newer), None);
    bench.give(Input::Witness(read));
    assert_eq!(bench.pair.epoch(), 6, "once it read the report, it is believed");
}

#[test]
fn a_witness_that_is_behind_is_told() {
    let mut bench = Bench::following();
    bench.told(configuration(4, PEER, &[ME, PEER]), None);
    assert!(bench.reported());
    let is_last_of_ask = |bench: &Bench| {
        let about = |output: &&Output| {
            matches!(output, Output::Arm(Timer::Ask) | Output::Disarm(Timer::Ask))
        };
        bench.outputs.iter().rfind(about) == Some(&Output::Arm(Timer::Ask))
    };
    assert!(is_last_of_ask(&bench), "the report may get lost");
    assert!(bench.elapsed(Timer::Ask).reported() && is_last_of_ask(&bench));
    bench.told(configuration(5, PEER, &[ME, PEER]), None);
    assert!(bench.has(&Output::Disarm(Timer::Ask)));
}

#[test]
fn a_grant_of_a_former_run_is_replaced_by_a_clean_epoch() {
    let mut bench = Bench::following();
    bench.told(configuration(6, ME, &[ME]), None);
    assert!(!bench.pair.leads());
    assert_eq!(bench.proposed(), Some((6, 7, vec![ME], false)));
}

#[test]
fn a_leader_shrinks_and_commits_by_both_until_decided() {
    for timer in [Timer::Patience, Timer::Silence] {
        let mut bench = Bench::leading(&[ME, PEER]);
        bench.elapsed(timer);
        assert_eq!(bench.proposed(), Some((6, 7, vec![ME], false)));
        assert_eq!((bench.pair.rule(), bench.pair.asks()), (CommitRule::Both, true));
        bench.refused(WitnessRefusal::SecondProcess);
        bench.refused(WitnessRefusal::Invalid);
        assert!(bench.has(&Output::Arm(Timer::Silence)) && !bench.pair.asks());
        assert_eq!(bench.pair.rule(), CommitRule::Both);
        bench.elapsed(timer).granted();
        assert!(bench.has(&Output::Note(Note::Solo)));
        assert_eq!((bench.pair.epoch(), bench.pair.rule()), (7, CommitRule::Alone));
        assert!(bench.has(&Output::Arm(Timer::Grow { attempt: 1 })), "it was not whole for long");
    }
    let mut bench = Bench::leading(&[ME, PEER]);
    bench.elapsed(Timer::Settled).elapsed(Timer::Silence).granted();
    assert!(bench.has(&Output::Arm(Timer::Grow { attempt: 0 })));
}

#[test]
fn patience_runs_from_the_first_that_is_owed() {
    let mut bench = Bench::leading(&[ME, PEER]);
    let owes = Input::Follower(FollowerProgress::Owes);
    assert!(bench.give(owes.clone()).has(&Output::Arm(Timer::Patience)));
    assert!(!bench.give(owes).has(&Output::Arm(Timer::Patience)));
    for (owes, expected) in
        [(true, Output::Arm(Timer::Patience)), (false, Output::Disarm(Timer::Patience))]
    {
        let progress = FollowerProgress::Acknowledged { owes };
        assert!(bench.give(Input::Follower(progress)).has(&expected));
    }
}

#[test]
fn a_replaced_leader_commits_nothing_more_before_it_follows() {
    let mut bench = Bench::leading(&[ME, PEER]);
    bench.beat(Some(configuration(7, PEER, &[PEER])), true);
    let held = bench.place(|output| *output == Output::Commit(CommitRule::Held));
    let follows =
        bench.place(|output| matches!(output, Output::Become(Standing::Following { .. })));
    assert!(held < bench.place(is_save) && bench.place(is_save) < follows);
    assert!(bench.has(&Output::Note(Note::Deposed)));
}

#[test]
fn a_log_is_cut_only_for_the_leader_that_is_followed() {
    let mut bench = Bench::following();
    assert!(bench.give(Input::Cutting { epoch: 4 }).outputs.is_empty());
    bench.give(Input::Cutting { epoch: 5 });
    assert_eq!(bench.saved().unwrap().aligned, 5);
    assert!(bench.place(is_save) < bench.place(|output| *output == Output::Cut { epoch: 5 }));
    bench.elapsed(Timer::Abandon).give(Input::Cutting { epoch: 5 });
    assert!(bench.outputs.is_empty(), "a candidate's log stays");
}

#[test]
fn the_witness_hears_how_far_a_log_is_once_it_agrees() {
    let told = |bench: &Bench| {
        bench.outputs.iter().find_map(|output| match output {
            Output::Witness(request) => Some(request.position.clone()),
            _ => None,
        })
    };
    let mut bench = Bench::following();
    assert_eq!(told(bench.elapsed(Timer::Beat)), Some(Position::default()));
    bench.give(Input::Aligned { epoch: 5 });
    assert_eq!(bench.saved().unwrap().aligned, 5);
    let position = Position { aligned: 5, durable: sequences(10) };
    assert_eq!(told(bench.elapsed(Timer::Beat)), Some(position));
    bench.beat(Some(configuration(6, PEER, &[ME, PEER])), true);
    assert_eq!(told(bench.elapsed(Timer::Beat)), Some(Position::default()));
}

#[test]
fn a_proposal_tells_the_floor_of_what_every_member_holds() {
    let mut bench = Bench::leading(&[ME, PEER]);
    bench.give(Input::Logs { durable: sequences(20), held: sequences(17) });
    bench.elapsed(Timer::Silence);
    assert_eq!(bench.pair.open.as_ref().unwrap().next.floor, sequences(17));
    let mut bench = Bench::leading(&[ME, PEER]);
    bench.give(Input::Logs { durable: sequences(20), held: sequences(2) });
    bench.elapsed(Timer::Silence);
    assert_eq!(bench.pair.open.as_ref().unwrap().next.floor, sequences(9), "it never falls");
}

#[test]
fn at_level_local_a_leader_that_hears_nobody_stops() {
    let mut bench =
        Bench::leading_as(PairSetup { level: Durability::Local, ..setup() }, &[ME, PEER]);
    bench.elapsed(Timer::Alone);
    assert_eq!(bench.pair.rule(), CommitRule::Held);
    bench.beat(Some(configuration(6, ME, &[ME, PEER])), false);
    assert_eq!(bench.pair.rule(), CommitRule::Both);
    assert!(bench.has(&Output::Arm(Timer::Alone)));
}

#[test]
fn messages_of_others_are_passed_over() {
    let mut bench = Bench::following();
    let from = Incarnation(Uuid::from_u128(9));
    let configuration = Some(configuration(9, from, &[from]));
    let message = PeerMessage::Beat { configuration, leads: true, has_data: false };
    assert!(bench.give(Input::Peer { from, message }).outputs.is_empty());
    let mut answer = bench.answer(WITNESS, None, None);
    answer.member = from;
    assert!(bench.give(Input::Witness(answer)).outputs.is_empty());
}
