//! Copies of records for other topics: one dense batch for each target partition, in source order, after the target's own
//! chain and checks.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_plugin::{Chain, ChainResult, OnError, PartitionChoice, Route};
use tidegate_protocol::error::ErrorCode;
use tidegate_record::{
    Batch, BatchBuilder, Codec, Compression, RecordEditParts, RecordView, Records,
    partition_for_key,
};
use tidegate_storage::AppendPart;

use crate::topics::{ChainSlot, Topic, TopicSettings};

use super::PartitionEnv;
use super::append::ProduceFailure;
use super::chain_run::{internal, record_error, refuse_rejected, run};
use super::dead_letters::{self, Letter};
use super::stored_form::{edit_of, stored_codec, with_level};
use super::times::{self, TimeBounds};

/// A batch whose records are on their way to several places.
pub(super) struct Source<'a> {
    pub(super) env: &'a PartitionEnv,
    pub(super) topic: &'a TopicSettings,
    pub(super) index: i32,
    pub(super) now_ms: i64,
    pub(super) chain: &'a Chain,
    pub(super) batch: &'a Batch,
    pub(super) records: &'a Records,
}

/// What routing came to.
#[derive(Default)]
pub(super) struct Routed {
    pub(super) parts: Vec<AppendPart>,
    /// Records that a target refused, under a router whose policy is `dead-letter`.
    pub(super) letters: Vec<Letter>,
    pub(super) ends: Vec<RouteEnd>,
}

/// What became of the copies that one router sent to one partition.
pub(super) struct RouteEnd {
    /// The router's place in the chain.
    pub(super) binding: usize,
    /// `topic-partition`
    pub(super) to: String,
    pub(super) fate: RouteFate,
    /// In the client's indices, ascending.
    pub(super) records: Vec<usize>,
}

pub(super) enum RouteFate {
    Appended,
    /// The target's own chain did not keep them.
    GivenUp,
    /// The target refused them, for this reason, and the routing binding's policy decided.
    Refused(OnError, String),
}

/// One copy to be made.
#[derive(Clone, Copy)]
struct Copy {
    /// Index in the client's batch.
    record: usize,
    /// Of the batch's edits, those that its router saw.
    layers: usize,
    binding: usize,
}

type Refusal = (Vec<Copy>, ProduceFailure);

