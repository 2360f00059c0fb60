//! The style of the whole workspace as a test.

use std::{
    fs,
    path::{Path, PathBuf},
};

const LINE_COLUMNS_MAX: usize = 100;
const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;
const CRATES: [&str; 5] = ["broker", "store", "client", "titanic", "examples"];

/// Machines and codecs: they are given bytes and the time, and touch nothing else. A folder means
/// all that is in it.
const PURE: [&str; 58] = [
    "broker/src/dialect",
    "broker/src/error_code.rs",
    "broker/src/liveness.rs",
    "broker/src/routing",
    "broker/src/slot.rs",
    "broker/src/witness",
    "client/src/append/coalescer.rs",
    "client/src/call",
    "client/src/command/body.rs",
    "client/src/command/id.rs",
    "client/src/command/pack.rs",
    "client/src/command/shard.rs",
    "client/src/command/step.rs",
    "client/src/command/target.rs",
    "client/src/command/tsp.rs",
    "client/src/command/wire",
    "client/src/command/wire.rs",
    "client/src/command/worker.rs",
    "client/src/failover.rs",
    "client/src/gap.rs",
    "client/src/position.rs",
    "examples/src/faults.rs",
    "examples/src/history.rs",
    "examples/src/orders",
    "examples/src/random.rs",
    "examples/src/table.rs",
    "examples/src/views/audit.rs",
    "store/src/event.rs",
    "store/src/filter.rs",
    "store/src/names.rs",
    "store/src/node/ends.rs",
    "store/src/pair/handshake.rs",
    "store/src/pair/lease.rs",
    "store/src/pair/machine",
    "store/src/pair/message",
    "store/src/pair/protocol.rs",
    "store/src/pair/replication",
    "store/src/record",
    "store/src/server/feed/filters.rs",
    "store/src/server/feed/topics.rs",
    "store/src/server/replay/schedule",
    "store/src/server/replay/schedule.rs",
    "store/src/server/session.rs",
    "store/src/slot.rs",
    "store/src/wire",
    "titanic/src/bodies.rs",
    "titanic/src/claims.rs",
    "titanic/src/desk",
    "titanic/src/dispatcher",
    "titanic/src/figures.rs",
    "titanic/src/intent.rs",
    "titanic/src/life.rs",
    "titanic/src/protocol.rs",
    "titanic/src/reads.rs",
    "titanic/src/record.rs",
    "titanic/src/titanic",
    "titanic/src/view.rs",
    "titanic/src/writes.rs",
];

/// What a pure file never says.
const IMPURE: [&str; 6] =
    ["zmq::", "std::fs", "std::net", "std::thread", "Instant::now", "SystemTime::now"];

/// A source file of the workspace.
struct Source {
    /// From the top of the workspace, with `/`.
    path: String,
    text: String,
}

impl Source {
    /// Whether the whole file is tests.
    fn is_test(&self) -> bool {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        self.path.contains("/tests/") || name == "tests.rs" || name.ends_with("_tests.rs")
    }

    /// The lines before the test module.
    fn shipped(&self) -> impl Iterator<Item = (usize, &str)> {
        let tests = self.text.lines().position(|line| line.starts_with("#[cfg(test)]"));
        let end = if self.is_test() { 0 } else { tests.unwrap_or(usize::MAX) };
        self.text.lines().take(end).enumerate().map(|(index, line)| (index + 1, line))
    }

    /// The shipped lines without comments.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.shipped().filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    fn is_below(&self, path: &str) -> bool {
        self.path.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn sources() -> Vec<Source> {
    let mut sources = Vec::new();
    let mut folders: Vec<PathBuf> = CRATES.iter().map(|name| root().join(name)).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let path = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
                sources.push(Source { path, text });
            }
        }
    }
    assert!(sources.len() > 50, "the workspace is where it is looked for");
    sources
}

/// Fails with all findings, one a line.
fn expect_none(rule: &str, findings: Vec<String>) {
    assert!(findings.is_empty(), "{rule}:\n{}", findings.join("\n"));
}

#[test]
fn lines_are_short() {
    let mut findings = Vec::new();
    for source in sources() {
        for (index, line) in source.text.lines().enumerate() {
            if line.chars().count() > LINE_COLUMNS_MAX {
                findings.push(format!("{}:{}", source.path, index + 1));
            }
        }
    }
    expect_none("lines have at most 100 columns", findings);
}

#[test]
fn files_are_short() {
    let mut findings = Vec::new();
    for source in sources() {
        let lines = source.shipped().count();
        if lines > FILE_LINES_MAX {
            findings.push(format!("{} has {lines} lines", source.path));
        }
    }
    expect_none("a file has one job and at most 500 lines without its tests", findings);
}

