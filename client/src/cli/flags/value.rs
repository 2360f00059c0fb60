//! Values with units, as people type them.

use std::time::Duration;

/// Reads a duration such as `250ms`, `5s` or `1h 30m`.
///
/// # Errors
/// A sentence when it is not one, has no unit, or is negative.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let signed: jiff::SignedDuration = text
        .parse()
        .map_err(|_| "a duration is a number with a unit, such as 250ms, 5s or 1h".to_owned())?;
    Duration::try_from(signed).map_err(|_| "a duration can't be negative".to_owned())
}

/// Reads a size in bytes such as `256`, `4KiB` or `64MiB`.
///
/// # Errors
/// A sentence when it is not one or does not fit.
pub fn parse_size(text: &str) -> Result<usize, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor: usize = match unit.trim_start() {
        "" | "B" => 1,
        "kB" => 1000,
        "KiB" => 1024,
        "MB" => 1000 * 1000,
        "MiB" => 1024 * 1024,
        _ => return Err("a size is a number of bytes, or with a unit: 256, 4KiB, 1MiB".to_owned()),
    };
    let number: usize = number
        .parse()
        .map_err(|_| "a size starts with a whole number: 256, 4KiB, 1MiB".to_owned())?;
    number.checked_mul(factor).ok_or_else(|| "this size is too large".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let rows = [
            ("250ms", Some(Duration::from_millis(250))),
            ("5s", Some(Duration::from_secs(5))),
            ("1h", Some(Duration::from_secs(3600))),
            ("0s", Some(Duration::ZERO)),
            ("5", None),
            ("-5s", None),
            ("soon", None),
            ("", None),
        ];
        for (text, expected) in rows {
            assert_eq!(parse_duration(text).ok(), expected, "{text:?}");
        }
    }

    #[test]
    fn sizes() {
        let rows = [
            ("0", Some(0)),
            ("256", Some(256)),
            ("256B", Some(256)),
            ("4KiB", Some(4096)),
            ("4 KiB", Some(4096)),
            ("1kB", Some(1000)),
            ("64MiB", Some(64 << 20)),
            ("", None),
            ("KiB", None),
            ("-1", None),
            ("1.5MiB", None),
            ("1 parsec", None),
            ("99999999999999999MiB", None),
        ];
        for (text, expected) in rows {
            assert_eq!(parse_size(text).ok(), expected, "{text:?}");
        }
    }
}
