//! Flags of `starlog import` and `export`.

use std::path::PathBuf;

use clap::Args;
use client::{StoreName, StreamName};

/// `starlog import`.
#[derive(Debug, Args)]
#[command(after_help = "\
Takes one event per line, as `starlog export` prints them, and `read`, `replay` and `tail` with
-o ndjson. Each keeps its id and is appended only if its stream is at the version before its own;
one without a version is appended to whatever is there. The events of a stream have to come in
their order. Events of system streams ($…) are passed over: each store has its own.

The same import can be run again at any time, and adds only what is missing. Exit 2 and exit 3 name
the line that makes no sense, or that does not fit what the store holds; what stands before it is
imported. Exit 5 means that an answer is missing: run the same again.

Examples:
  starlog export orders | starlog import copies -
  starlog import copies orders.ndjson
  starlog import copies orders.ndjson -o json")]
pub struct ImportFlags {
    /// Store to append to.
    pub store: StoreName,
    /// File with one event per line, or - for standard input.
    pub file: PathBuf,
}

/// `starlog export`.
#[derive(Debug, Args)]
#[command(after_help = "\
Prints NDJSON whatever -o says. Events are in order within a partition; partitions follow each
other. What was printed can be imported into any store. JSON is printed as it was appended, except
that it stands on one line; of an append of several events it is not kept that they were one.

How to go on from here later is said on standard error.

Examples:
  starlog export orders
  starlog export orders --partition 0 --from 2
  starlog export orders --stream order-17 --to 1
  starlog export orders --system -q")]
pub struct ExportFlags {
    /// Store to read.
    pub store: StoreName,
    /// Only this partition.
    #[arg(long, value_name = "P", conflicts_with = "stream")]
    pub partition: Option<u16>,
    /// Only this stream.
    #[arg(long, value_name = "STREAM", conflicts_with = "system")]
    pub stream: Option<StreamName>,
    /// First sequence to print, or with --stream the first version; needs --partition or --stream
    /// where the store has several partitions.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub from: Option<u64>,
    /// Last sequence or version to print, inclusive; needs what --from needs.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub to: Option<u64>,
    /// Print events of system streams ($…) too.
    #[arg(long)]
    pub system: bool,
}
