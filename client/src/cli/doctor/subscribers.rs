//! Whether those who follow the log get on.

use super::examine::{Facts, Finding, Part};
use super::projections::{Heads, Watched, behind, heads};
use crate::cli::pair::Urgency;

/// Readers that take nothing, and projections that stand still.
///
/// A subscriber of the feed alone is known to nobody, and neither is a projection that does not
/// tell its progress.
pub(super) fn of_subscribers(facts: &Facts<'_>, findings: &mut Vec<Finding>) {
    for (endpoint, reply) in facts.processes() {
        let reads = &reply.reads;
        if reads.stalled > 0 {
            let text = format!(
                "{} of {} replays of the store at {endpoint} wait for readers that have taken \
                 nothing for up to {} s: look at the programs that read; after a minute a replay \
                 is given up, and its reader has to ask again",
                reads.stalled,
                reads.open,
                reads.stalled_ms / 1000
            );
            findings.push(Finding::new(Part::Subscriber, Urgency::Wait, text));
        }
    }
    for service in &facts.projections.silent {
        let text = format!(
            "{service} has a worker that does not tell how far its projection is: see whether \
             that process still runs as it should"
        );
        findings.push(Finding::act(Part::Subscriber, text));
    }
    let heads = facts.status.as_ref().map(heads).unwrap_or_default();
    findings.extend(facts.projections.watched.iter().filter_map(|one| of_watched(one, &heads)));
}

fn of_watched(watched: &Watched, heads: &Heads<'_>) -> Option<Finding> {
    let now = watched.later.as_ref().unwrap_or(&watched.first);
    let who = format!("projection {} of {}, process {}", now.projection, now.store, now.process);
    if let Some(error) = &now.error {
        let text = format!("{who}, has ended: {error}; mend that, and start it again");
        return Some(Finding::act(Part::Subscriber, text));
    }
    // What was behind the head at the first look has had time to move.
    let later = watched.later.as_ref()?;
    let now_behind = behind(later, heads);
    let stuck = |place: &&(u16, u64, u64)| now_behind.contains(place);
    let was_behind = behind(&watched.first, heads);
    let stuck: Vec<_> = was_behind.iter().filter(stuck).collect();
    let (partition, place, head) = stuck.first()?;
    let others = match stuck.len() {
        1 => String::new(),
        count => format!(" and {} partitions more", count - 1),
    };
    let text = format!(
        "{who}, stands still at {place} of {}/{partition}{others}, where the log is at {head}: \
         look at what its handler waits for, then start it again",
        later.store
    );
    Some(Finding::act(Part::Subscriber, text))
}
