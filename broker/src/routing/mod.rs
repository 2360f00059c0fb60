//! Who is sent what: the broker's decisions, without sockets, threads or a clock.
//!
//! ```text
//!            MDP clients   dialect clients
//!                  │             │
//!                  ▼             ▼
//!   admission: limits, duplicates, slot → partition     mmi: answered at once
//!                  │
//!                  ▼
//!   service "name":  queue ─► ready workers, least recently used first   (plain)
//!   service "s/3":   queue ─► the leader, as far as its credit goes      (partition)
//!                  │
//!                  ▼
//!   request held by a worker ─► answer ─► whoever asked
//!            └─ worker lost ─► queue again, or an error
//! ```
//!
//! Every request lies in one table from its arrival until its answer, and is known by its id
//! elsewhere: services queue ids, workers hold ids, clients own ids. Ids rise with arrival, so that
//! a request that goes back into a queue takes its old place by itself.

mod admission;
mod agents;
mod answers;
mod beats;
#[cfg(test)]
mod books;
mod departures;
mod dialect_clients;
mod dialect_peers;
mod dialect_workers;
mod dispatch;
mod ids;
mod leaders;
mod mdp_clients;
mod mdp_workers;
mod mmi;
mod partitions;
mod requests;
mod services;
mod sessions;
mod stores;
mod witness_view;
mod workers;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use uuid::Uuid;

use crate::config::Routing;
use crate::dialect::MAGIC;
use crate::mdp::message::{MessageError, ToBroker};
use crate::net::Frames;

pub use ids::PeerId;
pub use witness_view::{NodeView, PairView, WitnessView};

use departures::Dismissal;
use ids::{RequestId, ServiceKey};
use requests::Requests;
use services::Services;
use sessions::Sessions;
use stores::Stores;
use workers::{WorkerKey, Workers};

/// What the loop tells the table.
#[derive(Clone, Debug)]
pub enum Input {
    /// A peer sent a message.
    Received {
        /// Its routing id.
        peer: PeerId,
        /// The frames after the routing id.
        frames: Frames,
    },
    /// A peer cannot be reached any more, or was too slow for its outbox.
    PeerGone {
        /// Its routing id.
        peer: PeerId,
    },
    /// Time has gone by.
    Tick,
    /// The witness of this process has news, for those who ask for the topology.
    Witness(Arc<WitnessView>),
    /// Take nothing new; finish what workers hold.
    Drain,
    /// Say goodbye to everybody and answer what is left.
    Farewell,
}

/// What the loop has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send a message to a peer.
    Send {
        /// Its routing id.
        peer: PeerId,
        /// The frames after the routing id.
        frames: Frames,
    },
}

/// What the table is given at its making.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The broker's id, random at each start; also the session of requests from MDP clients.
    pub broker: Uuid,
    /// Where others find the broker.
    pub endpoints: Vec<String>,
}

/// Everything that happens without anybody being told, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages that broke a rule of their protocol.
    pub malformed: u64,
    /// Replies to requests that the sender did not hold.
    pub replies_unexpected: u64,
    /// Workers that were sent DISCONNECT.
    pub disconnected: u64,
    /// Workers that fell silent or became unreachable.
    pub workers_lost: u64,
    /// Requests that were put back into a queue.
    pub redelivered: u64,
    /// Requests that ended with an error of the broker's.
    pub failed: u64,
    /// Requests whose client went away.
    pub abandoned: u64,
    /// Requests that were refused because a limit was reached.
    pub busy: u64,
}

/// How much the table holds at the moment; each number has a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Workers of both protocols.
    pub workers: usize,
    /// Dialect clients.
    pub sessions: usize,
    /// MDP clients with unanswered requests.
    pub clients: usize,
    /// Services.
    pub services: usize,
    /// Unanswered requests.
    pub requests: usize,
    /// Their body bytes.
    pub request_bytes: usize,
}