impl Source<'_> {
    /// Makes the copies that the chain asked for. A record that becomes a dead letter on the way gets none at all: whoever
    /// sends it again sends it everywhere, so the others are made once more without it.
    pub(super) fn route(&self, result: &mut ChainResult) -> Result<Routed, ProduceFailure> {
        let (mut letters, mut ends) = (Vec::new(), Vec::new());
        loop {
            let mut routed = self.attempt(result)?;
            let dead = routed.letters.iter().map(|letter| letter.record).collect();
            let dead: BTreeSet<usize> = dead;
            if dead.is_empty() {
                routed.letters = letters;
                routed.ends.extend(ends);
                return Ok(routed);
            }
            result.routes.retain(|route| !dead.contains(&route.record));
            leave(dead, result);
            letters.append(&mut routed.letters);
            let refused = |end: &RouteEnd| matches!(end.fate, RouteFate::Refused(..));
            ends.extend(routed.ends.into_iter().filter(refused));
        }
    }

    fn attempt(&self, result: &mut ChainResult) -> Result<Routed, ProduceFailure> {
        let mut routed = Routed::default();
        if result.routes.is_empty() {
            return Ok(routed);
        }
        let topics = self.env.topics.upgrade().ok_or_else(ProduceFailure::gone)?;
        let mut groups: BTreeMap<(&str, i32), Vec<Copy>> = BTreeMap::new();
        for route in &result.routes {
            let target = topics
                .get(&route.topic)
                .ok_or_else(|| unavailable(&route.topic))?;
            if target.settings.internal() {
                // A pattern may have matched what nobody may write to (rule 22).
                let sentence = format!("{} is internal and cannot be routed to", route.topic);
                return Err(ProduceFailure::new(ErrorCode::PolicyViolation, sentence));
            }
            let partition = self.choose_partition(route, result, &target)?;
            let copy = Copy {
                record: route.record,
                layers: route.layers,
                binding: route.binding,
            };
            groups
                .entry((&route.topic, partition))
                .or_default()
                .push(copy);
        }
        let mut refusals = Vec::new();
        for ((name, partition), copies) in groups {
            let target = topics.get(name).ok_or_else(|| unavailable(name))?;
            let delivery = Delivery {
                source: self,
                edits: &result.edits,
                target: &target,
                partition,
            };
            let mut refused = Vec::new();
            delivery.deliver(copies, &mut routed, &mut refused);
            let to = format!("{name}-{partition}");
            refusals.extend(refused.into_iter().map(|refusal| (to.clone(), refusal)));
        }
        for (to, (copies, failure)) in refusals {
            self.apply_policies(to, &copies, &failure, result, &mut routed)?;
        }
        Ok(routed)
    }

    fn choose_partition(
        &self,
        route: &Route,
        result: &ChainResult,
        target: &Topic,
    ) -> Result<i32, ProduceFailure> {
        let record = self.records.get(route.record);
        let record = record.ok_or_else(ProduceFailure::gone)?;
        let edited = result.edits.of(route.record, route.layers);
        let key = edited.and_then(|edit| edit.key).unwrap_or(record.key);
        let count = target.partition_count().max(1);
        Ok(match route.partition {
            PartitionChoice::Explicit(index) => index,
            PartitionChoice::ByKey => partition_by_key(key, self.index, count),
            PartitionChoice::SameIndex => self.index % count,
        })
    }

    /// Records that their target refuses meet the error policy of the binding that routed them (rule 22). Trouble
    /// that passes by itself is the producer's to retry, whatever the policy says.
    fn apply_policies(
        &self,
        to: String,
        copies: &[Copy],
        failure: &ProduceFailure,
        result: &mut ChainResult,
        routed: &mut Routed,
    ) -> Result<(), ProduceFailure> {
        if failure.code == ErrorCode::NotEnoughReplicas {
            return Err(failure.clone());
        }
        let mut of_binding: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for copy in copies {
            of_binding
                .entry(copy.binding)
                .or_default()
                .push(copy.record);
        }
        for (binding, records) in of_binding {
            let router = self.chain.bindings().get(binding);
            let policy = router.map_or_else(OnError::default, |router| router.on_error());
            match policy {
                OnError::Reject => return Err(failure.clone()),
                // Whoever produces tries again until the target takes the records or somebody changes the binding.
                OnError::Pause => {
                    return Err(ProduceFailure {
                        code: ErrorCode::NotEnoughReplicas,
                        ..failure.clone()
                    });
                }
                OnError::Pass => self.stay(binding, &records, result),
                OnError::Drop => leave(records.iter().copied(), result),
                OnError::DeadLetter => {
                    let reason = format!("{to} refused it: {}", failure.message);
                    routed.letters.extend(dead_letters::of_router(
                        self.topic, self.chain, binding, &records, &reason,
                    )?);
                    leave(records.iter().copied(), result);
                }
            }
            routed.ends.push(RouteEnd {
                binding,
                to: to.clone(),
                fate: RouteFate::Refused(policy, failure.message.clone()),
                records,
            });
        }
        result.all_kept = result.edits.is_empty() && result.keep.iter().all(|keep| *keep);
        Ok(())
    }

    /// A record that could not be moved stays in the source, unless somebody else took it from there.
    fn stay(&self, router: usize, records: &[usize], result: &mut ChainResult) {
        for &record in records {
            let taker = result.taken_by.get(record).copied().unwrap_or(0);
            if taker != 0 && usize::from(taker) != router + 1 {
                continue;
            }
            if let Some(keep) = result.keep.get_mut(record) {
                *keep = true;
            }
            if let Some(taker) = result.taken_by.get_mut(record) {
                *taker = 0;
            }
        }
    }
}

fn leave(records: impl IntoIterator<Item = usize>, result: &mut ChainResult) {
    for record in records {
        if let Some(keep) = result.keep.get_mut(record) {
            *keep = false;
        }
    }
    result.all_kept = false;
}

struct Delivery<'a> {
    source: &'a Source<'a>,
    edits: &'a tidegate_plugin::Edits,
    target: &'a Topic,
    partition: i32,
}

/// What one target partition takes of some copies.
#[derive(Default)]
struct Taken {
    part: Option<AppendPart>,
    /// Places among the copies of those that the target's chain did not keep.
    given_up: Vec<usize>,
}

