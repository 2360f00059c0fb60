//! Whether the node at the other end is our peer. Pure: two [`Hello`]s in, a verdict out.
//!
//! Whatever is wrong is said in a sentence that names what to do, here and at the other node. A
//! node that is refused for good before it ever belonged to a running pair ends; one that already
//! serves goes on and complains.

use broker::witness::ProcessId;
use thiserror::Error;

use super::message::{Hello, Listing};
use super::protocol::Role;

/// Why a node is not our peer. The sentences are read at the node that is refused, so "this node"
/// is that one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HandshakeError {
    /// Neither speaks a version that the other one understands.
    #[error(
        "this node speaks versions {min} to {max} of the messages between nodes, its peer none of \
         them: run the same release on both"
    )]
    Versions {
        /// Lowest version of the refused node.
        min: u8,
        /// Highest version of the refused node.
        max: u8,
    },
    /// The node has reached itself.
    #[error(
        "this node has reached itself: --peer must be the --pair-listen of the other node; the two \
         addresses are probably swapped"
    )]
    Myself,
    /// Both nodes have the same data directory, copied.
    #[error(
        "both nodes have the incarnation {0}, so one data directory is a copy of the other: run \
         `starlog-store pair renew --data DIR` on the copy, or start it with an empty directory"
    )]
    SameIncarnation(uuid::Uuid),
    /// Two primaries or two backups.
    #[error(
        "both nodes are configured as {0}: start one with --role primary and the other with --role \
         backup"
    )]
    SameRole(&'static str),
    /// Something that must be the same is not.
    #[error(
        "the two nodes differ in {setting}: {refused} at this node, {other} at its peer: start \
         both with the same"
    )]
    Setting {
        /// What differs.
        setting: String,
        /// Its value at the refused node.
        refused: String,
        /// Its value at the other node.
        other: String,
    },
    /// They ask different witnesses.
    #[error(
        "the two nodes ask different witnesses ({refused} at this node, {other} at its peer): name \
         the same one with --witness"
    )]
    Witness {
        /// The witness of the refused node.
        refused: uuid::Uuid,
        /// The witness of the other node.
        other: uuid::Uuid,
    },
    /// Both directories have events, and never were a pair.
    #[error(
        "both nodes bring events of their own: a pair begins with data on one side only; start the \
         node whose data can be given up with an empty directory"
    )]
    BothBringData,
    /// The directory belongs to another history.
    #[error(
        "this node's directory has the lineage {refused}, its peer's {other}: it is another \
         store's directory, or one side was promoted by force; start the node whose data can be \
         given up with an empty directory"
    )]
    OtherLineage {
        /// The lineage of the refused node.
        refused: uuid::Uuid,
        /// The lineage of the other node.
        other: uuid::Uuid,
    },
    /// The pair has two nodes already.
    #[error(
        "the pair is complete: this node would be a third one; stop the other node first if this \
         one shall replace it"
    )]
    ThirdNode,
}

impl HandshakeError {
    /// Whether it may pass by itself: then the node keeps knocking.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::ThirdNode | Self::Witness { .. })
    }
}

/// What the judging node knows besides its own hello.
#[derive(Debug, Clone, Copy)]
pub struct Judge<'a> {
    /// Its own hello.
    pub own: &'a Hello,
    /// Its process.
    pub process: ProcessId,
    /// Another node that was heard just now and is, or becomes, a member.
    pub living_peer: Option<broker::witness::Incarnation>,
}

impl Judge<'_> {
    /// Whether the node that says this is our peer.
    ///
    /// # Errors
    /// [`HandshakeError`] with what that node is to be told.
    pub fn judge(&self, process: ProcessId, theirs: &Hello) -> Result<(), HandshakeError> {
        let own = self.own;
        if theirs.version_min > own.version_max || theirs.version_max < own.version_min {
            let (min, max) = (theirs.version_min, theirs.version_max);
            return Err(HandshakeError::Versions { min, max });
        }
        if process == self.process {
            return Err(HandshakeError::Myself);
        }
        if theirs.incarnation == own.incarnation {
            return Err(HandshakeError::SameIncarnation(own.incarnation.0));
        }
        if theirs.role == own.role {
            let role = match own.role {
                Role::Primary => "primary",
                Role::Backup => "backup",
            };
            return Err(HandshakeError::SameRole(role));
        }
        same_settings(own, theirs)?;
        same_history(own, theirs)?;
        same_witness(own, theirs)?;
        match self.living_peer {
            Some(peer) if peer != theirs.incarnation => Err(HandshakeError::ThirdNode),
            _ => Ok(()),
        }
    }
}

/// Both were one pair, or exactly one of them brings something.
fn same_history(own: &Hello, theirs: &Hello) -> Result<(), HandshakeError> {
    let is_new = |hello: &Hello| hello.configuration.is_none() && !hello.brings_data;
    if is_new(own) || is_new(theirs) {
        return Ok(());
    }
    if own.configuration.is_none() && theirs.configuration.is_none() {
        return Err(HandshakeError::BothBringData);
    }
    if own.lineage != theirs.lineage {
        let (refused, other) = (theirs.lineage.0, own.lineage.0);
        return Err(HandshakeError::OtherLineage { refused, other });
    }
    Ok(())
}

