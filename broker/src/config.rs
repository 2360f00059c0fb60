//! What a broker can be told.

use std::path::PathBuf;
use std::time::Duration;

use crate::net::Endpoint;

/// Where clients and workers find a broker unless told otherwise.
pub const DEFAULT_ENDPOINT: &str = "tcp://127.0.0.1:7400";

/// How long a leader keeps its place after its last word, unless told otherwise.
pub const WITNESS_LEASE: Duration = Duration::from_millis(600);

/// Pairs of one witness, unless told otherwise.
const WITNESS_REGISTERS_MAX: usize = 256;

/// Everything that a broker can be told. [`Config::validate`] says what does not go together.
#[derive(Clone, Debug)]
pub struct Config {
    /// Endpoints to bind, at least one.
    pub listen: Vec<Endpoint>,
    /// Endpoints to announce instead of the bound ones; needed for a wildcard host.
    pub advertise_listen: Vec<Endpoint>,
    /// Directory for what the broker keeps; created if absent, locked while the broker runs.
    pub data: PathBuf,
    /// Bind other addresses than loopback.
    pub open_network: bool,
    /// Be the witness of pairs, too.
    pub witness: Option<WitnessConfig>,
    /// Timing and limits of the routing.
    pub routing: Routing,
    /// How long a stopping broker waits for workers to finish what they hold.
    pub drain: Duration,
    /// Memory of the process beyond which [`run`](crate::server::run) ends it; `None` for no limit.
    pub memory_bytes_max: Option<u64>,
}

/// What a broker that is a witness has to know. Its records lie in the broker's data directory.
#[derive(Clone, Debug)]
pub struct WitnessConfig {
    /// Endpoint to bind; the members of pairs name it with `--witness`.
    pub listen: Endpoint,
    /// A leader that was heard within this time is not replaced against its will.
    pub lease: Duration,
    /// Pairs that are known at a time, recorded or not.
    pub registers_max: usize,
}

impl WitnessConfig {
    /// A witness with the usual values.
    pub fn new(listen: Endpoint) -> WitnessConfig {
        WitnessConfig { listen, lease: WITNESS_LEASE, registers_max: WITNESS_REGISTERS_MAX }
    }
}

/// Timing and limits of the routing.
#[derive(Clone, Debug)]
pub struct Routing {
    /// How often the broker says something to every worker and every peer of the dialect.
    pub heartbeat: Duration,
    /// An idle MDP worker is dead after this much silence.
    pub worker_expiry: Duration,
    /// A busy MDP worker is dead after this much silence.
    pub busy_expiry: Duration,
    /// An MDP request that no worker took by then is answered with an error.
    pub request_expiry: Duration,
    /// A dialect request for a service that was never offered is answered with an error by then.
    pub service_wait: Duration,
    /// Answer failed MDP requests with `#starlog-error`; otherwise they end in silence.
    pub mdp_errors: bool,
    /// Limits of everything that grows.
    pub limits: Limits,
}

/// Limits of everything that grows. What goes beyond is refused or answered BUSY.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Workers of both protocols.
    pub workers: usize,
    /// Sessions of dialect clients.
    pub sessions: usize,
    /// Services with workers or waiting requests.
    pub services: usize,
    /// Stores, registered now or remembered.
    pub stores: usize,
    /// Services of one dialect worker.
    pub registrations_per_worker: usize,
    /// Unanswered requests of all services together.
    pub requests: usize,
    /// Their body bytes.
    pub request_bytes: usize,
    /// Unanswered requests of one service.
    pub service_requests: usize,
    /// Their body bytes.
    pub service_request_bytes: usize,
    /// Unanswered requests of one dialect client.
    pub session_requests: usize,
    /// Their body bytes.
    pub session_request_bytes: usize,
    /// Body bytes of one request.
    pub message_bytes: usize,
    /// Parts of an answer that are kept for a client of MDP/0.1, in bytes.
    pub partial_bytes: usize,
    /// The same, in frames.
    pub partial_frames: usize,
    /// Messages that wait for one slow peer.
    pub outbox_messages: usize,
    /// Their bytes.
    pub outbox_bytes: usize,
    /// Their bytes, of all slow peers together.
    pub outboxes_bytes: usize,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            listen: DEFAULT_ENDPOINT.parse().into_iter().collect(),
            advertise_listen: Vec::new(),
            data: PathBuf::from("starlog-broker-data"),
            open_network: false,
            witness: None,
            routing: Routing::default(),
            drain: Duration::from_secs(2),
            memory_bytes_max: None,
        }
    }
}

