//! Sends records to a topic, idempotently (KIP-98) with acks=all, so that a retry never stores a record twice.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use bytes::Bytes;
use tidegate_protocol::error::ErrorCode;
use tidegate_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use tidegate_protocol::messages::produce_response::PartitionProduceResponse;
use tidegate_protocol::messages::{BrokerId, InitProducerIdRequest, ProduceRequest};
use tidegate_record::{
    BatchBuilder, Codec, Header, Producer as Identity, RecordParts, partition_for_key,
};

use super::{Client, ClientError, PartitionView, RETRY_FOR, check, check_code, retry, topic_name};

/// Half of the usual max.message.bytes, so that one long record more still fits.
const BATCH_BYTES: usize = 512 << 10;
const BATCH_RECORDS: usize = 10_000;
const TIMEOUT_MS: i32 = 30_000;

/// How records are sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sending {
    /// 0, 1, or -1 for all; only all is idempotent.
    pub(crate) acks: i16,
    pub(crate) codec: Codec,
}

impl Default for Sending {
    fn default() -> Sending {
        Sending {
            acks: -1,
            codec: Codec::None,
        }
    }
}

/// A record on its way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outgoing<'a> {
    /// What the caller knows it by: a line, an offset.
    pub(crate) tag: u64,
    /// `None` = by key, as Kafka's clients do, else in turn.
    pub(crate) partition: Option<i32>,
    /// Milliseconds since the Unix epoch.
    pub(crate) timestamp: i64,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) headers: &'a [Header<'a>],
}

/// What one flush came to.
#[derive(Debug, Default)]
pub(crate) struct Flushed {
    /// Records that the broker acknowledged.
    pub(crate) sent: u64,
    pub(crate) refused: Vec<Refused>,
}

/// A batch that the broker refused for what is in it. None of its records were stored.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) tags: Vec<u64>,
    pub(crate) error: ClientError,
    /// Those to blame, as far as the broker said: index in `tags`, and the sentence.
    pub(crate) records: Vec<(i32, String)>,
}

pub(crate) struct Producer {
    client: Client,
    topic: String,
    sending: Sending,
    leaders: BTreeMap<i32, BrokerId>,
    identity: Option<Identity>,
    /// The next sequence of each partition; moves only when a batch was stored.
    sequences: BTreeMap<i32, i32>,
    pending: BTreeMap<i32, Pending>,
    /// Where the next keyless batch goes, so that one batch is not spread over all partitions.
    turn: usize,
}

/// Records on their way into one batch, and the caller's tags of them.
struct Pending {
    builder: BatchBuilder,
    tags: Vec<u64>,
}

/// A batch as it goes out; a retry sends the same bytes, which is what makes it idempotent.
struct Ready {
    partition: i32,
    records: Bytes,
    tags: Vec<u64>,
}

/// Why a batch was not stored, and which of its records are to blame where the broker said.
struct Refusal {
    error: ClientError,
    records: Vec<(i32, String)>,
}

impl Producer {
    /// A topic that is not there is created, where the broker does that.
    pub(crate) fn open(mut client: Client, topic: &str, sending: Sending) -> Result<Producer> {
        let partitions = client.partitions_or_create(topic)?;
        let identity = match sending.acks {
            -1 => Some(identity(&mut client)?),
            _ => None,
        };
        Ok(Producer {
            client,
            topic: topic.to_owned(),
            sending,
            leaders: leaders(&partitions),
            identity,
            sequences: BTreeMap::new(),
            pending: BTreeMap::new(),
            turn: 0,
        })
    }

    pub(crate) fn has_partition(&self, index: i32) -> bool {
        self.leaders.contains_key(&index)
    }

    /// Adds a record to its partition's batch; says whether that batch is full.
    pub(crate) fn push(&mut self, record: Outgoing<'_>) -> Result<bool> {
        let partition = match record.partition {
            Some(partition) => partition,
            None => self.partition(record.key)?,
        };
        ensure!(
            self.has_partition(partition),
            "topic {} has partitions 0 to {}, not {partition}",
            self.topic,
            self.leaders.len().saturating_sub(1)
        );
        let codec = self.sending.codec;
        let pending = self.pending.entry(partition).or_insert_with(|| Pending {
            builder: BatchBuilder::new(codec),
            tags: Vec::new(),
        });
        pending
            .builder
            .push(RecordParts {
                offset_delta: None,
                timestamp: record.timestamp,
                key: record.key,
                value: record.value,
                headers: record.headers,
            })
            .with_context(|| format!("record {}", record.tag))?;
        pending.tags.push(record.tag);
        Ok(pending.builder.bytes_len() >= BATCH_BYTES || pending.tags.len() >= BATCH_RECORDS)
    }

