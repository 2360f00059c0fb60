//! `starlog read`.

use broker::error_code::ErrorCode;
use client::{Direction, ReadOptions, StoreHandle, StreamName, Version};

use crate::cli::failure::{Failure, Stop};
use crate::cli::flags::ReadFlags;
use crate::cli::output::{EventLine, EventPlace};
use crate::cli::selection::Selection;
use crate::cli::session::Session;

/// Prints the events of a stream.
///
/// # Errors
/// [`Stop`] when the store or the stream does not exist, or reading fails.
pub fn run(session: &Session, flags: &ReadFlags) -> Result<(), Stop> {
    let store = session.store(&flags.store)?;
    let partition = store.partition_of(&flags.stream).0;
    let place = EventPlace { store: &flags.store, partition };
    let mut printer = session.printer();
    let mut options = options(flags);
    let selection = Selection::new(&flags.types, options.limit);
    options.limit = selection.limit_of_store();
    for event in selection.of(store.read_stream(flags.stream.clone(), options)) {
        let event = event?;
        printer.event(&EventLine::new(place, &event))?;
    }
    if printer.rows() == 0 {
        check_exists(&store, &flags.stream)?;
    }
    printer.finish_events()
}

fn options(flags: &ReadFlags) -> ReadOptions {
    if flags.last {
        return ReadOptions::last();
    }
    ReadOptions {
        from: flags.from.map(Version),
        direction: if flags.backward { Direction::Backward } else { Direction::Forward },
        limit: flags.limit,
        ..ReadOptions::default()
    }
}

/// Tells a stream without events in the range that was asked for from one that does not exist.
///
/// # Errors
/// [`Failure`] when it does not exist, or reading fails.
pub fn check_exists(store: &StoreHandle, stream: &StreamName) -> Result<(), Failure> {
    match store.read_stream(stream.clone(), ReadOptions::last()).next() {
        Some(Ok(_)) => Ok(()),
        Some(Err(error)) => Err(error.into()),
        None => {
            let sentence = format!(
                "store {} has no stream {stream}: check the name; the first append creates it",
                store.name()
            );
            Err(Failure::local(ErrorCode::STREAM_NOT_FOUND, sentence)
                .with("stream", stream.as_str()))
        }
    }
}
