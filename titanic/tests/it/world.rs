use std::path::PathBuf;
use std::time::{Duration, Instant};

use client::command::{CommandId, Commands, Info};
use client::{Client, ClientConfig};
use tempfile::TempDir;

use crate::mdp::{Mdp, MdpClient};
use crate::process::{self, HEARTBEAT, PATIENCE, Process};

/// One broker and one store process, and Titanic if it was started. All are processes.
pub struct World {
    pub titanic: Option<Process>,
    pub store: Option<Process>,
    pub broker: Option<Process>,
    /// The broker's, the same again after a restart.
    pub endpoint: String,
    more: Vec<String>,
    folder: TempDir,
}

impl World {
    /// Everything runs and serves.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// The same, with more flags for Titanic.
    pub fn with(more: &[&str]) -> Self {
        let mut world = Self::without_titanic();
        world.more = more.iter().map(|&flag| flag.to_owned()).collect();
        world.start_titanic();
        world
    }

    pub fn without_titanic() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let broker = process::broker(&folder.path().join("broker"), "tcp://127.0.0.1:*");
        let endpoint = broker.wait_for("listening on ");
        let mut world = Self {
            titanic: None,
            store: None,
            broker: Some(broker),
            endpoint,
            more: Vec::new(),
            folder,
        };
        world.start_store();
        world
    }

    pub fn start_broker(&mut self) {
        let broker = process::broker(&self.path("broker"), &self.endpoint);
        broker.wait_for("listening on ");
        self.broker = Some(broker);
    }

    pub fn start_store(&mut self) {
        let brokers = [self.endpoint.clone()];
        let store = process::store(&self.path("store"), &brokers, "commands:2");
        store.wait_for("starlog-store serving");
        self.store = Some(store);
    }

    /// Starts Titanic with the data directory that it has always had, and waits until it serves.
    pub fn start_titanic(&mut self) {
        let titanic = self.launch_titanic("titanic");
        titanic.wait_for("starlog-titanic serving");
        self.titanic = Some(titanic);
    }

    /// Starts a Titanic process with a data directory of this name.
    pub fn launch_titanic(&self, name: &str) -> Process {
        let data = self.path(name);
        let mut arguments = vec!["--data", data.to_str().unwrap()];
        arguments.extend(self.more.iter().map(String::as_str));
        process::titanic(std::slice::from_ref(&self.endpoint), &arguments)
    }

    /// SIGKILL for Titanic.
    pub fn kill_titanic(&mut self) {
        self.titanic.take().unwrap().kill();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A client of MDP/0.1.
    pub fn mdp(&self) -> MdpClient {
        self.mdp_of(Mdp::V1)
    }

    pub fn mdp_of(&self, version: Mdp) -> MdpClient {
        MdpClient::connect(&self.endpoint, version)
    }

    /// Starlog's own client.
    pub fn client(&self) -> Client {
        let config = ClientConfig {
            brokers: vec![self.endpoint.parse().unwrap()],
            heartbeat_interval: HEARTBEAT,
            attempt_timeout: Duration::from_millis(500),
            request_timeout: PATIENCE,
            ..ClientConfig::default()
        };
        Client::with_config(config).unwrap()
    }

    pub fn commands(&self) -> Commands {
        self.client().commands()
    }
}

/// Waits until a command is as it should be.
pub fn wait_for(commands: &Commands, id: CommandId, what: &str, holds: impl Fn(&Info) -> bool) {
    wait_until(what, || commands.status(id).is_ok_and(|info| holds(&info)));
}

/// Waits until something is so.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
