//! Dead letters: records that a plugin failed on or rejected, kept in a topic of their own, as the client sent them, with
//! headers that say where they come from and why.
//!
//! They enter the log in one write with the hole they leave. Their headers name the offset of that hole, which the writer
//! thread knows first, so they are encoded there (rule 24). Everything that could refuse them is looked at before.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_plugin::{Binding, Chain, DeadRecord, FailureKind};
use tidegate_protocol::error::ErrorCode;
use tidegate_record::{
    BatchBuilder, Codec, Compression, Header, LeaderEpoch, Offset, PartitionId, RecordView, Records,
};
use tidegate_storage::{AppendPart, Late};

use crate::topics::{Topic, TopicSettings};

use super::append::ProduceFailure;
use super::chain_run::record_error;
use super::routes::{Source, partition_by_key};
use super::stored_form::{stored_codec, with_level};

/// Longest sentence in `tidegate.error`, in bytes.
const MAX_ERROR: usize = 1000;

/// One record for a dead-letter topic.
#[derive(Clone)]
pub(super) struct Letter {
    /// Index in the client's batch.
    pub(super) record: usize,
    pub(super) cause: Arc<Cause>,
}

/// Why records became dead letters; neighbours share it.
pub(super) struct Cause {
    /// The dead-letter topic.
    pub(super) topic: String,
    pub(super) alias: String,
    /// The binding's place in the chain.
    pub(super) binding: usize,
    /// `sha256:` and hexadecimal digits.
    pub(super) digest: String,
    /// `tidegate.error.kind`
    pub(super) kind: &'static str,
    pub(super) message: String,
}

/// The records that the chain of `topic` gave up.
pub(super) fn of_chain(
    topic: &TopicSettings,
    chain: &Chain,
    dead: &[DeadRecord],
) -> Result<Vec<Letter>, ProduceFailure> {
    let mut letters: Vec<Letter> = Vec::with_capacity(dead.len());
    for record in dead {
        let binding = binding(chain, record.binding)?;
        let kind = record.kind.map_or("rejected", FailureKind::as_str);
        let message = clipped(&record.message);
        let known = letters.last().map(|last| &last.cause);
        let known = known.filter(|cause| {
            cause.alias == binding.alias() && cause.kind == kind && cause.message == message
        });
        let cause = match known {
            Some(cause) => cause.clone(),
            None => cause(topic, binding, record.binding, kind, message)?,
        };
        letters.push(Letter {
            record: record.index,
            cause,
        });
    }
    Ok(letters)
}

/// Records that the target of their route refused, under a router whose policy is `dead-letter`.
pub(super) fn of_router(
    topic: &TopicSettings,
    chain: &Chain,
    router: usize,
    records: &[usize],
    reason: &str,
) -> Result<Vec<Letter>, ProduceFailure> {
    let binding = binding(chain, router)?;
    let cause = cause(topic, binding, router, "rejected", clipped(reason))?;
    let letter = |record: &usize| Letter {
        record: *record,
        cause: cause.clone(),
    };
    Ok(records.iter().map(letter).collect())
}

/// Finds a place for every letter and makes sure that it fits there. `None` = there are no letters.
pub(super) fn prepare(
    source: &Source<'_>,
    letters: Vec<Letter>,
) -> Result<Option<Late>, ProduceFailure> {
    if letters.is_empty() {
        return Ok(None);
    }
    let topics = source.env.topics.upgrade();
    let topics = topics.ok_or_else(ProduceFailure::gone)?;
    let origin = Origin {
        topic: source.topic.name().to_owned(),
        partition: source.index.to_string(),
        transactional: source.batch.header().attributes.is_transactional(),
    };
    let mut groups: BTreeMap<(&str, i32), Vec<&Letter>> = BTreeMap::new();
    for letter in &letters {
        let name = letter.cause.topic.as_str();
        let target = topics.get(name).ok_or_else(|| missing(name))?;
        let record = source.records.get(letter.record);
        let record = record.ok_or_else(ProduceFailure::gone)?;
        let count = target.partition_count().max(1);
        let partition = partition_by_key(record.key, source.index, count);
        groups.entry((name, partition)).or_default().push(letter);
    }
    let mut boxes = Vec::with_capacity(groups.len());
    for ((name, partition), letters) in groups {
        let target = topics.get(name).ok_or_else(|| missing(name))?;
        boxes.push(LetterBox::new(
            source, &origin, &target, partition, &letters,
        )?);
    }
    let bytes = boxes.iter().map(|letters| letters.bytes).sum();
    let records = source.records.clone();
    Ok(Some(Late {
        bytes,
        parts: Box::new(move |source| {
            let mut parts = Vec::with_capacity(boxes.len());
            for letters in boxes {
                letters.encode(&origin, &records, source.base_offset, &mut parts)?;
            }
            Ok(parts)
        }),
    }))
}

