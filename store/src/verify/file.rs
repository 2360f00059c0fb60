//! One segment file, opened for checking.

use std::io;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::Damage;
use crate::event::Sequence;
use crate::log::disk::{Disk, DiskFile, OpenMode};
use crate::log::recovery::footer_fits;
use crate::log::segment::{
    SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, SEGMENT_FOOTER_BYTES, SEGMENT_HEADER_BYTES,
    SegmentFooter, SegmentHeader, segment_path, to_usize,
};

/// A segment file whose header is sound.
pub(super) struct SegmentFile {
    pub(super) path: PathBuf,
    pub(super) file: Box<dyn DiskFile>,
    pub(super) header: SegmentHeader,
    /// `None` where there is none that can be believed.
    pub(super) footer: Option<SegmentFooter>,
}

impl SegmentFile {
    /// Opens the segment of a partition that begins at a sequence.
    pub(super) fn open(
        disk: &dyn Disk,
        dir: &Path,
        partition_id: Uuid,
        first: Sequence,
    ) -> Result<Self, Damage> {
        let path = segment_path(dir, first);
        let damage =
            |offset, reason: String| Damage { file: path.clone(), offset, sequence: first, reason };
        let failed = |error: io::Error| damage(0, cannot_read(&error));
        let file = disk.open(&path, OpenMode::Read).map_err(failed)?;
        let block = read(&*file, 0, SEGMENT_HEADER_BYTES).map_err(failed)?;
        let header = SegmentHeader::decode(&block)
            .map_err(|_| damage(0, "the header is not what was written".to_owned()))?;
        let length = file.len().map_err(failed)?;
        if header.partition_id != partition_id || header.first != first {
            return Err(damage(0, "the segment belongs to another place".to_owned()));
        }
        let possible = (SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&header.segment_bytes);
        if !possible || length != u64::from(header.segment_bytes) {
            let reason = format!("{length} bytes long instead of {}", header.segment_bytes);
            return Err(damage(length, reason));
        }
        let at = header.segment_bytes - SEGMENT_FOOTER_BYTES;
        let footer = read(&*file, at, SEGMENT_FOOTER_BYTES).map_err(failed)?;
        let footer = SegmentFooter::decode(&footer).ok();
        let footer = footer.filter(|footer| footer_fits(footer, &header));
        Ok(Self { path, file, header, footer })
    }

    /// Whether the segment has no record.
    pub(super) fn is_empty(&self) -> Result<bool, Damage> {
        let start = self.read(SEGMENT_HEADER_BYTES, SEGMENT_HEADER_BYTES + 8)?;
        Ok(start.iter().all(|byte| *byte == 0))
    }

    /// The bytes from `start` to `end`.
    pub(super) fn read(&self, start: u32, end: u32) -> Result<Vec<u8>, Damage> {
        read(&*self.file, start, end - start)
            .map_err(|error| self.unreadable(start, self.header.first, &error))
    }

    /// Something in this file is not as it was written.
    pub(super) fn damage(
        &self,
        offset: u32,
        sequence: Sequence,
        reason: impl Into<String>,
    ) -> Damage {
        let (file, offset) = (self.path.clone(), u64::from(offset));
        Damage { file, offset, sequence, reason: reason.into() }
    }

    /// The operating system does not give a part of this file.
    pub(super) fn unreadable(&self, offset: u32, sequence: Sequence, error: &io::Error) -> Damage {
        self.damage(offset, sequence, cannot_read(error))
    }
}

fn cannot_read(error: &io::Error) -> String {
    format!("it can't be read: {error}")
}

/// Reads so many bytes; fewer only at the end of the file.
fn read(file: &dyn DiskFile, offset: u32, bytes: u32) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; to_usize(bytes)];
    let read = file.read_at(&mut buffer, u64::from(offset))?;
    buffer.truncate(read);
    Ok(buffer)
}
