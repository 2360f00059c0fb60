//! From memory to run files, and from small runs to large ones. One thread at a time does this.

use std::ops::Range;
use std::sync::{Arc, MutexGuard, PoisonError};

use super::memory::MemoryPart;
use super::query::VersionRange;
use super::run::{RUN_RECORDS_MAX, Run, Span, StreamEntry, merge, write_run};
use super::streams::StreamNumber;
use super::width::to_u64;
use super::{Index, IndexEntry, IndexError, SealedSegment};
use crate::event::Sequence;
use crate::log::durable::remove_if_there;

/// So many neighbouring runs of one level become one run of the next level.
const MERGE_RUNS: usize = 8;
/// Names that are copied while the lock is held once.
const NAMES_AT_ONCE: usize = 1024;

impl Index {
    /// Makes the run file of a sealed segment whose entries were all inserted, drops them from
    /// memory, and merges runs as far as that is due. Doing it again does no harm.
    ///
    /// # Errors
    /// [`IndexError::NotSealed`] when there is no such segment, [`IndexError::Io`] when a file
    /// can't be written, and [`IndexError::Damaged`] when a run to be merged is damaged.
    pub(crate) fn build_run(&self, segment_first: Sequence) -> Result<(), IndexError> {
        let _building = self.building();
        let state = self.read();
        let segment = state.sealed.get(&segment_first).copied();
        let segment = segment.ok_or(IndexError::NotSealed { first: segment_first })?;
        let part = state.parts.get(&segment_first).cloned();
        let has_run = state.runs.iter().any(|run| run.span().covers(&segment));
        drop(state);
        match part {
            Some(part) => {
                let run = Arc::new(self.write_part(&part, &segment)?);
                let mut state = self.write();
                state.parts.remove(&segment_first);
                state.replace(|_| false, [run]);
            }
            None if has_run => {}
            None => return Err(IndexError::NotSealed { first: segment_first }),
        }
        self.merge_due()
    }

    /// Merges until no merge is due.
    fn merge_due(&self) -> Result<(), IndexError> {
        loop {
            let runs = Arc::clone(&self.read().runs);
            let Some(inputs) = due(&runs).and_then(|due| runs.get(due)) else { return Ok(()) };
            let [oldest, .., newest] = inputs else { return Ok(()) };
            let (first, newest) = (oldest.span().first, newest.span());
            let span = Span { level: newest.level + 1, first, ..newest };
            let merged = merge(&self.place, span, inputs)?;
            let covered = |run: &Run| run.span().first >= first && run.span().last <= span.last;
            self.write().replace(covered, [Arc::new(merged)]);
            // Readers that still ask the old runs have them open.
            for run in inputs {
                if let Err(error) = remove_if_there(&*self.place.disk, run.path()) {
                    log::warn!("index file {} can't be removed: {error}", run.path().display());
                }
            }
        }
    }

    /// The segments whose run file was found damaged. Whatever needs the damaged part is answered
    /// with [`IndexError::Damaged`] until each of them is [rebuilt](Index::rebuild).
    pub(crate) fn damaged_segments(&self) -> Vec<SealedSegment> {
        let state = self.read();
        let damaged: Vec<Span> =
            state.runs.iter().filter(|run| run.is_damaged()).map(|run| run.span()).collect();
        let open = |segment: &&SealedSegment| {
            damaged.iter().any(|span| span.covers(segment))
                && !state.rebuilt.contains_key(&segment.first)
        };
        state.sealed.values().filter(open).copied().collect()
    }