    /// Sends what was pushed, and gives back what of it the broker refused for its content. Any other trouble is an error,
    /// since it is about the topic or the connection and so about everything that follows.
    pub(crate) fn flush(&mut self) -> Result<Flushed> {
        self.turn += 1;
        let mut ready = Vec::with_capacity(self.pending.len());
        for (partition, pending) in std::mem::take(&mut self.pending) {
            let mut builder = pending.builder;
            if let Some(identity) = self.identity {
                let base_sequence = self.sequences.get(&partition).copied().unwrap_or(0);
                builder.producer = Identity {
                    base_sequence,
                    ..identity
                };
            }
            let records = builder.build()?.into_bytes();
            ready.push(Ready {
                partition,
                records,
                tags: pending.tags,
            });
        }
        self.deliver(ready)
    }

    fn partition(&self, key: Option<&[u8]>) -> Result<i32> {
        let count = self.leaders.len();
        let nth = match key {
            Some(key) => partition_for_key(key, u32::try_from(count)?) as usize,
            None => self.turn % count.max(1),
        };
        let partition = self.leaders.keys().nth(nth);
        partition
            .copied()
            .ok_or_else(|| anyhow!("topic {} has no partitions", self.topic))
    }

    /// Sends until every batch is stored or refused; what may pass is tried again.
    fn deliver(&mut self, mut ready: Vec<Ready>) -> Result<Flushed> {
        let started = Instant::now();
        let mut flushed = Flushed::default();
        while !ready.is_empty() {
            let mut again = Vec::new();
            let mut reason = None;
            for (leader, batches) in self.by_leader(ready) {
                for (batch, result) in self.send(leader, batches) {
                    match result {
                        Ok(()) => {
                            self.stored(&batch);
                            flushed.sent += batch.tags.len() as u64;
                        }
                        Err(Refusal { error, .. })
                            if error.is_retriable() && started.elapsed() < RETRY_FOR =>
                        {
                            reason = Some(error);
                            again.push(batch);
                        }
                        Err(refusal) => flushed.refused.push(refusal.of(batch)?),
                    }
                }
            }
            ready = again;
            if let Some(reason) = reason {
                eprintln!("trying again: {reason}");
                std::thread::sleep(Duration::from_millis(500));
                self.leaders = leaders(&self.client.partitions(&self.topic)?);
            }
        }
        Ok(flushed)
    }

    fn by_leader(&self, ready: Vec<Ready>) -> BTreeMap<BrokerId, Vec<Ready>> {
        let mut grouped: BTreeMap<BrokerId, Vec<Ready>> = BTreeMap::new();
        for batch in ready {
            let leader = self
                .leaders
                .get(&batch.partition)
                .copied()
                .unwrap_or(BrokerId(-1));
            grouped.entry(leader).or_default().push(batch);
        }
        grouped
    }

    /// One request to one broker; each batch comes back with what became of it.
    fn send(&mut self, leader: BrokerId, batches: Vec<Ready>) -> Vec<(Ready, Result<(), Refusal>)> {
        let data = batches.iter().map(|batch| {
            PartitionProduceData::default()
                .with_index(batch.partition)
                .with_records(Some(batch.records.clone()))
        });
        let topic = TopicProduceData::default()
            .with_name(topic_name(&self.topic))
            .with_partition_data(data.collect());
        let request = ProduceRequest::default()
            .with_acks(self.sending.acks)
            .with_timeout_ms(TIMEOUT_MS)
            .with_topic_data(vec![topic]);
        if self.sending.acks == 0 {
            let result = self.client.tell(leader, 9, &request);
            let mut failed = result.err();
            return batches
                .into_iter()
                .map(|b| (b, failed.take().map_or(Ok(()), refused)))
                .collect();
        }
        let mut answers: Vec<PartitionProduceResponse> = match self.client.node(leader, 9, &request)
        {
            Ok(response) => response
                .responses
                .into_iter()
                .flat_map(|t| t.partition_responses)
                .collect(),
            // Whether a broken connection stored anything is unknown; with a sequence, sending
            // again is safe, without one it might store the lines twice.
            Err(error) => return all_failed(batches, error),
        };
        let what = format!("topic {}", self.topic);
        let outcome = |batch: Ready| {
            let nth = answers.iter().position(|a| a.index == batch.partition);
            let result = match nth.map(|nth| answers.swap_remove(nth)) {
                Some(answer) => verdict(answer, &what),
                None => verdict(
                    PartitionProduceResponse::default().with_error_code(-1),
                    &what,
                ),
            };
            (batch, result)
        };
        batches.into_iter().map(outcome).collect()
    }

