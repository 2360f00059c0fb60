use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use broker::config::WitnessConfig;
use broker::dialect::{Topology, WitnessTopology, decode_body};
use broker::witness::{
    Ask, Configuration, Incarnation, Lineage, PartitionName, Position, ProcessId, ProposalNumber,
    Token, WitnessAnswer, WitnessId, WitnessRecord, WitnessRefusal, WitnessRequest, decode_answer,
    encode_answer, encode_request,
};
use uuid::Uuid;

use super::process::{ANY, announced, end, program, terminate};
use super::support::*;

const LEASE: Duration = Duration::from_millis(300);
const PAIR: Lineage = Lineage(Uuid::from_u128(0x1000));

fn node(number: u128) -> Incarnation {
    Incarnation(Uuid::from_u128(number))
}

/// A configuration that the first of its members leads.
fn configuration(epoch: u64, members: &[u128]) -> Configuration {
    let mut sorted: Vec<Incarnation> = members.iter().copied().map(node).collect();
    let leader = sorted[0];
    sorted.sort_unstable();
    Configuration { lineage: PAIR, epoch, leader, members: sorted, floor: [].into() }
}

/// A member of a pair, as far as the witness knows it.
struct Member {
    peer: Peer,
    node: u128,
    process: Uuid,
    number: u64,
    token: u64,
    witness: WitnessId,
}

impl Member {
    fn new(endpoint: &str, node: u128) -> Member {
        let witness = WitnessId(Uuid::nil());
        let peer = Peer::new(endpoint);
        Member { peer, node, process: Uuid::new_v4(), number: 0, token: 0, witness }
    }

    fn request(&self, ask: Ask) -> WitnessRequest {
        WitnessRequest {
            lineage: PAIR,
            member: node(self.node),
            process: ProcessId(self.process),
            position: Position::default(),
            ask,
        }
    }

    fn send(&mut self, ask: Ask) {
        self.token += 1;
        self.peer.send(encode_request(Token(self.token), &self.request(ask)).to_vec());
    }

    /// The answer to what was asked last.
    fn answer_within(&self, timeout: Duration) -> Option<WitnessAnswer> {
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let (token, answer) = decode_answer(&self.peer.receive_within(left)?).unwrap();
            assert_eq!(answer.member, node(self.node));
            if token == Token(self.token) {
                return Some(answer);
            }
        }
    }

    fn ask(&mut self, ask: Ask) -> WitnessAnswer {
        self.send(ask);
        let answer = self.answer_within(PATIENCE).expect("the witness answers");
        self.witness = answer.witness;
        answer
    }

    /// Reports until the witness that answers is the one that the report was for.
    fn report(&mut self, configuration: Option<Configuration>) -> WitnessAnswer {
        loop {
            self.number += 1;
            let (number, witness) = (ProposalNumber(self.number), Some(self.witness));
            let configuration = configuration.clone();
            let answer = self.ask(Ask::Report { witness, configuration, number, peer: None });
            if witness == Some(answer.witness) {
                return answer;
            }
        }
    }

    fn proposal(&mut self, next: Configuration) -> Ask {
        self.number += 1;
        let (number, base) = (ProposalNumber(self.number), next.epoch - 1);
        Ask::Propose { witness: self.witness, number, base, next, cosigned: false }
    }

    fn propose(&mut self, next: Configuration) -> WitnessAnswer {
        let proposal = self.proposal(next);
        self.ask(proposal)
    }
}

fn epoch(answer: &WitnessAnswer) -> u64 {
    answer.configuration.as_ref().map(|held| held.epoch).unwrap_or_default()
}

struct Witness {
    broker: Broker,
    endpoint: String,
}

fn witness() -> Witness {
    let broker = broker_with(|config| {
        let listen = "tcp://127.0.0.1:*".parse().unwrap();
        config.witness = Some(WitnessConfig { lease: LEASE, ..WitnessConfig::new(listen) });
    });
    let endpoint = broker.handle.witness_endpoint().unwrap().to_string();
    Witness { broker, endpoint }
}

