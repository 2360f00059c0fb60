//! Cuts fields off the front of a received frame.

use bytes::Bytes;

use super::WireError;

/// What is left of a frame. Each step checks the length, so that nothing is ever read, or
/// allocated for, beyond what has arrived.
pub(super) struct Cursor(Bytes);

impl Cursor {
    pub(super) const fn new(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// How many bytes are left.
    pub(super) fn left(&self) -> usize {
        self.0.len()
    }

    /// The next `length` bytes, sharing the frame's memory.
    pub(super) fn take(&mut self, length: usize, what: &'static str) -> Result<Bytes, WireError> {
        if length > self.0.len() {
            return Err(WireError::Truncated { what });
        }
        Ok(self.0.split_to(length))
    }

    pub(super) fn array<const N: usize>(
        &mut self,
        what: &'static str,
    ) -> Result<[u8; N], WireError> {
        let array = *self.0.first_chunk::<N>().ok_or(WireError::Truncated { what })?;
        drop(self.0.split_to(N));
        Ok(array)
    }

    pub(super) fn u8(&mut self, what: &'static str) -> Result<u8, WireError> {
        self.array::<1>(what).map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self, what: &'static str) -> Result<u16, WireError> {
        self.array(what).map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self, what: &'static str) -> Result<u32, WireError> {
        self.array(what).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, what: &'static str) -> Result<u64, WireError> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// A length or count field as a size of this machine.
    pub(super) fn size(&mut self, what: &'static str) -> Result<usize, WireError> {
        let length = self.u32(what)?;
        usize::try_from(length).map_err(|_| WireError::Truncated { what })
    }

    /// A count of things that take at least `bytes_min` each: refused when they can't all be
    /// here, so that the caller may reserve room for them.
    pub(super) fn check_count(
        &self,
        count: usize,
        bytes_min: usize,
        what: &'static str,
    ) -> Result<(), WireError> {
        if count.saturating_mul(bytes_min) > self.left() {
            return Err(WireError::Truncated { what });
        }
        Ok(())
    }

    /// The end: nothing may be left.
    pub(super) fn finish(self) -> Result<(), WireError> {
        match self.0.len() {
            0 => Ok(()),
            bytes => Err(WireError::Trailing { bytes }),
        }
    }
}
