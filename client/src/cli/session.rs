//! What every command starts from: the brokers to ask, and where its answer goes.

use std::io::{BufWriter, StdoutLock};
use std::time::Duration;

use broker::config::DEFAULT_ENDPOINT;
use broker::net::Endpoint;
use client::{Client, ClientConfig, StoreHandle, StoreName};

use crate::cli::failure::Failure;
use crate::cli::flags::{Format, GlobalFlags};
use crate::cli::output::Printer;

/// The global flags, understood.
#[derive(Debug)]
pub struct Session {
    brokers: Vec<Endpoint>,
    /// Form of the output.
    pub format: Format,
    /// How long to wait for an answer.
    pub timeout: Duration,
    /// Whether remarks on standard error are unwanted.
    pub quiet: bool,
}

impl Session {
    /// Takes over the global flags.
    #[must_use]
    pub fn new(global: GlobalFlags) -> Self {
        let GlobalFlags { brokers, output, timeout, quiet, verbose: _, trace: _ } = global;
        Self { brokers, format: output, timeout, quiet }
    }

    /// Whether the user named a broker, rather than leaving it to the default.
    #[must_use]
    pub fn names_a_broker(&self) -> bool {
        !self.brokers.is_empty()
    }

    /// How to talk to the brokers that were named, or to the usual one.
    #[must_use]
    pub fn client_config(&self) -> ClientConfig {
        let mut brokers = self.brokers.clone();
        if brokers.is_empty() {
            brokers.extend(DEFAULT_ENDPOINT.parse());
        }
        ClientConfig { brokers, request_timeout: self.timeout, ..ClientConfig::default() }
    }

    /// The same for each broker by itself.
    pub fn client_configs(&self) -> impl Iterator<Item = (Endpoint, ClientConfig)> {
        let all = self.client_config();
        let brokers = all.brokers.clone();
        brokers.into_iter().map(move |broker| {
            let alone = ClientConfig { brokers: vec![broker.clone()], ..all.clone() };
            (broker, alone)
        })
    }

    /// A client of the brokers; it does not wait for one.
    ///
    /// # Errors
    /// [`Failure`] when its thread can't be started.
    pub fn connect(&self) -> Result<Client, Failure> {
        Ok(Client::with_config(self.client_config())?)
    }

    /// A store, looked up at a broker.
    ///
    /// # Errors
    /// [`Failure`] when no broker answers or the store is unknown.
    pub fn store(&self, name: &StoreName) -> Result<StoreHandle, Failure> {
        Ok(self.connect()?.store(name.as_str())?)
    }

    /// Standard output in the form that was asked for.
    #[must_use]
    pub fn printer(&self) -> Printer<BufWriter<StdoutLock<'static>>> {
        self.printer_of(self.format)
    }

    /// Standard output in a form of which there is no choice.
    #[must_use]
    pub fn printer_of(&self, format: Format) -> Printer<BufWriter<StdoutLock<'static>>> {
        Printer::new(BufWriter::new(std::io::stdout().lock()), format)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::flags::CommandLine;

    fn session(line: &str) -> Session {
        Session::new(CommandLine::try_parse_from(line.split_whitespace()).unwrap().global)
    }

    #[test]
    fn the_usual_broker_is_asked_unless_others_are_named() {
        let usual = session("starlog status").client_config();
        assert_eq!(usual.brokers, [DEFAULT_ENDPOINT.parse().unwrap()]);
        let named = session("starlog status --broker tcp://127.0.0.1:1 --timeout 3s");
        assert!(named.names_a_broker());
        assert_eq!(named.client_config().brokers, ["tcp://127.0.0.1:1".parse().unwrap()]);
        assert_eq!(named.client_config().request_timeout, Duration::from_secs(3));
        let two = session("starlog topology --broker tcp://127.0.0.1:1,tcp://127.0.0.1:2");
        let each: Vec<_> = two.client_configs().collect();
        assert_eq!(each.len(), 2);
        assert!(each.iter().all(|(broker, config)| config.brokers == [broker.clone()]));
    }
}