/// A pair of 1 and 2, which 1 leads in epoch 2.
fn pair(endpoint: &str) -> (Member, Member) {
    let (mut one, mut two) = (Member::new(endpoint, 1), Member::new(endpoint, 2));
    one.report(None);
    two.report(None);
    assert_eq!(epoch(&one.propose(configuration(1, &[1]))), 1);
    assert_eq!(epoch(&one.propose(configuration(2, &[1, 2]))), 2);
    (one, two)
}

fn topology(broker: &str) -> WitnessTopology {
    let answer = Peer::new(broker).ask(Speech::V2, "mmi.topology", &[b"?"]);
    let topology: Topology = decode_body(&answer[4]).unwrap();
    topology.witness.expect("the broker is a witness")
}

/// The witness as a process, with its own directory.
fn start(data: &Path) -> (Child, String, String) {
    let mut child = program(data, &[ANY[0], ANY[1], "--witness-listen", "tcp://127.0.0.1:*"]);
    let [broker, witness] = announced(&mut child, ["listening", "witness"]);
    (child, broker, witness)
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

fn record_file(data: &Path) -> PathBuf {
    data.join("witness").join(format!("{}.register", PAIR.0))
}

fn recorded(data: &Path) -> WitnessRecord {
    rmp_serde::from_slice(&std::fs::read(record_file(data)).unwrap()[16..]).unwrap()
}

#[test]
fn one_of_two_proposals_is_granted_and_a_leader_that_is_heard_stays() {
    let witness = witness();
    let (mut one, mut two) = pair(&witness.endpoint);
    let refused = two.propose(configuration(3, &[2]));
    assert_eq!((epoch(&refused), refused.refusal), (2, Some(WitnessRefusal::LeaderAlive)));
    assert_eq!(refused.answered, ProposalNumber(two.number));
    // The leader falls silent; a moment later the same wish is granted.
    let deadline = Instant::now() + PATIENCE;
    while epoch(&two.propose(configuration(3, &[2]))) != 3 {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(20));
    }
    let late = one.propose(configuration(3, &[1]));
    assert_eq!((epoch(&late), late.refusal), (3, Some(WitnessRefusal::Lost)));
    assert_eq!(late.configuration.unwrap().leader, node(2));
}

#[test]
fn a_proposal_that_comes_again_decides_nothing_again() {
    let witness = witness();
    let (mut one, _two) = pair(&witness.endpoint);
    let shrink = one.proposal(configuration(3, &[1]));
    assert_eq!(epoch(&one.ask(shrink.clone())), 3);
    assert_eq!(epoch(&one.propose(configuration(4, &[1, 2]))), 4);
    for _ in 0..3 {
        let answer = one.ask(shrink.clone());
        assert_eq!((epoch(&answer), answer.answered), (4, ProposalNumber(one.number)));
    }
}

#[test]
fn a_killed_witness_remembers_everything_that_it_said() {
    let data = tempfile::tempdir().unwrap();
    let mut id = None;
    for round in 0..4u64 {
        let (child, _, endpoint) = start(data.path());
        let mut one = Member::new(&endpoint, 1);
        one.number = 100 * round;
        let answer = one.report(None);
        assert_eq!(*id.get_or_insert(answer.witness), answer.witness, "it is the same one");
        assert_eq!(epoch(&answer), 3 * round);
        for next in 3 * round + 1..=3 * round + 3 {
            let answer = one.propose(configuration(next, &[1]));
            assert_eq!(epoch(&answer), next);
            // What it said is on the disk by then, and so is a refusal.
            assert_eq!(recorded(data.path()).configuration(), answer.configuration.as_ref());
            let refused = one.propose(configuration(next, &[1]));
            assert_eq!(refused.refusal, Some(WitnessRefusal::Lost));
            let answered = recorded(data.path()).nodes[&node(1)].answered;
            assert_eq!(answered, ProposalNumber(one.number));
        }
        kill(child);
    }
}

