//! Each broker asked by itself, rather than the first that answers: they share nothing.

use std::thread;

use client::{Client, Endpoint, LookupError, Topology};

use crate::cli::failure::Failure;
use crate::cli::session::Session;

/// One broker, and what it knows or why that is unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    /// Where it was asked.
    pub endpoint: Endpoint,
    /// Its answer.
    pub answer: Result<Topology, LookupError>,
}

/// Asks all brokers of the session at once.
///
/// # Errors
/// [`Failure`] when a client can't be started; a silent broker is part of the answer.
pub fn ask_each(session: &Session) -> Result<Vec<Broker>, Failure> {
    let clients = session
        .client_configs()
        .map(|(endpoint, config)| Ok((endpoint, Client::with_config(config)?)))
        .collect::<Result<Vec<_>, Failure>>()?;
    let ask = |(endpoint, client): (Endpoint, Client)| Broker {
        endpoint,
        answer: client.topology(session.timeout),
    };
    let ask = &ask;
    Ok(thread::scope(|scope| {
        let asking: Vec<_> =
            clients.into_iter().map(|client| scope.spawn(move || ask(client))).collect();
        // A thread ends without an answer only if it has panicked, and that has been told.
        asking.into_iter().filter_map(|thread| thread.join().ok()).collect()
    }))
}
