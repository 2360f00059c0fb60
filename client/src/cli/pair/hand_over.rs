//! `starlog pair handover`.

use broker::dialect::StoreTopology;
use broker::error_code::ErrorCode;
use client::{Client, HandOver, HandedOver, PartitionNumber};
use serde::Serialize;
use uuid::Uuid;

use super::short;
use crate::cli::failure::{Failure, Stop};
use crate::cli::flags::{HandoverFlags, NodeName};
use crate::cli::session::Session;

/// Lets the other node of a pair lead.
///
/// # Errors
/// [`Stop`] when there is no such pair, or its leader does not hand over.
pub fn run(session: &Session, flags: &HandoverFlags) -> Result<(), Stop> {
    let client = session.connect()?;
    let wanted = HandOver {
        store: flags.store.to_string(),
        partition: flags.partition.map(PartitionNumber),
        to: flags.to.as_ref().map(|name| node(&client, session, flags, name)).transpose()?,
    };
    let done = client.hand_over(&wanted, session.timeout).map_err(Failure::from)?;
    let line = HandoverLine::new(&wanted.store, &done);
    session.printer().document(&line, || line.to_table())
}

/// The node that a name or its beginning stands for.
fn node(
    client: &Client,
    session: &Session,
    flags: &HandoverFlags,
    name: &NodeName,
) -> Result<Uuid, Failure> {
    let topology = client.topology(session.timeout)?;
    let store = topology.store(flags.store.as_str()).ok_or_else(|| {
        let sentence =
            format!("no store {} is registered at the broker: check the name", flags.store);
        Failure::local(ErrorCode::STORE_NOT_FOUND, sentence)
    })?;
    one_named(store, name)
}

fn one_named(store: &StoreTopology, name: &NodeName) -> Result<Uuid, Failure> {
    let mut nodes: Vec<Uuid> = store.members.iter().map(|member| member.incarnation).collect();
    nodes.sort_unstable();
    nodes.dedup();
    let found: Vec<Uuid> =
        nodes.iter().copied().filter(|node| node.to_string().starts_with(name.as_str())).collect();
    match found[..] {
        [node] => Ok(node),
        _ => {
            let known: Vec<String> = nodes.iter().map(ToString::to_string).collect();
            let count = if found.is_empty() { "no node" } else { "several nodes" };
            Err(Failure::usage(format!(
                "{count} of {} begin with {}: it is served by {}",
                store.name,
                name.as_str(),
                known.join(", ")
            )))
        }
    }
}

#[derive(Debug, Serialize)]
struct HandoverLine<'a> {
    store: &'a str,
    from: String,
    to: String,
    epoch: u64,
    /// Whether nothing had to be done.
    led_already: bool,
    milliseconds: u64,
}

impl<'a> HandoverLine<'a> {
    fn new(store: &'a str, done: &HandedOver) -> Self {
        Self {
            store,
            from: done.from.to_string(),
            to: done.to.to_string(),
            epoch: done.epoch,
            led_already: done.led_already,
            milliseconds: u64::try_from(done.took.as_millis()).unwrap_or(u64::MAX),
        }
    }

    fn to_table(&self) -> String {
        let Self { store, from, to, epoch, led_already, milliseconds } = self;
        let (from, to) = (short(from), short(to));
        match led_already {
            true => format!("node {to} leads {store} already, in epoch {epoch}\n"),
            false => format!(
                "node {to} leads {store} now, in epoch {epoch}: taken over from {from} within \
                 {milliseconds} ms\n"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use broker::dialect::MemberTopology;

    use super::*;

    #[test]
    fn a_node_is_named_by_its_beginning() {
        let member = |number: u128| MemberTopology {
            partition: 0,
            leader: false,
            epoch: 1,
            incarnation: Uuid::from_u128(number),
            lineage: Uuid::nil(),
            durability: "pair".to_owned(),
            feed: String::new(),
            replay: String::new(),
            alive_ms: 0,
        };
        let (one, other) = (0xabcd << 112, 0xabce << 112);
        let members = vec![member(one), member(one), member(other)];
        let store = StoreTopology { name: "orders".to_owned(), partitions: 2, members };
        let named = |text: &str| one_named(&store, &text.parse().unwrap());
        assert_eq!(named("abcd").unwrap(), Uuid::from_u128(one));
        assert_eq!(named("ABCE").unwrap(), Uuid::from_u128(other));
        assert!(named("abc").unwrap_err().message.starts_with("several nodes"));
        assert!(named("ff").unwrap_err().message.starts_with("no node"));
    }
}
