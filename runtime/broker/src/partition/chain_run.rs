//! What happens to a batch between admission and the log: the chain, and everything its verdicts ask for.
//!
//! Runs on the plugin pool, outside every lock. What the chain says of each record becomes the stored batch
//! (`stored_form`), batches for other partitions (`routes`), dead letters (`dead_letters`) and a note of it all (`notes`).

use std::sync::Arc;

use bytes::Bytes;
use tidegate_metadata::config::TopicConfig;
use tidegate_plugin::{Chain, ChainFailure, ChainInput, ChainOutcome, ChainResult, OnError, Side};
use tidegate_protocol::error::ErrorCode;
use tidegate_record::{Batch, CheckedBatch, ProduceError, Records};
use tidegate_storage::{Aborts, AppendPart, Lane, Late};

use crate::plugins::{Observed, Real};
use crate::topics::TopicSettings;

use super::admission::Queued;
use super::append::{ProduceFailure, RecordError};
use super::routes::Source;
use super::times::TimeBounds;
use super::{PartitionEnv, dead_letters, facts, stored_form, times};

/// A batch ready for the log, with what goes into other partitions in the same atomic write.
pub(super) struct Processed {
    pub(super) batch: Batch,
    /// Offset delta of the last record that survived, -1 for none.
    pub(super) last_surviving_delta: i32,
    pub(super) routed: Vec<AppendPart>,
    /// Dead letters, which name the offset that the batch gets.
    pub(super) late: Option<Late>,
    /// What the chain did to the batch, for `explain`.
    pub(super) note: Option<Bytes>,
    /// Of an ABORT marker.
    pub(super) aborts: Option<Aborts>,
    pub(super) settlement: Option<Settlement>,
    /// The lane of a batch of the broker's own; that of a client's batch is its producer's.
    pub(super) lane: Option<Lane>,
    /// A target refused records, which are dead letters now: redriven, they must not be taken for duplicates. Of records
    /// that the chain itself gave up, it knows.
    pub(super) target_letters: bool,
}

impl Processed {
    /// A batch that goes to the log with every record it has.
    pub(super) fn whole(batch: Batch) -> Processed {
        let last_surviving_delta = batch.header().last_offset_delta;
        Processed {
            batch,
            last_surviving_delta,
            routed: Vec::new(),
            late: None,
            note: None,
            aborts: None,
            settlement: None,
            lane: None,
            target_letters: false,
        }
    }
}

/// Tells a chain that keeps state what became of a batch that it saw. Whatever way the batch is lost, a refusal, a full
/// queue, a panic, dropping this says that it was not appended; only who knows better says so.
pub(super) struct Settlement {
    chain: Arc<Chain>,
    partition: i32,
    appended: bool,
    /// Its state is not to be kept, whatever becomes of the batch.
    spoiled: bool,
}

impl Settlement {
    fn of(chain: &Arc<Chain>, partition: i32) -> Option<Settlement> {
        chain.keeps_state().then(|| Settlement {
            chain: chain.clone(),
            partition,
            appended: false,
            spoiled: false,
        })
    }

    pub(super) fn appended(mut self) {
        self.appended = true;
    }
}

impl Drop for Settlement {
    fn drop(&mut self) {
        let good = self.appended && !self.spoiled;
        self.chain.settle(self.partition, good);
    }
}

