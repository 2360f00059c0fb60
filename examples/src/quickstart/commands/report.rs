//! What came of the commands.

use std::fmt;

use crate::table::grouped;

/// What came of the commands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandReport {
    /// Commands that Titanic has accepted.
    pub accepted: usize,
    /// Replies that are those of their commands.
    pub replies: usize,
    /// Replies that belong to something else.
    pub wrong: usize,
    /// Replies that were another one when they were fetched again.
    pub changed: usize,
    /// Commands that were still open after they had been closed.
    pub open: usize,
    /// Commands that the worker was given more than once.
    pub repeated: usize,
}

impl CommandReport {
    /// What does not hold, in sentences; empty if all is well.
    #[must_use]
    pub fn failures(&self) -> Vec<String> {
        let missing = self.accepted.saturating_sub(self.replies + self.wrong);
        let counts = [
            (missing, "commands were accepted and never answered"),
            (self.wrong, "replies do not belong to their commands"),
            (self.changed, "replies changed after they had been fetched"),
            (self.open, "commands were open after they had been closed"),
        ];
        let broken = counts.iter().filter(|(count, _)| *count > 0);
        broken.map(|(count, words)| format!("{} {words}", grouped_count(*count))).collect()
    }
}

fn grouped_count(count: usize) -> String {
    grouped(u64::try_from(count).unwrap_or(u64::MAX))
}

impl fmt::Display for CommandReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let accepted = grouped_count(self.accepted);
        writeln!(f, "  commands {accepted} accepted while their worker was away")?;
        writeln!(f, "           kill -9 of Titanic and broker 1, then of Titanic while it worked")?;
        let (replies, repeated) = (grouped_count(self.replies), grouped_count(self.repeated));
        writeln!(f, "           {replies} replies collected, {repeated} of them worked on twice")?;
        for failure in self.failures() {
            writeln!(f, "FAILED: {failure}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound() -> CommandReport {
        CommandReport { accepted: 1_200, replies: 1_200, repeated: 3, ..CommandReport::default() }
    }

    #[test]
    fn a_sound_step_reads_well() {
        let text = sound().to_string();
        assert_eq!(sound().failures(), Vec::<String>::new());
        for part in ["1 200 accepted", "1 200 replies collected, 3 of them worked on twice"] {
            assert!(text.contains(part), "{part} in:\n{text}");
        }
    }

    #[test]
    fn each_broken_promise_is_a_failure() {
        let breaks: [fn(&mut CommandReport); 4] = [
            |report| report.replies -= 1,
            |report| {
                report.replies -= 1;
                report.wrong = 1;
            },
            |report| report.changed = 1,
            |report| report.open = 1,
        ];
        for (index, plant) in breaks.iter().enumerate() {
            let mut report = sound();
            plant(&mut report);
            assert_eq!(report.failures().len(), 1, "row {index}");
            assert!(report.to_string().contains("FAILED: "), "row {index}");
        }
    }
}
