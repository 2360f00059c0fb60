//! What a Titanic process is told at its start.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use broker::config::DEFAULT_ENDPOINT;
use broker::net::Endpoint;
use client::StoreName;
use thiserror::Error;

/// The store that keeps commands if no other is named.
pub const DEFAULT_STORE: &str = "commands";

/// Calls to one service that may be under way.
const IN_FLIGHT: RangeInclusive<usize> = 1..=16_384;
/// How often a command may be tried.
const ATTEMPTS: RangeInclusive<usize> = 1..=1_000_000;
/// What one attempt may take; a broker keeps no request for longer than an hour.
const ATTEMPT_TIMEOUT: RangeInclusive<Duration> =
    Duration::from_millis(10)..=Duration::from_secs(3600);
/// How long a failed command may have to wait.
const BACKOFF: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(24 * 3600);
/// A process gives several signs of life within a lease, and each of them is an append: a shorter
/// lease would take work from a process whose disk is slow for a moment.
const CLAIM_LEASE: RangeInclusive<Duration> = Duration::from_secs(2)..=Duration::from_secs(3600);
/// Four heartbeats must pass before a broker notices our silence.
const HEARTBEAT: RangeInclusive<Duration> = Duration::from_millis(20)..=Duration::from_secs(60);

/// Configuration of a Titanic process.
#[derive(Debug, Clone)]
pub struct Config {
    /// Brokers to register with and to send through.
    pub brokers: Vec<Endpoint>,
    /// The store that keeps the commands.
    pub store: StoreName,
    /// Where the view is kept between two runs; without it every start replays the whole store.
    pub data: Option<PathBuf>,
    /// Calls to one service that may be under way.
    pub in_flight: usize,
    /// How often a command is tried if its sender says nothing else.
    pub attempts: u32,
    /// How long one attempt may take.
    pub attempt_timeout: Duration,
    /// How long a command waits after its first failure; doubles with every further one.
    pub backoff: Duration,
    /// Longest wait after a failure.
    pub backoff_max: Duration,
    /// Silence after which another process takes over what one has claimed.
    pub claim_lease: Duration,
    /// How often brokers hear from us.
    pub heartbeat: Duration,
    /// Memory of the process beyond which [`run`](crate::server::run) ends it; `None` for no limit.
    pub memory_bytes_max: Option<u64>,
}

/// Why a configuration is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// Nobody to register with.
    #[error("there is no broker: name one with --broker ENDPOINT")]
    NoBroker,
    /// The same broker twice.
    #[error("{0} is named twice: name every broker once")]
    BrokerTwice(Endpoint),
    /// A number out of bounds.
    #[error("{flag} {given} is of no use: choose {min} to {max}")]
    Number {
        /// The flag.
        flag: &'static str,
        /// What it was.
        given: usize,
        /// Least (inclusive).
        min: usize,
        /// Most (inclusive).
        max: usize,
    },
    /// A time out of bounds.
    #[error("{flag} {given:?} is of no use: choose {min:?} to {max:?}")]
    Time {
        /// The flag.
        flag: &'static str,
        /// What it was.
        given: Duration,
        /// Shortest (inclusive).
        min: Duration,
        /// Longest (inclusive).
        max: Duration,
    },
}

#[expect(clippy::expect_used, reason = "constants of this build, as a test shows")]
impl Default for Config {
    fn default() -> Self {
        Self {
            brokers: vec![DEFAULT_ENDPOINT.parse().expect("an endpoint")],
            store: StoreName::new(DEFAULT_STORE).expect("a name"),
            data: None,
            in_flight: 16,
            attempts: 10,
            attempt_timeout: Duration::from_secs(60),
            backoff: Duration::from_millis(500),
            backoff_max: Duration::from_secs(300),
            claim_lease: Duration::from_secs(5),
            heartbeat: Duration::from_millis(500),
            memory_bytes_max: None,
        }
    }
}

