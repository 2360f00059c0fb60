//! Why the two nodes do not accept each other, while they don't.

use std::time::{Duration, Instant};

/// Who does not accept whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// This node refuses another one.
    Us,
    /// The other node refuses this one.
    Them,
}

/// The newest refusal of each side. Refused nodes knock with every heartbeat, and each side may
/// accept and refuse on its own, so that only another sentence is news.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    us: Option<Refusal>,
    them: Option<Refusal>,
}

#[derive(Debug)]
struct Refusal {
    words: String,
    at: Instant,
}

impl Refusals {
    /// Somebody was refused; whether that is news.
    pub(super) fn refused(&mut self, by: By, words: String, now: Instant) -> bool {
        let slot = self.slot(by);
        let is_news = slot.as_ref().is_none_or(|former| former.words != words);
        *slot = Some(Refusal { words, at: now });
        is_news
    }

    /// That side accepts the other one.
    pub(super) fn accepted(&mut self, by: By) {
        *self.slot(by) = None;
    }

    /// What is wrong now. Whoever has not knocked for `patience` is gone.
    pub(super) fn words(&self, now: Instant, patience: Duration) -> Option<&str> {
        let is_recent = |refusal: &&Refusal| now.saturating_duration_since(refusal.at) <= patience;
        let all = [self.us.as_ref(), self.them.as_ref()];
        all.into_iter().flatten().find(is_recent).map(|refusal| refusal.words.as_str())
    }

    const fn slot(&mut self, by: By) -> &mut Option<Refusal> {
        match by {
            By::Us => &mut self.us,
            By::Them => &mut self.them,
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "any instant does as a beginning")]
mod tests {
    use super::*;

    #[test]
    fn only_another_sentence_is_news() {
        let now = Instant::now();
        let mut refusals = Refusals::default();
        assert!(refusals.refused(By::Us, "one".into(), now));
        assert!(!refusals.refused(By::Us, "one".into(), now));
        // The other side accepting this one, again and again, changes nothing.
        refusals.accepted(By::Them);
        assert!(!refusals.refused(By::Us, "one".into(), now));
        assert!(refusals.refused(By::Them, "one".into(), now), "the other side says it");
        assert!(refusals.refused(By::Us, "two".into(), now));
        refusals.accepted(By::Us);
        assert!(refusals.refused(By::Us, "two".into(), now));
    }

    #[test]
    fn what_is_over_is_not_shown() {
        let (now, patience) = (Instant::now(), Duration::from_millis(600));
        let mut refusals = Refusals::default();
        assert_eq!(refusals.words(now, patience), None);
        refusals.refused(By::Them, "wrong".into(), now);
        assert_eq!(refusals.words(now + patience, patience), Some("wrong"));
        assert_eq!(refusals.words(now + patience * 2, patience), None);
        refusals.accepted(By::Them);
        assert_eq!(refusals.words(now, patience), None);
    }
}