/// What the headers of all letters of one batch say alike.
struct Origin {
    topic: String,
    partition: String,
    transactional: bool,
}

/// The letters for one partition.
struct LetterBox {
    id: PartitionId,
    epoch: LeaderEpoch,
    compression: Compression,
    max_message_bytes: usize,
    append_time_ms: Option<i64>,
    /// With the most bytes that each may come to.
    letters: Vec<(Letter, usize)>,
    bytes: usize,
}

impl LetterBox {
    fn new(
        source: &Source<'_>,
        origin: &Origin,
        target: &Topic,
        partition: i32,
        letters: &[&Letter],
    ) -> Result<LetterBox, ProduceFailure> {
        let name = target.settings.name();
        let config = target.settings.config();
        let place = target.partition(partition).ok_or_else(|| missing(name))?;
        let mut sized = Vec::with_capacity(letters.len());
        let mut refused = Vec::new();
        for letter in letters {
            let record = source.records.get(letter.record);
            let record = record.ok_or_else(ProduceFailure::gone)?;
            let size = most_bytes(origin, &record, &letter.cause)?;
            if size > config.max_message_bytes {
                let sentence = format!(
                    "plugin {} gave the record up, and as a dead letter it has {size} bytes, more than \
                     max.message.bytes of {name} ({}): raise that",
                    letter.cause.alias, config.max_message_bytes
                );
                refused.push(record_error(letter.record, &sentence));
            } else if config.cleanup_compact && record.key.is_none() {
                let sentence = format!(
                    "plugin {} gave the record up, and {name} is compacted and takes no record without a key: \
                     set its cleanup.policy to delete",
                    letter.cause.alias
                );
                refused.push(record_error(letter.record, &sentence));
            }
            sized.push(((*letter).clone(), size));
        }
        if let Some(first) = refused.first() {
            // Nothing is lost and nothing acknowledged: the producer still has its records.
            return Err(ProduceFailure {
                code: ErrorCode::InvalidRecord,
                message: first.message.clone(),
                records: refused,
            });
        }
        Ok(LetterBox {
            id: place.id,
            epoch: place.leader_epoch(),
            // The producer's own codec is not asked for: this is encoded while every partition waits.
            compression: with_level(&config, stored_codec(&config).unwrap_or(Codec::None)),
            max_message_bytes: config.max_message_bytes,
            append_time_ms: config
                .message_timestamp_type_append
                .then_some(source.now_ms),
            bytes: sized.iter().map(|(_, size)| size).sum(),
            letters: sized,
        })
    }

    /// As many batches as it takes for each to fit.
    fn encode(
        self,
        origin: &Origin,
        records: &Records,
        base_offset: Offset,
        parts: &mut Vec<AppendPart>,
    ) -> Result<(), String> {
        let mut builder = self.builder();
        for (letter, size) in &self.letters {
            if !builder.is_empty() && builder.bytes_len() + size > self.max_message_bytes {
                let full = std::mem::replace(&mut builder, self.builder());
                parts.push(self.part(full)?);
            }
            let record = records.get(letter.record).ok_or("a record is gone")?;
            let offset = base_offset + i64::from(record.offset_delta);
            push(&mut builder, origin, &record, &letter.cause, offset)
                .map_err(|error| error.to_string())?;
        }
        parts.push(self.part(builder)?);
        Ok(())
    }