impl Delivery<'_> {
    /// Adds the batch of those of the `copies` that the target takes. A failure that names records is theirs alone; the
    /// others go without them.
    fn deliver(&self, mut copies: Vec<Copy>, routed: &mut Routed, refused: &mut Vec<Refusal>) {
        while !copies.is_empty() {
            let failure = match self.build(&copies) {
                Ok(taken) => return self.book(&copies, taken, routed),
                Err(failure) => failure,
            };
            let named = |copy: &Copy| {
                failure
                    .records
                    .iter()
                    .any(|error| usize::try_from(error.index) == Ok(copy.record))
            };
            let (gone, rest) = match failure.records.is_empty() {
                true => (copies, Vec::new()),
                false => copies.into_iter().partition(named),
            };
            if gone.is_empty() {
                // A failure that names none of these would come again.
                refused.push((rest, failure));
                return;
            }
            refused.push((gone, failure));
            copies = rest;
        }
    }

    fn book(&self, copies: &[Copy], taken: Taken, routed: &mut Routed) {
        routed.parts.extend(taken.part);
        let mut ends: BTreeMap<(usize, bool), Vec<usize>> = BTreeMap::new();
        let mut given_up = taken.given_up.into_iter().peekable();
        for (place, copy) in copies.iter().enumerate() {
            let gone = given_up.next_if_eq(&place).is_some();
            ends.entry((copy.binding, gone))
                .or_default()
                .push(copy.record);
        }
        for ((binding, gone), records) in ends {
            routed.ends.push(RouteEnd {
                binding,
                to: format!("{}-{}", self.target.settings.name(), self.partition),
                fate: match gone {
                    true => RouteFate::GivenUp,
                    false => RouteFate::Appended,
                },
                records,
            });
        }
    }

    fn build(&self, copies: &[Copy]) -> Result<Taken, ProduceFailure> {
        let name = self.target.settings.name();
        let partition = self
            .target
            .partition(self.partition)
            .ok_or_else(|| unavailable(&format!("{name}-{}", self.partition)))?;
        let all = self.assemble(copies)?;
        let (kept, mut taken) = self.filter(all, copies)?;
        let Some(batch) = kept else { return Ok(taken) };
        let config = self.target.settings.config();
        if batch.bytes().len() > config.max_message_bytes {
            return Err(ProduceFailure::new(
                ErrorCode::MessageTooLarge,
                format!("routed records are larger than max.message.bytes of {name}"),
            ));
        }
        taken.part = Some(AppendPart {
            id: partition.id,
            epoch: partition.leader_epoch(),
            last_surviving_delta: batch.header().last_offset_delta,
            batch,
        });
        Ok(taken)
    }

    /// A dense batch of the copies without the client's producer id; what no transform replaced is as it came.
    fn assemble(&self, copies: &[Copy]) -> Result<Batch, ProduceFailure> {
        let config = self.target.settings.config();
        let source_codec = self.source.batch.codec().unwrap_or(Codec::None);
        let mut dense = Dense::new(
            with_level(&config, stored_codec(&config).unwrap_or(source_codec)),
            self.source.env.decoding.max_bytes,
        );
        let bounds = TimeBounds::of(&config, self.source.now_ms);
        let (mut keyless, mut untimely) = (Vec::new(), Vec::new());
        for copy in copies {
            let record = self.source.records.get(copy.record);
            let record = record.ok_or_else(ProduceFailure::gone)?;
            let edit = edit_of(self.edits, copy.record, copy.layers);
            let key = edit.as_ref().and_then(|edit| edit.key);
            if config.cleanup_compact && key.unwrap_or(record.key).is_none() {
                keyless.push(record_error(
                    copy.record,
                    "routed to a compacted topic without a key",
                ));
                continue;
            }
            let time = edit.as_ref().and_then(|edit| edit.timestamp);
            let time = time.unwrap_or(record.timestamp);
            if let Some(refused) = times::refused(bounds, copy.record, time) {
                untimely.push(refused);
                continue;
            }
            dense.push(&record, edit.as_ref())?;
        }
        times::refuse(untimely.into_iter())?;
        if !keyless.is_empty() {
            let name = self.target.settings.name();
            return Err(ProduceFailure {
                code: ErrorCode::InvalidRecord,
                message: format!("{name} is compacted and takes no record without a key"),
                records: keyless,
            });
        }
        let batch = dense.build()?;
        Ok(match config.message_timestamp_type_append {
            true => batch.stamp_append_time(self.source.now_ms),
            false => batch,
        })
    }

    /// The target's own chain: filters and transforms without state (rule 22), so nothing can travel in a circle.
    fn filter(
        &self,
        batch: Batch,
        copies: &[Copy],
    ) -> Result<(Option<Batch>, Taken), ProduceFailure> {
        let settings = &self.target.settings;
        let chains = settings.chains();
        let chain = match &chains.produce {
            ChainSlot::None => return Ok((Some(batch), Taken::default())),
            ChainSlot::Unavailable(reason) => {
                return Err(ProduceFailure::new(
                    ErrorCode::NotEnoughReplicas,
                    reason.clone(),
                ));
            }
            ChainSlot::Ready(chain) => chain,
        };
        if chain.has_router() || chain.keeps_state() {
            let why = match chain.has_router() {
                true => "routes itself",
                false => "has a plugin with state in its produce chain",
            };
            return Err(ProduceFailure::new(
                ErrorCode::PolicyViolation,
                format!("{} {why} and cannot be routed to", settings.name()),
            ));
        }
        let config = settings.config();
        // Beside the client's batch, which has its turn, and no larger than it and what its transforms wrote.
        let max = self.source.env.decoding.limits();
        let records = batch.records(max).map_err(|error| internal(&error))?;
        let now_ms = self.source.now_ms;
        let result = run(chain, settings, &config, self.partition, now_ms, &records)?;
        let of_client = |place: usize| copies.get(place).map_or(place, |copy| copy.record);
        refuse_rejected(&result, of_client)?;
        refuse_dead(settings.name(), &result, of_client)?;
        if result.all_kept {
            return Ok((Some(batch), Taken::default()));
        }
        let (kept, given_up): (Vec<usize>, Vec<usize>) =
            (0..records.len()).partition(|place| result.keep.get(*place) != Some(&false));
        let taken = Taken {
            part: None,
            given_up,
        };
        if kept.is_empty() {
            return Ok((None, taken));
        }
        let codec = batch.codec().unwrap_or(Codec::None);
        let mut dense = Dense::new(with_level(&config, codec), max.max_bytes);
        for place in kept {
            let record = records.get(place).ok_or_else(ProduceFailure::gone)?;
            let edit = edit_of(&result.edits, place, result.edits.layers());
            dense.push(&record, edit.as_ref())?;
        }
        let rebuilt = dense.build()?;
        Ok((
            Some(match config.message_timestamp_type_append {
                true => rebuilt.stamp_append_time(now_ms),
                false => rebuilt,
            }),
            taken,
        ))
    }
}

