//! Every command line in the documents is run as it stands there.
//!
//! Addresses and folders are replaced by ones of the test. A line that belongs to no class fails
//! the test: whoever writes it down says how it is to be run.

mod page;
mod stage;

use std::collections::BTreeSet;

use serde_json::Value;

use self::page::{Block, pages};
use self::stage::Stage;

/// Languages of blocks that are no commands.
const NO_COMMANDS: [&str; 3] = ["text", "rust", "python"];

/// What is done with a command line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// It is run to its end, which has to be a good one.
    Run,
    /// It is started, has to say that it serves, and is killed at the end of its block.
    Serve,
    /// The lines below it are run in that folder.
    Enter,
    /// It is run where `.ci/run` has put the interpreter with the packages that it needs.
    Python,
    /// It is left to others, for this reason.
    Elsewhere(&'static str),
}

/// How lines begin, and their class; the first that fits counts.
const CLASSES: [(&str, Class); 16] = [
    ("cargo run --release --bin quickstart", Class::Elsewhere("examples/tests/it/quickstart.rs")),
    ("cargo test", Class::Elsewhere("it runs this test")),
    ("cargo build", Class::Elsewhere("it has built this test")),
    ("examples/side-by-side/run", Class::Elsewhere("minutes; see cli/side_by_side.rs")),
    ("python3 -m venv", Class::Elsewhere("a step of .ci/run, which needs packages from PyPI")),
    ("target/python/bin/pip", Class::Elsewhere("a step of .ci/run, for the same reason")),
    ("target/python/bin/python examples/python/check.py", Class::Elsewhere("a step of .ci/run")),
    ("../../target/python/bin/python", Class::Python),
    ("python3 verify_segment.py", Class::Python),
    ("cd ", Class::Enter),
    ("starlog-broker ", Class::Serve),
    ("starlog-titanic ", Class::Serve),
    ("starlog-store store ", Class::Run),
    ("starlog-store verify ", Class::Run),
    ("starlog-store ", Class::Serve),
    ("starlog ", Class::Run),
];

/// What has to run before a block that contains the first text.
const BEFORE: [(&str, &[&str]); 2] = [
    (
        "starlog-store store add",
        &["starlog-store --data /var/lib/starlog/a --broker tcp://127.0.0.1:7400 --store kept:1"],
    ),
    (
        "from starlog import",
        &[
            "starlog-broker --data /tmp/broker --listen tcp://127.0.0.1:7400",
            "starlog-store --broker tcp://127.0.0.1:7400 --store orders --data /tmp/store",
        ],
    ),
];

/// Shorter loads, so that the test is.
const SHORTER: [(&str, &str); 1] = [("--duration 4s", "--duration 300ms")];

fn class(command: &str) -> Option<Class> {
    CLASSES.iter().find(|(start, _)| command.starts_with(start)).map(|(_, class)| *class)
}

#[test]
fn every_command_of_the_documents_works() {
    let mut tried = 0;
    for block in pages().iter().flat_map(page::Page::blocks) {
        match block.language.as_str() {
            "sh" | "console" => tried += run(&block),
            language => assert!(
                NO_COMMANDS.contains(&language),
                "{}: name the language, or nobody knows whether these are commands",
                block.place
            ),
        }
    }
    assert!(tried >= 25, "only {tried} commands were found");
}

/// Runs a block's commands and returns how many there were.
fn run(block: &Block) -> usize {
    let lines = block.commands();
    let unknown = lines.iter().find(|line| class(&line.command).is_none());
    assert!(unknown.is_none(), "{}: add {unknown:?} to CLASSES", block.place);
    let is_ours =
        |command: &str| !matches!(class(command), Some(Class::Elsewhere(_) | Class::Enter));
    if !lines.iter().any(|line| is_ours(&line.command)) {
        return lines.len();
    }
    let has = |text: &str| lines.iter().any(|line| line.command.contains(text));
    let before: Vec<&str> = BEFORE
        .iter()
        .filter(|(text, _)| has(text))
        .flat_map(|(_, lines)| *lines)
        .copied()
        .collect();
    let all = before.iter().copied().chain(lines.iter().map(|line| line.command.as_str()));
    let mut stage = Stage::new(&all.collect::<Vec<_>>());
    before.iter().for_each(|command| stage.serve(command));
    for line in &lines {
        match class(&line.command).unwrap() {
            Class::Elsewhere(_) => {}
            Class::Enter => stage.enter(line.command.trim_start_matches("cd ")),
            Class::Serve => stage.serve(&line.command),
            Class::Python if !stage.has("../../target/python/bin/python") => {}
            Class::Run | Class::Python => {
                let shorter = SHORTER
                    .iter()
                    .fold(line.command.clone(), |command, (from, to)| command.replace(from, to));
                let ended = stage.run(&shorter);
                assert_eq!(ended.code, Some(0), "{}: {}\n{ended:?}", block.place, line.command);
                assert_printed(&line.output, &ended.output, &format!("{}: {shorter}", block.place));
            }
        }
    }
    stage.wait_ready();
    lines.len()
}

