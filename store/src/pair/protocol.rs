//! What goes into the machine [`Pair`](super::machine::Pair), and what comes out of it.

use broker::witness::{
    Configuration, Incarnation, Lineage, ProcessId, ProposalNumber, Sequences, WitnessAnswer,
    WitnessId, WitnessRequest,
};
use serde::{Deserialize, Serialize};

use crate::Durability;

/// How a node was configured. It decides nothing but who begins where both nodes are new.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Begins.
    Primary,
    /// Joins.
    Backup,
}

/// What a node knows of its pair, durably.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PairRecord {
    /// Newest configuration known; `None` until the node belongs to a pair.
    pub configuration: Option<Configuration>,
    /// Epoch promised to the witness (inclusive): nothing of a lower one is acknowledged.
    pub promised: u64,
    /// Highest number that was used for a proposal or a report.
    pub number: ProposalNumber,
    /// The witness last reported to. Answers of another one don't count.
    pub witness: Option<WitnessId>,
    /// Number of the last report. Answers from before the witness had read it don't count.
    pub reported: ProposalNumber,
    /// The node that was asked to be taken in, until the outcome is known.
    pub peer: Option<Incarnation>,
    /// Epoch under which the log was last found or made to agree with the leader's.
    pub aligned: u64,
}

/// What is fixed for one run of a node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PairSetup {
    /// The node's data.
    pub me: Incarnation,
    /// The node's process.
    pub process: ProcessId,
    /// Lineage of the directory, which counts if this node begins.
    pub lineage: Lineage,
    /// Epoch of the directory: a pair that begins here begins above it.
    pub epoch: u64,
    /// How it was configured.
    pub role: Role,
    /// Durability level.
    pub level: Durability,
    /// Fewest copies with which the leader acknowledges: 1 or 2.
    pub copies_min: u8,
    /// Whether the directory holds events.
    pub brings_data: bool,
    /// Newest synced sequences at the start (inclusive).
    pub durable: Sequences,
    /// Newest sequences known to be committed and on every member (inclusive).
    pub held: Sequences,
}

/// Clocks that the loop keeps for the machine. Arming one again starts it anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// Heartbeats to peer and witness are due. Armed by itself, for ever.
    Beat,
    /// A follower has not heard its leader for S.
    Suspect,
    /// A follower has not heard its leader for 3 S.
    Abandon,
    /// The leader has waited for an acknowledgement of its follower for R.
    Patience,
    /// The leader has not heard its follower for S.
    Silence,
    /// An answer of the witness is overdue: ask again.
    Ask,
    /// The leader may take in a caught-up follower. Longer with every attempt in a row.
    Grow {
        /// From 0: at once. 1: one second, doubling up to sixty.
        attempt: u8,
    },
    /// The pair has been whole for 60 s.
    Settled,
    /// A leader at level `local` has heard neither follower nor witness for the lease.
    Alone,
    /// A handover takes too long.
    HandOver,
}

/// A message between the machines of the two nodes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PeerMessage {
    /// Sent every heartbeat, and at once after a change.
    Beat {
        /// What the sender knows.
        configuration: Option<Configuration>,
        /// Whether the sender leads in that configuration; it may only know of it.
        leads: bool,
        /// Whether the sender has events.
        has_data: bool,
    },
    /// The leader of this epoch has promised the next one and asks the follower to take it.
    TakeOver {
        /// The epoch that ends.
        epoch: u64,
    },
    /// Brokers ask the follower to vote although it hears its leader.
    Unreachable {
        /// The epoch of that leader.
        epoch: u64,
    },
}

