//! Messages on their way: late, lost, doubled, out of order, or behind a cut.
//!
//! There are two kinds of ways. On a *stream* (TCP under ØMQ) messages keep their order and none is
//! lost but with its connection; what is sent while nothing gets through waits, and goes out when
//! the way is open again unless the connection was given up. *Datagrams* stand for heartbeats and
//! the witness's messages: of those the protocol must bear everything, so they get everything.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use starlog_examples::random::Random;

use crate::clock::Moment;

/// A process, by its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Host(pub u8);

/// The two members, the witness, and the two brokers. All others are clients.
pub const MEMBERS: [Host; 2] = [Host(0), Host(1)];
pub const WITNESS: Host = Host(2);
pub const BROKERS: [Host; 2] = [Host(3), Host(4)];
pub const FIRST_CLIENT: u8 = 5;

impl std::fmt::Display for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            0 => f.write_str("store A"),
            1 => f.write_str("store B"),
            2 => f.write_str("witness"),
            3 => f.write_str("broker X"),
            4 => f.write_str("broker Y"),
            number => write!(f, "client {}", number - FIRST_CLIENT + 1),
        }
    }
}

/// What runs between two hosts; each lane has a connection of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Heartbeats of the pair, and everything with the witness.
    Datagrams,
    /// Replication, from the process that connects; each member has one to the other.
    Bulk,
    /// A store's or client's DEALER and the broker's ROUTER.
    Dialect,
    /// A leader's feed. Messages get lost when the subscriber's queue is full.
    Feed,
    /// Questions for history and the blocks that answer them.
    Replay,
}

/// A way with its connecting end first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Way {
    pub client: Host,
    pub server: Host,
    pub lane: Lane,
}

/// Number of a connection on its way: a new one is another peer to the server.
pub type Generation = u64;

/// A message with where it goes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Parcel<M> {
    pub from: Host,
    pub to: Host,
    pub way: Way,
    pub generation: Generation,
    pub message: M,
}

/// How bad the network of a run is.
#[derive(Debug, Clone, Default)]
pub struct Weather {
    /// Shortest delay.
    pub delay_min: Duration,
    /// Longest ordinary delay.
    pub delay_max: Duration,
    /// Datagrams lost, in percent.
    pub loss: u64,
    /// Datagrams that arrive twice, in percent.
    pub doubles: u64,
    /// Datagrams that come much later than those behind them, in percent.
    pub stragglers: u64,
    /// How late a straggler is at most.
    pub straggler_max: Duration,
    /// Feed messages lost, in percent.
    pub feed_loss: u64,
}

#[derive(Debug, Default)]
struct Connection {
    generation: Generation,
    /// When the last message in this direction arrives: to the server, to the client.
    last: [Moment; 2],
}

/// See the module's comment.
#[derive(Debug)]
pub struct Network<M> {
    pub weather: Weather,
    random: Random,
    connections: BTreeMap<Way, Connection>,
    /// Directions in which nothing gets through.
    cuts: BTreeSet<(Host, Host)>,
    dead: BTreeSet<Host>,
    /// What waits behind a cut or for a process that does not run.
    waiting: BTreeMap<(Host, Host), Vec<Parcel<M>>>,
}

impl<M: Clone> Network<M> {
    pub fn new(weather: Weather, random: Random) -> Self {
        Self {
            weather,
            random,
            connections: BTreeMap::new(),
            cuts: BTreeSet::new(),
            dead: BTreeSet::new(),
            waiting: BTreeMap::new(),
        }
    }

    /// The connection that is there now.
    pub fn generation(&self, way: Way) -> Generation {
        self.connections.get(&way).map_or(0, |connection| connection.generation)
    }

    /// Whether a parcel still finds the connection that it was sent on.
    pub fn is_current<N>(&self, parcel: &Parcel<N>) -> bool {
        parcel.way.lane == Lane::Datagrams || parcel.generation == self.generation(parcel.way)
    }

    /// Gives up a connection, with all that is under way on it.
    pub fn reset(&mut self, way: Way) {
        self.connections.entry(way).or_default().generation += 1;
        for parcels in self.waiting.values_mut() {
            parcels.retain(|parcel| parcel.way != way);
        }
    }

