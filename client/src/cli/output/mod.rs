//! What goes to standard output: data, in the form that was asked for.
//!
//! Machine forms carry no colour and no remarks; one list of field names serves all commands.

mod event;
mod table;

use std::io::{self, Write};

use serde::Serialize;

pub use event::{EventLine, EventPlace, json_on_one_line, rfc3339};
pub use table::{Alignment, Table, printable};

use crate::cli::failure::Stop;
use crate::cli::flags::Format;

/// Standard output in one form.
///
/// A closed pipe surfaces as [`Stop::OutputClosed`] on the write that finds it.
pub struct Printer<W: Write> {
    out: W,
    format: Format,
    rows: u64,
}

impl<W: Write> Printer<W> {
    /// Prints in `format` to `out`.
    pub const fn new(out: W, format: Format) -> Self {
        Self { out, format, rows: 0 }
    }

    /// Prints one result as a document; `table` makes the form for people.
    ///
    /// # Errors
    /// [`Stop`] when it can't be written.
    pub fn document(
        &mut self,
        document: &impl Serialize,
        table: impl FnOnce() -> String,
    ) -> Result<(), Stop> {
        let written = match self.format {
            Format::Table => self.out.write_all(table().as_bytes()),
            Format::Json => write_json(&mut self.out, document, Layout::Pretty),
            Format::Ndjson => write_json(&mut self.out, document, Layout::Line),
        };
        written.and_then(|()| self.out.flush()).map_err(|error| Stop::of_output(&error))
    }

    /// Prints one event: a line of a table or of NDJSON, or an element of a JSON array.
    ///
    /// # Errors
    /// [`Stop`] when it can't be written.
    pub fn event(&mut self, event: &EventLine<'_>) -> Result<(), Stop> {
        let first = self.rows == 0;
        self.rows += 1;
        let out = &mut self.out;
        let written = match self.format {
            Format::Table if first => {
                writeln!(out, "{}", event::TABLE_HEADER).and_then(|()| event.write_row(out))
            }
            Format::Table => event.write_row(out),
            Format::Json => {
                let separator = if first { "[\n" } else { ",\n" };
                out.write_all(separator.as_bytes())
                    .and_then(|()| Ok(serde_json::to_writer(out, event)?))
            }
            Format::Ndjson => write_json(out, event, Layout::Line),
        };
        written.map_err(|error| Stop::of_output(&error))
    }

    /// Ends a list of events. A list that a failure cut short is left open, so that nobody takes
    /// it for a whole one.
    ///
    /// # Errors
    /// [`Stop`] when it can't be written.
    pub fn finish_events(&mut self) -> Result<(), Stop> {
        let end = match (self.format, self.rows) {
            (Format::Json, 0) => "[]\n",
            (Format::Json, _) => "\n]\n",
            _ => "",
        };
        let written = self.out.write_all(end.as_bytes());
        written.and_then(|()| self.out.flush()).map_err(|error| Stop::of_output(&error))
    }

    /// Hands over what is buffered, so that a reader sees it now.
    ///
    /// # Errors
    /// [`Stop`] when it can't be written.
    pub fn flush(&mut self) -> Result<(), Stop> {
        self.out.flush().map_err(|error| Stop::of_output(&error))
    }

    /// Events printed so far.
    pub const fn rows(&self) -> u64 {
        self.rows
    }
}

enum Layout {
    Pretty,
    Line,
}

fn write_json(out: &mut impl Write, value: &impl Serialize, layout: Layout) -> io::Result<()> {
    match layout {
        Layout::Pretty => serde_json::to_writer_pretty(&mut *out, value)?,
        Layout::Line => serde_json::to_writer(&mut *out, value)?,
    }
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests;
