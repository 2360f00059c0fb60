//! From what everybody says to what is wrong with it.

use std::collections::BTreeSet;

use broker::error_code::ErrorCode;
use client::{PartitionStatus, Status, StatusReply, Topology};
use serde::Serialize;

use super::disks::of_disks;
use super::probe::Probe;
use super::projections::Projections;
use super::subscribers::of_subscribers;
use super::versions::of_versions;
use crate::cli::brokers::Broker;
use crate::cli::pair::{Remark, Urgency, pairs, short};

/// All that was found out.
#[derive(Debug, Default)]
pub struct Facts<'a> {
    /// Every broker that was asked.
    pub brokers: &'a [Broker],
    /// What store processes say, if a broker has told where they are.
    pub status: Option<Status>,
    /// What came of trying.
    pub probes: Vec<Probe>,
    /// Where projections are that tell of themselves.
    pub projections: Projections,
}

impl Facts<'_> {
    /// The store processes that have answered, and where.
    pub(super) fn processes(&self) -> impl Iterator<Item = (&str, &StatusReply)> {
        let processes = self.status.iter().flat_map(|status| &status.processes);
        processes.filter_map(|it| Some((it.endpoint.as_str(), it.answer.as_ref().ok()?)))
    }
}

/// The part of a topology that is stuck.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// A broker.
    Broker,
    /// A store, one of its partitions or the process that serves it.
    Store,
    /// A pair of nodes.
    Pair,
    /// The witness of a pair.
    Witness,
    /// A disk.
    Disk,
    /// The index of a partition.
    Index,
    /// The feed of a partition.
    Feed,
    /// Somebody who follows the log.
    Subscriber,
    /// A service that is not a partition.
    Service,
    /// The software itself.
    Version,
}

impl Part {
    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Broker => "broker",
            Self::Store => "store",
            Self::Pair => "pair",
            Self::Witness => "witness",
            Self::Disk => "disk",
            Self::Index => "index",
            Self::Feed => "feed",
            Self::Subscriber => "subscriber",
            Self::Service => "service",
            Self::Version => "version",
        }
    }
}

/// Something that is stuck, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What is stuck.
    pub part: Part,
    /// Whether appends to a partition can't be done because of it.
    pub stops_appends: bool,
    /// How urgent it is, what is so, and what to do.
    #[serde(flatten)]
    pub remark: Remark,
}

impl Finding {
    pub(super) fn new(part: Part, urgency: Urgency, text: impl Into<String>) -> Self {
        Self { part, stops_appends: false, remark: Remark::new(urgency, text) }
    }

    pub(super) fn act(part: Part, text: impl Into<String>) -> Self {
        Self::new(part, Urgency::Act, text)
    }

    fn that_stops_appends(self) -> Self {
        Self { stops_appends: true, ..self }
    }
}

/// What is wrong, the most urgent first.
pub fn examine(facts: &Facts<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    of_brokers(facts.brokers, &mut findings);
    if let Some(status) = &facts.status {
        of_partitions(&status.topology, &mut findings);
        of_processes(status, &mut findings);
        of_pairs(status, &mut findings);
        of_services(&status.topology, &mut findings);
    }
    for probe in &facts.probes {
        of_probe(probe, &mut findings);
    }
    of_disks(facts, &mut findings);
    of_subscribers(facts, &mut findings);
    of_versions(facts, &mut findings);
    findings.sort_by_key(|finding| (!finding.stops_appends, finding.remark.urgency, finding.part));
    findings
}

fn of_brokers(brokers: &[Broker], findings: &mut Vec<Finding>) {
    let answering: Vec<(&Broker, &Topology)> = brokers
        .iter()
        .filter_map(|broker| broker.answer.as_ref().ok().map(|topology| (broker, topology)))
        .collect();
    for broker in brokers {
        if let Err(error) = &broker.answer {
            let said = error.to_string();
            let code = format!("{}: ", error.code().as_str());
            let finding = Finding::act(Part::Broker, said.strip_prefix(&code).unwrap_or(&said));
            let nobody = answering.is_empty();
            findings.push(if nobody { finding.that_stops_appends() } else { finding });
        }
    }
    let stores: BTreeSet<&str> = answering
        .iter()
        .flat_map(|(_, topology)| &topology.stores)
        .map(|store| store.name.as_str())
        .collect();
    for (broker, topology) in &answering {
        for name in stores.iter().filter(|name| topology.store(name).is_none()) {
            findings.push(Finding::act(
                Part::Broker,
                format!(
                    "{} does not know store {name}, which another broker knows: give its processes \
                     --broker {} too, or look at the network between them",
                    broker.endpoint, broker.endpoint
                ),
            ));
        }
    }
    if stores.is_empty() && !answering.is_empty() {
        let text = "no store is registered at any broker: start a starlog-store with --broker";
        findings.push(Finding::act(Part::Store, text).that_stops_appends());
    }
}

