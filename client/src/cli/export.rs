//! `starlog export`.

use std::io::Write;

use client::{
    PartitionNumber, ReadAllOptions, ReadOptions, Sequence, StoreHandle, StoreName, StreamName,
    Version,
};
use serde::Serialize;

use crate::cli::failure::{Failure, Stop};
use crate::cli::flags::{ExportFlags, Format};
use crate::cli::output::{EventLine, EventPlace, Printer};
use crate::cli::read::check_exists;
use crate::cli::replay::{chosen_partitions, sequence_without_partition};
use crate::cli::session::Session;

/// Prints the events of a store, of a partition or of a stream, one per line.
///
/// # Errors
/// [`Stop`] when store, partition or stream do not exist, or reading fails.
pub fn run(session: &Session, flags: &ExportFlags) -> Result<(), Stop> {
    let store = session.store(&flags.store)?;
    let mut export = Export { flags, store: &store, printer: session.printer_of(Format::Ndjson) };
    let mut ends = Vec::new();
    match &flags.stream {
        Some(stream) => ends.push(export.stream(stream)?),
        None => {
            let partitions = chosen_partitions(&store, flags.partition)?;
            if partitions.len() > 1 && (flags.from.is_some() || flags.to.is_some()) {
                return Err(sequence_without_partition(&store, "--from and --to").into());
            }
            for partition in partitions {
                ends.push(export.partition(partition)?);
            }
        }
    }
    export.printer.finish_events()?;
    if !session.quiet {
        eprintln!("{}", print_ends(session.format, &flags.store, export.printer.rows(), &ends));
    }
    Ok(())
}

/// An export under way.
struct Export<'a, W: Write> {
    flags: &'a ExportFlags,
    store: &'a StoreHandle,
    printer: Printer<W>,
}

/// Where an export has come to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct End {
    #[serde(skip_serializing_if = "Option::is_none")]
    partition: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<String>,
    /// What to say with `--from` to go on.
    from: u64,
}

impl<W: Write> Export<'_, W> {
    /// Events up to the head when this began, or up to `--to`.
    fn partition(&mut self, partition: PartitionNumber) -> Result<End, Stop> {
        let options = ReadAllOptions {
            from: self.flags.from.map(Sequence),
            to: self.flags.to.map(Sequence),
            system_streams: self.flags.system,
            ..ReadAllOptions::default()
        };
        let place = EventPlace { store: &self.flags.store, partition: partition.0 };
        let mut next = self.flags.from.unwrap_or(1);
        let mut events = self.store.read_all(partition, options);
        for event in events.by_ref() {
            let event = event.map_err(Failure::from)?;
            next = event.sequence.next().0;
            self.printer.event(&EventLine::new(place, &event))?;
        }
        // Behind the last event that was printed there may be some of system streams.
        let seen = match (events.head(), self.flags.to) {
            (Some(head), Some(to)) => head.0.min(to),
            (Some(head), None) => head.0,
            (None, _) => 0,
        };
        let from = next.max(seen.saturating_add(1));
        Ok(End { partition: Some(partition.0), stream: None, from })
    }

    fn stream(&mut self, stream: &StreamName) -> Result<End, Stop> {
        let options = ReadOptions { from: self.flags.from.map(Version), ..ReadOptions::default() };
        let partition = self.store.partition_of(stream).0;
        let place = EventPlace { store: &self.flags.store, partition };
        let mut next = self.flags.from.unwrap_or(1);
        for event in self.store.read_stream(stream.clone(), options) {
            let event = event.map_err(Failure::from)?;
            if self.flags.to.is_some_and(|to| event.version.0 > to) {
                break;
            }
            next = event.version.next().0;
            self.printer.event(&EventLine::new(place, &event))?;
        }
        if self.printer.rows() == 0 {
            check_exists(self.store, stream)?;
        }
        Ok(End { partition: None, stream: Some(stream.to_string()), from: next })
    }
}

/// How many events were printed, and how to go on from there.
fn print_ends(format: Format, store: &StoreName, events: u64, ends: &[End]) -> String {
    #[derive(Serialize)]
    struct Ends<'a> {
        events: u64,
        next: &'a [End],
    }
    match format {
        Format::Table => {
            let mut text = format!("{events} events; what comes later:");
            for End { partition, stream, from } in ends {
                let part = match (partition, stream) {
                    (Some(partition), _) => format!("--partition {partition}"),
                    (None, Some(stream)) => format!("--stream '{stream}'"),
                    (None, None) => String::new(),
                };
                text.push_str(&format!("\n  starlog export {store} {part} --from {from}"));
            }
            text
        }
        // Numbers and texts always have a JSON form.
        Format::Json | Format::Ndjson => {
            serde_json::to_string(&Ends { events, next: ends }).unwrap_or_default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_to_go_on_is_said_in_both_forms() {
        let store = StoreName::new("orders").unwrap();
        let ends = [
            End { partition: Some(1), stream: None, from: 8 },
            End { partition: None, stream: Some("order-1".into()), from: 3 },
        ];
        let text = print_ends(Format::Table, &store, 7, &ends);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "7 events; what comes later:");
        assert_eq!(lines[1], "  starlog export orders --partition 1 --from 8");
        assert_eq!(lines[2], "  starlog export orders --stream 'order-1' --from 3");
        let json = print_ends(Format::Ndjson, &store, 7, &ends);
        let expected = concat!(
            r#"{"events":7,"next":[{"partition":1,"from":8},"#,
            r#"{"stream":"order-1","from":3}]}"#
        );
        assert_eq!(json, expected);
    }
}
