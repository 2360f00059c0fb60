use std::path::Path;

use crate::process::{Process, titanic};
use crate::world::World;

#[test]
fn sigterm_ends_it_with_a_goodbye() {
    let mut world = World::start();
    let (code, said) = world.titanic.take().unwrap().terminate();
    assert_eq!(code, Some(0), "{said}");
    // Its services went with it, at once and not by silence.
    let client = world.mdp();
    let there = client.ask("mmi.service", crate::mdp::body(&["titanic.request"]));
    assert_eq!(there, crate::mdp::body(&["404"]));
}

#[test]
fn it_waits_for_broker_and_store_and_can_be_stopped_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let nowhere = ["tcp://127.0.0.1:9".to_owned()];
    let process = titanic(&nowhere, &["--data", dir.path().to_str().unwrap()]);
    let (code, said) = {
        // The file is there as soon as it has begun.
        crate::world::wait_until("it begins", || dir.path().join("view.redb").exists());
        process.terminate()
    };
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn it_serves_as_soon_as_a_store_comes() {
    let mut world = World::without_titanic();
    world.store.take().unwrap().kill();
    let titanic = world.launch_titanic("titanic");
    world.start_store();
    titanic.wait_for("starlog-titanic serving");
}

#[test]
fn what_keeps_it_from_starting_has_a_sentence_and_a_code() {
    let world = World::start();
    let broker = [world.endpoint.clone()];
    let used = world.path("titanic");
    let other = world.path("other");
    let file = world.path("file");
    std::fs::write(&file, b"").unwrap();
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let mut other_titanic = vec!["--data".to_owned(), text(&other)];
    other_titanic.extend(["--store".to_owned(), "commands".to_owned()]);
    let first: Vec<&str> = other_titanic.iter().map(String::as_str).collect();
    let first = titanic(&broker, &first);
    first.wait_for("starlog-titanic serving");
    assert_eq!(first.terminate().0, Some(0));
    let (used, other, file) = (text(&used), text(&other), text(&file));
    let cases: [(&[&str], i32, &str); 9] = [
        (&["--data", &used], 3, "another process"),
        (&["--data", &file], 4, "cannot be used"),
        (&["--data", "/proc/nowhere"], 4, "cannot be used"),
        (&["--data", &other, "--store", "elsewhere"], 5, "the store commands"),
        (&["--store", "No Name"], 2, "--store"),
        (&["--claim-lease", "1s"], 2, "--claim-lease"),
        (&["--attempts", "0"], 2, "--attempts"),
        (&["--memory-max", "32"], 2, "16MiB or more"),
        (&["--broker", &world.endpoint], 2, "twice"),
    ];
    for (arguments, code, sentence) in cases {
        let (ended, said): (Option<i32>, String) = Process::end(titanic(&broker, arguments));
        assert_eq!(ended, Some(code), "{arguments:?}: {said}");
        assert!(said.contains(sentence), "{arguments:?}: {said}");
    }
}
