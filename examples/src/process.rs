//! Child processes: started, read line by line, killed, stopped, continued.

use std::{
    ffi::OsString,
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use thiserror::Error;

use crate::clock::Deadline;

/// How to start a child, also again.
#[derive(Debug, Clone)]
pub struct Launch {
    /// What it is called in messages and as a log file.
    pub name: String,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Standard output and error go here, behind what earlier lives left.
    pub log: PathBuf,
}

/// What went wrong with a child.
#[derive(Debug, Error)]
pub enum ProcessError {
    /// It does not start.
    #[error("{name} cannot be started: {reason}")]
    Start {
        /// Which one.
        name: String,
        /// What the system said.
        reason: io::Error,
    },
    /// It ended by itself.
    #[error("{name} ended by itself ({status}); its last words:\n{words}")]
    Ended {
        /// Which one.
        name: String,
        /// How.
        status: ExitStatus,
        /// The end of its log.
        words: String,
    },
    /// It runs and does not say what was waited for.
    #[error("{name} did not print `{awaited}` within {seconds} s; its last words:\n{words}")]
    Silent {
        /// Which one.
        name: String,
        /// What should have come.
        awaited: String,
        /// How long was waited.
        seconds: u64,
        /// The end of its log.
        words: String,
    },
    /// It does not end when asked to.
    #[error("{name} did not end within {seconds} s after SIGTERM")]
    Stubborn {
        /// Which one.
        name: String,
        /// How long was waited.
        seconds: u64,
    },
    /// A signal could not be sent, or the end not be waited for.
    #[error("{name} cannot be signalled: {reason}")]
    Signal {
        /// Which one.
        name: String,
        /// What the system said.
        reason: io::Error,
    },
}

/// A running child. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    launch: Launch,
    child: Child,
    lines: Receiver<String>,
}

/// Bytes of a log that an error message shows.
const WORDS_BYTES_MAX: usize = 1_500;

impl Process {
    /// Starts a child.
    ///
    /// # Errors
    /// [`ProcessError::Start`].
    pub fn start(launch: &Launch) -> Result<Self, ProcessError> {
        let failed = |reason| ProcessError::Start { name: launch.name.clone(), reason };
        let log = OpenOptions::new().create(true).append(true).open(&launch.log).map_err(failed)?;
        let errors = log.try_clone().map_err(failed)?;
        let mut child = Command::new(&launch.program)
            .args(&launch.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .map_err(failed)?;
        let lines = match child.stdout.take() {
            Some(output) => read_lines(output, log).map_err(failed)?,
            None => mpsc::channel().1,
        };
        Ok(Self { launch: launch.clone(), child, lines })
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.launch.name
    }

    /// How it was started.
    #[must_use]
    pub const fn launch(&self) -> &Launch {
        &self.launch
    }

    /// How its next life is to be started, once this one has told which ports it got.
    pub fn set_next_launch(&mut self, launch: Launch) {
        self.launch = launch;
    }

    /// The next line that it has printed, if there is one.
    pub fn next_line(&mut self) -> Option<String> {
        self.lines.try_recv().ok()
    }

    /// Waits for a line that starts with `prefix` and returns the rest of it.
    ///
    /// # Errors
    /// [`ProcessError::Ended`] if the child ends first, [`ProcessError::Silent`] after `patience`.
    pub fn wait_for_line(
        &mut self,
        prefix: &str,
        patience: Duration,
    ) -> Result<String, ProcessError> {
        let found = Deadline::after(patience).wait_for(|| match self.next_line() {
            Some(line) => line.strip_prefix(prefix).map(|rest| Ok(rest.trim().to_owned())),
            None => self.check_alive().err().map(Err),
        });
        found.unwrap_or_else(|| {
            Err(ProcessError::Silent {
                name: self.launch.name.clone(),
                awaited: prefix.to_owned(),
                seconds: patience.as_secs(),
                words: last_words(&self.launch.log),
            })
        })
    }

    /// Finds out whether it has ended although nobody asked it to.
    ///
    /// # Errors
    /// [`ProcessError::Ended`].
    pub fn check_alive(&mut self) -> Result<(), ProcessError> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(ProcessError::Ended {
                name: self.launch.name.clone(),
                status,
                words: last_words(&self.launch.log),
            }),
            Err(reason) => Err(self.signal_error(reason)),
        }
    }

    /// SIGKILL; returns when it is gone.
    ///
    /// # Errors
    /// [`ProcessError::Signal`].
    pub fn kill(&mut self) -> Result<(), ProcessError> {
        let killed = self.child.kill().and_then(|()| self.child.wait());
        killed.map(drop).map_err(|reason| self.signal_error(reason))
    }

    /// SIGSTOP: it keeps its memory and sockets and does nothing.
    ///
    /// # Errors
    /// [`ProcessError::Signal`].
    pub fn pause(&self) -> Result<(), ProcessError> {
        self.signal(Signal::STOP)
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// [`ProcessError::Signal`].
    pub fn resume(&self) -> Result<(), ProcessError> {
        self.signal(Signal::CONT)
    }

    /// SIGTERM, then waits for the end.
    ///
    /// # Errors
    /// [`ProcessError::Stubborn`] if it does not end in time, [`ProcessError::Ended`] if it ends
    /// with another status than 0.
    pub fn terminate(&mut self, patience: Duration) -> Result<(), ProcessError> {
        // It may have been asked already: Ctrl-C on a terminal reaches every process there.
        let ended = match self.check_alive() {
            Ok(()) => {
                self.signal(Signal::TERM)?;
                Deadline::after(patience).wait_for(|| self.check_alive().err())
            }
            Err(error) => Some(error),
        };
        match ended {
            Some(ProcessError::Ended { status, .. }) if status.success() => Ok(()),
            Some(error) => Err(error),
            None => Err(ProcessError::Stubborn {
                name: self.launch.name.clone(),
                seconds: patience.as_secs(),
            }),
        }
    }

    fn signal(&self, signal: Signal) -> Result<(), ProcessError> {
        let sent = match Pid::from_raw(self.child.id().cast_signed()) {
            Some(pid) => kill_process(pid, signal).map_err(io::Error::from),
            None => Err(io::ErrorKind::NotFound.into()),
        };
        sent.map_err(|reason| self.signal_error(reason))
    }

    fn signal_error(&self, reason: io::Error) -> ProcessError {
        ProcessError::Signal { name: self.launch.name.clone(), reason }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be gone already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Hands the child's lines on and keeps them in its log.
fn read_lines(output: ChildStdout, mut log: File) -> io::Result<Receiver<String>> {
    let (sender, lines) = mpsc::channel();
    std::thread::Builder::new().name(String::from("child-output")).spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            // A full disk must not keep the child from being heard.
            let _ = writeln!(log, "{line}");
            if sender.send(line).is_err() {
                break;
            }
        }
    })?;
    Ok(lines)
}

