//! The client's background thread: the only owner of its sockets to brokers and replayers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use broker::dialect::{ClientReply, ClientRequest, ServiceName};
use broker::net::{self, TICK, Waker};
use crossbeam_channel::Receiver;

use super::acknowledged::Acknowledged;
use super::broker_link::{BrokerLink, LinkEvent};
use super::calls::Calls;
use super::command::{Command, PartitionKey};
use super::lane::{Lane, LaneOutput};
use super::replays::{Question, Replays};
use super::topology_desk::{KnownTopology, TOPOLOGY_SERVICE, TopologyDesk};
use crate::config::ClientConfig;

/// Most commands taken before the sockets are looked at again.
const COMMANDS_PER_TURN_MAX: usize = 1024;

/// What the thread is given by the client that starts it.
pub(super) struct Given {
    pub(super) config: Arc<ClientConfig>,
    pub(super) context: zmq::Context,
    pub(super) commands: Receiver<Command>,
    pub(super) waker: Waker,
    pub(super) known_topology: KnownTopology,
    pub(super) acknowledged: Acknowledged,
}

/// See the module's comment. Everything is decided by machines: this only moves messages, keeps
/// the time and owns what the operating system gives.
pub(super) struct EventLoop {
    config: Arc<ClientConfig>,
    commands: Receiver<Command>,
    waker: Waker,
    link: BrokerLink,
    topology: TopologyDesk,
    acknowledged: Acknowledged,
    replays: Replays,
    calls: Calls,
    /// What calls want to be sent.
    requests: Vec<ClientRequest>,
    lanes: HashMap<PartitionKey, Lane>,
    /// Which lane a reply belongs to.
    services: HashMap<ServiceName, PartitionKey>,
}

impl EventLoop {
    pub(super) fn new(given: Given) -> Self {
        let Given { config, context, commands, waker, known_topology, acknowledged } = given;
        Self {
            link: BrokerLink::new(clock(), &context, &config),
            topology: TopologyDesk::new(&config, known_topology),
            acknowledged,
            replays: Replays::new(&context),
            calls: Calls::new(&config),
            requests: Vec::new(),
            lanes: HashMap::new(),
            services: HashMap::new(),
            config,
            commands,
            waker,
        }
    }

    /// Runs until the client is closed.
    pub(super) fn run(mut self) {
        loop {
            self.sleep();
            let now = clock();
            // Drained before the commands are looked at, so that no command is slept through.
            self.waker.drain();
            if !self.take_commands(now) {
                self.close(now);
                return;
            }
            self.turn(now);
        }
    }

