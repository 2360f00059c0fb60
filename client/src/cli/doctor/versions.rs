//! Whether everything runs the same version of the software.

use std::collections::{BTreeMap, BTreeSet};

use client::{AgentTopology, StatusReply};

use super::examine::{Facts, Finding, Part};

/// The version of this tool, which should be that of everything else.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The name under which store processes greet brokers.
const STORE_AGENT: &str = "starlog-store";

/// Brokers and stores say their version themselves; of the others brokers know it.
pub(super) fn of_versions(facts: &Facts<'_>, findings: &mut Vec<Finding>) {
    let topologies = facts
        .brokers
        .iter()
        .filter_map(|broker| Some((&broker.endpoint, broker.answer.as_ref().ok()?)));
    for (endpoint, topology) in topologies.clone() {
        findings.extend(differs(&format!("the broker at {endpoint} has"), &topology.version));
    }
    let replies = || facts.processes();
    for (endpoint, reply) in replies() {
        findings.extend(differs(&format!("the store at {endpoint} has"), &reply.version));
    }
    let told: BTreeSet<&str> =
        replies().map(|(_, StatusReply { version, .. })| &**version).collect();
    let mut agents: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    for AgentTopology { agent, connections } in topologies.flat_map(|(_, of)| &of.agents) {
        let Some((name, version)) = agent.split_once('/') else { continue };
        if name.starts_with("starlog") && !(name == STORE_AGENT && told.contains(version)) {
            // The same process is connected to several brokers.
            let most = agents.entry((name, version)).or_default();
            *most = (*most).max(*connections);
        }
    }
    for ((name, version), connections) in agents {
        let who = match connections {
            1 => format!("one {name} that is connected has"),
            _ => format!("{connections} of {name} that are connected have"),
        };
        findings.extend(differs(&who, version));
    }
}

fn differs(who_has: &str, version: &str) -> Option<Finding> {
    let its = match version {
        VERSION => return None,
        "" => "an older version, which does not say its number".to_owned(),
        version => format!("version {version}"),
    };
    let text =
        format!("{who_has} {its}, this tool has {VERSION}: install the newer one everywhere");
    Some(Finding::act(Part::Version, text))
}
