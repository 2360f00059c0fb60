//! The broker loop: takes requests from the brokers, gives them to the writers, sends the answers.
//!
//! ```text
//! broker ──DEALER──┐                       ┌── Partition::submit ──► writer thread
//!                  ├──► BrokerLink ──► Service (SessionTable) ◄── queue + waker ──┘
//! broker ──DEALER──┘                       └── ReadThread (plain reads)
//! ```
//!
//! One thread, one DEALER per broker, one [`Service`] per hosted partition. The loop never waits
//! for a disk, with one exception that makes a lone append fast: if exactly one message has
//! arrived and nothing is under way, the writer's work is done right here.

mod service;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use broker::dialect::{
    LinkSettings, PartitionRegistration, Registration, ServiceName, Window, WorkerInput,
    WorkerOffer, WorkerReply, WorkerRequest,
};
use broker::error_code::ErrorCode;
use broker::net::{self, Endpoint, TICK, Waker};
use crossbeam_channel::Receiver;
use thiserror::Error;
use zmq::{Context, POLLIN, PollItem};

use self::service::{Completed, Effect, Service, Tools};
use super::answer::{Answer, Failure};
use super::directory::{Directory, Hosted};
use super::lifecycle::{Lifecycle, Queue};
use super::link::{BrokerLink, LinkEvent, LinkNumber};
use super::reading::ReadThread;
use super::{Identity, Places};

/// Messages taken from one broker before the others have their turn.
const ROUND_MESSAGES: usize = 64;
/// What a broker may have under way with one partition.
const WINDOW: Window = Window { messages: 256, bytes: 8 * 1024 * 1024 };
/// How long a stopping loop waits for the writers to answer what they have.
const DRAIN: Duration = Duration::from_secs(5);

