//! Whether a request is taken in, as the reign is right now, and which thread does it.

use std::time::Duration;

use broker::dialect::ServiceName;
use broker::error_code::ErrorCode;

use crate::server::answer::Failure;
use crate::server::reign::{Closed, Intake, ReignState};

/// How long a client should wait when no appends are taken for a reason that may last.
pub(super) const CLOSED_RETRY: Duration = Duration::from_millis(500);

/// Most bytes of requests that are worth doing on the loop's thread: beyond, it is better to
/// prepare the next batch while the disk syncs, on threads of their own.
const HERE_BYTES_MAX: usize = 64 * 1024;

/// Whether the requests that wait, each for a service and of so many bytes, are appended on the
/// loop's own thread: all are for one partition, they are little, and nothing is under way.
pub(super) fn is_done_here<'a>(
    under_way: usize,
    waiting: impl Iterator<Item = (&'a ServiceName, usize)>,
) -> bool {
    let mut first = None;
    let mut sum = 0;
    for (service, bytes) in waiting {
        sum += bytes;
        if *first.get_or_insert(service) != service || sum > HERE_BYTES_MAX {
            return false;
        }
    }
    under_way == 0 && first.is_some()
}

/// What to do with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Admission {
    /// Take it in.
    Take,
    /// Take it in if it is a read; refuse an append with this.
    ReadOnly(Failure),
    /// Keep it until that is decided: this node may lead on, or another one is about to.
    Wait,
    /// Refuse it.
    Refuse(Failure),
}

/// Decides about a request that a broker has stamped with `epoch` (0 if it has not). `confirmed`
/// says whether nobody else can have taken the lead by now.
pub(super) fn admit(state: &ReignState, epoch: u64, confirmed: bool) -> Admission {
    // A request that was sent to an earlier leadership may have been answered by another leader.
    let stale = epoch != 0 && !(state.since().0..=state.epoch.0).contains(&epoch);
    if !state.leading || stale {
        return Admission::Refuse(not_leader(state));
    }
    if !confirmed {
        return Admission::Wait;
    }
    let busy = |sentence: &str| Admission::ReadOnly(Failure::new(ErrorCode::BUSY, sentence));
    match state.intake {
        Intake::Open => Admission::Take,
        // It leads, but its first records are not on their way yet; or it leads no longer than
        // until the other node has everything. Who leads next is given the request, too.
        Intake::Closed(Closed::NotLeader | Closed::HandingOver) => Admission::Wait,
        Intake::Closed(Closed::OneCopy) => busy(
            "one copy is left and two are wanted (--min-copies 2): appends go on when the other \
             node is back",
        ),
        Intake::Closed(Closed::Stalled) => busy(
            "neither the other node of the pair nor the witness answers: appends go on when one \
             of them does",
        ),
    }
}

/// The refusal of somebody who should ask another node.
pub(in crate::server) fn not_leader(state: &ReignState) -> Failure {
    let failure = Failure::new(
        ErrorCode::NOT_LEADER,
        "this node does not lead the partition in that epoch: ask the broker for its topology",
    );
    let failure = failure.number("epoch", state.epoch.0);
    match state.leader {
        Some(leader) => failure.text("leader", leader),
        None => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::reign::leading;

    fn code(admission: &Admission) -> Option<ErrorCode> {
        match admission {
            Admission::Take | Admission::Wait => None,
            Admission::ReadOnly(failure) | Admission::Refuse(failure) => Some(failure.code),
        }
    }

    #[test]
    fn a_confirmed_leader_takes_what_was_sent_to_this_leadership() {
        // It leads since epoch 5, now in epoch 7.
        let state = leading(5, 7);
        for (epoch, taken) in [(0, true), (4, false), (5, true), (6, true), (7, true), (8, false)] {
            let admission = admit(&state, epoch, true);
            assert_eq!(admission == Admission::Take, taken, "{epoch}: {admission:?}");
            if !taken {
                assert_eq!(code(&admission), Some(ErrorCode::NOT_LEADER));
            }
        }
    }

    #[test]
    fn little_for_one_partition_is_done_here() {
        let [zero, one] = [0, 1].map(|number| ServiceName::partition("orders", number).unwrap());
        type Row<'a> = (usize, &'a [(&'a ServiceName, usize)], bool);
        let rows: [Row<'_>; 7] = [
            (0, &[], false),
            (0, &[(&zero, 500)], true),
            (1, &[(&zero, 500)], false),
            (0, &[(&zero, 500), (&zero, 700)], true),
            (0, &[(&zero, 500), (&one, 700)], false),
            (0, &[(&zero, HERE_BYTES_MAX - 1), (&zero, 1)], true),
            (0, &[(&zero, HERE_BYTES_MAX), (&zero, 1)], false),
        ];
        for (under_way, waiting, here) in rows {
            let decided = is_done_here(under_way, waiting.iter().copied());
            assert_eq!(decided, here, "{under_way} under way, {waiting:?}");
        }
    }

    #[test]
    fn without_a_confirmation_it_waits() {
        assert_eq!(admit(&leading(5, 5), 5, false), Admission::Wait);
    }

    #[test]
    fn a_follower_names_epoch_and_leader() {
        let mut state = leading(5, 5);
        state.leading = false;
        state.leader = Some(uuid::Uuid::from_u128(9));
        for confirmed in [true, false] {
            let Admission::Refuse(failure) = admit(&state, 5, confirmed) else { panic!() };
            let details = format!("{:?}", failure.body.details);
            assert!(details.contains("Number(5)"), "{details}");
            assert!(details.contains("00000009"), "{details}");
        }
    }

    #[test]
    fn a_closed_intake_waits_or_says_why() {
        let rows = [
            (Closed::NotLeader, None),
            (Closed::HandingOver, None),
            (Closed::OneCopy, Some("--min-copies 2")),
            (Closed::Stalled, Some("witness")),
        ];
        for (closed, words) in rows {
            let mut state = leading(5, 5);
            state.intake = Intake::Closed(closed);
            match (admit(&state, 5, true), words) {
                (Admission::Wait, None) => {}
                (Admission::ReadOnly(failure), Some(words)) => {
                    assert_eq!(failure.code, ErrorCode::BUSY);
                    assert!(failure.body.message.contains(words), "{failure:?}");
                }
                (admission, _) => panic!("{closed:?}: {admission:?}"),
            }
        }
    }
}