/// Whether a batch must be opened even without a chain.
pub(super) fn needs_records(topic: &TopicSettings, batch: &CheckedBatch, now_ms: i64) -> bool {
    let config = topic.config();
    let bounds = TimeBounds::of(&config, now_ms);
    config.cleanup_compact
        || bounds.is_some_and(|bounds| bounds.in_doubt(batch.batch().header()))
        || stored_form::wanted_codec(&config, batch.batch()).is_some()
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
    chain: Option<&Arc<Chain>>,
) -> Result<Processed, ProduceFailure> {
    let now_ms = queued.received_ms;
    let config = topic.config();
    let checked = stamped(topic, queued.batch, now_ms);
    let count = checked.batch().record_count();
    let opened = env.decoding.open(count, |limits| checked.decode(limits));
    let opened = opened.map_err(unopened)?;
    let records = &opened.records;
    stored_form::check_keys(&config, records)?;
    times::check(TimeBounds::of(&config, now_ms), records)?;
    let batch = checked.into_batch();
    let place = (index, now_ms);
    let Some(chain) = chain else {
        show_shadow(env, topic, place, &batch, Real::default);
        return stored_form::recompressed(&config, batch, records).map(Processed::whole);
    };
    if batch.header().attributes.is_transactional() && chain.has_router() {
        // Rule 23: late delivery after the end of the transaction would hang or tear it.
        return Err(ProduceFailure::new(
            ErrorCode::PolicyViolation,
            "a topic with a router in its produce chain takes no transactions; produce without a transactional id",
        ));
    }
    // From here on the plugins may have seen the batch.
    let mut settlement = Settlement::of(chain, index);
    let result = run(chain, topic, &config, index, now_ms, records)?;
    show_shadow(env, topic, place, &batch, || Real::of(&result));
    refuse_rejected(&result, |index| index)?;
    let source = Source {
        env,
        topic,
        index,
        now_ms,
        chain,
        batch: &batch,
        records,
    };
    let processed = finish(&source, &config, result)?;
    if let Some(settlement) = &mut settlement {
        settlement.spoiled = processed.target_letters;
    }
    Ok(Processed {
        settlement,
        ..processed
    })
}

/// Shows a batch to the topic's shadow chain, if there is one; it came to this partition at this time. `real` copies what
/// became of the records, which is for nothing where nobody compares.
pub(super) fn show_shadow(
    env: &PartitionEnv,
    topic: &TopicSettings,
    (partition, append_time_ms): (i32, i64),
    batch: &Batch,
    real: impl FnOnce() -> Real,
) {
    if let Some(shadow) = &topic.chains().shadow {
        let observed = Observed {
            topic,
            partition,
            append_time_ms,
            batch,
            decoding: &env.decoding,
            real: real(),
        };
        shadow.observe(&env.engine, observed);
    }
}

/// Runs a produce chain over records of `topic`.
pub(super) fn run(
    chain: &Chain,
    topic: &TopicSettings,
    config: &TopicConfig,
    index: i32,
    now_ms: i64,
    records: &Records,
) -> Result<ChainResult, ProduceFailure> {
    let input = ChainInput {
        topic: topic.name(),
        partition: index,
        append_time_ms: now_ms,
        base_offset: None,
        records,
        side: Side::Produce,
        keep_tombstones: config.tombstones_bypass(),
        fixed_keys: config.keys_fixed(),
    };
    match chain.run(&input) {
        ChainOutcome::Done(result) => Ok(result),
        ChainOutcome::Failed(failure) => Err(chain_failure(&failure)),
    }
}

/// Acts on what the chain said of a batch of which it rejected nothing.
pub(super) fn finish(
    source: &Source<'_>,
    config: &TopicConfig,
    mut result: ChainResult,
) -> Result<Processed, ProduceFailure> {
    let routed = source.route(&mut result)?;
    let mut letters = dead_letters::of_chain(source.topic, source.chain, &result.dead)?;
    letters.extend(routed.letters.iter().cloned());
    // The order in which their offsets rise, whoever gave them up.
    letters.sort_by_key(|letter| letter.record);
    let note = facts::note(source, &result, &routed, &letters);
    let late = dead_letters::prepare(source, letters)?;
    let stored = stored_form::of(source, config, &result)?;
    Ok(Processed {
        batch: stored.batch,
        last_surviving_delta: stored.last_surviving_delta,
        routed: routed.parts,
        late,
        note,
        aborts: None,
        lane: None,
        settlement: None,
        target_letters: !routed.letters.is_empty(),
    })
}

/// `of_client` gives the index in the client's batch of a record of the batch that the chain saw.
pub(super) fn refuse_rejected(
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

/// What inflates too far is told as what is too large: Java's producer then sends it again in halves.
fn unopened(error: ProduceError) -> ProduceFailure {
    let code = match error {
        ProduceError::Inflated { .. } => ErrorCode::MessageTooLarge,
        _ => ErrorCode::InvalidRecord,
    };
    ProduceFailure::new(code, format!("the batch cannot be opened: {error}"))
}

pub(super) fn record_error(index: usize, message: &str) -> RecordError {
    RecordError {
        index: i32::try_from(index).unwrap_or(i32::MAX),
        message: message.into(),
    }
}

pub(super) fn internal(error: &dyn std::error::Error) -> ProduceFailure {
    ProduceFailure::new(ErrorCode::UnknownServerError, error.to_string())
}
