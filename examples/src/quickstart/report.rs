//! What a person wants to see at the end, and whether every promise was kept.

use std::{fmt, path::PathBuf, time::Duration};

use crate::{
    history::Verdict,
    quickstart::verify::ViewComparison,
    table::{Table, grouped},
    topology::HostStatus,
};

/// A fault and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaultReport {
    /// What happened, to whom and when.
    pub words: String,
    /// For a killed store process: how long its partitions took no appends.
    pub outage: Option<Duration>,
    /// For a killed node of a pair: from its new start until it was a member again.
    pub away: Option<Duration>,
}

/// What a run found out.
#[derive(Debug, Clone)]
pub struct Report {
    /// What was appended, in a few words.
    pub title: String,
    /// How long the load took.
    pub load: Duration,
    /// Appends that the application had to send again.
    pub retries: u64,
    /// The faults, in order.
    pub faults: Vec<FaultReport>,
    /// Nodes that keep each partition.
    pub copies: usize,
    /// Feed messages lost on purpose.
    pub dropped_messages: u64,
    /// What the projection hosts counted.
    pub hosts: Vec<HostStatus>,
    /// Hosts that did not reach the head of the log in time.
    pub late_hosts: Vec<usize>,
    /// The log against what was acknowledged.
    pub verdict: Verdict,
    /// The views against a full replay.
    pub views: Vec<ViewComparison>,
    /// What the views show.
    pub tables: Vec<Table>,
    /// Where everything lies.
    pub data: PathBuf,
}

impl Report {
    /// What does not hold, in sentences; empty if all is well.
    #[must_use]
    pub fn failures(&self) -> Vec<String> {
        let mut failures: Vec<String> =
            self.verdict.violations.iter().map(ToString::to_string).collect();
        if !self.hosts.iter().all(HostStatus::gaps_closed) {
            let found = self.sum(|host| host.gaps_found);
            let closed = self.sum(|host| host.gaps_repaired + host.gaps_cut_off);
            failures.push(format!("{found} gaps were found and {closed} closed"));
        }
        let lost = self.sum(|host| host.events_lost);
        if lost > 0 {
            failures.push(format!("{lost} events never reached a projection host"));
        }
        for index in &self.late_hosts {
            failures.push(format!("host {} did not reach the end of the log", index + 1));
        }
        for views in self.views.iter().filter(|views| views.different > 0) {
            failures.push(format!(
                "{} documents of host {} differ from a full replay, for example {}",
                views.different,
                views.host + 1,
                views.examples.join(", ")
            ));
        }
        failures
    }

    fn sum(&self, number: impl Fn(&HostStatus) -> u64) -> u64 {
        self.hosts.iter().map(number).sum()
    }

    fn rate(&self) -> u64 {
        let milliseconds = self.load.as_millis().max(1);
        let events = u128::from(self.verdict.acknowledged);
        u64::try_from(events * 1_000 / milliseconds).unwrap_or(u64::MAX)
    }

    fn write_events(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.verdict.counts;
        let acknowledged = grouped(self.verdict.acknowledged);
        writeln!(f, "  events   {acknowledged} acknowledged ({})", self.title)?;
        writeln!(
            f,
            "           {} records in the log: lost {}, doubled {}, altered {}, out of order {}",
            grouped(self.verdict.in_log.saturating_sub(self.verdict.of_system)),
            counts.lost,
            counts.doubled,
            counts.altered,
            counts.disordered
        )?;
        if self.copies > 1 {
            let changes = grouped(self.verdict.of_system);
            let nodes = match counts.unequal {
                0 => String::from("the same bytes on both nodes of each pair"),
                unequal => format!("both nodes DIFFER in {unequal} partitions"),
            };
            writeln!(f, "           {changes} records of $topology, {nodes}")?;
        }
        let seconds = self.load.as_secs_f64();
        writeln!(f, "  rate     {} events/s over {seconds:.1} s", grouped(self.rate()))
    }

    fn write_faults(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.faults.iter().enumerate() {
            let label = if index == 0 { "faults" } else { "" };
            let colon = if fault.outage.is_some() { ":" } else { "" };
            writeln!(f, "  {label:<7}  {}{colon}", fault.words)?;
            if let Some(outage) = fault.outage {
                write!(f, "           outage {} ms", outage.as_millis())?;
                match fault.away {
                    Some(away) => {
                        let away = away.as_millis();
                        writeln!(f, ", a member again {away} ms after it was started again")?;
                    }
                    None => writeln!(f)?,
                }
            }
        }
        if self.retries > 0 {
            writeln!(f, "           {} appends sent again", grouped(self.retries))?;
        }
        Ok(())
    }

