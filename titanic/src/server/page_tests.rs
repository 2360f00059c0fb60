//! `PROTOCOL.md` against the code: the limits as they are printed there.

use std::collections::BTreeMap;

use client::command::wire::{IDS_MAX, LIMIT_MAX};
use client::command::{BODY_FRAMES_MAX, SHARDS, Session};

use super::counter::WINDOW_BYTES;
use crate::Settings;
use crate::desk::{OPEN_MAX, PARKED_MAX};

const PAGE: &str = include_str!("../../PROTOCOL.md");

/// A number as people write it: `16,384`.
fn number(number: impl TryInto<u64>) -> String {
    let number = number.try_into().ok().unwrap();
    match (number / 1000, number % 1000) {
        (0, rest) => rest.to_string(),
        (thousands, rest) => format!("{thousands},{rest:03}"),
    }
}

fn mib(bytes: impl TryInto<u64>) -> String {
    format!("{} MiB", bytes.try_into().ok().unwrap() / (1024 * 1024))
}

#[test]
fn every_limit_is_printed_as_it_is() {
    let settings = Settings::new(Session(uuid::Uuid::nil()), 1, 1);
    let in_flight =
        format!("`--in-flight` per service, {} in all", number(settings.in_flight_total));
    let lists = format!("{}, {}", number(IDS_MAX), number(LIMIT_MAX));
    let mut known = BTreeMap::from([
        ("requests under way in one process", number(OPEN_MAX)),
        ("waiting fetches of these", number(PARKED_MAX)),
        ("request bodies that a broker may leave with one process", mib(WINDOW_BYTES)),
        ("bodies kept in memory", mib(settings.cache_bytes)),
        ("calls under way", in_flight),
        ("ids in a requeue or purge, commands in an answer", lists),
    ]);
    let (_, table) = PAGE.split_once("| limit | |\n|---|---|\n").unwrap();
    for line in table.lines() {
        let (what, printed) = line.trim_matches('|').split_once(" | ").unwrap();
        let limit = known.remove(what.trim());
        let limit = limit.unwrap_or_else(|| panic!("nobody checks the limit of {what:?}"));
        assert!(printed.starts_with(&limit), "{what}: {printed} is printed, not {limit}");
    }
    assert_eq!(known, BTreeMap::new(), "limits that are not printed");
}

#[test]
fn numbers_in_the_text_are_those_of_the_code() {
    let text = PAGE.split_whitespace().collect::<Vec<_>>().join(" ");
    for words in [
        format!("A body has up to {} frames", number(BODY_FRAMES_MAX)),
        format!("belongs to one of {SHARDS} shards"),
        format!("modulo {SHARDS}"),
        format!("a fair share of {SHARDS}"),
        format!("takes at most {} frames in one message", broker::net::FRAMES_MAX),
    ] {
        assert!(text.contains(&words), "{words}");
    }
}
