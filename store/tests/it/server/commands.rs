//! Commands about stores, to a running process and to a directory that nobody uses.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use broker::dialect::SessionId;
use broker::error_code::ErrorCode;
use store::server::admin::{AdminError, Command, execute};
use store::server::exit_code::EXIT_CUT;
use store::{ExpectedVersion, Sequence, StoreError};

use super::bench::{
    Bench, RawClient, TestBroker, config, deadline, is_past, message, start, write,
};
use super::bench::{PATIENCE, results};
use crate::fixture::event;
use store::wire::append::AppendResult;

fn command(dir: &Path, line: &str) -> Result<String, AdminError> {
    execute(dir, &line.parse::<Command>().unwrap())
}

/// Appends to `store/0` until that works: the broker learns of a change a moment later.
fn append_when_served(client: &mut RawClient, service: &str) -> AppendResult {
    let deadline = deadline(PATIENCE);
    for number in 1.. {
        let body = message(vec![vec![write("s", ExpectedVersion::Any, vec![event("x")])]]);
        client.send_to(service, (number, number), PATIENCE, body);
        let reply = client.reply();
        if reply.code.is_none() {
            return results(&reply).remove(0);
        }
        assert!(!is_past(deadline), "{service} is never served: {reply:?}");
    }
    unreachable!("the numbers do not end")
}

#[test]
fn a_running_process_adds_detaches_attaches_and_removes_stores() {
    let bench = Bench::start();
    let (dir, mut client) = (bench.dir.path(), bench.client());
    assert_eq!(command(dir, "list").unwrap(), "orders 1 0 attached\n");
    command(dir, "add users:1").unwrap();
    append_when_served(&mut client, "users/0");
    command(dir, "detach users").unwrap();
    assert_eq!(command(dir, "list").unwrap(), "orders 1 0 attached\nusers 1 0 detached\n");
    // The other store is served as before while this one is away.
    append_when_served(&mut client, "orders/0");
    command(dir, "attach users").unwrap();
    let AppendResult::Done(done) = append_when_served(&mut bench.client(), "users/0") else {
        panic!("refused");
    };
    assert!(done.last.0 >= 2, "what was there before is gone");
    command(dir, "remove users").unwrap();
    assert_eq!(command(dir, "list").unwrap(), "orders 1 0 attached\n");
    assert!(matches!(command(dir, "detach users"), Err(AdminError::Refused { code: 1, .. })));
}

/// The last sequence of an append that was done.
fn last(result: AppendResult) -> Sequence {
    match result {
        AppendResult::Done(done) => done.last,
        refused => panic!("{refused:?}"),
    }
}

/// The process refused a command because its readers would not be told of a cut.
#[track_caller]
fn assert_refused_for_readers(result: Result<String, AdminError>, of_them: &str) {
    let Err(AdminError::Refused { code: EXIT_CUT, sentence }) = result else {
        panic!("{result:?}");
    };
    assert!(sentence.starts_with(ErrorCode::AHEAD_OF_LOG.as_str()), "{sentence}");
    assert!(sentence.contains(of_them) && sentence.contains("start it again"), "{sentence}");
}

#[test]
fn a_detached_store_can_be_replaced_by_an_earlier_copy() {
    let Bench { broker, store, dir: folder } = Bench::start();
    let dir = folder.path();
    let append = || {
        let mut client = RawClient::connect(&broker.endpoint(), SessionId::random());
        last(append_when_served(&mut client, "users/0"))
    };
    command(dir, "add users:1").unwrap();
    append();
    command(dir, "detach users").unwrap();
    copy(&dir.join("users"), &dir.join("copy"));
    command(dir, "attach users").unwrap();
    let second = append();
    command(dir, "detach users").unwrap();
    std::fs::rename(dir.join("users"), dir.join("newest")).unwrap();
    copy(&dir.join("copy"), &dir.join("users"));
    // Whoever has read the second one knows the epoch of this process.
    let refused = command(dir, "attach users");
    assert_refused_for_readers(refused, "stand at sequence 2, but this log ends at 1");
    assert_eq!(command(dir, "list").unwrap(), "orders 1 0 attached\nusers 1 0 detached\n");
    store.stop().unwrap();
    let _store = start(&config(dir, &[&broker]));
    command(dir, "attach users").unwrap();
    assert_eq!(append(), second, "the second append was not in the copy");
}

#[test]
fn a_store_that_was_removed_is_not_made_anew_before_the_next_start() {
    let Bench { broker, store, dir: folder } = Bench::start();
    let dir = folder.path();
    command(dir, "add users:1").unwrap();
    command(dir, "remove users").unwrap();
    command(dir, "add users:1").unwrap();
    let client = || RawClient::connect(&broker.endpoint(), SessionId::random());
    let first = last(append_when_served(&mut client(), "users/0"));
    command(dir, "remove users").unwrap();
    let refused = command(dir, "add users:1");
    assert_refused_for_readers(refused, "stand at sequence 1, but this log ends at 0");
    let mut tool = std::process::Command::new(env!("CARGO_BIN_EXE_starlog-store"));
    let output = tool.args(["store", "add", "users:1", "--data"]).arg(dir).output().unwrap();
    assert_eq!(output.status.code(), Some(14), "{output:?}");
    assert_eq!(command(dir, "list").unwrap(), "orders 1 0 attached\n");
    command(dir, "add other:1").unwrap();
    store.stop().unwrap();
    command(dir, "add users:1").unwrap();
    let _store = start(&config(dir, &[&broker]));
    assert_eq!(last(append_when_served(&mut client(), "users/0")), first);
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
        if path.is_dir() {
            copy(&path, &to.join(name));
        } else {
            std::fs::copy(&path, to.join(name)).unwrap();
        }
    }
}

#[test]
fn a_directory_that_nobody_uses_is_changed_directly() {
    let dir = tempfile::tempdir().unwrap();
    command(dir.path(), "add orders:4 1-2").unwrap();
    assert_eq!(command(dir.path(), "list").unwrap(), "orders 4 1,2 attached\n");
    command(dir.path(), "add orders").unwrap();
    let other = command(dir.path(), "add orders:2");
    assert!(matches!(other, Err(AdminError::Store(StoreError::OtherPartitions { .. }))));
    command(dir.path(), "detach orders").unwrap();
    assert_eq!(command(dir.path(), "list").unwrap(), "orders 4 1,2 detached\n");
    let nowhere = dir.path().join("nowhere");
    assert!(matches!(command(&nowhere, "list"), Err(AdminError::NoDirectory(_))));
    assert!(!nowhere.exists());
}

#[test]
fn only_its_user_may_use_the_command_socket() {
    let bench = Bench::start();
    let socket = std::fs::metadata(bench.dir.path().join("admin.sock")).unwrap();
    assert_eq!(socket.permissions().mode() & 0o777, 0o600);
}

/// A socket's path has at most 107 bytes, a data directory's far more.
#[test]
fn a_long_directory_name_is_no_obstacle() {
    let (broker, dir) = (TestBroker::start(), tempfile::tempdir().unwrap());
    let long = dir.path().join("x".repeat(200));
    let store = start(&config(&long, &[&broker]));
    assert_eq!(command(&long, "list").unwrap(), "orders 1 0 attached\n");
    store.stop().unwrap();
}
