//! A bound for the one thing of a process that has none of its own.
//!
//! What our code keeps for others is limited. libzmq cannot be told to limit two things: it holds
//! the frames of a message until the last one has come, and every subscription of a peer. So a
//! process looks at itself once a second and ends on purpose, in order, before the system ends it
//! or somebody else for want of memory. Nothing acknowledged is lost by that: whatever an end could
//! lose was never acknowledged.

use std::time::{Duration, Instant};

use crate::config::parse_size;

/// How often a process looks at itself.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Looks in a row that must find too much: one of them alone may have met a short peak. More would
/// leave a fast peer the time to take the rest of the machine.
const LOOKS: u32 = 2;

/// Less is never enough for a process that does its work.
const BYTES_MIN: u64 = 16 * MIB;
const MIB: u64 = 1 << 20;

/// A process has grown beyond what it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the process holds {} MiB of memory, and --memory-max allows {} MiB: start it again, nothing \
     acknowledged is lost; if it comes back, look who sends messages that never end or subscribes \
     to ever more, or raise --memory-max",
    .own_bytes / MIB,
    .bytes_max / MIB
)]
pub struct TooMuchMemory {
    /// What it has.
    pub own_bytes: u64,
    /// What it may have.
    pub bytes_max: u64,
}

/// Decides when a process has too much memory.
#[derive(Debug)]
pub struct MemoryWatch {
    bytes_max: u64,
    look_at: Instant,
    above: u32,
}

impl MemoryWatch {
    /// A process that may have so many bytes.
    pub const fn new(now: Instant, bytes_max: u64) -> MemoryWatch {
        MemoryWatch { bytes_max, look_at: now, above: 0 }
    }

    /// When it wants to be told again.
    pub const fn deadline(&self) -> Instant {
        self.look_at
    }

    /// Is told what the process has; says when that has been too much for too long.
    pub fn handle(&mut self, now: Instant, own_bytes: u64) -> Option<TooMuchMemory> {
        let MemoryWatch { bytes_max, .. } = *self;
        self.look_at = now + LOOK_EVERY;
        self.above = if own_bytes > bytes_max { self.above.saturating_add(1) } else { 0 };
        (self.above >= LOOKS).then_some(TooMuchMemory { own_bytes, bytes_max })
    }
}

/// The watch of this process, with its clock and its figure.
#[derive(Debug)]
pub(crate) struct Watchdog(Option<MemoryWatch>);

impl Watchdog {
    /// For so many bytes; without a number it never says anything.
    pub(crate) fn new(bytes_max: Option<u64>) -> Watchdog {
        Watchdog(bytes_max.map(|bytes_max| MemoryWatch::new(clock(), bytes_max)))
    }

    /// Looks if it is time to; called at least once a second.
    pub(crate) fn look(&mut self) -> Option<TooMuchMemory> {
        let (now, watch) = (clock(), self.0.as_mut()?);
        if now < watch.deadline() {
            return None;
        }
        let Some(own_bytes) = own_memory() else {
            log::warn!("{STATUS} does not say what memory the process has: --memory-max is void");
            self.0 = None;
            return None;
        };
        watch.handle(now, own_bytes)
    }
}

#[expect(clippy::disallowed_methods, reason = "a loop reads the clock")]
fn clock() -> Instant {
    Instant::now()
}

/// The flag `--memory-max`, for example `2GiB`; 0 is no limit.
///
/// # Errors
/// A sentence for a person: no size, one of no use, or a system that does not tell what it needs.
pub fn parse_memory_max(text: &str) -> Result<u64, String> {
    match parse_size(text)? {
        0 => Ok(0),
        bytes if bytes < BYTES_MIN => {
            Err(format!("`{text}` is of no use: choose 16MiB or more, or 0 for no limit"))
        }
        _ if own_memory().is_none() => Err(format!(
            "this system does not say in {STATUS} what memory a process has: leave the flag out"
        )),
        bytes => Ok(bytes),
    }
}

