//! Disks that are lost, full, or fail to sync.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use starlog_examples::faults::Side;

use super::trial::{PATIENCE, Setup, Trial, id, node};

/// Room of the small disk: enough for a pair that has just started.
const SMALL_DISK: &str = "size=48m";
/// What fails its syncs once a file is there.
const FAILING_SYNC: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static int failing(void) {
    const char *file = getenv("STARLOG_FAILING_SYNC");
    return file && access(file, F_OK) == 0;
}

int fdatasync(int fd) {
    if (failing()) { errno = EIO; return -1; }
    return ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(fd);
}

int fsync(int fd) {
    if (failing()) { errno = EIO; return -1; }
    return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(fd);
}
"#;

fn wipe(trial: &Trial, side: Side) {
    fs::remove_dir_all(trial.topology.config().store_folder(id(side))).unwrap();
}

#[test]
fn a_wiped_follower_joins_as_new() {
    let mut trial = Trial::start();
    let leader = trial.leader();
    let before = trial.incarnation(leader.other());
    trial.kill(leader.other());
    wipe(&trial, leader.other());
    trial.restart(leader.other());
    trial.wait_led_by(leader, 2);
    assert_ne!(trial.incarnation(leader.other()), before, "a new directory is a new node");
    trial.prove();
}

#[test]
fn a_wiped_leader_does_not_lead_before_it_is_in_sync() {
    let mut trial = Trial::start();
    let leader = trial.leader();
    trial.kill(leader);
    wipe(&trial, leader);
    trial.restart(leader);
    trial.wait_led_by(leader.other(), 2);
    // In sync it may.
    trial.hand_over_to(leader);
    trial.prove();
}

#[test]
fn a_wiped_node_whose_leader_is_away_waits() {
    let mut trial = Trial::start();
    let leader = trial.leader();
    trial.kill(leader);
    trial.wait_led_by(leader.other(), 1);
    trial.kill(leader.other());
    wipe(&trial, leader);
    trial.restart(leader);
    trial.expect_silence();
    assert_eq!(trial.topology.view(0).leader(), None);
    trial.restart(leader.other());
    trial.wait_led_by(leader.other(), 2);
    trial.prove();
}

/// A small disk of its own, mounted at a folder until it is dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` where nothing may be mounted.
    fn mount(folder: &Path) -> Option<Self> {
        fs::create_dir_all(folder).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", SMALL_DISK, "tmpfs"]).arg(folder);
        let mounted = mount.status().is_ok_and(|status| status.success());
        mounted.then(|| Self(folder.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a process that is being killed may still have files open.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_follower_with_a_full_disk_is_done_without_until_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    let Some(_disk) = SmallDisk::mount(&disk) else {
        eprintln!("no disk can be mounted here: a full one is not tried");
        return;
    };
    let mut trial = Trial::start();
    let leader = trial.leader();
    let follower = leader.other();
    // The follower's directory moves to the small disk, and the rest of that disk is filled.
    trial.topology.terminate(node(follower)).unwrap();
    let data = trial.topology.config().store_folder(id(follower));
    let moved = Command::new("mv").arg(&data).arg(disk.join("store")).status().unwrap();
    assert!(moved.success());
    std::os::unix::fs::symlink(disk.join("store"), &data).unwrap();
    trial.restart(follower);
    trial.wait_led_by(leader, 2);
    let filler = disk.join("filler");
    let filled = fs::write(&filler, vec![1; 48 << 20]);
    assert!(filled.is_err(), "the disk is full");
    trial.wait_led_by(leader, 1);
    fs::remove_file(&filler).unwrap();
    if trial.topology.wait_end(node(follower), std::time::Duration::ZERO).unwrap().is_some() {
        trial.restart(follower);
    }
    trial.wait_led_by(leader, 2);
    trial.prove();
}

/// Compiles what makes syncs fail. `None` without a C compiler.
fn failing_sync(folder: &Path) -> Option<PathBuf> {
    let (source, library) = (folder.join("failing.c"), folder.join("failing.so"));
    fs::write(&source, FAILING_SYNC).unwrap();
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-o"]).args([&library, &source]).arg("-ldl");
    compiler.status().is_ok_and(|status| status.success()).then_some(library)
}

/// A sync fails at one side: that process ends, the other one goes on, and after a restart all is
/// as it was.
fn sync_fails(of_leader: bool) {
    let folder = tempfile::tempdir().unwrap();
    let Some(library) = failing_sync(folder.path()) else {
        eprintln!("no C compiler here: a failing sync is not tried");
        return;
    };
    let switch = folder.path().join("fail");
    let mut trial = Trial::with(&Setup::default());
    // The node that is going to fail is started again under the library, first as follower.
    let failing = trial.leader().other();
    let plain = trial.topology.launch(node(failing)).unwrap();
    let mut preloaded = plain.clone();
    let environment = |name: &str, value: &Path| {
        let mut assignment = OsString::from(name);
        assignment.push(value);
        assignment
    };
    preloaded.program = PathBuf::from("/usr/bin/env");
    let given = [
        environment("LD_PRELOAD=", &library),
        environment("STARLOG_FAILING_SYNC=", &switch),
        plain.program.clone().into(),
    ];
    preloaded.arguments.splice(0..0, given);
    trial.topology.terminate(node(failing)).unwrap();
    trial.topology.set_launch(node(failing), preloaded).unwrap();
    trial.restart(failing);
    trial.wait_whole();
    if of_leader {
        trial.hand_over_to(failing);
    }
    fs::write(&switch, "").unwrap();
    let ended = trial.topology.wait_end(node(failing), PATIENCE).unwrap();
    assert!(ended.is_some_and(|status| status.code() != Some(0)), "a failed sync ends a process");
    trial.wait_led_by(failing.other(), 1);
    trial.topology.set_launch(node(failing), plain).unwrap();
    trial.restart(failing);
    trial.wait_led_by(failing.other(), 2);
    trial.prove();
}

#[test]
fn a_sync_error_at_the_follower_costs_the_follower() {
    sync_fails(false);
}

#[test]
fn a_sync_error_at_the_leader_costs_the_leader() {
    sync_fails(true);
}