/// What a target's own policy would send to its dead-letter topic is refused instead: the routing binding decides (rule
/// 22), and only a letter from the source knows the record's offset.
fn refuse_dead(
    target: &str,
    result: &ChainResult,
    of_client: impl Fn(usize) -> usize,
) -> Result<(), ProduceFailure> {
    let Some(first) = result.dead.first() else {
        return Ok(());
    };
    let dead = result.dead.iter();
    Err(ProduceFailure {
        code: ErrorCode::InvalidRecord,
        message: format!("{target}: {}", first.message),
        records: dead
            .map(|dead| record_error(of_client(dead.index), &dead.message))
            .collect(),
    })
}

/// A batch under construction that never grows beyond what the broker would open again.
struct Dense {
    builder: BatchBuilder,
    max_bytes: usize,
}

impl Dense {
    fn new(compression: Compression, max_bytes: usize) -> Dense {
        Dense {
            builder: BatchBuilder::new(compression),
            max_bytes,
        }
    }

    fn push(
        &mut self,
        record: &RecordView<'_>,
        edit: Option<&RecordEditParts<'_>>,
    ) -> Result<(), ProduceFailure> {
        match edit {
            Some(edit) => self.builder.push_edited(record, edit, None),
            None => self.builder.push_raw_from(record, None),
        }
        .map_err(|error| internal(&error))?;
        match self.builder.bytes_len() > self.max_bytes {
            true => Err(ProduceFailure::new(
                ErrorCode::MessageTooLarge,
                format!(
                    "routed records take more than the {} bytes that the broker opens",
                    self.max_bytes
                ),
            )),
            false => Ok(()),
        }
    }

    fn build(self) -> Result<Batch, ProduceFailure> {
        self.builder.build().map_err(|error| internal(&error))
    }
}

/// As Kafka's clients choose; records without a key stay in their partition's order (rule 24).
pub(super) fn partition_by_key(key: Option<&[u8]>, index: i32, count: i32) -> i32 {
    match key {
        Some(key) => i32::try_from(partition_for_key(key, count.unsigned_abs())).unwrap_or(0),
        None => index % count,
    }
}

pub(super) fn unavailable(topic: &str) -> ProduceFailure {
    ProduceFailure::new(
        ErrorCode::NotEnoughReplicas,
        format!("the routed target {topic} is not there yet; the request may be retried"),
    )
}
