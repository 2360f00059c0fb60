//! Asking the leader of a pair to let the other node lead.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use broker::dialect::{Detail, MemberTopology, StoreTopology};
use broker::error_code::{ErrorCode, Outcome};
use store::slot::PartitionNumber;
use thiserror::Error;
use uuid::Uuid;

use super::command::Command;
use super::{Client, clock};
use crate::error::{Details, LookupError, Refusal};
use crate::pending::pending;

/// Which pair is to change its leader.
#[derive(Debug, Clone)]
pub struct HandOver {
    /// A store of the pair.
    pub store: String,
    /// A partition of it; needed only if several pairs share the store.
    pub partition: Option<PartitionNumber>,
    /// The node that is to lead; `None` for the one that does not lead now.
    pub to: Option<Uuid>,
}

/// How a handover ended well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandedOver {
    /// Who led before.
    pub from: Uuid,
    /// Who leads now.
    pub to: Uuid,
    /// Reign of the new leader, as far as it is known yet.
    pub epoch: u64,
    /// Whether nothing had to be done, because that node led already.
    pub led_already: bool,
    /// How long it took from the question to the answer.
    pub took: Duration,
}

/// Why no handover happened.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HandOverError {
    /// The store could not be looked up.
    #[error("{0}")]
    Lookup(#[from] LookupError),
    /// There is no leader that could hand over.
    #[error(
        "NO_WORKER: nobody leads {store}, so nobody can hand over: see `starlog pair status \
         --store {store}` for what it waits for"
    )]
    NoLeader {
        /// The store.
        store: String,
    },
    /// Nobody is there who could take over.
    #[error(
        "UNSUPPORTED: node {leader} leads {store} without a peer that is registered: start the \
         other node of the pair, and wait until it is a member"
    )]
    NoPeer {
        /// The store.
        store: String,
        /// Its leader.
        leader: Uuid,
    },
    /// The one named is no node of the store.
    #[error("INVALID_ARGUMENT: no node {node} serves {store}: it is served by {known}")]
    NotANode {
        /// The store.
        store: String,
        /// The node.
        node: Uuid,
        /// Those that do.
        known: String,
    },
    /// The store is served by several pairs.
    #[error(
        "INVALID_ARGUMENT: several nodes lead partitions of {store}: name one of its partitions, \
         or the node that is to lead"
    )]
    Ambiguous {
        /// The store.
        store: String,
    },
    /// The leader refused.
    #[error("{0}")]
    Refused(Refusal),
    /// The leader did not answer in time; it may have handed over all the same.
    #[error(
        "TIMEOUT_UNKNOWN: {endpoint} gave no answer within {waited:.1?}: look with `starlog pair \
         status` who leads"
    )]
    NoAnswer {
        /// Where it was asked.
        endpoint: String,
        /// For how long.
        waited: Duration,
    },
}

impl HandOverError {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Lookup(error) => error.code(),
            Self::NoLeader { .. } => ErrorCode::NO_WORKER,
            Self::NoPeer { .. } => ErrorCode::UNSUPPORTED,
            Self::NotANode { .. } | Self::Ambiguous { .. } => ErrorCode::INVALID_ARGUMENT,
            Self::Refused(refusal) => refusal.code,
            Self::NoAnswer { .. } => ErrorCode::TIMEOUT_UNKNOWN,
        }
    }

    /// What the error tells, as data.
    #[must_use]
    pub fn details(&self) -> BTreeMap<String, Detail> {
        let of = |store: &String| Details::none().text("store", store);
        match self {
            Self::Lookup(error) => error.details(),
            Self::NoLeader { store } | Self::Ambiguous { store } => of(store).done(),
            Self::NoPeer { store, leader } => of(store).text("leader", leader).done(),
            Self::NotANode { store, node, .. } => of(store).text("node", node).done(),
            Self::Refused(refusal) => refusal.details.clone(),
            Self::NoAnswer { endpoint, waited } => {
                let details = Details::none().text("endpoint", endpoint);
                details.number("waited_ms", waited.as_millis()).done()
            }
        }
    }

    /// Whether the leader may have changed all the same.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.code().outcome()
    }

    /// Whether asking again can help.
    #[must_use]
    pub fn retry(&self) -> bool {
        match self {
            Self::Lookup(error) => error.retry(),
            Self::NotANode { .. } | Self::Ambiguous { .. } | Self::NoPeer { .. } => false,
            _ => self.code().retry(),
        }
    }
}

