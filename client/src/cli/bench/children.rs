//! Child processes of a measurement: started, waited for, and ended with it.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use broker::error_code::ErrorCode;
use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;

use super::{broken, now};
use crate::cli::failure::Failure;

/// How long a child may take to say that it is ready.
const READY_WAIT_MAX: Duration = Duration::from_secs(20);
/// How long a child may take to end after it was asked to.
const STOP_WAIT_MAX: Duration = Duration::from_secs(10);
const STOP_CHECK_INTERVAL: Duration = Duration::from_millis(5);

/// A child process. Dropping it asks it to end and waits for that, at last with SIGKILL.
///
/// Its standard input stays open as long as this value lives, so that a child which watches it
/// ends even if its parent is killed.
#[derive(Debug)]
pub struct ChildProcess {
    child: Child,
    name: String,
    lines: Receiver<String>,
}

impl ChildProcess {
    /// Starts `program`.
    ///
    /// # Errors
    /// [`Failure`] when it can't be started.
    pub fn start<S: AsRef<OsStr>>(
        program: &Path,
        arguments: impl IntoIterator<Item = S>,
    ) -> Result<Self, Failure> {
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let cannot = |error: &std::io::Error| {
            Failure::system(&format!("can't start {}", program.display()), error)
        };
        // Servers log every connection; in the middle of a measurement only trouble is of interest.
        let log = std::env::var_os("RUST_LOG").unwrap_or_else(|| "warn".into());
        let mut command = Command::new(program);
        // What the caller's shell sets for servers of its own is not meant for these.
        let ours = |name: &OsString| name.to_string_lossy().starts_with("STARLOG_");
        for name in std::env::vars_os().map(|(name, _)| name).filter(ours) {
            command.env_remove(name);
        }
        let mut child = command
            .args(arguments)
            .env("RUST_LOG", log)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| cannot(&error))?;
        let (sender, lines) = mpsc::channel();
        if let Some(stdout) = child.stdout.take() {
            // The thread reads on after the last wanted line, so that the child never blocks on
            // a full pipe; it ends with the child.
            thread::Builder::new()
                .name(format!("{name}-output"))
                .spawn(move || {
                    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                        let _ = sender.send(line);
                    }
                })
                .map_err(|error| cannot(&error))?;
        }
        Ok(Self { child, name, lines })
    }

    /// Waits for a line of output that starts with `prefix` and returns the rest of it.
    ///
    /// # Errors
    /// [`Failure`] when the child ends or stays silent instead.
    pub fn wait_for_line(&self, prefix: &str) -> Result<String, Failure> {
        let deadline = now() + READY_WAIT_MAX;
        loop {
            let reason = match self.lines.recv_timeout(deadline.saturating_duration_since(now())) {
                Ok(line) => match line.strip_prefix(prefix) {
                    Some(rest) => return Ok(rest.trim().to_owned()),
                    None => continue,
                },
                Err(RecvTimeoutError::Timeout) => "did not become ready",
                Err(RecvTimeoutError::Disconnected) => "ended instead of becoming ready",
            };
            let sentence = format!("{} {reason}: see what it says above", self.name);
            return Err(Failure::local(ErrorCode::NO_WORKER, sentence));
        }
    }
}

impl ChildProcess {
    /// Bytes of memory that it holds now (`VmRSS` of proc_pid_status(5)).
    ///
    /// # Errors
    /// [`Failure`] when it has ended.
    pub fn memory_bytes(&self) -> Result<u64, Failure> {
        self.memory().map(|memory| memory.resident_bytes)
    }

    /// Memory that it holds now, with and without pages of files (proc_pid_status(5)).
    ///
    /// # Errors
    /// [`Failure`] when it has ended.
    pub fn memory(&self) -> Result<MemoryBytes, Failure> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))
            .map_err(|error| Failure::system(&format!("can't look at {}", self.name), &error))?;
        let gone = || broken(format!("{} has ended", self.name));
        let of = |field: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(field));
            let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
            kib.map(|kib| kib * 1024).ok_or_else(gone)
        };
        Ok(MemoryBytes { own_bytes: of("RssAnon:")?, resident_bytes: of("VmRSS:")? })
    }

    /// Ends it with SIGKILL and waits until it is gone.
    pub fn kill(mut self) {
        // One that has ended by itself can't be killed; it is collected all the same.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Memory of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct MemoryBytes {
    /// What belongs to the process alone (`RssAnon`).
    pub own_bytes: u64,
    /// The same with pages of files that it has mapped, its own program first of all (`VmRSS`).
    pub resident_bytes: u64,
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        if let Ok(Some(_)) = self.child.try_wait() {
            return;
        }
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let deadline = now() + STOP_WAIT_MAX;
        while now() < deadline {
            match self.child.try_wait() {
                Ok(None) => thread::sleep(STOP_CHECK_INTERVAL),
                Ok(Some(_)) | Err(_) => return,
            }
        }
        log::warn!("{} does not end: killed", self.name);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> ChildProcess {
        ChildProcess::start(Path::new("/bin/sh"), ["-c", script]).unwrap()
    }

    #[test]
    fn the_wanted_line_is_found_among_others() {
        let child = shell("echo hello; echo 'ready on  here '; sleep 60");
        assert_eq!(child.wait_for_line("ready on ").unwrap(), "here");
    }

    #[test]
    fn a_child_that_ends_early_is_a_failure() {
        let failure = shell("exit 3").wait_for_line("ready").unwrap_err();
        assert_eq!(failure.code, ErrorCode::NO_WORKER);
        assert!(failure.message.starts_with("sh ended"), "{}", failure.message);
    }

    #[test]
    fn a_program_that_is_not_there_is_a_failure() {
        let arguments: [&str; 0] = [];
        let failure = ChildProcess::start(Path::new("/nowhere/tool"), arguments).unwrap_err();
        assert!(failure.message.contains("/nowhere/tool"), "{}", failure.message);
    }

    #[test]
    fn a_child_holds_memory() {
        let child = shell("echo ready; sleep 60");
        child.wait_for_line("ready").unwrap();
        assert!(child.memory_bytes().unwrap() > 100_000);
        let memory = child.memory().unwrap();
        assert!(memory.own_bytes > 0, "{memory:?}");
        assert!(memory.own_bytes < memory.resident_bytes, "{memory:?}");
    }

    #[test]
    fn dropping_ends_the_child() {
        let child = shell("echo $$; exec sleep 60");
        let pid: i32 = child.wait_for_line("").unwrap().parse().unwrap();
        drop(child);
        let pid = Pid::from_raw(pid).unwrap();
        assert!(rustix::process::test_kill_process(pid).is_err());
    }
}