    fn sleep(&self) {
        let lanes = self.lanes.values().filter_map(Lane::deadline);
        let others = [
            self.link.deadline(),
            self.topology.deadline(),
            self.replays.deadline(),
            self.calls.deadline(),
        ];
        let wake_at = lanes.chain(others.into_iter().flatten()).min();
        let pause = wake_at.map_or(TICK, |at| at.saturating_duration_since(clock()));
        let mut items = vec![self.waker.poll_item()];
        items.extend(self.link.poll_item());
        items.extend(self.replays.poll_items());
        if let Err(error) = net::poll(&mut items, Some(pause)) {
            // Not expected; the pause keeps a repeated failure from becoming a busy loop.
            log::error!("the client's poll failed: {error}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Whether to go on.
    fn take_commands(&mut self, now: Instant) -> bool {
        for _ in 0..COMMANDS_PER_TURN_MAX {
            let Ok(command) = self.commands.try_recv() else { return true };
            match command {
                Command::Append { key, append } => self.lane(now, key).push(append),
                Command::Call(call, caller) => {
                    self.calls.submit(now, (call, caller), &mut self.requests);
                }
                Command::Topology { deadline, promise } => {
                    self.topology.ask(now, deadline, promise);
                }
                Command::Read { endpoint, read, events } => {
                    self.replays.read(now, &endpoint, *read, events);
                }
                Command::Credit { request, credit_bytes } => {
                    self.replays.credit(now, request, credit_bytes);
                }
                Command::Cancel { request, silent } => self.replays.cancel(request, silent),
                Command::Status { endpoint, request, deadline, promise } => {
                    let question = Question::Status(promise);
                    self.replays.ask(now, &endpoint, (request, deadline), question);
                }
                Command::HandOver { endpoint, request, deadline, promise } => {
                    let question = Question::HandOver(promise);
                    self.replays.ask(now, &endpoint, (request, deadline), question);
                }
                Command::Close => return false,
            }
        }
        self.waker.wake();
        true
    }

    fn turn(&mut self, now: Instant) {
        let mut events = Vec::new();
        self.link.turn(now, &mut events);
        let mut outputs = Vec::new();
        for event in events {
            match event {
                LinkEvent::Up | LinkEvent::Down => {
                    let up = matches!(event, LinkEvent::Up);
                    if up {
                        self.topology.link_up(now);
                    }
                    for lane in self.lanes.values_mut() {
                        lane.link(now, up, &mut outputs);
                    }
                    // What was to be sent there is to be sent elsewhere.
                    self.requests.clear();
                    self.calls.link(now, up, &mut self.requests);
                }
                LinkEvent::Reply(reply) => self.reply(now, reply, &mut outputs),
            }
        }
        for lane in self.lanes.values_mut() {
            lane.tick(now, &mut outputs);
        }
        self.calls.tick(now, &mut self.requests);
        for request in std::mem::take(&mut self.requests) {
            self.link.request(now, request);
        }
        for output in outputs {
            match output {
                LaneOutput::Request(request) => self.link.request(now, request),
                LaneOutput::AskTopology => self.topology.hint(now),
            }
        }
        self.lanes.values_mut().for_each(|lane| lane.tell(now));
        if let Some(question) = self.topology.tick(now, self.link.is_up()) {
            self.link.request(now, question);
        }
        self.replays.turn(now);
    }

    fn reply(&mut self, now: Instant, reply: ClientReply, outputs: &mut Vec<LaneOutput>) {
        if reply.service.as_bytes().as_ref() == TOPOLOGY_SERVICE {
            if self.topology.reply(now, &reply)
                && let Some(topology) = self.topology.latest()
            {
                self.lanes.values_mut().for_each(|lane| lane.learn(&topology));
            }
            return;
        }
        let lane = self.services.get(&reply.service).and_then(|key| self.lanes.get_mut(key));
        match lane {
            Some(lane) => lane.reply(now, &reply, outputs),
            None => self.calls.reply(now, reply, &mut self.requests),
        }
    }

    /// The lane of a partition. There are as many as the stores in use have partitions.
    fn lane(&mut self, now: Instant, key: PartitionKey) -> &mut Lane {
        let (link, topology, services) = (&self.link, &self.topology, &mut self.services);
        let acknowledged = &self.acknowledged;
        self.lanes.entry(key).or_insert_with_key(|key| {
            // A store's name and a number always make a service name.
            let service = ServiceName::partition(key.store.as_str(), key.partition.0)
                .unwrap_or(ServiceName::NONE);
            services.insert(service.clone(), key.clone());
            let mark = acknowledged.of(key);
            let mut lane = Lane::new((key.clone(), service), mark, &self.config);
            if let Some(topology) = topology.latest() {
                lane.learn(&topology);
            }
            if link.is_up() {
                // Nothing is under way yet, so nothing comes of it.
                lane.link(now, true, &mut Vec::new());
            }
            lane
        })
    }

    fn close(&mut self, now: Instant) {
        self.lanes.values_mut().for_each(|lane| lane.close(now));
        self.calls.close(now);
        self.link.close(now);
    }
}

#[expect(clippy::disallowed_methods, reason = "a loop reads the clock")]
fn clock() -> Instant {
    Instant::now()
}
