//! Flags of `starlog pair`.

use std::str::FromStr;

use clap::{Args, Subcommand};
use client::StoreName;

/// `starlog pair …`.
#[derive(Debug, Subcommand)]
pub enum PairCommand {
    /// Show pairs: nodes, roles, leader, epoch, follower lag, witness, and what needs doing.
    Status(PairStatusFlags),
    /// Let the other node of a pair lead; no append is lost or refused by it.
    Handover(HandoverFlags),
}

/// `starlog pair status`.
#[derive(Debug, Args)]
#[command(after_help = "\
Lines marked with ! need somebody to act, those marked with ~ mend themselves, those marked with -
are good to know; the last line sums up. Exit 5 means that a pair has no leader or, with
--require-whole, that an event would not stand on two nodes or that no failover is possible.

Examples:
  starlog pair status
  starlog pair status --store orders -o json")]
pub struct PairStatusFlags {
    /// Only the pairs of this store.
    #[arg(long, value_name = "NAME")]
    pub store: Option<StoreName>,
    /// Fail unless every pair has two members and hears its witness.
    #[arg(long)]
    pub require_whole: bool,
}

/// `starlog pair handover`.
#[derive(Debug, Args)]
#[command(after_help = "\
The pair's leader stops taking appends for a moment, waits until the other node has everything, and
lets it lead; brokers keep what arrives meanwhile and send it on. It exits 0 when the other node
leads, also if it did already. Exit 5 means that it did not happen, or with \"outcome\":\"unknown\"
that no answer came: look with `starlog pair status`. Exit 1 means that there is no pair.

Examples:
  starlog pair handover --store orders
  starlog pair handover --store orders --partition 0 -o json")]
pub struct HandoverFlags {
    /// A store of the pair. All that the two nodes host changes its leader.
    #[arg(long, value_name = "NAME")]
    pub store: StoreName,
    /// A partition of the pair, if several pairs share the store.
    #[arg(long, value_name = "N")]
    pub partition: Option<u16>,
    /// The node that is to lead: its id or the beginning of it [default: the one that follows].
    #[arg(long, value_name = "NODE")]
    pub to: Option<NodeName>,
}

/// The id of a node, or how it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeName(String);

impl NodeName {
    /// In lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for NodeName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let name = text.to_ascii_lowercase();
        let fits = |byte: u8| byte.is_ascii_hexdigit() || byte == b'-';
        match name.is_empty() || !name.bytes().all(fits) {
            true => Err("a node is named by its id, or the beginning of it: 4e9dcb18".to_owned()),
            false => Ok(Self(name)),
        }
    }
}