/// One process has a memory, and a name, of its own for each pair, so that only nodes of one pair
/// can tell that they ask different ones.
fn same_witness(own: &Hello, theirs: &Hello) -> Result<(), HandshakeError> {
    let lineage = |hello: &Hello| hello.configuration.as_ref().map(|known| known.lineage);
    match (theirs.witness, own.witness) {
        (Some(refused), Some(other))
            if refused != other && lineage(own).is_some() && lineage(own) == lineage(theirs) =>
        {
            Err(HandshakeError::Witness { refused: refused.0, other: other.0 })
        }
        _ => Ok(()),
    }
}

fn same_settings(own: &Hello, theirs: &Hello) -> Result<(), HandshakeError> {
    let (ours, other) = (&theirs.settings, &own.settings);
    let rows = [
        ("--durability", ours.durability.clone(), other.durability.clone()),
        ("--min-copies", ours.copies_min.to_string(), other.copies_min.to_string()),
        ("--segment", ours.segment_bytes.to_string(), other.segment_bytes.to_string()),
        ("--pair-heartbeat", milliseconds(ours.heartbeat_ms), milliseconds(other.heartbeat_ms)),
    ];
    for (setting, refused, other) in rows {
        if refused != other {
            return Err(HandshakeError::Setting { setting: setting.to_owned(), refused, other });
        }
    }
    for listing in &theirs.stores {
        let same_name = own.stores.iter().find(|store| store.store == listing.store);
        if let Some(other) = same_name.filter(|other| *other != listing) {
            let setting = format!("the partitions of store {}", listing.store);
            let (refused, other) = (numbers(listing), numbers(other));
            return Err(HandshakeError::Setting { setting, refused, other });
        }
    }
    Ok(())
}

fn milliseconds(number: u64) -> String {
    format!("{number}ms")
}

fn numbers(listing: &Listing) -> String {
    let Listing { partitions, first, last, .. } = listing;
    format!("{partitions}, of which {first} to {last} are kept")
}

#[cfg(test)]
mod tests {
    use broker::witness::{Configuration, Incarnation, Lineage, WitnessId};
    use uuid::Uuid;

    use super::*;
    use crate::pair::message::Settings;

    const MINE: ProcessId = ProcessId(Uuid::from_u128(100));
    const THEIRS: ProcessId = ProcessId(Uuid::from_u128(200));

    fn settings() -> Settings {
        let durability = "pair".to_owned();
        Settings { durability, copies_min: 1, segment_bytes: 65536, heartbeat_ms: 100 }
    }

    fn new(role: Role, number: u128) -> Hello {
        Hello {
            version_min: 1,
            version_max: 1,
            role,
            lineage: Lineage(Uuid::from_u128(number + 10)),
            incarnation: Incarnation(Uuid::from_u128(number)),
            configuration: None,
            brings_data: false,
            witness: None,
            settings: settings(),
            stores: vec![listing(2)],
        }
    }

    fn listing(partitions: u16) -> Listing {
        Listing { store: "orders".into(), partitions, first: 0, last: partitions - 1 }
    }

    fn old(role: Role, number: u128, lineage: u128) -> Hello {
        let members: Vec<_> = [1, 2].map(|member| Incarnation(Uuid::from_u128(member))).into();
        let lineage = Lineage(Uuid::from_u128(lineage));
        let (leader, floor) = (members[0], Default::default());
        let configuration = Configuration { lineage, epoch: 5, leader, members, floor };
        let configuration = Some(configuration);
        Hello { lineage, configuration, brings_data: true, ..new(role, number) }
    }

    fn judge(own: &Hello, theirs: &Hello) -> Result<(), HandshakeError> {
        Judge { own, process: MINE, living_peer: None }.judge(THEIRS, theirs)
    }

    fn primary() -> Hello {
        new(Role::Primary, 1)
    }

    fn backup() -> Hello {
        new(Role::Backup, 2)
    }

    #[test]
    fn peers() {
        let with_data = |hello: Hello| Hello { brings_data: true, ..hello };
        let rows = [
            ("both new", primary(), backup()),
            ("the primary brings data", with_data(primary()), backup()),
            ("the backup brings data", primary(), with_data(backup())),
            ("both were the pair", old(Role::Primary, 1, 11), old(Role::Backup, 2, 11)),
            ("the backup was wiped", old(Role::Primary, 1, 11), new(Role::Backup, 3)),
            ("this node was wiped", new(Role::Primary, 3), old(Role::Backup, 2, 11)),
            ("it knows no store yet", primary(), Hello { stores: vec![], ..backup() }),
        ];
        for (row, own, theirs) in rows {
            assert_eq!(judge(&own, &theirs), Ok(()), "{row}");
            assert_eq!(judge(&theirs, &own), Ok(()), "{row}, the other way round");
        }
    }

