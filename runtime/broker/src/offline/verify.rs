//! Whether everything in a data directory is as it was written.

use tidegate_storage::Verified;

use super::DataDir;

/// One thing that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub topic: Option<String>,
    /// Number within its topic; with `id`, where it is about one partition.
    pub index: Option<i32>,
    pub id: Option<u32>,
    pub offset: Option<i64>,
    pub what: String,
}

/// How far a check got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    pub partitions: u64,
    pub batches: u64,
    pub bytes: u64,
}

impl DataDir {
    /// Bytes that [`verify`](DataDir::verify) will read, about.
    pub fn bytes(&self) -> u64 {
        let ends = self.records.partitions().unwrap_or_default();
        let bytes = ends.iter().filter_map(|entry| {
            let (first, last) = self.records.ends(entry.id).ok()??;
            Some(last.end_position().saturating_sub(first.position))
        });
        bytes.sum()
    }

    /// Reads everything, names what is wrong, and says how far it is.
    pub fn verify(
        &self,
        found: &mut dyn FnMut(Finding),
        progress: &mut dyn FnMut(Checked),
    ) -> Checked {
        if let Err(error) = &self.metadata {
            found(Finding {
                topic: None,
                index: None,
                id: None,
                offset: None,
                what: format!("the metadata cannot be read: {error}"),
            });
        }
        let mut problem = |problem: tidegate_storage::Problem| {
            let named = problem.partition.and_then(|id| self.names.get(&id));
            found(Finding {
                topic: named.map(|(topic, _)| topic.clone()),
                index: named.map(|(_, index)| *index),
                id: problem.partition.map(|id| id.0),
                offset: problem.offset,
                what: problem.what,
            });
        };
        let done = self
            .records
            .verify(&mut problem, &mut |done| progress(checked(done)));
        checked(done)
    }
}

fn checked(done: Verified) -> Checked {
    Checked {
        partitions: done.partitions,
        batches: done.batches,
        bytes: done.bytes,
    }
}
