//! Flags of `starlog verify`, `topology`, `doctor` and `completions`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// `starlog verify`.
#[derive(Debug, Args)]
#[command(after_help = "\
Every byte is read, and everything that was ever promised is checked again: checksums, signatures,
the chain, sequences and versions without gaps, headers, footers, and the index. Nothing is changed
and no broker is asked. Check a copy, or a detached store, if a process is writing.

Exit codes: 0 clean, 12 a torn tail (a crash cut off an append that was never acknowledged; opening
sets it aside), 6 damaged: file, offset and sequence are named. `starlog-store verify` does the same
with the same codes.

Examples:
  starlog verify backup
  starlog verify backup/orders/0 -o json")]
pub struct VerifyFlags {
    /// A data directory, a store's folder in it, or a partition's.
    pub dir: PathBuf,
}

/// `starlog topology`.
#[derive(Debug, Args)]
#[command(after_help = "\
Brokers share nothing, so each that is named with --broker is asked, and shown by itself. Exit 5
means that none of them answers.

Examples:
  starlog topology
  starlog topology --broker tcp://127.0.0.1:7400 -o json")]
pub struct TopologyFlags {}

/// `starlog doctor`.
#[derive(Debug, Args)]
#[command(after_help = "\
Asks every broker that is named with --broker, every store process that they know, and every
projection that tells its progress; reads the newest event of each partition, by its stream too.
Each line names what is stuck (a broker, store, pair, witness, disk, index, feed, subscriber or
service, or versions that differ) and what to do: ! needs somebody to act, ~ mends itself.

Exit codes: 0 nothing is wrong, 1 something is, 5 something is and no append can be done now, to
one partition at least.

Examples:
  starlog doctor
  starlog doctor --timeout 3s -o json")]
pub struct DoctorFlags {}

/// `starlog completions`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  starlog completions bash
  starlog completions zsh
  starlog completions fish")]
pub struct CompletionsFlags {
    /// The shell.
    pub shell: Shell,
}

/// A shell that completes command lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// For example into ~/.local/share/bash-completion/completions/starlog.
    Bash,
    /// For example into a file `_starlog` in a folder of $fpath.
    Zsh,
    /// For example into ~/.config/fish/completions/starlog.fish.
    Fish,
}
