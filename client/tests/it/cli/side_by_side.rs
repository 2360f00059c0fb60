//! `examples/side-by-side/run`: what it refuses, and the part that needs nobody else's servers.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::Tool;
use super::bench::servers;

/// Four measurements, each with servers of its own.
const RUN_WAIT_MAX: Duration = Duration::from_secs(120);

/// The interpreter itself: what is called `python3` may be a script that needs a PATH.
fn python() -> String {
    let mut command = Command::new("python3");
    command.args(["-c", "import sys; print(sys.executable)"]);
    Tool::of(command).run().ok().trim().to_owned()
}

/// The script, with these arguments in words.
fn script(arguments: &str) -> Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/side-by-side/run");
    let mut command = Command::new(python());
    command.arg(script).args(arguments.split_whitespace());
    command
}

#[test]
fn what_is_missing_is_named_before_anything_is_measured() {
    let mut command = script("--bin-dir /nowhere --data /nowhere");
    command.env("PATH", "/nowhere");
    let ended = Tool::of(command).run();
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert_eq!(ended.output, "");
    for word in ["starlog-broker", "cargo build --release", "apt-get install redis", "--data"] {
        assert!(ended.errors.contains(word), "{word}: {}", ended.errors);
    }
    let ended = Tool::of(script("--peers oracle")).run();
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.errors.contains("redis, postgresql"), "{}", ended.errors);
}

#[test]
fn starlog_alone_fills_its_column() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = script("--allow-debug --events 200 --seconds 0.2 --peers ,");
    command.arg("--bin-dir").arg(servers()).arg("--data").arg(folder.path());
    let output = Tool::of(command).run_for(RUN_WAIT_MAX).ok();
    for word in ["machine: ", "LOAD", "Starlog", "replay of all events", "starlog bench read"] {
        assert!(output.contains(word), "{word}: {output}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "files stay behind");
}
