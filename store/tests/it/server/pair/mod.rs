//! Two nodes, a witness and a broker over loopback: failures, one at a time.

mod filtered;
mod life;
mod processes;
mod refusals;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use broker::config::WitnessConfig;
use broker::dialect::SessionId;
use broker::error_code::ErrorCode;
use broker::net::Endpoint;
use bytes::Bytes;
use store::pair::{PairSettings, PairTiming, Role};
use store::server::config::Config;
use store::server::{self, Handle};
use store::wire::append::{AppendDone, AppendReply, AppendResult};
use store::wire::replay::{ReplayAnswer, ReplayRequest, RequestNumber};
use store::wire::status::{PairStatus, StatusReply};
use store::{Durability, ExpectedVersion, NodeOptions};
use tempfile::TempDir;

use super::bench::{
    PATIENCE, RawClient, ReplayClient, TestBroker, deadline, is_past, loopback, message, read_all,
    results, write,
};
use crate::fixture::{SMALL_SEGMENT_BYTES, event};

/// Which node of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    Primary,
    Backup,
}

use Which::{Backup, Primary};

impl Which {
    const fn other(self) -> Self {
        match self {
            Primary => Backup,
            Backup => Primary,
        }
    }

    const fn role(self) -> Role {
        match self {
            Primary => Role::Primary,
            Backup => Role::Backup,
        }
    }
}

/// What is around a pair: a broker that is the witness, too, and a place for addresses.
struct Surroundings {
    broker: TestBroker,
    addresses: TempDir,
    durability: Durability,
}

impl Surroundings {
    fn new() -> Self {
        let broker = TestBroker::start_with(|config| {
            config.witness = Some(WitnessConfig::new(loopback()));
        });
        let (addresses, durability) = (tempfile::tempdir().unwrap(), Durability::Pair);
        Self { broker, addresses, durability }
    }

    fn witness(&self) -> Endpoint {
        self.broker.handle.witness_endpoint().unwrap().clone()
    }

    /// Where a node listens for the other one.
    fn listen(&self, which: Which) -> Endpoint {
        let path = self.addresses.path().join(format!("{which:?}"));
        format!("ipc://{}", path.display()).parse().unwrap()
    }

    fn settings(&self, which: Which) -> PairSettings {
        PairSettings {
            role: which.role(),
            peer: self.listen(which.other()),
            listen: self.listen(which),
            witness: self.witness(),
            copies_min: 1,
            timing: PairTiming { grow_backoff: Duration::ZERO, ..PairTiming::default() },
            durability: self.durability,
            segment_bytes: SMALL_SEGMENT_BYTES,
        }
    }

    fn config(&self, which: Which, dir: &Path) -> Config {
        Config {
            pair: Some(self.settings(which)),
            node: NodeOptions {
                durability: self.durability,
                segment_bytes: SMALL_SEGMENT_BYTES,
                ..NodeOptions::default()
            },
            ..super::bench::config(dir, &[&self.broker])
        }
    }

    fn client(&self) -> PairClient {
        let client = RawClient::connect(&self.broker.endpoint(), SessionId::random());
        PairClient { client, number: 0, unanswered: BTreeMap::new() }
    }
}

/// A pair in this process.
struct TestPair {
    around: Surroundings,
    dirs: [TempDir; 2],
    nodes: [Option<Handle>; 2],
}

impl TestPair {
    fn start() -> Self {
        Self::start_at(Durability::Pair)
    }

    fn start_at(durability: Durability) -> Self {
        let mut pair = Self::down();
        pair.around.durability = durability;
        pair.up(Primary);
        pair.up(Backup);
        pair.wait_whole();
        pair
    }

    fn down() -> Self {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        Self { around: Surroundings::new(), dirs, nodes: [None, None] }
    }

    fn up(&mut self, which: Which) {
        let config = self.around.config(which, self.dirs[index(which)].path());
        self.nodes[index(which)] = Some(server::start(&config).unwrap());
    }

    /// Stops a node, and says nothing to anybody about it.
    fn stop(&mut self, which: Which) {
        self.nodes[index(which)].take().unwrap().stop().unwrap();
    }

    fn wipe(&mut self, which: Which) {
        self.dirs[index(which)] = tempfile::tempdir().unwrap();
    }

    fn node(&self, which: Which) -> Option<&Handle> {
        self.nodes[index(which)].as_ref()
    }

    fn replay(&self, which: Which) -> ReplayClient {
        ReplayClient::connect(self.node(which).unwrap().replay())
    }

    fn status(&self, which: Which) -> PairStatus {
        status(&self.replay(which)).pair.unwrap()
    }

