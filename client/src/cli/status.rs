//! `starlog status`.

use std::collections::BTreeMap;

use broker::error_code::ErrorCode;
use client::{DiskStatus, PartitionStatus, ProcessStatus, ReadsStatus, Status, Topology};
use serde::Serialize;

use crate::cli::failure::{Failure, Stop};
use crate::cli::flags::StatusFlags;
use crate::cli::output::{Alignment, Table, printable};
use crate::cli::pair::{PairReport, Remark, Urgency, pairs, pairs_table, verdict};
use crate::cli::session::Session;

/// Prints every partition with its leader, every pair with its nodes, and what needs doing.
///
/// # Errors
/// [`Stop`] when no broker answers, the store is unknown, or a partition has no leader.
pub fn run(session: &Session, flags: &StatusFlags) -> Result<(), Stop> {
    let status = session.connect()?.status(session.timeout).map_err(Failure::from)?;
    let heads = heads(&status);
    let mut report = Report::new(&status.topology, &heads);
    report.pairs = pairs(&status);
    report.processes = status.processes.iter().map(ProcessLine::new).collect();
    report.remarks = remarks(&status);
    if let Some(name) = &flags.store {
        report.partitions.retain(|line| line.store == name.as_str());
        report.pairs.retain(|pair| pair.hosts(name));
        if report.partitions.is_empty() {
            let sentence = format!("no store {name} is registered at the broker: check the name");
            return Err(Failure::local(ErrorCode::STORE_NOT_FOUND, sentence).into());
        }
    }
    report.ready = report.partitions.iter().all(|line| line.leader.is_some());
    report.remarks.extend(report.partitions.iter().filter_map(PartitionLine::remark));
    let of_pairs = report.pairs.iter().flat_map(|pair| &pair.remarks);
    report.verdict = verdict(report.remarks.iter().chain(of_pairs));
    session.printer().document(&report, || report.to_table())?;
    report.check_ready().map_err(Stop::from)
}

/// Heads by node, store and partition, as the store processes tell them.
type Heads = BTreeMap<(String, String, u16), u64>;

fn heads(status: &Status) -> Heads {
    let mut heads = Heads::new();
    for answer in status.processes.iter().filter_map(|process| process.answer.as_ref().ok()) {
        for partition in &answer.partitions {
            let key = (answer.incarnation.clone(), partition.store.clone(), partition.partition);
            heads.insert(key, partition.committed);
        }
    }
    heads
}

#[derive(Debug, Serialize)]
struct Report {
    broker: String,
    ready: bool,
    partitions: Vec<PartitionLine>,
    pairs: Vec<PairReport>,
    /// Every store process that the broker knows.
    processes: Vec<ProcessLine>,
    /// What somebody on call should know, apart from what is said of each pair.
    remarks: Vec<Remark>,
    /// Whether anything needs doing, in a sentence.
    verdict: String,
}

#[derive(Debug, Serialize)]
struct ProcessLine {
    /// Where it was asked.
    endpoint: String,
    /// Why it says nothing; null if it does.
    error: Option<String>,
    version: Option<String>,
    /// Room on the file system of its data directory.
    disk: Option<DiskStatus>,
    /// Its replays.
    reads: Option<ReadsStatus>,
}

impl ProcessLine {
    fn new(process: &ProcessStatus) -> Self {
        let reply = process.answer.as_ref().ok();
        Self {
            endpoint: process.endpoint.clone(),
            error: process.answer.as_ref().err().cloned(),
            version: reply.map(|reply| reply.version.clone()),
            disk: reply.and_then(|reply| reply.disk),
            reads: reply.map(|reply| reply.reads),
        }
    }
}

#[derive(Debug, Serialize)]
struct PartitionLine {
    store: String,
    partition: u16,
    leader: Option<LeaderLine>,
}

#[derive(Debug, Serialize)]
struct LeaderLine {
    node: String,
    epoch: u64,
    /// Newest committed sequence; null when the process did not answer.
    head: Option<u64>,
    durability: String,
    feed: String,
    replay: String,
}

impl PartitionLine {
    /// What is wrong with it; partitions of pairs are spoken of with their pair.
    fn remark(&self) -> Option<Remark> {
        let Self { store, partition, leader } = self;
        match leader {
            Some(_) => None,
            None => Some(Remark::new(
                Urgency::Act,
                format!("{store}/{partition} has no leader: appends to it wait until it has one"),
            )),
        }
    }
}

/// What processes without a peer say is wrong, and processes that don't answer.
fn remarks(status: &Status) -> Vec<Remark> {
    let mut remarks = Vec::new();
    for process in &status.processes {
        match &process.answer {
            Err(reason) => {
                let text = format!("the store process at {}: {reason}", process.endpoint);
                remarks.push(Remark::new(Urgency::Act, text));
            }
            Ok(reply) if reply.pair.is_none() => {
                let of = |partition: &PartitionStatus| {
                    let (store, number) = (partition.store.clone(), partition.partition);
                    let words = partition.degraded.clone().into_iter();
                    words.map(move |words| {
                        Remark::new(Urgency::Know, format!("{store}/{number}: {words}"))
                    })
                };
                remarks.extend(reply.partitions.iter().flat_map(of));
            }
            Ok(_) => {}
        }
    }
    remarks
}

