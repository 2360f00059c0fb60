//! `starlog tail`.

use std::time::Duration;

use broker::net::{Stop as Interrupt, stop_on_signals};
use client::{
    Checkpoint, Direction, Filter, OnGap, PartitionNumber, Position, ReadAllOptions, Sequence,
    StoreHandle, SubscribeOptions, Subscription, SubscriptionCounters,
};
use serde_json::json;

use crate::cli::failure::{Failure, Stop};
use crate::cli::flags::{Format, TailFlags, TailFrom};
use crate::cli::output::{EventLine, EventPlace};
use crate::cli::replay::{chosen_partitions, sequence_without_partition};
use crate::cli::selection::Selection;
use crate::cli::session::Session;

/// How long an interrupt may go unnoticed while nothing arrives.
const INTERRUPT_CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// Prints each event as it is committed, until interrupted.
///
/// # Errors
/// [`Stop`] when store or partition do not exist, or the subscription ends.
pub fn run(session: &Session, flags: &TailFlags) -> Result<(), Stop> {
    let interrupt =
        stop_on_signals().map_err(|error| Failure::system("can't listen for signals", &error))?;
    let store = session.store(&flags.store)?;
    let home = flags.stream.as_ref().map(|stream| store.partition_of(stream).0);
    let partitions = chosen_partitions(&store, flags.partition.or(home))?;
    let options = SubscribeOptions {
        from: checkpoint(&store, flags.from, &partitions)?,
        filter: match (&flags.category, &flags.stream) {
            (Some(category), _) => Some(Filter::Category(category.clone())),
            (None, stream) => stream.clone().map(Filter::Stream),
        },
        partitions: Some(partitions),
        on_gap: OnGap::Repair,
        system_streams: flags.system,
    };
    let mut subscription = store.subscribe(options).map_err(Failure::from)?;
    let followed = follow(session, flags, &mut subscription, &interrupt);
    if !session.quiet {
        eprintln!("{}", print_counters(session.format, &subscription.counters()));
    }
    followed
}

/// Where each partition is joined.
fn checkpoint(
    store: &StoreHandle,
    from: TailFrom,
    partitions: &[PartitionNumber],
) -> Result<Checkpoint, Failure> {
    let mut checkpoint = Checkpoint::default();
    match from {
        TailFrom::Start => {}
        TailFrom::At(_) if partitions.len() > 1 => {
            return Err(sequence_without_partition(store, "--from SEQUENCE"));
        }
        TailFrom::At(sequence) => {
            let before = Sequence(sequence.0.saturating_sub(1));
            for partition in partitions {
                checkpoint.set(*partition, Position::after(before));
            }
        }
        TailFrom::Now => {
            for partition in partitions {
                checkpoint.set(*partition, Position::after(head(store, *partition)?));
            }
        }
    }
    Ok(checkpoint)
}

/// The newest committed sequence of a partition.
///
/// # Errors
/// [`Failure`] when it can't be read.
pub fn head(store: &StoreHandle, partition: PartitionNumber) -> Result<Sequence, Failure> {
    let newest = ReadAllOptions {
        direction: Direction::Backward,
        limit: Some(1),
        system_streams: true,
        ..ReadAllOptions::default()
    };
    match store.read_all(partition, newest).next() {
        None => Ok(Sequence::ZERO),
        Some(Ok(event)) => Ok(event.sequence),
        Some(Err(error)) => Err(error.into()),
    }
}

fn follow(
    session: &Session,
    flags: &TailFlags,
    subscription: &mut Subscription,
    interrupt: &Interrupt,
) -> Result<(), Stop> {
    let mut printer = session.printer();
    let limit = flags.limit.unwrap_or(u64::MAX);
    let selection = Selection::new(&flags.types, flags.limit);
    while printer.rows() < limit && !interrupt.is_requested() {
        let next = subscription.next(INTERRUPT_CHECK_INTERVAL).map_err(Failure::from)?;
        let Some(batch) = next else { continue };
        let place = EventPlace { store: &flags.store, partition: batch.partition.0 };
        for event in batch.events.iter().filter(|event| selection.takes(event)) {
            if printer.rows() == limit {
                break;
            }
            printer.event(&EventLine::new(place, event))?;
        }
        printer.flush()?;
    }
    printer.finish_events()
}

fn print_counters(format: Format, counters: &SubscriptionCounters) -> String {
    match format {
        Format::Table => counters.to_string(),
        Format::Json | Format::Ndjson => json!({ "counters": {
            "events": counters.events,
            "gaps_found": counters.gaps_found,
            "gaps_repaired": counters.gaps_repaired,
            "events_lost": counters.events_lost,
            "duplicates_dropped": counters.duplicates_dropped,
            "reconnects": counters.reconnects,
            "pull_mode_blocks": counters.pull_mode_blocks,
            "failovers": counters.failovers,
        }})
        .to_string(),
    }
}
