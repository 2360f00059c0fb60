//! How a pair is, in words that a person on call understands.

use std::time::Duration;

use broker::witness::Incarnation;
use uuid::Uuid;

use super::protocol::{CommitRule, Role, Stall, Standing};

/// A pair as one of its nodes sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PairStatus {
    /// How the node was configured.
    pub role: &'static str,
    /// What it is now.
    pub standing: String,
    /// Epoch of the newest configuration that it knows; 0 before there is one.
    pub epoch: u64,
    /// Who leads in that configuration.
    pub leader: Option<Uuid>,
    /// Who must have an event before it is acknowledged.
    pub members: Vec<Uuid>,
    /// Where the other node is expected.
    pub peer_endpoint: String,
    /// The other node's data, once it is known.
    pub peer_incarnation: Option<Uuid>,
    /// How the other node is.
    pub peer: String,
    /// When the other node was last heard, in milliseconds before now.
    pub peer_heard_ms: Option<u64>,
    /// Where the witness is expected.
    pub witness_endpoint: String,
    /// How the witness is.
    pub witness: String,
    /// When the witness was last heard, in milliseconds before now.
    pub witness_heard_ms: Option<u64>,
    /// Events that the follower has not acknowledged; `None` where there is no follower.
    pub lag_events: Option<u64>,
    /// Their bytes; `None` where that is not known.
    pub lag_bytes: Option<u64>,
    /// On how many nodes an event stands when it is acknowledged now; 0 if nothing is.
    pub copies: u8,
    /// How often this node took over from a leader that had fallen silent.
    pub failovers: u64,
    /// How often it went on without its follower.
    pub shrinks: u64,
    /// How often it took a follower in.
    pub grows: u64,
    /// What is wrong; empty when all is well.
    pub degraded: Vec<String>,
}

/// The role as it is written in flags.
#[must_use]
pub const fn role_word(role: Role) -> &'static str {
    match role {
        Role::Primary => "primary",
        Role::Backup => "backup",
    }
}

/// The standing in a word, for machines and columns.
#[must_use]
pub const fn standing_word(standing: &Standing) -> &'static str {
    match standing {
        Standing::Joining => "joining",
        Standing::Stalled(_) => "stalled",
        Standing::Following { .. } => "following",
        Standing::Candidate => "candidate",
        Standing::Leading { .. } => "leading",
        Standing::HandingOver { .. } => "handing over",
    }
}

/// The standing in a sentence.
#[must_use]
pub fn standing_sentence(standing: &Standing, me: Incarnation) -> String {
    match standing {
        Standing::Joining => "joining: asks the witness who leads".to_owned(),
        Standing::Stalled(stall) => format!("stalled: {}", stall_sentence(*stall)),
        Standing::Following { configuration } if configuration.has(me) => {
            "following: has everything that is acknowledged".to_owned()
        }
        Standing::Following { .. } => "catching up: no second copy before it is done".to_owned(),
        Standing::Candidate => "candidate: asks the witness whether it may lead".to_owned(),
        Standing::Leading { configuration } if configuration.members.len() > 1 => {
            "leading".to_owned()
        }
        Standing::Leading { .. } => "leading alone".to_owned(),
        Standing::HandingOver { .. } => "handing over to the other node".to_owned(),
    }
}

const fn stall_sentence(stall: Stall) -> &'static str {
    match stall {
        Stall::Witness => "the witness does not answer; start it, or mend the way to it",
        Stall::WitnessWaits => {
            "the witness has lost its record and waits for a report of the other node; start it"
        }
        Stall::Peer => "a new pair begins when both nodes have met; start the other node",
        Stall::NotMember => {
            "this node is no member and its leader is away; start the other node: it has what this \
             one lacks"
        }
    }
}

/// On how many nodes an event stands when it is acknowledged.
#[must_use]
pub const fn copies(standing: &Standing, rule: CommitRule) -> u8 {
    match (standing, rule) {
        (Standing::Leading { .. }, CommitRule::Alone) => 1,
        (Standing::Leading { .. }, CommitRule::Both) => 2,
        _ => 0,
    }
}

/// Since when somebody has been silent.
#[must_use]
pub fn heard(silence: Option<Duration>, patience: Duration) -> String {
    match silence {
        None => "never heard since the start".to_owned(),
        Some(silence) if silence <= patience => format!("heard {} ms ago", silence.as_millis()),
        Some(silence) => format!("silent for {:.1} s", silence.as_secs_f64()),
    }
}

