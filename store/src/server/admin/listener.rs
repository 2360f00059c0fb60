//! The command socket of a running process.

use std::fs::Permissions;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use broker::net::{self, Waker};
use zmq::{POLLIN, PollItem};

use super::{AdminError, Command, Running, SOCKET, on_node, short_path};
use crate::Node;
use crate::server::directory::Directory;
use crate::server::lifecycle::Lifecycle;
use crate::server::{Identity, exit_code};

/// Longest command that is read.
const LINE_BYTES_MAX: u64 = 4096;
/// How long a caller may take to say it, or to hear the answer: others wait behind it.
const CALLER_PATIENCE: Duration = Duration::from_secs(2);

/// Listens for commands in a running process.
pub(in crate::server) struct AdminLoop {
    listener: UnixListener,
    path: PathBuf,
    node: Arc<Node>,
    identity: Identity,
    directory: Directory,
    lifecycle: Lifecycle,
    waker: Waker,
}

impl AdminLoop {
    /// Binds the socket in `dir`, whose lock we hold: one that is there already is a dead one.
    pub(in crate::server) fn bind(
        dir: &Path,
        (node, identity): (Arc<Node>, Identity),
        (directory, lifecycle): (&Directory, &Lifecycle),
    ) -> Result<Self, AdminError> {
        let path = dir.join(SOCKET);
        let make = || -> std::io::Result<(UnixListener, Waker)> {
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let (_dir, short) = short_path(dir)?;
            let listener = UnixListener::bind(short)?;
            std::fs::set_permissions(&path, Permissions::from_mode(0o600))?;
            listener.set_nonblocking(true)?;
            Ok((listener, Waker::new()?))
        };
        let (listener, waker) =
            make().map_err(|source| AdminError::Socket { path: path.clone(), source })?;
        lifecycle.rest.register(&waker);
        let (directory, lifecycle) = (directory.clone(), lifecycle.clone());
        Ok(Self { listener, path, node, identity, directory, lifecycle, waker })
    }

    /// Serves one caller after the other until the process stops.
    pub(in crate::server) fn run(self) -> Result<(), zmq::Error> {
        while !self.lifecycle.rest.is_requested() {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    if let Err(error) = self.serve(stream) {
                        log::debug!("a caller of the command socket went away: {error}");
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    let listener = PollItem::from_fd(self.listener.as_raw_fd(), POLLIN);
                    net::poll(&mut [self.waker.poll_item(), listener], None)?;
                    self.waker.drain();
                }
                Err(error) => {
                    log::warn!("the command socket: {error}");
                    net::poll(&mut [self.waker.poll_item()], None)?;
                }
            }
        }
        // A leftover file would do no harm: the next process removes it.
        let _ = std::fs::remove_file(&self.path);
        Ok(())
    }

    fn serve(&self, mut stream: UnixStream) -> std::io::Result<()> {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(CALLER_PATIENCE))?;
        stream.set_write_timeout(Some(CALLER_PATIENCE))?;
        let mut line = Vec::new();
        BufReader::new((&stream).take(LINE_BYTES_MAX)).read_until(b'\n', &mut line)?;
        let line = String::from_utf8_lossy(&line);
        let Self { identity, directory, lifecycle, .. } = self;
        let running = Running { identity, directory, lifecycle };
        let done = line.trim().parse::<Command>().map_err(AdminError::from);
        let done = done.and_then(|command| {
            log::info!("command: {command}");
            on_node(&self.node, &command, Some(&running))
        });
        match done {
            Ok(shown) => writeln!(stream, "{shown}ok"),
            Err(error) => {
                let sentence = error.to_string().replace('\n', " ");
                writeln!(stream, "error {} {sentence}", exit_code::of_command(&error))
            }
        }
    }
}
