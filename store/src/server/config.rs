//! What a store process is told at its start.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use broker::net::Endpoint;
use thiserror::Error;

use super::units::StoreSpec;
use crate::pair::{PairSettings, SettingsError};
use crate::{Durability, NodeOptions};

/// Shortest heartbeat that is of use.
const HEARTBEAT_MIN: Duration = Duration::from_millis(20);
/// Longest heartbeat: four of them must pass before anybody notices our silence.
const HEARTBEAT_MAX: Duration = Duration::from_secs(60);

/// Configuration of a store process.
#[derive(Debug, Clone)]
pub struct Config {
    /// The data directory; one process at a time.
    pub data: PathBuf,
    /// Brokers to register with. Without any, only feed, replay and status are served.
    pub brokers: Vec<Endpoint>,
    /// Stores to create if they are not there yet. Those already in the data directory are served
    /// anyway, unless detached.
    pub stores: Vec<StoreSpec>,
    /// Which partitions of a store created now are kept here; `None` for all.
    pub host: Option<RangeInclusive<u16>>,
    /// Where history and status can be asked for.
    pub listen: Endpoint,
    /// Where the feed can be heard.
    pub feed: Endpoint,
    /// What others are told to connect to instead of `listen`.
    pub advertise_listen: Option<Endpoint>,
    /// What others are told to connect to instead of `feed`.
    pub advertise_feed: Option<Endpoint>,
    /// Whether addresses that other machines can reach may be bound.
    pub open_network: bool,
    /// How often brokers and subscribers hear from us.
    pub heartbeat: Duration,
    /// Engine options: segment size, durability, queues.
    pub node: NodeOptions,
    /// The pair that this node belongs to.
    pub pair: Option<PairSettings>,
    /// Memory of the process beyond which [`run`](super::run) ends it; `None` for no limit.
    pub memory_bytes_max: Option<u64>,
}

/// Why a configuration is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// An address that others can reach.
    #[error(
        "{endpoint} can be reached from other machines, and whoever reaches it can read and append \
         everything: bind 127.0.0.1, or say --open-network if that is what you want"
    )]
    OpenNetwork {
        /// The address.
        endpoint: Endpoint,
    },
    /// Others can't be told to connect to a wildcard.
    #[error(
        "{endpoint} stands for every address of this machine: say with {flag} which one \
             others shall connect to"
    )]
    Wildcard {
        /// The address.
        endpoint: Endpoint,
        /// The flag that helps.
        flag: &'static str,
    },
    /// A heartbeat out of bounds.
    #[error("a heartbeat of {0:?} is of no use: choose 20ms to 60s")]
    Heartbeat(Duration),
    /// Partitions that a store does not have.
    #[error("{store} has partitions 0 to {last}, so --host {first}-{end} is not possible")]
    Host {
        /// The store.
        store: String,
        /// Its last partition.
        last: u16,
        /// First partition asked for.
        first: u16,
        /// Last partition asked for.
        end: u16,
    },
    /// An engine option.
    #[error("{0}")]
    Node(String),
    /// Two copies where there is one node.
    #[error(
        "--durability pair needs a pair: name --role, --peer, --pair-listen and --witness, or \
             choose local"
    )]
    NoPair,
    /// A setting of the pair.
    #[error(transparent)]
    Pair(#[from] SettingsError),
}

impl Default for Config {
    fn default() -> Self {
        let free_port = || loopback("tcp://127.0.0.1:*");
        Self {
            data: PathBuf::from("starlog-data"),
            brokers: vec![loopback("tcp://127.0.0.1:7400")],
            stores: Vec::new(),
            host: None,
            listen: free_port(),
            feed: free_port(),
            advertise_listen: None,
            advertise_feed: None,
            open_network: false,
            heartbeat: Duration::from_millis(500),
            node: NodeOptions::default(),
            pair: None,
            memory_bytes_max: None,
        }
    }
}

#[expect(clippy::expect_used, reason = "the texts above are endpoints, as a test shows")]
fn loopback(text: &str) -> Endpoint {
    text.parse().expect("an endpoint")
}

impl Config {
    /// Checks what can be checked without opening anything.
    ///
    /// # Errors
    /// [`ConfigError`] says which flag to change.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let sockets = [
            (&self.listen, &self.advertise_listen, "--advertise-listen"),
            (&self.feed, &self.advertise_feed, "--advertise-feed"),
        ];
        for (endpoint, advertised, flag) in sockets {
            self.check_reach(endpoint)?;
            if endpoint.has_wildcard_host() && advertised.is_none() {
                return Err(ConfigError::Wildcard { endpoint: endpoint.clone(), flag });
            }
        }
        if !(HEARTBEAT_MIN..=HEARTBEAT_MAX).contains(&self.heartbeat) {
            return Err(ConfigError::Heartbeat(self.heartbeat));
        }
        for store in &self.stores {
            let Some(last) = store.partitions.map(|count| count.saturating_sub(1)) else {
                continue;
            };
            if let Some(host) = self.host.as_ref().filter(|host| *host.end() > last) {
                let (first, end) = (*host.start(), *host.end());
                let store = store.name.to_string();
                return Err(ConfigError::Host { store, last, first, end });
            }
        }
        match &self.pair {
            None if self.node.durability == Durability::Pair => return Err(ConfigError::NoPair),
            None => {}
            Some(pair) => {
                // The other node is told with --peer where to connect, so a wildcard will do.
                self.check_reach(&pair.listen)?;
                pair.validate()?;
            }
        }
        self.node.validate().map_err(|error| ConfigError::Node(error.to_string()))
    }

    fn check_reach(&self, endpoint: &Endpoint) -> Result<(), ConfigError> {
        if endpoint.is_loopback() || self.open_network {
            return Ok(());
        }
        Err(ConfigError::OpenNetwork { endpoint: endpoint.clone() })
    }

    /// How often brokers hear from us. In a pair they should notice a silent leader as soon as the
    /// other node does.
    pub(super) fn broker_heartbeat(&self) -> Duration {
        let pair = self.pair.as_ref().map(|pair| pair.timing.heartbeat);
        pair.map_or(self.heartbeat, |heartbeat| self.heartbeat.min(heartbeat.max(HEARTBEAT_MIN)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(change: impl FnOnce(&mut Config)) -> Result<(), ConfigError> {
        let mut config = Config::default();
        change(&mut config);
        config.validate()
    }

    #[test]
    fn rules() {
        assert_eq!(changed(|_| {}), Ok(()));
        let open: Endpoint = "tcp://0.0.0.0:7500".parse().unwrap();
        let error = changed(|config| config.listen = open.clone()).unwrap_err();
        assert_eq!(error, ConfigError::OpenNetwork { endpoint: open.clone() });
        let wildcard = changed(|config| {
            config.feed = open.clone();
            config.open_network = true;
        });
        let flag = "--advertise-feed";
        assert_eq!(wildcard, Err(ConfigError::Wildcard { endpoint: open.clone(), flag }));
        let advertised = changed(|config| {
            config.feed = open.clone();
            config.open_network = true;
            config.advertise_feed = Some("tcp://10.0.0.7:7500".parse().unwrap());
        });
        assert_eq!(advertised, Ok(()));
        let heartbeat = Duration::from_millis(1);
        let error = changed(|config| config.heartbeat = heartbeat);
        assert_eq!(error, Err(ConfigError::Heartbeat(heartbeat)));
        let error = changed(|config| {
            config.stores = vec!["orders:2".parse().unwrap()];
            config.host = Some(0..=2);
        });
        assert!(matches!(error, Err(ConfigError::Host { last: 1, .. })), "{error:?}");
    }
}
