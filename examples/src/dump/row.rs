//! `<row …/>` elements out of a dump file.

use std::io::BufRead;

use quick_xml::{
    Reader, XmlVersion,
    events::{BytesStart, Event as Xml},
};
use thiserror::Error;

/// The attributes of one `<row …/>`, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Row {
    /// Name and unescaped value.
    pub attributes: Vec<(String, String)>,
}

impl Row {
    /// The value of an attribute.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Why a file is no dump: it is not well-formed, or not UTF-8.
#[derive(Debug, Error)]
#[error("no well-formed XML near byte {position}: {reason}")]
pub struct RowError {
    /// Where it was met.
    pub position: u64,
    /// What the parser says.
    pub reason: String,
}

/// Reads the rows one by one: a dump of any size needs the memory of its largest row.
///
/// The byte-order mark, the DOCTYPE line (whose DTD is not fetched) and the element around the
/// rows are passed over.
pub fn read_rows(file: impl BufRead) -> impl Iterator<Item = Result<Row, RowError>> {
    let mut reader = Reader::from_reader(file);
    let mut buffer = Vec::new();
    let mut open = 0_u32;
    let mut over = false;
    std::iter::from_fn(move || {
        while !over {
            buffer.clear();
            let position = reader.buffer_position();
            let failed = |reason: String| Some(Err(RowError { position, reason }));
            match reader.read_event_into(&mut buffer) {
                Ok(Xml::Start(element)) if element.name().as_ref() == "row" => {
                    open += 1;
                    let row = row_of(&element, position);
                    over = row.is_err();
                    return Some(row);
                }
                Ok(Xml::Empty(element)) if element.name().as_ref() == "row" => {
                    let row = row_of(&element, position);
                    over = row.is_err();
                    return Some(row);
                }
                Ok(Xml::Start(_)) => open += 1,
                Ok(Xml::End(_)) => open = open.saturating_sub(1),
                Ok(Xml::Eof) => {
                    over = true;
                    if open > 0 {
                        return failed(String::from("the file ends in the middle"));
                    }
                }
                Ok(_) => {}
                Err(error) => {
                    over = true;
                    return failed(error.to_string());
                }
            }
        }
        None
    })
}

fn row_of(element: &BytesStart<'_>, position: u64) -> Result<Row, RowError> {
    let mut row = Row::default();
    for attribute in element.attributes() {
        let attribute =
            attribute.map_err(|error| RowError { position, reason: error.to_string() })?;
        let value = attribute
            .normalized_value(XmlVersion::Implicit1_0)
            .map_err(|error| RowError { position, reason: error.to_string() })?;
        row.attributes.push((attribute.key.as_ref().to_owned(), value.into_owned()));
    }
    Ok(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Vec<Result<Row, RowError>> {
        read_rows(text.as_bytes()).collect()
    }

    #[test]
    fn mark_doctype_and_escapes() {
        let text = "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?>\r\n\
            <!DOCTYPE posts SYSTEM 'posts.dtd'>\n<posts>\n  \
            <row Id=\"1\" Tags=\"&lt;c&gt;&lt;d&gt;\" Body=\"a&#xA;b &amp; \u{f6}\" />\n</posts>";
        let rows = rows(text);
        assert_eq!(rows.len(), 1);
        let row = rows[0].as_ref().unwrap();
        assert_eq!(row.get("Id"), Some("1"));
        assert_eq!(row.get("Tags"), Some("<c><d>"));
        assert_eq!(row.get("Body"), Some("a\nb & \u{f6}"));
        assert_eq!(row.get("Title"), None);
    }

    #[test]
    fn damage_ends_the_reading_with_one_error() {
        for text in [
            "<posts><row Id=\"1\" /><row Id=\"2",
            "<posts><row Id=\"1\" />",
            "<posts><row Id=\"1\" /><row Id=&quot; /></posts>",
            "<posts><row Id=\"1\" /><row Body=\"&nonsense;\" /></posts>",
            "<posts><row Id=\"1\" /></users>",
        ] {
            let rows = rows(text);
            assert_eq!(rows.len(), 2, "{text}: {rows:?}");
            assert!(rows[0].is_ok() && rows[1].is_err(), "{text}: {rows:?}");
        }
    }
}