/// Each printed line has one in the output that is like it, in the same order.
#[track_caller]
fn assert_printed(printed: &[String], output: &str, place: &str) {
    let mut lines = output.lines();
    for line in printed {
        assert!(
            lines.any(|real| is_like(line, real)),
            "{place}\nno longer prints {line}\n{output}"
        );
    }
}

/// JSON has the same fields, a head of a table the same columns, an exit code its number; of
/// anything else the first word is the same, unless it is made of digits.
fn is_like(printed: &str, real: &str) -> bool {
    let json = |text: &str| serde_json::from_str::<Value>(text).ok();
    if let (Some(printed @ Value::Object(_)), Some(real)) = (json(printed), json(real)) {
        return fields(&printed) == fields(&real);
    }
    let words = |text: &str| -> Vec<String> { text.split_whitespace().map(Into::into).collect() };
    let (printed, real) = (words(printed), words(real));
    let is_head = |words: &[String]| words.iter().all(|word| !word.contains(char::is_lowercase));
    let has_letters = |words: &[String]| words.concat().contains(char::is_alphabetic);
    if printed.first().is_some_and(|word| word == "exit")
        || (is_head(&printed) && has_letters(&printed) && printed.len() > 2)
    {
        return printed == real;
    }
    let first = |words: &[String]| words.first().cloned().unwrap_or_default();
    let (printed, real) = (first(&printed), first(&real));
    printed == real
        || [printed, real].iter().all(|word| word.contains(|c: char| c.is_ascii_digit()))
}

/// The fields of a JSON value, those of its parts included.
fn fields(value: &Value) -> BTreeSet<String> {
    let Value::Object(object) = value else { return BTreeSet::new() };
    let of_part = |(name, part): (&String, &Value)| {
        let inner = fields(part).into_iter().map(|field| format!("{name}.{field}"));
        inner.chain([name.clone()]).collect::<Vec<_>>()
    };
    object.iter().flat_map(of_part).collect()
}

#[test]
fn output_that_has_changed_is_noticed() {
    let rows = [
        (r#"{"a":1,"b":{"c":"…"}}"#, r#"{"a":2,"b":{"c":"x"}}"#, true),
        (r#"{"a":1,"b":{"c":"…"}}"#, r#"{"a":2,"b":{"d":"x"}}"#, false),
        ("exit 3", "exit 3", true),
        ("exit 3", "exit 5", false),
        ("STORE  HEAD  EPOCH", "STORE HEAD EPOCH", true),
        ("STORE  HEAD  EPOCH", "STORE HEAD LAG", false),
        ("orders 0 abc", "orders 7 def", true),
        ("    1  17", "    2  18", true),
        ("hello", "bye", false),
    ];
    for (printed, real, like) in rows {
        assert_eq!(is_like(printed, real), like, "{printed} / {real}");
    }
}

/// Commands that stand in the prose: their help exists, and knows the flags that are named.
#[test]
fn commands_and_flags_in_the_prose_exist() {
    let servers = super::bench::servers();
    let mut tried = 0;
    for page in pages() {
        for span in page.spans() {
            let words: Vec<&str> = span.split_whitespace().collect();
            let Some((program, rest)) = words.split_first() else { continue };
            if !["starlog", "starlog-store", "starlog-broker", "starlog-titanic"].contains(program)
            {
                continue;
            }
            let is_command =
                |word: &&&str| word.chars().all(|c| c.is_ascii_lowercase() || c == '|');
            let commands: Vec<&str> = rest.iter().take_while(is_command).copied().collect();
            for command in alternatives(&commands) {
                let mut tool = std::process::Command::new(servers.join(program));
                tool.args(command).arg("--help");
                let help = super::Tool::of(tool).run();
                assert_eq!(help.code, Some(0), "{}: `{span}`: {}", page.name, help.errors);
                for flag in rest.iter().filter(|word| word.starts_with("--")) {
                    assert!(help.output.contains(flag), "{}: `{span}` has no {flag}", page.name);
                }
                tried += 1;
            }
        }
    }
    assert!(tried >= 30, "only {tried} commands were found");
}

/// `command status|reply` is two commands.
fn alternatives<'a>(words: &[&'a str]) -> Vec<Vec<&'a str>> {
    words.iter().fold(vec![vec![]], |commands, word| {
        let with = |command: &Vec<&'a str>| -> Vec<Vec<&'a str>> {
            word.split('|').map(|choice| [&command[..], &[choice]].concat()).collect()
        };
        commands.iter().flat_map(with).collect()
    })
}
