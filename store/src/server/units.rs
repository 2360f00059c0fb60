//! Sizes, durations and store specifications as people write them on a command line.

use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;

use crate::names::{NameError, StoreName};
use crate::slot::PARTITIONS_MAX;

/// Why a text is no such value.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UnitError {
    /// No size.
    #[error("`{0}` is no size: write a number with B, KiB, MiB or GiB, for example 64MiB")]
    Size(String),
    /// No duration.
    #[error("`{0}` is no duration: write a number with ms, s or m, for example 500ms")]
    Duration(String),
    /// No range.
    #[error("`{0}` is no range of partitions: write FIRST-LAST, for example 0-1")]
    Range(String),
    /// No number of partitions.
    #[error("`{0}` is no number of partitions: write 1 to {PARTITIONS_MAX}, for example orders:4")]
    Partitions(String),
    /// No store name.
    #[error(transparent)]
    Name(#[from] NameError),
}

fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits)?;
    Some((number.parse().ok()?, unit.trim()))
}

/// Reads a size, for example `64MiB`; without a unit it is in bytes.
///
/// # Errors
/// [`UnitError::Size`].
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    broker::config::parse_size(text).map_err(|_| UnitError::Size(text.to_owned()))
}

/// Reads a duration, for example `500ms`.
///
/// # Errors
/// [`UnitError::Duration`].
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let milliseconds = number_and_unit(text).and_then(|(number, unit)| {
        let scale: u64 = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            _ => return None,
        };
        number.checked_mul(scale)
    });
    milliseconds.map(Duration::from_millis).ok_or_else(|| UnitError::Duration(text.to_owned()))
}

/// Reads a range of partitions, for example `0-1`, or a single one.
///
/// # Errors
/// [`UnitError::Range`].
pub fn parse_range(text: &str) -> Result<RangeInclusive<u16>, UnitError> {
    let wrong = || UnitError::Range(text.to_owned());
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let first = first.parse::<u16>().map_err(|_| wrong())?;
    let last = last.parse::<u16>().map_err(|_| wrong())?;
    if first > last {
        return Err(wrong());
    }
    Ok(first..=last)
}

/// A store as the command line names it: `NAME` or `NAME:PARTITIONS`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreSpec {
    /// Its name.
    pub name: StoreName,
    /// How many partitions it has; `None` for as many as it has already, or one if it is new.
    pub partitions: Option<u16>,
}

impl FromStr for StoreSpec {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let Some((name, partitions)) = text.split_once(':') else {
            return Ok(Self { name: StoreName::new(text)?, partitions: None });
        };
        let count = partitions.parse::<u16>().ok();
        let count = count.filter(|count| (1..=PARTITIONS_MAX).contains(count));
        let count = count.ok_or_else(|| UnitError::Partitions(partitions.to_owned()))?;
        Ok(Self { name: StoreName::new(name)?, partitions: Some(count) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [("0", 0), ("12B", 12), ("4KiB", 4096), ("64MiB", 64 << 20)] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "MiB", "4KB", "-1", "1.5MiB", "99999999999GiB", "64 MiBs"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations() {
        for (text, milliseconds) in [("500ms", 500), ("2s", 2000), ("1m", 60_000)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "500", "ms", "-1s", "1h"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn ranges_and_stores() {
        assert_eq!(parse_range("0-3"), Ok(0..=3));
        assert_eq!(parse_range("2"), Ok(2..=2));
        for text in ["", "-", "3-1", "a-b", "0-70000"] {
            assert!(parse_range(text).is_err(), "{text}");
        }
        let spec: StoreSpec = "orders:4".parse().unwrap();
        assert_eq!((spec.name.as_str(), spec.partitions), ("orders", Some(4)));
        assert_eq!("orders".parse::<StoreSpec>().unwrap().partitions, None);
        for text in ["", "orders:0", "orders:x", "Orders:1", "orders:", "orders:2000"] {
            assert!(text.parse::<StoreSpec>().is_err(), "{text}");
        }
    }
}