/// Why the loop ended.
#[derive(Debug, Error)]
pub(super) enum AppendLoopError {
    /// A socket failed.
    #[error("a socket of the broker loop failed: {0}")]
    Socket(#[from] zmq::Error),
    /// The loop could not be set up.
    #[error("the broker loop has no file descriptor left: {0}")]
    Waker(#[from] std::io::Error),
}

/// What the loop is made of.
pub(super) struct AppendSettings {
    pub(super) brokers: Vec<Endpoint>,
    pub(super) link: LinkSettings,
    pub(super) identity: Identity,
    pub(super) places: Places,
}

/// The state of the loop.
pub(super) struct AppendLoop {
    context: Context,
    settings: AppendSettings,
    directory: Directory,
    lifecycle: Lifecycle,
    waker: Waker,
    links: Vec<BrokerLink>,
    services: HashMap<ServiceName, Service>,
    completed: Receiver<Completed>,
    tools: Tools,
    /// Change of the directory that the services follow.
    followed: u64,
    /// Change of the directory that has been reported as settled.
    settled: u64,
}

impl AppendLoop {
    /// A loop that serves whatever the directory lists.
    pub(super) fn new(
        context: &Context,
        settings: AppendSettings,
        (directory, lifecycle): (&Directory, &Lifecycle),
        reads: ReadThread,
    ) -> Result<Self, AppendLoopError> {
        let waker = Waker::new()?;
        directory.watch(&waker);
        lifecycle.intake.register(&waker);
        let (queue, completed) = Queue::new(waker.clone());
        let tools = Tools { queue, reads };
        Ok(Self {
            context: context.clone(),
            settings,
            directory: directory.clone(),
            lifecycle: lifecycle.clone(),
            waker,
            links: Vec::new(),
            services: HashMap::new(),
            completed,
            tools,
            followed: u64::MAX,
            settled: 0,
        })
    }

    /// Runs until the process is asked to stop, then answers what is under way and says goodbye.
    #[expect(clippy::disallowed_methods, reason = "a loop reads the clock")]
    pub(super) fn run(mut self) -> Result<(), AppendLoopError> {
        let now = Instant::now();
        let brokers = self.settings.brokers.iter().enumerate();
        self.links = brokers
            .map(|(number, endpoint)| {
                let link = self.settings.link.clone();
                BrokerLink::new(LinkNumber(number), endpoint.clone(), link, now)
            })
            .collect();
        while !self.lifecycle.intake.is_requested() {
            self.follow_directory(Instant::now())?;
            let received = self.receive(Instant::now())?;
            let completed = self.complete(Instant::now())?;
            if !received && !completed {
                self.sleep(Instant::now())?;
            }
        }
        let deadline = Instant::now() + DRAIN;
        while self.under_way() > 0 && Instant::now() < deadline {
            self.complete(Instant::now())?;
            self.sleep(Instant::now())?;
        }
        self.complete(Instant::now())?;
        let now = Instant::now();
        self.links.into_iter().try_for_each(|link| link.leave(now)).map_err(Into::into)
    }

    /// How many requests the writers and the reader thread hold.
    fn under_way(&self) -> usize {
        self.services.values().map(Service::under_way).sum()
    }

    fn sleep(&mut self, now: Instant) -> Result<(), AppendLoopError> {
        let deadline = self.links.iter().filter_map(|link| link.deadline(now)).min();
        let timeout = deadline.map_or(TICK, |deadline| deadline.saturating_duration_since(now));
        let sockets = self.links.iter().filter_map(BrokerLink::socket);
        let mut items = vec![self.waker.poll_item()];
        items.extend(sockets.map(|socket| socket.as_poll_item(POLLIN)));
        let items: &mut [PollItem<'_>] = &mut items;
        net::poll(items, Some(timeout))?;
        self.waker.drain();
        Ok(())
    }

    /// Takes what has arrived; whether there was anything.
    #[expect(clippy::disallowed_methods, reason = "a loop reads the clock")]
    fn receive(&mut self, now: Instant) -> Result<bool, AppendLoopError> {
        let mut requests = Vec::new();
        let mut received = 0;
        for link in &mut self.links {
            let mut events = Vec::new();
            link.tick(&self.context, now, &mut events)?;
            received += link.receive(ROUND_MESSAGES, now, &mut events)?;
            for event in events {
                match event {
                    LinkEvent::Request(request) => requests.push((link.number(), request)),
                    LinkEvent::Up => self.lifecycle.now_serving(),
                }
            }
        }
        // An append that came alone need not be handed to another thread and back.
        let lone = requests.len() == 1 && self.under_way() == 0;
        for (asker, request) in requests {
            let expires = request.time_left;
            let expired = !expires.is_zero() && Instant::now() > now + expires;
            self.request(asker, request, Circumstances { lone, expired }, now)?;
        }
        Ok(received > 0)
    }

    fn request(
        &mut self,
        asker: LinkNumber,
        request: WorkerRequest,
        circumstances: Circumstances,
        now: Instant,
    ) -> Result<(), AppendLoopError> {
        let effect = match self.services.get_mut(&request.service) {
            Some(service) if !service.is_leaving() => {
                service.request(asker, &request, circumstances, &self.tools)
            }
            _ => Effect::Answer(Answer::failed(&Failure::new(
                ErrorCode::NOT_LEADER,
                "this process does not serve that partition: ask the broker for its topology",
            ))),
        };
        match effect {
            Effect::Later => Ok(()),
            Effect::Answer(answer) => {
                let WorkerRequest { session, service, number, .. } = request;
                let epoch = self.settings.identity.epoch.0;
                let reply = reply(&service, (session, number), epoch, &answer);
                self.send(&[asker], &reply, now)
            }
        }
    }

    /// Sends the answers that writers and reader thread have made; whether there were any.
    fn complete(&mut self, now: Instant) -> Result<bool, AppendLoopError> {
        let mut any = false;
        while let Ok(completed) = self.completed.try_recv() {
            any = true;
            let Some(service) = self.services.get_mut(&completed.service) else {
                continue;
            };
            let (askers, answer) = service.complete(&completed, &self.settings.identity);
            let asked = (completed.session, completed.number);
            let epoch = self.settings.identity.epoch.0;
            let reply = reply(&completed.service, asked, epoch, &answer);
            self.send(&askers, &reply, now)?;
        }
        Ok(any)
    }

    fn send(
        &mut self,
        askers: &[LinkNumber],
        reply: &WorkerReply,
        now: Instant,
    ) -> Result<(), AppendLoopError> {
        // A reply makes a link emit nothing but messages to its socket.
        let mut events = Vec::new();
        for LinkNumber(asker) in askers {
            if let Some(link) = self.links.get_mut(*asker) {
                link.give(now, WorkerInput::Reply(reply.clone()), &mut events)?;
            }
        }
        Ok(())
    }

    /// Offers partitions that came, and withdraws those that left once nothing of them is under
    /// way.
    fn follow_directory(&mut self, now: Instant) -> Result<(), AppendLoopError> {
        let changes = self.directory.changes();
        if changes != self.followed {
            let (changes, hosted) = self.directory.snapshot();
            self.followed = changes;
            let names = hosted.iter().map(service_name).collect::<Vec<_>>();
            for (name, service) in &mut self.services {
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
        if self.settled != self.followed {
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
        let AppendSettings { identity, places, .. } = &self.settings;
        let incarnation = identity.incarnation();
        let service = self.services.get(&name).filter(|service| service.serves(&hosted));
        if service.is_some_and(|service| service.registered_as() == incarnation) {
            return Ok(());
        }
        let offer = WorkerOffer {
            service: name.clone(),
            epoch: identity.epoch.0,
            registration: Registration {
                partition: Some(PartitionRegistration {
                    store: hosted.store.to_string(),
                    partition: hosted.partition.number().0,
                    partitions: hosted.partitions,
                    leader: true,
                    incarnation,
                    lineage: identity.lineage,
                    durability: identity.durability.as_str().to_owned(),
                    feed: places.feed.to_string(),
                    replay: places.replay.to_string(),
                }),
            },
            window: WINDOW,
        };
        match self.services.get_mut(&name).filter(|service| service.serves(&hosted)) {
            Some(service) => service.registered(incarnation),
            None => {
                let service = Service::new(name.clone(), hosted, incarnation);
                self.services.insert(name, service);
            }
        }
        let mut events = Vec::new();
        for link in &mut self.links {
            link.give(now, WorkerInput::Offer(offer.clone()), &mut events)?;
        }
        Ok(())
    }

    fn withdraw_left(&mut self, now: Instant) -> Result<(), AppendLoopError> {
        let leaving = self.services.iter().filter(|(_, service)| service.is_leaving());
        let idle = leaving.filter(|(_, service)| service.under_way() == 0);
        let idle = idle.map(|(name, _)| name.clone()).collect::<Vec<_>>();
        for name in idle {
            self.services.remove(&name);
            let mut events = Vec::new();
            for link in &mut self.links {
                link.give(now, WorkerInput::Withdraw(name.clone()), &mut events)?;
            }
        }
        if !self.services.values().any(Service::is_leaving) {
            self.settled = self.followed;
            self.directory.settle(self.settled);
        }
        Ok(())
    }
}

/// What matters about a request beside its content.
#[derive(Debug, Clone, Copy)]
pub(super) struct Circumstances {
    /// It came alone, and nothing is under way.
    lone: bool,
    /// Its deadline passed before its turn came.
    expired: bool,
}

fn service_name(hosted: &Hosted) -> Option<ServiceName> {
    ServiceName::partition(hosted.store.as_str(), hosted.partition.number().0)
}

fn reply(
    service: &ServiceName,
    (session, number): (broker::dialect::SessionId, u64),
    epoch: u64,
    answer: &Answer,
) -> WorkerReply {
    WorkerReply {
        session,
        service: service.clone(),
        number,
        epoch,
        code: answer.code,
        retry_after: answer.retry_after,
        more: false,
        body: vec![answer.body.clone()],
    }
}
