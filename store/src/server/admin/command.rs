//! The commands as words.

use std::ops::RangeInclusive;
use std::str::FromStr;

use thiserror::Error;

use crate::names::{NameError, StoreName};
use crate::server::units::{StoreSpec, UnitError, parse_range};

/// A command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Name all stores.
    List,
    /// Create a store and serve it.
    Add {
        /// Its name and number of partitions.
        store: StoreSpec,
        /// Which of them are kept here; `None` for all.
        host: Option<RangeInclusive<u16>>,
    },
    /// Stop serving a store.
    Detach(StoreName),
    /// Serve a detached store again.
    Attach(StoreName),
    /// Stop serving a store for ever.
    Remove(StoreName),
}

/// Why a line is no command.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CommandError {
    /// Not one of the words.
    #[error("`{0}` is no command: say list, add, detach, attach or remove")]
    Word(String),
    /// A store name is missing, or something is left over.
    #[error("the command does not have the words it needs: {0}")]
    Words(String),
    /// A name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A number.
    #[error(transparent)]
    Unit(#[from] UnitError),
}

impl FromStr for Command {
    type Err = CommandError;

    fn from_str(line: &str) -> Result<Self, CommandError> {
        let words = line.split_whitespace().collect::<Vec<_>>();
        match words.as_slice() {
            ["list"] => Ok(Self::List),
            ["add", store] => Ok(Self::Add { store: store.parse()?, host: None }),
            ["add", store, host] => {
                Ok(Self::Add { store: store.parse()?, host: Some(parse_range(host)?) })
            }
            ["detach", name] => Ok(Self::Detach(StoreName::new(name)?)),
            ["attach", name] => Ok(Self::Attach(StoreName::new(name)?)),
            ["remove", name] => Ok(Self::Remove(StoreName::new(name)?)),
            ["list" | "add" | "detach" | "attach" | "remove", ..] => {
                Err(CommandError::Words(line.to_owned()))
            }
            _ => Err(CommandError::Word(line.chars().take(40).collect())),
        }
    }
}

impl std::fmt::Display for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::List => f.write_str("list"),
            Self::Add { store, host } => {
                write!(f, "add {}", store.name)?;
                if let Some(partitions) = store.partitions {
                    write!(f, ":{partitions}")?;
                }
                match host {
                    Some(host) => write!(f, " {}-{}", host.start(), host.end()),
                    None => Ok(()),
                }
            }
            Self::Detach(name) => write!(f, "detach {name}"),
            Self::Attach(name) => write!(f, "attach {name}"),
            Self::Remove(name) => write!(f, "remove {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_as_they_are_written() {
        for line in [
            "list",
            "add orders",
            "add orders:4",
            "add orders:4 0-1",
            "detach orders",
            "attach orders",
            "remove orders",
        ] {
            assert_eq!(line.parse::<Command>().unwrap().to_string(), line);
        }
    }

    #[test]
    fn what_is_no_command_is_refused() {
        let long = "x".repeat(5000);
        for line in [
            "",
            "list all",
            "add",
            "add Orders",
            "add orders:0",
            "add orders 3-1",
            "detach",
            "detach a/b",
            "remove ../x",
            "drop orders",
            &long,
            "\0",
        ] {
            let error = line.parse::<Command>().unwrap_err();
            assert!(error.to_string().len() < 6000, "{error}");
        }
    }
}