    fn stored(&mut self, batch: &Ready) {
        let count = batch.tags.len();
        let sequence = self.sequences.entry(batch.partition).or_insert(0);
        // Sequences wrap to zero after the largest i32 (KIP-98).
        *sequence = ((i64::from(*sequence) + count as i64) & i64::from(i32::MAX)) as i32;
    }
}

impl Refusal {
    /// The refused batch, if what is in it is the reason.
    fn of(self, batch: Ready) -> Result<Refused, ClientError> {
        match self.error.code() {
            Some(
                ErrorCode::InvalidRecord | ErrorCode::MessageTooLarge | ErrorCode::InvalidTimestamp,
            ) => Ok(Refused {
                tags: batch.tags,
                error: self.error,
                records: self.records,
            }),
            _ => Err(self.error),
        }
    }
}

fn leaders(partitions: &[PartitionView]) -> BTreeMap<i32, BrokerId> {
    partitions.iter().map(|p| (p.index, p.leader)).collect()
}

fn identity(client: &mut Client) -> Result<Identity> {
    let request = InitProducerIdRequest::default()
        .with_transactional_id(None)
        .with_transaction_timeout_ms(TIMEOUT_MS);
    let response = retry(RETRY_FOR, || {
        let response = client.bootstrap(4, &request)?;
        check_code(response.error_code, "a producer id")?;
        Ok(response)
    })?;
    let (id, epoch) = (response.producer_id.0, response.producer_epoch);
    Ok(Identity {
        id,
        epoch,
        base_sequence: 0,
    })
}

fn refused(error: ClientError) -> Result<(), Refusal> {
    Err(Refusal {
        error,
        records: Vec::new(),
    })
}

fn verdict(answer: PartitionProduceResponse, what: &str) -> Result<(), Refusal> {
    let Err(error) = check(answer.error_code, answer.error_message.as_ref(), what) else {
        return Ok(());
    };
    let records = answer.record_errors.into_iter().map(|record| {
        let message = record.batch_index_error_message;
        (
            record.batch_index,
            message.map(|m| m.to_string()).unwrap_or_default(),
        )
    });
    Err(Refusal {
        error,
        records: records.collect(),
    })
}

/// The first batch carries the reason; the others repeat it in words.
fn all_failed(batches: Vec<Ready>, error: ClientError) -> Vec<(Ready, Result<(), Refusal>)> {
    let retriable = error.is_retriable();
    let text = error.to_string();
    let mut first = Some(error);
    let repeat = move |first: &mut Option<ClientError>| match first.take() {
        Some(error) => error,
        None => ClientError::Kafka {
            what: "the same request".to_owned(),
            code: if retriable {
                ErrorCode::NetworkException
            } else {
                ErrorCode::UnknownServerError
            },
            message: text.clone(),
        },
    };
    batches
        .into_iter()
        .map(|batch| (batch, refused(repeat(&mut first))))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_its_records() {
        use tidegate_protocol::StrBytes;
        use tidegate_protocol::messages::produce_response::BatchIndexAndErrorMessage;
        let record = BatchIndexAndErrorMessage::default()
            .with_batch_index(3)
            .with_batch_index_error_message(Some(StrBytes::from_static_str("no delay")));
        let answer = PartitionProduceResponse::default()
            .with_error_code(87)
            .with_record_errors(vec![record]);
        let refusal = verdict(answer, "topic t").unwrap_err();
        assert_eq!(refusal.records, vec![(3, "no delay".to_owned())]);
        assert_eq!(refusal.error.code(), Some(ErrorCode::InvalidRecord));
        assert!(verdict(PartitionProduceResponse::default(), "topic t").is_ok());
    }
}
