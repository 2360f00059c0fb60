//! Servers as processes of their own.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use crate::world::PATIENCE;

/// A server in its process. Dropping it kills it.
pub struct Server {
    child: Child,
    /// Told once it has said that it serves; hung up if it ends before.
    serving: Receiver<()>,
    command: String,
    ready: bool,
}

impl Server {
    /// Starts it, and says only what went wrong.
    pub fn start(mut command: Command) -> Self {
        command.env("RUST_LOG", "error").stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let (sender, serving) = mpsc::channel();
        thread::spawn(move || {
            // To its end, so that the server can always write.
            for line in lines {
                if line.contains(" serving") || line.contains(" listening") {
                    let _ = sender.send(());
                }
            }
        });
        Self { child, serving, command: format!("{command:?}"), ready: false }
    }

    /// Waits until it says that it serves.
    pub fn wait_ready(&mut self) {
        if !self.ready {
            let serving = self.serving.recv_timeout(PATIENCE);
            assert!(serving.is_ok(), "it does not serve ({serving:?}): {}", self.command);
            self.ready = true;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
