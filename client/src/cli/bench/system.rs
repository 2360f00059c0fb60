//! What is measured: a running system, or a broker and a store of the tool's own.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use broker::error_code::ErrorCode;
use broker::net::Endpoint;
use client::{Client, ClientConfig, StoreHandle, StoreName};
use serde::Serialize;
use tempfile::TempDir;

use super::children::ChildProcess;
use super::pair::Pair;
use super::store_process::StoreProcess;
use super::{broken, now};
use crate::cli::failure::Failure;
use crate::cli::flags::SystemFlags;
use crate::cli::session::Session;

/// How long the tool's own store may take to register with its own broker.
const READY_WAIT_MAX: Duration = Duration::from_secs(20);
const READY_CHECK_INTERVAL: Duration = Duration::from_millis(20);
/// Where the tool's own processes listen.
pub const ANY_PORT: &str = "tcp://127.0.0.1:*";

/// A system to measure.
#[derive(Debug)]
pub struct System {
    config: ClientConfig,
    store: StoreName,
    folder: PathBuf,
    // In the order in which they are to end: stores, broker, and then the files.
    pair: Option<Pair>,
    single: Option<StoreProcess>,
    _processes: Vec<ChildProcess>,
    _temporary: Option<TempDir>,
}

/// What a report says of the system.
#[derive(Debug, Clone, Serialize)]
pub struct SystemLine {
    store: String,
    partitions: u16,
    /// Durability level of the store.
    pub durability: String,
    brokers: Vec<String>,
    /// Whether the processes were the tool's own.
    own: bool,
}

impl System {
    /// Takes the running system of the named brokers, or starts one.
    ///
    /// # Errors
    /// [`Failure`] when a process can't be started.
    pub fn start(session: &Session, flags: &SystemFlags) -> Result<Self, Failure> {
        let config = session.client_config();
        if session.names_a_broker() && flags.bin_dir.is_none() {
            let folder = flags.data.clone().unwrap_or_else(std::env::temp_dir);
            let store = flags.store.clone();
            let (pair, single, _processes, _temporary) = (None, None, Vec::new(), None);
            return Ok(Self { config, store, folder, pair, single, _processes, _temporary });
        }
        Self::start_own(config, flags)
    }

    fn start_own(config: ClientConfig, flags: &SystemFlags) -> Result<Self, Failure> {
        let temporary = match flags.data {
            Some(_) => None,
            None => Some(
                tempfile::Builder::new()
                    .prefix("starlog-bench-")
                    .tempdir()
                    .map_err(|error| Failure::system("can't make a temporary folder", &error))?,
            ),
        };
        let folder = match (&flags.data, &temporary) {
            (Some(folder), _) => folder.clone(),
            (None, Some(temporary)) => temporary.path().to_owned(),
            (None, None) => return Err(broken("no folder for data")),
        };
        let programs = programs(flags)?;
        let (broker, endpoint) = start_broker(&programs, &folder, flags.pair)?;
        let places = (programs.as_path(), folder.as_path());
        let (mut pair, mut single) = (None, None);
        if flags.pair {
            let witness = broker.wait_for_line("starlog-broker witness on ")?;
            pair = Some(Pair::start(places, (&endpoint, &witness), flags)?);
        } else {
            single = Some(start_store(places, &endpoint, flags)?);
        }
        let system = Self {
            config: ClientConfig { brokers: vec![endpoint], ..config },
            store: flags.store.clone(),
            folder,
            pair,
            single,
            _processes: vec![broker],
            _temporary: temporary,
        };
        system.wait_until_ready()?;
        if let Some(pair) = &system.pair {
            pair.wait_until_whole(&system.client()?)?;
        }
        Ok(system)
    }

    /// Starts a pair of the tool's own.
    ///
    /// # Errors
    /// [`Failure`] when a process can't be started, or the user names a running system: its
    /// processes are not ours to kill.
    pub fn start_pair(session: &Session, flags: &SystemFlags) -> Result<(Self, Pair), Failure> {
        refuse_running(session, flags)?;
        let flags = SystemFlags { pair: true, ..flags.clone() };
        let mut system = Self::start_own(session.client_config(), &flags)?;
        let pair = system.pair.take().ok_or_else(|| broken("no pair was started"))?;
        Ok((system, pair))
    }

    /// Starts a broker and one store of the tool's own.
    ///
    /// # Errors
    /// Those of [`System::start_pair`], and if a pair is asked for.
    pub fn start_single(
        session: &Session,
        flags: &SystemFlags,
    ) -> Result<(Self, StoreProcess), Failure> {
        refuse_running(session, flags)?;
        if flags.pair {
            return Err(Failure::usage("this is about one store process: leave --pair out"));
        }
        let mut system = Self::start_own(session.client_config(), flags)?;
        let single = system.single.take().ok_or_else(|| broken("no store was started"))?;
        Ok((system, single))
    }

    /// A client of its brokers.
    ///
    /// # Errors
    /// [`Failure`] when its thread can't be started.
    pub fn client(&self) -> Result<Client, Failure> {
        Ok(Client::with_config(self.client_config())?)
    }