impl Report {
    fn new(topology: &Topology, heads: &Heads) -> Self {
        let mut partitions = Vec::new();
        for store in &topology.stores {
            for partition in 0..store.partitions {
                let leader = store.leader(partition).map(|member| {
                    let node = member.incarnation.to_string();
                    let key = (node.clone(), store.name.clone(), partition);
                    LeaderLine {
                        node,
                        epoch: member.epoch,
                        head: heads.get(&key).copied(),
                        durability: member.durability.clone(),
                        feed: member.feed.clone(),
                        replay: member.replay.clone(),
                    }
                });
                partitions.push(PartitionLine { store: store.name.clone(), partition, leader });
            }
        }
        Self {
            broker: topology.broker.to_string(),
            ready: false,
            partitions,
            pairs: Vec::new(),
            processes: Vec::new(),
            remarks: Vec::new(),
            verdict: String::new(),
        }
    }

    fn to_table(&self) -> String {
        use Alignment::{Left, Right};
        let mut table = Table::new(&[
            ("STORE", Left),
            ("PARTITION", Right),
            ("LEADER", Left),
            ("EPOCH", Right),
            ("HEAD", Right),
            ("DURABILITY", Left),
            ("FEED", Left),
            ("REPLAY", Left),
        ]);
        for line in &self.partitions {
            let (store, partition) = (line.store.clone(), line.partition.to_string());
            match &line.leader {
                None => table.row([store, partition, "(none)".to_owned()]),
                Some(leader) => table.row([
                    store,
                    partition,
                    leader.node.clone(),
                    leader.epoch.to_string(),
                    leader.head.map_or_else(|| "?".to_owned(), |head| head.to_string()),
                    leader.durability.clone(),
                    leader.feed.clone(),
                    leader.replay.clone(),
                ]),
            }
        }
        let mut text = table.render();
        if !self.pairs.is_empty() {
            text.push('\n');
            text.push_str(&pairs_table(&self.pairs));
        }
        for Remark { urgency, text: said } in &self.remarks {
            text.push_str(&format!("{} {}\n", urgency.sign(), printable(said)));
        }
        text.push_str(&self.verdict);
        text.push('\n');
        text
    }

    /// Exit 0 promises that appends to every partition have somewhere to go.
    fn check_ready(&self) -> Result<(), Failure> {
        let orphans: Vec<String> = self
            .partitions
            .iter()
            .filter(|line| line.leader.is_none())
            .map(|line| format!("{}/{}", line.store, line.partition))
            .collect();
        if self.partitions.is_empty() {
            let sentence = "no store is registered at the broker: start a starlog-store";
            return Err(Failure::new(ErrorCode::NO_WORKER, sentence));
        }
        if orphans.is_empty() {
            return Ok(());
        }
        let sentence =
            format!("{} has no leader: start the starlog-store that hosts it", orphans.join(", "));
        Err(Failure::new(ErrorCode::NO_WORKER, sentence).with("partitions", orphans))
    }
}

#[cfg(test)]
mod tests {
    use broker::dialect::{MemberTopology, StoreTopology};
    use uuid::Uuid;

    use super::*;

    fn member(partition: u16, leader: bool) -> MemberTopology {
        MemberTopology {
            partition,
            leader,
            epoch: 3,
            incarnation: Uuid::nil(),
            lineage: Uuid::nil(),
            durability: "local".into(),
            feed: "tcp://127.0.0.1:2".into(),
            replay: "tcp://127.0.0.1:1".into(),
            alive_ms: 5,
        }
    }

    fn report(members: Vec<MemberTopology>) -> Report {
        let store = StoreTopology { name: "orders".into(), partitions: 2, members };
        let topology = Topology { stores: vec![store], ..Topology::default() };
        let heads = Heads::from([((Uuid::nil().to_string(), "orders".into(), 0), 42)]);
        Report::new(&topology, &heads)
    }

    #[test]
    fn ready_means_a_leader_everywhere() {
        let all = report(vec![member(0, true), member(1, true)]);
        assert_eq!(all.check_ready(), Ok(()));
        for members in [vec![], vec![member(0, true)], vec![member(0, true), member(1, false)]] {
            let failure = report(members).check_ready().unwrap_err();
            assert_eq!(failure.exit_code(), crate::cli::exit::UNAVAILABLE);
            assert!(failure.message.contains("orders/1"), "{}", failure.message);
        }
        let nobody = Report::new(&Topology::default(), &Heads::new());
        assert!(nobody.check_ready().is_err());
    }

    #[test]
    fn a_partition_without_leader_and_a_silent_process_are_shown() {
        let table = report(vec![member(0, true)]).to_table();
        let lines: Vec<Vec<&str>> =
            table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1][..2], ["orders", "0"]);
        assert_eq!(lines[1][3..6], ["3", "42", "local"]);
        assert_eq!(lines[2], ["orders", "1", "(none)"]);
        let table = report(vec![member(0, true), member(1, true)]).to_table();
        assert!(table.lines().nth(2).unwrap().contains(" ? "));
    }
}
