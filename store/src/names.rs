//! Names that come from outside: checked once, here, and trusted afterwards.

use std::fmt;

use bytes::Bytes;
use thiserror::Error;

/// Longest stream name, in bytes.
pub const STREAM_NAME_BYTES_MAX: usize = 256;
/// Longest event type, in bytes.
pub const EVENT_TYPE_BYTES_MAX: usize = 128;
/// Shortest and longest store name, in bytes.
pub const STORE_NAME_BYTES: std::ops::RangeInclusive<usize> = 3..=48;

/// Why a name is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NameError {
    /// Empty, or longer than allowed.
    #[error("{what} must have {min} to {max} bytes, this one has {bytes}: choose another length")]
    Length {
        /// What was named.
        what: &'static str,
        /// Its length.
        bytes: usize,
        /// Fewest bytes.
        min: usize,
        /// Most bytes.
        max: usize,
    },
    /// Not UTF-8.
    #[error("{what} must be UTF-8 text")]
    NotUtf8 {
        /// What was named.
        what: &'static str,
    },
    /// A control character in a stream name or type.
    #[error("{what} must not contain control characters")]
    Control {
        /// What was named.
        what: &'static str,
    },
    /// A dash in a category.
    #[error("a category is what stands before a stream name's first dash: {name:?} contains one")]
    Dash {
        /// The name, escaped when printed.
        name: String,
    },
    /// A store name outside of its alphabet.
    #[error(
        "a store name has lower-case letters, digits and single dashes, and starts and ends with \
         a letter or digit: {name:?} does not"
    )]
    StoreAlphabet {
        /// The name, escaped when printed.
        name: String,
    },
}

fn check_text<'a>(what: &'static str, bytes: &'a [u8], max: usize) -> Result<&'a str, NameError> {
    if bytes.is_empty() || bytes.len() > max {
        return Err(NameError::Length { what, bytes: bytes.len(), min: 1, max });
    }
    let text = std::str::from_utf8(bytes).map_err(|_| NameError::NotUtf8 { what })?;
    if text.chars().any(char::is_control) {
        return Err(NameError::Control { what });
    }
    Ok(text)
}

fn any_text(_text: &str) -> Result<(), NameError> {
    Ok(())
}

fn no_dash(text: &str) -> Result<(), NameError> {
    if text.contains('-') { Err(NameError::Dash { name: text.to_owned() }) } else { Ok(()) }
}

macro_rules! text_name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:expr, $check:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Bytes);

        impl $name {
            /// Checks and takes a name.
            ///
            /// # Errors
            /// [`NameError`] when it is empty, too long, not UTF-8, has control characters, or
            /// breaks the name's own rule.
            pub fn new(name: impl Into<Bytes>) -> Result<Self, NameError> {
                let name = name.into();
                $check(check_text($what, &name, $max)?)?;
                Ok(Self(name))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                // Checked by `new`; a name can't be made in another way.
                std::str::from_utf8(&self.0).unwrap_or_default()
            }

            /// The name as bytes.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8] {
                &self.0
            }

            /// The same name in memory of its own, so that it does not keep alive the message or
            /// block that it was cut from.
            #[must_use]
            pub fn detached(&self) -> Self {
                Self(Bytes::copy_from_slice(&self.0))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.as_str())
            }
        }

        impl TryFrom<&str> for $name {
            type Error = NameError;
            fn try_from(name: &str) -> Result<Self, NameError> {
                Self::new(Bytes::copy_from_slice(name.as_bytes()))
            }
        }

        impl std::str::FromStr for $name {
            type Err = NameError;
            fn from_str(name: &str) -> Result<Self, NameError> {
                Self::try_from(name)
            }
        }
    };
}

text_name! {
    /// Name of a stream: 1 to 256 bytes of UTF-8 without control characters, by convention
    /// `category-id`. Names that start with `$` are the system's.
    StreamName, "a stream name", STREAM_NAME_BYTES_MAX, any_text
}
text_name! {
    /// Type of an event: 1 to 128 bytes of UTF-8 without control characters.
    EventType, "an event type", EVENT_TYPE_BYTES_MAX, any_text
}
text_name! {
    /// The part of stream names before their first dash, or a whole name without one: 1 to 256
    /// bytes of UTF-8 without control characters and dashes.
    CategoryName, "a category", STREAM_NAME_BYTES_MAX, no_dash
}

impl StreamName {
    /// Whether the stream is one of the system's own, which applications don't append to.
    #[must_use]
    pub fn is_system(&self) -> bool {
        self.0.starts_with(b"$")
    }

    /// The part before the first dash, or the whole name.
    #[must_use]
    pub fn category(&self) -> &str {
        let name = self.as_str();
        name.split_once('-').map_or(name, |(category, _)| category)
    }
}

/// Name of a store: 3 to 48 lower-case letters, digits and single dashes, a letter or digit at
/// both ends. It is safe as a folder name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreName(String);

impl StoreName {
    /// Checks and takes a name.
    ///
    /// # Errors
    /// [`NameError`] when the length or the alphabet is wrong.
    pub fn new(name: &str) -> Result<Self, NameError> {
        if !STORE_NAME_BYTES.contains(&name.len()) {
            return Err(NameError::Length {
                what: "a store name",
                bytes: name.len(),
                min: *STORE_NAME_BYTES.start(),
                max: *STORE_NAME_BYTES.end(),
            });
        }
        let letters = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let inner = name.bytes().all(|byte| letters(byte) || byte == b'-');
        let ends = [name.bytes().next(), name.bytes().last()].into_iter().flatten().all(letters);
        if !inner || !ends || name.contains("--") {
            return Err(NameError::StoreAlphabet { name: name.to_owned() });
        }
        Ok(Self(name.to_owned()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StoreName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for StoreName {
    type Err = NameError;
    fn from_str(name: &str) -> Result<Self, NameError> {
        Self::new(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn store_names() {
        for name in ["abc", "orders", "a1-b2", &"x".repeat(48)] {
            assert!(StoreName::new(name).is_ok(), "{name}");
        }
        let long = "x".repeat(49);
        for name in ["", "ab", &long, "Orders", "-abc", "abc-", "a--b", "a_b", "a/b", "../x", "äbc"]
        {
            assert!(StoreName::new(name).is_err(), "{name}");
        }
    }

    #[test]
    fn stream_names() {
        assert!(StreamName::try_from("order-17").is_ok());
        assert!(StreamName::try_from("{user-1}/größe").is_ok());
        let long = "x".repeat(257);
        for name in ["", &long, "a\nb", "a\0b"] {
            assert!(StreamName::try_from(name).is_err(), "{name:?}");
        }
        assert!(StreamName::new(vec![0xff, 0xfe]).is_err());
        assert_eq!(StreamName::try_from("order-17").unwrap().category(), "order");
        assert!(StreamName::try_from("$topology").unwrap().is_system());
    }

    #[test]
    fn categories() {
        for (stream, category) in [("order-17", "order"), ("a-b-c", "a"), ("plain", "plain")] {
            assert_eq!(StreamName::try_from(stream).unwrap().category(), category);
            assert!(CategoryName::try_from(category).is_ok());
        }
        for name in ["", "order-17", "-", "a\0"] {
            assert!(CategoryName::try_from(name).is_err(), "{name:?}");
        }
    }
}
