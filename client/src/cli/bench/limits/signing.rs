//! What signatures cost: SHA-1 on one core, over what an event is signed over.

use std::hint::black_box;
use std::time::Duration;

use client::{ContentType, EventType, NewEvent, Signature, StreamName};

use super::round_trip::RoundTrips;
use crate::cli::bench::latency::Latencies;
use crate::cli::bench::load::random_bytes;
use crate::cli::bench::{broken, now};
use crate::cli::failure::Failure;

/// Signatures between two looks at the clock, which would otherwise be part of the figure.
const GROUP: u32 = 64;

/// Signs events of `data_bytes` for `duration`; what one takes is told as the mean of its group.
///
/// # Errors
/// [`Failure`] if the histogram library refuses.
pub fn signatures(data_bytes: usize, duration: Duration) -> Result<RoundTrips, Failure> {
    let stream: StreamName = "bench-1".try_into().map_err(|_| broken("no stream name"))?;
    let event_type: EventType = "Measured".parse().map_err(|_| broken("no event type"))?;
    let event = NewEvent::new(event_type, ContentType::Bytes, random_bytes(data_bytes, 1));
    let mut latencies = Latencies::new()?;
    let mut elapsed = Duration::ZERO;
    while elapsed < duration {
        let started = now();
        for _ in 0..GROUP {
            black_box(Signature::of(black_box(&stream), black_box(&event)));
        }
        let group = now().saturating_duration_since(started);
        elapsed += group;
        for _ in 0..GROUP {
            latencies.record(group / GROUP);
        }
    }
    Ok(RoundTrips { latencies, elapsed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn something_is_signed() {
        let signed = signatures(256, Duration::from_millis(5)).unwrap();
        assert!(signed.latencies.count() >= u64::from(GROUP));
        assert!(signed.elapsed >= Duration::from_millis(5));
    }
}
