//! Events from flags, files and standard input.

use std::fs::File;
use std::io::{self, Read};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use broker::error_code::ErrorCode;
use client::{ContentType, EventId, EventType, NewEvent};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use store::event::{APPEND_EVENTS_MAX, EVENT_DATA_BYTES_MAX, EVENT_METADATA_BYTES_MAX};
use uuid::Uuid;

use crate::cli::failure::Failure;
use crate::cli::flags::{AppendFlags, ContentTypeFlag, Source};

/// Most bytes of NDJSON on standard input: an append of the largest size, with room for the
/// growth of base64 and of escapes.
const LINES_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The events that the flags describe.
///
/// # Errors
/// [`Failure`] when something can't be read or is not what the flags say.
pub fn events(flags: &AppendFlags) -> Result<Vec<NewEvent>, Failure> {
    if flags.ndjson {
        let text = read_at_most(io::stdin().lock(), LINES_BYTES_MAX, "standard input")?;
        return events_of_lines(&text);
    }
    let (Some(event_type), Some(data)) = (&flags.event_type, &flags.data) else {
        return Err(Failure::usage("--type and --data are needed"));
    };
    if flags.metadata == Some(Source::StandardInput) && *data == Source::StandardInput {
        return Err(Failure::usage("standard input can't be both data and metadata"));
    }
    let content_type = flags.content_type.map_or(ContentType::Json, ContentType::from);
    let data = read_source(data, EVENT_DATA_BYTES_MAX, "data")?;
    if content_type == ContentType::Json {
        check_json(&data, "--data", "; other data needs --content-type bytes or msgpack")?;
    }
    let mut event = NewEvent::new(event_type.clone(), content_type, data);
    if let Some(source) = &flags.metadata {
        let metadata = read_source(source, EVENT_METADATA_BYTES_MAX, "metadata")?;
        check_json(&metadata, "--metadata", "")?;
        event = event.with_metadata(metadata);
    }
    if let Some(id) = flags.id {
        event = event.with_id(EventId(id));
    }
    Ok(vec![event])
}

fn check_json(bytes: &[u8], what: &str, hint: &str) -> Result<(), Failure> {
    serde_json::from_slice::<&RawValue>(bytes)
        .map(|_| ())
        .map_err(|error| Failure::usage(format!("{what} is not JSON: {error}{hint}")))
}

/// The bytes that a flag means.
///
/// # Errors
/// [`Failure`] when they can't be read, or are more than `bytes_max`.
pub fn read_source(source: &Source, bytes_max: usize, what: &str) -> Result<Vec<u8>, Failure> {
    match source {
        Source::Inline(text) => Ok(text.clone().into_bytes()),
        Source::StandardInput => read_at_most(io::stdin().lock(), bytes_max, what),
        Source::File(path) => {
            let file = File::open(path).map_err(|error| {
                Failure::system(&format!("can't open {}", path.display()), &error)
            })?;
            read_at_most(file, bytes_max, what)
        }
    }
}

/// Reads all of `input`, but never holds more than one byte beyond `bytes_max`.
fn read_at_most(input: impl Read, bytes_max: usize, what: &str) -> Result<Vec<u8>, Failure> {
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    input
        .take(limit)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::system(&format!("can't read {what}"), &error))?;
    if bytes.len() > bytes_max {
        let sentence = format!("{what} has more than {bytes_max} bytes: split it");
        return Err(Failure::local(ErrorCode::EVENT_TOO_LARGE, sentence).with("max", bytes_max));
    }
    Ok(bytes)
}

/// One line of `--ndjson`, in the form that `read -o ndjson` prints; what it says about place and
/// time is passed over.
#[derive(Debug, Deserialize)]
struct Line<'a> {
    #[serde(rename = "type")]
    event_type: String,
    id: Option<String>,
    content_type: Option<String>,
    #[serde(borrow, default, deserialize_with = "even_null")]
    data: Option<&'a RawValue>,
    data_base64: Option<String>,
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
    metadata_base64: Option<String>,
}

/// `"data":null` is an event whose data is `null`, not one without data.
fn even_null<'de: 'a, 'a, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Reads one event per line; blank lines are passed over.
fn events_of_lines(text: &[u8]) -> Result<Vec<NewEvent>, Failure> {
    let mut events = Vec::new();
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        if events.len() == APPEND_EVENTS_MAX {
            let sentence = format!("more than {APPEND_EVENTS_MAX} events in one append: split it");
            return Err(
                Failure::local(ErrorCode::BATCH_TOO_LARGE, sentence).with("max", APPEND_EVENTS_MAX)
            );
        }
        let event = event_of_line(line).map_err(|reason| {
            let number = index + 1;
            Failure::usage(format!("line {number}: {reason}")).with("line", number)
        })?;
        events.push(event);
    }
    if events.is_empty() {
        return Err(Failure::usage("standard input has no events"));
    }
    Ok(events)
}

