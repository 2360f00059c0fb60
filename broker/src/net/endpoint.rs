//! Addresses of sockets, and what they expose.

use std::fmt;
use std::str::FromStr;

/// Where a socket is bound or connected, for example `tcp://127.0.0.1:7400`.
///
/// Known transports: `tcp://HOST:PORT` (the port may be `*` when binding), `ipc://PATH` and
/// `inproc://NAME`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint(String);

/// Why a text is not an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// No known transport in front.
    #[error("`{0}` is not an endpoint: write tcp://HOST:PORT, ipc://PATH or inproc://NAME")]
    Transport(String),
    /// A TCP endpoint without a host or without a port.
    #[error(
        "`{0}` lacks a host or a port: write tcp://HOST:PORT, for example tcp://127.0.0.1:7400"
    )]
    Address(String),
    /// The port is neither a number nor `*`.
    #[error("`{0}` has a bad port: use a number from 0 to 65535, or * for any free port")]
    Port(String),
}

impl Endpoint {
    /// The text, as libzmq takes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether only processes of this machine can reach it.
    pub fn is_loopback(&self) -> bool {
        match self.tcp_host() {
            None => true,
            Some(host) => {
                let bare = host.trim_start_matches('[').trim_end_matches(']');
                bare == "localhost"
                    || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
            }
        }
    }

    /// Whether the host stands for every interface, so that others cannot be told to connect here.
    pub fn has_wildcard_host(&self) -> bool {
        matches!(self.tcp_host(), Some("*" | "0.0.0.0" | "[::]" | "::"))
    }

    /// Whether the host is an IPv4 address. libzmq would otherwise name it as a mapped IPv6 one.
    pub fn is_ipv4(&self) -> bool {
        self.tcp_host().is_some_and(|host| host.parse::<std::net::Ipv4Addr>().is_ok())
    }

    /// The host of a TCP endpoint, with the brackets of an IPv6 address.
    fn tcp_host(&self) -> Option<&str> {
        let address = self.0.strip_prefix("tcp://")?;
        address.rsplit_once(':').map(|(host, _)| host)
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Endpoint, EndpointError> {
        let endpoint = Endpoint(text.to_owned());
        if let Some(address) = text.strip_prefix("tcp://") {
            let (host, port) =
                address.rsplit_once(':').ok_or_else(|| EndpointError::Address(text.to_owned()))?;
            if host.is_empty() || port.is_empty() {
                return Err(EndpointError::Address(text.to_owned()));
            }
            if port != "*" && port.parse::<u16>().is_err() {
                return Err(EndpointError::Port(text.to_owned()));
            }
            return Ok(endpoint);
        }
        let named = |prefix: &str| text.strip_prefix(prefix).is_some_and(|name| !name.is_empty());
        if named("ipc://") || named("inproc://") {
            return Ok(endpoint);
        }
        Err(EndpointError::Transport(text.to_owned()))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_endpoints_and_what_they_reach() {
        let cases = [
            ("tcp://127.0.0.1:7400", true, false),
            ("tcp://127.9.0.1:*", true, false),
            ("tcp://localhost:1", true, false),
            ("tcp://[::1]:7400", true, false),
            ("tcp://*:7400", false, true),
            ("tcp://0.0.0.0:7400", false, true),
            ("tcp://[::]:7400", false, true),
            ("tcp://10.0.0.7:7400", false, false),
            ("tcp://broker.example:7400", false, false),
            ("ipc:///run/starlog", true, false),
            ("inproc://broker", true, false),
        ];
        for (text, loopback, wildcard) in cases {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!(endpoint.is_loopback(), loopback, "{text}");
            assert_eq!(endpoint.has_wildcard_host(), wildcard, "{text}");
            assert_eq!(endpoint.to_string(), text);
        }
    }

    #[test]
    fn bad_endpoints_say_what_is_missing() {
        let bad = |text: &str| text.parse::<Endpoint>().unwrap_err();
        for text in ["", "127.0.0.1:7400", "udp://127.0.0.1:1", "ipc://", "inproc://"] {
            assert_eq!(bad(text), EndpointError::Transport(text.to_owned()));
        }
        for text in ["tcp://", "tcp://host", "tcp://:7400", "tcp://host:"] {
            assert_eq!(bad(text), EndpointError::Address(text.to_owned()));
        }
        for text in ["tcp://host:port", "tcp://host:65536", "tcp://host:-1"] {
            assert_eq!(bad(text), EndpointError::Port(text.to_owned()));
        }
    }
}
