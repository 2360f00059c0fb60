//! What members and the witness say to each other.
//!
//! ```text
//! frame 0   0  3 "SLW"   3  1 version (1)   4  4 zero   8  8 token, echoed by the answer
//! frame 1   a MessagePack map with named fields: a [`WitnessRequest`] or a [`WitnessAnswer`]
//! ```
//!
//! There is one answer for everything: what the register says now. From it the asker derives what
//! became of its proposals: an epoch above its own is a decision; its own epoch together with
//! `answered` at or above its newest number is a refusal that nothing can turn into a grant.

use serde::{Deserialize, Serialize};

use super::configuration::{
    Configuration, Incarnation, Lineage, Position, ProcessId, ProposalNumber, WitnessId,
    are_bounded,
};

/// A member's message.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WitnessRequest {
    /// History of the pair; one register each.
    pub lineage: Lineage,
    /// Who asks.
    pub member: Incarnation,
    /// Its process.
    pub process: ProcessId,
    /// How far its log is. In a beat it is empty until the log is known to agree with the leader's,
    /// because the witness holds the node to what it says there.
    pub position: Position,
    /// What it wants.
    pub ask: Ask,
}

impl WitnessRequest {
    /// Whether its parts stay within the limits.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let configuration = match &self.ask {
            Ask::Beat => None,
            Ask::Report { configuration, .. } => configuration.as_ref(),
            Ask::Propose { next, .. } => Some(next),
        };
        are_bounded(&self.position.durable)
            && configuration.is_none_or(|configuration| {
                configuration.is_sound() && configuration.lineage == self.lineage
            })
    }
}

/// What a member wants.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ask {
    /// Nothing but to be heard; the answer tells what is new.
    Beat,
    /// To be known: sent at each start, and whenever another witness id answers. It cancels the
    /// member's open proposals.
    Report {
        /// The witness that it is for, as far as the member knows. Another one only says who it
        /// is: a report that was made for a former witness may be older than what came after it.
        witness: Option<WitnessId>,
        /// Newest configuration that the member knows. A report without one tells nothing.
        configuration: Option<Configuration>,
        /// Number of this report: above all that the member has used for proposals and reports.
        /// An answer that names it, or a higher one, was given after the witness had read it.
        number: ProposalNumber,
        /// The node that the member asked to take in and does not know the outcome of.
        peer: Option<Incarnation>,
    },
    /// Another configuration.
    Propose {
        /// The witness that the member last reported to.
        witness: WitnessId,
        /// Above all that the member has used.
        number: ProposalNumber,
        /// Epoch that it replaces; 0 to make the register. `next.epoch` is above it by one, but
        /// for 0.
        base: u64,
        /// What shall hold.
        next: Configuration,
        /// The leader of `base` agrees to be replaced and has promised the next epoch.
        cosigned: bool,
    },
}

/// The witness's message.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WitnessAnswer {
    /// Who answers.
    pub witness: WitnessId,
    /// To whom.
    pub member: Incarnation,
    /// To which of its processes: answers to a former one say nothing to the next.
    pub process: ProcessId,
    /// What holds; `None` while the witness knows no register of this history.
    pub configuration: Option<Configuration>,
    /// Up to 16 configurations, oldest first, in answers to reports and proposals; the newest is
    /// the one above.
    pub history: Vec<Configuration>,
    /// Highest number of the asker that is decided (inclusive).
    pub answered: ProposalNumber,
    /// Why the asker did not get what it wanted.
    pub refusal: Option<WitnessRefusal>,
}

/// Why the witness does not do what it is asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WitnessRefusal {
    /// Another configuration holds: the race was lost, or the proposal is old.
    Lost,
    /// The leader was heard just now and does not agree.
    LeaderAlive,
    /// The asker is no member.
    NotMember,
    /// Its log ends below what was committed when the configuration was made.
    BelowFloor,
    /// Its log, or that of the one it wants to take in, is behind what it was, or a member's is
    /// below the floor: a directory put back to an earlier state.
    PutBack {
        /// Whose log.
        node: Incarnation,
    },
    /// Another live process has the same incarnation: a copied directory.
    SecondProcess,
    /// The record was lost, and this member has not reported yet. Nothing is decided before.
    Missing {
        /// Who must report.
        node: Incarnation,
    },
    /// The record was lost, and nobody who knows a configuration has reported.
    Empty,
    /// The proposal contradicts itself.
    Invalid,
}
