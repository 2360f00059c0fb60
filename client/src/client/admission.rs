//! The bound on what waits in a client.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts appends and bytes that were taken in and not answered yet.
#[derive(Debug)]
pub(super) struct Gate {
    appends_max: usize,
    bytes_max: usize,
    appends: AtomicUsize,
    bytes: AtomicUsize,
}

/// An append's place in the client; dropping it makes room.
#[derive(Debug)]
pub(super) struct Admission {
    gate: Arc<Gate>,
    bytes: usize,
}

/// How full a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full {
    pub(super) appends: usize,
    pub(super) bytes: usize,
}

impl Gate {
    pub(super) fn new(appends_max: usize, bytes_max: usize) -> Arc<Self> {
        let (appends, bytes) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Self { appends_max, bytes_max, appends, bytes })
    }

    /// Takes an append in, unless there are too many. One append always fits an empty client.
    pub(super) fn admit(self: &Arc<Self>, bytes: usize) -> Result<Admission, Full> {
        let appends_before = self.appends.fetch_add(1, Ordering::Relaxed);
        let bytes_before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let admission = Admission { gate: Arc::clone(self), bytes };
        let too_many = appends_before >= self.appends_max;
        let too_large = bytes_before > 0 && bytes_before + bytes > self.bytes_max;
        if too_many || too_large {
            return Err(Full { appends: appends_before, bytes: bytes_before });
        }
        Ok(admission)
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.gate.appends.fetch_sub(1, Ordering::Relaxed);
        self.gate.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_bytes_are_bounded_and_given_back() {
        let gate = Gate::new(2, 100);
        let first = gate.admit(60).unwrap();
        assert_eq!(gate.admit(60).unwrap_err(), Full { appends: 1, bytes: 60 });
        let _second = gate.admit(40).unwrap();
        assert_eq!(gate.admit(0).unwrap_err(), Full { appends: 2, bytes: 100 });
        drop(first);
        assert!(gate.admit(10).is_ok());
    }

    #[test]
    fn a_giant_fits_an_empty_client() {
        assert!(Gate::new(2, 100).admit(1000).is_ok());
    }
}
