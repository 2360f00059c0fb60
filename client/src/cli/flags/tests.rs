use clap::CommandFactory as _;
use clap::error::ErrorKind;
use client::{ExpectedVersion, Sequence, Version};

use super::*;

fn parse(line: &str) -> Result<CommandLine, clap::Error> {
    CommandLine::try_parse_from(std::iter::once("starlog").chain(line.split_whitespace()))
}

fn append(line: &str) -> AppendFlags {
    match parse(line).unwrap().command {
        Command::Append(flags) => flags,
        other => panic!("{other:?}"),
    }
}

#[test]
fn clap_finds_no_fault_with_the_definitions() {
    CommandLine::command().debug_assert();
}

#[test]
fn expected_versions() {
    let rows = [
        ("any", ExpectedVersion::Any),
        ("none", ExpectedVersion::None),
        ("exists", ExpectedVersion::Exists),
        ("7", ExpectedVersion::Exact(Version(7))),
    ];
    for (text, expected) in rows {
        let flags = append(&format!("append orders o-1 --type T --data 1 --expect {text}"));
        assert_eq!(flags.expect, expected);
    }
}

#[test]
fn sources_of_data() {
    let source = |text: &str| {
        append(&format!("append orders o-1 --type T --data {text} --expect any")).data.unwrap()
    };
    assert_eq!(source("{}"), Source::Inline("{}".into()));
    assert_eq!(source("@a/b.json"), Source::File("a/b.json".into()));
    assert_eq!(source("-"), Source::StandardInput);
}

#[test]
fn command_lines_that_are_refused() {
    use ErrorKind::{ArgumentConflict, InvalidValue, MissingRequiredArgument, ValueValidation};
    let rows = [
        // The condition is never guessed.
        ("append orders o-1 --type T --data 1", MissingRequiredArgument),
        ("append orders o-1 --data 1 --expect any", MissingRequiredArgument),
        ("append orders o-1 --type T --expect any", MissingRequiredArgument),
        ("append orders o-1 --type T --data 1 --expect -1", ErrorKind::UnknownArgument),
        ("append orders o-1 --type T --data 1 --expect some", ValueValidation),
        ("append orders o-1 --type T --data 1 --expect any --id 7", ValueValidation),
        ("append orders o-1 --type T --ndjson --expect any", ArgumentConflict),
        ("append Orders o-1 --type T --data 1 --expect any", ValueValidation),
        ("append orders o-1 --type T --data 1 --expect any -o xml", InvalidValue),
        ("append orders o-1 --type T --data 1 --expect any --durability pear", InvalidValue),
        ("read orders", MissingRequiredArgument),
        ("read orders o-1 --from 0", ValueValidation),
        ("read orders o-1 --last --limit 3", ArgumentConflict),
        ("replay orders --category order-17", ValueValidation),
        ("replay orders --category", InvalidValue),
        ("tail orders --category order --stream order-17", ArgumentConflict),
        ("tail orders --stream order-17 --partition 0", ArgumentConflict),
        ("tail orders --from yesterday", ValueValidation),
        ("tail orders --from 0", ValueValidation),
        ("status --timeout 10", ValueValidation),
        ("status --broker localhost", ValueValidation),
        ("bench append --batch 1001", ValueValidation),
        ("bench append --size 1.5MiB", ValueValidation),
        ("frobnicate", ErrorKind::InvalidSubcommand),
    ];
    for (line, kind) in rows {
        match parse(line) {
            Ok(_) => panic!("accepted: {line}"),
            Err(error) => {
                assert_eq!(error.kind(), kind, "{line}");
                assert_eq!(error.exit_code(), i32::from(exit::USAGE));
            }
        }
    }
}

#[test]
fn global_flags_stand_before_or_after_the_command() {
    let brokers = "--broker tcp://127.0.0.1:1,tcp://127.0.0.1:2 --broker tcp://127.0.0.1:3";
    for line in [format!("{brokers} -o json status"), format!("status {brokers} -o json")] {
        let global = parse(&line).unwrap().global;
        assert_eq!(global.brokers.len(), 3, "{line}");
        assert_eq!(global.output, Format::Json);
        assert_eq!(global.timeout, Duration::from_secs(10));
    }
}

#[test]
fn where_tail_starts() {
    let from = |text: &str| match parse(&format!("tail orders {text}")).unwrap().command {
        Command::Tail(flags) => flags.from,
        other => panic!("{other:?}"),
    };
    assert_eq!(from(""), TailFrom::Now);
    assert_eq!(from("--from now"), TailFrom::Now);
    assert_eq!(from("--from start"), TailFrom::Start);
    assert_eq!(from("--from 17"), TailFrom::At(Sequence(17)));
}

#[test]
fn every_command_has_examples_in_its_help() {
    fn walk(command: &clap::Command) {
        let commands: Vec<_> = command.get_subcommands().filter(|sub| !sub.is_hide_set()).collect();
        if commands.is_empty() {
            let help = command.get_after_help().unwrap_or_default().to_string();
            let name = command.get_name();
            assert!(help.contains("Examples:\n  starlog "), "`{name}` has no example");
        }
        commands.into_iter().for_each(walk);
    }
    walk(&CommandLine::command());
}
