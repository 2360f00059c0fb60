//! Finding the run files that can be used.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::run::{Run, Span};
use super::streams::StreamTable;
use super::{IndexError, IndexPlace, SealedSegment};
use crate::event::Sequence;
use crate::log::durable::remove_if_there;

/// What the folder had.
pub(super) struct Loaded {
    /// Runs that don't overlap, ascending.
    pub(super) runs: Vec<Arc<Run>>,
    /// The streams in them, at the latest version that they know.
    pub(super) streams: StreamTable,
}

/// Opens the runs of this history. A crash may leave a merged run beside its inputs: the longest
/// runs are taken first, and what they cover, what is damaged, half written or of another history
/// is removed.
pub(super) fn load(
    place: &IndexPlace,
    sealed: &BTreeMap<Sequence, SealedSegment>,
) -> Result<Loaded, IndexError> {
    let failed = |source| IndexError::Io { file: place.dir.clone(), source };
    let names = place.disk.list(&place.dir).map_err(failed)?;
    let mut files: Vec<_> = names.iter().filter_map(|name| parse(name)).collect();
    files.sort_by_key(|file| std::cmp::Reverse(file.last.0.saturating_sub(file.first.0)));
    let mut loaded = Loaded { runs: Vec::new(), streams: StreamTable::default() };
    for file in files {
        if !file.temporary && loaded.take(place, sealed, &file)? {
            continue;
        }
        let path = place.dir.join(file.name);
        log::info!("removing index file {}, which is of no use any more", path.display());
        if let Err(error) = remove_if_there(&*place.disk, &path) {
            log::warn!("index file {} can't be removed: {error}", path.display());
        }
    }
    loaded.runs.sort_by_key(|run| run.span().first);
    Ok(loaded)
}

impl Loaded {
    /// Takes a run if it is sound and its place is free.
    fn take(
        &mut self,
        place: &IndexPlace,
        sealed: &BTreeMap<Sequence, SealedSegment>,
        file: &RunFile<'_>,
    ) -> Result<bool, IndexError> {
        let overlaps = |run: &Arc<Run>| {
            let span = run.span();
            span.first <= file.last && file.first <= span.last
        };
        if self.runs.iter().any(overlaps) {
            return Ok(false);
        }
        let run = match Run::open(place, file.name) {
            Err(IndexError::Damaged { .. }) => return Ok(false),
            run => run?,
        };
        if run.span().file_name() != file.name || !is_of_history(&run.span(), sealed) {
            return Ok(false);
        }
        for stream in run.streams() {
            // Streams of a run that turns out to be damaged may stay: what they say is true, and
            // its segments are inserted again.
            let Ok(stream) = stream else { return Ok(false) };
            let number = self.streams.intern(stream.hash, &stream.name);
            self.streams.raise(number, stream.versions.last);
        }
        self.runs.push(Arc::new(run));
        Ok(true)
    }
}

/// Whether a run covers whole segments of this log. The chain value at its end stands for all
/// records up to there.
fn is_of_history(span: &Span, sealed: &BTreeMap<Sequence, SealedSegment>) -> bool {
    let last = sealed.range(..=span.last).next_back();
    sealed.contains_key(&span.first)
        && last.is_some_and(|(_, last)| last.last == span.last && last.chain == span.chain)
}

/// The names of finished run files.
pub(super) fn run_names(names: &[String]) -> impl Iterator<Item = &str> {
    let files = names.iter().filter_map(|name| parse(name));
    files.filter(|file| !file.temporary).map(|file| file.name)
}

/// A run file, as its name tells.
struct RunFile<'a> {
    name: &'a str,
    first: Sequence,
    last: Sequence,
    temporary: bool,
}

/// `None` for names that are not ours.
fn parse(name: &str) -> Option<RunFile<'_>> {
    let rest = name.strip_prefix("run-")?;
    let (rest, temporary) = match rest.strip_suffix(".tmp") {
        Some(rest) => (rest, true),
        None => (rest, false),
    };
    let (first, last) = rest.strip_suffix(".index")?.split_once('-')?;
    let number = |digits: &str| {
        let valid = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
        valid.then(|| digits.parse().ok()).flatten().map(Sequence)
    };
    Some(RunFile { name, first: number(first)?, last: number(last)?, temporary })
}
