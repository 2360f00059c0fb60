//! What the brokers are told: which partitions this process has, and whether it leads them.

use std::time::Instant;

use broker::dialect::{
    PartitionRegistration, Registration, ServiceName, Window, WorkerInput, WorkerOffer,
};

use super::service::{Registered, Service};
use super::{AppendLoop, AppendLoopError};
use crate::server::directory::Hosted;

/// What a broker may have under way with one partition.
const WINDOW: Window = Window { messages: 256, bytes: 8 * 1024 * 1024 };

/// How far the loop has followed what the others change.
#[derive(Debug, Default)]
pub(super) struct Followed {
    /// Changes of the directory and of the reign; `None` before the first look.
    changes: Option<(u64, u64)>,
    /// Change of the directory that has been reported as settled.
    settled: u64,
}

impl AppendLoop {
    /// Follows directory and reign: offers partitions that came or changed hands, and withdraws
    /// those that left once nothing of them is under way.
    pub(super) fn follow(&mut self, now: Instant) -> Result<(), AppendLoopError> {
        let reign = self.settings.identity.reign.changes();
        let directory = self.directory.changes();
        if self.followed.changes != Some((directory, reign)) {
            self.state = self.settings.identity.state();
            let (directory, hosted) = self.directory.snapshot();
            self.followed.changes = Some((directory, reign));
            let names = hosted.iter().map(service_name).collect::<Vec<_>>();
            for (name, service) in &mut self.services {
                service.follow(&self.state);
                if !names.iter().flatten().any(|listed| listed == name) {
                    service.start_leaving();
                }
            }
            for (name, hosted) in names.into_iter().zip(hosted) {
                if let Some(name) = name {
                    self.offer(name, hosted, now)?;
                }
            }
        }
        if self.followed.settled != self.followed.changes.map_or(0, |(directory, _)| directory) {
            self.withdraw_left(now)?;
        }
        Ok(())
    }

    fn offer(
        &mut self,
        name: ServiceName,
        hosted: Hosted,
        now: Instant,
    ) -> Result<(), AppendLoopError> {
        let registered = Registered::new(&self.state);
        let offer = self.worker_offer(name.clone(), &hosted);
        let service = self.services.get_mut(&name).filter(|service| service.serves(&hosted));
        let before = service.as_ref().map(|service| service.registered_as());
        if before == Some(registered) {
            return Ok(());
        }
        match service {
            Some(service) => service.register(registered),
            None => {
                let service = Service::new(name.clone(), hosted, &self.state);
                self.services.insert(name.clone(), service);
            }
        }
        if before.is_some_and(|before| before.is_of_another_reign(&registered)) {
            // The links forget them, and the brokers send them anew to whoever leads.
            self.waiting.retain(|waiting| waiting.request.service != name);
        }
        self.give(|_| true, &WorkerInput::Offer(offer), now)
    }

    fn worker_offer(&self, service: ServiceName, hosted: &Hosted) -> WorkerOffer {
        let (state, places) = (&self.state, &self.settings.places);
        WorkerOffer {
            service,
            epoch: state.epoch.0,
            registration: Registration {
                partition: Some(PartitionRegistration {
                    store: hosted.store.to_string(),
                    partition: hosted.partition.number().0,
                    partitions: hosted.partitions,
                    leader: state.leading,
                    incarnation: state.incarnation,
                    lineage: state.lineage,
                    durability: self.settings.identity.durability.as_str().to_owned(),
                    feed: places.feed.to_string(),
                    replay: places.replay.to_string(),
                }),
            },
            window: WINDOW,
        }
    }

    fn withdraw_left(&mut self, now: Instant) -> Result<(), AppendLoopError> {
        let leaving = self.services.iter().filter(|(_, service)| service.is_leaving());
        let idle = leaving.filter(|(_, service)| service.under_way() == 0);
        let idle = idle.map(|(name, _)| name.clone()).collect::<Vec<_>>();
        for name in idle {
            self.services.remove(&name);
            self.give(|_| true, &WorkerInput::Withdraw(name), now)?;
        }
        if !self.services.values().any(Service::is_leaving) {
            self.followed.settled = self.followed.changes.map_or(0, |(directory, _)| directory);
            self.directory.settle(self.followed.settled);
        }
        Ok(())
    }
}

fn service_name(hosted: &Hosted) -> Option<ServiceName> {
    ServiceName::partition(hosted.store.as_str(), hosted.partition.number().0)
}