/// Who is asked, and who shall lead.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    endpoint: String,
    from: Uuid,
    to: Uuid,
    epoch: u64,
}

pub(super) fn hand_over(
    client: &Client,
    wanted: &HandOver,
    timeout: Duration,
) -> Result<HandedOver, HandOverError> {
    let started = clock();
    let deadline = started + timeout;
    let mut wanted = wanted.clone();
    loop {
        let asked = ask(client, &wanted, deadline);
        let again = match &asked {
            Ok((_, Err(HandOverError::Refused(refusal)))) => {
                let passing = [ErrorCode::BUSY, ErrorCode::NOT_LEADER].contains(&refusal.code);
                passing && clock() + PAUSE < deadline
            }
            _ => false,
        };
        let (to, done) = asked?;
        if !again {
            let took = clock().saturating_duration_since(started);
            return done.map(|done| HandedOver { took, ..done });
        }
        // Whoever leads when it is asked again, this one is meant.
        wanted.to = Some(to);
        std::thread::sleep(PAUSE);
    }
}

/// Pause before a leader that could not hand over just now is asked again.
const PAUSE: Duration = Duration::from_millis(200);

/// Asks once: whom, and what came of it.
fn ask(
    client: &Client,
    wanted: &HandOver,
    deadline: Instant,
) -> Result<(Uuid, Result<HandedOver, HandOverError>), HandOverError> {
    let started = clock();
    let timeout = deadline.saturating_duration_since(started);
    let topology = client.topology(timeout)?;
    let store = topology.store(&wanted.store).ok_or_else(|| LookupError::StoreNotFound {
        store: wanted.store.clone(),
        known: topology.stores.iter().map(|store| store.name.clone()).collect(),
    })?;
    let Plan { endpoint, from, to, epoch } = plan(store, wanted)?;
    let done = HandedOver { from, to, epoch, led_already: true, took: Duration::ZERO };
    if from == to {
        return Ok((to, Ok(done)));
    }
    let (promise, answer) = pending(|| HandOverFailure::Silent);
    let request = client.next_request();
    client.command(Command::HandOver { endpoint: endpoint.clone(), request, deadline, promise });
    let answer = answer.wait();
    let waited = clock().saturating_duration_since(started);
    let result = match answer {
        Ok(()) => {
            let left = timeout.saturating_sub(waited);
            let epoch = epoch_of(client, (&wanted.store, to), epoch, left);
            Ok(HandedOver { epoch, led_already: false, ..done })
        }
        Err(HandOverFailure::Refused(refusal)) => Err(HandOverError::Refused(refusal)),
        Err(HandOverFailure::Silent) => Err(HandOverError::NoAnswer { endpoint, waited }),
    };
    Ok((to, result))
}

/// Why a leader's answer was no consent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum HandOverFailure {
    Refused(Refusal),
    Silent,
}

fn plan(store: &StoreTopology, wanted: &HandOver) -> Result<Plan, HandOverError> {
    let name = || store.name.clone();
    let of = |node: Uuid| store.members.iter().filter(move |member| member.incarnation == node);
    let partition_of = |member: &MemberTopology| member.partition;
    // The partitions in question: those that are named, or that the node to lead has.
    let partitions: Vec<u16> = match (wanted.partition, wanted.to) {
        (Some(partition), _) => vec![partition.0],
        (None, Some(node)) => of(node).map(partition_of).collect(),
        (None, None) => (0..store.partitions).collect(),
    };
    let here = |member: &&MemberTopology| partitions.contains(&member.partition);
    let known = || {
        let mut nodes: Vec<String> =
            store.members.iter().map(|member| member.incarnation.to_string()).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes.join(", ")
    };
    if let Some(node) = wanted.to
        && !of(node).any(|member| here(&member))
    {
        return Err(HandOverError::NotANode { store: name(), node, known: known() });
    }
    let leaders: Vec<_> =
        store.members.iter().filter(here).filter(|member| member.leader).collect();
    let Some(leader) = leaders.first() else {
        return Err(HandOverError::NoLeader { store: name() });
    };
    if leaders.iter().any(|other| other.incarnation != leader.incarnation) {
        return Err(HandOverError::Ambiguous { store: name() });
    }
    let from = leader.incarnation;
    let other = store.members.iter().filter(here).find(|member| member.incarnation != from);
    let to = match (wanted.to, other) {
        (Some(node), _) => node,
        (None, Some(other)) => other.incarnation,
        (None, None) => return Err(HandOverError::NoPeer { store: name(), leader: from }),
    };
    Ok(Plan { endpoint: leader.replay.clone(), from, to, epoch: leader.epoch })
}

