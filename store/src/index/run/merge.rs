//! Merging neighbouring runs into one, in one pass over each, with memory for a few pages of
//! every input beside the new filter.

use std::iter::Peekable;
use std::sync::Arc;

use super::Run;
use super::format::{IdEntry, Span, StreamEntry};
use super::write::{RunWriter, write_run};
use crate::event::Version;
use crate::index::keys::is_category;
use crate::index::memory::Place;
use crate::index::query::VersionRange;
use crate::index::width::to_u64;
use crate::index::{IndexError, IndexPlace};

/// Writes the run that covers what the given runs cover; they follow each other without a gap
/// and are in order.
///
/// # Errors
/// [`IndexError::Io`] when writing fails, [`IndexError::Damaged`] when an input is damaged.
pub(in crate::index) fn merge(
    place: &IndexPlace,
    span: Span,
    runs: &[Arc<Run>],
) -> Result<Run, IndexError> {
    let streams_max = runs.iter().map(|run| run.stream_count()).sum();
    write_run(place, span, streams_max, |writer| {
        merge_ids(writer, span, runs)?;
        let mut places_before = 0;
        for stream in merged_streams(runs) {
            let MergedStream { mut entry, .. } = stream?;
            entry.places_before = places_before;
            places_before += to_u64(entry.versions.count());
            writer.stream(&entry)?;
        }
        writer.end_section()?;
        merge_places(writer, span, runs)
    })
}

fn merge_ids(writer: &mut RunWriter, span: Span, runs: &[Arc<Run>]) -> Result<(), IndexError> {
    let inputs = runs.iter().map(|run| {
        let shift = shift(span, run);
        run.ids().map(move |id| {
            id.map(|IdEntry { fingerprint, relative }| IdEntry {
                fingerprint,
                relative: relative + shift,
            })
        })
    });
    for id in Merged::new(inputs, |id: &IdEntry, other: &IdEntry| id < other) {
        writer.id(&id?.1)?;
    }
    writer.end_section()
}

/// A stream's places stand together in each input and in the order of the stream table, so each
/// input is read from front to back here, too.
fn merge_places(writer: &mut RunWriter, span: Span, runs: &[Arc<Run>]) -> Result<(), IndexError> {
    let mut inputs: Vec<_> = runs.iter().map(|run| (shift(span, run), run.places())).collect();
    for stream in merged_streams(runs) {
        for (input, versions) in stream?.inputs {
            let Some((shift, places)) = inputs.get_mut(input) else { continue };
            for place in places.take(versions.count()) {
                let Place { relative, offset } = place?;
                writer.place(&Place { relative: relative + *shift, offset })?;
            }
        }
    }
    writer.end_section()
}

/// What is added to a run's relative sequences to make them relative to the merged run.
fn shift(span: Span, run: &Run) -> u32 {
    // The merged run has at most 2^31 records.
    u32::try_from(run.span().first.0 - span.first.0).unwrap_or(u32::MAX)
}

/// A stream or category of the merged run.
struct MergedStream {
    entry: StreamEntry,
    /// The inputs that have events of it, ascending, and which.
    inputs: Vec<(usize, VersionRange)>,
}

/// The streams and categories of all runs, each once, in the order of the stream table.
fn merged_streams(runs: &[Arc<Run>]) -> impl Iterator<Item = Result<MergedStream, IndexError>> {
    let before = |entry: &StreamEntry, other: &StreamEntry| {
        (entry.hash, &entry.name) < (other.hash, &other.name)
    };
    let mut entries = Merged::new(runs.iter().map(|run| run.streams()), before).peekable();
    std::iter::from_fn(move || {
        let (input, mut entry) = match entries.next()? {
            Ok(next) => next,
            Err(error) => return Some(Err(error)),
        };
        let mut inputs = vec![(input, entry.versions)];
        let same = |next: &Result<(usize, StreamEntry), IndexError>| {
            next.as_ref().is_ok_and(|(_, next)| next.hash == entry.hash && next.name == entry.name)
        };
        while let Some(Ok((input, next))) = entries.next_if(same) {
            inputs.push((input, next.versions));
        }
        if is_category(&entry.name) {
            let count = inputs.iter().map(|(_, versions)| to_u64(versions.count())).sum();
            entry.versions.last = Version(count);
        } else if let Some((_, VersionRange { last, .. })) = inputs.last() {
            entry.versions.last = *last;
        }
        Some(Ok(MergedStream { entry, inputs }))
    })
}

/// Merges sorted inputs; equal items come in the order of the inputs. Yields (input, item).
struct Merged<I: Iterator, B> {
    inputs: Vec<Peekable<I>>,
    before: B,
}

impl<I: Iterator, B> Merged<I, B> {
    fn new(inputs: impl Iterator<Item = I>, before: B) -> Self {
        Self { inputs: inputs.map(Iterator::peekable).collect(), before }
    }
}

impl<T, I, B> Iterator for Merged<I, B>
where
    I: Iterator<Item = Result<T, IndexError>>,
    B: Fn(&T, &T) -> bool,
{
    type Item = Result<(usize, T), IndexError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut least: Option<(usize, &T)> = None;
        let mut failed = None;
        for (at, input) in self.inputs.iter_mut().enumerate() {
            match (input.peek(), least) {
                (None, _) => {}
                (Some(Err(_)), _) => failed = Some(at),
                (Some(Ok(item)), Some((_, other))) if !(self.before)(item, other) => {}
                (Some(Ok(item)), _) => least = Some((at, item)),
            }
        }
        let at = failed.or(least.map(|(at, _)| at))?;
        let item = self.inputs.get_mut(at)?.next()?;
        Some(item.map(|item| (at, item)))
    }
}
