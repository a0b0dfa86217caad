//! What happens to a batch between admission and the log: the chain, routes, and the checks that need its records.
//!
//! Runs on the plugin pool, outside every lock.

use std::collections::BTreeMap;

use tidegate_metadata::config::TopicConfig;
use tidegate_plugin::{
    Chain, ChainFailure, ChainInput, ChainOutcome, ChainResult, OnError, PartitionChoice, Side,
};
use tidegate_protocol::error::ErrorCode;
use tidegate_record::{
    Batch, BatchBuilder, CheckedBatch, Codec, DecodeLimits, RecordView, Records, last_kept_delta,
    partition_for_key, recode, retain,
};
use tidegate_storage::AppendPart;

use crate::topics::{ChainSlot, Topic, TopicSettings};

use super::PartitionEnv;
use super::admission::Queued;
use super::append::{ProduceFailure, RecordError};

/// Most records one batch may hold before a plugin sees it; the smallest record takes seven bytes.
const MAX_RECORDS: usize = 10_000_000;

/// A batch ready for the log, with what goes into other partitions in the same atomic write.
pub(super) struct Processed {
    pub(super) batch: Batch,
    /// Offset delta of the last record that survived, -1 for none.
    pub(super) last_surviving_delta: i32,
    pub(super) routed: Vec<AppendPart>,
}

impl Processed {
    /// A batch that goes to the log with every record it has.
    pub(super) fn whole(batch: Batch) -> Processed {
        let last_surviving_delta = batch.header().last_offset_delta;
        Processed {
            batch,
            last_surviving_delta,
            routed: Vec::new(),
        }
    }
}

/// Whether a batch must be opened even without a chain.
pub(super) fn needs_records(topic: &TopicSettings, batch: &CheckedBatch) -> bool {
    topic.config().cleanup_compact || wanted_codec(topic, batch.batch()).is_some()
}

/// Log append time is stamped before the chain, so that a plugin sees the time that will be stored.
pub(super) fn stamped(topic: &TopicSettings, batch: CheckedBatch, now_ms: i64) -> CheckedBatch {
    match topic.config().message_timestamp_type_append {
        true => batch.stamp_append_time(now_ms),
        false => batch,
    }
}

pub(super) fn process(
    env: &PartitionEnv,
    topic: &TopicSettings,
    index: i32,
    queued: Queued,
    chain: Option<&Chain>,
) -> Result<Processed, ProduceFailure> {
    let received_ms = queued.received_ms;
    let checked = stamped(topic, queued.batch, received_ms);
    let limits = DecodeLimits {
        max_bytes: env.max_decoded_bytes,
        max_records: MAX_RECORDS,
    };
    let records = checked.decode(limits).map_err(|error| {
        ProduceFailure::new(
            ErrorCode::InvalidRecord,
            format!("the batch cannot be opened: {error}"),
        )
    })?;
    check_keys(topic, &records)?;
    let batch = checked.into_batch();
    let Some(chain) = chain else {
        return Ok(Processed::whole(recompressed(topic, batch, &records)?));
    };
    let input = ChainInput {
        topic: topic.name(),
        partition: index,
        append_time_ms: received_ms,
        base_offset: None,
        records: &records,
        side: Side::Produce,
        keep_tombstones: topic.config().cleanup_compact,
        fixed_keys: topic.config().cleanup_compact,
    };
    let mut result = match chain.run(&input) {
        ChainOutcome::Done(result) => result,
        ChainOutcome::Failed(failure) => return Err(chain_failure(&failure)),
    };
    refuse_rejected(&result, |index| index)?;
    let source = Source {
        env,
        topic,
        index,
        now_ms: received_ms,
        batch: &batch,
        records: &records,
    };
    let routed = source.route(&mut result)?;
    if result.all_kept {
        let whole = Processed::whole(recompressed(topic, batch, &records)?);
        return Ok(Processed { routed, ..whole });
    }
    let keep = |i: usize| result.keep.get(i).copied().unwrap_or(true);
    let last_surviving_delta = last_kept_delta(&records, keep);
    let batch = retain(&batch, &records, keep).map_err(|error| internal(&error))?;
    Ok(Processed {
        batch,
        last_surviving_delta,
        routed,
    })
}