/// What else is known about the state of a pair.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances<'a> {
    /// What the node is.
    pub standing: &'a Standing,
    /// By what rule it acknowledges.
    pub rule: CommitRule,
    /// Fewest copies with which it may.
    pub copies_min: u8,
    /// Whether the other node is silent.
    pub peer_silent: bool,
    /// Whether the witness is silent.
    pub witness_silent: bool,
    /// Why the other node is refused, or refuses us.
    pub refused: Option<&'a str>,
}

/// What is wrong, in sentences.
#[must_use]
pub fn degraded(now: &Circumstances<'_>) -> Vec<String> {
    let mut words = Vec::new();
    let mut say = |is_so: bool, what: &str| {
        if is_so {
            words.push(what.to_owned());
        }
    };
    let leads = matches!(now.standing, Standing::Leading { .. });
    let alone = leads && copies(now.standing, now.rule) == 1;
    say(alone, "one copy only: what is acknowledged now is lost with this disk");
    let held = leads && now.rule == CommitRule::Held;
    say(held && now.copies_min == 2, "no appends: --min-copies 2, and the second copy is missing");
    say(held && now.copies_min != 2, "no appends: neither the other node nor the witness is heard");
    say(
        now.peer_silent,
        "the other node is silent: if it is down, start it; it comes back by itself",
    );
    say(
        now.witness_silent,
        "the witness is silent: appends go on, but the next failure stops them",
    );
    if let Standing::Stalled(stall) = now.standing {
        say(true, stall_sentence(*stall));
    }
    if let Some(refused) = now.refused {
        say(true, refused);
    }
    words
}

#[cfg(test)]
mod tests {
    use broker::witness::{Configuration, Lineage};

    use super::*;

    const ME: Incarnation = Incarnation(Uuid::from_u128(1));
    const OTHER: Incarnation = Incarnation(Uuid::from_u128(2));

    fn configuration(members: &[Incarnation]) -> Configuration {
        let (lineage, floor) = (Lineage(Uuid::nil()), Default::default());
        Configuration { lineage, epoch: 3, leader: OTHER, members: members.to_vec(), floor }
    }

    #[test]
    fn standings_read_well() {
        let following =
            |members: &[Incarnation]| Standing::Following { configuration: configuration(members) };
        let leading =
            |members: &[Incarnation]| Standing::Leading { configuration: configuration(members) };
        let rows = [
            (following(&[ME, OTHER]), "following: has everything that is acknowledged"),
            (following(&[OTHER]), "catching up: no second copy before it is done"),
            (leading(&[ME, OTHER]), "leading"),
            (leading(&[ME]), "leading alone"),
            (
                Standing::Stalled(Stall::Witness),
                "stalled: the witness does not answer; start it, or mend the way to it",
            ),
        ];
        for (standing, sentence) in rows {
            assert_eq!(standing_sentence(&standing, ME), sentence);
        }
    }

    #[test]
    fn what_is_wrong_is_said_and_nothing_else() {
        let leading = Standing::Leading { configuration: configuration(&[OTHER]) };
        let well = Circumstances {
            standing: &leading,
            rule: CommitRule::Both,
            copies_min: 1,
            peer_silent: false,
            witness_silent: false,
            refused: None,
        };
        assert_eq!(degraded(&well), Vec::<String>::new());
        assert_eq!(copies(well.standing, well.rule), 2);
        let alone = Circumstances { rule: CommitRule::Alone, peer_silent: true, ..well };
        let words = degraded(&alone);
        assert_eq!(words.len(), 2);
        assert!(words[0].starts_with("one copy only") && words[1].contains("other node is silent"));
        assert_eq!(copies(alone.standing, alone.rule), 1);
        let held = Circumstances { rule: CommitRule::Held, copies_min: 2, ..well };
        assert!(degraded(&held)[0].contains("--min-copies 2"));
        let refused = Circumstances { refused: Some("two primaries"), ..well };
        assert_eq!(degraded(&refused), ["two primaries"]);
    }

    #[test]
    fn silence_is_told_in_units_that_fit() {
        let patience = Duration::from_millis(600);
        assert_eq!(heard(None, patience), "never heard since the start");
        assert_eq!(heard(Some(Duration::from_millis(35)), patience), "heard 35 ms ago");
        assert_eq!(heard(Some(Duration::from_millis(3_250)), patience), "silent for 3.2 s");
    }
}
