//! What is known of each pair, put together from what its nodes and its witness say.

use std::collections::{BTreeMap, BTreeSet};

use client::{PairStatus, PairTopology, Status, StatusReply, StoreName, Topology};
use serde::Serialize;
use uuid::Uuid;

use super::remark::{Remark, remarks};

/// One pair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PairReport {
    /// Its history; also its name.
    pub lineage: String,
    /// Partitions that it hosts, as `orders/0`.
    pub partitions: Vec<String>,
    /// The node that leads.
    pub leader: Option<String>,
    /// Newest epoch that anybody knows.
    pub epoch: u64,
    /// On how many nodes an event stands when it is acknowledged now; 0 if nothing is.
    pub copies: u8,
    /// Durability level.
    pub durability: String,
    /// Its nodes, the leader first.
    pub nodes: Vec<NodeReport>,
    /// Its witness.
    pub witness: WitnessReport,
    /// What somebody on call should know, the most urgent first.
    pub remarks: Vec<Remark>,
}

/// One node of a pair.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct NodeReport {
    /// Its incarnation.
    pub node: String,
    /// Where it answers; null if it is registered at no broker.
    pub endpoint: Option<String>,
    /// How it was configured.
    pub role: Option<String>,
    /// What it is now: `leading`, `following`, …, or `silent`.
    pub standing: String,
    /// Whether an event must be on it before it is acknowledged.
    pub member: bool,
    /// Epoch that it is in.
    pub epoch: Option<u64>,
    /// Events that it lacks, as its leader counts them.
    pub lag_events: Option<u64>,
    /// The same in bytes.
    pub lag_bytes: Option<u64>,
    /// Since when it has not heard its peer, in words.
    pub peer: Option<String>,
    /// The same for the witness.
    pub witness: Option<String>,
    /// Records that were set aside when it followed another leader.
    pub parked_records: u64,
    /// How often since its start: failovers, shrinks, grows.
    pub counts: BTreeMap<String, u64>,
    /// What it says is wrong with its pair.
    pub degraded: Vec<String>,
    /// What it says is wrong with its partitions.
    pub partitions_degraded: Vec<String>,
}

/// The witness of a pair.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct WitnessReport {
    /// Where the nodes reach it.
    pub endpoint: Option<String>,
    /// Milliseconds since any node heard it; null if none has.
    pub heard_ms: Option<u64>,
    /// Whether it decides; null if it was not asked, being another broker than ours.
    pub ready: Option<bool>,
    /// Why it decides nothing.
    pub stopped: Option<String>,
}

impl PairReport {
    /// Whether it hosts a partition of this store.
    #[must_use]
    pub fn hosts(&self, store: &StoreName) -> bool {
        let of_store = |partition: &String| {
            partition.rsplit_once('/').is_some_and(|(name, _)| name == store.as_str())
        };
        self.partitions.iter().any(of_store)
    }

    /// Whether two members have every event that is acknowledged, and a failover is possible.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let members = self.nodes.iter().filter(|node| node.member && node.endpoint.is_some());
        self.leader.is_some() && members.count() >= 2 && self.witness.is_heard()
    }
}

impl WitnessReport {
    /// Whether it was heard lately and decides.
    #[must_use]
    pub fn is_heard(&self) -> bool {
        let lately = self.heard_ms.is_some_and(|ms| ms <= WITNESS_SILENT_MS);
        lately && self.ready != Some(false) && self.stopped.is_none()
    }
}

/// A witness that was not heard for longer is silent: many heartbeats of any sensible setting.
const WITNESS_SILENT_MS: u64 = 2_000;

/// Every pair that is known, in the order of their lineages.
#[must_use]
pub fn pairs(status: &Status) -> Vec<PairReport> {
    let mut answers: BTreeMap<&str, Vec<(&str, &StatusReply, &PairStatus)>> = BTreeMap::new();
    for process in &status.processes {
        if let Ok(reply) = &process.answer
            && let Some(pair) = &reply.pair
        {
            let of = answers.entry(reply.lineage.as_str()).or_default();
            of.push((process.endpoint.as_str(), reply, pair));
        }
    }
    let mut reports: Vec<PairReport> =
        answers.iter().map(|(lineage, nodes)| pair(status, lineage, nodes)).collect();
    // Pairs of which no node answers are known to their witness only.
    let witnessed = status.topology.witness.iter().flat_map(|witness| &witness.pairs);
    for silent in witnessed.filter(|pair| !answers.contains_key(pair.lineage.to_string().as_str()))
    {
        reports.push(silent_pair(status, silent));
    }
    reports.sort_by(|one, other| one.lineage.cmp(&other.lineage));
    reports
}

fn silent_pair(status: &Status, known: &PairTopology) -> PairReport {
    let lineage = known.lineage.to_string();
    let nodes = known.nodes.iter().map(|node| NodeReport {
        node: node.incarnation.to_string(),
        standing: SILENT.to_owned(),
        member: node.member,
        ..NodeReport::default()
    });
    let mut report = PairReport {
        partitions: Vec::new(),
        leader: None,
        epoch: known.epoch,
        copies: 0,
        durability: String::new(),
        nodes: nodes.collect(),
        witness: witness(&status.topology, &lineage, &[]),
        remarks: Vec::new(),
        lineage,
    };
    report.remarks = remarks(&report);
    report
}