    /// Waits until both nodes are members; who leads.
    fn wait_whole(&self) -> Which {
        let whole = |which| {
            let status = self.status(which);
            status.members.len() == 2 && (status.copies == 2 || status.standing.starts_with("foll"))
        };
        wait("the pair is whole", || whole(Primary) && whole(Backup));
        self.leader()
    }

    /// Waits until a running node leads; which one.
    fn leader(&self) -> Which {
        let leads = |which: &Which| {
            self.node(*which).is_some() && self.status(*which).standing.starts_with("leading")
        };
        let mut leader = None;
        wait("somebody leads", || {
            leader = [Primary, Backup].into_iter().find(leads);
            leader.is_some()
        });
        leader.unwrap()
    }

    /// The committed sequences of a node.
    fn sequences(&self, which: Which) -> Vec<u64> {
        self.replay(which).sequences(read_all())
    }

    /// Waits until both nodes show the same records, and that nothing is missing.
    fn assert_same(&self) {
        let records = |which| records(&self.replay(which));
        wait("both nodes show the same", || records(Primary) == records(Backup));
        let sequences = self.sequences(Primary);
        let last = u64::try_from(sequences.len()).unwrap();
        assert_eq!(sequences, (1..=last).collect::<Vec<_>>());
    }
}

const fn index(which: Which) -> usize {
    match which {
        Primary => 0,
        Backup => 1,
    }
}

/// A client that numbers its messages, and sends what is unanswered again when it is told to.
struct PairClient {
    client: RawClient,
    number: u64,
    unanswered: BTreeMap<u64, Bytes>,
}

impl PairClient {
    /// Sends an append to a stream of its own for each number; none waits for the one before.
    fn send(&mut self, numbers: Range<u64>) {
        for number in numbers {
            self.number += 1;
            let events = vec![event(&format!("{number}"))];
            let write = write(&format!("order-{number}"), ExpectedVersion::None, events);
            self.unanswered.insert(self.number, message(vec![vec![write]]));
            self.post(self.number);
        }
    }

    fn post(&mut self, number: u64) {
        let lowest = self.unanswered.keys().next().copied().unwrap();
        self.client.send(number, lowest, self.unanswered[&number].clone());
    }

    /// Appends one after the other, and expects each to be done.
    fn append(&mut self, numbers: Range<u64>) -> Vec<(AppendDone, usize)> {
        numbers
            .map(|number| {
                self.send(number..number + 1);
                self.done()
            })
            .collect()
    }

    /// The next answer: what was done, and on how many nodes it stands.
    fn done(&mut self) -> (AppendDone, usize) {
        let reply = loop {
            let reply = self.client.reply();
            if reply.code == Some(ErrorCode::UNEXPECTED_NUMBER) {
                // A new leader does not know what the former one has answered: it is told with
                // the lowest number. It may have refused later ones by then, or do so until the
                // earlier ones have come.
                if self.unanswered.contains_key(&reply.number) {
                    self.post(reply.number);
                }
            } else if self.unanswered.remove(&reply.number).is_some() {
                break reply;
            }
        };
        let result = results(&reply).remove(0);
        let copies = AppendReply::decode(reply.body[0].clone()).unwrap().durable_on.len();
        match result {
            AppendResult::Done(done) => (done, copies),
            AppendResult::Refused(refusal) => panic!("refused: {refusal:?}"),
        }
    }
}

fn status(replay: &ReplayClient) -> StatusReply {
    replay.send(&ReplayRequest::Status { request: RequestNumber(7) });
    match replay.answer() {
        ReplayAnswer::Status { body, .. } => StatusReply::decode(&body).unwrap(),
        other => panic!("{other:?}"),
    }
}

/// All committed records as they stand on disk.
fn records(replay: &ReplayClient) -> Vec<u8> {
    replay.send(&ReplayRequest::Read(read_all()));
    let mut records: Vec<Bytes> = Vec::new();
    loop {
        match replay.answer() {
            ReplayAnswer::Block(block) => {
                records.push(block.records);
                if block.end {
                    return records.concat();
                }
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Looks again and again until it is so.
fn wait(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = deadline(PATIENCE);
    while !is_so() {
        assert!(!is_past(deadline), "it never came to be that {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The streams of all events that are no system's, in the order of the events.
fn streams(replay: &ReplayClient) -> Vec<String> {
    let records = Bytes::from(records(replay));
    let events = store::record::iterate(&records).collect::<Result<Vec<_>, _>>().unwrap();
    let streams = events.iter().map(|event| event.stream.to_string());
    streams.filter(|stream| !stream.starts_with('$')).collect()
}
