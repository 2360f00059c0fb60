//! What a node of a pair is told at its start.

use std::time::Duration;

use broker::net::{BindError, Endpoint};
use thiserror::Error;

use super::protocol::Role;
use crate::partition::Durability;

/// Shortest heartbeat between nodes that is of use.
const HEARTBEAT_MIN: Duration = Duration::from_millis(10);
/// Longest heartbeat between nodes: a failover takes some ten of them.
const HEARTBEAT_MAX: Duration = Duration::from_secs(10);
/// Longest first pause before a follower is taken in again.
const GROW_BACKOFF_MAX: Duration = Duration::from_secs(60);

/// A node's place in its pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairSettings {
    /// Who begins where both nodes are new.
    pub role: Role,
    /// The `listen` of the other node.
    pub peer: Endpoint,
    /// Where the other node reaches this one.
    pub listen: Endpoint,
    /// The witness; the same for both nodes.
    pub witness: Endpoint,
    /// Fewest copies with which the leader acknowledges: 1 or 2.
    pub copies_min: u8,
    /// How long what is waited for.
    pub timing: PairTiming,
    /// Durability level of the stores.
    pub durability: Durability,
    /// Length of a new segment file.
    pub segment_bytes: u32,
}

/// How long what is waited for. Only availability rests on it: no choice makes two nodes
/// acknowledge different events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PairTiming {
    /// How often nodes and witness hear from each other.
    pub heartbeat: Duration,
    /// How long the leader waits for an acknowledgement before it goes on alone.
    pub follower_patience: Duration,
    /// How long the follower bears the leader's silence; up to a third more is drawn by lot.
    pub leader_patience: Duration,
    /// First pause before a follower is taken in again that left soon after it had joined; it
    /// doubles with each time. Zero for none.
    pub grow_backoff: Duration,
}

impl Default for PairTiming {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(100),
            follower_patience: Duration::from_millis(400),
            leader_patience: Duration::from_millis(600),
            grow_backoff: Duration::from_secs(1),
        }
    }
}

/// Why a place in a pair is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SettingsError {
    /// Another number of copies.
    #[error("--min-copies {0} is not possible with two nodes: choose 1 or 2")]
    Copies(u8),
    /// The peer can't be the node itself.
    #[error("--peer and --pair-listen are both {0}: --peer is the --pair-listen of the other node")]
    Myself(Endpoint),
    /// A heartbeat out of bounds.
    #[error("--pair-heartbeat {0:?} is of no use: choose 10ms to 10s")]
    Heartbeat(Duration),
    /// Patience that ends before a heartbeat can have got lost.
    #[error(
        "--follower-patience {patience:?} is below two heartbeats of {heartbeat:?}: one late \
         message would cost the second copy"
    )]
    FollowerPatience {
        /// What was asked for.
        patience: Duration,
        /// The heartbeat.
        heartbeat: Duration,
    },
    /// The follower must not give up first.
    #[error(
        "--leader-patience {leader:?} is not above --follower-patience {follower:?}: after a cut \
         between the nodes the leader must be the first to ask the witness"
    )]
    LeaderPatience {
        /// What was asked for.
        leader: Duration,
        /// The leader's patience.
        follower: Duration,
    },
    /// A pause out of bounds.
    #[error("--grow-backoff {0:?} is too long: choose 0s to 60s")]
    GrowBackoff(Duration),
}

impl PairSettings {
    /// Checks what can be checked without the other node.
    ///
    /// # Errors
    /// [`SettingsError`] says which flag to change.
    pub fn validate(&self) -> Result<(), SettingsError> {
        if !(1..=2).contains(&self.copies_min) {
            return Err(SettingsError::Copies(self.copies_min));
        }
        if self.peer == self.listen {
            return Err(SettingsError::Myself(self.peer.clone()));
        }
        self.timing.validate()
    }
}

impl PairTiming {
    fn validate(&self) -> Result<(), SettingsError> {
        let Self { heartbeat, follower_patience: follower, leader_patience: leader, .. } = *self;
        if !(HEARTBEAT_MIN..=HEARTBEAT_MAX).contains(&heartbeat) {
            return Err(SettingsError::Heartbeat(heartbeat));
        }
        if follower < 2 * heartbeat {
            return Err(SettingsError::FollowerPatience { patience: follower, heartbeat });
        }
        if leader <= follower {
            return Err(SettingsError::LeaderPatience { leader, follower });
        }
        if self.grow_backoff > GROW_BACKOFF_MAX {
            return Err(SettingsError::GrowBackoff(self.grow_backoff));
        }
        Ok(())
    }
}

/// Why the pair loop can't start, or has ended.
#[derive(Debug, Error)]
pub enum PairError {
    /// The address for the other node can't be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A socket failed.
    #[error("a socket of the pair loop failed: {0}")]
    Socket(#[from] zmq::Error),
    /// A thread or a file descriptor is missing.
    #[error("the pair loop has too few resources: {0}: raise the limits (ulimit -n, ulimit -u)")]
    Resources(#[from] std::io::Error),
    /// What the node file holds is no pair record.
    #[error(
        "the pair record in the node file can't be read ({0}): a newer version wrote it, or it is \
         damaged; `starlog-store pair leave --data DIR --accept-loss` makes a node without a \
         peer of it"
    )]
    Record(String),
    /// The node file can't be written.
    #[error("the pair record can't be made durable: {0}")]
    Save(#[from] crate::OpenError),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(change: impl FnOnce(&mut PairSettings)) -> Result<(), SettingsError> {
        let endpoint = |port: u16| format!("tcp://127.0.0.1:{port}").parse().unwrap();
        let mut settings = PairSettings {
            role: Role::Primary,
            peer: endpoint(1),
            listen: endpoint(2),
            witness: endpoint(3),
            copies_min: 1,
            timing: PairTiming::default(),
            durability: Durability::default(),
            segment_bytes: 1 << 20,
        };
        change(&mut settings);
        settings.validate()
    }

    #[test]
    fn rules() {
        let ms = Duration::from_millis;
        assert_eq!(changed(|_| {}), Ok(()));
        assert_eq!(changed(|all| all.copies_min = 2), Ok(()));
        assert_eq!(changed(|all| all.copies_min = 3), Err(SettingsError::Copies(3)));
        let same = changed(|all| all.peer = all.listen.clone());
        assert!(matches!(same, Err(SettingsError::Myself(_))));
        let error = changed(|all| all.timing.heartbeat = ms(1));
        assert_eq!(error, Err(SettingsError::Heartbeat(ms(1))));
        let error = changed(|all| all.timing.heartbeat = ms(300));
        let (patience, heartbeat) = (ms(400), ms(300));
        assert_eq!(error, Err(SettingsError::FollowerPatience { patience, heartbeat }));
        let error = changed(|all| all.timing.leader_patience = ms(400));
        let (leader, follower) = (ms(400), ms(400));
        assert_eq!(error, Err(SettingsError::LeaderPatience { leader, follower }));
        let error = changed(|all| all.timing.grow_backoff = ms(60_001));
        assert_eq!(error, Err(SettingsError::GrowBackoff(ms(60_001))));
        assert_eq!(changed(|all| all.timing.grow_backoff = Duration::ZERO), Ok(()));
    }
}
