//! Events as values: encoding on the way in, decoding on the way out.

use serde::Serialize;
use serde::de::DeserializeOwned;
use store::event::{ContentType, Event, NewEvent};
use store::names::{EventType, NameError};
use thiserror::Error;

/// Why a value did not become an event, or an event not a value.
#[derive(Debug, Error)]
pub enum EventError {
    /// The event type is not a name.
    #[error(transparent)]
    Type(#[from] NameError),
    /// The value does not fit into JSON, or the data is not the JSON that was asked for.
    #[error("JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The value does not fit into MessagePack.
    #[error("MessagePack: {0}")]
    Encode(#[from] rmp_serde::encode::Error),
    /// The data is not the MessagePack value that was asked for.
    #[error("MessagePack: {0}")]
    Decode(#[from] rmp_serde::decode::Error),
    /// The data are plain bytes.
    #[error("the event's data are plain bytes: read `data` itself")]
    PlainBytes,
}

/// New events from values.
pub trait EncodeEvent: Sized {
    /// An event with a generated id and JSON data.
    ///
    /// # Errors
    /// [`EventError`] when the type is no name or the value has no JSON form.
    fn json<T: Serialize + ?Sized>(event_type: &str, value: &T) -> Result<Self, EventError>;

    /// An event with a generated id and MessagePack data (maps with field names).
    ///
    /// # Errors
    /// [`EventError`] when the type is no name or the value has no MessagePack form.
    fn message_pack<T: Serialize + ?Sized>(event_type: &str, value: &T)
    -> Result<Self, EventError>;
}

impl EncodeEvent for NewEvent {
    fn json<T: Serialize + ?Sized>(event_type: &str, value: &T) -> Result<Self, EventError> {
        let data = serde_json::to_vec(value)?;
        Ok(Self::new(EventType::try_from(event_type)?, ContentType::Json, data))
    }

    fn message_pack<T: Serialize + ?Sized>(
        event_type: &str,
        value: &T,
    ) -> Result<Self, EventError> {
        let data = rmp_serde::to_vec_named(value)?;
        Ok(Self::new(EventType::try_from(event_type)?, ContentType::MessagePack, data))
    }
}

/// Values from events.
pub trait DecodeEvent {
    /// The data as a value, by the event's content type.
    ///
    /// # Errors
    /// [`EventError`] when the data are plain bytes or another value than the one asked for.
    fn decode<T: DeserializeOwned>(&self) -> Result<T, EventError>;
}

impl DecodeEvent for Event {
    fn decode<T: DeserializeOwned>(&self) -> Result<T, EventError> {
        match self.content_type {
            ContentType::Json => Ok(serde_json::from_slice(&self.data)?),
            ContentType::MessagePack => Ok(rmp_serde::from_slice(&self.data)?),
            ContentType::Bytes => Err(EventError::PlainBytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Placed {
        total: u32,
    }

    #[test]
    fn values_become_event_data() {
        let json = NewEvent::json("OrderPlaced", &Placed { total: 12 }).unwrap();
        assert_eq!(json.data.as_ref(), br#"{"total":12}"#);
        assert_eq!(json.content_type, ContentType::Json);
        let packed = NewEvent::message_pack("OrderPlaced", &Placed { total: 12 }).unwrap();
        assert_eq!(rmp_serde::from_slice::<Placed>(&packed.data).unwrap(), Placed { total: 12 });
        assert!(matches!(NewEvent::json("", &1), Err(EventError::Type(_))));
    }
}
