//! Who leads a partition, what a change of leader does to its requests, and who is asked to vote
//! while nobody leads.

use super::RoutingTable;
use super::answers::Failure;
use super::ids::ServiceKey;
use super::services::Service;
use super::workers::{Amount, Capacity, Speech, WorkerKey};
use crate::dialect::{Header, Kind, PartitionRegistration};
use crate::error_code::ErrorCode;

impl RoutingTable {
    /// A member that begins or stops to lead has dropped what it held: all of it goes back, in
    /// order, and credit starts anew with this registration. A leader whose epoch rises while it
    /// goes on leading keeps what it holds.
    pub(super) fn end_reign_if_role_changes(
        &mut self,
        key: WorkerKey,
        header: &Header,
        registration: &PartitionRegistration,
    ) {
        let Some(service) = self.services.find(&header.service) else {
            return;
        };
        let Some(offer) = self.workers.offer_mut(key, service) else {
            return;
        };
        let led = offer.partition.as_ref().is_some_and(|partition| partition.leader);
        if led != registration.leader {
            offer.capacity =
                Capacity::Credit { granted: Amount::default(), sent: Amount::default() };
            self.follow(service, key);
        }
    }

    /// A member says that it leads in this epoch.
    pub(super) fn lead(
        &mut self,
        service: ServiceKey,
        key: WorkerKey,
        epoch: u64,
    ) -> Result<(), Failure> {
        let Some(claim) =
            self.workers.offer_mut(key, service).and_then(|offer| offer.partition.clone())
        else {
            return Ok(());
        };
        let Some(partition) = self.services.get(service).and_then(Service::partition) else {
            return Ok(());
        };
        let lineage_changes = partition.lineage.is_some_and(|known| known != claim.lineage);
        let other_leader = partition.leader.filter(|leader| *leader != key);
        if lineage_changes && other_leader.is_some() {
            let text = "a leader of another lineage is registered: stop one of the two";
            return Err(self.not_leader(service, key, text.to_owned()));
        }
        if !lineage_changes && epoch < partition.epoch {
            let text = format!("epoch {} is known; this is {epoch}", partition.epoch);
            return Err(self.not_leader(service, key, text));
        }
        let continues = !lineage_changes
            && (epoch > partition.epoch || partition.incarnation == Some(claim.incarnation));
        if let Some(old) = other_leader {
            self.depose(service, old, epoch);
        }
        if !continues {
            self.fail_delivered(service);
        }
        if let Some(partition) = self.services.get_mut(service).and_then(Service::partition_mut) {
            partition.leader = Some(key);
            partition.epoch = epoch;
            partition.lineage = Some(claim.lineage);
            partition.incarnation = Some(claim.incarnation);
            // When this leader is lost its members are asked at once.
            partition.vote_at = None;
        }
        Ok(())
    }

    fn not_leader(&mut self, service: ServiceKey, key: WorkerKey, text: String) -> Failure {
        self.follow(service, key);
        Failure::new(ErrorCode::NOT_LEADER, text)
    }

    /// A member does not lead, or no longer. What it holds goes back: only the leader answers.
    pub(super) fn follow(&mut self, service: ServiceKey, key: WorkerKey) {
        if let Some(partition) = self.services.get_mut(service).and_then(Service::partition_mut)
            && partition.leader == Some(key)
        {
            partition.leader = None;
        }
        let held =
            self.workers.offer_mut(key, service).map(|offer| std::mem::take(&mut offer.held));
        for id in held.unwrap_or_default() {
            self.requeue(id);
        }
    }

    /// Another session takes the place of a leader, which is told so.
    fn depose(&mut self, service: ServiceKey, old: WorkerKey, epoch: u64) {
        self.follow(service, old);
        let Some(record) = self.services.get(service) else {
            return;
        };
        let mut header = Header::new(Kind::Refused, Default::default());
        header.service = record.name.clone();
        header.epoch = epoch;
        let text = format!("another session leads in epoch {epoch}");
        self.refuse_offer(old, header, Failure::new(ErrorCode::NOT_LEADER, text));
    }

    /// What another history may have carried out is not sent into this one.
    fn fail_delivered(&mut self, service: ServiceKey) {
        let waiting = self.services.get(service).map(|service| service.queue.clone());
        for id in waiting.unwrap_or_default() {
            if self.requests.get(id).is_some_and(|request| request.deliveries > 0) {
                let text = "the leader that held the request was replaced by another";
                self.fail(id, Failure::new(ErrorCode::WORKER_LOST, text));
            }
        }
    }

    /// Work waits and nobody leads: the members should settle who does. Asked at once when the
    /// leader is lost, and again in every heartbeat interval.
    pub(super) fn ask_for_votes(&mut self, service: ServiceKey) {
        let (now, interval) = (self.now, self.settings.heartbeat);
        let Some(record) = self.services.get_mut(service) else {
            return;
        };
        if record.workers.is_empty() || !record.lacks_leader() {
            return;
        }
        let members = record.workers.clone();
        let Some(partition) = record.partition_mut() else {
            return;
        };
        if partition.vote_at.is_some_and(|at| now < at + interval) {
            return;
        }
        partition.vote_at = Some(now);
        for key in members {
            self.ask_to_vote(service, key);
        }
    }

    /// A member registered between two rounds of votes: it need not wait for the next one.
    pub(super) fn ask_newcomer_to_vote(&mut self, service: ServiceKey, key: WorkerKey) {
        let (now, interval) = (self.now, self.settings.heartbeat);
        let round_goes_on = self.services.get(service).is_some_and(|record| {
            let asked_at = record.partition().and_then(|partition| partition.vote_at);
            record.lacks_leader() && asked_at.is_some_and(|at| now < at + interval)
        });
        if round_goes_on {
            self.ask_to_vote(service, key);
        }
    }

    fn ask_to_vote(&mut self, service: ServiceKey, key: WorkerKey) {
        let Some(record) = self.services.get(service) else {
            return;
        };
        let Some(Speech::Dialect(session)) = self.workers.get(key).map(|worker| worker.speech)
        else {
            return;
        };
        let mut header = Header::new(Kind::Vote, session);
        header.service = record.name.clone();
        header.epoch = record.partition().map(|partition| partition.epoch).unwrap_or_default();
        self.send_to_worker(key, vec![header.encode().into()]);
    }
}
