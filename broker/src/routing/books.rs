//! Relations between the table's parts that always hold; tests look at them after every step.

use super::RoutingTable;
use super::requests::{Origin, Place};
use super::workers::Capacity;

impl RoutingTable {
    /// Panics where two records of the same fact differ.
    pub(super) fn check_books(&self) {
        assert!(self.due.is_empty() && self.outgoing.is_empty());
        let (mut queued, mut held, mut bytes) = (0, 0, 0);
        for id in self.requests.ids() {
            let request = self.requests.get(id).expect("listed");
            let service = self.services.get(request.service).expect("a request has a service");
            bytes += request.bytes + request.parts_bytes;
            match request.place {
                Place::Queued => {
                    queued += 1;
                    assert!(service.queue.contains(&id), "queued, but in no queue");
                }
                Place::Held(key) => {
                    held += 1;
                    let worker = self.workers.get(key).expect("held by a live worker");
                    let offer = worker.offers.get(&request.service).expect("that offers it");
                    assert!(offer.held.contains(&id), "held, but unknown to the worker");
                }
            }
            match &request.origin {
                Origin::Mdp { peer, .. } => assert!(self.clients[peer].contains(&id)),
                Origin::Dialect { session, .. } => {
                    let session = self.sessions.get(session).expect("a client has a session");
                    assert!(session.requests.contains(&id));
                }
            }
        }
        assert_eq!(self.requests.bytes(), bytes);
        let queues: usize = self.services.iter().map(|(_, service)| service.queue.len()).sum();
        assert_eq!(queues, queued, "a queue names a request that is not waiting");
        let kept: usize = self.services.iter().map(|(_, service)| service.requests).sum();
        assert_eq!(kept, queued + held);
        self.check_workers(held);
    }

    fn check_workers(&self, held: usize) {
        let mut holding = 0;
        for key in self.workers.keys() {
            let worker = self.workers.get(key).expect("listed");
            for (service, offer) in &worker.offers {
                holding += offer.held.len();
                let record = self.services.get(*service).expect("an offered service is known");
                assert!(record.workers.contains(&key), "offered, but unknown to the service");
                let leads =
                    record.partition().is_none_or(|partition| partition.leader == Some(key));
                assert!(leads || offer.held.is_empty(), "only the leader holds requests");
                if let Capacity::Single { in_hand } = &offer.capacity {
                    assert!(offer.held.len() <= usize::from(in_hand.is_some()));
                }
            }
        }
        assert_eq!(holding, held, "a worker holds a request that is not with it");
        for (key, service) in self.services.iter() {
            for worker in &service.workers {
                let worker = self.workers.get(*worker).expect("a service's worker is alive");
                assert!(worker.offers.contains_key(&key));
            }
            let leader = service.partition().and_then(|partition| partition.leader);
            assert!(leader.is_none_or(|leader| service.workers.contains(&leader)));
        }
    }
}