    #[test]
    fn whoever_is_no_peer_hears_why() {
        let setting = |setting: &str, refused: &str, other: &str| HandshakeError::Setting {
            setting: setting.into(),
            refused: refused.into(),
            other: other.into(),
        };
        let changed = |change: fn(&mut Settings)| {
            let mut hello = backup();
            change(&mut hello.settings);
            hello
        };
        let same = Hello { incarnation: primary().incarnation, ..backup() };
        let future = Hello { version_min: 2, version_max: 3, ..backup() };
        let with_data = |hello: Hello| Hello { brings_data: true, ..hello };
        let partitions = "4, of which 0 to 3 are kept";
        let rows = [
            (primary(), new(Role::Primary, 2), HandshakeError::SameRole("primary")),
            (backup(), new(Role::Backup, 1), HandshakeError::SameRole("backup")),
            (primary(), same, HandshakeError::SameIncarnation(Uuid::from_u128(1))),
            (primary(), future, HandshakeError::Versions { min: 2, max: 3 }),
            (with_data(primary()), with_data(backup()), HandshakeError::BothBringData),
            (
                old(Role::Primary, 1, 11),
                old(Role::Backup, 2, 12),
                HandshakeError::OtherLineage {
                    refused: Uuid::from_u128(12),
                    other: Uuid::from_u128(11),
                },
            ),
            (
                old(Role::Primary, 1, 11),
                with_data(backup()),
                HandshakeError::OtherLineage {
                    refused: Uuid::from_u128(12),
                    other: Uuid::from_u128(11),
                },
            ),
            (
                primary(),
                changed(|settings| settings.durability = "local".into()),
                setting("--durability", "local", "pair"),
            ),
            (
                primary(),
                changed(|settings| settings.copies_min = 2),
                setting("--min-copies", "2", "1"),
            ),
            (
                primary(),
                changed(|settings| settings.segment_bytes = 131_072),
                setting("--segment", "131072", "65536"),
            ),
            (
                primary(),
                changed(|settings| settings.heartbeat_ms = 50),
                setting("--pair-heartbeat", "50ms", "100ms"),
            ),
            (
                primary(),
                Hello { stores: vec![listing(4)], ..backup() },
                setting(
                    "the partitions of store orders",
                    partitions,
                    "2, of which 0 to 1 are kept",
                ),
            ),
        ];
        for (own, theirs, error) in rows {
            assert_eq!(judge(&own, &theirs), Err(error.clone()));
            assert!(!error.is_passing());
            let sentence = error.to_string();
            assert!(sentence.contains(": ") && sentence.len() > 60, "what to do? {sentence}");
        }
    }

    #[test]
    fn a_node_that_reaches_itself_is_told_that_addresses_are_swapped() {
        let own = primary();
        let judge = Judge { own: &own, process: MINE, living_peer: None };
        let error = judge.judge(MINE, &own).unwrap_err();
        assert_eq!(error, HandshakeError::Myself);
        assert!(error.to_string().contains("swapped"));
    }

    #[test]
    fn a_third_node_knocks_in_vain_until_the_second_is_silent() {
        let own = old(Role::Primary, 1, 11);
        let third = new(Role::Backup, 3);
        let living = |peer: Option<u128>| Judge {
            own: &own,
            process: MINE,
            living_peer: peer.map(|peer| Incarnation(Uuid::from_u128(peer))),
        };
        let refused = living(Some(2)).judge(THEIRS, &third);
        assert_eq!(refused, Err(HandshakeError::ThirdNode));
        assert!(HandshakeError::ThirdNode.is_passing());
        assert_eq!(living(None).judge(THEIRS, &third), Ok(()));
        assert_eq!(living(Some(3)).judge(THEIRS, &third), Ok(()));
    }

    #[test]
    fn different_witnesses_are_no_pair() {
        let witness = |number| Some(WitnessId(Uuid::from_u128(number)));
        let own = Hello { witness: witness(7), ..old(Role::Primary, 1, 11) };
        let theirs = |number| Hello { witness: number, ..old(Role::Backup, 2, 11) };
        let refused = judge(&own, &theirs(witness(8))).unwrap_err();
        assert!(matches!(refused, HandshakeError::Witness { .. }));
        // It may have lost its record, and only one side has heard its new name.
        assert!(refused.is_passing());
        for fine in [theirs(witness(7)), theirs(None)] {
            assert_eq!(judge(&own, &fine), Ok(()));
        }
    }

    #[test]
    fn a_new_node_is_known_to_the_witness_under_another_lineage() {
        let witness = |number| Some(WitnessId(Uuid::from_u128(number)));
        let own = Hello { witness: witness(7), ..old(Role::Primary, 1, 11) };
        let wiped = Hello { witness: witness(8), ..new(Role::Backup, 3) };
        assert_eq!(judge(&own, &wiped), Ok(()));
        assert_eq!(judge(&wiped, &own), Ok(()));
    }
}