/// The end of a log file.
fn last_words(log: &Path) -> String {
    let bytes = std::fs::read(log).unwrap_or_default();
    let start = bytes.len().saturating_sub(WORDS_BYTES_MAX);
    String::from_utf8_lossy(bytes.get(start..).unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn shell(folder: &Path, script: &str) -> Process {
        let launch = Launch {
            name: String::from("shell"),
            program: PathBuf::from("/bin/sh"),
            arguments: vec![OsString::from("-c"), OsString::from(script)],
            log: folder.join("shell.log"),
        };
        Process::start(&launch).unwrap()
    }

    #[test]
    fn lines_are_heard_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let mut child = shell(folder.path(), "echo ready at 17; exec sleep 60");
        assert_eq!(child.wait_for_line("ready at ", PATIENCE).unwrap(), "17");
        child.kill().unwrap();
        let log = std::fs::read_to_string(folder.path().join("shell.log")).unwrap();
        assert_eq!(log, "ready at 17\n");
    }

    #[test]
    fn an_early_end_is_told_with_the_last_words() {
        let folder = tempfile::tempdir().unwrap();
        let mut child = shell(folder.path(), "echo 'no disk' >&2; exit 3");
        let error = child.wait_for_line("ready", PATIENCE).unwrap_err();
        assert!(matches!(&error, ProcessError::Ended { status, words, .. }
            if status.code() == Some(3) && words == "no disk\n"));
    }

    #[test]
    fn silence_ends_with_the_patience() {
        let folder = tempfile::tempdir().unwrap();
        let mut child = shell(folder.path(), "exec sleep 60");
        let error = child.wait_for_line("ready", Duration::from_millis(20)).unwrap_err();
        assert!(matches!(error, ProcessError::Silent { .. }), "{error}");
    }

    #[test]
    fn terminating_wants_a_clean_end() {
        let folder = tempfile::tempdir().unwrap();
        let script = "trap 'exit 0' TERM; echo ready; while :; do sleep 0.05; done";
        let mut clean = shell(folder.path(), script);
        clean.wait_for_line("ready", PATIENCE).unwrap();
        clean.terminate(PATIENCE).unwrap();
        let mut rude = shell(folder.path(), "echo ready; exec sleep 60");
        rude.wait_for_line("ready", PATIENCE).unwrap();
        assert!(matches!(rude.terminate(PATIENCE), Err(ProcessError::Ended { .. })));
    }

    #[test]
    fn a_paused_child_says_nothing_until_it_is_resumed() {
        let folder = tempfile::tempdir().unwrap();
        let script = "echo ready; while :; do echo tick; sleep 0.01; done";
        let mut child = shell(folder.path(), script);
        child.wait_for_line("ready", PATIENCE).unwrap();
        child.pause().unwrap();
        let silent = Duration::from_millis(100);
        let quiet = Deadline::after(PATIENCE)
            .wait_for(|| child.wait_for_line("tick", silent).is_err().then_some(()));
        assert_eq!(quiet, Some(()));
        child.resume().unwrap();
        child.wait_for_line("tick", PATIENCE).unwrap();
    }
}