/// The new leader's epoch, once the broker has heard of it; what is known at least, otherwise.
fn epoch_of(client: &Client, (store, node): (&str, Uuid), before: u64, timeout: Duration) -> u64 {
    let until = clock() + timeout.min(EPOCH_WAIT_MAX);
    loop {
        let left = until.saturating_duration_since(clock());
        let topology = client.topology(left).ok();
        let leading = topology.as_ref().and_then(|topology| {
            let store = topology.store(store)?;
            store.members.iter().find(|member| member.leader && member.incarnation == node)
        });
        match leading {
            Some(member) => return member.epoch,
            None if left.is_zero() => return before.saturating_add(1),
            None => std::thread::sleep(EPOCH_WAIT_STEP),
        }
    }
}

/// How long the broker is asked for the new leader's registration.
const EPOCH_WAIT_MAX: Duration = Duration::from_secs(2);
const EPOCH_WAIT_STEP: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    fn member(partition: u16, number: u128, leader: bool) -> MemberTopology {
        MemberTopology {
            partition,
            leader,
            epoch: 7,
            incarnation: node(number),
            lineage: Uuid::nil(),
            durability: "pair".to_owned(),
            feed: String::new(),
            replay: format!("tcp://10.0.0.{number}:1"),
            alive_ms: 0,
        }
    }

    fn plan_of(
        members: Vec<MemberTopology>,
        partition: Option<u16>,
        to: Option<u128>,
    ) -> Result<(u128, u128), ErrorCode> {
        let store = StoreTopology { name: "orders".to_owned(), partitions: 2, members };
        let (partition, to) = (partition.map(PartitionNumber), to.map(node));
        let plan = plan(&store, &HandOver { store: "orders".to_owned(), partition, to });
        let plan = plan.map_err(|error| error.code())?;
        assert_eq!(plan.endpoint, format!("tcp://10.0.0.{}:1", plan.from.as_u128()));
        Ok((plan.from.as_u128(), plan.to.as_u128()))
    }

    #[test]
    fn the_leader_of_the_pair_in_question_is_asked() {
        let pair = || vec![member(0, 1, true), member(1, 1, true)];
        let whole = || [pair(), vec![member(0, 2, false), member(1, 2, false)]].concat();
        let two_pairs = || {
            vec![member(0, 1, true), member(0, 2, false), member(1, 3, false), member(1, 4, true)]
        };
        let rows = [
            ("the other one", plan_of(whole(), None, None), Ok((1, 2))),
            ("by name", plan_of(whole(), None, Some(2)), Ok((1, 2))),
            ("leads already", plan_of(whole(), None, Some(1)), Ok((1, 1))),
            ("no such node", plan_of(whole(), None, Some(9)), Err(ErrorCode::INVALID_ARGUMENT)),
            ("alone", plan_of(pair(), None, None), Err(ErrorCode::UNSUPPORTED)),
            ("two pairs", plan_of(two_pairs(), None, None), Err(ErrorCode::INVALID_ARGUMENT)),
            ("two pairs, by partition", plan_of(two_pairs(), Some(1), None), Ok((4, 3))),
            ("two pairs, by node", plan_of(two_pairs(), None, Some(2)), Ok((1, 2))),
            (
                "a node of the other pair",
                plan_of(two_pairs(), Some(1), Some(2)),
                Err(ErrorCode::INVALID_ARGUMENT),
            ),
            (
                "nobody leads",
                plan_of(vec![member(0, 1, false)], None, None),
                Err(ErrorCode::NO_WORKER),
            ),
        ];
        for (name, found, expected) in rows {
            assert_eq!(found, expected, "{name}");
        }
    }
}
