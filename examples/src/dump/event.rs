//! A row of a dump as an event of a user or of a post.

use serde_json::{Map, Value, json};
use store::{ContentType, EventId, EventType, NewEvent, Signature, StreamName, names::NameError};
use uuid::Uuid;

use crate::dump::Row;

/// Ids of rows are named inside this namespace.
const NAMESPACE: Uuid = Uuid::from_u128(0x0d0b_4c5e_97a1_5b0e_8f3c_6a52_11d4_e7f0);

/// Where the time of a row stands: `Date` in Badges.xml, `CreationDate` in the others.
pub const TIME_ATTRIBUTES: [&str; 2] = ["CreationDate", "Date"];

/// A file of a dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// `Users.xml`
    Users,
    /// `Posts.xml`
    Posts,
    /// `Comments.xml`
    Comments,
    /// `Badges.xml`
    Badges,
}

impl Source {
    /// All of them: who registers, asks, comments and is honoured, in this order.
    pub const ALL: [Self; 4] = [Self::Users, Self::Posts, Self::Comments, Self::Badges];

    /// Name of the file.
    #[must_use]
    pub const fn file_name(self) -> &'static str {
        match self {
            Self::Users => "Users.xml",
            Self::Posts => "Posts.xml",
            Self::Comments => "Comments.xml",
            Self::Badges => "Badges.xml",
        }
    }

    /// The stream and the event type of a row. `None` if it does not say whose it is.
    fn place(self, row: &Row) -> Option<(String, &'static str)> {
        let user = |attribute| row.get(attribute).map(|id| format!("{{user-{id}}}"));
        let post = |attribute| row.get(attribute).map(|id| format!("{{post-{id}}}"));
        match self {
            Self::Users => Some((user("Id")?, "UserRegistered")),
            Self::Badges => Some((user("UserId")?, "BadgeAwarded")),
            Self::Comments => Some((post("PostId")?, "CommentPosted")),
            Self::Posts => {
                let event_type = match row.get("PostTypeId") {
                    Some("1") => "QuestionAsked",
                    Some("2") => "AnswerGiven",
                    _ => "PostCreated",
                };
                Some((post("Id")?, event_type))
            }
        }
    }
}

/// A row with its place among the events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowEvent {
    /// File that it stands in.
    pub source: Source,
    /// Its id there.
    pub row: String,
    /// Time as written in the dump (ISO 8601 without zone, UTC), which sorts as text.
    pub time: String,
    /// Stream that it belongs to.
    pub stream: String,
    /// What happened.
    pub event_type: &'static str,
    /// All attributes as a JSON object.
    pub data: String,
}

impl RowEvent {
    /// The event of a row. `None` if the row has no id, no time or no owner.
    #[must_use]
    pub fn from_row(source: Source, row: Row) -> Option<Self> {
        let (stream, event_type) = source.place(&row)?;
        let id = row.get("Id")?.to_owned();
        let time = TIME_ATTRIBUTES.iter().find_map(|name| row.get(name))?.to_owned();
        let attributes = row.attributes.into_iter().map(|(name, value)| (name, value.into()));
        let data = Value::Object(attributes.collect::<Map<String, Value>>()).to_string();
        Some(Self { source, row: id, time, stream, event_type, data })
    }

    /// The event as it is appended, signed, with its stream.
    ///
    /// # Errors
    /// [`NameError`] if the row's id makes no stream name, for example because of its length.
    pub fn to_new_event(&self) -> Result<(StreamName, NewEvent), NameError> {
        let stream = StreamName::new(self.stream.clone())?;
        let name = format!("{}/{}", self.source.file_name(), self.row);
        let metadata = json!({"source": self.source.file_name(), "row": self.row});
        let event_type = EventType::try_from(self.event_type)?;
        let mut event = NewEvent::new(event_type, ContentType::Json, self.data.clone())
            .with_id(EventId(Uuid::new_v5(&NAMESPACE, name.as_bytes())))
            .with_metadata(metadata.to_string());
        event.signature = Some(Signature::of(&stream, &event));
        Ok((stream, event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(attributes: &[(&str, &str)]) -> Row {
        let own = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        Row { attributes: attributes.iter().map(own).collect() }
    }

    const DAY: &str = "2011-10-11T19:25:16.397";

    #[test]
    fn rows_find_their_streams() {
        let rows = [
            (Source::Users, row(&[("Id", "-1"), ("CreationDate", DAY)]), "{user--1}"),
            (Source::Badges, row(&[("Id", "9"), ("UserId", "3"), ("Date", DAY)]), "{user-3}"),
            (Source::Posts, row(&[("Id", "7"), ("CreationDate", DAY)]), "{post-7}"),
            (
                Source::Comments,
                row(&[("Id", "1"), ("PostId", "7"), ("CreationDate", DAY)]),
                "{post-7}",
            ),
        ];
        for (source, row, stream) in rows {
            let event = RowEvent::from_row(source, row).unwrap();
            assert_eq!((event.stream.as_str(), event.time.as_str()), (stream, DAY));
        }
        assert_eq!(RowEvent::from_row(Source::Users, row(&[("Id", "1")])), None, "no time");
        let orphan = row(&[("Id", "1"), ("CreationDate", DAY)]);
        assert_eq!(RowEvent::from_row(Source::Comments, orphan), None, "no post");
    }

    #[test]
    fn an_event_holds_the_whole_row_and_the_same_row_gives_the_same_event() {
        let attributes =
            [("Id", "1"), ("CreationDate", DAY), ("Body", "<p>\"Grün\"</p>\n"), ("Score", "18")];
        let event = RowEvent::from_row(Source::Posts, row(&attributes)).unwrap();
        let (_, first) = event.to_new_event().unwrap();
        let (_, again) = event.to_new_event().unwrap();
        assert_eq!(first, again);
        let data: Map<String, Value> = serde_json::from_slice(&first.data).unwrap();
        assert_eq!(data.len(), attributes.len());
        for (name, value) in attributes {
            assert_eq!(data[name], value);
        }
        let metadata: Value = serde_json::from_slice(&first.metadata).unwrap();
        assert_eq!(metadata, json!({"source": "Posts.xml", "row": "1"}));
    }
}