    /// Sends from one end of a way to the other; the arrivals go into `arrivals`.
    pub fn send(
        &mut self,
        now: Moment,
        (way, from): (Way, Host),
        message: M,
        arrivals: &mut Vec<(Moment, Parcel<M>)>,
    ) {
        let to = if from == way.client { way.server } else { way.client };
        let generation = self.generation(way);
        let parcel = Parcel { from, to, way, generation, message };
        match way.lane {
            Lane::Datagrams => self.send_datagram(now, parcel, arrivals),
            Lane::Feed if self.random.chance(self.weather.feed_loss) => {}
            _ if self.is_blocked(from, to) => {
                self.waiting.entry((from, to)).or_default().push(parcel);
            }
            _ => self.send_in_order(now, parcel, arrivals),
        }
    }

    fn is_blocked(&self, from: Host, to: Host) -> bool {
        self.cuts.contains(&(from, to)) || self.dead.contains(&to)
    }

    fn send_datagram(
        &mut self,
        now: Moment,
        parcel: Parcel<M>,
        arrivals: &mut Vec<(Moment, Parcel<M>)>,
    ) {
        if self.is_blocked(parcel.from, parcel.to) || self.random.chance(self.weather.loss) {
            return;
        }
        let copies = 1 + u8::from(self.random.chance(self.weather.doubles));
        for _ in 0..copies {
            let mut delay = self.delay();
            if self.random.chance(self.weather.stragglers) {
                delay += micros(&mut self.random, self.weather.straggler_max);
            }
            arrivals.push((now + delay, parcel.clone()));
        }
    }

    fn send_in_order(
        &mut self,
        now: Moment,
        parcel: Parcel<M>,
        arrivals: &mut Vec<(Moment, Parcel<M>)>,
    ) {
        let at = now + self.delay();
        let connection = self.connections.entry(parcel.way).or_default();
        let last = &mut connection.last[usize::from(parcel.to == parcel.way.client)];
        *last = at.max(*last + Duration::from_nanos(1));
        arrivals.push((*last, parcel));
    }

    fn delay(&mut self) -> Duration {
        let spread = self.weather.delay_max.saturating_sub(self.weather.delay_min);
        self.weather.delay_min + micros(&mut self.random, spread)
    }

    /// Lets nothing through in this direction any more; what is under way still arrives.
    pub fn cut(&mut self, from: Host, to: Host) {
        self.cuts.insert((from, to));
    }

    /// Opens the direction again. Half of the connections were given up meanwhile; on the others
    /// what waited goes out now.
    pub fn heal(
        &mut self,
        now: Moment,
        from: Host,
        to: Host,
        arrivals: &mut Vec<(Moment, Parcel<M>)>,
    ) {
        if self.cuts.remove(&(from, to)) {
            self.release(now, from, to, arrivals);
        }
    }

    pub fn cuts(&self) -> Vec<(Host, Host)> {
        self.cuts.iter().copied().collect()
    }

    /// The process ends, and with it all its connections.
    pub fn died(&mut self, host: Host) {
        self.dead.insert(host);
        let ways: Vec<Way> = self
            .connections
            .keys()
            .copied()
            .filter(|way| way.client == host || way.server == host)
            .collect();
        for way in ways {
            self.reset(way);
        }
    }

    /// The process runs again; who waited for it is connected anew.
    pub fn lives(&mut self, now: Moment, host: Host, arrivals: &mut Vec<(Moment, Parcel<M>)>) {
        self.dead.remove(&host);
        let pairs: Vec<(Host, Host)> =
            self.waiting.keys().copied().filter(|(_, to)| *to == host).collect();
        for (from, to) in pairs {
            self.release(now, from, to, arrivals);
        }
    }

    fn release(
        &mut self,
        now: Moment,
        from: Host,
        to: Host,
        arrivals: &mut Vec<(Moment, Parcel<M>)>,
    ) {
        if self.is_blocked(from, to) {
            return;
        }
        let waiting = self.waiting.remove(&(from, to)).unwrap_or_default();
        let ways: BTreeSet<Way> = waiting.iter().map(|parcel| parcel.way).collect();
        let given_up: BTreeSet<Way> = ways.into_iter().filter(|_| self.random.chance(50)).collect();
        for way in &given_up {
            self.reset(*way);
        }
        for parcel in waiting {
            if !given_up.contains(&parcel.way) && self.is_current(&parcel) {
                self.send_in_order(now, parcel, arrivals);
            }
        }
    }
}

/// A random time from zero to `max`.
pub fn micros(random: &mut Random, max: Duration) -> Duration {
    Duration::from_micros(random.below(u64::try_from(max.as_micros()).unwrap() + 1))
}
