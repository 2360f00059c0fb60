//! Stores and their partitions: which there are, and who hosts them.

use super::RoutingTable;
use super::answers::Failure;
use super::ids::{PeerId, RequestId, ServiceKey};
use super::mdp_clients::Asked;
use super::requests::{Origin, Place};
use super::services::{Partition, ServiceKind};
use super::stores::Meaning;
use super::workers::WorkerKey;
use crate::dialect::{Header, PartitionRegistration, ServiceName};
use crate::error_code::ErrorCode;
use crate::mdp::message::MMI_PREFIX;
use crate::slot::SLOTS;

impl RoutingTable {
    /// A member offers a partition. Returns an error sentence for the member; one that is refused
    /// as leader stays registered as a member that does not lead.
    pub(super) fn register_partition(
        &mut self,
        key: WorkerKey,
        header: &Header,
        registration: PartitionRegistration,
    ) -> Result<(), Failure> {
        let store = self.check_names(&header.service, &registration)?;
        self.check_partitions(&store, &registration)?;
        self.make_way(&store, registration.partitions)?;
        self.end_reign_if_role_changes(key, header, &registration);
        let service = self.add_offer(key, header)?;
        self.become_partition(service);
        if let Some(record) = self.services.get_mut(service) {
            record.workers.insert(key);
            record.offered = true;
        }
        if let Some(offer) = self.workers.offer_mut(key, service) {
            offer.partition = Some(registration.clone());
        }
        self.reroute_waiting(&store);
        self.due.push(service);
        if registration.leader {
            self.lead(service, key, header.epoch)
        } else {
            self.follow(service, key);
            self.ask_newcomer_to_vote(service, key);
            Ok(())
        }
    }

    fn check_names(
        &self,
        service: &ServiceName,
        registration: &PartitionRegistration,
    ) -> Result<ServiceName, Failure> {
        let invalid = |text: &str| Failure::new(ErrorCode::INVALID_ARGUMENT, text);
        let PartitionRegistration { store, partition, partitions, .. } = registration;
        if store.is_empty() || store.contains('/') || store.starts_with(MMI_PREFIX) {
            return Err(invalid("a store's name is not empty, has no slash, is not in mmi."));
        }
        if !(1..=SLOTS).contains(partitions) || partition >= partitions {
            return Err(invalid("a store has 1 to 1024 partitions, numbered from 0"));
        }
        if ServiceName::partition(store, *partition).as_ref() != Some(service) {
            return Err(invalid("the service of a partition is STORE/NUMBER"));
        }
        ServiceName::new(store.clone()).ok_or_else(|| invalid("the store's name is too long"))
    }

    /// All members of a store must agree on how many partitions it has. Where no member is left,
    /// the newcomer is believed.
    fn check_partitions(
        &mut self,
        store: &ServiceName,
        registration: &PartitionRegistration,
    ) -> Result<(), Failure> {
        let Some(known) = self.stores.partitions(store) else {
            return Ok(());
        };
        if known == registration.partitions {
            return Ok(());
        }
        if self.live_members(store) > 0 {
            let text = format!(
                "store `{store}` is registered with {known} partitions, not {}: \
                 check which data directory belongs to it",
                registration.partitions
            );
            return Err(Failure::new(ErrorCode::INVALID_ARGUMENT, text));
        }
        self.forget_store(store);
        Ok(())
    }

    /// Makes the store known. A name that others use becomes the store's.
    fn make_way(&mut self, store: &ServiceName, partitions: u16) -> Result<(), Failure> {
        if self.stores.partitions(store).is_some() {
            return Ok(());
        }
        if self.stores.len() >= self.settings.limits.stores {
            let names: Vec<ServiceName> =
                self.stores.iter().map(|(name, _)| name.clone()).collect();
            match names.into_iter().find(|name| self.live_members(name) == 0) {
                Some(absent) => self.forget_store(&absent),
                None => {
                    let text = "the broker knows as many stores as it may";
                    return Err(Failure::new(ErrorCode::BUSY, text));
                }
            }
        }
        self.stores.insert(store.clone(), partitions);
        let taken: Vec<ServiceKey> = self
            .services
            .iter()
            .filter(|(_, service)| self.stores.meaning(&service.name) != Meaning::Plain)
            .filter(|(_, service)| service.partition().is_none())
            .map(|(key, _)| key)
            .collect();
        for service in taken {
            self.evict(service);
            self.become_partition(service);
        }
        Ok(())
    }

    /// Sends away whoever offers a name that belongs to a store.
    fn evict(&mut self, service: ServiceKey) {
        let workers = self.services.get(service).map(|service| service.workers.clone());
        for key in workers.unwrap_or_default() {
            let peer: Option<PeerId> = self.workers.get(key).map(|worker| worker.peer.clone());
            if let Some(peer) = peer {
                log::warn!("{peer}: sent away, because its service belongs to a store");
                self.disconnect_known_worker(&peer);
            }
        }
    }

    fn become_partition(&mut self, service: ServiceKey) {
        if let Some(record) = self.services.get_mut(service)
            && record.partition().is_none()
            && self.stores.meaning(&record.name) == Meaning::Partition
        {
            record.kind = ServiceKind::Partition(Partition::default());
            record.offered = true;
        }
    }

    /// Requests that MDP clients sent to the store's name before it was known find their partition.
    fn reroute_waiting(&mut self, store: &ServiceName) {
        let Some(service) = self.services.find(store) else {
            return;
        };
        let waiting = self.services.get(service).map(|service| service.queue.clone());
        for id in waiting.unwrap_or_default() {
            let Some(request) = self.take(id) else {
                continue;
            };
            match request.origin {
                Origin::Mdp { peer, version, asked } => {
                    self.mdp_request(&peer, Asked { version, service: asked }, request.body);
                }
                origin @ Origin::Dialect { .. } => {
                    let text = "a store is addressed by partition: ask mmi.topology";
                    self.refuse(&origin, Failure::new(ErrorCode::STALE_TOPOLOGY, text));
                }
            }
        }
    }

    pub(super) fn live_members(&self, store: &ServiceName) -> usize {
        self.partition_services(store)
            .iter()
            .filter_map(|key| self.services.get(*key))
            .map(|service| service.workers.len())
            .sum()
    }

    /// The services of a store's partitions, as far as there are records.
    pub(super) fn partition_services(&self, store: &ServiceName) -> Vec<ServiceKey> {
        let partitions = self.stores.partitions(store).unwrap_or_default();
        (0..partitions)
            .filter_map(|partition| ServiceName::partition(store.as_str(), partition))
            .filter_map(|name| self.services.find(&name))
            .collect()
    }

    /// Forgets a store without members. What waits for it is answered.
    fn forget_store(&mut self, store: &ServiceName) {
        for service in self.partition_services(store) {
            let waiting: Vec<RequestId> = self
                .services
                .get(service)
                .map(|service| service.queue.iter().copied().collect())
                .unwrap_or_default();
            for id in waiting {
                let delivered = self.requests.get(id).is_some_and(|request| {
                    request.deliveries > 0 || request.place != Place::Queued
                });
                let code =
                    if delivered { ErrorCode::WORKER_LOST } else { ErrorCode::STALE_TOPOLOGY };
                self.fail(id, Failure::new(code, "the store was registered anew"));
            }
            self.services.remove(service);
        }
        self.stores.remove(store);
    }
}