fn of_partitions(topology: &Topology, findings: &mut Vec<Finding>) {
    for store in &topology.stores {
        let name = &store.name;
        for partition in (0..store.partitions).filter(|number| store.leader(*number).is_none()) {
            let has_members = store.members.iter().any(|member| member.partition == partition);
            let advice = match has_members {
                true => "see what is said of its pair",
                false => "start the starlog-store that hosts it",
            };
            let text = format!("{name}/{partition} has no leader, so appends to it wait: {advice}");
            findings.push(Finding::act(Part::Store, text).that_stops_appends());
        }
    }
}

fn of_processes(status: &Status, findings: &mut Vec<Finding>) {
    for process in &status.processes {
        let endpoint = &process.endpoint;
        match &process.answer {
            Err(reason) => findings.push(Finding::act(
                Part::Store,
                format!(
                    "the process at {endpoint} does not answer ({reason}): see whether it runs, \
                     and whether its --listen or --advertise-listen can be reached from here"
                ),
            )),
            Ok(reply) => {
                for partition in &reply.partitions {
                    let words = partition.degraded.iter();
                    findings.extend(words.filter_map(|words| degraded(partition, words)));
                }
            }
        }
    }
}

/// What a store process says is wrong with a partition, unless it is only good to know.
fn degraded(partition: &PartitionStatus, words: &str) -> Option<Finding> {
    let place = format!("{}/{}", partition.store, partition.partition);
    let finding = |part, advice: &str| Finding::act(part, format!("{place}: {words}{advice}"));
    if words.starts_with("a torn tail") {
        // Cut off at the start, and never acknowledged.
        None
    } else if words.contains("disk is full") {
        Some(finding(Part::Disk, "; make room on it").that_stops_appends())
    } else if words.contains("disk failed") {
        Some(finding(Part::Disk, "; replace the disk, and start the process again"))
    } else if words.starts_with("damaged") {
        Some(finding(Part::Store, "; check the folder with `starlog verify`, and put back a copy"))
    } else {
        Some(finding(Part::Store, ""))
    }
}

fn of_pairs(status: &Status, findings: &mut Vec<Finding>) {
    let pairs = pairs(status);
    for pair in &pairs {
        for remark in pair.remarks.iter().filter(|remark| remark.urgency != Urgency::Know) {
            let is_witness = remark.text.starts_with("the witness");
            let part = if is_witness { Part::Witness } else { Part::Pair };
            let text = format!("{}: {}", short(&pair.lineage), remark.text);
            findings.push(Finding::new(part, remark.urgency, text));
        }
    }
    let witness = status.topology.witness.as_ref().filter(|witness| witness.pairs.is_empty());
    if let Some(reason) = witness.and_then(|witness| witness.stopped.as_ref()) {
        // Of one with pairs it is told at each of them.
        let text = format!("it decides nothing: {reason}; look at the log of its starlog-broker");
        findings.push(Finding::act(Part::Witness, text));
    }
}

fn of_services(topology: &Topology, findings: &mut Vec<Finding>) {
    for service in &topology.services {
        if service.workers == 0 && service.waiting > 0 {
            let (name, waiting) = (&service.name, service.waiting);
            findings.push(Finding::act(
                Part::Service,
                format!("{name} has {waiting} requests waiting and no worker: start one"),
            ));
        }
    }
}

fn of_probe(probe: &Probe, findings: &mut Vec<Finding>) {
    let Probe { partition, feed, read, feed_heard } = probe;
    match read {
        Ok(()) => {}
        Err(error) if error.code() == ErrorCode::INDEX_BEHIND => findings.push(Finding::new(
            Part::Index,
            Urgency::Wait,
            format!(
                "{partition}: the index is behind the log, so streams can't be read: it catches \
                 up; if it stays like this, look at the load of the disk"
            ),
        )),
        Err(error) => findings.push(Finding::act(Part::Store, format!("{partition}: {error}"))),
    }
    if !feed_heard {
        findings.push(Finding::act(
            Part::Feed,
            format!(
                "{partition}: the feed at {feed} can't be heard from here, so subscribers live on \
                 replays: see whether its --feed or --advertise-feed can be reached"
            ),
        ));
    }
}
