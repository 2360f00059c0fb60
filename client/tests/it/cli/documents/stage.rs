//! What a block of commands needs to be run: a folder, addresses, servers.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::super::bench::servers;
use super::super::command::{Echo, Titanic};
use super::super::server::Server;
use super::super::{Ended, Tool, Topology, starlog};
use super::page::root;
use crate::world::wait_until;

/// What documents call the place of a broker.
const BROKER: &str = "tcp://127.0.0.1:7400";
/// Stores that run before a block, unless it starts them itself.
const STORES: [&str; 3] = ["orders:2", "commands:1", "bench:1"];
/// No command of a document takes longer.
const RUN_WAIT_MAX: Duration = Duration::from_secs(120);

/// The world of one block. Fields are dropped in order.
pub struct Stage {
    echo: Option<Echo>,
    titanic: Option<Titanic>,
    servers: Vec<Server>,
    topology: Option<Topology>,
    /// Addresses of the document and those that stand for them here.
    addresses: BTreeMap<String, String>,
    /// Where commands are run.
    folder: PathBuf,
    path: String,
    temporary: tempfile::TempDir,
}

impl Stage {
    /// A stage for these commands: with servers, unless they start a broker of their own.
    pub fn new(commands: &[&str]) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let bins = servers();
        let mut stage = Self {
            echo: None,
            titanic: None,
            servers: Vec::new(),
            topology: None,
            addresses: BTreeMap::new(),
            folder: temporary.path().join("here"),
            path: format!("{}:{}", bins.display(), std::env::var("PATH").unwrap()),
            temporary,
        };
        for folder in ["here", "lib", "tmp"] {
            std::fs::create_dir(stage.temporary.path().join(folder)).unwrap();
        }
        if !commands.iter().any(|command| command.starts_with("starlog-broker")) {
            let starts = |store: &str| {
                let flag = format!("--store {}", store.split(':').next().unwrap());
                commands
                    .iter()
                    .any(|line| line.starts_with("starlog-store") && line.contains(&flag))
            };
            let stores: Vec<&str> = STORES.into_iter().filter(|store| !starts(store)).collect();
            let topology = Topology::start(&stores);
            let endpoint = topology.endpoint();
            if stores.contains(&"commands:1") {
                stage.titanic = Some(Titanic::start(&endpoint));
            }
            stage.addresses.insert(BROKER.to_owned(), endpoint);
            stage.topology = Some(topology);
        }
        stage
    }

    /// The same command with the addresses and folders of this stage.
    fn here(&mut self, command: &str) -> String {
        const HOST: &str = "tcp://127.0.0.1:";
        for part in command.split(HOST).skip(1) {
            let port: String = part.chars().take_while(char::is_ascii_digit).collect();
            let address = format!("{HOST}{port}");
            self.addresses.entry(address).or_insert_with(free_address);
        }
        let mut command = command.to_owned();
        for (theirs, ours) in &self.addresses {
            command = command.replace(theirs, ours);
        }
        let place = |name: &str| self.temporary.path().join(name).display().to_string();
        command.replace("/var/lib/starlog", &place("lib")).replace("/tmp/", &(place("tmp") + "/"))
    }

    /// The shell with a command of a document.
    fn shell(&mut self, command: &str) -> Command {
        let command = self.here(command);
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", &command]).current_dir(&self.folder).env("PATH", &self.path);
        shell.env("PYTHONDONTWRITEBYTECODE", "1").env_remove("STARLOG_BROKER");
        // Where a command names no broker it means the usual one; benchmarks start their own.
        if let Some(broker) = self.addresses.get(BROKER)
            && !command.contains(" bench ")
        {
            shell.env("STARLOG_BROKER", broker);
        }
        shell
    }

    /// Starts a server, which is awaited before anything that is not one.
    pub fn serve(&mut self, command: &str) {
        let shell = self.shell(&format!("exec {command}"));
        self.servers.push(Server::start(shell));
    }

    /// Waits until every server says that it serves.
    pub fn wait_ready(&mut self) {
        self.servers.iter_mut().for_each(Server::wait_ready);
    }

    /// Runs a command to its end; both of its outputs come as one, as on a terminal.
    pub fn run(&mut self, command: &str) -> Ended {
        self.wait_ready();
        if command.contains("command reply") && self.echo.is_none() {
            self.echo = Some(Echo::start(&self.addresses[BROKER]));
        }
        if command.starts_with("starlog pair") {
            self.wait_healthy();
        }
        let shell = self.shell(&format!("exec 2>&1\n{command}"));
        Tool::of(shell).run_for(RUN_WAIT_MAX)
    }

    /// A pair that is still forming would refuse what a document shows of one that is whole.
    fn wait_healthy(&self) {
        let broker = self.addresses[BROKER].clone();
        wait_until("the pair is whole", || {
            starlog(&["doctor", "--broker", &broker, "--timeout", "2s"]).run().code == Some(0)
        });
    }

    /// `cd` in a document: a folder of the repository.
    pub fn enter(&mut self, folder: &str) {
        self.folder = root().join(folder);
    }

    /// Whether a program that a command names by its path is there.
    pub fn has(&self, program: &str) -> bool {
        self.folder.join(Path::new(program)).exists()
    }
}

fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("tcp://{}", listener.local_addr().unwrap())
}