#[test]
fn a_witness_without_its_record_believes_nobody_before_all_have_reported() {
    let data = tempfile::tempdir().unwrap();
    let (child, _, endpoint) = start(data.path());
    let (one, two) = pair(&endpoint);
    kill(child);
    std::fs::remove_dir_all(data.path().join("witness")).unwrap();
    let (child, broker, endpoint) = start(data.path());
    let again = |old: &Member| Member { number: old.number, ..Member::new(&endpoint, old.node) };
    let before = two.witness;
    let (mut one, mut two) = (again(&one), again(&two));
    // Two was away and knows the first configuration only.
    let answer = two.report(Some(configuration(1, &[1])));
    assert_ne!(answer.witness, before, "another memory, another witness");
    assert_eq!(answer.refusal, Some(WitnessRefusal::Missing { node: node(1) }));
    let refused = two.propose(configuration(2, &[2]));
    assert!(refused.refusal.is_some() && refused.configuration.is_none());
    assert!(!record_file(data.path()).exists());
    assert!(topology(&broker).pairs.iter().all(|pair| !pair.ready && pair.epoch == 0));
    let answer = one.report(Some(configuration(2, &[1, 2])));
    assert_eq!((epoch(&answer), answer.refusal), (2, None));
    assert_eq!(epoch(&one.propose(configuration(3, &[1]))), 3);
    kill(child);
}

#[test]
fn people_see_the_pair_and_who_was_heard() {
    let witness = witness();
    let (mut one, mut two) = pair(&witness.endpoint);
    let deadline = Instant::now() + PATIENCE;
    let seen = loop {
        one.ask(Ask::Beat);
        let seen = topology(&witness.broker.endpoint);
        if seen.pairs.iter().any(|pair| pair.epoch == 2) {
            break seen;
        }
        assert!(Instant::now() < deadline, "{seen:?}");
    };
    assert_eq!((seen.endpoint, seen.stopped, seen.lease_ms), (witness.endpoint, None, 300));
    let [pair] = seen.pairs.as_slice() else {
        panic!("{:?}", seen.pairs);
    };
    assert_eq!((pair.lineage, pair.leader, pair.ready), (PAIR.0, Some(node(1).0), true));
    assert_eq!(pair.nodes.len(), 2);
    assert!(pair.nodes.iter().all(|node| node.member && node.heard_ms.is_some()));
    two.ask(Ask::Beat);
}

#[test]
fn a_damaged_record_stops_the_witness_and_not_the_routing() {
    let data = tempfile::tempdir().unwrap();
    let (child, ..) = {
        let started = start(data.path());
        pair(&started.2);
        started
    };
    kill(child);
    let mut bytes = std::fs::read(record_file(data.path())).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(record_file(data.path()), &bytes).unwrap();
    let witness = ["--witness-listen", "tcp://127.0.0.1:*"];
    let mut child = program(data.path(), &[ANY[0], ANY[1], witness[0], witness[1]]);
    let [endpoint] = announced(&mut child, ["listening"]);
    let worker = Peer::worker(&endpoint, Speech::V2, "echo");
    let client = Peer::new(&endpoint);
    client.send(Speech::V2.request("echo", &[b"x"]));
    assert_eq!(Speech::V2.work(worker.next()).1, [b"x"]);
    let sentence = topology(&endpoint).stopped.expect("it says why it stopped");
    assert!(sentence.contains("damaged") && sentence.contains("move it away"), "{sentence}");
    terminate(&child);
    let (code, text) = end(child);
    assert_eq!(code, 0);
    assert!(text.contains(&sentence), "{text}");
    assert_eq!(std::fs::read(record_file(data.path())).unwrap(), bytes, "nothing is repaired");
}

#[test]
fn a_decision_that_cannot_be_made_durable_is_not_told_and_ends_the_process() {
    let data = tempfile::tempdir().unwrap();
    let (child, _, endpoint) = start(data.path());
    let (mut one, _two) = pair(&endpoint);
    std::fs::rename(data.path().join("witness"), data.path().join("elsewhere")).unwrap();
    let proposal = one.proposal(configuration(3, &[1]));
    one.send(proposal);
    let (code, text) = end(child);
    assert_eq!(code, 9, "{text}");
    assert!(text.contains("durable"), "{text}");
    assert!(one.answer_within(Duration::from_millis(50)).is_none());
    // With the records back it knows what it had told, and no more.
    std::fs::rename(data.path().join("elsewhere"), data.path().join("witness")).unwrap();
    let (child, _, endpoint) = start(data.path());
    assert_eq!(epoch(&Member::new(&endpoint, 1).ask(Ask::Beat)), 2);
    kill(child);
}

