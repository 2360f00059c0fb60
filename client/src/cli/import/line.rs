//! The lines of an import: events, each with the place that it had.

use std::borrow::Cow;
use std::io::{BufRead, Read as _};

use broker::error_code::ErrorCode;
use client::{ExpectedVersion, NewEvent, StreamName, Version};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::cli::append::event_of_line;
use crate::cli::failure::Failure;

/// Longest line: an event of the largest size, with room for the growth of base64.
const LINE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// One event that is to be imported.
#[derive(Debug, Clone)]
pub struct ImportLine {
    /// Number of the line, from 1.
    pub number: u64,
    /// Stream that it belongs to.
    pub stream: StreamName,
    /// Place that it had there, if the line says so.
    pub version: Option<Version>,
    /// The event, with the id that it had.
    pub event: NewEvent,
}

impl ImportLine {
    /// The condition that keeps the event at the version that it had.
    pub fn expected(&self) -> ExpectedVersion {
        match self.version {
            None => ExpectedVersion::Any,
            Some(Version(0 | 1)) => ExpectedVersion::None,
            Some(Version(version)) => ExpectedVersion::Exact(Version(version - 1)),
        }
    }

    /// Bytes that are held while it is under way.
    pub fn bytes(&self) -> usize {
        self.event.data.len() + self.event.metadata.len()
    }
}

/// What a line says of the event's place; the rest of it is read as `append --ndjson` reads it.
#[derive(Debug, Deserialize)]
struct Place<'a> {
    #[serde(borrow)]
    stream: Cow<'a, str>,
    version: Option<u64>,
    id: Option<IgnoredAny>,
}

/// Events from a file or a pipe, one line in memory at a time.
#[derive(Debug)]
pub struct Lines<R> {
    input: R,
    line: Vec<u8>,
    lines_read: u64,
    bytes_read: u64,
}

impl<R: BufRead> Lines<R> {
    /// Reads from `input`.
    pub const fn new(input: R) -> Self {
        Self { input, line: Vec::new(), lines_read: 0, bytes_read: 0 }
    }

    /// Bytes read so far.
    pub const fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    /// The next event; `None` at the end. Blank lines are passed over.
    ///
    /// # Errors
    /// [`Failure`] when the input can't be read, or a line makes no sense.
    pub fn next_event(&mut self) -> Result<Option<ImportLine>, Failure> {
        while self.fill()? {
            let text = self.line.trim_ascii();
            if !text.is_empty() {
                let number = self.lines_read;
                let read = import_line(number, text);
                return read.map(Some).map_err(|reason| {
                    Failure::usage(format!("line {number}: {reason}")).with("line", number)
                });
            }
        }
        Ok(None)
    }

    /// Reads a line; `false` at the end.
    fn fill(&mut self) -> Result<bool, Failure> {
        self.line.clear();
        let limit = u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
        let read = self.input.by_ref().take(limit).read_until(b'\n', &mut self.line);
        let read = read.map_err(|error| Failure::system("can't read the events", &error))?;
        self.lines_read += u64::from(read > 0);
        self.bytes_read += u64::try_from(read).unwrap_or(u64::MAX);
        if read > LINE_BYTES_MAX {
            let number = self.lines_read;
            let sentence = format!("line {number} has more than {LINE_BYTES_MAX} bytes");
            let failure = Failure::local(ErrorCode::EVENT_TOO_LARGE, sentence);
            return Err(failure.with("line", number).with("max", LINE_BYTES_MAX));
        }
        Ok(read > 0)
    }
}

fn import_line(number: u64, text: &[u8]) -> Result<ImportLine, String> {
    let place: Place<'_> = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    if place.id.is_none() {
        // With a new id at each run, a second run would add everything again.
        return Err("\"id\" is needed, so that the import can be run again".to_owned());
    }
    let stream = StreamName::try_from(place.stream.as_ref());
    let stream = stream.map_err(|error| format!("\"stream\": {error}"))?;
    if place.version == Some(0) {
        return Err("\"version\" counts from 1".to_owned());
    }
    let version = place.version.map(Version);
    Ok(ImportLine { number, stream, version, event: event_of_line(text)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0190163d-8694-739b-aea5-966c26f8ad91";

    fn line(rest: &str) -> String {
        format!(r#"{{"stream":"order-1","id":"{ID}","type":"T","data":1{rest}}}"#)
    }

    fn only(text: &str) -> Result<ImportLine, Failure> {
        Lines::new(text.as_bytes()).next_event().map(|event| event.expect("no event"))
    }

    #[test]
    fn an_event_is_expected_at_the_version_that_it_had() {
        let rows = [
            ("", ExpectedVersion::Any),
            (r#","version":null"#, ExpectedVersion::Any),
            (r#","version":1"#, ExpectedVersion::None),
            (r#","version":7,"sequence":9"#, ExpectedVersion::Exact(Version(6))),
        ];
        for (rest, expected) in rows {
            let read = only(&line(rest)).unwrap();
            assert_eq!(read.expected(), expected, "{rest}");
            assert_eq!((read.stream.as_str(), read.number), ("order-1", 1));
            assert_eq!(read.event.id.to_string(), ID);
        }
    }

    #[test]
    fn lines_are_counted_blank_ones_too_and_the_last_needs_no_end() {
        let text = format!("\n{}\r\n\n{}", line(""), line(r#","version":2"#));
        let mut lines = Lines::new(text.as_bytes());
        let mut numbers = Vec::new();
        while let Some(read) = lines.next_event().unwrap() {
            numbers.push(read.number);
        }
        assert_eq!(numbers, [2, 4]);
        assert_eq!(lines.bytes_read(), u64::try_from(text.len()).unwrap());
    }

    #[test]
    fn lines_that_are_refused_are_named() {
        let rows = [
            ("nonsense".to_owned(), "expected"),
            (line(r#","version":0"#), "from 1"),
            (r#"{"stream":"a","type":"T","data":1}"#.to_owned(), "\"id\" is needed"),
            (format!(r#"{{"id":"{ID}","type":"T","data":1}}"#), "stream"),
            (format!(r#"{{"stream":"","id":"{ID}","type":"T","data":1}}"#), "\"stream\""),
            (format!(r#"{{"stream":"a","id":"{ID}","type":"T"}}"#), "data_base64"),
        ];
        for (text, words) in rows {
            let failure = only(&format!("\n{text}\n")).unwrap_err();
            assert_eq!(failure.code, ErrorCode::INVALID_ARGUMENT, "{text}");
            assert!(failure.message.starts_with("line 2: "), "{}", failure.message);
            assert!(failure.message.contains(words), "{}", failure.message);
            assert_eq!(failure.details["line"], 2);
        }
    }

    #[test]
    fn a_line_is_bounded() {
        let endless = std::io::BufReader::new(std::io::repeat(b'x'));
        let failure = Lines::new(endless).next_event().unwrap_err();
        assert_eq!(failure.code, ErrorCode::EVENT_TOO_LARGE);
    }
}
