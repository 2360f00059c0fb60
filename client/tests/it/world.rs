//! A broker, a store and clients, all in this process.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use broker::net::Endpoint;
use client::{Batch, Client, ClientConfig, EncodeEvent, NewEvent, StoreHandle, Subscription};
use store::server::config::Config;
use tempfile::TempDir;

use crate::relay::Relay;

/// How long a test waits for anything before it fails.
pub const PATIENCE: Duration = Duration::from_secs(20);
const HEARTBEAT: Duration = Duration::from_millis(100);

/// One broker and one store process that serves `orders` with some partitions.
pub struct World {
    folder: TempDir,
    broker: Option<broker::server::Handle>,
    store: Option<store::server::Handle>,
    pub endpoint: Endpoint,
    partitions: u16,
    /// What the store tells others to connect to for its feed.
    advertise_feed: Option<Endpoint>,
    /// What the store binds for its feed.
    feed: Endpoint,
}

pub fn loopback() -> Endpoint {
    "tcp://127.0.0.1:*".parse().unwrap()
}

impl World {
    /// Everything runs and is registered.
    pub fn start(partitions: u16) -> Self {
        let mut world = Self::without_store(partitions);
        world.start_store();
        world
    }

    /// The same with a feed that subscribers reach by way of a relay. What the relay connects to
    /// is in the world's folder, where nobody else binds it.
    pub fn with_relay(partitions: u16) -> (Self, Relay) {
        let mut world = Self::without_store(partitions);
        world.feed = format!("ipc://{}", world.path("feed").display()).parse().unwrap();
        let relay = Relay::of_feed(&world.feed);
        world.advertise_feed = Some(relay.endpoint.clone());
        world.start_store();
        (world, relay)
    }

    /// Only the broker runs.
    pub fn without_store(partitions: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let broker = start_broker(&folder, loopback());
        let endpoint = broker.endpoints()[0].clone();
        Self {
            folder,
            broker: Some(broker),
            store: None,
            endpoint,
            partitions,
            advertise_feed: None,
            feed: loopback(),
        }
    }

    pub fn start_store(&mut self) {
        let config = self.store_config("store");
        self.store = Some(start_store(&config));
    }

    /// Starts a store process beside others that has one of the partitions. Its number is the
    /// name of its folder, too.
    pub fn start_store_hosting(&self, partition: &str) -> store::server::Handle {
        let number: u16 = partition.parse().unwrap();
        let config = Config { host: Some(number..=number), ..self.store_config(partition) };
        start_store(&config)
    }

    fn store_config(&self, folder: &str) -> Config {
        let mut config = Config {
            data: self.path(folder),
            brokers: vec![self.endpoint.clone()],
            stores: vec![format!("orders:{}", self.partitions).parse().unwrap()],
            feed: self.feed.clone(),
            advertise_feed: self.advertise_feed.clone(),
            heartbeat: HEARTBEAT,
            ..Default::default()
        };
        config.node.segment_bytes = 16 * 1024 * 1024;
        config.node.durability = store::Durability::Memory;
        config
    }

    pub fn stop_store(&mut self) {
        self.store.take().unwrap().stop().unwrap();
    }

    pub fn stop_broker(&mut self) {
        self.broker.take().unwrap().stop().unwrap();
    }

    /// Starts the broker again where it was.
    pub fn start_broker(&mut self) {
        self.broker = Some(start_broker(&self.folder, self.endpoint.clone()));
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Settings of a client that loses no time.
    pub fn config(&self) -> ClientConfig {
        config(self.endpoint.clone())
    }

    pub fn client(&self) -> Client {
        Client::with_config(self.config()).unwrap()
    }

    pub fn orders(&self) -> StoreHandle {
        self.client().store("orders").unwrap()
    }
}

pub fn config(broker: Endpoint) -> ClientConfig {
    ClientConfig {
        brokers: vec![broker],
        heartbeat_interval: HEARTBEAT,
        attempt_timeout: Duration::from_millis(500),
        topology_interval: Duration::from_millis(500),
        ..ClientConfig::default()
    }
}

fn start_store(config: &Config) -> store::server::Handle {
    let store = store::server::start(config).unwrap();
    assert!(store.wait_serving(PATIENCE), "no broker took the store's registrations");
    store
}

fn start_broker(folder: &TempDir, listen: Endpoint) -> broker::server::Handle {
    let started = clock();
    loop {
        let mut config = broker::config::Config {
            listen: vec![listen.clone()],
            data: folder.path().join("broker"),
            drain: Duration::from_millis(100),
            ..Default::default()
        };
        config.routing.heartbeat = HEARTBEAT;
        match broker::server::start(config) {
            Ok(handle) => return handle,
            // A port that was just given up may need a moment.
            Err(error) if started.elapsed() > PATIENCE => panic!("{error}"),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// An event that carries a number.
pub fn counted(number: u64) -> NewEvent {
    NewEvent::json("Counted", &number).unwrap()
}

/// What a test keeps of the batches of a subscription, and what it looks at in them.
pub trait Taking {
    fn take(&mut self, batch: &Batch);

    /// How many events came so far.
    fn count(&self) -> usize;

    fn once(&mut self, subscription: &mut Subscription) {
        if let Some(batch) = subscription.next(Duration::from_millis(50)).unwrap() {
            self.take(&batch);
        }
    }

    fn until(&mut self, subscription: &mut Subscription, count: usize) {
        let started = clock();
        while self.count() < count {
            let have = self.count();
            assert!(started.elapsed() < PATIENCE, "{have} of {count}: {subscription:?}");
            self.once(subscription);
        }
    }

    /// Takes what is there, and until so many more events came.
    fn more(&mut self, subscription: &mut Subscription, count: usize) {
        let have = self.count();
        self.once(subscription);
        self.until(subscription, have + count);
    }
}

/// Waits until something is so.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = clock();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[expect(clippy::disallowed_methods, reason = "a test's patience is measured")]
pub fn clock() -> Instant {
    Instant::now()
}
