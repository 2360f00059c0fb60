//! Rules of the world that can be taken out, to see that the checker misses them.

/// A rule that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// All hold.
    None,
    /// An id is in the log once at most.
    IdsAreUnique,
    /// An append is answered once it is committed: accepts.
    AcceptAfterCommit,
    /// The same for Dispatched.
    DispatchAfterCommit,
    /// The reply that counts is the first.
    FirstReplyWins,
    /// A look-up sees all that is committed.
    LookUpsAreStrong,
    /// Of two that claim a shard, one gets it.
    ClaimsExcludeEachOther,
}