impl Config {
    /// Checks what can be checked without opening anything.
    ///
    /// # Errors
    /// [`ConfigError`] says which flag to change.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.brokers.is_empty() {
            return Err(ConfigError::NoBroker);
        }
        for (number, broker) in self.brokers.iter().enumerate() {
            if self.brokers.iter().take(number).any(|earlier| earlier == broker) {
                return Err(ConfigError::BrokerTwice(broker.clone()));
            }
        }
        number("--in-flight", self.in_flight, &IN_FLIGHT)?;
        number("--attempts", size(self.attempts), &ATTEMPTS)?;
        let longest = *BACKOFF.end();
        time("--attempt-timeout", self.attempt_timeout, &ATTEMPT_TIMEOUT)?;
        time("--backoff", self.backoff, &BACKOFF)?;
        time("--backoff-max", self.backoff_max, &(self.backoff..=longest))?;
        time("--claim-lease", self.claim_lease, &CLAIM_LEASE)?;
        time("--heartbeat", self.heartbeat, &HEARTBEAT)
    }
}

fn size(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

fn number(
    flag: &'static str,
    given: usize,
    bounds: &RangeInclusive<usize>,
) -> Result<(), ConfigError> {
    let (min, max) = (*bounds.start(), *bounds.end());
    bounds.contains(&given).then_some(()).ok_or(ConfigError::Number { flag, given, min, max })
}

fn time(
    flag: &'static str,
    given: Duration,
    bounds: &RangeInclusive<Duration>,
) -> Result<(), ConfigError> {
    let (min, max) = (*bounds.start(), *bounds.end());
    bounds.contains(&given).then_some(()).ok_or(ConfigError::Time { flag, given, min, max })
}

#[cfg(test)]
mod tests {
    use super::*;

    type Set = fn(&mut Config, Duration);

    #[test]
    fn what_nobody_changed_is_accepted() {
        assert_eq!(Config::default().validate(), Ok(()));
    }

    #[test]
    fn every_bound_names_its_flag() {
        let ms = Duration::from_millis;
        let cases: [(&str, Set, Duration); 5] = [
            ("--attempt-timeout", |config, time| config.attempt_timeout = time, ms(9)),
            ("--backoff", |config, time| config.backoff = time, ms(0)),
            ("--backoff-max", |config, time| config.backoff_max = time, ms(499)),
            ("--claim-lease", |config, time| config.claim_lease = time, ms(1_999)),
            ("--heartbeat", |config, time| config.heartbeat = time, ms(19)),
        ];
        for (flag, set, short) in cases {
            for wrong in [short, Duration::from_secs(25 * 3600)] {
                let mut config = Config::default();
                set(&mut config, wrong);
                let sentence = config.validate().unwrap_err().to_string();
                assert!(sentence.starts_with(flag), "{sentence}");
            }
        }
        for wrong in [0, 20_000] {
            let config = Config { in_flight: wrong, ..Config::default() };
            assert!(config.validate().unwrap_err().to_string().starts_with("--in-flight"));
        }
        let config = Config { attempts: 0, ..Config::default() };
        assert!(config.validate().unwrap_err().to_string().starts_with("--attempts"));
    }

    #[test]
    fn brokers_are_named_once() {
        let endpoint = |text: &str| text.parse::<Endpoint>().unwrap();
        let config = |brokers: &[&str]| Config {
            brokers: brokers.iter().map(|text| endpoint(text)).collect(),
            ..Config::default()
        };
        assert_eq!(config(&[]).validate(), Err(ConfigError::NoBroker));
        let (one, two) = ("tcp://127.0.0.1:7400", "tcp://127.0.0.1:7410");
        assert_eq!(config(&[one, two]).validate(), Ok(()));
        let twice = config(&[one, two, one]).validate();
        assert_eq!(twice, Err(ConfigError::BrokerTwice(endpoint(one))));
    }
}
