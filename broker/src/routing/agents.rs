//! Which programs are connected in the dialect, as they call themselves in HELLO.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;

use super::RoutingTable;
use crate::dialect::AgentTopology;

/// Most characters of a name that are kept.
const CHARS_MAX: usize = 64;
/// Most programs that are told of: whoever invents names shall not make the topology grow.
const AGENTS_MAX: usize = 32;

/// Name and version of a program, cut to what is bearable in a log and in a table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Agent(String);

impl Agent {
    pub(super) fn new(said: &str) -> Agent {
        Agent(said.chars().filter(|sign| !sign.is_control()).take(CHARS_MAX).collect())
    }
}

impl fmt::Display for Agent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl RoutingTable {
    /// Every program with its number of conversations, the most numerous first.
    pub(super) fn agents(&self) -> Vec<AgentTopology> {
        let workers = self.workers.iter().filter_map(|worker| worker.agent.as_ref());
        let clients = self.sessions.iter().map(|session| &session.agent);
        let mut counts: BTreeMap<&Agent, u32> = BTreeMap::new();
        for agent in workers.chain(clients) {
            *counts.entry(agent).or_default() += 1;
        }
        let mut agents: Vec<AgentTopology> = counts
            .into_iter()
            .map(|(agent, connections)| AgentTopology { agent: agent.to_string(), connections })
            .collect();
        agents.sort_by_key(|agent| Reverse(agent.connections));
        agents.truncate(AGENTS_MAX);
        agents
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_cut_and_has_no_control_characters() {
        assert_eq!(Agent::new("starlog-store/0.1.0").to_string(), "starlog-store/0.1.0");
        assert_eq!(Agent::new("evil\u{1b}[2J\n").to_string(), "evil[2J");
        assert_eq!(Agent::new(&"ö".repeat(1000)).to_string(), "ö".repeat(CHARS_MAX));
    }
}
