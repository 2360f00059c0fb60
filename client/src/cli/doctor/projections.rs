//! Where projections are. They are asked twice if need be: one look does not tell who stands
//! still.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use client::views::ProjectionProgress;
use client::{Client, PendingCall, ServiceTopology, Status};
use uuid::Uuid;

/// Between two looks. Hosts commit ten times a second while there is anything to do.
const LOOKS_APART: Duration = Duration::from_secs(3);
/// How long a host may take to answer, which it does at once.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(3);
/// Most hosts of one projection that are asked.
const HOSTS_MAX: u32 = 16;

/// One projection on one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// Where it was at first.
    pub first: ProjectionProgress,
    /// Where it was some seconds later, if that was of interest and it was still there.
    pub later: Option<ProjectionProgress>,
}

/// What came of asking.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Projections {
    /// Those that have answered.
    pub watched: Vec<Watched>,
    /// Services of projections of which a host has not answered.
    pub silent: Vec<String>,
}

/// The newest committed sequence of each partition, as its members tell it.
pub type Heads<'a> = BTreeMap<(&'a str, u16), u64>;

/// What store processes say.
pub fn heads(status: &Status) -> Heads<'_> {
    let mut heads = Heads::new();
    for reply in status.processes.iter().filter_map(|process| process.answer.as_ref().ok()) {
        for partition in &reply.partitions {
            let head = heads.entry((partition.store.as_str(), partition.partition)).or_default();
            *head = partition.committed.max(*head);
        }
    }
    heads
}

/// Partitions in which the log goes on behind the projection's place, with both.
pub fn behind(progress: &ProjectionProgress, heads: &Heads<'_>) -> Vec<(u16, u64, u64)> {
    let places = progress.positions.iter().filter_map(|place| {
        let head = *heads.get(&(progress.store.as_str(), place.partition))?;
        (place.sequence < head).then_some((place.partition, place.sequence, head))
    });
    places.collect()
}

/// Asks every projection that tells where it is, and those that are behind once more.
pub fn watch_all(client: &Client, status: &Status, timeout: Duration) -> Projections {
    let is_projection =
        |service: &&ServiceTopology| service.name.starts_with(ProjectionProgress::SERVICES);
    let services: Vec<&ServiceTopology> =
        status.topology.services.iter().filter(is_projection).collect();
    let timeout = timeout.min(ANSWER_WAIT_MAX);
    let (first, silent) = ask_all(client, &services, timeout);
    let heads = heads(status);
    let mut later = BTreeMap::new();
    if first.values().any(|progress| !behind(progress, &heads).is_empty()) {
        thread::sleep(LOOKS_APART);
        (later, _) = ask_all(client, &services, timeout);
    }
    let watched =
        first.into_iter().map(|(host, first)| Watched { first, later: later.remove(&host) });
    Projections { watched: watched.collect(), silent }
}

/// Answers by host, and the services that did not answer as often as they have workers.
fn ask_all(
    client: &Client,
    services: &[&ServiceTopology],
    timeout: Duration,
) -> (BTreeMap<Uuid, ProjectionProgress>, Vec<String>) {
    // All at once: a broker gives each worker one request at a time, so each host gets one.
    let ask = |service: &&ServiceTopology| -> (String, Vec<PendingCall>) {
        let hosts = 0..service.workers.min(HOSTS_MAX);
        let call = |_| client.call(&service.name, vec![Bytes::from_static(b"?")], timeout);
        (service.name.clone(), hosts.map(call).collect())
    };
    let asked: Vec<_> = services.iter().map(ask).collect();
    let (mut answers, mut silent) = (BTreeMap::new(), Vec::new());
    for (service, calls) in asked {
        for call in calls {
            let progress = call
                .wait()
                .ok()
                .and_then(|body| ProjectionProgress::decode(body.first().map(AsRef::as_ref)?).ok());
            match progress {
                Some(progress) => drop(answers.insert(progress.host, progress)),
                None if silent.last() == Some(&service) => {}
                None => silent.push(service.clone()),
            }
        }
    }
    (answers, silent)
}
