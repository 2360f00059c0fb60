//! The broker's own services (RFC 8): `mmi.service`, and our `mmi.workers` and `mmi.topology`.

use bytes::Bytes;

use super::RoutingTable;
use super::services::Service;
use super::stores::Meaning;
use crate::dialect::{
    MemberTopology, ServiceName, ServiceTopology, StoreTopology, Topology, encode_body,
};
use crate::net::Frames;

const OK: &[u8] = b"200";
const NOT_FOUND: &[u8] = b"404";
const NOT_IMPLEMENTED: &[u8] = b"501";

impl RoutingTable {
    /// The body of the answer to a request in the `mmi.` space.
    pub(super) fn mmi(&self, service: &ServiceName, body: &Frames) -> Frames {
        let code = Bytes::from_static;
        match (service.as_str(), body.as_slice()) {
            ("mmi.service", [name]) => {
                let offered = self.workers_of(name) > 0;
                vec![code(if offered { OK } else { NOT_FOUND })]
            }
            ("mmi.workers", [name]) => {
                vec![code(OK), Bytes::from(self.workers_of(name).to_string())]
            }
            ("mmi.topology", _) => vec![code(OK), encode_body(&self.topology())],
            _ => vec![code(NOT_IMPLEMENTED)],
        }
    }

    /// Live workers of a service; for a store, the members of all its partitions.
    fn workers_of(&self, name: &Bytes) -> usize {
        let Some(name) = ServiceName::new(name.clone()) else {
            return 0;
        };
        match self.stores.meaning(&name) {
            Meaning::Store { .. } => self.live_members(&name),
            _ => {
                let service = self.services.find(&name).and_then(|key| self.services.get(key));
                service.map_or(0, |service| service.workers.len())
            }
        }
    }

    fn topology(&self) -> Topology {
        let stores = self.stores.iter().map(|(name, partitions)| StoreTopology {
            name: name.to_string(),
            partitions,
            members: self
                .partition_services(name)
                .into_iter()
                .filter_map(|key| self.services.get(key).map(|service| (key, service)))
                .flat_map(|(key, service)| self.members(key, service))
                .collect(),
        });
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let mut services: Vec<ServiceTopology> = self
            .services
            .iter()
            .filter(|(_, service)| service.partition().is_none())
            .map(|(_, service)| ServiceTopology {
                name: service.name.to_string(),
                workers: count(service.workers.len()),
                waiting: count(service.queue.len()),
            })
            .collect();
        services.sort_by(|one, other| one.name.cmp(&other.name));
        Topology {
            broker: self.identity.broker,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            endpoints: self.identity.endpoints.clone(),
            stores: stores.collect(),
            services,
            agents: self.agents(),
            witness: self.witness.as_ref().map(|witness| witness.topology(self.now)),
        }
    }

    fn members(&self, key: super::ids::ServiceKey, service: &Service) -> Vec<MemberTopology> {
        let leader = service.partition().and_then(|partition| partition.leader);
        let member = |worker_key: &super::workers::WorkerKey| {
            let worker = self.workers.get(*worker_key)?;
            let offer = worker.offers.get(&key)?;
            let registration = offer.partition.clone()?;
            let silence = worker.liveness.silence(self.now).as_millis();
            Some(MemberTopology {
                partition: registration.partition,
                leader: leader == Some(*worker_key),
                epoch: offer.epoch,
                incarnation: registration.incarnation,
                lineage: registration.lineage,
                durability: registration.durability,
                feed: registration.feed,
                replay: registration.replay,
                alive_ms: u64::try_from(silence).unwrap_or(u64::MAX),
            })
        };
        service.workers.iter().filter_map(member).collect()
    }
}
