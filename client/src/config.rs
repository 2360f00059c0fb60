//! How a client behaves.

use std::time::Duration;

use broker::net::Endpoint;

/// Settings of a [`Client`](crate::Client); [`Default`] is good for most programs.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// Brokers, in order of preference; the first that answers is used.
    pub brokers: Vec<Endpoint>,
    /// How long one request may take with all its retries, before its outcome is reported as it
    /// is known then. Default 10 s.
    pub request_timeout: Duration,
    /// How long one attempt may stay without an answer on a living connection before it is sent
    /// again under the same number. Default 2 s.
    pub attempt_timeout: Duration,
    /// What we send to the broker when there is nothing else to send. Default 500 ms.
    pub heartbeat_interval: Duration,
    /// How old the view of the topology may grow. Default 5 s.
    pub topology_interval: Duration,
    /// Most append messages under way per partition. Default 4, which is what a leader remembers
    /// answers for several times over.
    pub under_way_messages_max: usize,
    /// Most append bytes under way per partition; one message may always go. Default 256 KiB.
    pub under_way_bytes_max: usize,
    /// Most appends and calls waiting in this client before it answers `BUSY`. Default 65,536.
    pub queue_appends_max: usize,
    /// Most bytes of them waiting in this client before it answers `BUSY`. Default 64 MiB.
    pub queue_bytes_max: usize,
    /// Most bytes of history under way to one reader. Default 4 MiB.
    pub read_window_bytes: usize,
    /// Whether the signature of every event is checked when it is read. Without it the CRC of its
    /// record still is. Default true.
    pub check_signatures: bool,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            brokers: Vec::new(),
            request_timeout: Duration::from_secs(10),
            attempt_timeout: Duration::from_secs(2),
            heartbeat_interval: Duration::from_millis(500),
            topology_interval: Duration::from_secs(5),
            under_way_messages_max: 4,
            under_way_bytes_max: 256 * 1024,
            queue_appends_max: 65_536,
            queue_bytes_max: 64 * 1024 * 1024,
            read_window_bytes: 4 * 1024 * 1024,
            check_signatures: true,
        }
    }
}