fn check_keys(topic: &TopicSettings, records: &Records) -> Result<(), ProduceFailure> {
    if !topic.config().cleanup_compact {
        return Ok(());
    }
    let keyless: Vec<RecordError> = records
        .iter()
        .enumerate()
        .filter(|(_, record)| record.key.is_none())
        .map(|(index, _)| record_error(index, "a compacted topic needs a key in every record"))
        .collect();
    match keyless.is_empty() {
        true => Ok(()),
        false => Err(ProduceFailure {
            code: ErrorCode::InvalidRecord,
            message: "a compacted topic needs a key in every record".into(),
            records: keyless,
        }),
    }
}

/// `of_client` gives the index in the client's batch of a record of the batch that the chain saw.
fn refuse_rejected(
    result: &ChainResult,
    of_client: impl Fn(usize) -> usize,
) -> Result<(), ProduceFailure> {
    let Some(first) = result.rejected.first() else {
        return Ok(());
    };
    Err(ProduceFailure {
        code: ErrorCode::InvalidRecord,
        message: format!("rejected by plugin {}: {}", first.alias, first.reason),
        records: result
            .rejected
            .iter()
            .map(|rejection| record_error(of_client(rejection.index), &rejection.reason))
            .collect(),
    })
}

/// Rule 13: a verdict or a poison record is the client's trouble, everything else is temporary and retried.
fn chain_failure(failure: &ChainFailure) -> ProduceFailure {
    let code = match failure.temporary || failure.policy == OnError::Pause {
        true => ErrorCode::NotEnoughReplicas,
        false => ErrorCode::InvalidRecord,
    };
    ProduceFailure::new(
        code,
        format!("plugin {}: {}", failure.alias, failure.message),
    )
}

/// A batch whose records are being routed away from `topic`.
struct Source<'a> {
    env: &'a PartitionEnv,
    topic: &'a TopicSettings,
    index: i32,
    now_ms: i64,
    batch: &'a Batch,
    records: &'a Records,
}

impl Source<'_> {
    /// Builds one batch for each target partition, in source order, after the target's own chain and checks.
    fn route(&self, result: &mut ChainResult) -> Result<Vec<AppendPart>, ProduceFailure> {
        if result.routes.is_empty() {
            return Ok(Vec::new());
        }
        let topics = self.env.topics.upgrade().ok_or_else(ProduceFailure::gone)?;
        let mut groups: BTreeMap<(&str, i32), Vec<usize>> = BTreeMap::new();
        for route in &result.routes {
            let target = topics
                .get(&route.topic)
                .ok_or_else(|| unavailable(&route.topic))?;
            if target.settings.internal() {
                // A pattern may have matched what nobody may write to (rule 22).
                let sentence = format!("{} is internal and cannot be routed to", route.topic);
                return Err(ProduceFailure::new(ErrorCode::PolicyViolation, sentence));
            }
            let record = self
                .records
                .get(route.record)
                .ok_or_else(ProduceFailure::gone)?;
            let partition = choose_partition(route.partition, &record, self.index, &target);
            groups
                .entry((&route.topic, partition))
                .or_default()
                .push(route.record);
        }
        let mut parts = Vec::with_capacity(groups.len());
        let mut refused = Vec::new();
        for ((name, partition), chosen) in groups {
            let target = topics.get(name).ok_or_else(|| unavailable(name))?;
            let delivery = Delivery {
                source: self,
                target: &target,
                partition,
            };
            parts.extend(delivery.deliver(chosen, &mut refused));
        }
        for (chosen, failure) in refused {
            self.apply_policy(&chosen, failure, result)?;
        }
        Ok(parts)
    }

    /// Records that their target refuses meet `tidegate.on.error` of the topic that routed them (rule 22). Trouble
    /// that passes by itself is the producer's to retry, whatever the policy says.
    fn apply_policy(
        &self,
        chosen: &[usize],
        failure: ProduceFailure,
        result: &mut ChainResult,
    ) -> Result<(), ProduceFailure> {
        let policy: OnError = self.topic.config().on_error.parse().unwrap_or_default();
        let kept = match policy {
            _ if failure.code == ErrorCode::NotEnoughReplicas => return Err(failure),
            OnError::Drop => false,
            OnError::Pass => true,
            OnError::Reject | OnError::Pause | OnError::DeadLetter => return Err(failure),
        };
        tracing::debug!(
            topic = self.topic.name(),
            kept,
            "{} routed records refused",
            chosen.len()
        );
        for &record in chosen {
            if let Some(keep) = result.keep.get_mut(record) {
                *keep = kept;
            }
        }
        result.all_kept = result.keep.iter().all(|keep| *keep);
        Ok(())
    }
}

