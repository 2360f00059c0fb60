//! Changes of width that can't lose anything on the 64-bit machines this runs on, in one place.

const _: () = assert!(usize::BITS == 64, "lengths in memory and on disk are 64 bits wide");

/// A number that counts or points into something in memory.
pub(super) fn to_usize(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// The same for a number that needs 64 bits on disk.
pub(super) fn long_to_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// A length in memory as a number for disk.
pub(super) fn to_u64(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// The upper and the lower half of a hash.
pub(super) fn halves(hash: u64) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = hash.to_be_bytes();
    (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]))
}