    fn builder(&self) -> BatchBuilder {
        let mut builder = BatchBuilder::new(self.compression);
        builder.append_time_ms = self.append_time_ms;
        builder
    }

    fn part(&self, builder: BatchBuilder) -> Result<AppendPart, String> {
        let batch = builder.build().map_err(|error| error.to_string())?;
        Ok(AppendPart {
            id: self.id,
            epoch: self.epoch,
            last_surviving_delta: batch.header().last_offset_delta,
            batch,
        })
    }
}

/// Bytes of a batch of this letter alone, whatever offset its record gets.
fn most_bytes(
    origin: &Origin,
    record: &RecordView<'_>,
    cause: &Cause,
) -> Result<usize, ProduceFailure> {
    let mut alone = BatchBuilder::new(Codec::None);
    push(&mut alone, origin, record, cause, Offset::MAX)
        .map_err(|error| super::chain_run::internal(&error))?;
    // In a larger batch its deltas may take this much more.
    Ok(alone.bytes_len() + 16)
}

fn push(
    builder: &mut BatchBuilder,
    origin: &Origin,
    record: &RecordView<'_>,
    cause: &Cause,
    offset: Offset,
) -> Result<i32, tidegate_record::BuildError> {
    let offset = offset.to_string();
    let mut headers: Vec<Header<'_>> = Vec::with_capacity(8);
    let mut say = |name: &'static str, value| headers.push((name.as_bytes(), Some(value)));
    say("tidegate.source.topic", origin.topic.as_bytes());
    say("tidegate.source.partition", origin.partition.as_bytes());
    say("tidegate.source.offset", offset.as_bytes());
    say("tidegate.plugin", cause.alias.as_bytes());
    say("tidegate.plugin.digest", cause.digest.as_bytes());
    say("tidegate.error.kind", cause.kind.as_bytes());
    say("tidegate.error", cause.message.as_bytes());
    if origin.transactional {
        // Rule 23: whatever becomes of the transaction, its dead letters stand.
        say("tidegate.transactional", b"false");
    }
    builder.push_raw_with_headers(record, None, &headers)
}

fn binding(chain: &Chain, place: usize) -> Result<&Arc<Binding>, ProduceFailure> {
    let binding = chain.bindings().get(place);
    binding.ok_or_else(|| {
        ProduceFailure::new(
            ErrorCode::UnknownServerError,
            "the plugin host named a plugin that is not in the chain",
        )
    })
}

fn cause(
    topic: &TopicSettings,
    binding: &Binding,
    place: usize,
    kind: &'static str,
    message: String,
) -> Result<Arc<Cause>, ProduceFailure> {
    // The configuration may have lost it since the chain was bound.
    let dead_letter_topic = topic.config().dead_letter_topic.clone();
    let dead_letter_topic = dead_letter_topic.ok_or_else(|| {
        ProduceFailure::new(
            ErrorCode::NotEnoughReplicas,
            format!(
                "plugin {} gave records up, and {} has no tidegate.dead.letter.topic for them; the request may be \
                 retried",
                binding.alias(),
                topic.name()
            ),
        )
    })?;
    Ok(Arc::new(Cause {
        topic: dead_letter_topic,
        alias: binding.alias().to_owned(),
        binding: place,
        digest: format!("sha256:{}", binding.plugin().digest()),
        kind,
        message,
    }))
}

fn clipped(message: &str) -> String {
    let mut end = message.len().min(MAX_ERROR);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    message.get(..end).unwrap_or_default().to_owned()
}

fn missing(topic: &str) -> ProduceFailure {
    ProduceFailure::new(
        ErrorCode::NotEnoughReplicas,
        format!("the dead-letter topic {topic} is not there yet; the request may be retried"),
    )
}
