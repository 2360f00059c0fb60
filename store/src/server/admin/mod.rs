//! Commands about stores, to a running process or to a directory that no process uses.
//!
//! A running process listens on `DIR/admin.sock`, which only its own user can open. One line asks,
//! lines answer; the last one is `ok` or `error EXIT-CODE SENTENCE`:
//!
//! ```text
//! list                          NAME PARTITIONS HOSTED attached|detached …
//! add NAME[:PARTITIONS] [HOST]
//! detach NAME                   stops serving it: its directory may be copied or replaced
//! attach NAME
//! remove NAME                   its directory is kept beside, under another name
//! ```
//!
//! A process refuses to `attach` or `add` a log that lacks what its readers may have read: they
//! know its epoch, and would not be told. The sentence then begins with `AHEAD_OF_LOG`.

mod command;
mod listener;
mod membership;

use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

pub use self::command::{Command, CommandError};
pub(super) use self::listener::AdminLoop;
pub use self::membership::{leave_pair, renew};

use super::Identity;
use super::directory::Directory;
use super::exit_code::EXIT_REFUSED;
use super::lifecycle::Lifecycle;
use super::start::{ensure, serve};
use crate::names::StoreName;
use crate::{Node, NodeOptions, OpenError, StoreError};

/// Name of the socket in the data directory.
const SOCKET: &str = "admin.sock";
/// Most bytes of an answer.
const ANSWER_BYTES_MAX: u64 = 1024 * 1024;
/// How long one side waits for the other's words.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a store that is taken away may take to answer what is under way.
const SETTLE: Duration = Duration::from_secs(10);

/// Why a command was not done.
#[derive(Debug, Error)]
pub enum AdminError {
    /// The command itself.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// There is no such directory.
    #[error("{} is no data directory: check --data", .0.display())]
    NoDirectory(PathBuf),
    /// The directory belongs to no pair.
    #[error("{} belongs to no pair: there is nothing to leave", .0.display())]
    NoMember(PathBuf),
    /// The engine refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The directory can't be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The running process refuses.
    #[error("{sentence}")]
    Refused {
        /// Exit code for the caller.
        code: u8,
        /// Why, and what to do.
        sentence: String,
    },
    /// The running process can't be reached.
    #[error(
        "a process uses this directory, but its command socket {path} does not answer ({source}): \
         is it still starting, or another user's?"
    )]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The socket can't be made.
    #[error("the command socket {path} cannot be made: {source}")]
    Socket {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Carries out a command on a data directory: itself if no process uses it, else by asking that
/// process. Returns what there is to show.
///
/// # Errors
/// [`AdminError`] says what to do.
pub fn execute(dir: &Path, command: &Command) -> Result<String, AdminError> {
    // Opening would make it, which only `add` means.
    if !dir.is_dir() && !matches!(command, Command::Add { .. }) {
        return Err(AdminError::NoDirectory(dir.to_owned()));
    }
    match Node::open(dir, &NodeOptions::default()) {
        Ok(node) => on_node(&node, command, None),
        Err(OpenError::Locked { .. }) => ask(dir, command),
        Err(OpenError::PairMember { .. }) => match command {
            Command::List => Ok(list(&Node::open_member(dir, &NodeOptions::default())?)),
            Command::Add { .. } => Err(refused("start it, and add the store at the leader")),
            _ => Err(refused(BOTH_NODES)),
        },
        Err(error) => Err(error.into()),
    }
}

/// What a running process has to do beside changing its node.
struct Running<'a> {
    identity: &'a Identity,
    directory: &'a Directory,
    lifecycle: &'a Lifecycle,
}

/// Why stores come, but do not go, in a pair.
const BOTH_NODES: &str = "a store stays on both nodes or on none, and a node that comes back would \
     bring it again: this is not possible in a pair";

fn refused(sentence: &str) -> AdminError {
    let sentence = format!("this directory belongs to a pair: {sentence}");
    AdminError::Refused { code: EXIT_REFUSED, sentence }
}