#[test]
fn functions_fit_a_screen() {
    let mut findings = Vec::new();
    for source in sources() {
        let mut open: Option<(usize, usize)> = None;
        for (number, line) in source.shipped() {
            let indent = line.len() - line.trim_start().len();
            match open {
                None if starts_function(line) => open = Some((number, indent)),
                Some((start, column)) if indent == column && line.trim_start() == "}" => {
                    if number - start >= FUNCTION_LINES_MAX {
                        findings.push(format!(
                            "{}:{start} has {} lines",
                            source.path,
                            number - start + 1
                        ));
                    }
                    open = None;
                }
                // A declaration without a body, or a body on one line.
                Some((_, column)) if indent == column && line.ends_with([';', '}']) => open = None,
                _ => {}
            }
        }
    }
    expect_none("a function has at most 70 lines", findings);
}

fn starts_function(line: &str) -> bool {
    let words = line.trim_start();
    let keywords =
        ["fn ", "pub fn ", "pub(crate) fn ", "pub(super) fn ", "pub const fn ", "const fn "];
    keywords.iter().any(|keyword| words.starts_with(keyword)) && !line.ends_with([';', '}'])
}

#[test]
fn nothing_is_left_for_later() {
    // Put together here, so that this file passes its own test.
    let words = ["to", "fix", "xx"].map(|half| match half {
        "to" => String::from("TO") + "DO",
        "fix" => String::from("FIX") + "ME",
        _ => String::from("X") + "XX",
    });
    let macros = ["do", "unimplemented"].map(|half| match half {
        "do" => String::from("to") + "do!(",
        _ => String::from("unimple") + "mented!(",
    });
    let mut findings = Vec::new();
    for source in sources() {
        for (index, line) in source.text.lines().enumerate() {
            if words.iter().chain(&macros).any(|word| line.contains(word.as_str())) {
                findings.push(format!("{}:{}: {}", source.path, index + 1, line.trim()));
            }
        }
    }
    expect_none("the code is finished", findings);
}

#[test]
fn every_file_says_what_it_is() {
    let silent = |source: &&Source| !source.is_test() && !source.text.starts_with("//!");
    let findings = sources().iter().filter(silent).map(|source| source.path.clone()).collect();
    expect_none("a file begins with what it is (`//!`)", findings);
}

#[test]
fn crates_have_front_pages() {
    let mut findings = Vec::new();
    for name in CRATES {
        let page = fs::read_to_string(root().join(name).join("src/lib.rs")).unwrap();
        let page = page.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim);
        // The first, third, … fence opens a block.
        let fences: Vec<&str> = page.filter(|line| line.starts_with("```")).step_by(2).collect();
        if !fences.contains(&"```text") {
            findings.push(format!("{name}/src/lib.rs has no picture"));
        }
        if !fences.iter().any(|fence| matches!(*fence, "```" | "```no_run")) {
            findings.push(format!("{name}/src/lib.rs has no example"));
        }
    }
    expect_none("a crate begins with a front page", findings);
}

#[test]
fn the_readme_names_every_folder() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let mut findings = Vec::new();
    for name in CRATES {
        let mut folders = vec![format!("{name}/")];
        for entry in fs::read_dir(root().join(name).join("src")).unwrap() {
            let entry = entry.unwrap();
            if entry.path().is_dir() && entry.file_name() != "bin" {
                folders.push(format!("{}/", entry.file_name().to_str().unwrap()));
            }
        }
        findings.extend(folders.into_iter().filter(|folder| !readme.contains(folder.as_str())));
    }
    expect_none("the README's codemap names every folder", findings);
}

#[test]
fn machines_touch_nothing() {
    let sources = sources();
    let mut findings = Vec::new();
    for path in PURE {
        let mut met = false;
        for source in sources.iter().filter(|source| source.is_below(path)) {
            met = true;
            for (number, line) in source.code() {
                if IMPURE.iter().any(|word| line.contains(word)) {
                    findings.push(format!("{}:{number}: {}", source.path, line.trim()));
                }
            }
        }
        if !met {
            findings.push(format!("{path} is on the list and does not exist"));
        }
    }
    expect_none("machines and codecs touch no socket, file, thread or clock", findings);
}

#[test]
fn imports_point_downwards() {
    let mut findings = Vec::new();
    for (name, never) in [
        ("broker", &["starlog-", "store", "client", "titanic"][..]),
        ("store", &["client", "titanic", "starlog-examples"]),
        ("client", &["titanic", "starlog-examples"]),
        ("titanic", &["starlog-examples"]),
    ] {
        let manifest = fs::read_to_string(root().join(name).join("Cargo.toml")).unwrap();
        let mut section = "";
        for line in manifest.lines() {
            section = if line.starts_with('[') { line } else { section };
            let key = line.split(['.', ' ', '=']).next().unwrap_or_default();
            if section == "[dependencies]" && never.iter().any(|word| key.starts_with(word)) {
                findings.push(format!("{name}/Cargo.toml: {line}"));
            }
        }
    }
    let engine = |source: &Source| {
        source.is_below("store/src")
            && !source.is_below("store/src/server")
            && !source.is_below("store/src/pair")
            && !source.is_below("store/src/main.rs")
            && !source.is_below("store/src/flags.rs")
    };
    for source in sources().iter().filter(|source| engine(source)) {
        for (number, line) in source.code() {
            if line.contains("broker::") || line.contains("zmq") {
                findings.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    expect_none("an import points downwards, and the engine knows no ZeroMQ", findings);
}
