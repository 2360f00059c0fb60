//! The service that a command is meant for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What a worker that wants id and attempt adds to the name of its service.
const SUFFIX: &str = "+titanic";
/// Longest name: a Majordomo service name that still has room for the suffix.
const BYTES_MAX: usize = broker::dialect::ServiceName::BYTES_MAX - SUFFIX.len();
/// Names that belong to the broker and to Titanic itself.
const RESERVED: [&str; 2] = ["mmi.", "titanic."];

/// A service that commands may be sent to. Its name was checked when it was made.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Target(String);

/// Why a name is no target.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TargetError {
    /// Empty, too long, or not plain text.
    #[error("a target service has 1 to {BYTES_MAX} bytes of UTF-8 without control characters")]
    Text,
    /// It belongs to somebody else.
    #[error("no command can be sent to a service whose name begins with `mmi.` or `titanic.`")]
    Reserved,
    /// The suffix is no part of the name.
    #[error("name the service without `+titanic`: such workers are found by themselves")]
    Suffix,
}

impl Target {
    /// Checks and takes a name.
    ///
    /// # Errors
    /// [`TargetError`] says which rule it breaks.
    pub fn new(name: impl Into<String>) -> Result<Self, TargetError> {
        let name = name.into();
        if name.is_empty() || name.len() > BYTES_MAX || name.chars().any(char::is_control) {
            return Err(TargetError::Text);
        }
        if RESERVED.iter().any(|reserved| name.starts_with(reserved)) {
            return Err(TargetError::Reserved);
        }
        if name.ends_with(SUFFIX) {
            return Err(TargetError::Suffix);
        }
        Ok(Self(name))
    }

    /// Checks and takes a frame.
    ///
    /// # Errors
    /// [`TargetError`] says which rule it breaks.
    pub fn from_bytes(name: &[u8]) -> Result<Self, TargetError> {
        if name.len() > BYTES_MAX {
            return Err(TargetError::Text);
        }
        Self::new(std::str::from_utf8(name).map_err(|_| TargetError::Text)?)
    }

    /// The name, which is also the service of its ordinary workers.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The service of the workers that want id and attempt: `NAME+titanic`.
    #[must_use]
    pub fn with_titanic(&self) -> String {
        format!("{}{SUFFIX}", self.0)
    }
}

impl TryFrom<String> for Target {
    type Error = TargetError;

    fn try_from(name: String) -> Result<Self, TargetError> {
        Self::new(name)
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(name: &str) -> Result<Self, TargetError> {
        Self::new(name)
    }
}

impl From<Target> for String {
    fn from(target: Target) -> Self {
        target.0
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_targets() {
        let long = "x".repeat(BYTES_MAX + 1);
        let rows: [(&[u8], Option<TargetError>); 10] = [
            (b"echo", None),
            (&long.as_bytes()[1..], None),
            ("größe/1 + 1".as_bytes(), None),
            (b"", Some(TargetError::Text)),
            (long.as_bytes(), Some(TargetError::Text)),
            (b"a\nb", Some(TargetError::Text)),
            (b"\xFF\xFE", Some(TargetError::Text)),
            (b"mmi.service", Some(TargetError::Reserved)),
            (b"titanic.request", Some(TargetError::Reserved)),
            (b"echo+titanic", Some(TargetError::Suffix)),
        ];
        for (name, error) in rows {
            let target = Target::from_bytes(name);
            assert_eq!(target.clone().err(), error, "{name:?}");
            if let Ok(target) = target {
                assert_eq!(target.as_str().as_bytes(), name);
                let service = broker::dialect::ServiceName::new(target.with_titanic());
                assert_eq!(service.unwrap().as_str(), format!("{target}+titanic"));
            }
        }
    }
}