/// The event of one line of NDJSON; a new id where the line has none.
///
/// # Errors
/// A sentence that says what is wrong with the line.
pub fn event_of_line(line: &[u8]) -> Result<NewEvent, String> {
    let line: Line<'_> = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    let event_type: EventType =
        line.event_type.parse().map_err(|error| format!("\"type\": {error}"))?;
    let (data, implied) = match (line.data, line.data_base64) {
        (Some(data), None) => (data.get().as_bytes().to_vec(), ContentType::Json),
        (None, Some(text)) => (from_base64(&text, "data_base64")?, ContentType::Bytes),
        _ => return Err("one of \"data\" and \"data_base64\" is needed".to_owned()),
    };
    let content_type = match line.content_type {
        None => implied,
        Some(name) => content_type_named(&name)?,
    };
    let mut event = NewEvent::new(event_type, content_type, data);
    match (line.metadata, line.metadata_base64) {
        (Some(_), Some(_)) => {
            return Err("\"metadata\" and \"metadata_base64\" exclude each other".to_owned());
        }
        (Some(metadata), None) => event = event.with_metadata(metadata.get().as_bytes().to_vec()),
        (None, Some(text)) => event = event.with_metadata(from_base64(&text, "metadata_base64")?),
        (None, None) => {}
    }
    if let Some(id) = line.id {
        let id = Uuid::parse_str(&id).map_err(|error| format!("\"id\": {error}"))?;
        event = event.with_id(EventId(id));
    }
    Ok(event)
}

fn content_type_named(name: &str) -> Result<ContentType, String> {
    let flag = <ContentTypeFlag as clap::ValueEnum>::from_str(name, false);
    let flag = flag.map_err(|_| "\"content_type\" is json, bytes or msgpack".to_owned())?;
    Ok(flag.into())
}

fn from_base64(text: &str, field: &str) -> Result<Vec<u8>, String> {
    STANDARD.decode(text).map_err(|error| format!("\"{field}\": {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Result<NewEvent, String> {
        event_of_line(text.as_bytes())
    }

    #[test]
    fn a_printed_event_is_taken_back() {
        let event = line(
            r#"{"store":"orders","sequence":7,"type":"OrderPlaced","content_type":"json",
               "id":"0190163d-8694-739b-aea5-966c26f8ad91","metadata":null,
               "data":{"z":1.0,"a":2}}"#,
        )
        .unwrap();
        assert_eq!(event.event_type.as_str(), "OrderPlaced");
        assert_eq!(event.id.to_string(), "0190163d-8694-739b-aea5-966c26f8ad91");
        assert_eq!(event.data.as_ref(), br#"{"z":1.0,"a":2}"#);
        assert!(event.metadata.is_empty());
    }

    #[test]
    fn data_in_both_forms() {
        let rows: [(&str, ContentType, &[u8]); 5] = [
            (r#"{"type":"T","data":null}"#, ContentType::Json, b"null"),
            (r#"{"type":"T","data":"x"}"#, ContentType::Json, b"\"x\""),
            (r#"{"type":"T","data_base64":"AP8="}"#, ContentType::Bytes, b"\x00\xff"),
            (
                r#"{"type":"T","data_base64":"wA==","content_type":"msgpack"}"#,
                ContentType::MessagePack,
                b"\xc0",
            ),
            (r#"{"type":"T","data_base64":""}"#, ContentType::Bytes, b""),
        ];
        for (text, content_type, data) in rows {
            let event = line(text).unwrap();
            assert_eq!((event.content_type, event.data.as_ref()), (content_type, data), "{text}");
        }
    }

    #[test]
    fn metadata_in_both_forms() {
        let event = line(r#"{"type":"T","data":1,"metadata":{"by":"me"}}"#).unwrap();
        assert_eq!(event.metadata.as_ref(), br#"{"by":"me"}"#);
        let event = line(r#"{"type":"T","data":1,"metadata":null,"metadata_base64":"/w=="}"#);
        assert_eq!(event.unwrap().metadata.as_ref(), b"\xff");
    }

    #[test]
    fn lines_that_are_refused() {
        let rows = [
            ("nonsense", "expected"),
            (r#"{"data":1}"#, "type"),
            (r#"{"type":"","data":1}"#, "\"type\""),
            (r#"{"type":"T"}"#, "data_base64"),
            (r#"{"type":"T","data":1,"data_base64":""}"#, "data_base64"),
            (r#"{"type":"T","data_base64":"?"}"#, "data_base64"),
            (r#"{"type":"T","data":1,"id":"7"}"#, "\"id\""),
            (r#"{"type":"T","data":1,"content_type":"xml"}"#, "content_type"),
            (r#"{"type":"T","data":1,"metadata":1,"metadata_base64":""}"#, "metadata"),
        ];
        for (text, word) in rows {
            let reason = line(text).unwrap_err();
            assert!(reason.contains(word), "{text}: {reason}");
        }
    }

    #[test]
    fn a_wrong_line_is_named_by_its_number() {
        let failure = events_of_lines(b"{\"type\":\"T\",\"data\":1}\n\n{}\n").unwrap_err();
        assert_eq!(failure.code, ErrorCode::INVALID_ARGUMENT);
        assert!(failure.message.starts_with("line 3: "), "{}", failure.message);
        let failure = events_of_lines(b"\n\r\n").unwrap_err();
        assert!(failure.message.contains("no events"));
    }

    #[test]
    fn the_limit_of_events_holds_before_anything_is_sent() {
        let lines = "{\"type\":\"T\",\"data\":1}\n".repeat(APPEND_EVENTS_MAX);
        assert_eq!(events_of_lines(lines.as_bytes()).unwrap().len(), APPEND_EVENTS_MAX);
        let one_more = format!("{lines}{{\"type\":\"T\",\"data\":1}}");
        let failure = events_of_lines(one_more.as_bytes()).unwrap_err();
        assert_eq!(failure.code, ErrorCode::BATCH_TOO_LARGE);
    }

    #[test]
    fn input_is_bounded() {
        assert_eq!(read_at_most(&b"1234"[..], 4, "data").unwrap(), b"1234");
        let failure = read_at_most(io::repeat(b'x'), 4, "data").unwrap_err();
        assert_eq!(failure.code, ErrorCode::EVENT_TOO_LARGE);
    }
}
