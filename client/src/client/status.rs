//! How all processes are: what the broker knows, and what each store says of itself.

use std::collections::BTreeSet;
use std::time::Duration;

use broker::dialect::Topology;
use store::wire::status::StatusReply;

use super::command::Command;
use super::{Client, clock};
use crate::error::LookupError;
use crate::pending::pending;

/// What a broker knows and what the store processes that it knows say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// What the broker knows.
    pub topology: Topology,
    /// One entry per store process, in the order of their endpoints.
    pub processes: Vec<ProcessStatus>,
}

/// One store process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessStatus {
    /// Where it was asked.
    pub endpoint: String,
    /// Its answer, or why there is none.
    pub answer: Result<StatusReply, String>,
}

impl Status {
    /// Whether every partition of every store has a leader that answers, and there is a store.
    #[must_use]
    pub fn ready(&self) -> bool {
        let mut answering = BTreeSet::new();
        for reply in self.processes.iter().filter_map(|process| process.answer.as_ref().ok()) {
            let led = reply.partitions.iter().filter(|partition| partition.leader);
            answering.extend(led.map(|led| (led.store.as_str(), led.partition)));
        }
        let led = |name, partition| answering.contains(&(name, partition));
        !self.topology.stores.is_empty()
            && self.topology.stores.iter().all(|store| {
                (0..store.partitions).all(|partition| led(store.name.as_str(), partition))
            })
    }
}

pub(super) fn ask(client: &Client, timeout: Duration) -> Result<Status, LookupError> {
    let deadline = clock() + timeout;
    let topology = client.topology(timeout)?;
    let members = topology.stores.iter().flat_map(|store| &store.members);
    let endpoints: BTreeSet<String> = members.map(|member| member.replay.clone()).collect();
    let ask = |endpoint: String| {
        let (promise, pending) = pending(|| "the client is closed".to_owned());
        let request = client.next_request();
        client.command(Command::Status { endpoint: endpoint.clone(), request, deadline, promise });
        (endpoint, pending)
    };
    let asked: Vec<_> = endpoints.into_iter().map(ask).collect();
    let answer = |(endpoint, pending): (String, crate::pending::Pending<_, _>)| ProcessStatus {
        endpoint,
        answer: pending.wait(),
    };
    let processes = asked.into_iter().map(answer).collect();
    Ok(Status { topology, processes })
}

#[cfg(test)]
mod tests {
    use broker::dialect::StoreTopology;
    use store::wire::status::PartitionStatus;

    use super::*;

    fn led(store: &str, partition: u16, leader: bool) -> PartitionStatus {
        PartitionStatus {
            store: store.to_owned(),
            partition,
            partitions: 2,
            leader,
            first: 1,
            written: 1,
            durable: 1,
            committed: 1,
            segments: 1,
            parked_records: 0,
            parked_files: 0,
            degraded: vec![],
        }
    }

    fn process(partitions: Vec<PartitionStatus>) -> ProcessStatus {
        let answer = StatusReply {
            incarnation: String::new(),
            lineage: String::new(),
            epoch: 1,
            durability: "local".to_owned(),
            version: String::new(),
            partitions,
            disk: None,
            reads: Default::default(),
            pair: None,
        };
        ProcessStatus { endpoint: String::new(), answer: Ok(answer) }
    }

    #[test]
    fn ready_means_that_every_partition_has_an_answering_leader() {
        let store = StoreTopology { name: "orders".to_owned(), partitions: 2, members: vec![] };
        let topology = Topology { stores: vec![store], ..Topology::default() };
        let silent = ProcessStatus { endpoint: String::new(), answer: Err("no answer".to_owned()) };
        let rows = [
            ("all led", vec![process(vec![led("orders", 0, true), led("orders", 1, true)])], true),
            (
                "by two",
                vec![process(vec![led("orders", 0, true)]), process(vec![led("orders", 1, true)])],
                true,
            ),
            ("one silent", vec![process(vec![led("orders", 0, true)]), silent], false),
            (
                "one follows",
                vec![process(vec![led("orders", 0, true), led("orders", 1, false)])],
                false,
            ),
            (
                "another store",
                vec![process(vec![led("orders", 0, true), led("other", 1, true)])],
                false,
            ),
            ("nobody", vec![], false),
        ];
        for (name, processes, ready) in rows {
            let status = Status { topology: topology.clone(), processes };
            assert_eq!(status.ready(), ready, "{name}");
        }
        let empty = Status { topology: Topology::default(), processes: vec![] };
        assert!(!empty.ready(), "nothing is registered");
    }
}
