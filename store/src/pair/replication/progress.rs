//! What the partitions together say about a follower.

use std::collections::{BTreeMap, BTreeSet};

use broker::witness::PartitionName;

use super::lane::Lane;
use crate::pair::protocol::FollowerProgress;

/// Counts the partitions that are not yet where they should be, so that an acknowledgement costs
/// the same however many partitions there are.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Whether there is a partition. Of a follower with none nothing can be said: it may be that
    /// they were not told of yet.
    begun: bool,
    /// Those in which no records flow yet.
    unaligned: BTreeSet<PartitionName>,
    /// Those with many records that were not sent yet.
    distant: BTreeSet<PartitionName>,
    /// Those with records that the follower has not acknowledged.
    owing: BTreeSet<PartitionName>,
    /// What must be acknowledged before the follower has caught up; `None` if nobody asks.
    target: Option<BTreeMap<PartitionName, u64>>,
    /// Whether the leader takes nothing in any more.
    pub(super) draining: bool,
}

impl Progress {
    /// A partition has moved.
    pub(super) fn update(
        &mut self,
        name: &PartitionName,
        lane: &Lane,
        out: &mut Vec<FollowerProgress>,
    ) {
        let was_near = self.distant.is_empty();
        self.begun = true;
        set(&mut self.unaligned, name, !lane.is_streaming());
        set(&mut self.distant, name, !lane.is_near());
        let owed = !self.owing.is_empty();
        set(&mut self.owing, name, lane.owes());
        if let Some(target) = &mut self.target
            && target.get(name).is_some_and(|wanted| *wanted <= lane.counted)
        {
            target.remove(name);
        }
        // Before it is said to be near: whoever hears that may ask anew when it has caught up, and
        // must not take the answer to an earlier question for the one to this.
        self.caught_up(out);
        if !was_near && self.is_near() {
            out.push(FollowerProgress::Near);
        }
        if !owed && !self.owing.is_empty() {
            out.push(FollowerProgress::Owes);
        }
    }

    /// Nobody asks any more when the follower has caught up.
    pub(super) fn forget_target(&mut self) {
        self.target = None;
    }

    /// An acknowledgement was counted.
    pub(super) fn acknowledged(&self, out: &mut Vec<FollowerProgress>) {
        let owes = !self.owing.is_empty();
        out.push(FollowerProgress::Acknowledged { owes });
        if self.draining && !owes && self.is_near() {
            out.push(FollowerProgress::Drained);
        }
    }

    /// From now on the follower has caught up once it has acknowledged what is committed now.
    pub(super) fn set_target<'a>(
        &mut self,
        lanes: impl Iterator<Item = (&'a PartitionName, &'a Lane)>,
        out: &mut Vec<FollowerProgress>,
    ) {
        let open = lanes.filter(|(_, lane)| lane.counted < lane.committed);
        self.target = Some(open.map(|(name, lane)| (name.clone(), lane.committed)).collect());
        self.caught_up(out);
    }

    fn caught_up(&mut self, out: &mut Vec<FollowerProgress>) {
        let reached = self.target.as_ref().is_some_and(BTreeMap::is_empty);
        if reached && self.begun && self.unaligned.is_empty() {
            self.target = None;
            out.push(FollowerProgress::CaughtUp);
        }
    }

    /// Says again what may have come too early for whoever listens.
    pub(super) fn repeat(&self, out: &mut Vec<FollowerProgress>) {
        if self.is_near() {
            out.push(FollowerProgress::Near);
            if self.draining && self.owing.is_empty() {
                out.push(FollowerProgress::Drained);
            }
        }
    }

    /// Whether the follower owes acknowledgements.
    pub(super) fn owes(&self) -> bool {
        !self.owing.is_empty()
    }

    fn is_near(&self) -> bool {
        self.begun && self.unaligned.is_empty() && self.distant.is_empty()
    }
}

fn set(names: &mut BTreeSet<PartitionName>, name: &PartitionName, is_in: bool) {
    if is_in && !names.contains(name) {
        names.insert(name.clone());
    } else if !is_in {
        names.remove(name);
    }
}
