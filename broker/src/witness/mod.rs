//! The witness: a small durable register that says who leads a pair.
//!
//! Nodes of a pair beat, report and propose; the witness tells what holds. It decides by
//! compare-and-set on the epoch, so that of two proposals for one epoch one is granted. It holds
//! nobody's events.
//!
//! ```text
//!   frames ─ codec ─> WitnessRequest ─┐
//!   who was heard within the lease ───┴─> Witness ─> Save(WitnessRecord), Answer(WitnessAnswer)
//! ```

mod amnesia;
pub mod codec;
pub mod configuration;
mod decide;
mod machine;
pub mod message;
pub mod record;

#[cfg(test)]
mod tests;

pub use codec::{CodecError, Token, decode_answer, decode_request, encode_answer, encode_request};
pub use configuration::{
    Configuration, Incarnation, Lineage, MEMBERS_MAX, PARTITIONS_MAX, PartitionName, Position,
    ProcessId, ProposalNumber, Sequences, WitnessId, covers,
};
pub use machine::{Witness, WitnessInput, WitnessOutput};
pub use message::{Ask, WitnessAnswer, WitnessRefusal, WitnessRequest};
pub use record::{NodeRecord, WitnessRecord};