/// What a process may have: what the flag says, else three quarters of the machine's memory. Beyond
/// that the system is about to end it anyway, or somebody else. `None` is no limit.
pub fn memory_max(asked: Option<u64>) -> Option<u64> {
    match asked {
        Some(0) => None,
        Some(bytes) => Some(bytes),
        None => figure("/proc/meminfo", &["MemTotal:"]).map(|bytes| bytes / 4 * 3),
    }
}

const STATUS: &str = "/proc/self/status";

/// Memory of this process that is no page of a file, be it swapped out or not (proc_pid_status(5)).
fn own_memory() -> Option<u64> {
    figure(STATUS, &["RssAnon:", "VmSwap:"])
}

/// The sum of some lines of such a file, in bytes.
fn figure(path: &str, names: &[&str]) -> Option<u64> {
    let text = std::fs::read_to_string(path).ok()?;
    names.iter().try_fold(0u64, |sum, name| sum.checked_add(line_bytes(&text, name)?))
}

/// `RssAnon:      5124 kB`, whose kB are KiB.
fn line_bytes(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = value.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_peak_is_forgiven_and_a_longer_one_is_not() {
        let rows: [(&[u64], Option<usize>); 7] = [
            (&[0, 99, 100, 100, 100], None),
            (&[101, 100, 101, 100, 101], None),
            (&[101, 101], Some(1)),
            (&[100, 101, 200, 0], Some(2)),
            (&[101, 0, 101, 101], Some(3)),
            (&[u64::MAX, u64::MAX], Some(1)),
            (&[101], None),
        ];
        for (looks, ends_at) in rows {
            let start = clock();
            let mut watch = MemoryWatch::new(start, 100);
            let ended = looks.iter().zip(0u32..).position(|(own_bytes, number)| {
                let now = start + LOOK_EVERY * number;
                assert_eq!(watch.deadline(), now, "once a second, and at once to begin with");
                watch.handle(now, *own_bytes).is_some()
            });
            assert_eq!(ended, ends_at, "{looks:?}");
        }
    }

    #[test]
    fn the_sentence_has_both_figures_and_what_to_do() {
        let sentence = TooMuchMemory { own_bytes: 70 * MIB, bytes_max: 64 * MIB }.to_string();
        for words in ["holds 70 MiB", "allows 64 MiB", "start it again", "raise --memory-max"] {
            assert!(sentence.contains(words), "{sentence}");
        }
    }

    #[test]
    fn the_flag_is_a_size_of_use_or_nothing() {
        assert_eq!(parse_memory_max("64MiB"), Ok(64 * MIB));
        assert_eq!(parse_memory_max("0"), Ok(0));
        for (text, words) in [("lots", "is no size"), ("32", "16MiB or more"), ("15MiB", "0 for")] {
            let sentence = parse_memory_max(text).unwrap_err();
            assert!(sentence.contains(words), "{sentence}");
        }
        assert_eq!((memory_max(Some(0)), memory_max(Some(7))), (None, Some(7)));
        assert!(memory_max(None).is_some_and(|bytes| bytes > BYTES_MIN));
    }

    #[test]
    fn figures_are_read_as_the_system_prints_them() {
        let text = "Name:\tstore\nRssAnon:\t    5124 kB\nVmSwap:\t       0 kB\nThreads:\t9\n";
        assert_eq!(line_bytes(text, "RssAnon:"), Some(5124 * 1024));
        assert_eq!(line_bytes(text, "VmSwap:"), Some(0));
        for name in ["RssFile:", "Threads:", "Name:"] {
            assert_eq!(line_bytes(text, name), None, "{name}");
        }
    }

    #[test]
    fn what_is_written_to_is_the_process_s_own() {
        let before = own_memory().unwrap();
        let held = vec![1u8; 64 << 20];
        let after = own_memory().unwrap();
        assert!(after >= before + 48 * MIB, "{before} and {after}, with {} more", held.len());
    }
}
