//! The machine that figures were measured on.

use std::path::Path;

use rustix::system::uname;
use serde::Serialize;

/// What one must know of a machine to compare its figures.
#[derive(Debug, Clone, Serialize)]
pub struct Machine {
    cores: usize,
    processor: String,
    memory_mib: u64,
    kernel: String,
    /// File system and device of the folder that was written to.
    disk: String,
    /// Of this tool: figures of a debug build mean nothing.
    build: &'static str,
}

impl Machine {
    /// Looks at this machine and at the disk that `folder` lies on.
    pub fn describe(folder: &Path) -> Self {
        let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        let kernel = uname();
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            processor: processor(&text("/proc/cpuinfo")),
            memory_mib: memory_mib(&text("/proc/meminfo")),
            kernel: format!(
                "{} {}",
                kernel.sysname().to_string_lossy(),
                kernel.release().to_string_lossy()
            ),
            disk: disk(&text("/proc/self/mountinfo"), &folder),
            build: if cfg!(debug_assertions) { "debug" } else { "release" },
        }
    }

    /// One line for people.
    pub fn to_line(&self) -> String {
        format!(
            "machine: {} cores, {}, {} MiB, {}; disk: {}; {} build",
            self.cores, self.processor, self.memory_mib, self.kernel, self.disk, self.build
        )
    }
}

fn processor(cpuinfo: &str) -> String {
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.map(|rest| rest.trim_start_matches([' ', '\t', ':']));
    model.unwrap_or(std::env::consts::ARCH).to_owned()
}

fn memory_mib(meminfo: &str) -> u64 {
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = total.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}

/// File system type and device of the mount that holds `folder`: the one with the longest mount
/// point that is a prefix of it (proc_pid_mountinfo(5)).
fn disk(mountinfo: &str, folder: &Path) -> String {
    let mounts = mountinfo.lines().filter_map(|line| {
        let (place, what) = line.split_once(" - ")?;
        let point = place.split(' ').nth(4)?;
        let mut what = what.split(' ');
        Some((point, what.next()?, what.next()?))
    });
    // Of equal mount points the later one covers the earlier one, and `max_by_key` takes the last.
    mounts
        .filter(|(point, _, _)| folder.starts_with(point))
        .max_by_key(|(point, _, _)| point.len())
        .map_or_else(|| "unknown".to_owned(), |(_, kind, device)| format!("{kind} on {device}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_disk_of_a_folder_is_the_innermost_mount() {
        let mountinfo = "\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 8:2 / /data rw - xfs /dev/sdb1 rw
31 22 0:5 / /dataset rw - tmpfs none rw
32 30 8:3 / /data rw - btrfs /dev/sdc1 rw
";
        let rows = [
            ("/tmp/x", "ext4 on /dev/sda1"),
            ("/data/x", "btrfs on /dev/sdc1"),
            ("/dataset", "tmpfs on none"),
            ("/database", "ext4 on /dev/sda1"),
        ];
        for (folder, expected) in rows {
            assert_eq!(disk(mountinfo, Path::new(folder)), expected, "{folder}");
        }
        assert_eq!(disk("", Path::new("/")), "unknown");
    }

    #[test]
    fn processor_and_memory() {
        assert_eq!(processor("x : y\nmodel name\t: Fast 9000 @ 3 GHz\n"), "Fast 9000 @ 3 GHz");
        assert_eq!(memory_mib("MemTotal:        2097152 kB\nMemFree: 1 kB\n"), 2048);
        assert_eq!(memory_mib(""), 0);
    }
}