    fn write_feed(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  feed     {} messages dropped on purpose", grouped(self.dropped_messages))?;
        writeln!(
            f,
            "           gaps found {}, repaired {}, events lost {}",
            self.sum(|host| host.gaps_found),
            self.sum(|host| host.gaps_repaired),
            self.sum(|host| host.events_lost)
        )?;
        if self.copies > 1 {
            writeln!(f, "           new reigns noticed {}", self.sum(|host| host.failovers))?;
        }
        match self.sum(|host| host.gaps_cut_off) {
            0 => Ok(()),
            open => writeln!(f, "           gaps open when their host was killed {open}"),
        }
    }

    fn write_views(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, views) in self.views.iter().enumerate() {
            let label = if index == 0 { "views" } else { "" };
            let documents = grouped(views.documents);
            let verdict = match views.different {
                0 => String::from("equal to a full replay"),
                different => format!("{} DIFFER from a full replay", grouped(different)),
            };
            writeln!(f, "  {label:<7}  host {}: {documents} documents, {verdict}", views.host + 1)?;
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for table in &self.tables {
            writeln!(f, "{table}")?;
        }
        self.write_events(f)?;
        self.write_faults(f)?;
        self.write_feed(f)?;
        self.write_views(f)?;
        writeln!(f, "  data     {} (kept)", self.data.display())?;
        for failure in self.failures() {
            writeln!(f, "FAILED: {failure}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Counts, Violation};
    use store::{EventId, StreamName};

    fn sound() -> Report {
        Report {
            title: String::from("orders"),
            load: Duration::from_millis(2_500),
            retries: 0,
            faults: Vec::new(),
            copies: 2,
            dropped_messages: 9,
            hosts: vec![HostStatus { gaps_found: 4, gaps_repaired: 4, ..HostStatus::default() }],
            late_hosts: Vec::new(),
            verdict: Verdict { acknowledged: 100_000, in_log: 100_000, ..Verdict::default() },
            views: vec![ViewComparison { documents: 1_234, ..ViewComparison::default() }],
            tables: Vec::new(),
            data: PathBuf::from("/tmp/data"),
        }
    }

    #[test]
    fn a_sound_run_reads_well() {
        let report = sound();
        assert_eq!(report.failures(), Vec::<String>::new());
        let text = report.to_string();
        for part in [
            "100 000 acknowledged",
            "40 000 events/s over 2.5 s",
            "lost 0, doubled 0",
            "the same bytes on both nodes of each pair",
            "gaps found 4, repaired 4, events lost 0",
            "host 1: 1 234 documents, equal to a full replay",
            "/tmp/data (kept)",
        ] {
            assert!(text.contains(part), "{part} in:\n{text}");
        }
    }

    #[test]
    fn a_killed_leader_is_told_with_outage_and_return() {
        let killed = FaultReport {
            words: String::from("kill -9 of store 2a, the leader of pair 2, at event 7, for 1.5s"),
            outage: Some(Duration::from_millis(812)),
            away: Some(Duration::from_millis(1_040)),
        };
        let alone = FaultReport { away: None, ..killed.clone() };
        let host = FaultReport { words: String::from("stop of host 1"), outage: None, away: None };
        let text = Report { faults: vec![host, killed, alone], ..sound() }.to_string();
        let told = "at event 7, for 1.5s:\n           outage 812 ms, a member again 1040 ms after \
                    it was started again\n";
        assert!(text.contains(told), "{text}");
        assert!(text.contains("           outage 812 ms\n"), "{text}");
        assert!(text.contains("  faults   stop of host 1\n"), "{text}");
    }

    #[test]
    fn each_broken_promise_is_a_failure() {
        let lost = Violation::Lost {
            id: EventId(uuid::Uuid::nil()),
            stream: StreamName::try_from("order-1").unwrap(),
        };
        let breaks: [fn(&mut Report); 4] = [
            |report| report.hosts[0].gaps_repaired = 3,
            |report| report.hosts[0].events_lost = 1,
            |report| report.late_hosts.push(1),
            |report| report.views[0].different = 1,
        ];
        for (index, plant) in breaks.iter().enumerate() {
            let mut report = sound();
            plant(&mut report);
            assert_eq!(report.failures().len(), 1, "row {index}");
            assert!(report.to_string().contains("FAILED: "), "row {index}");
        }
        let mut report = sound();
        report.verdict.counts = Counts { lost: 1, ..Counts::default() };
        report.verdict.violations.push(lost);
        assert_eq!(report.failures().len(), 1);
    }
}
