//! Two store processes that are a pair, with a broker that is their witness.

use std::ffi::OsString;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use broker::error_code::ErrorCode;
use broker::net::Endpoint;
use client::{Client, Status};

use super::children::ChildProcess;
use super::now;
use super::system::ANY_PORT;
use crate::cli::failure::Failure;
use crate::cli::flags::SystemFlags;
use crate::cli::pair::{PairReport, pairs};

/// How long something may take that happens by itself.
const PATIENCE: Duration = Duration::from_secs(120);
const PATIENCE_LONG: Duration = Duration::from_secs(1800);
const CHECK_INTERVAL: Duration = Duration::from_millis(20);
/// How long a process may take to say how it is; one that was just killed never does.
const STATUS_WAIT: Duration = Duration::from_millis(250);
/// What the two nodes are called, which is how status tells them apart.
const ROLES: [&str; 2] = ["primary", "backup"];

/// The processes of a pair. Dropping it ends them.
#[derive(Debug)]
pub struct Pair {
    nodes: [Node; 2],
}

#[derive(Debug)]
struct Node {
    program: PathBuf,
    arguments: Vec<OsString>,
    data: PathBuf,
    child: Option<ChildProcess>,
}

/// Which node of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeNumber(usize);

impl NodeNumber {
    /// The one that it is not.
    pub const fn other(self) -> Self {
        Self(1 - self.0)
    }
}

impl Pair {
    /// Starts both nodes; they find each other by themselves.
    ///
    /// # Errors
    /// [`Failure`] when a process can't be started.
    pub fn start(
        (programs, folder): (&Path, &Path),
        (broker, witness): (&Endpoint, &str),
        flags: &SystemFlags,
    ) -> Result<Self, Failure> {
        let links = [free_endpoint()?, free_endpoint()?];
        let node = |number: usize| {
            let [listen, peer] = if number == 0 { [0, 1] } else { [1, 0] };
            let data = folder.join(format!("store-{}", ROLES[number]));
            let store = format!("{}:{}", flags.store, flags.partitions);
            let grow_backoff = format!("{}ms", flags.grow_backoff.as_millis());
            let pairs = [
                ("--broker", broker.as_str()),
                ("--store", &store),
                ("--listen", ANY_PORT),
                ("--feed", ANY_PORT),
                ("--durability", flags.level().as_str()),
                ("--role", ROLES[number]),
                ("--pair-listen", &links[listen]),
                ("--peer", &links[peer]),
                ("--witness", witness),
                ("--grow-backoff", &grow_backoff),
            ];
            let mut arguments: Vec<OsString> =
                pairs.iter().flat_map(|(name, value)| [name.into(), value.into()]).collect();
            arguments.extend(["--data".into(), data.clone().into_os_string()]);
            Node { program: programs.join("starlog-store"), arguments, data, child: None }
        };
        let mut pair = Self { nodes: [node(0), node(1)] };
        for node in &mut pair.nodes {
            node.start()?;
        }
        Ok(pair)
    }

    /// Starts a node that was killed.
    ///
    /// # Errors
    /// [`Failure`] when it can't be started.
    pub fn restart(&mut self, node: NodeNumber) -> Result<(), Failure> {
        self.nodes[node.0].start()
    }

    /// Ends a node with SIGKILL: it has no time to do anything.
    pub fn kill(&mut self, node: NodeNumber) {
        if let Some(child) = self.nodes[node.0].child.take() {
            child.kill();
        }
    }

    /// Throws the disk of a killed node away.
    ///
    /// # Errors
    /// [`Failure`] when its files can't be removed.
    pub fn wipe(&self, node: NodeNumber) -> Result<(), Failure> {
        let data = &self.nodes[node.0].data;
        std::fs::remove_dir_all(data)
            .map_err(|error| Failure::system(&format!("can't remove {}", data.display()), &error))
    }

    /// Waits until both nodes are members and the witness is heard; says who leads.
    ///
    /// # Errors
    /// [`Failure`] when that does not happen.
    pub fn wait_until_whole(&self, client: &Client) -> Result<(NodeNumber, PairReport), Failure> {
        wait_for("the pair is whole", || {
            let report = look(client)?;
            let leader = leader(&report)?;
            report.is_whole().then_some((leader, report))
        })
    }
}

impl Node {
    fn start(&mut self) -> Result<(), Failure> {
        self.child = Some(ChildProcess::start(&self.program, &self.arguments)?);
        Ok(())
    }
}

/// The pair as its nodes tell it now.
pub fn look(client: &Client) -> Option<PairReport> {
    pairs(&client.status(STATUS_WAIT).ok()?).into_iter().next()
}

/// The same, as the processes tell it.
pub fn status(client: &Client) -> Option<Status> {
    client.status(STATUS_WAIT).ok()
}

/// The node that leads, by the role that it was given.
pub fn leader(report: &PairReport) -> Option<NodeNumber> {
    let leading = report.nodes.iter().find(|node| Some(&node.node) == report.leader.as_ref())?;
    let role = leading.role.as_deref()?;
    ROLES.iter().position(|name| *name == role).map(NodeNumber)
}

/// Looks until something is there.
///
/// # Errors
/// [`Failure`] when it takes too long.
pub fn wait_for<T>(what: &str, look: impl FnMut() -> Option<T>) -> Result<T, Failure> {
    wait_at_most(PATIENCE, what, look)
}

/// The same for what takes its time because there is much of it.
///
/// # Errors
/// [`Failure`] when it takes too long.
pub fn wait_for_long<T>(what: &str, look: impl FnMut() -> Option<T>) -> Result<T, Failure> {
    wait_at_most(PATIENCE_LONG, what, look)
}

fn wait_at_most<T>(
    patience: Duration,
    what: &str,
    mut look: impl FnMut() -> Option<T>,
) -> Result<T, Failure> {
    let deadline = now() + patience;
    loop {
        if let Some(found) = look() {
            return Ok(found);
        }
        if now() >= deadline {
            let sentence = format!(
                "waited {patience:?} in vain until {what}: see what the processes say above"
            );
            return Err(Failure::local(ErrorCode::NO_WORKER, sentence));
        }
        thread::sleep(CHECK_INTERVAL);
    }
}

/// An endpoint that is free now: both nodes are told it before either is started.
fn free_endpoint() -> Result<String, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0");
    let address = listener.and_then(|listener| listener.local_addr());
    let address = address.map_err(|error| Failure::system("can't find a free port", &error))?;
    Ok(format!("tcp://{address}"))
}
