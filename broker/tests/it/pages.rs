//! `PROTOCOL.md` against the code: error codes and limits as they are printed there.

use std::collections::BTreeMap;

use broker::config::{Limits, WitnessConfig};
use broker::dialect::ServiceName;
use broker::error_code::{ErrorCode, Outcome};
use broker::net::{self, FRAME_BYTES_MAX, FRAMES_MAX};
use broker::witness::{codec, configuration, record};

const PAGE: &str = include_str!("../../PROTOCOL.md");
const MIB: usize = 1024 * 1024;

/// The cells of the rows of the table in a section, without its head.
fn rows(section: &str) -> Vec<Vec<&'static str>> {
    let (_, below) = PAGE.split_once(section).expect(section);
    let lines = below.lines().skip_while(|line| !line.starts_with('|'));
    let table = lines.take_while(|line| line.starts_with('|')).skip(2);
    table.map(|line| line.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

#[test]
fn every_error_code_stands_in_the_table_and_nothing_else_does() {
    let printed: Vec<Vec<String>> = rows("\n### 2.6 Error codes\n")
        .iter()
        .map(|cells| cells[..4].iter().map(|cell| (*cell).to_owned()).collect())
        .collect();
    let known: Vec<Vec<String>> = ErrorCode::ALL
        .iter()
        .map(|code| {
            let done = if code.outcome() == Outcome::Unknown { "unknown" } else { "no" };
            let again = if code.retry() { "yes" } else { "" };
            [&code.number().to_string(), &format!("`{code}`"), done, again].map(Into::into).into()
        })
        .collect();
    assert_eq!(printed, known);
}

/// The errors that MDP clients get are codes, and their outcome is the one of the other table.
#[test]
fn errors_of_majordomo_are_error_codes() {
    for cells in rows("\n### 1.3 Errors\n") {
        let Some(name) = cells[0].strip_prefix('`') else { continue };
        let name = name.trim_end_matches('`');
        let code = ErrorCode::ALL.iter().find(|code| code.as_str() == name).expect(name);
        assert_eq!(cells[2] == "unknown", code.outcome() == Outcome::Unknown, "{name}");
    }
}

/// A number as people write it: `4,096`.
fn number(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn mib(bytes: usize) -> String {
    assert!(bytes.is_multiple_of(MIB));
    format!("{} MiB", bytes / MIB)
}

/// What each row has to begin with.
fn limits() -> BTreeMap<&'static str, String> {
    let limits = Limits::default();
    let both = |count, bytes| format!("{} and {}", number(count), mib(bytes));
    let peers = [limits.workers, limits.sessions, limits.services, limits.stores];
    let outbox = both(limits.outbox_messages, limits.outbox_bytes);
    let socket = net::socket(&zmq::Context::new(), zmq::ROUTER).unwrap();
    let witness = WitnessConfig::new("tcp://127.0.0.1:7401".parse().unwrap());
    BTreeMap::from([
        ("one frame", mib(FRAME_BYTES_MAX.try_into().unwrap())),
        ("frames of one message", number(FRAMES_MAX)),
        ("body of one request or answer", mib(limits.message_bytes)),
        ("service name", format!("{} bytes", ServiceName::BYTES_MAX)),
        ("workers / dialect clients / services / stores", peers.map(number).join(" / ")),
        ("services of one dialect worker", number(limits.registrations_per_worker)),
        ("unanswered requests in all", both(limits.requests, limits.request_bytes)),
        ("of one service", both(limits.service_requests, limits.service_request_bytes)),
        ("of one dialect client", both(limits.session_requests, limits.session_request_bytes)),
        // The pipe's length is set by the server, on its own socket.
        ("messages in libzmq for one peer", String::new()),
        (
            "messages kept for one slow peer",
            format!("{outbox}; {} for all", mib(limits.outboxes_bytes)),
        ),
        ("unfinished handshake", format!("{} s", socket.get_handshake_ivl().unwrap() / 1000)),
        ("pairs of a witness", number(witness.registers_max)),
        (
            "nodes that a witness remembers or listens to, of one pair",
            format!("{}, and {} processes", record::NODES_MAX, record::PROCESSES_MAX),
        ),
        (
            "partitions of a pair, bytes of a partition's name",
            format!(
                "{}, {}",
                number(configuration::PARTITIONS_MAX),
                configuration::PARTITION_NAME_BYTES_MAX
            ),
        ),
        ("body of a message to the witness", mib(codec::BODY_BYTES_MAX)),
    ])
}

#[test]
fn every_limit_is_printed_as_it_is() {
    let mut known = limits();
    for cells in rows("\n## 5. Limits\n") {
        let limit = known.remove(cells[0]);
        let limit = limit.unwrap_or_else(|| panic!("nobody checks the limit of {:?}", cells[0]));
        assert!(cells[1].starts_with(&limit), "{}: {} is printed, not {limit}", cells[0], cells[1]);
    }
    assert_eq!(known, BTreeMap::new(), "limits that are not printed");
}
