//! Who a command is, who a Titanic process is, and what the steps of a command are called.

use std::fmt;
use std::str::FromStr;

use serde::de::{Error as _, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use store::event::EventId;
use thiserror::Error;
use uuid::Uuid;

use super::shard::Shard;

/// Identity of a command. Whoever sends a command twice with the same id sends it once.
///
/// As text it is 32 hexadecimal digits without dashes (RFC 9), written in upper case and read in
/// either; in MessagePack it is 16 bytes, and such text is understood too.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(Uuid);

/// Why bytes are no command id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a command id has 32 hexadecimal digits and nothing else")]
pub struct CommandIdError;

/// Length of an id as text.
const DIGITS: usize = 32;

impl CommandId {
    /// The command with this id.
    #[must_use]
    pub const fn new(id: Uuid) -> Self {
        Self(id)
    }

    /// A fresh one. For loops only: randomness is an input of a machine.
    #[must_use]
    pub fn generate() -> Self {
        Self(Uuid::new_v4())
    }

    /// The id that follows from a name (UUID version 5), so that doing the same thing again sends
    /// the same command.
    #[must_use]
    pub fn derived(namespace: Uuid, name: &str) -> Self {
        Self(Uuid::new_v5(&namespace, name.as_bytes()))
    }

    /// The id as UUID.
    #[must_use]
    pub const fn uuid(&self) -> Uuid {
        self.0
    }

    /// The 16 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// [`CommandIdError`] for anything but 32 hexadecimal digits.
    pub fn parse(text: &[u8]) -> Result<Self, CommandIdError> {
        // Other forms that the UUID library knows, with dashes or braces, have another length.
        if text.len() != DIGITS {
            return Err(CommandIdError);
        }
        Uuid::try_parse_ascii(text).map(Self).map_err(|_| CommandIdError)
    }

    /// Id of the event that is step `step` of this command: UUIDv5(this id, `step K`).
    #[must_use]
    pub fn step_id(&self, step: u32) -> EventId {
        EventId(Uuid::new_v5(&self.0, format!("step {step}").as_bytes()))
    }

    /// The shard that its steps belong to.
    #[must_use]
    pub fn shard(&self) -> Shard {
        Shard::of(self)
    }
}

impl fmt::Display for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::UpperHex::fmt(&self.0.simple(), f)
    }
}

impl fmt::Debug for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CommandId({self})")
    }
}

impl FromStr for CommandId {
    type Err = CommandIdError;

    fn from_str(text: &str) -> Result<Self, CommandIdError> {
        Self::parse(text.as_bytes())
    }
}

impl Serialize for CommandId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.as_bytes())
    }
}

impl<'de> Deserialize<'de> for CommandId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct IdVisitor;

        impl Visitor<'_> for IdVisitor {
            type Value = CommandId;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("16 bytes, or 32 hexadecimal digits")
            }

            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<CommandId, E> {
                Uuid::from_slice(bytes).map(CommandId).map_err(E::custom)
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<CommandId, E> {
                CommandId::parse(text.as_bytes()).map_err(E::custom)
            }
        }

        // The encoding says by itself which of both it is.
        deserializer.deserialize_any(IdVisitor).map_err(D::Error::custom)
    }
}

/// One run of a Titanic process: it stands in every step that the process writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Session(pub Uuid);

impl Session {
    /// A fresh one. For loops only.
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }
}

impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.simple().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::super::pack::{pack, unpack};
    use super::*;

    const TEXT: &str = "00112233445566778899AABBCCDDEEFF";

    #[test]
    fn ids_are_32_digits_in_either_case_and_nothing_else() {
        let id = CommandId::parse(TEXT.as_bytes()).unwrap();
        assert_eq!(CommandId::parse(TEXT.to_lowercase().as_bytes()), Ok(id));
        assert_eq!(id.to_string(), TEXT);
        assert_eq!(TEXT.parse(), Ok(id));
        let dashed = id.uuid().to_string();
        let long = "0".repeat(100_000);
        for wrong in [
            "",
            &TEXT[1..],
            &dashed,
            &format!("{TEXT}0"),
            &format!("{{{}}}", &TEXT[2..]),
            "../../../../../../../etc/passwd0",
            "0011223344556677 899AABBCCDDEEFF",
            "urn:uuid:0011223344556677889900AA",
            &long,
        ] {
            assert_eq!(CommandId::parse(wrong.as_bytes()), Err(CommandIdError), "{wrong:.40}");
        }
        assert_eq!(CommandId::parse(&[0; 32]), Err(CommandIdError));
        assert_eq!(CommandId::parse(&[0xFF; 32]), Err(CommandIdError));
    }

    #[test]
    fn in_messagepack_an_id_is_bytes_or_digits() {
        let id = CommandId::parse(TEXT.as_bytes()).unwrap();
        let packed = pack(&id).unwrap();
        assert_eq!(packed[..2], [0xC4, 16]);
        assert_eq!(unpack::<CommandId>(&packed), Ok(id));
        assert_eq!(unpack::<CommandId>(&pack(&TEXT).unwrap()), Ok(id));
        assert!(unpack::<CommandId>(&pack(&"short").unwrap()).is_err());
        assert!(unpack::<CommandId>(&[0xC4, 2, 1, 1]).is_err());
        assert!(unpack::<CommandId>(&pack(&7).unwrap()).is_err());
        assert!(unpack::<Session>(&[0xC4, 2, 1, 1]).is_err());
    }

    #[test]
    fn the_id_of_a_step_never_changes() {
        let id = CommandId::parse(TEXT.as_bytes()).unwrap();
        // Computed with Python's uuid.uuid5.
        assert_eq!(id.step_id(0).to_string(), STEP_0);
        assert_eq!(id.step_id(1).to_string(), STEP_1);
    }

    const STEP_0: &str = "8daaa9ed-70ff-5ff9-8487-dba3cbd6ac93";
    const STEP_1: &str = "19d2ba48-e06e-58cd-a756-b2bb80c80392";
}
