//! Where replicas go: asked-for assignments checked, or placed round robin.

use std::collections::{BTreeMap, BTreeSet};

use crate::MAX_PARTITIONS_PER_TOPIC;
use crate::command::Refusal;
use crate::image::Broker;

/// Places `count` partitions of `replication_factor` replicas over the live brokers.
///
/// `start` turns the wheel, so that single-partition topics do not all land on the first broker; the
/// image passes its next partition id, which keeps the choice a function of the log.
pub(crate) fn place(
    brokers: &BTreeMap<i32, Broker>,
    start: u32,
    count: usize,
    replication_factor: i16,
) -> Result<Vec<Vec<i32>>, Refusal> {
    let live: Vec<i32> = brokers
        .values()
        .filter(|b| !b.fenced)
        .map(|b| b.id)
        .collect();
    let factor = usize::try_from(replication_factor).unwrap_or(0);
    if factor == 0 {
        return Err(Refusal::InvalidReplicationFactor(format!(
            "the replication factor must be at least 1, not {replication_factor}"
        )));
    }
    if factor > live.len() {
        return Err(Refusal::InvalidReplicationFactor(format!(
            "the replication factor is {factor}, but only {} broker(s) are registered",
            live.len()
        )));
    }
    let wheel = |partition: usize| {
        live.iter()
            .cycle()
            .skip((start as usize + partition) % live.len())
    };
    Ok((0..count)
        .map(|p| wheel(p).take(factor).copied().collect())
        .collect())
}

/// Checks assignments that the client made.
pub(crate) fn check_assignments(
    brokers: &BTreeMap<i32, Broker>,
    assignments: &[Vec<i32>],
) -> Result<(), Refusal> {
    let factor = assignments.first().map_or(0, Vec::len);
    for (partition, replicas) in assignments.iter().enumerate() {
        let refuse = |why: String| {
            Err(Refusal::InvalidAssignment(format!(
                "the assignment of partition {partition} {why}"
            )))
        };
        if replicas.is_empty() {
            return refuse("names no broker".to_owned());
        }
        if replicas.len() != factor {
            return refuse(format!(
                "has {} replicas where others have {factor}",
                replicas.len()
            ));
        }
        if replicas.iter().collect::<BTreeSet<_>>().len() != replicas.len() {
            return refuse("names a broker twice".to_owned());
        }
        if let Some(unknown) = replicas.iter().find(|id| !brokers.contains_key(id)) {
            return refuse(format!("names broker {unknown}, which is not registered"));
        }
    }
    Ok(())
}

/// Turns a partition count from the wire into one that may size things.
pub(crate) fn check_count(count: i32) -> Result<usize, Refusal> {
    match usize::try_from(count) {
        Ok(n) if (1..=MAX_PARTITIONS_PER_TOPIC).contains(&n) => Ok(n),
        _ => Err(Refusal::InvalidPartitions(format!(
            "a topic has between 1 and {MAX_PARTITIONS_PER_TOPIC} partitions, not {count}"
        ))),
    }
}
