//! Ids that must not be mixed up with other numbers.

use std::fmt;

/// Position of a record in a partition. The first record ever appended has offset 0.
pub type Offset = i64;

/// A partition's id in its store. Never reused, so a late write cannot reach a recreated topic.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub struct PartitionId(pub u32);

/// The leadership under which a batch was appended (KIP-101). Rises with each election.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub struct LeaderEpoch(pub i32);

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{}", self.0)
    }
}

impl fmt::Display for LeaderEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "e{}", self.0)
    }
}