/// What may not be done to a running node of a pair.
fn check_pair(command: &Command, running: &Running<'_>) -> Result<(), AdminError> {
    let reign = &running.identity.reign;
    if reign.pair().is_none() {
        return Ok(());
    }
    match command {
        Command::Add { .. } if !reign.state().leading => {
            Err(refused("add the store at the leader, which gives it to the other node"))
        }
        Command::List | Command::Add { .. } => Ok(()),
        Command::Attach(_) | Command::Detach(_) | Command::Remove(_) => Err(refused(BOTH_NODES)),
    }
}

fn on_node(
    node: &Node,
    command: &Command,
    running: Option<&Running<'_>>,
) -> Result<String, AdminError> {
    if let Some(running) = running {
        check_pair(command, running)?;
    }
    match command {
        Command::List => Ok(list(node)),
        Command::Add { store, host } => {
            let store = ensure(node, store, host.clone())?;
            if let Some(running) = running {
                serve(&store, running.directory, running.lifecycle);
            }
            Ok(String::new())
        }
        Command::Attach(name) => {
            let store = node.attach_store(name)?;
            if let Some(running) = running {
                running.identity.renew(node.incarnation());
                serve(&store, running.directory, running.lifecycle);
            }
            Ok(String::new())
        }
        Command::Detach(name) => {
            withdraw(name, running);
            node.detach_store(name)?;
            Ok(String::new())
        }
        Command::Remove(name) => {
            withdraw(name, running);
            node.remove_store(name)?;
            Ok(String::new())
        }
    }
}

/// Takes a store away from the loops: first no new appends, then nothing under way. Closing the
/// store answers whatever takes longer.
fn withdraw(name: &StoreName, running: Option<&Running<'_>>) {
    if let Some(Running { directory, .. }) = running
        && let Some(change) = directory.remove(name)
        && !directory.wait_settled(change, SETTLE)
    {
        log::warn!("{name} still has appends under way: closing it answers them");
    }
}

fn list(node: &Node) -> String {
    let mut out = String::new();
    for info in node.stores() {
        let hosted = info.hosted.iter().map(|number| number.to_string()).collect::<Vec<_>>();
        let state = if info.detached { "detached" } else { "attached" };
        // Writing into a string cannot fail.
        let _ = writeln!(out, "{} {} {} {state}", info.name, info.partitions, hosted.join(","));
    }
    out
}

fn ask(dir: &Path, command: &Command) -> Result<String, AdminError> {
    let path = dir.join(SOCKET);
    let unreachable = |source| AdminError::Unreachable { path: path.clone(), source };
    let answer = || -> std::io::Result<String> {
        let (_dir, short) = short_path(dir)?;
        let mut stream = UnixStream::connect(short)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.write_all(format!("{command}\n").as_bytes())?;
        let mut answer = String::new();
        stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = answer().map_err(unreachable)?;
    let (shown, last) = match answer.trim_end().rsplit_once('\n') {
        Some((shown, last)) => (format!("{shown}\n"), last),
        None => (String::new(), answer.trim_end()),
    };
    if last == "ok" {
        return Ok(shown);
    }
    let refusal = last.strip_prefix("error ").and_then(|error| error.split_once(' '));
    let refusal = refusal.and_then(|(code, sentence)| Some((code.parse().ok()?, sentence)));
    match refusal {
        Some((code, sentence)) => Err(AdminError::Refused { code, sentence: sentence.to_owned() }),
        None => Err(unreachable(std::io::ErrorKind::UnexpectedEof.into())),
    }
}

/// A path to the socket that is short enough for any data directory: a socket's path may have 107
/// bytes, a directory's far more. It holds as long as the returned file is open.
fn short_path(dir: &Path) -> std::io::Result<(File, PathBuf)> {
    let opened = File::open(dir)?;
    let short = PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", opened.as_raw_fd()));
    Ok((opened, short))
}
