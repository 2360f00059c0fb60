//! Which partition a stream belongs to: slot = crc32(key) mod 1024, partition = slot × N / 1024.

/// Number of slots, whatever the number of partitions.
pub const SLOTS: u16 = 1024;

/// The part of a stream name that decides its slot: the text inside the first `{…}` if it is not
/// empty, else the whole name. Streams that must be appended together share a key.
///
/// ```
/// assert_eq!(broker::slot::key("{customer-7}-orders"), "customer-7");
/// assert_eq!(broker::slot::key("order-17"), "order-17");
/// ```
pub fn key(stream: &str) -> &str {
    let inner = stream.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
    match inner {
        Some((key, _)) if !key.is_empty() => key,
        _ => stream,
    }
}

/// The slot of a stream, 0..1024.
pub fn slot(stream: &str) -> u16 {
    let hash = crc32fast::hash(key(stream).as_bytes());
    u16::try_from(hash % u32::from(SLOTS)).unwrap_or_default()
}

/// The partition of a stream in a store of `partitions` partitions, 0..partitions.
///
/// A store has at least one partition; 0 is taken as 1.
pub fn partition(stream: &str, partitions: u16) -> u16 {
    let scaled = u32::from(slot(stream)) * u32::from(partitions.max(1)) / u32::from(SLOTS);
    u16::try_from(scaled).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_the_first_braced_text() {
        let cases = [
            ("order-17", "order-17"),
            ("{a}-x", "a"),
            ("x-{a}{b}", "a"),
            ("{}-x", "{}-x"),
            ("{open", "{open"),
            ("closed}", "closed}"),
            ("}{a}", "a"),
            ("{{a}}", "{a"),
            ("", ""),
        ];
        for (stream, expected) in cases {
            assert_eq!(key(stream), expected, "{stream}");
        }
    }

    /// The store computes slots on its own; its tests hold the same rows.
    #[test]
    fn slots_are_those_of_the_shared_vectors() {
        let vectors = [
            ("123456789", "123456789", 294, [0, 0, 2]),
            ("order-1", "order-1", 1007, [1, 2, 6]),
            ("order-17", "order-17", 532, [1, 1, 3]),
            ("{user-7}/posts", "user-7", 801, [1, 2, 5]),
            ("{user-7}/comments", "user-7", 801, [1, 2, 5]),
            ("a{b}c{d}", "b", 1017, [1, 2, 6]),
            ("{}x", "{}x", 22, [0, 0, 0]),
            ("x{y", "x{y", 351, [0, 1, 2]),
            ("close}{x}", "x", 643, [1, 1, 4]),
            ("{a{b}c}", "a{b", 76, [0, 0, 0]),
            ("$topology", "$topology", 356, [0, 1, 2]),
            ("{user-1}/größe", "user-1", 532, [1, 1, 3]),
        ];
        for (stream, expected_key, expected_slot, partitions) in vectors {
            assert_eq!(key(stream), expected_key, "{stream}");
            assert_eq!(slot(stream), expected_slot, "{stream}");
            assert_eq!([2, 3, 7].map(|count| partition(stream, count)), partitions, "{stream}");
        }
    }

    #[test]
    fn partitions_cut_the_slots_into_equal_ranges() {
        for partitions in [1, 2, 3, 7, 1024] {
            for number in 0..2000 {
                let stream = format!("order-{number}");
                let partition = partition(&stream, partitions);
                assert!(partition < partitions);
                let expected = u32::from(slot(&stream)) * u32::from(partitions) / 1024;
                assert_eq!(u32::from(partition), expected);
            }
        }
    }
}
