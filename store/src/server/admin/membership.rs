//! Commands about a directory's part in a pair. No process may use it meanwhile.

use std::fmt::Write as _;
use std::path::Path;

use super::AdminError;
use crate::node::NODE_NAME;
use crate::pair::protocol::PairRecord;
use crate::{Node, NodeOptions, Store};

/// Makes what a member's directory holds a history of its own, which its node leads alone from
/// then on. Returns a report of what may be missing in it.
///
/// # Errors
/// [`AdminError`] says what to do.
pub fn leave_pair(dir: &Path) -> Result<String, AdminError> {
    // Opening would make it.
    if !dir.join(NODE_NAME).is_file() {
        return Err(AdminError::NoDirectory(dir.to_owned()));
    }
    let node = Node::open_member(dir, &NodeOptions::default())?;
    let Some(record) = node.pair_record() else {
        return Err(AdminError::NoMember(dir.to_owned()));
    };
    let mut report = String::new();
    // Writing into a string cannot fail.
    let _ = describe(&mut report, &node, rmp_serde::from_slice(&record).ok().as_ref());
    drop(node);
    let lineage = Node::leave_pair(dir)?;
    let _ = writeln!(
        report,
        "left: this is lineage {lineage} now, to be started without --role. Keep the other node's \
         directory until you know what it holds, and never give this node that directory's role."
    );
    Ok(report)
}

/// Draws a new incarnation for a directory that was put back from a copy.
///
/// # Errors
/// [`AdminError`] says what to do.
pub fn renew(dir: &Path) -> Result<String, AdminError> {
    if !dir.is_dir() {
        return Err(AdminError::NoDirectory(dir.to_owned()));
    }
    let incarnation = Node::renew(dir)?;
    Ok(format!(
        "renewed: this is incarnation {incarnation} now; the leader fills up what it lacks before \
         it is a member\n"
    ))
}

fn describe(out: &mut String, node: &Node, record: Option<&PairRecord>) -> std::fmt::Result {
    let me = node.incarnation();
    writeln!(out, "node {me} of lineage {}, epoch {}", node.lineage(), node.epoch())?;
    match record.and_then(|record| record.configuration.as_ref()) {
        Some(known) => {
            let members = known.members.iter().map(|member| member.0.to_string());
            let members = members.collect::<Vec<_>>().join(", ");
            let leader = known.leader.0;
            writeln!(out, "newest known configuration: leader {leader}, members {members}")?;
            if !known.members.iter().any(|member| member.0 == me) {
                writeln!(
                    out,
                    "THIS NODE IS NO MEMBER: the other one may have acknowledged events without it"
                )?;
            }
        }
        None => writeln!(out, "it has never been a member")?,
    }
    for store in node.stores() {
        match node.store(&store.name) {
            Ok(store) => describe_store(out, &store)?,
            Err(error) => writeln!(out, "{}: {error}", store.name)?,
        }
    }
    writeln!(
        out,
        "MAY BE LOST: whatever the other node has acknowledged after the configuration above, that \
         is every sequence beyond the ends above; what stands above `on every member` may never \
         have been acknowledged"
    )
}

fn describe_store(out: &mut String, store: &Store) -> std::fmt::Result {
    for partition in store.hosted() {
        let (end, held) = (partition.mark().sequence, partition.held());
        let number = partition.number();
        writeln!(out, "{}/{number}: ends at {end}, on every member up to {held}", store.name())?;
    }
    for (number, problem) in store.problems() {
        writeln!(out, "{}/{number}: {problem}", store.name())?;
    }
    Ok(())
}
