//! Who was heard lately: the two facts about time that the register's machine is given.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::liveness::Liveness;
use crate::witness::{Incarnation, ProcessId};

/// Most nodes of one pair that are watched: the members, and whoever knocks.
const NODES_MAX: usize = 64;
/// Most processes of one node: more than one is a mistake that is told to the later ones.
const PROCESSES_MAX: usize = 4;

/// The processes of one pair that were heard, by node, each with the time of its last word.
#[derive(Debug)]
pub(super) struct Presence {
    lease: Duration,
    /// Until then nobody can have been heard, and everybody counts as such.
    settled_at: Instant,
    nodes: BTreeMap<Incarnation, Node>,
}

/// One node's processes, in the order in which they were first heard.
#[derive(Debug)]
struct Node {
    heard_at: Instant,
    /// When a process was heard that was not a second one. A process that is told so leads nothing:
    /// one that is started again and again must not keep the place of its leader taken.
    voice_at: Option<Instant>,
    processes: Vec<(ProcessId, Liveness)>,
}

impl Presence {
    /// Nobody was heard yet by a witness that started at `started_at`.
    pub(super) fn new(started_at: Instant, lease: Duration) -> Presence {
        Presence { lease, settled_at: started_at + lease, nodes: BTreeMap::new() }
    }

    /// A process said something. What does not find room is not watched.
    pub(super) fn hear(&mut self, now: Instant, node: Incarnation, process: ProcessId) {
        if self.nodes.len() >= NODES_MAX && !self.nodes.contains_key(&node) {
            let lease = self.lease;
            self.nodes.retain(|_, node| now < node.heard_at + lease);
            if self.nodes.len() >= NODES_MAX {
                return;
            }
        }
        let known = self.nodes.entry(node).or_insert(Node {
            heard_at: now,
            voice_at: None,
            processes: Vec::new(),
        });
        known.heard_at = now;
        known.processes.retain(|(id, liveness)| *id == process || !liveness.is_expired(now));
        if let Some((_, liveness)) = known.processes.iter_mut().find(|(id, _)| *id == process) {
            liveness.heard(now);
        } else if known.processes.len() < PROCESSES_MAX {
            known.processes.push((process, Liveness::new(now, self.lease)));
        }
        if known.processes.first().is_some_and(|(id, _)| *id == process) {
            known.voice_at = Some(now);
        }
    }

    /// Whether the node keeps its place: it was heard within the lease, or the witness itself has
    /// not listened for so long yet.
    pub(super) fn is_heard(&self, now: Instant, node: Incarnation) -> bool {
        let voice_at = self.nodes.get(&node).and_then(|node| node.voice_at);
        voice_at.is_some_and(|at| now < at + self.lease) || now < self.settled_at
    }

    /// Whether a process that was here before this one, with the same data, was heard within the
    /// lease.
    pub(super) fn is_second(&self, now: Instant, node: Incarnation, process: ProcessId) -> bool {
        let Some(node) = self.nodes.get(&node) else {
            return false;
        };
        let mut earlier = node.processes.iter().take_while(|(id, _)| *id != process);
        earlier.any(|(_, liveness)| !liveness.is_expired(now))
    }

    /// When each watched node was last heard.
    pub(super) fn heard(&self) -> impl Iterator<Item = (Incarnation, Instant)> {
        self.nodes.iter().map(|(node, known)| (*node, known.heard_at))
    }

    /// When a node was last heard.
    pub(super) fn heard_at(&self, node: Incarnation) -> Option<Instant> {
        self.nodes.get(&node).map(|known| known.heard_at)
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
mod tests {
    use super::*;
    use uuid::Uuid;

    const LEASE: Duration = Duration::from_millis(600);

    fn node(number: u128) -> Incarnation {
        Incarnation(Uuid::from_u128(number))
    }

    fn process(number: u128) -> ProcessId {
        ProcessId(Uuid::from_u128(number))
    }

    /// A witness that has listened for a lease.
    fn settled() -> (Presence, Instant) {
        let start = Instant::now();
        (Presence::new(start, LEASE), start + LEASE)
    }

    #[test]
    fn a_node_is_heard_for_a_lease_and_everybody_is_in_the_first_one() {
        let start = Instant::now();
        let mut presence = Presence::new(start, LEASE);
        assert!(presence.is_heard(start + LEASE / 2, node(1)), "it may have spoken before");
        assert!(!presence.is_heard(start + LEASE, node(1)));
        let now = start + 2 * LEASE;
        presence.hear(now, node(1), process(1));
        assert!(presence.is_heard(now + LEASE - Duration::from_nanos(1), node(1)));
        assert!(!presence.is_heard(now + LEASE, node(1)));
        assert!(!presence.is_heard(now, node(2)));
        assert_eq!(presence.heard_at(node(1)), Some(now));
    }

    #[test]
    fn only_the_later_of_two_processes_is_the_second_one() {
        let (mut presence, start) = settled();
        presence.hear(start, node(1), process(1));
        presence.hear(start + LEASE / 2, node(1), process(2));
        let now = start + LEASE / 2;
        assert!(!presence.is_second(now, node(1), process(1)));
        assert!(presence.is_second(now, node(1), process(2)));
        assert!(!presence.is_second(now, node(2), process(2)), "another node's process");
        // A process that takes over from one that ended is alone after a lease.
        let later = start + LEASE;
        presence.hear(later, node(1), process(2));
        assert!(!presence.is_second(later, node(1), process(2)));
        // The first one comes back to life: now it is the second.
        presence.hear(later, node(1), process(1));
        assert!(presence.is_second(later, node(1), process(1)));
        assert!(!presence.is_second(later, node(1), process(2)));
    }

    #[test]
    fn a_process_that_is_started_again_and_again_does_not_keep_its_place() {
        let (mut presence, start) = settled();
        presence.hear(start, node(1), process(1));
        let mut now = start;
        for run in 2..10 {
            // Each one ends before the lease of the one before it has.
            now += LEASE / 3;
            presence.hear(now, node(1), process(run));
            assert!(presence.is_second(now, node(1), process(run)), "run {run}");
            assert_eq!(presence.is_heard(now, node(1)), now < start + LEASE, "run {run}");
        }
        // The last one lives.
        now += LEASE;
        presence.hear(now, node(1), process(9));
        assert!(!presence.is_second(now, node(1), process(9)) && presence.is_heard(now, node(1)));
    }

    #[test]
    fn whoever_knocks_takes_no_room_for_ever() {
        let (mut presence, start) = settled();
        for number in 0..1_000 {
            presence.hear(start, node(number), process(number));
            presence.hear(start, node(1), process(10_000 + number));
        }
        assert_eq!(presence.heard().count(), NODES_MAX);
        assert!(presence.nodes.values().all(|node| node.processes.len() <= PROCESSES_MAX));
        presence.hear(start + LEASE, node(5_000), process(1));
        assert_eq!(presence.heard_at(node(5_000)), Some(start + LEASE));
        assert_eq!(presence.heard().count(), 1);
    }
}