/// The broker's mind. See the [module](self).
#[derive(Debug)]
pub struct RoutingTable {
    settings: Routing,
    identity: Identity,
    /// The instant of the input in hand.
    now: Instant,
    outgoing: Vec<Output>,
    services: Services,
    stores: Stores,
    workers: Workers,
    requests: Requests,
    sessions: Sessions,
    /// Unanswered requests of MDP clients.
    clients: HashMap<PeerId, BTreeSet<RequestId>>,
    /// Peers whose MDP conversation has just ended.
    dismissed: HashMap<PeerId, Dismissal>,
    /// Services whose queue should be looked at before the next input.
    due: Vec<ServiceKey>,
    witness: Option<Arc<WitnessView>>,
    draining: bool,
    beat_at: Instant,
    counters: Counters,
}

impl RoutingTable {
    /// An empty table.
    pub fn new(now: Instant, settings: Routing, identity: Identity) -> RoutingTable {
        RoutingTable {
            beat_at: now,
            settings,
            identity,
            now,
            outgoing: Vec::new(),
            services: Services::default(),
            stores: Stores::default(),
            workers: Workers::default(),
            requests: Requests::default(),
            sessions: Sessions::default(),
            clients: HashMap::new(),
            dismissed: HashMap::new(),
            due: Vec::new(),
            witness: None,
            draining: false,
            counters: Counters::default(),
        }
    }

    /// Takes one input; what is to be done is appended to `outputs`, in order.
    pub fn handle(&mut self, now: Instant, input: Input, outputs: &mut Vec<Output>) {
        self.now = now;
        match input {
            Input::Received { peer, frames } => self.receive(&peer, frames),
            Input::PeerGone { peer } => self.peer_gone(&peer),
            Input::Tick => self.tick(),
            Input::Witness(view) => self.witness = Some(view),
            Input::Drain => self.drain(),
            Input::Farewell => self.farewell(),
        }
        self.dispatch_due();
        outputs.append(&mut self.outgoing);
    }

    /// When to call with [`Input::Tick`] at the latest.
    pub fn deadline(&self) -> Instant {
        match self.requests.next_expiry() {
            Some(expiry) => expiry.min(self.beat_at),
            None => self.beat_at,
        }
    }

    /// Whether a drained table has no request left that a worker could still answer.
    pub fn is_drained(&self) -> bool {
        self.draining && self.requests.len() == 0
    }

    /// What happened so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// What is held at the moment.
    pub fn load(&self) -> Load {
        Load {
            workers: self.workers.len(),
            sessions: self.sessions.len(),
            clients: self.clients.len(),
            services: self.services.len(),
            requests: self.requests.len(),
            request_bytes: self.requests.bytes(),
        }
    }

    /// The first frame tells the protocols apart.
    fn receive(&mut self, peer: &PeerId, frames: Frames) {
        if frames.first().is_some_and(|first| first.starts_with(MAGIC)) {
            self.receive_dialect(peer, frames);
            return;
        }
        match ToBroker::decode(frames) {
            Ok(ToBroker::Request { version, service, body }) => {
                self.mdp_request(peer, mdp_clients::Asked { version, service }, body);
            }
            Ok(ToBroker::Worker { version, command }) => {
                self.mdp_worker(peer, version, command);
            }
            Err(error) => self.malformed(peer, error),
        }
    }

    /// Drops what nobody can understand. A worker that talks like that is disconnected.
    fn malformed(&mut self, peer: &PeerId, error: MessageError) {
        self.counters.malformed += 1;
        log::debug!("{peer}: message dropped: {error}");
        self.disconnect_known_worker(peer);
    }

    fn send(&mut self, peer: &PeerId, frames: Frames) {
        self.outgoing.push(Output::Send { peer: peer.clone(), frames });
    }

    /// Speaks to a worker, which also counts as a heartbeat.
    fn send_to_worker(&mut self, key: WorkerKey, frames: Frames) {
        if let Some(worker) = self.workers.get_mut(key) {
            worker.pulse.sent(self.now);
            let peer = worker.peer.clone();
            self.send(&peer, frames);
        }
    }
}

#[cfg(test)]
mod tests;
