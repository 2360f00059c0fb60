//! The broker loop: takes requests from the brokers, gives them to the writers, sends the answers.
//!
//! ```text
//! broker ──DEALER──┐                       ┌── Partition::submit ──► writer thread
//!                  ├──► BrokerLink ──► Service (SessionTable) ◄── queue + waker ──┘
//! broker ──DEALER──┘                       └── ReadThread (plain reads)
//! ```
//!
//! One thread, one DEALER per broker, one [`Service`] per hosted partition. The loop never waits
//! for a disk, with one exception: if little has arrived, all for one partition, and nothing is
//! under way, the writer's work is done right here, with one write and one sync. What arrives
//! meanwhile is the next such round. That saves two hand-overs between threads, which cost more
//! than the work itself while few clients are busy.
//!
//! In a pair the loop follows the [`Reign`](super::reign::Reign): it registers anew at every
//! change, and whatever a step-down has left undecided is answered by nobody here, because the
//! brokers give it to the next leader.

mod gate;
mod registering;
mod service;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use broker::dialect::{LinkSettings, ServiceName, WorkerInput, WorkerReply, WorkerRequest};
use broker::error_code::ErrorCode;
use broker::link::{BrokerLink, LinkEvent, LinkNumber};
use broker::net::{self, Endpoint, Queue, TICK, Waker};
use bytes::Bytes;
use crossbeam_channel::Receiver;
use thiserror::Error;
use zmq::{Context, POLLIN, PollItem};

use self::gate::{Admission, admit, is_done_here};
use self::registering::Followed;
use self::service::{Completed, Effect, Service, Tools};
use super::answer::{Answer, Failure};
use super::directory::Directory;
use super::lifecycle::Lifecycle;
use super::reading::ReadThread;
use super::reign::ReignState;
use super::{Identity, Places};

pub(super) use self::gate::not_leader;

/// Messages taken from one broker before the others have their turn.
const ROUND_MESSAGES: usize = 64;
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
    /// Requests that have come, oldest first. They stay here while it is open whether this node
    /// may take them in; how many there can be, the brokers' windows say.
    waiting: VecDeque<Waiting>,
    completed: Receiver<Completed>,
    tools: Tools,
    /// The reign that the services follow.
    state: Arc<ReignState>,
    followed: Followed,
    /// Whether any broker knew us when the pair was last told.
    any_broker: Option<bool>,
}