struct Delivery<'a> {
    source: &'a Source<'a>,
    target: &'a Topic,
    partition: i32,
}

impl Delivery<'_> {
    /// The batch of those of the `chosen` records that the target takes. A failure that names records is theirs alone;
    /// the others go without them.
    fn deliver(
        &self,
        mut chosen: Vec<usize>,
        refused: &mut Vec<(Vec<usize>, ProduceFailure)>,
    ) -> Option<AppendPart> {
        while !chosen.is_empty() {
            let failure = match self.build(&chosen) {
                Ok(part) => return part,
                Err(failure) => failure,
            };
            let named = |record: &usize| {
                failure
                    .records
                    .iter()
                    .any(|error| usize::try_from(error.index) == Ok(*record))
            };
            let (gone, rest) = match failure.records.is_empty() {
                true => (chosen, Vec::new()),
                false => chosen.into_iter().partition(named),
            };
            if gone.is_empty() {
                // A failure that names none of these would come again.
                refused.push((rest, failure));
                return None;
            }
            refused.push((gone, failure));
            chosen = rest;
        }
        None
    }

    fn build(&self, chosen: &[usize]) -> Result<Option<AppendPart>, ProduceFailure> {
        let name = self.target.settings.name();
        let partition = self
            .target
            .partition(self.partition)
            .ok_or_else(|| unavailable(&format!("{name}-{}", self.partition)))?;
        let all = self.assemble(chosen)?;
        let kept = self.filter(&all, chosen)?;
        let Some(batch) = kept else { return Ok(None) };
        let config = self.target.settings.config();
        if batch.bytes().len() > config.max_message_bytes {
            return Err(ProduceFailure::new(
                ErrorCode::MessageTooLarge,
                format!("routed records are larger than max.message.bytes of {name}"),
            ));
        }
        Ok(Some(AppendPart {
            id: partition.id,
            epoch: partition.leader_epoch(),
            last_surviving_delta: batch.header().last_offset_delta,
            batch,
        }))
    }

    /// A dense batch of the chosen records without the client's producer id; timestamps and headers as they came.
    fn assemble(&self, chosen: &[usize]) -> Result<Batch, ProduceFailure> {
        let config = self.target.settings.config();
        let source_codec = self.source.batch.codec().unwrap_or(Codec::None);
        let codec = stored_codec(&config).unwrap_or(source_codec);
        let mut builder = BatchBuilder::new(codec);
        let mut keyless = Vec::new();
        for &index in chosen {
            let record = self
                .source
                .records
                .get(index)
                .ok_or_else(ProduceFailure::gone)?;
            if config.cleanup_compact && record.key.is_none() {
                keyless.push(record_error(
                    index,
                    "routed to a compacted topic without a key",
                ));
                continue;
            }
            builder
                .push_raw_from(&record, None)
                .map_err(|error| internal(&error))?;
        }
        if !keyless.is_empty() {
            let name = self.target.settings.name();
            return Err(ProduceFailure {
                code: ErrorCode::InvalidRecord,
                message: format!("{name} is compacted and takes no record without a key"),
                records: keyless,
            });
        }
        let batch = builder.build().map_err(|error| internal(&error))?;
        Ok(match config.message_timestamp_type_append {
            true => batch.stamp_append_time(self.source.now_ms),
            false => batch,
        })
    }

    /// The target's own chain: filters only (rule 22), so nothing can travel in a circle.
    fn filter(&self, batch: &Batch, chosen: &[usize]) -> Result<Option<Batch>, ProduceFailure> {
        let chains = self.target.settings.chains();
        let chain = match &chains.produce {
            ChainSlot::None => return Ok(Some(batch.clone())),
            ChainSlot::Unavailable(reason) => {
                return Err(ProduceFailure::new(
                    ErrorCode::NotEnoughReplicas,
                    reason.clone(),
                ));
            }
            ChainSlot::Ready(chain) => chain,
        };
        if chain.has_router() {
            return Err(ProduceFailure::new(
                ErrorCode::PolicyViolation,
                format!(
                    "{} routes itself and cannot be routed to",
                    self.target.settings.name()
                ),
            ));
        }
        let limits = DecodeLimits {
            max_bytes: self.source.env.max_decoded_bytes,
            max_records: MAX_RECORDS,
        };
        let records = batch.records(limits).map_err(|error| internal(&error))?;
        let input = ChainInput {
            topic: self.target.settings.name(),
            partition: self.partition,
            append_time_ms: self.source.now_ms,
            base_offset: None,
            records: &records,
            side: Side::Produce,
            keep_tombstones: self.target.settings.config().cleanup_compact,
            fixed_keys: self.target.settings.config().cleanup_compact,
        };
        let result = match chain.run(&input) {
            ChainOutcome::Done(result) => result,
            ChainOutcome::Failed(failure) => return Err(chain_failure(&failure)),
        };
        refuse_rejected(&result, |index| chosen.get(index).copied().unwrap_or(index))?;
        if result.all_kept {
            return Ok(Some(batch.clone()));
        }
        let survivors: Vec<RecordView<'_>> = records
            .iter()
            .zip(&result.keep)
            .filter_map(|(record, keep)| keep.then_some(record))
            .collect();
        if survivors.is_empty() {
            return Ok(None);
        }
        let mut builder = BatchBuilder::new(batch.codec().unwrap_or(Codec::None));
        for record in &survivors {
            builder
                .push_raw_from(record, None)
                .map_err(|error| internal(&error))?;
        }
        builder.build().map(Some).map_err(|error| internal(&error))
    }
}

