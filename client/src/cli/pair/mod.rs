//! `starlog pair`: how pairs are, and who leads them.

mod hand_over;
mod remark;
mod report;

use broker::error_code::ErrorCode;
use serde::Serialize;

pub use remark::{Remark, Urgency, short, verdict};
pub use report::{PairReport, pairs};

use crate::cli::failure::{Failure, Stop};
use crate::cli::flags::{PairCommand, PairStatusFlags};
use crate::cli::output::{Alignment, Table, printable};
use crate::cli::session::Session;

/// Runs the command.
///
/// # Errors
/// [`Stop`] when no broker answers, there is no such pair, or it is not as it should be.
pub fn run(session: &Session, command: PairCommand) -> Result<(), Stop> {
    match command {
        PairCommand::Status(flags) => status(session, &flags),
        PairCommand::Handover(flags) => hand_over::run(session, &flags),
    }
}

fn status(session: &Session, flags: &PairStatusFlags) -> Result<(), Stop> {
    let status = session.connect()?.status(session.timeout).map_err(Failure::from)?;
    let mut pairs = pairs(&status);
    if let Some(store) = &flags.store {
        if status.topology.store(store.as_str()).is_none() {
            let sentence = format!("no store {store} is registered at the broker: check the name");
            return Err(Failure::local(ErrorCode::STORE_NOT_FOUND, sentence).into());
        }
        pairs.retain(|pair| pair.hosts(store));
    }
    let verdict = match pairs.is_empty() {
        true => "No pair is known: every partition has one replica.".to_owned(),
        false => verdict(pairs.iter().flat_map(|pair| &pair.remarks)),
    };
    let report = Report { pairs, verdict };
    session.printer().document(&report, || report.to_table())?;
    report.check(flags.require_whole).map_err(Stop::from)
}

#[derive(Debug, Serialize)]
struct Report {
    pairs: Vec<PairReport>,
    verdict: String,
}

impl Report {
    fn to_table(&self) -> String {
        format!("{}\n{}\n", pairs_table(&self.pairs), self.verdict)
    }

    /// Exit 0 promises a leader for every pair; and, if asked for, a second copy and a witness.
    fn check(&self, require_whole: bool) -> Result<(), Failure> {
        let names = |of: &dyn Fn(&&PairReport) -> bool| {
            let lineages = self.pairs.iter().filter(of).map(|pair| pair.lineage.clone());
            lineages.collect::<Vec<_>>()
        };
        let leaderless = names(&|pair| pair.leader.is_none());
        if !leaderless.is_empty() {
            let sentence = format!("nobody leads pair {}", leaderless.join(", "));
            return Err(Failure::new(ErrorCode::NO_WORKER, sentence).with("pairs", leaderless));
        }
        if !require_whole {
            return Ok(());
        }
        if self.pairs.is_empty() {
            return Err(Failure::new(ErrorCode::NO_WORKER, "no pair is registered at the broker"));
        }
        let degraded = names(&|pair| !pair.is_whole());
        if degraded.is_empty() {
            return Ok(());
        }
        let sentence = format!(
            "pair {} is not whole: it lacks a second copy or its witness, see above",
            degraded.join(", ")
        );
        Err(Failure::new(ErrorCode::NO_WORKER, sentence).with("pairs", degraded))
    }
}

/// Pairs with their nodes, for people, and what there is to say about them.
pub fn pairs_table(pairs: &[PairReport]) -> String {
    use Alignment::{Left, Right};
    let mut table = Table::new(&[
        ("PAIR", Left),
        ("NODE", Left),
        ("ROLE", Left),
        ("NOW", Left),
        ("MEMBER", Left),
        ("EPOCH", Right),
        ("BEHIND", Left),
        ("PEER", Left),
        ("WITNESS", Left),
        ("PARKED", Right),
    ]);
    let words = |text: &Option<String>| text.clone().unwrap_or_else(|| "?".to_owned());
    for pair in pairs {
        for node in &pair.nodes {
            let now = node.standing.split(':').next().unwrap_or_default();
            table.row([
                short(&pair.lineage).to_owned(),
                short(&node.node).to_owned(),
                words(&node.role),
                now.to_owned(),
                if node.member { "yes" } else { "no" }.to_owned(),
                node.epoch.map_or_else(|| "?".to_owned(), |epoch| epoch.to_string()),
                remark::lag(node).unwrap_or_else(|| "-".to_owned()),
                words(&node.peer),
                words(&node.witness),
                node.parked_records.to_string(),
            ]);
        }
    }
    let mut text = if pairs.is_empty() { String::new() } else { table.render() };
    for pair in pairs {
        for Remark { urgency, text: said } in &pair.remarks {
            let name = short(&pair.lineage);
            text.push_str(&format!("{} pair {name}: {}\n", urgency.sign(), printable(said)));
        }
    }
    text
}

#[cfg(test)]
mod tests;