fn pair(
    status: &Status,
    lineage: &str,
    answers: &[(&str, &StatusReply, &PairStatus)],
) -> PairReport {
    // Of those that contradict each other, the one of the highest epoch is right.
    let newest = answers.iter().map(|(_, _, pair)| *pair).max_by_key(|pair| pair.epoch);
    let leading = answers
        .iter()
        .filter(|(_, _, pair)| pair.standing.starts_with(LEADING))
        .max_by_key(|(_, _, pair)| pair.epoch);
    let members: BTreeSet<&str> =
        newest.iter().flat_map(|pair| &pair.members).map(String::as_str).collect();
    let mut nodes: Vec<NodeReport> = answers.iter().map(|answer| node(answer, &members)).collect();
    if let Some((_, _, leader)) = leading {
        for follower in nodes.iter_mut().filter(|node| !node.standing.starts_with(LEADING)) {
            (follower.lag_events, follower.lag_bytes) = (leader.lag_events, leader.lag_bytes);
        }
    }
    for silent in silent_nodes(&nodes, answers, &members) {
        nodes.push(silent);
    }
    // A node that has just come to lead may have registered before it says so itself.
    let registered = || registered_leader(&status.topology, lineage, answers);
    let leader = leading.map(|(_, reply, _)| reply.incarnation.clone()).or_else(registered);
    let everywhere = match leader {
        Some(_) => u8::try_from(members.len()).unwrap_or(u8::MAX),
        None => 0,
    };
    nodes.sort_by_key(|node| (Some(&node.node) != leader.as_ref(), node.node.clone()));
    let partitions: BTreeSet<String> = answers
        .iter()
        .flat_map(|(_, reply, _)| &reply.partitions)
        .map(|partition| format!("{}/{}", partition.store, partition.partition))
        .collect();
    let mut report = PairReport {
        lineage: lineage.to_owned(),
        partitions: partitions.into_iter().collect(),
        leader,
        epoch: newest.map_or(0, |pair| pair.epoch),
        copies: leading.map_or(everywhere, |(_, _, pair)| pair.copies),
        durability: answers.first().map_or_else(String::new, |(_, r, _)| r.durability.clone()),
        nodes,
        witness: witness(&status.topology, lineage, answers),
        remarks: Vec::new(),
    };
    report.remarks = remarks(&report);
    report
}

/// The node that brokers send this pair's appends to, if it answers.
fn registered_leader(
    topology: &Topology,
    lineage: &str,
    answers: &[(&str, &StatusReply, &PairStatus)],
) -> Option<String> {
    let members = topology.stores.iter().flat_map(|store| &store.members);
    let leaders = members
        .filter(|member| member.leader && member.lineage.to_string() == lineage)
        .map(|member| (member.epoch, member.incarnation.to_string()));
    let leader = leaders.max()?.1;
    answers.iter().any(|(_, reply, _)| reply.incarnation == leader).then_some(leader)
}

/// How a leader calls itself, whatever it adds.
pub const LEADING: &str = "leading";
/// What a node is called that does not answer.
pub const SILENT: &str = "silent";

fn node(
    (endpoint, reply, pair): &(&str, &StatusReply, &PairStatus),
    members: &BTreeSet<&str>,
) -> NodeReport {
    let of_partitions = reply.partitions.iter().flat_map(|partition| {
        partition
            .degraded
            .iter()
            .map(|words| format!("{}/{}: {words}", partition.store, partition.partition))
    });
    NodeReport {
        node: reply.incarnation.clone(),
        endpoint: Some((*endpoint).to_owned()),
        role: Some(pair.role.clone()),
        standing: pair.standing.clone(),
        member: members.contains(reply.incarnation.as_str()),
        epoch: Some(pair.epoch),
        lag_events: None,
        lag_bytes: None,
        peer: Some(pair.peer.words.clone()),
        witness: Some(pair.witness.words.clone()),
        parked_records: reply.partitions.iter().map(|p| p.parked_records).sum(),
        counts: pair.counts.clone(),
        degraded: pair.degraded.clone(),
        partitions_degraded: of_partitions.collect(),
    }
}

/// Nodes that are known by name only: members, and peers that somebody has met.
fn silent_nodes(
    known: &[NodeReport],
    answers: &[(&str, &StatusReply, &PairStatus)],
    members: &BTreeSet<&str>,
) -> Vec<NodeReport> {
    let peers = answers.iter().filter_map(|(_, _, pair)| pair.peer.incarnation.as_deref());
    let mut names: BTreeSet<&str> = members.iter().copied().chain(peers).collect();
    names.retain(|name| !known.iter().any(|node| node.node == *name));
    let silent = |name: &str| NodeReport {
        node: name.to_owned(),
        standing: SILENT.to_owned(),
        member: members.contains(name),
        ..NodeReport::default()
    };
    names.into_iter().map(silent).collect()
}

fn witness(
    topology: &Topology,
    lineage: &str,
    answers: &[(&str, &StatusReply, &PairStatus)],
) -> WitnessReport {
    let neighbours = || answers.iter().map(|(_, _, pair)| &pair.witness);
    let endpoint = neighbours().map(|w| w.endpoint.clone()).find(|text| !text.is_empty());
    let mut report = WitnessReport {
        endpoint,
        heard_ms: neighbours().filter_map(|witness| witness.heard_ms).min(),
        ready: None,
        stopped: None,
    };
    let lineage = Uuid::parse_str(lineage).ok();
    if let Some(witness) = &topology.witness
        && let Some(pair) = witness.pairs.iter().find(|pair| Some(pair.lineage) == lineage)
    {
        report.ready = Some(pair.ready);
        report.stopped = witness.stopped.clone();
    }
    report
}
