//! `starlog doctor`: asks everybody, tries what users do, and names what is stuck.
//!
//! ```text
//!  brokers ──topology──┐
//!  stores ───status────┼──► examine ──► findings, the most urgent first ──► exit code
//!  reads, feeds ─probe─┤
//!  projections ─watch──┘
//! ```

mod disks;
mod examine;
mod probe;
mod projections;
mod subscribers;
#[cfg(test)]
mod tests;
mod versions;

use client::{Client, Endpoint};
use serde::Serialize;

use examine::{Facts, Finding, examine};
use probe::probe_all;
use projections::watch_all;

use crate::cli::brokers::ask_each;
use crate::cli::exit;
use crate::cli::failure::{Failure, Stop};
use crate::cli::output::printable;
use crate::cli::pair::verdict;
use crate::cli::session::Session;

/// Prints what is stuck, and what to do.
///
/// # Errors
/// [`Stop`] with the exit code that says how bad it is.
pub fn run(session: &Session) -> Result<(), Stop> {
    let brokers = ask_each(session)?;
    let answering = brokers.iter().find(|broker| broker.answer.is_ok());
    let mut facts = Facts { brokers: &brokers, ..Facts::default() };
    if let Some(broker) = answering {
        let client = one_client(session, &broker.endpoint)?;
        let status = client.status(session.timeout).map_err(Failure::from)?;
        facts.probes = probe_all(&client, &status, session.timeout)?;
        facts.projections = watch_all(&client, &status, session.timeout);
        facts.status = Some(status);
    }
    let findings = examine(&facts);
    let report = Report {
        healthy: findings.is_empty(),
        verdict: verdict(findings.iter().map(|finding| &finding.remark)),
        findings,
    };
    session.printer().document(&report, || report.to_table())?;
    match report.exit_code() {
        exit::OK => Ok(()),
        code => Err(Stop::Found(code)),
    }
}

/// A client of one broker that is known to answer.
fn one_client(session: &Session, endpoint: &Endpoint) -> Result<Client, Failure> {
    let mut config = session.client_config();
    config.brokers = vec![endpoint.clone()];
    Ok(Client::with_config(config)?)
}

#[derive(Debug, Serialize)]
struct Report {
    /// Whether nothing was found.
    healthy: bool,
    findings: Vec<Finding>,
    verdict: String,
}

impl Report {
    fn to_table(&self) -> String {
        let lines = self.findings.iter().map(|Finding { part, remark, .. }| {
            let (sign, said) = (remark.urgency.sign(), printable(&remark.text));
            format!("{sign} {}: {said}\n", part.name())
        });
        let mut text: String = lines.collect();
        text.push_str(&self.verdict);
        text.push('\n');
        text
    }

    fn exit_code(&self) -> u8 {
        if self.findings.iter().any(|finding| finding.stops_appends) {
            exit::UNAVAILABLE
        } else if self.healthy {
            exit::OK
        } else {
            exit::FAILED
        }
    }
}
