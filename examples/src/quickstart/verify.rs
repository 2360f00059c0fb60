//! The proof: a full replay against what was acknowledged and against every view.

use std::collections::BTreeMap;

use client::{ReadAllOptions, ReadError, StoreHandle, views::ViewError, views::ViewStore};
use store::{Event, PartitionNumber, Sequence, Signature, event::SignedParts};
use thiserror::Error;

use crate::{
    history::LogEntry,
    topology::TopologyConfig,
    views::{FoldError, MemoryDocuments, ProjectionName},
};

/// Events folded at a time.
const FOLD_EVENTS: usize = 1_000;
/// Documents listed at a time.
const LIST_DOCUMENTS: usize = 1_000;

/// Why the proof could not be made.
#[derive(Debug, Error)]
pub enum VerifyError {
    /// The replay.
    #[error("the full replay failed: {0}")]
    Read(#[from] ReadError),
    /// The fresh fold.
    #[error(transparent)]
    Fold(#[from] FoldError),
    /// The documents of a host.
    #[error(transparent)]
    Views(#[from] ViewError),
}

/// A full replay: every record, and the views that a fresh fold makes of them.
#[derive(Debug, Default)]
pub struct Replay {
    /// Every record, partition by partition.
    pub log: Vec<LogEntry>,
    /// Partition -> its newest sequence (inclusive).
    pub heads: BTreeMap<u16, u64>,
    /// Documents of all projections.
    pub documents: MemoryDocuments,
}

impl Replay {
    /// Reads every partition of a store from its first record, and folds the projections anew.
    ///
    /// # Errors
    /// [`VerifyError`] if a record cannot be read or folded.
    pub fn read(orders: &StoreHandle, projections: &[ProjectionName]) -> Result<Self, VerifyError> {
        let mut replay = Self::default();
        for partition in 0..orders.partitions() {
            let mut block = Vec::with_capacity(FOLD_EVENTS);
            let options = ReadAllOptions { system_streams: true, ..ReadAllOptions::default() };
            for event in orders.read_all(PartitionNumber(partition), options) {
                let event = event?;
                replay.log.push(log_entry(partition, &event));
                replay.heads.insert(partition, event.sequence.0);
                if !event.stream.is_system() {
                    block.push(event);
                }
                if block.len() == FOLD_EVENTS {
                    replay.fold(projections, partition, &block)?;
                    block.clear();
                }
            }
            replay.fold(projections, partition, &block)?;
        }
        Ok(replay)
    }

    fn fold(
        &mut self,
        projections: &[ProjectionName],
        partition: u16,
        events: &[Event],
    ) -> Result<(), VerifyError> {
        for projection in projections {
            projection.fold(&mut self.documents, partition, events)?;
        }
        Ok(())
    }

    /// The documents that these projections should have.
    fn documents_of(&self, projections: &[ProjectionName]) -> BTreeMap<(String, String), Vec<u8>> {
        let ours = |view: &str| projections.iter().any(|name| name.views().contains(&view));
        let all = self.documents.0.iter().filter(|((view, _), _)| ours(view));
        all.map(|(place, document)| (place.clone(), document.clone())).collect()
    }

    /// Holds the views of a projection host against the fresh fold. The host must have ended.
    ///
    /// # Errors
    /// [`VerifyError::Views`] if its documents cannot be read.
    pub fn compare_host(
        &self,
        config: &TopologyConfig,
        index: usize,
    ) -> Result<ViewComparison, VerifyError> {
        let projections = config.projections.get(index).map(Vec::as_slice).unwrap_or_default();
        let views = ViewStore::open(config.host_views(index))?;
        let mut comparison = ViewComparison { host: index, ..ViewComparison::default() };
        let mut expected = self.documents_of(projections);
        for &view in projections.iter().flat_map(|projection| projection.views()) {
            let mut after: Option<String> = None;
            loop {
                let page = views.list(view, after.as_deref(), LIST_DOCUMENTS)?;
                let Some((last, _)) = page.last() else { break };
                after = Some(last.clone());
                for (key, document) in page {
                    comparison.documents += 1;
                    let place = (view.to_owned(), key);
                    if expected.remove(&place).as_deref() != Some(document.data.as_ref()) {
                        comparison.differ(&place);
                    }
                }
            }
        }
        expected.keys().for_each(|place| comparison.differ(place));
        Ok(comparison)
    }
}

/// How the views of one host compare with a full replay.
#[derive(Debug, Clone, Default)]
pub struct ViewComparison {
    /// Which host, from 0.
    pub host: usize,
    /// Documents that it has.
    pub documents: u64,
    /// Documents that differ, are missing, or should not be there.
    pub different: u64,
    /// Some of them, as view/key.
    pub examples: Vec<String>,
}

impl ViewComparison {
    fn differ(&mut self, (view, key): &(String, String)) {
        self.different += 1;
        if self.examples.len() < 5 {
            self.examples.push(format!("{view}/{key}"));
        }
    }
}

/// An event as the checker wants it.
#[must_use]
pub fn log_entry(partition: u16, event: &Event) -> LogEntry {
    // The digest is made from the bytes that were read; the signature beside them is not trusted.
    let digest = Signature::of_parts(&SignedParts {
        id: event.id,
        content_type: event.content_type,
        stream: event.stream.as_bytes(),
        event_type: event.event_type.as_bytes(),
        metadata: &event.metadata,
        data: &event.data,
    });
    LogEntry {
        partition,
        sequence: event.sequence,
        stream: event.stream.detached(),
        version: event.version,
        id: event.id,
        digest,
        ends_append: event.ends_append,
    }
}

/// The newest sequence of every partition as it is now, for a store that may hold events already.
///
/// # Errors
/// [`VerifyError::Read`].
pub fn heads(
    orders: &StoreHandle,
) -> Result<std::collections::HashMap<u16, Sequence>, VerifyError> {
    let head = |partition| {
        let options = ReadAllOptions {
            direction: client::Direction::Backward,
            limit: Some(1),
            system_streams: true,
            ..ReadAllOptions::default()
        };
        let newest = orders.read_all(PartitionNumber(partition), options).next().transpose()?;
        Ok((partition, newest.map_or(Sequence::ZERO, |event| event.sequence)))
    };
    (0..orders.partitions()).map(head).collect()
}
