//! What must hold at all times, and whether everything is well.

use std::collections::BTreeSet;

use broker::witness::Configuration;
use store::pair::protocol::Standing;

use super::World;
use crate::appender::Appender;
use crate::member::Run;
use crate::network::{Host, MEMBERS};

impl World {
    /// Whether both nodes, with the directories that they have now, are members.
    pub(crate) fn is_whole(&self) -> bool {
        let ours: BTreeSet<_> = MEMBERS.map(|host| self.disk(host).incarnation).into();
        let record = self.witness.record(self.disk(MEMBERS[0]).lineage);
        let held = record.and_then(|record| record.configuration());
        held.is_some_and(|held| held.members.iter().copied().collect::<BTreeSet<_>>() == ours)
    }

    /// Whether both members have everything, everybody was told, and nobody waits.
    pub(super) fn is_well(&self) -> bool {
        let leads = |host: &Host| self.process(*host).is_some_and(Run::is_leading);
        let [Some(leader), None] = ({
            let mut leaders = MEMBERS.into_iter().filter(leads);
            [leaders.next(), leaders.next()]
        }) else {
            return false;
        };
        let other = MEMBERS[usize::from(leader == MEMBERS[0])];
        let follows = self
            .process(other)
            .is_some_and(|run| matches!(run.standing(), Standing::Following { .. }));
        let same = self.disk(leader).logs.iter().zip(&self.disk(other).logs).enumerate();
        let mut same = same.map(|(number, (ours, theirs))| {
            ours.mark() == theirs.mark()
                && ours.committed() == ours.written()
                && theirs.committed() == ours.committed()
                && self.readers.iter().all(|reader| reader.last(number) == ours.committed())
        });
        follows
            && self.is_whole()
            && self.appenders.iter().all(Appender::is_idle)
            && same.all(|same| same)
    }

    /// What must hold at all times, over all processes.
    pub(super) fn assert_sound(&mut self) {
        for host in MEMBERS {
            let Some(run) = self.process(host) else { continue };
            if let Some(configuration) = run.pair().configuration().cloned() {
                if run.is_leading() {
                    self.assert_copied(host, &configuration);
                }
                let known = self.configurations.entry(configuration.epoch);
                let known = known.or_insert_with(|| configuration.clone());
                assert_eq!(*known, configuration, "two configurations have one epoch");
            }
        }
    }

    /// What a leader shows is on the disk of every member.
    fn assert_copied(&self, leader: Host, configuration: &Configuration) {
        let other = MEMBERS[usize::from(leader == MEMBERS[0])];
        if !configuration.has(self.disk(other).incarnation) {
            return;
        }
        for (ours, theirs) in self.disk(leader).logs.iter().zip(&self.disk(other).logs) {
            let committed = ours.committed();
            let copied = theirs.durable() >= committed;
            assert!(copied, "{committed} is shown and {other} has {}", theirs.durable());
            let same = ours.mark_at(committed) == theirs.mark_at(committed);
            assert!(same, "{committed} is shown and {other} has something else there");
        }
    }

    /// What everybody is, for people.
    pub(super) fn picture(&self) -> String {
        let mut lines = Vec::new();
        for host in MEMBERS {
            let logs: Vec<String> = self
                .disk(host)
                .logs
                .iter()
                .map(|log| {
                    let (written, durable) = (log.written(), log.durable());
                    format!("{written}/{durable}/{} {:?}", log.committed(), log.rule())
                })
                .collect();
            let standing = self.process(host).map(|run| format!("{:?}", run.standing()));
            let incarnation = self.disk(host).incarnation;
            lines.push(format!("{host} {incarnation:?}: {standing:?}, {}", logs.join(", ")));
        }
        let record = self.witness.record(self.disk(MEMBERS[0]).lineage);
        lines.push(format!("witness: {:?}", record.and_then(|record| record.configuration())));
        let idle: Vec<bool> = self.appenders.iter().map(Appender::is_idle).collect();
        lines.push(format!("clients idle: {idle:?}"));
        let reads = self.readers.iter().map(|reader| reader.last(0));
        lines.push(format!("readers: {:?}", reads.collect::<Vec<_>>()));
        lines.join("\n")
    }
}
