//! Holds a plugin to `state = none`: any instance may see any batch, a batch may be cut anywhere and run again.
//!
//! The broker does all of that (it splits calls by size, bisects to a poison record, keeps results of consume chains), so a
//! plugin that counts records across calls, say, gives answers that nobody can explain.

use crate::{Fate, Harness, Outcome, Record};

/// Records that each get an instance of their own; those after them share one, record by record. An instance costs
/// microseconds in Rust and milliseconds in JavaScript.
const OWN_INSTANCES: usize = 64;

/// The error is a sentence: which record had another outcome, and how.
pub(crate) fn compare(harness: &Harness, records: &[Record], seen: &Outcome) -> Result<(), String> {
    match harness.fresh().run_once(records, 0) {
        Ok(again) => differing(&seen.records, &again.records, 0, "in a fresh instance")?,
        Err(error) => return Err(format!("the same batch in a fresh instance: {error}")),
    }
    let mut one = harness.fresh();
    for (index, (record, fate)) in records.iter().zip(&seen.records).enumerate() {
        if index < OWN_INSTANCES {
            one = harness.fresh();
        }
        let again = one
            .run_once(std::slice::from_ref(record), index)
            .map_err(|error| format!("record {index} in a batch of its own: {error}"))?;
        differing(
            std::slice::from_ref(fate),
            &again.records,
            index,
            "in a batch of its own",
        )?;
    }
    Ok(())
}

fn differing(seen: &[Fate], again: &[Fate], first: usize, how: &str) -> Result<(), String> {
    let pairs = seen.iter().zip(again).enumerate();
    let Some((index, (a, b))) = pairs.into_iter().find(|(_, (a, b))| a != b) else {
        return Ok(());
    };
    Err(format!(
        "record {} had another outcome {how}: `{b}` and not `{a}`; a plugin whose description says `state = none` must \
         decide by the record and its configuration alone",
        first + index
    ))
}
