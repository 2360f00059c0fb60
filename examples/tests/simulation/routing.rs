//! A broker's process: the shipped routing table between streams.

use std::time::Instant;

use broker::config::Routing;
use broker::dialect::{Header, Kind};
use broker::net::Frames;
use broker::routing::{Identity, Input, Output, PeerId, RoutingTable};
use bytes::Bytes;

use crate::clock::Moment;
use crate::env::{Env, Message};
use crate::network::{Generation, Host, Lane, Way};

/// See the module's comment.
pub struct BrokerHost {
    host: Host,
    table: Option<RoutingTable>,
}

impl BrokerHost {
    pub const fn new(host: Host) -> Self {
        Self { host, table: None }
    }

    pub fn start(&mut self, env: &mut Env) {
        let identity = Identity { broker: env.uuid(), endpoints: Vec::new() };
        let now = env.local(self.host);
        self.table = Some(RoutingTable::new(now, Routing::default(), identity));
        env.say(self.host, || "starts".to_owned());
    }

    pub fn crash(&mut self) {
        self.table = None;
    }

    pub fn is_running(&self) -> bool {
        self.table.is_some()
    }

    pub fn deadline(&self, env: &Env) -> Option<Moment> {
        self.table.as_ref().map(|table| env.moment_of(self.host, table.deadline()))
    }

    pub fn receive(&mut self, env: &mut Env, (from, generation): (Host, u64), frames: Frames) {
        self.handle(env, Input::Received { peer: peer(from, generation), frames });
    }

    pub fn tick(&mut self, env: &mut Env) {
        self.handle(env, Input::Tick);
    }

    fn handle(&mut self, env: &mut Env, input: Input) {
        let Some(table) = &mut self.table else { return };
        let now: Instant = env.local(self.host);
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            let mut outputs = Vec::new();
            table.handle(now, input, &mut outputs);
            let mut gone = Vec::new();
            for (to, generation, frames) in ordered(outputs) {
                let way = Way { client: to, server: self.host, lane: Lane::Dialect };
                if env.network.generation(way) == generation {
                    env.send(way, self.host, Message::Dialect(frames));
                } else if !gone.contains(&(to, generation)) {
                    gone.push((to, generation));
                }
            }
            let gone = gone.into_iter().map(|(to, generation)| peer(to, generation));
            inputs.extend(gone.map(|peer| Input::PeerGone { peer }));
        }
    }
}

/// The table goes through hash maps when it speaks to many: what goes to one peer has an order,
/// and the peers are given one here, as are the votes for several services.
fn ordered(outputs: Vec<Output>) -> Vec<(Host, Generation, Frames)> {
    let mut sends: Vec<(Host, Generation, Frames)> = outputs
        .into_iter()
        .map(|Output::Send { peer, frames }| {
            let (host, generation) = host_of(&peer);
            (host, generation, frames)
        })
        .collect();
    sends.sort_by_key(|(host, generation, _)| (*host, *generation));
    for run in sends.chunk_by_mut(|a, b| is_vote(&a.2) && is_vote(&b.2) && a.0 == b.0) {
        if run.len() > 1 {
            run.sort_by(|a, b| a.2.cmp(&b.2));
        }
    }
    sends
}

fn is_vote(frames: &Frames) -> bool {
    let header = frames.first().map(Header::decode);
    matches!(header, Some(Ok(Header { kind: Kind::Vote, .. })))
}

fn peer(host: Host, generation: Generation) -> PeerId {
    let mut id = vec![host.0];
    id.extend_from_slice(&generation.to_le_bytes());
    PeerId(Bytes::from(id))
}

fn host_of(peer: &PeerId) -> (Host, Generation) {
    let (host, generation) = peer.0.split_first().unwrap();
    (Host(*host), u64::from_le_bytes(generation.try_into().unwrap()))
}
