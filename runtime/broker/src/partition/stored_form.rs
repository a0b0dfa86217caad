//! The form in which a batch enters the log: which records, with which edits, in which codec; and the checks of it.

use tidegate_metadata::config::TopicConfig;
use tidegate_plugin::{ChainResult, Edits};
use tidegate_protocol::error::ErrorCode;
use tidegate_record::{
    Batch, BatchError, Codec, Compression, RecordEditParts, Records, last_kept_delta, recode,
    rewrite,
};

use super::append::{ProduceFailure, RecordError};
use super::chain_run::{internal, record_error};
use super::routes::Source;
use super::times::{self, TimeBounds};

pub(super) struct StoredForm {
    pub(super) batch: Batch,
    pub(super) last_surviving_delta: i32,
}

/// What is left of the source batch. One of which everything is kept as it was keeps its bytes, unless the topic asks for
/// another codec.
pub(super) fn of(
    source: &Source<'_>,
    config: &TopicConfig,
    result: &ChainResult,
) -> Result<StoredForm, ProduceFailure> {
    let (batch, records) = (source.batch, source.records);
    if result.all_kept {
        let batch = recompressed(config, batch.clone(), records)?;
        return Ok(StoredForm {
            last_surviving_delta: batch.header().last_offset_delta,
            batch,
        });
    }
    let keep = |i: usize| result.keep.get(i).copied().unwrap_or(true);
    let edit = |i: usize| edit_of(&result.edits, i, result.edits.layers());
    check_edited_keys(config, records, &result.edits, keep)?;
    let bounds = TimeBounds::of(config, source.now_ms);
    times::check_edited(bounds, records.len(), &result.edits, keep)?;
    let has = batch.codec().map_err(|error| internal(&error))?;
    let codec = stored_codec(config).unwrap_or(has);
    let max_decoded = source.env.decoding.max_bytes;
    let how = with_level(config, codec);
    let stored = rewrite(batch, records, keep, edit, how, max_decoded).map_err(|error| {
        match error {
            // What is larger could never be opened again, by a consume chain or whoever reads the log.
            BatchError::TooLarge => too_large("its records", max_decoded, "the broker opens"),
            error => internal(&error),
        }
    })?;
    if codec != has || !result.edits.is_empty() {
        // Kafka checks again when it has changed a batch. What was only thinned out came as an acceptable one.
        check_size(config, &stored)?;
    }
    Ok(StoredForm {
        batch: stored,
        last_surviving_delta: last_kept_delta(records, keep),
    })
}

/// The batch in the codec that the topic asks for.
pub(super) fn recompressed(
    config: &TopicConfig,
    batch: Batch,
    records: &Records,
) -> Result<Batch, ProduceFailure> {
    let Some(codec) = wanted_codec(config, &batch) else {
        return Ok(batch);
    };
    let batch =
        recode(&batch, records, with_level(config, codec)).map_err(|error| internal(&error))?;
    check_size(config, &batch)?;
    Ok(batch)
}

/// The codec a topic's `compression.type` asks for, where the batch has another one.
pub(super) fn wanted_codec(config: &TopicConfig, batch: &Batch) -> Option<Codec> {
    let wanted = stored_codec(config)?;
    let has = batch.codec().ok()?;
    (wanted != has).then_some(wanted)
}

/// `compression.type`, unless it leaves the choice to the producer.
pub(super) fn stored_codec(config: &TopicConfig) -> Option<Codec> {
    config.compression.as_deref().and_then(Codec::from_name)
}

/// A codec as hard as the topic wants it to try.
pub(super) fn with_level(config: &TopicConfig, codec: Codec) -> Compression {
    let level = match codec {
        Codec::Gzip => Some(config.compression_gzip_level),
        Codec::Zstd => Some(config.compression_zstd_level),
        // The encoders of these have one level each.
        Codec::None | Codec::Snappy | Codec::Lz4 => None,
    };
    Compression { codec, level }
}

/// What the first `layers` transforms made of a record, as the record crate takes it.
pub(super) fn edit_of(edits: &Edits, index: usize, layers: usize) -> Option<RecordEditParts<'_>> {
    if layers == 0 {
        return None;
    }
    let edit = edits.of(index, layers)?;
    Some(RecordEditParts {
        key: edit.key,
        value: edit.value,
        headers: edit.headers,
        timestamp: edit.timestamp,
    })
}

/// A compacted topic keeps the last record of each key, so each must have one.
pub(super) fn check_keys(config: &TopicConfig, records: &Records) -> Result<(), ProduceFailure> {
    if !config.cleanup_compact {
        return Ok(());
    }
    const SENTENCE: &str = "a compacted topic needs a key in every record";
    let keyless = records.iter().enumerate();
    let keyless = keyless.filter(|(_, record)| record.key.is_none());
    refuse_keyless(
        SENTENCE,
        keyless
            .map(|(index, _)| record_error(index, SENTENCE))
            .collect(),
    )
}

/// Once more, when transforms have had their say.
fn check_edited_keys(
    config: &TopicConfig,
    records: &Records,
    edits: &Edits,
    keep: impl Fn(usize) -> bool,
) -> Result<(), ProduceFailure> {
    if !config.cleanup_compact || edits.is_empty() {
        return Ok(());
    }
    const SENTENCE: &str = "a plugin took the key away, and a compacted topic needs one";
    let without_key = |index: &usize| {
        let edit = edits.of(*index, edits.layers());
        keep(*index) && matches!(edit.and_then(|edit| edit.key), Some(None))
    };
    let keyless = (0..records.len()).filter(without_key);
    refuse_keyless(
        SENTENCE,
        keyless.map(|index| record_error(index, SENTENCE)).collect(),
    )
}

fn refuse_keyless(sentence: &str, records: Vec<RecordError>) -> Result<(), ProduceFailure> {
    match records.is_empty() {
        true => Ok(()),
        false => Err(ProduceFailure {
            code: ErrorCode::InvalidRecord,
            message: sentence.into(),
            records,
        }),
    }
}

/// MESSAGE_TOO_LARGE also where plugins made the batch so: Java's producer then sends it again in smaller ones, each of
/// which may fit, where INVALID_RECORD would give up on all of its records.
fn check_size(config: &TopicConfig, batch: &Batch) -> Result<(), ProduceFailure> {
    match batch.size() > config.max_message_bytes {
        true => Err(too_large(
            "the batch",
            config.max_message_bytes,
            "max.message.bytes allows",
        )),
        false => Ok(()),
    }
}

fn too_large(what: &str, max: usize, who: &str) -> ProduceFailure {
    ProduceFailure::new(
        ErrorCode::MessageTooLarge,
        format!(
            "after plugins and compression {what} would take more than the {max} bytes that {who}"
        ),
    )
}