/// How the leader's follower is doing, as replication sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FollowerProgress {
    /// Its log agrees with ours and lacks little.
    Near,
    /// It has everything that was committed when [`CommitRule::Both`] was last put out.
    CaughtUp,
    /// It owes acknowledgements of syncs.
    Owes,
    /// An acknowledgement came; more are owed or not.
    Acknowledged {
        /// Whether it owes more.
        owes: bool,
    },
    /// It has everything that is written, and the leader takes no appends any more.
    Drained,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// The process has started.
    Start,
    /// A timer ran out.
    Elapsed(Timer),
    /// A peer's handshake was accepted.
    PeerUp {
        /// Its data.
        peer: Incarnation,
    },
    /// A message of the accepted peer.
    Peer {
        /// Who sent it.
        from: Incarnation,
        /// What it says.
        message: PeerMessage,
    },
    /// The witness answered.
    Witness(WitnessAnswer),
    /// How far this node's partitions are (inclusive).
    Logs {
        /// Newest synced sequences.
        durable: Sequences,
        /// Newest sequences known to be committed and on every member: the next floor.
        held: Sequences,
    },
    /// The follower is doing otherwise; only while this node leads.
    Follower(FollowerProgress),
    /// Replication is about to cut this node's log, so that it agrees with the leader's of this
    /// epoch. It cuts on [`Output::Cut`] and not before.
    Cutting {
        /// The epoch.
        epoch: u64,
    },
    /// Replication found or made this node's log to agree with the leader's of this epoch.
    Aligned {
        /// The epoch.
        epoch: u64,
    },
    /// A broker holds work for a partition without a leader.
    Vote,
    /// Whether any broker knows this process.
    Brokers(bool),
    /// A person asks the leader to hand over.
    HandOver,
    /// The disk has not finished a sync for too long: the leader should hand over.
    DiskStalled,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// Does not know yet what holds.
    Joining,
    /// Can't go on before somebody answers; the text is for people.
    Stalled(Stall),
    /// Takes records from the leader; a member or about to become one.
    Following {
        /// The reign.
        configuration: Configuration,
    },
    /// Has promised the next epoch and waits for the witness.
    Candidate,
    /// Numbers events.
    Leading {
        /// The reign.
        configuration: Configuration,
    },
    /// Leads, but takes no appends any more: the follower is about to take over.
    HandingOver {
        /// The reign.
        configuration: Configuration,
    },
}

/// Why a node can't go on by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stall {
    /// The witness does not answer and a change is due.
    Witness,
    /// The witness lost its record, and another node must report to it.
    WitnessWaits,
    /// A new pair begins when both nodes have met.
    Peer,
    /// This node is no member, and its leader is away.
    NotMember,
}

/// What the leader waits for before it acknowledges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CommitRule {
    /// Nothing moves.
    Held,
    /// Its own sync.
    Alone,
    /// Its own sync and the follower's.
    Both,
    /// What the leader says: this node follows.
    Told,
}

/// Something to be done. The loop carries outputs out in order; what stands behind a
/// [`Output::Save`] happens after the record is durable.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Output {
    /// Make the record durable. If that fails the process ends.
    Save(PairRecord),
    /// Send to the accepted peer, if there is one; it may get lost.
    Peer(PeerMessage),
    /// Send to the witness; it may get lost.
    Witness(WitnessRequest),
    /// Start a timer.
    Arm(Timer),
    /// Stop a timer.
    Disarm(Timer),
    /// Acknowledge by this rule from now on; no commit under the former rule follows.
    Commit(CommitRule),
    /// Be this from now on.
    Become(Standing),
    /// Replication may cut this node's log to agree with the leader's of this epoch.
    Cut {
        /// The epoch.
        epoch: u64,
    },
    /// Worth a line in the log and a counter.
    Note(Note),
    /// This node must not go on.
    Halt(Halt),
}

/// What people want to read in a log, and tests to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Note {
    /// A follower became leader.
    Failover,
    /// The leader goes on without its follower.
    Solo,
    /// A follower became member.
    Rejoined,
    /// A leader found that another one has its place.
    Deposed,
    /// The witness preferred another proposal.
    LostRace,
    /// The witness kept the leader that it hears.
    LeaderKept,
    /// A leader handed over.
    HandedOver,
}

/// Why a node must not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Halt {
    /// The directory was put back to an earlier state.
    PutBack,
    /// Another live process uses a copy of the directory.
    SecondProcess,
    /// Both nodes bring events of their own.
    BothBringData,
    /// The other node has another history.
    OtherLineage,
}
