//! What happened: a digest of all of it, and a readable line for each thing if somebody reads.

use std::hash::{Hash, Hasher};

use crate::clock::Moment;

/// FNV-1a: the same everywhere, unlike the standard library's default.
#[derive(Debug, Clone, Copy)]
pub struct Digest(u64);

impl Default for Digest {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Digest {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

/// See the module's comment.
#[derive(Debug, Default)]
pub struct Trace {
    readable: bool,
    digest: Digest,
    events: u64,
}

impl Trace {
    pub fn new(readable: bool) -> Self {
        Self { readable, ..Self::default() }
    }

    /// Something that decides what follows.
    pub fn event(&mut self, at: Moment, what: &impl Hash) {
        self.events += 1;
        (at, what).hash(&mut self.digest);
    }

    /// Something for people.
    pub fn say(&mut self, at: Moment, line: impl FnOnce() -> String) {
        if self.readable {
            println!("{:>10.4} {}", at.as_secs_f64(), brief(&line()));
        }
    }

    pub fn digest(&self) -> u64 {
        self.digest.finish()
    }

    pub fn events(&self) -> u64 {
        self.events
    }
}

/// Shortens ids, which are all of one length, and leaves out what is the same everywhere.
fn brief(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut word = String::new();
    for letter in line.chars().chain([' ']) {
        if letter.is_ascii_hexdigit() || letter == '-' {
            word.push(letter);
            continue;
        }
        let is_id = word.len() == 36 && word.matches('-').count() == 4;
        out.push_str(if is_id { &word[..4] } else { &word });
        word.clear();
        out.push(letter);
    }
    for name in ["Incarnation", "PartitionName", "ProposalNumber", "WitnessId"] {
        out = out.replace(name, "");
    }
    out.trim_end().to_owned()
}