/// A request whose turn has not come.
struct Waiting {
    asker: LinkNumber,
    request: WorkerRequest,
    arrived: Instant,
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
        settings.identity.reign.watch(&waker);
        lifecycle.intake.register(&waker);
        let (queue, completed) = Queue::new(waker.clone());
        let has_peer = settings.identity.reign.pair().is_some();
        let tools = Tools { queue, reads, has_peer };
        let state = settings.identity.state();
        Ok(Self {
            context: context.clone(),
            settings,
            directory: directory.clone(),
            lifecycle: lifecycle.clone(),
            waker,
            links: Vec::new(),
            services: HashMap::new(),
            waiting: VecDeque::new(),
            completed,
            tools,
            state,
            followed: Followed::default(),
            any_broker: None,
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
            self.follow(Instant::now())?;
            let received = self.receive(Instant::now())?;
            self.take_waiting(Instant::now())?;
            let completed = self.complete(Instant::now())?;
            self.tell_pair();
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

    /// Queues what has arrived; whether there was anything.
    fn receive(&mut self, now: Instant) -> Result<bool, AppendLoopError> {
        let mut received = 0;
        let mut events = Vec::new();
        for link in &mut self.links {
            let mut of_link = Vec::new();
            link.tick(&self.context, now, &mut of_link)?;
            received += link.receive(ROUND_MESSAGES, now, &mut of_link)?;
            let number = link.number();
            events.extend(of_link.into_iter().map(|event| (number, event)));
        }
        self.hear(events, now);
        Ok(received > 0)
    }

    fn hear(&mut self, events: Vec<(LinkNumber, LinkEvent)>, now: Instant) {
        for (asker, event) in events {
            match event {
                LinkEvent::Request(request) => {
                    self.waiting.push_back(Waiting { asker, request, arrived: now });
                }
                LinkEvent::Up => self.lifecycle.now_serving(),
                LinkEvent::Down => self.waiting.retain(|waiting| waiting.asker != asker),
                LinkEvent::Vote => {
                    if let Some(pair) = self.settings.identity.reign.pair() {
                        pair.vote();
                    }
                }
            }
        }
    }

    /// Has the links deal with an input each.
    fn give(
        &mut self,
        to: impl Fn(&BrokerLink) -> bool,
        input: &WorkerInput,
        now: Instant,
    ) -> Result<(), AppendLoopError> {
        let mut events = Vec::new();
        for link in self.links.iter_mut().filter(|link| to(link)) {
            let mut of_link = Vec::new();
            link.give(now, input.clone(), &mut of_link)?;
            let number = link.number();
            events.extend(of_link.into_iter().map(|event| (number, event)));
        }
        self.hear(events, now);
        Ok(())
    }

    /// Takes in the requests that wait, in their order, as far as that may be.
    #[expect(clippy::disallowed_methods, reason = "a loop reads the clock")]
    fn take_waiting(&mut self, now: Instant) -> Result<(), AppendLoopError> {
        let waits = self.waiting.iter().map(|waiting| {
            let WorkerRequest { service, body, .. } = &waiting.request;
            (service, body.iter().map(Bytes::len).sum())
        });
        let hold = is_done_here(self.under_way(), waits);
        while let Some(waiting) = self.waiting.pop_front() {
            // The clock is read for each: the process may have stood still since the last one.
            let (reign, current) = (&self.settings.identity.reign, Instant::now());
            let admission = admit(&self.state, waiting.request.epoch, reign.is_confirmed(current));
            let closed = match admission {
                Admission::Wait => {
                    self.waiting.push_front(waiting);
                    break;
                }
                Admission::Refuse(failure) => {
                    self.answer(&waiting, &Answer::failed(&failure), now)?;
                    continue;
                }
                Admission::ReadOnly(failure) => Some(failure),
                Admission::Take => None,
            };
            let expires = waiting.request.time_left;
            let expired = !expires.is_zero() && current > waiting.arrived + expires;
            let effect = self.take(&waiting, &Circumstances { hold, expired, closed });
            if let Effect::Answer(answer) = effect {
                self.answer(&waiting, &answer, now)?;
            }
        }
        if hold {
            self.services.values_mut().for_each(Service::release);
        }
        Ok(())
    }

    fn take(&mut self, waiting: &Waiting, circumstances: &Circumstances) -> Effect {
        match self.services.get_mut(&waiting.request.service) {
            Some(service) if !service.is_leaving() => {
                service.request(waiting.asker, &waiting.request, circumstances, &self.tools)
            }
            _ => Effect::Answer(Answer::failed(&Failure::new(
                ErrorCode::NOT_LEADER,
                "this process does not serve that partition: ask the broker for its topology",
            ))),
        }
    }

    fn answer(
        &mut self,
        waiting: &Waiting,
        answer: &Answer,
        now: Instant,
    ) -> Result<(), AppendLoopError> {
        let WorkerRequest { session, ref service, number, .. } = waiting.request;
        let reply = reply(service, (session, number), self.state.epoch.0, answer);
        self.send(&[waiting.asker], reply, now)
    }

    /// Sends the answers that writers and reader thread have made; whether there were any.
    fn complete(&mut self, now: Instant) -> Result<bool, AppendLoopError> {
        let mut any = false;
        while let Ok(completed) = self.completed.try_recv() {
            any = true;
            // What a step-down has made unknown comes after the change of the reign.
            self.follow(now)?;
            let Some(service) = self.services.get_mut(&completed.service) else {
                continue;
            };
            let Some((askers, answer)) = service.complete(&completed, &self.state) else {
                continue;
            };
            let asked = (completed.session, completed.number);
            let reply = reply(&completed.service, asked, self.state.epoch.0, &answer);
            self.send(&askers, reply, now)?;
        }
        Ok(any)
    }

    fn send(
        &mut self,
        askers: &[LinkNumber],
        reply: WorkerReply,
        now: Instant,
    ) -> Result<(), AppendLoopError> {
        self.give(|link| askers.contains(&link.number()), &WorkerInput::Reply(reply), now)
    }

    /// The pair wants to know whether brokers, and so clients, reach this process.
    fn tell_pair(&mut self) {
        let any = Some(self.links.iter().any(BrokerLink::is_up));
        if any != self.any_broker
            && let Some(pair) = self.settings.identity.reign.pair()
        {
            pair.brokers(any == Some(true));
            self.any_broker = any;
        }
    }
}

/// What matters about a request beside its content.
#[derive(Debug, Clone)]
pub(super) struct Circumstances {
    /// Appends are kept until all that came together is known.
    hold: bool,
    /// Its deadline passed before its turn came.
    expired: bool,
    /// Why no appends are taken now, only reads.
    closed: Option<Failure>,
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
