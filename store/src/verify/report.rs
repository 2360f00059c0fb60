//! A report as text for people: one line for the partition, one for each place.

use std::fmt;

use super::{Verdict, VerifyReport};

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Clean => "clean",
            Self::TornTail => "torn tail",
            Self::Damaged => "damaged",
        })
    }
}

impl fmt::Display for VerifyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}/{}: {}, {} records in {} segments, sequences {} to {}",
            self.store,
            self.number,
            self.verdict(),
            self.records,
            self.segments,
            self.first,
            self.last
        )?;
        if let Some(tail) = &self.torn_tail {
            writeln!(
                f,
                "  torn tail: {} bytes after sequence {}, at offset {} of {}: opening cuts them \
                 off and keeps them aside",
                tail.bytes,
                tail.after,
                tail.offset,
                tail.file.display()
            )?;
        }
        for damage in &self.damages {
            writeln!(
                f,
                "  damaged: from sequence {}, at offset {} of {}: {}; restore the store from a \
                 backup",
                damage.sequence,
                damage.offset,
                damage.file.display(),
                damage.reason
            )?;
        }
        for problem in &self.index_problems {
            writeln!(
                f,
                "  index: {}: {}; opening makes it anew",
                problem.file.display(),
                problem.reason
            )?;
        }
        Ok(())
    }
}
