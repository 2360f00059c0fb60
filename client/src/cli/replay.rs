//! `starlog replay`.

use broker::error_code::ErrorCode;
use client::{Direction, PartitionNumber, ReadAllOptions, Sequence, StoreHandle};

use crate::cli::failure::{Failure, Stop};
use crate::cli::flags::ReplayFlags;
use crate::cli::output::{EventLine, EventPlace};
use crate::cli::session::Session;

/// Prints the history of a store's partitions, one after the other.
///
/// # Errors
/// [`Stop`] when store or partition do not exist, or reading fails.
pub fn run(session: &Session, flags: &ReplayFlags) -> Result<(), Stop> {
    let store = session.store(&flags.store)?;
    let partitions = chosen_partitions(&store, flags.partition)?;
    if partitions.len() > 1 && (flags.from.is_some() || flags.to.is_some()) {
        return Err(sequence_without_partition(&store, "--from and --to").into());
    }
    let mut printer = session.printer();
    for partition in partitions {
        let place = EventPlace { store: &flags.store, partition: partition.0 };
        for event in store.read_all(partition, options(flags)) {
            let event = event.map_err(Failure::from)?;
            printer.event(&EventLine::new(place, &event))?;
        }
    }
    printer.finish_events()
}

fn options(flags: &ReplayFlags) -> ReadAllOptions {
    ReadAllOptions {
        from: flags.from.map(Sequence),
        to: flags.to.map(Sequence),
        direction: if flags.backward { Direction::Backward } else { Direction::Forward },
        limit: flags.limit,
        system_streams: flags.system,
        ..ReadAllOptions::default()
    }
}

/// The partition that was named, or all of them.
///
/// # Errors
/// [`Failure`] when the store has no such partition.
pub fn chosen_partitions(
    store: &StoreHandle,
    named: Option<u16>,
) -> Result<Vec<PartitionNumber>, Failure> {
    let count = store.partitions();
    match named {
        None => Ok((0..count).map(PartitionNumber).collect()),
        Some(number) if number < count => Ok(vec![PartitionNumber(number)]),
        Some(number) => {
            let sentence = format!(
                "store {} has {count} partitions, numbered from 0: there is no partition {number}",
                store.name()
            );
            Err(Failure::local(ErrorCode::INVALID_ARGUMENT, sentence).with("partitions", count))
        }
    }
}

/// A sequence means nothing without its partition.
pub fn sequence_without_partition(store: &StoreHandle, flags: &str) -> Failure {
    let count = store.partitions();
    Failure::usage(format!(
        "store {} has {count} partitions, each with sequences of its own: name one with \
         --partition to use {flags}",
        store.name()
    ))
}