    /// Begins to make the run of a segment anew whose run file is damaged.
    ///
    /// # Errors
    /// [`IndexError::NotSealed`] when the segment is not among the damaged ones,
    /// [`IndexError::Io`] when the damaged file can't be removed.
    pub(crate) fn rebuild(&self, segment_first: Sequence) -> Result<Rebuild<'_>, IndexError> {
        let building = self.building();
        let damaged = self.damaged_segments();
        let segment = damaged.into_iter().find(|segment| segment.first == segment_first);
        let segment = segment.ok_or(IndexError::NotSealed { first: segment_first })?;
        // After a crash half-way through, the damaged file must not win over the new ones.
        let runs = Arc::clone(&self.read().runs);
        for run in runs.iter().filter(|run| run.span().covers(&segment)) {
            let failed = |source| IndexError::Io { file: run.path().clone(), source };
            remove_if_there(&*self.place.disk, run.path()).map_err(failed)?;
        }
        let part = MemoryPart::new(segment_first);
        Ok(Rebuild { index: self, segment, part, _building: building })
    }

    /// Writes the run of one segment.
    fn write_part(&self, part: &MemoryPart, segment: &SealedSegment) -> Result<Run, IndexError> {
        let span = Span::of_segment(segment);
        if to_u64(part.len()) != span.records() {
            return Err(IndexError::NotSealed { first: segment.first });
        }
        let streams = self.sorted_streams(part);
        write_run(&self.place, span, to_u64(streams.len()), |writer| {
            for id in part.sorted_ids() {
                writer.id(&id)?;
            }
            writer.end_section()?;
            for (entry, _) in &streams {
                writer.stream(entry)?;
            }
            writer.end_section()?;
            for (_, number) in &streams {
                for place in part.places(*number) {
                    writer.place(place)?;
                }
            }
            writer.end_section()
        })
    }

    /// The streams of a part in the order of a run's stream table.
    fn sorted_streams(&self, part: &MemoryPart) -> Vec<(StreamEntry, StreamNumber)> {
        let versions: Vec<(StreamNumber, VersionRange)> = part.streams().collect();
        let mut streams = Vec::with_capacity(versions.len());
        for some in versions.chunks(NAMES_AT_ONCE) {
            // The writer waits for this lock, so it is held for a part of the names at a time.
            let state = self.read();
            for (number, versions) in some {
                let name = state.streams.name(*number).to_vec();
                let hash = self.keys.stream(&name);
                let entry = StreamEntry { hash, name, versions: *versions, places_before: 0 };
                streams.push((entry, *number));
            }
        }
        streams.sort_unstable_by(|(a, _), (b, _)| (a.hash, &a.name).cmp(&(b.hash, &b.name)));
        let mut places_before = 0;
        for (entry, _) in &mut streams {
            entry.places_before = places_before;
            places_before += to_u64(entry.versions.count());
        }
        streams
    }

    fn building(&self) -> MutexGuard<'_, ()> {
        self.building.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Collects the entries of a segment whose run is made anew.
pub(crate) struct Rebuild<'a> {
    index: &'a Index,
    segment: SealedSegment,
    part: MemoryPart,
    _building: MutexGuard<'a, ()>,
}

impl Rebuild<'_> {
    /// Takes in the segment's records, as [`Index::insert`] does.
    ///
    /// # Panics
    /// When an entry is not the next of its segment and stream.
    pub(crate) fn insert(&mut self, entries: &[IndexEntry<'_>]) {
        let mut state = self.index.write();
        self.index.take_in(&mut state.streams, &mut self.part, entries);
    }

    /// Writes the new run. It takes the damaged one's place together with those of all other
    /// segments that the damaged one covers.
    ///
    /// # Errors
    /// [`IndexError::NotSealed`] when entries are missing, [`IndexError::Io`] when the file can't
    /// be written, and those of merging as in [`Index::build_run`].
    pub(crate) fn finish(self) -> Result<(), IndexError> {
        let run = Arc::new(self.index.write_part(&self.part, &self.segment)?);
        let mut state = self.index.write();
        state.rebuilt.insert(self.segment.first, run);
        state.swap_rebuilt();
        drop(state);
        self.index.merge_due()
    }
}

impl super::State {
    /// Takes some runs out and puts others in, for everybody who asks from now on.
    fn replace(&mut self, out: impl Fn(&Run) -> bool, new: impl IntoIterator<Item = Arc<Run>>) {
        let mut runs: Vec<Arc<Run>> =
            self.runs.iter().filter(|run| !out(run)).cloned().chain(new).collect();
        runs.sort_by_key(|run| run.span().first);
        self.runs = Arc::new(runs);
    }

    /// Replaces every damaged run of which all segments are rebuilt.
    fn swap_rebuilt(&mut self) {
        let runs = Arc::clone(&self.runs);
        for damaged in runs.iter().filter(|run| run.is_damaged()) {
            let span = damaged.span();
            let mut segments = self.sealed.range(span.first..=span.last).map(|(first, _)| first);
            if segments.all(|first| self.rebuilt.contains_key(first)) {
                let mut new = self.rebuilt.split_off(&span.first);
                self.rebuilt.append(&mut new.split_off(&span.last.next()));
                self.replace(|run| run.span() == span, new.into_values());
            }
        }
    }
}

/// The first runs that are to be merged into one.
fn due(runs: &[Arc<Run>]) -> Option<Range<usize>> {
    let due = |some: &[Arc<Run>]| {
        let spans = || some.iter().map(|run| run.span());
        let neighbours = spans()
            .zip(spans().skip(1))
            .all(|(run, next)| run.level == next.level && run.last.next() == next.first);
        let records = spans().map(|span| span.records()).sum::<u64>();
        neighbours && records <= RUN_RECORDS_MAX && !some.iter().any(|run| run.is_damaged())
    };
    let start = runs.windows(MERGE_RUNS).position(due)?;
    Some(start..start + MERGE_RUNS)
}
