//! Whether the disks of store processes have room for what is to come.

use client::{DiskStatus, StatusReply};

use super::examine::{Facts, Finding, Part};

/// A log grows by whole segments, made one or two ahead: fewer than this for each partition is
/// close to the end.
const SEGMENTS_MIN: u64 = 4;
/// Less than this part of the disk is little, too, ...
const PART_MIN: u64 = 20;
/// ... unless it is room for so many segments of each partition: a twentieth of a large disk is a
/// lot.
const SEGMENTS_PLENTY: u64 = 64;

/// Disks that are nearly full. One that is full is told of by the partition that has met it.
pub(super) fn of_disks(facts: &Facts<'_>, findings: &mut Vec<Finding>) {
    for (endpoint, reply) in facts.processes() {
        let StatusReply { disk: Some(disk), partitions, .. } = reply else { continue };
        let partitions = u64::try_from(partitions.len()).unwrap_or(u64::MAX).max(1);
        let rooms = segments(disk) / partitions;
        if is_little(disk, rooms) {
            let DiskStatus { free_bytes, total_bytes, .. } = disk;
            let (free, total) = (size(*free_bytes), size(*total_bytes));
            let segments = match rooms {
                0 => "less than one segment".to_owned(),
                1 => "one segment".to_owned(),
                more => format!("{more} segments"),
            };
            let text = format!(
                "the disk of the store at {endpoint} has {free} of {total} left, {segments} for \
                 each of its partitions: make room, or move its --data to a larger disk, before \
                 appends are refused"
            );
            findings.push(Finding::act(Part::Disk, text));
        }
    }
}

fn segments(disk: &DiskStatus) -> u64 {
    disk.free_bytes / u64::from(disk.segment_bytes).max(1)
}

fn is_little(disk: &DiskStatus, segments_each: u64) -> bool {
    let is_small_part = disk.free_bytes < disk.total_bytes / PART_MIN;
    segments_each < SEGMENTS_MIN || (is_small_part && segments_each < SEGMENTS_PLENTY)
}

/// A size as people say it.
fn size(bytes: u64) -> String {
    const MIB: u64 = 1024 * 1024;
    match bytes / MIB {
        mib if mib >= 10 * 1024 => format!("{} GiB", mib / 1024),
        mib => format!("{mib} MiB"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_is_a_matter_of_segments_and_of_the_disk() {
        const GIB: u64 = 1024 * 1024 * 1024;
        const SEGMENT: u64 = 64 * 1024 * 1024;
        let rows = [
            ("plenty", 50 * GIB, 100 * GIB, 2, false),
            ("three segments", 3 * SEGMENT, GIB, 1, true),
            ("four segments on a small disk", 4 * SEGMENT, GIB, 1, false),
            ("four segments on a large disk", 4 * SEGMENT, 100 * GIB, 1, true),
            ("seven segments for two", 7 * SEGMENT, GIB, 2, true),
            ("a hundredth of a huge disk", 100 * GIB, 10_000 * GIB, 4, false),
            ("nothing", 0, GIB, 1, true),
        ];
        for (name, free_bytes, total_bytes, partitions, little) in rows {
            let disk = DiskStatus { free_bytes, total_bytes, segment_bytes: 64 << 20 };
            assert_eq!(is_little(&disk, segments(&disk) / partitions), little, "{name}");
        }
        let unknown = DiskStatus { free_bytes: 9, total_bytes: 9, segment_bytes: 0 };
        assert_eq!(segments(&unknown), 9, "a peer's zero divides nothing");
    }

    #[test]
    fn sizes_are_readable() {
        assert_eq!(size(300 * 1024 * 1024), "300 MiB");
        assert_eq!(size(70 * 1024 * 1024 * 1024), "70 GiB");
    }
}