    /// Whether two nodes of the tool's own sync every append.
    pub fn is_pair(&self) -> bool {
        self.pair.is_some()
    }

    /// How to connect; a measurement may change what is its own.
    pub fn client_config(&self) -> ClientConfig {
        self.config.clone()
    }

    /// A store handle with a connection of its own.
    ///
    /// # Errors
    /// [`Failure`] when the store can't be found.
    pub fn connect(&self) -> Result<StoreHandle, Failure> {
        self.connect_with(self.client_config())
    }

    /// The same with other settings.
    ///
    /// # Errors
    /// [`Failure`] when the store can't be found.
    pub fn connect_with(&self, config: ClientConfig) -> Result<StoreHandle, Failure> {
        Ok(Client::with_config(config)?.store(self.store.as_str())?)
    }

    /// The folder on the disk that limits are measured on.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether the processes are the tool's own, so that the store started empty or with what an
    /// earlier run of the tool left.
    pub fn is_own(&self) -> bool {
        !self._processes.is_empty()
    }

    /// What a report says of it.
    ///
    /// # Errors
    /// [`Failure`] when no broker answers.
    pub fn describe(&self) -> Result<SystemLine, Failure> {
        let topology =
            Client::with_config(self.client_config())?.topology(self.config.request_timeout)?;
        let store = topology.store(self.store.as_str());
        let leader = store.and_then(|store| store.members.iter().find(|member| member.leader));
        Ok(SystemLine {
            store: self.store.to_string(),
            partitions: store.map_or(0, |store| store.partitions),
            durability: leader.map_or_else(|| "?".to_owned(), |member| member.durability.clone()),
            brokers: self.config.brokers.iter().map(ToString::to_string).collect(),
            own: self.is_own(),
        })
    }

    fn wait_until_ready(&self) -> Result<(), Failure> {
        let client = Client::with_config(self.client_config())?;
        let deadline = now() + READY_WAIT_MAX;
        loop {
            let topology = client.topology(self.config.request_timeout)?;
            let store = topology.store(self.store.as_str());
            let ready = store.is_some_and(|store| {
                (0..store.partitions).all(|partition| store.leader(partition).is_some())
            });
            if ready {
                return Ok(());
            }
            if now() >= deadline {
                let sentence = "the store did not register in time: see what it says above";
                return Err(Failure::local(ErrorCode::NO_WORKER, sentence));
            }
            thread::sleep(READY_CHECK_INTERVAL);
        }
    }
}

/// Nobody's processes but the tool's own are killed.
fn refuse_running(session: &Session, flags: &SystemFlags) -> Result<(), Failure> {
    if session.names_a_broker() && flags.bin_dir.is_none() {
        let sentence = "this kills processes, so it starts its own: leave --broker out (and \
                        STARLOG_BROKER), or give --bin-dir";
        return Err(Failure::usage(sentence));
    }
    Ok(())
}

/// The folder that the servers are started from.
///
/// # Errors
/// [`Failure`] when none is named and the tool's own can't be found.
pub fn programs(flags: &SystemFlags) -> Result<PathBuf, Failure> {
    if let Some(folder) = &flags.bin_dir {
        return Ok(folder.clone());
    }
    let program = std::env::current_exe()
        .map_err(|error| Failure::system("can't find this program", &error))?;
    program
        .parent()
        .map(Path::to_owned)
        .ok_or_else(|| broken("this program lies in no folder: give --bin-dir"))
}

fn start_broker(
    programs: &Path,
    folder: &Path,
    witness: bool,
) -> Result<(ChildProcess, Endpoint), Failure> {
    let data = folder.join("broker");
    let mut arguments: Vec<&OsStr> =
        vec!["--listen".as_ref(), ANY_PORT.as_ref(), "--data".as_ref(), data.as_os_str()];
    if witness {
        arguments.extend::<[&OsStr; 2]>(["--witness-listen".as_ref(), ANY_PORT.as_ref()]);
    }
    let broker = ChildProcess::start(&programs.join("starlog-broker"), arguments)?;
    let endpoint = broker.wait_for_line("starlog-broker listening on ")?;
    let endpoint = endpoint.parse().map_err(|_| broken(format!("no endpoint: {endpoint}")))?;
    Ok((broker, endpoint))
}

fn start_store(
    (programs, folder): (&Path, &Path),
    broker: &Endpoint,
    flags: &SystemFlags,
) -> Result<StoreProcess, Failure> {
    let store = format!("{}:{}", flags.store, flags.partitions);
    let pairs = [
        ("--broker", broker.as_str()),
        ("--store", &store),
        ("--listen", ANY_PORT),
        ("--feed", ANY_PORT),
        ("--durability", flags.level().as_str()),
    ];
    let mut arguments: Vec<OsString> =
        pairs.iter().flat_map(|(name, value)| [name.into(), value.into()]).collect();
    arguments.extend(["--data".into(), folder.join("store").into_os_string()]);
    StoreProcess::start(programs.join("starlog-store"), arguments)
}
