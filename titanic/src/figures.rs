//! How much of everything a process has, for its log.

use std::fmt;

/// How much of everything there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Commands in the view, dead ones included.
    pub commands: usize,
    /// Dead ones among them.
    pub dead: usize,
    /// Attempts under way.
    pub attempts: usize,
    /// Commands with a step on its way to the log.
    pub writes: usize,
    /// Look-ups that are not done.
    pub reads: usize,
    /// Requests that are not answered.
    pub requests: usize,
    /// Those of them that wait for a reply.
    pub parked: usize,
    /// Shards of ours.
    pub shards: usize,
    /// Records that no Titanic writes.
    pub illegal: u64,
    /// Bytes of bodies in the cache.
    pub cache_bytes: usize,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Figures { commands, dead, attempts, writes, reads, requests, parked, shards, .. } =
            self;
        write!(
            f,
            "{commands} commands ({dead} dead), {shards} shards of ours, {attempts} attempts, \
             {writes} writes and {reads} reads under way, {requests} requests open ({parked} \
             parked), {} MiB of bodies cached",
            self.cache_bytes / (1024 * 1024),
        )?;
        match self.illegal {
            0 => Ok(()),
            illegal => write!(f, ", {illegal} illegal records passed over"),
        }
    }
}