fn choose_partition(
    choice: PartitionChoice,
    record: &RecordView<'_>,
    source_index: i32,
    target: &Topic,
) -> i32 {
    let count = target.partition_count().max(1);
    match (choice, record.key) {
        (PartitionChoice::Explicit(index), _) => index,
        (PartitionChoice::ByKey, Some(key)) => {
            i32::try_from(partition_for_key(key, count.unsigned_abs())).unwrap_or(0)
        }
        (PartitionChoice::ByKey, None) | (PartitionChoice::SameIndex, _) => source_index % count,
    }
}

/// The codec a topic's `compression.type` asks for, where the batch has another one.
fn wanted_codec(topic: &TopicSettings, batch: &Batch) -> Option<Codec> {
    let wanted = stored_codec(&topic.config())?;
    let has = batch.codec().ok()?;
    (wanted != has).then_some(wanted)
}

/// `compression.type`, unless it leaves the choice to the producer.
fn stored_codec(config: &TopicConfig) -> Option<Codec> {
    config.compression.as_deref().and_then(Codec::from_name)
}

fn recompressed(
    topic: &TopicSettings,
    batch: Batch,
    records: &Records,
) -> Result<Batch, ProduceFailure> {
    match wanted_codec(topic, &batch) {
        None => Ok(batch),
        Some(codec) => recode(&batch, records, codec).map_err(|error| internal(&error)),
    }
}

fn record_error(index: usize, message: &str) -> RecordError {
    RecordError {
        index: i32::try_from(index).unwrap_or(i32::MAX),
        message: message.into(),
    }
}

fn unavailable(topic: &str) -> ProduceFailure {
    ProduceFailure::new(
        ErrorCode::NotEnoughReplicas,
        format!("the routed target {topic} is not there yet; the request may be retried"),
    )
}

fn internal(error: &dyn std::error::Error) -> ProduceFailure {
    ProduceFailure::new(ErrorCode::UnknownServerError, error.to_string())
}
