//! `starlog replay`.

use broker::error_code::ErrorCode;
use client::{
    Direction, Event, PartitionNumber, ReadAllOptions, ReadCategoryOptions, ReadError, Sequence,
    StoreHandle,
};

use crate::cli::failure::{Failure, Stop};
use crate::cli::flags::ReplayFlags;
use crate::cli::output::{EventLine, EventPlace};
use crate::cli::selection::Selection;
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
    let selection = Selection::new(&flags.types, flags.limit);
    for partition in partitions {
        let place = EventPlace { store: &flags.store, partition: partition.0 };
        for event in selection.of(history(&store, partition, flags, selection.limit_of_store())) {
            printer.event(&EventLine::new(place, &event?))?;
        }
    }
    printer.finish_events()
}

/// What there is of a partition, or of a category in it.
fn history(
    store: &StoreHandle,
    partition: PartitionNumber,
    flags: &ReplayFlags,
    limit: Option<u64>,
) -> Box<dyn Iterator<Item = Result<Event, ReadError>>> {
    let (from, to) = (flags.from.map(Sequence), flags.to.map(Sequence));
    let direction = if flags.backward { Direction::Backward } else { Direction::Forward };
    match &flags.category {
        Some(category) => {
            let partition = Some(partition);
            let options = ReadCategoryOptions {
                partition,
                from,
                to,
                direction,
                limit,
                ..ReadCategoryOptions::default()
            };
            Box::new(store.read_category(category.clone(), options))
        }
        None => {
            let system_streams = flags.system;
            let options = ReadAllOptions {
                from,
                to,
                direction,
                limit,
                system_streams,
                ..ReadAllOptions::default()
            };
            Box::new(store.read_all(partition, options))
        }
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
