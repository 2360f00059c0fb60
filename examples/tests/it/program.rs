//! Runs a program with a deadline and keeps what it says.

use std::{
    fs::File,
    path::Path,
    process::{Command, ExitStatus, Stdio},
    time::Duration,
};

use starlog_examples::clock::Deadline;

/// The quickstart as cargo has built it for these tests.
pub const QUICKSTART: &str = env!("CARGO_BIN_EXE_quickstart");

/// A program that has ended.
pub struct Ended {
    pub status: ExitStatus,
    pub output: String,
    pub errors: String,
}

impl Ended {
    /// Everything it said, for the message of a failed assertion.
    pub fn words(&self) -> String {
        let Self { status, output, errors } = self;
        format!("{status}\n--- standard output\n{output}\n--- standard error\n{errors}")
    }
}

/// Runs `program` in `folder` until it ends by itself.
///
/// # Panics
/// If it has not ended in time: it is killed then, and its children end with it.
pub fn run(program: &str, arguments: &[&str], (folder, patience): (&Path, Duration)) -> Ended {
    let words = |name: &str| folder.join(name);
    let (output, errors) = (words("stdout.txt"), words("stderr.txt"));
    let mut child = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(File::create(&output).unwrap())
        .stderr(File::create(&errors).unwrap())
        .spawn()
        .unwrap();
    let status = Deadline::after(patience).wait_for(|| child.try_wait().unwrap());
    let read = |path| std::fs::read_to_string(path).unwrap();
    let Some(status) = status else {
        child.kill().unwrap();
        child.wait().unwrap();
        let (output, errors) = (read(&output), read(&errors));
        panic!("{program} {arguments:?} has not ended after {patience:?}:\n{output}\n{errors}");
    };
    Ended { status, output: read(&output), errors: read(&errors) }
}

/// Runs the quickstart on a data folder below `folder`; the logs of its children are shown when
/// it fails.
pub fn quickstart(arguments: &[&str], (folder, patience): (&Path, Duration)) -> Ended {
    let data = folder.join("data");
    let mut all = vec!["--data", data.to_str().unwrap()];
    all.extend(arguments);
    let mut ended = run(QUICKSTART, &all, (folder, patience));
    if !ended.status.success() {
        for log in std::fs::read_dir(data.join("logs")).into_iter().flatten() {
            let path = log.unwrap().path();
            let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
            let last: Vec<&str> = text.lines().rev().take(30).collect();
            ended.errors.push_str(&format!("--- {}\n", path.display()));
            last.iter().rev().for_each(|line| ended.errors.push_str(&format!("{line}\n")));
        }
    }
    ended
}
