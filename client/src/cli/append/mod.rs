//! `starlog append`.

mod input;

use client::{Append, AppendReceipt, Durability, NewEvent, StreamName};
use serde::Serialize;

pub use input::{event_of_line, read_source};

use crate::cli::failure::{Failure, Stop};
use crate::cli::flags::{AppendFlags, DurabilityFlag};
use crate::cli::output::{Alignment, Table};
use crate::cli::session::Session;

/// Appends and prints the receipt.
///
/// # Errors
/// [`Stop`] when the input is wrong, the append is refused or its outcome unknown.
pub fn run(session: &Session, flags: AppendFlags) -> Result<(), Stop> {
    // Input is read and checked first: a mistake in it must not cost a look for a broker.
    let events = input::events(&flags)?;
    let store = session.store(&flags.store)?;
    let mut append = Append::to(flags.stream.clone(), flags.expect, events);
    if let Some(level) = flags.durability {
        append = append.with_durability(level.into());
    }
    let ids = ids_of(&append);
    let receipt = store.append_many(append).wait().map_err(|error| {
        // Whoever is in doubt needs the ids to send the same again.
        Failure::from(error).with("event_ids", ids)
    })?;
    let line = ReceiptLine::new(&flags.stream, &receipt);
    session.printer().document(&line, || line.to_table())
}

fn ids_of(append: &Append) -> Vec<String> {
    let events = append.writes.iter().flat_map(|write| &write.events);
    events.map(|event: &NewEvent| event.id.to_string()).collect()
}

impl From<DurabilityFlag> for Durability {
    fn from(flag: DurabilityFlag) -> Self {
        match flag {
            DurabilityFlag::Memory => Self::Memory,
            DurabilityFlag::Local => Self::Local,
            DurabilityFlag::Pair => Self::Pair,
        }
    }
}

/// A receipt as it is printed.
#[derive(Debug, Serialize)]
struct ReceiptLine<'a> {
    store: &'a str,
    stream: &'a str,
    partition: u16,
    first_sequence: u64,
    last_sequence: u64,
    version: u64,
    epoch: u64,
    durability: &'static str,
    /// Incarnations of the nodes that have it.
    durable_on: Vec<String>,
    /// Whether it was there already, from an earlier attempt with the same ids.
    duplicate: bool,
}

impl<'a> ReceiptLine<'a> {
    fn new(stream: &'a StreamName, receipt: &'a AppendReceipt) -> Self {
        Self {
            store: receipt.store.as_str(),
            stream: stream.as_str(),
            partition: receipt.partition.0,
            first_sequence: receipt.first_sequence.0,
            last_sequence: receipt.last_sequence.0,
            version: receipt.version().0,
            epoch: receipt.epoch.0,
            durability: receipt.durability.as_str(),
            durable_on: receipt.durable_on.iter().map(ToString::to_string).collect(),
            duplicate: receipt.duplicate,
        }
    }

    fn to_table(&self) -> String {
        use Alignment::{Left, Right};
        let mut table = Table::new(&[
            ("PARTITION", Right),
            ("FIRST", Right),
            ("LAST", Right),
            ("VERSION", Right),
            ("EPOCH", Right),
            ("DURABILITY", Left),
            ("DURABLE ON", Left),
            ("", Left),
        ]);
        table.row([
            self.partition.to_string(),
            self.first_sequence.to_string(),
            self.last_sequence.to_string(),
            self.version.to_string(),
            self.epoch.to_string(),
            self.durability.to_owned(),
            self.durable_on.join(" "),
            if self.duplicate { "(was there already)".to_owned() } else { String::new() },
        ]);
        table.render()
    }
}
