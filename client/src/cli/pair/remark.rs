//! What is wrong with a pair, in words that somebody who was just woken up understands.

use serde::Serialize;

use super::report::{LEADING, NodeReport, PairReport, SILENT};

/// Something worth knowing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Remark {
    /// Whether it asks for anything.
    pub urgency: Urgency,
    /// What is so, what follows from it, and what to do.
    pub text: String,
}

/// Whether somebody must do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Urgency {
    /// It stays like this until somebody acts.
    Act,
    /// It mends itself; look again.
    Wait,
    /// It is good to know.
    Know,
}

impl Urgency {
    /// The sign in front of the text.
    #[must_use]
    pub const fn sign(self) -> char {
        match self {
            Self::Act => '!',
            Self::Wait => '~',
            Self::Know => '-',
        }
    }
}

impl Remark {
    /// A remark.
    pub fn new(urgency: Urgency, text: impl Into<String>) -> Self {
        Self { urgency, text: text.into() }
    }
}

/// The last line: whether anything needs doing.
#[must_use]
pub fn verdict<'a>(remarks: impl IntoIterator<Item = &'a Remark>) -> String {
    let (mut act, mut wait) = (0, 0);
    for remark in remarks {
        match remark.urgency {
            Urgency::Act => act += 1,
            Urgency::Wait => wait += 1,
            Urgency::Know => {}
        }
    }
    match (act, wait) {
        (0, 0) => "All is well: nothing needs doing.".to_owned(),
        (0, _) => "Nothing needs doing: what is marked with ~ mends itself.".to_owned(),
        (1, _) => "One thing needs doing: see the line marked with !.".to_owned(),
        (count, _) => format!("{count} things need doing: see the lines marked with !."),
    }
}

/// The first characters of an id, which are enough to tell nodes apart.
#[must_use]
pub fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}

/// What there is to say about a pair, the most urgent first.
pub fn remarks(pair: &PairReport) -> Vec<Remark> {
    let mut remarks = Vec::new();
    leadership(pair, &mut remarks);
    witness(pair, &mut remarks);
    for node in &pair.nodes {
        parked(pair, node, &mut remarks);
        let says = |urgency, words: &String| {
            Remark::new(urgency, format!("node {} says: {words}", short(&node.node)))
        };
        let own = node.degraded.iter().filter(|words| !is_told_above(words));
        remarks.extend(own.map(|words| says(Urgency::Act, words)));
        remarks.extend(node.partitions_degraded.iter().map(|words| says(Urgency::Know, words)));
    }
    remarks.sort_by_key(|remark| remark.urgency);
    remarks
}

/// Whether a node says what is said better with the whole pair in view.
fn is_told_above(words: &str) -> bool {
    let subjects = ["one copy only", "no appends", "the other node is silent", "the witness"];
    subjects.iter().any(|subject| words.starts_with(subject))
}

fn leadership(pair: &PairReport, remarks: &mut Vec<Remark>) {
    let Some(leader) = &pair.leader else {
        let silent: Vec<&str> = pair
            .nodes
            .iter()
            .filter(|node| node.standing == SILENT)
            .map(|node| short(&node.node))
            .collect();
        let (urgency, text) = match (silent.is_empty(), pair.witness.is_heard()) {
            (true, true) => {
                (Urgency::Wait, "both nodes are there and agree on a leader".to_owned())
            }
            (true, false) => (Urgency::Act, "start its witness".to_owned()),
            (false, true) => (
                Urgency::Wait,
                format!("{} is silent, and the other takes over", silent.join(", ")),
            ),
            (false, false) => (
                Urgency::Act,
                format!("start {} again, or the witness; both are best", silent.join(", ")),
            ),
        };
        let text = format!("nobody leads: appends wait and nothing is lost; {text}");
        remarks.push(Remark::new(urgency, text));
        return;
    };
    let others: Vec<&NodeReport> = pair.nodes.iter().filter(|node| node.node != *leader).collect();
    if pair.copies == 0 {
        let text = "the leader acknowledges nothing at present: it waits for its follower or for \
                    its witness (or --min-copies asks for two)";
        remarks.push(Remark::new(Urgency::Act, text));
    }
    match others.first() {
        None => remarks.push(Remark::new(
            Urgency::Act,
            "its other node was never seen: every event is on one disk only; start the other node",
        )),
        Some(other) if other.standing == SILENT => remarks.push(Remark::new(
            Urgency::Act,
            format!(
                "node {} is silent: every new event is on one disk only, and nobody could take \
                 over; start it again, and it catches up and becomes a member by itself",
                short(&other.node)
            ),
        )),
        Some(other) if other.standing.starts_with(LEADING) => remarks.push(Remark::new(
            Urgency::Wait,
            format!(
                "node {} still believes that it leads: it can't acknowledge anything, and follows \
                 once it hears of epoch {}",
                short(&other.node),
                pair.epoch
            ),
        )),
        Some(other) if !other.member => remarks.push(Remark::new(
            Urgency::Wait,
            format!(
                "node {} is catching up{}: until it is a member again, every new event is on one \
                 disk only",
                short(&other.node),
                lag(other).map(|lag| format!(" ({lag} behind)")).unwrap_or_default()
            ),
        )),
        Some(_) => {}
    }
}

fn witness(pair: &PairReport, remarks: &mut Vec<Remark>) {
    let witness = &pair.witness;
    let place = witness.endpoint.as_deref().unwrap_or("(unknown)");
    let consequence = "appends go on, but if a node fails now, nobody takes over";
    if let Some(reason) = &witness.stopped {
        let text = format!("the witness at {place} decides nothing: {reason}; {consequence}");
        remarks.push(Remark::new(Urgency::Act, text));
    } else if witness.ready == Some(false) {
        let text = format!(
            "the witness at {place} has lost its record and waits until both nodes have reported \
             to it; {consequence}"
        );
        let silent = pair.nodes.iter().any(|node| node.standing == SILENT);
        remarks.push(Remark::new(if silent { Urgency::Act } else { Urgency::Wait }, text));
    } else if !witness.is_heard() {
        let text = format!(
            "the witness at {place} is silent: {consequence}; start the starlog-broker that has \
             --witness-listen there"
        );
        remarks.push(Remark::new(Urgency::Act, text));
    }
}

fn parked(pair: &PairReport, node: &NodeReport, remarks: &mut Vec<Remark>) {
    if node.parked_records == 0 {
        return;
    }
    let worth = match pair.durability.as_str() {
        "pair" => "none of them was acknowledged",
        _ => "at this durability level some may have been acknowledged",
    };
    let text = format!(
        "node {} has set {} records aside when it followed another leader: {worth}; they are kept \
         in the folders `parked` of its partitions",
        short(&node.node),
        node.parked_records
    );
    remarks.push(Remark::new(Urgency::Know, text));
}

/// How far a follower is behind, in words; nothing if it is not known.
#[must_use]
pub fn lag(node: &NodeReport) -> Option<String> {
    let events = node.lag_events?;
    Some(match node.lag_bytes {
        Some(bytes) if events > 0 => format!("{events} events, {}", size(bytes)),
        _ => format!("{events} events"),
    })
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{} KiB", bytes / 1024),
        _ => format!("{} MiB", bytes / 1_048_576),
    }
}