impl Default for Routing {
    fn default() -> Routing {
        Routing {
            heartbeat: Duration::from_millis(500),
            worker_expiry: Duration::from_secs(10),
            busy_expiry: Duration::from_secs(60),
            request_expiry: Duration::from_secs(30),
            service_wait: Duration::from_secs(1),
            mdp_errors: true,
            limits: Limits::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        const MIB: usize = 1024 * 1024;
        Limits {
            workers: 4_096,
            sessions: 4_096,
            services: 8_192,
            stores: 1_024,
            registrations_per_worker: 2_048,
            requests: 200_000,
            request_bytes: 512 * MIB,
            service_requests: 50_000,
            service_request_bytes: 64 * MIB,
            session_requests: 4_096,
            session_request_bytes: 64 * MIB,
            message_bytes: 16 * MIB,
            partial_bytes: 16 * MIB,
            partial_frames: 1_024,
            outbox_messages: 20_000,
            outbox_bytes: 64 * MIB,
            outboxes_bytes: 256 * MIB,
        }
    }
}

/// Why a configuration cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Nothing to bind.
    #[error("no endpoint to listen on: give --listen at least once")]
    NoEndpoint,
    /// Other machines could reach the broker.
    #[error(
        "{0} can be reached from other machines, and without keys anyone who reaches it can read \
         and append to every store and answer requests as a worker: add --open-network if that is \
         meant, or listen on 127.0.0.1"
    )]
    OpenNetwork(Endpoint),
    /// Other machines could reach the witness.
    #[error(
        "{0} can be reached from other machines, and without keys anyone who reaches it can take \
         the lead of a pair away from its members: add --open-network if that is meant, or let the \
         witness listen on 127.0.0.1"
    )]
    OpenWitness(Endpoint),
    /// Nobody can connect to a wildcard.
    #[error(
        "{0} has a wildcard host, which others cannot connect to: name the address to announce \
         with --advertise-listen"
    )]
    Wildcard(Endpoint),
    /// A duration that makes no sense.
    #[error("{0} must be at least {1:?}")]
    TooShort(&'static str, Duration),
    /// Expiry that does not outlive heartbeats.
    #[error("{0} must be longer than the heartbeat interval of {1:?}, or every worker expires")]
    ExpiresBetweenHeartbeats(&'static str, Duration),
    /// A limit of zero.
    #[error("every limit must be at least 1")]
    ZeroLimit,
}

/// Reads a duration as people write it: `500ms`, `10s`, `2m`.
///
/// # Errors
/// A sentence that says what a duration looks like.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let number: Option<u64> = digits.parse().ok();
    let milliseconds = match (number, text.get(digits.len()..)) {
        (Some(number), Some("ms")) => Some(number),
        (Some(number), Some("s")) => number.checked_mul(1_000),
        (Some(number), Some("m")) => number.checked_mul(60_000),
        _ => None,
    };
    // A day is beyond any use, and keeps instants far from their end.
    let milliseconds = milliseconds.filter(|number| *number <= 86_400_000);
    milliseconds
        .map(Duration::from_millis)
        .ok_or_else(|| format!("`{text}` is not a duration: write 500ms, 10s or 2m, up to a day"))
}

/// Reads a size as people write it: `64MiB`; without a unit it is in bytes.
///
/// # Errors
/// A sentence that says what a size looks like.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let scaled = text.split_at_checked(digits).and_then(|(number, unit)| {
        let scale: u64 = match unit.trim() {
            "" | "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return None,
        };
        number.parse::<u64>().ok()?.checked_mul(scale)
    });
    scaled.ok_or_else(|| {
        format!("`{text}` is no size: write a number with B, KiB, MiB or GiB, for example 64MiB")
    })
}

const HEARTBEAT_MIN: Duration = Duration::from_millis(10);

impl Config {
    /// Checks what types cannot.
    ///
    /// # Errors
    /// The first thing that does not go together, as a sentence that says what to change.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.listen.is_empty() {
            return Err(ConfigError::NoEndpoint);
        }
        for endpoint in &self.listen {
            if !endpoint.is_loopback() && !self.open_network {
                return Err(ConfigError::OpenNetwork(endpoint.clone()));
            }
            if endpoint.has_wildcard_host() && self.advertise_listen.is_empty() {
                return Err(ConfigError::Wildcard(endpoint.clone()));
            }
        }
        for endpoint in &self.advertise_listen {
            if endpoint.has_wildcard_host() {
                return Err(ConfigError::Wildcard(endpoint.clone()));
            }
        }
        if let Some(witness) = &self.witness {
            if !witness.listen.is_loopback() && !self.open_network {
                return Err(ConfigError::OpenWitness(witness.listen.clone()));
            }
            witness.validate()?;
        }
        self.routing.validate()
    }
}

