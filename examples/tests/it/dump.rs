//! The small invented dump, imported.

use std::{fs, path::Path, time::Duration};

use crate::program;

const PATIENCE: Duration = Duration::from_secs(90);
const DUMP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/dump");

#[test]
fn a_dump_becomes_events_and_tables_and_a_second_import_adds_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for round in ["first", "second"] {
        let ended = program::quickstart(&["--dump", DUMP], (folder.path(), PATIENCE));
        assert!(ended.status.success(), "{round}: {}", ended.words());
        for part in [
            "Posts per tag",
            "brewing        3",
            "Comments per user",
            "Activity per weekday",
            "Monday",
            "61 records in the log",
            "host 1: ",
            "equal to a full replay",
        ] {
            assert!(ended.output.contains(part), "{round}, {part:?}: {}", ended.words());
        }
    }
}

#[test]
fn missing_files_are_skipped_with_a_word() {
    let folder = tempfile::tempdir().unwrap();
    let dump = folder.path().join("dump");
    fs::create_dir(&dump).unwrap();
    fs::copy(Path::new(DUMP).join("Comments.xml"), dump.join("Comments.xml")).unwrap();
    let arguments = ["--dump", dump.to_str().unwrap()];
    let ended = program::quickstart(&arguments, (folder.path(), PATIENCE));
    assert!(ended.status.success(), "{}", ended.words());
    for missing in ["Users.xml", "Posts.xml", "Badges.xml"] {
        assert!(ended.errors.contains(&format!("{missing} is not there: skipped")));
    }
}

#[test]
fn a_folder_without_a_dump_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let ended = program::quickstart(&["--dump", "/nowhere"], (folder.path(), PATIENCE));
    assert_eq!(ended.status.code(), Some(1), "{}", ended.words());
    assert!(ended.errors.contains("Users.xml"), "{}", ended.words());
}
