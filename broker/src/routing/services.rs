//! Services: their queues, and the workers that can take something at once.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Instant;

use uuid::Uuid;

use super::ids::{RequestId, ServiceKey};
use super::workers::WorkerKey;
use crate::dialect::ServiceName;

/// One service.
#[derive(Debug)]
pub(super) struct Service {
    pub name: ServiceName,
    /// Waiting requests, the oldest first.
    pub queue: BTreeSet<RequestId>,
    /// Unanswered requests, waiting or held.
    pub requests: usize,
    /// Their body bytes.
    pub bytes: usize,
    /// Everybody who offers it.
    pub workers: BTreeSet<WorkerKey>,
    /// Whether anybody offered it since this record was made.
    pub offered: bool,
    pub kind: ServiceKind,
}

/// How requests find a worker.
#[derive(Debug)]
pub(super) enum ServiceKind {
    /// Any worker will do. The longest idle one comes first; a worker is here at most once.
    Plain { ready: VecDeque<WorkerKey> },
    /// Only the leader will do.
    Partition(Partition),
}

/// What is known of a partition. It is remembered while its store is.
#[derive(Debug, Default)]
pub(super) struct Partition {
    pub leader: Option<WorkerKey>,
    /// Highest epoch that a leader registered.
    pub epoch: u64,
    /// Lineage of that leader's log.
    pub lineage: Option<Uuid>,
    /// Incarnation of that leader.
    pub incarnation: Option<Uuid>,
    /// When members were last asked for a vote.
    pub vote_at: Option<Instant>,
}

impl Service {
    fn new(name: ServiceName) -> Service {
        Service {
            name,
            queue: BTreeSet::new(),
            requests: 0,
            bytes: 0,
            workers: BTreeSet::new(),
            offered: false,
            kind: ServiceKind::Plain { ready: VecDeque::new() },
        }
    }

    pub(super) fn partition(&self) -> Option<&Partition> {
        match &self.kind {
            ServiceKind::Partition(partition) => Some(partition),
            ServiceKind::Plain { .. } => None,
        }
    }

    pub(super) fn partition_mut(&mut self) -> Option<&mut Partition> {
        match &mut self.kind {
            ServiceKind::Partition(partition) => Some(partition),
            ServiceKind::Plain { .. } => None,
        }
    }

    /// Whether work waits for a leader that nobody is.
    pub(super) fn lacks_leader(&self) -> bool {
        !self.queue.is_empty()
            && self.partition().is_some_and(|partition| partition.leader.is_none())
    }

    /// A worker has room for one more request: it goes to the end of the line.
    pub(super) fn line_up(&mut self, worker: WorkerKey) {
        if let ServiceKind::Plain { ready } = &mut self.kind {
            ready.push_back(worker);
        }
    }

    /// The worker no longer offers the service.
    pub(super) fn leave(&mut self, worker: WorkerKey) {
        self.workers.remove(&worker);
        match &mut self.kind {
            ServiceKind::Plain { ready } => ready.retain(|key| *key != worker),
            ServiceKind::Partition(partition) => {
                if partition.leader == Some(worker) {
                    partition.leader = None;
                }
            }
        }
    }

    /// Whether nothing would be lost by forgetting it.
    fn is_idle(&self) -> bool {
        self.workers.is_empty() && self.requests == 0 && self.partition().is_none()
    }
}

/// All services.
#[derive(Debug, Default)]
pub(super) struct Services {
    by_key: HashMap<ServiceKey, Service>,
    by_name: HashMap<ServiceName, ServiceKey>,
    last: ServiceKey,
}

impl Services {
    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    pub(super) fn get(&self, key: ServiceKey) -> Option<&Service> {
        self.by_key.get(&key)
    }

    pub(super) fn get_mut(&mut self, key: ServiceKey) -> Option<&mut Service> {
        self.by_key.get_mut(&key)
    }

    pub(super) fn find(&self, name: &ServiceName) -> Option<ServiceKey> {
        self.by_name.get(name).copied()
    }

    /// The service of this name; a new one if there is none and the limit allows it.
    pub(super) fn find_or_add(&mut self, name: &ServiceName, max: usize) -> Option<ServiceKey> {
        if let Some(key) = self.find(name) {
            return Some(key);
        }
        if self.by_key.len() >= max {
            return None;
        }
        self.last.0 += 1;
        // The name may point into a message; a copy of its own keeps nothing else alive.
        let name = ServiceName::new(name.as_bytes().to_vec()).unwrap_or_default();
        self.by_name.insert(name.clone(), self.last);
        self.by_key.insert(self.last, Service::new(name));
        Some(self.last)
    }

    /// Forgets the service if it has neither workers nor requests.
    pub(super) fn forget_if_idle(&mut self, key: ServiceKey) {
        if self.by_key.get(&key).is_some_and(Service::is_idle) {
            self.remove(key);
        }
    }

    pub(super) fn remove(&mut self, key: ServiceKey) {
        if let Some(service) = self.by_key.remove(&key) {
            self.by_name.remove(&service.name);
        }
    }

    pub(super) fn keys(&self) -> Vec<ServiceKey> {
        self.by_key.keys().copied().collect()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (ServiceKey, &Service)> {
        self.by_key.iter().map(|(key, service)| (*key, service))
    }
}