impl WitnessConfig {
    fn validate(&self) -> Result<(), ConfigError> {
        if self.lease < HEARTBEAT_MIN {
            return Err(ConfigError::TooShort("--witness-lease", HEARTBEAT_MIN));
        }
        if self.registers_max == 0 {
            return Err(ConfigError::ZeroLimit);
        }
        Ok(())
    }
}

impl Routing {
    fn validate(&self) -> Result<(), ConfigError> {
        if self.heartbeat < HEARTBEAT_MIN {
            return Err(ConfigError::TooShort("--heartbeat", HEARTBEAT_MIN));
        }
        for (name, expiry) in
            [("--worker-expiry", self.worker_expiry), ("--busy-expiry", self.busy_expiry)]
        {
            if expiry <= self.heartbeat {
                return Err(ConfigError::ExpiresBetweenHeartbeats(name, self.heartbeat));
            }
        }
        if self.request_expiry.is_zero() {
            return Err(ConfigError::TooShort("--request-expiry", Duration::from_millis(1)));
        }
        if self.limits.all().contains(&0) {
            return Err(ConfigError::ZeroLimit);
        }
        Ok(())
    }
}

impl Limits {
    fn all(&self) -> [usize; 17] {
        [
            self.workers,
            self.sessions,
            self.services,
            self.stores,
            self.registrations_per_worker,
            self.requests,
            self.request_bytes,
            self.service_requests,
            self.service_request_bytes,
            self.session_requests,
            self.session_request_bytes,
            self.message_bytes,
            self.partial_bytes,
            self.partial_frames,
            self.outbox_messages,
            self.outbox_bytes,
            self.outboxes_bytes,
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(text: &str) -> Endpoint {
        text.parse().unwrap()
    }

    #[test]
    fn the_default_is_valid_and_listens_on_loopback() {
        let config = Config::default();
        assert_eq!(config.validate(), Ok(()));
        assert_eq!(config.listen, [endpoint(DEFAULT_ENDPOINT)]);
    }

    #[test]
    fn durations_are_read_as_people_write_them() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        for bad in ["", "5", "s", "-1s", "1.5s", "1h", "5 s", "99999999999999999999s", "2000m"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [("0", 0), ("12B", 12), ("4KiB", 4096), ("2GiB", 2 << 30)] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for bad in ["", "MiB", "4KB", "-1", "1.5MiB", "99999999999GiB", "64 MiBs"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_does_not_go_together_is_said() {
        let open = endpoint("tcp://10.1.2.3:7400");
        let wildcard = endpoint("tcp://*:7400");
        let with = |change: &dyn Fn(&mut Config)| {
            let mut config = Config::default();
            change(&mut config);
            config.validate()
        };
        assert_eq!(with(&|config| config.listen.clear()), Err(ConfigError::NoEndpoint));
        assert_eq!(
            with(&|config| config.listen = vec![open.clone()]),
            Err(ConfigError::OpenNetwork(open.clone()))
        );
        let opened = |config: &mut Config, endpoint: &Endpoint| {
            config.listen = vec![endpoint.clone()];
            config.open_network = true;
        };
        assert_eq!(with(&|config| opened(config, &open)), Ok(()));
        assert_eq!(
            with(&|config| opened(config, &wildcard)),
            Err(ConfigError::Wildcard(wildcard.clone()))
        );
        let advertised = |config: &mut Config| {
            opened(config, &wildcard);
            config.advertise_listen = vec![open.clone()];
        };
        assert_eq!(with(&advertised), Ok(()));
        let short = |config: &mut Config| config.routing.worker_expiry = config.routing.heartbeat;
        assert!(matches!(with(&short), Err(ConfigError::ExpiresBetweenHeartbeats(..))));
        assert!(matches!(
            with(&|config| config.routing.heartbeat = Duration::ZERO),
            Err(ConfigError::TooShort(..))
        ));
        assert_eq!(with(&|config| config.routing.limits.services = 0), Err(ConfigError::ZeroLimit));
        let witness = |listen: &Endpoint, lease| {
            with(&|config| {
                config.witness = Some(WitnessConfig { lease, ..WitnessConfig::new(listen.clone()) })
            })
        };
        assert_eq!(witness(&endpoint("tcp://127.0.0.1:*"), WITNESS_LEASE), Ok(()));
        assert_eq!(witness(&open, WITNESS_LEASE), Err(ConfigError::OpenWitness(open.clone())));
        assert!(matches!(
            witness(&endpoint("tcp://127.0.0.1:*"), Duration::ZERO),
            Err(ConfigError::TooShort("--witness-lease", _))
        ));
        assert!(ConfigError::OpenNetwork(open.clone()).to_string().contains("--open-network"));
    }
}
