//! Comparing run files with the records that they were made from, without changing anything.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::keys::{CategoryKey, Keys, is_category};
use super::open::run_names;
use super::run::Run;
use super::{IndexEntry, IndexError, IndexPlace, SealedSegment};
use crate::event::{Sequence, Version};
use crate::filter::category_of;

/// A run file that has to be made anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunProblem {
    /// The file.
    pub(crate) file: PathBuf,
    /// What is wrong with it.
    pub(crate) reason: &'static str,
}

/// Takes note of the records of all sealed segments, and then asks each run whether it says the
/// same of them.
pub(crate) struct IndexCheck {
    keys: Keys,
    current: Content,
    segments: BTreeMap<Sequence, (SealedSegment, Content)>,
}

/// Sums over records, which are the same whatever the order, and practically never the same for
/// other records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Content {
    ids: u64,
    places: u64,
}

/// What a posting says.
struct Posted {
    /// Hash of a stream or category.
    stream: u64,
    /// 0 in a category: its events are counted anew in each run.
    version: Version,
    sequence: Sequence,
    offset: u32,
}

impl Content {
    fn add_id(&mut self, keys: &Keys, fingerprint: u64, sequence: Sequence) {
        let term = keys.numbers([fingerprint, sequence.0, 0, 0]);
        self.ids = self.ids.wrapping_add(term);
    }

    fn add_place(&mut self, keys: &Keys, posted: &Posted) {
        let Posted { stream, version, sequence, offset } = posted;
        let term = keys.numbers([*stream, version.0, sequence.0, u64::from(*offset)]);
        self.places = self.places.wrapping_add(term);
    }

    fn add(&mut self, other: Self) {
        self.ids = self.ids.wrapping_add(other.ids);
        self.places = self.places.wrapping_add(other.places);
    }
}

impl IndexCheck {
    pub(crate) fn new(place: &IndexPlace) -> Self {
        let keys = Keys::new(&place.partition_id);
        Self { keys, current: Content::default(), segments: BTreeMap::new() }
    }

    /// Takes note of the next record.
    pub(crate) fn record(&mut self, entry: &IndexEntry<'_>) {
        self.current.add_id(&self.keys, self.keys.id(&entry.id), entry.sequence);
        let stream = self.keys.stream(entry.stream.as_bytes());
        let IndexEntry { version, sequence, offset, .. } = *entry;
        self.current.add_place(&self.keys, &Posted { stream, version, sequence, offset });
        let category = CategoryKey::new(category_of(entry.stream.as_bytes()));
        let stream = self.keys.stream(category.as_bytes());
        let version = Version::ZERO;
        self.current.add_place(&self.keys, &Posted { stream, version, sequence, offset });
    }

    /// The records since the last call were those of this segment; `None` where they are not all
    /// of a sealed one.
    pub(crate) fn end_segment(&mut self, segment: Option<SealedSegment>) {
        let content = std::mem::take(&mut self.current);
        if let Some(segment) = segment {
            self.segments.insert(segment.first, (segment, content));
        }
    }

    /// The run files that don't say what the records say.
    ///
    /// # Errors
    /// [`IndexError::Io`] when the folder or a file can't be opened.
    pub(crate) fn problems(&self, place: &IndexPlace) -> Result<Vec<RunProblem>, IndexError> {
        let failed = |source| IndexError::Io { file: place.dir.clone(), source };
        let mut problems = Vec::new();
        for name in run_names(&place.disk.list(&place.dir).map_err(failed)?) {
            if let Some(reason) = self.problem(place, name)? {
                problems.push(RunProblem { file: place.dir.join(name), reason });
            }
        }
        Ok(problems)
    }

    fn problem(&self, place: &IndexPlace, name: &str) -> Result<Option<&'static str>, IndexError> {
        let read = Run::open(place, name).and_then(|run| {
            let content = self.content_of(&run)?;
            Ok((run.span(), content))
        });
        let other = Some("it says other things than the records");
        let (span, content) = match read {
            Ok((_, None)) => return Ok(other),
            Ok((span, Some(content))) => (span, content),
            Err(IndexError::Damaged { .. }) => return Ok(Some("it is not what was written")),
            Err(error) => return Err(error),
        };
        let (mut expected, mut next, mut chain) = (Content::default(), span.first, [0; 16]);
        for (segment, content) in self.segments.range(span.first..=span.last).map(|(_, s)| s) {
            if segment.first != next {
                break;
            }
            expected.add(*content);
            (next, chain) = (segment.last.next(), segment.chain);
        }
        if next != span.last.next() || chain != span.chain {
            return Ok(Some("it is not the index of sound segments that are here"));
        }
        Ok(other.filter(|_| content != expected))
    }

    /// What a run says; `None` if its places are not in their order, so that a search goes astray.
    fn content_of(&self, run: &Run) -> Result<Option<Content>, IndexError> {
        let mut content = Content::default();
        for id in run.ids() {
            let id = id?;
            content.add_id(&self.keys, id.fingerprint, run.sequence(id.relative));
        }
        let mut places = run.places();
        for entry in run.streams() {
            let entry = entry?;
            let stream = self.keys.stream(&entry.name);
            let counted = is_category(&entry.name);
            let mut last = Sequence::ZERO;
            for (version, place) in entry.versions.versions().zip(places.by_ref()) {
                let place = place?;
                let (sequence, offset) = (run.sequence(place.relative), place.offset);
                let version = if counted { Version::ZERO } else { version };
                content.add_place(&self.keys, &Posted { stream, version, sequence, offset });
                if sequence <= last {
                    return Ok(None);
                }
                last = sequence;
            }
        }
        Ok(Some(content))
    }
}
