//! Reading what is stored only to see that it is whole.

use tidegate_record::{Offset, PartitionId};

use super::Log;
use crate::{ReadError, StoreError};

/// What one step of a scrub saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// Where the next step begins.
    pub next: Offset,
    /// Batches that were looked at.
    pub batches: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Base offsets of those that are not as they were written, with what is wrong.
    pub damaged: Vec<(Offset, String)>,
}

impl Log {
    /// Reads about `max_bytes` of batches from `from` on past every cache, and checks the CRC of each and that it is what
    /// its row says. `None` at the end of the log. Blocks on the disk.
    pub fn scrub(
        &self,
        id: PartitionId,
        from: Offset,
        max_bytes: usize,
    ) -> Result<Option<Scrubbed>, ReadError> {
        let bounds = self.known(id)?.bounds();
        let from = from.max(bounds.start);
        let store = self.shared.store.as_ref();
        let stored = match store.read(id, from, bounds.end, max_bytes) {
            Ok(stored) => stored,
            Err(error @ StoreError::Corrupt(_)) => return self.scrub_around(id, from, &error),
            Err(error) => return Err(error.into()),
        };
        let Some(last) = stored.last() else {
            return Ok(None);
        };
        let mut seen = Scrubbed {
            next: last.row.last_offset.saturating_add(1),
            ..Scrubbed::default()
        };
        for item in &stored {
            seen.batches += 1;
            seen.bytes += item.batch.len() as u64;
            if let Err(what) = item.check() {
                seen.damaged.push((item.row.base_offset, what));
            }
        }
        Ok(Some(seen))
    }

    /// Something from `from` on cannot be read: steps over the first batch, and names it if it is the one.
    fn scrub_around(
        &self,
        id: PartitionId,
        from: Offset,
        error: &StoreError,
    ) -> Result<Option<Scrubbed>, ReadError> {
        let store = self.shared.store.as_ref();
        let Some(row) = store.rows(id, from, 1)?.first().copied() else {
            return Ok(None);
        };
        let mut seen = Scrubbed {
            next: row.last_offset.saturating_add(1),
            batches: 1,
            bytes: u64::from(row.size),
            damaged: Vec::new(),
        };
        match store.read(id, row.base_offset, row.base_offset.saturating_add(1), 1) {
            Ok(stored) => {
                let wrong = stored.iter().filter_map(|item| item.check().err());
                seen.damaged
                    .extend(wrong.map(|what| (row.base_offset, what)));
            }
            Err(_) => seen.damaged.push((row.base_offset, error.to_string())),
        }
        Ok(Some(seen))
    }
}