/// Rows of sixteen bytes, with what is text beside them.
fn dump(frame: &[u8]) -> String {
    let rows = frame.chunks(16).enumerate().map(|(row, bytes)| {
        let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let shown = |byte: &u8| if (0x20..0x7F).contains(byte) { *byte as char } else { '.' };
        let text: String = bytes.iter().map(shown).collect();
        format!("{:4}  {:47}  {text}\n", 16 * row, hex.join(" "))
    });
    rows.collect()
}

#[test]
fn the_protocol_page_shows_the_bytes_that_travel() {
    let id = |byte: u8| Uuid::from_bytes([byte; 16]);
    let (lineage, member, process) =
        (Lineage(id(0xAA)), Incarnation(id(0x11)), ProcessId(id(0x22)));
    let at = |sequence| [(PartitionName("orders/0".to_owned()), sequence)].into();
    let position = Position { aligned: 5, durable: at(17) };
    let beat = WitnessRequest { lineage, member, process, position, ask: Ask::Beat };
    let members = vec![member];
    let held = Configuration { lineage, epoch: 5, leader: member, members, floor: at(16) };
    let answer = WitnessAnswer {
        witness: WitnessId(id(0x77)),
        member,
        process,
        configuration: Some(held),
        history: Vec::new(),
        answered: ProposalNumber(4),
        refusal: None,
    };
    let page = include_str!("../../PROTOCOL.md");
    let frames = [encode_request(Token(7), &beat), encode_answer(Token(7), &answer)];
    for frame in frames.iter().flatten() {
        let bytes = dump(frame);
        assert!(page.contains(&bytes), "PROTOCOL.md lacks:\n{bytes}");
    }
}

#[test]
fn bytes_of_strangers_change_nothing_and_are_not_answered() {
    let witness = witness();
    let (mut one, mut two) = pair(&witness.endpoint);
    let sound = encode_request(Token(1), &one.request(Ask::Beat)).to_vec();
    let with = |change: &dyn Fn(&mut Message)| {
        let mut message = sound.clone();
        change(&mut message);
        message
    };
    let other = configuration(9, &[1]);
    let stranger = Configuration { lineage: Lineage(Uuid::from_u128(5)), ..other.clone() };
    let unsound = Configuration { members: vec![node(1), node(1)], ..other };
    let report = |configuration: Configuration| Ask::Report {
        witness: Some(one.witness),
        configuration: Some(configuration),
        number: ProposalNumber(1),
        peer: None,
    };
    let junk: Vec<Message> = vec![
        vec![vec![]],
        vec![b"SLG".to_vec()],
        vec![vec![0; 1_000_000]],
        with(&|message| message.truncate(1)),
        with(&|message| message.push(vec![])),
        with(&|message| message[0][3] = 2),
        with(&|message| message[0].truncate(15)),
        with(&|message| message[1].truncate(20)),
        with(&|message| message[1] = vec![0x91; 100_000]),
        with(&|message| message[1] = vec![0xDF, 0xFF, 0xFF, 0xFF, 0xFF]),
        with(&|message| message[1] = vec![0; 9 * 1024 * 1024]),
        vec![b"x".to_vec(); 100],
        encode_request(Token(1), &one.request(report(stranger))).to_vec(),
        encode_request(Token(1), &one.request(report(unsound))).to_vec(),
    ];
    let peer = Peer::new(&witness.endpoint);
    for message in &junk {
        peer.send(message.clone());
    }
    for place in 0..sound[1].len() {
        peer.send(with(&|message| message[1].truncate(place)));
    }
    // A sound one on the same connection is answered, and it is the first that is.
    peer.send(sound.clone());
    let (token, answer) = decode_answer(&peer.receive()).unwrap();
    assert_eq!((token, epoch(&answer)), (Token(1), 2));
    assert!(peer.receive_within(Duration::from_millis(50)).is_none());
    assert_eq!(epoch(&two.ask(Ask::Beat)), 2);
    assert_eq!(epoch(&one.propose(configuration(3, &[1, 2]))), 3);
}
