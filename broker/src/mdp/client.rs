//! A Majordomo client for ordinary services, over several brokers.

use std::time::{Duration, Instant};

use bytes::Bytes;
use zmq::{Context, Socket};

use super::Version;
use super::message::{ERROR_FRAME, ToBroker, ToClient};
use crate::dialect::ServiceName;
use crate::net::{self, Endpoint, Frames, Sent};

/// How a [`Client`] asks.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Brokers, in the order in which they are tried.
    pub brokers: Vec<Endpoint>,
    /// The protocol's version. With 0.2 an answer may come in parts.
    pub version: Version,
    /// How long one attempt may take; each part of an answer starts it anew.
    pub timeout: Duration,
    /// How many attempts are made. Every attempt goes out on a new socket, to the next broker, so
    /// a request may be carried out more than once: services have to bear that.
    pub attempts: u32,
}

impl ClientConfig {
    /// One broker, version 0.1, three attempts of 2.5 seconds.
    pub fn new(broker: Endpoint) -> ClientConfig {
        ClientConfig {
            brokers: vec![broker],
            version: Version::V01,
            timeout: Duration::from_millis(2_500),
            attempts: 3,
        }
    }
}

/// Why a client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nowhere to connect.
    #[error("no broker given: name at least one endpoint")]
    NoBroker,
    /// libzmq does not take the endpoint, or has no socket left.
    #[error("cannot connect to {0}: {1}")]
    Socket(Endpoint, zmq::Error),
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The service's name breaks a rule.
    #[error("`{0}` is not a service name: 1 to 128 bytes without control characters")]
    Service(String),
    /// A request has at least one body frame.
    #[error("a request needs at least one body frame")]
    EmptyBody,
    /// Nobody answered. The request may have been carried out.
    #[error("no answer after {attempts} attempts of {timeout:?}; the request may have been done")]
    Timeout {
        /// Attempts made.
        attempts: u32,
        /// Time given to each.
        timeout: Duration,
    },
    /// The broker, or a store behind it, says that it did not work.
    #[error("{0}")]
    Refused(String),
    /// The connection could not be made anew.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The socket failed.
    #[error("the client's socket failed: {0}")]
    Socket(#[from] zmq::Error),
}

/// A part of an answer, or its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// One frame or more.
    pub body: Frames,
    /// Whether this is the last one.
    pub last: bool,
}

/// An MDP client: asks one thing at a time, and asks again when nobody answers.
///
/// ```no_run
/// use broker::mdp::{Client, ClientConfig};
///
/// let mut client = Client::connect(ClientConfig::new("tcp://127.0.0.1:7400".parse()?))?;
/// let answer = client.request("echo", vec!["hello".into()])?;
/// println!("{answer:?}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Client {
    config: ClientConfig,
    context: Context,
    socket: Socket,
    broker: usize,
}

impl Client {
    /// Connects to the first broker; the connection itself is made in the background.
    ///
    /// # Errors
    /// No broker is named, or libzmq refuses.
    pub fn connect(config: ClientConfig) -> Result<Client, ConnectError> {
        let context = Context::new();
        let socket = open(&context, &config, 0)?;
        Ok(Client { config, context, socket, broker: 0 })
    }

    /// Asks, and waits for the whole answer; parts are joined in order.
    ///
    /// # Errors
    /// See [`RequestError`]; after [`RequestError::Timeout`] the outcome is unknown.
    pub fn request(&mut self, service: &str, body: Frames) -> Result<Frames, RequestError> {
        let mut answer = Frames::new();
        self.request_parts(service, body, |part| answer.extend(part.body))?;
        Ok(answer)
    }

    /// Asks, and hands over each part of the answer as it comes.
    ///
    /// After the first part the request is not sent again: a second answer would mix with it.
    ///
    /// # Errors
    /// As [`Client::request`].
    pub fn request_parts(
        &mut self,
        service: &str,
        body: Frames,
        mut take: impl FnMut(Part),
    ) -> Result<(), RequestError> {
        let name = ServiceName::new(service.to_owned()).filter(|name| !name.is_none());
        let name = name.ok_or_else(|| RequestError::Service(service.to_owned()))?;
        if body.is_empty() {
            return Err(RequestError::EmptyBody);
        }
        let version = self.config.version;
        let message = ToBroker::Request { version, service: name.clone(), body }.encode();
        for attempt in 1..=self.config.attempts {
            if attempt > 1 {
                self.reconnect()?;
            }
            self.send(&message)?;
            let mut answered = false;
            while let Some(part) = self.receive(&name)? {
                answered = true;
                let last = part.last;
                if let Some(error) = error_in(&part) {
                    return Err(RequestError::Refused(error));
                }
                take(part);
                if last {
                    return Ok(());
                }
            }
            if answered {
                break;
            }
        }
        // A late answer must not be taken for the answer to the next request.
        self.reconnect()?;
        let (attempts, timeout) = (self.config.attempts, self.config.timeout);
        Err(RequestError::Timeout { attempts, timeout })
    }

    fn send(&self, message: &Frames) -> Result<(), RequestError> {
        match net::send(&self.socket, message)? {
            // A fresh socket has room for one message, so this only delays the time-out.
            Sent::Done | Sent::Full | Sent::Unreachable => Ok(()),
        }
    }

    /// The next part of the answer, or nothing within the time-out.
    #[expect(clippy::disallowed_methods, reason = "a loop reads the clock")]
    fn receive(&self, service: &ServiceName) -> Result<Option<Part>, RequestError> {
        let deadline = Instant::now() + self.config.timeout;
        loop {
            while let Some(frames) = net::receive(&self.socket)? {
                if let Ok(message) = ToClient::decode(self.config.version, frames)
                    && message.service == *service
                {
                    return Ok(Some(Part { body: message.body, last: message.last }));
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            let mut items = [self.socket.as_poll_item(zmq::POLLIN)];
            net::poll(&mut items, Some(left))?;
        }
    }

    /// The next broker, on a new socket: what is still under way on the old one is never read.
    fn reconnect(&mut self) -> Result<(), ConnectError> {
        self.broker = (self.broker + 1) % self.config.brokers.len().max(1);
        self.socket = open(&self.context, &self.config, self.broker)?;
        Ok(())
    }
}

fn open(context: &Context, config: &ClientConfig, broker: usize) -> Result<Socket, ConnectError> {
    let endpoint = config.brokers.get(broker).ok_or(ConnectError::NoBroker)?;
    let failed = |error| ConnectError::Socket(endpoint.clone(), error);
    let socket = net::socket(context, zmq::DEALER).map_err(failed)?;
    net::connect(&socket, endpoint).map_err(failed)?;
    Ok(socket)
}

/// `CODE text`, if the answer is an error of the broker's.
fn error_in(part: &Part) -> Option<String> {
    let error = |text: &Bytes| String::from_utf8_lossy(text).into_owned();
    match part.body.as_slice() {
        [marker, text] if marker == ERROR_FRAME => Some(error(text)),
        _ => None,
    }
}
