//! Which timestamps a topic takes from its producers (`message.timestamp.before.max.ms` and `.after.max.ms`, KIP-937).

use tidegate_metadata::config::TopicConfig;
use tidegate_plugin::Edits;
use tidegate_protocol::error::ErrorCode;
use tidegate_record::{BatchHeader, NO_TIMESTAMP, Records};

use super::append::{ProduceFailure, RecordError};
use super::chain_run::record_error;

/// The bounds at one time, in milliseconds since the Unix epoch, both inclusive.
#[derive(Clone, Copy)]
pub(super) struct TimeBounds {
    earliest: i64,
    latest: i64,
}

impl TimeBounds {
    /// `None` where the broker gives the times itself.
    pub(super) fn of(config: &TopicConfig, now_ms: i64) -> Option<TimeBounds> {
        (!config.message_timestamp_type_append).then(|| TimeBounds {
            earliest: now_ms.saturating_sub(config.message_timestamp_before_max_ms),
            latest: now_ms.saturating_add(config.message_timestamp_after_max_ms),
        })
    }

    /// Whether a batch must be opened to find out. Its header says the latest time; an earliest is in the records only.
    pub(super) fn in_doubt(self, header: &BatchHeader) -> bool {
        self.earliest > 0 || header.max_timestamp > self.latest
    }

    /// Why a record may not have this time.
    pub(super) fn refuse(self, timestamp: i64) -> Option<String> {
        let (bound, key) = match timestamp {
            NO_TIMESTAMP => return None,
            early if early < self.earliest => (self.earliest, "before"),
            late if late > self.latest => (self.latest, "after"),
            _ => return None,
        };
        Some(format!(
            "timestamp {timestamp} is {key} {bound}, as far as message.timestamp.{key}.max.ms allows now"
        ))
    }
}

/// Checks the records of a client's batch.
pub(super) fn check(bounds: Option<TimeBounds>, records: &Records) -> Result<(), ProduceFailure> {
    let times = records.timestamps().enumerate();
    refuse(times.filter_map(|(index, time)| refused(bounds, index, time)))
}

/// Once more, when transforms have had their say.
pub(super) fn check_edited(
    bounds: Option<TimeBounds>,
    count: usize,
    edits: &Edits,
    keep: impl Fn(usize) -> bool,
) -> Result<(), ProduceFailure> {
    if edits.is_empty() {
        return Ok(());
    }
    let edited = |index: usize| edits.of(index, edits.layers())?.timestamp;
    let kept = (0..count).filter(|index| keep(*index));
    refuse(kept.filter_map(|index| refused(bounds, index, edited(index)?)))
}

pub(super) fn refused(bounds: Option<TimeBounds>, index: usize, time: i64) -> Option<RecordError> {
    let sentence = bounds?.refuse(time)?;
    Some(record_error(index, &sentence))
}

/// A failure that names the records, if there are any.
pub(super) fn refuse(records: impl Iterator<Item = RecordError>) -> Result<(), ProduceFailure> {
    let records: Vec<RecordError> = records.collect();
    match records.first() {
        None => Ok(()),
        Some(first) => Err(ProduceFailure {
            code: ErrorCode::InvalidTimestamp,
            message: first.message.clone(),
            records,
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn bounds(set: &[(&str, &str)], now_ms: i64) -> Option<TimeBounds> {
        let set: BTreeMap<_, _> = set
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        TimeBounds::of(
            &TopicConfig::resolve(&set, &BTreeMap::new()).unwrap(),
            now_ms,
        )
    }

    #[test]
    fn the_default_is_an_hour_ahead_and_any_time_ago() {
        let now = 1_700_000_000_000;
        let of = bounds(&[], now).unwrap();
        for fine in [0, 1, now, now + 3_600_000, NO_TIMESTAMP] {
            assert_eq!(of.refuse(fine), None, "{fine}");
        }
        let sentence = of.refuse(now + 3_600_001).unwrap();
        assert!(sentence.contains("after.max.ms"), "{sentence}");
    }

    #[test]
    fn both_bounds_are_inclusive_and_log_append_time_has_none() {
        let set = [
            ("message.timestamp.before.max.ms", "10"),
            ("message.timestamp.after.max.ms", "5"),
        ];
        let of = bounds(&set, 100).unwrap();
        assert!(of.refuse(90).is_none() && of.refuse(105).is_none());
        assert!(of.refuse(89).is_some() && of.refuse(106).is_some());
        let stamped = ("message.timestamp.type", "LogAppendTime");
        assert!(bounds(&[set[0], stamped], 100).is_none());
    }
}
