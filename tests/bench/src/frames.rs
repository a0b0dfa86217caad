//! The bytes of requests and answers: built once, and read no further than their headers.

use tidegate_protocol::StrBytes;
use tidegate_protocol::encode_request;
use tidegate_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use tidegate_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use tidegate_protocol::messages::{
    BrokerId, FetchRequest, ListOffsetsRequest, ProduceRequest, TopicName,
    fetch_request::{FetchPartition, FetchTopic},
};
use tidegate_record::{BatchBuilder, RecordParts};

use crate::Failure;
use crate::connection::Connection;
use crate::options::Options;

/// Versions without compact lengths, which Kafka 4.1 and Tidegate both serve.
const PRODUCE_VERSION: i16 = 7;
const FETCH_VERSION: i16 = 11;
const LIST_OFFSETS_VERSION: i16 = 5;

/// Of `ListOffsets`: the first offset, and the one behind the last.
pub(crate) const EARLIEST: i64 = -2;
pub(crate) const LATEST: i64 = -1;

/// As the Java consumer asks by default.
const FETCH_MAX_BYTES: i32 = 50 << 20;
const FETCH_PARTITION_BYTES: i32 = 1 << 20;
/// Short enough that a consumer soon sees that the producer ended.
const FETCH_WAIT_MS: i32 = 100;

const PRODUCE_TIMEOUT_MS: i32 = 30_000;
/// Where the record count, the last offset delta and the length stand in a batch.
const BATCH_LENGTH: usize = 8;
const LAST_DELTA: usize = 23;
const RECORD_COUNT: usize = 57;
const BATCH_OVERHEAD: usize = 12;

/// A Produce frame with one batch for each of the partitions; another `variant` has other values.
pub(crate) fn produce(
    options: &Options,
    partitions: impl Iterator<Item = i32>,
    variant: u64,
) -> Result<Vec<u8>, Failure> {
    let data = partitions
        .map(|partition| {
            let seed = variant * 1000 + u64::from(partition.unsigned_abs());
            let batch = batch(options, seed)?;
            Ok(PartitionProduceData::default()
                .with_index(partition)
                .with_records(Some(batch.bytes().clone())))
        })
        .collect::<Result<_, Failure>>()?;
    let topic = TopicProduceData::default()
        .with_name(topic_name(options))
        .with_partition_data(data);
    let request = ProduceRequest::default()
        .with_acks(options.acks)
        .with_timeout_ms(PRODUCE_TIMEOUT_MS)
        .with_topic_data(vec![topic]);
    Ok(encode_request(PRODUCE_VERSION, 0, "bench", &request)?.to_vec())
}

/// The first error that an answer to [`produce`] tells of.
pub(crate) fn check_produced(body: &[u8]) -> Result<(), Failure> {
    let mut read = Reader(body);
    for _ in 0..read.i32()? {
        read.string()?;
        for _ in 0..read.i32()? {
            let (partition, error) = (read.i32()?, read.i16()?);
            if error != 0 {
                return Err(format!("partition {partition} answered error {error}").into());
            }
            read.skip(24)?;
        }
    }
    Ok(())
}

/// A Fetch frame that asks for more of each partition, from the offsets given by their index.
pub(crate) fn fetch(options: &Options, offsets: &[i64]) -> Result<Vec<u8>, Failure> {
    let partitions = (0..).zip(offsets).map(|(partition, offset)| {
        FetchPartition::default()
            .with_partition(partition)
            .with_fetch_offset(*offset)
            .with_partition_max_bytes(FETCH_PARTITION_BYTES)
    });
    let topic = FetchTopic::default()
        .with_topic(topic_name(options))
        .with_partitions(partitions.collect());
    let request = FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_wait_ms(FETCH_WAIT_MS)
        .with_min_bytes(1)
        .with_max_bytes(FETCH_MAX_BYTES)
        .with_topics(vec![topic]);
    Ok(encode_request(FETCH_VERSION, 0, "bench", &request)?.to_vec())
}

/// One batch in an answer to [`fetch`], as its header tells of it.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) struct Fetched {
    pub(crate) partition: usize,
    pub(crate) base_offset: i64,
    pub(crate) next_offset: i64,
    pub(crate) records: u64,
    pub(crate) bytes: u64,
}

/// Shows every whole batch of the answer.
pub(crate) fn fetched(body: &[u8], mut see: impl FnMut(Fetched)) -> Result<(), Failure> {
    let mut read = Reader(body);
    read.skip(4)?;
    check_error(read.i16()?)?;
    read.skip(4)?;
    for _ in 0..read.i32()? {
        read.string()?;
        for _ in 0..read.i32()? {
            let partition = usize::try_from(read.i32()?)?;
            check_error(read.i16()?)?;
            read.skip(24)?;
            let aborted = usize::try_from(read.i32()?.max(0))?;
            read.skip(aborted * 16 + 4)?;
            let records = usize::try_from(read.i32()?.max(0))?;
            batches(read.take(records)?, partition, &mut see)?;
        }
    }
    Ok(())
}

/// The offsets of all partitions for [`EARLIEST`] or [`LATEST`], by their index.
pub(crate) fn offsets(
    connection: &mut Connection,
    options: &Options,
    which: i64,
) -> Result<Vec<i64>, Failure> {
    let partitions = (0..options.partitions).map(|partition| {
        ListOffsetsPartition::default()
            .with_partition_index(partition)
            .with_timestamp(which)
    });
    let topic = ListOffsetsTopic::default()
        .with_name(topic_name(options))
        .with_partitions(partitions.collect());
    let request = ListOffsetsRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_topics(vec![topic]);
    let response = connection.call(LIST_OFFSETS_VERSION, &request)?;
    let mut found: Vec<_> = response
        .topics
        .into_iter()
        .flat_map(|topic| topic.partitions)
        .collect();
    found.sort_by_key(|partition| partition.partition_index);
    found
        .into_iter()
        .map(|partition| check_error(partition.error_code).map(|()| partition.offset))
        .collect()
}

fn check_error(code: i16) -> Result<(), Failure> {
    match code {
        0 => Ok(()),
        code => Err(format!("the broker answered error {code}").into()),
    }
}

fn topic_name(options: &Options) -> TopicName {
    TopicName(StrBytes::from_string(options.topic.clone()))
}

fn batches(
    mut records: &[u8],
    partition: usize,
    see: &mut impl FnMut(Fetched),
) -> Result<(), Failure> {
    while records.len() > RECORD_COUNT + 4 {
        let length = usize::try_from(Reader(&records[BATCH_LENGTH..]).i32()?)?;
        // Kafka cuts the last one off wherever the answer is full.
        let Some((batch, rest)) = records.split_at_checked(BATCH_OVERHEAD + length) else {
            return Ok(());
        };
        let base_offset = Reader(batch).i64()?;
        let last_delta = Reader(batch.get(LAST_DELTA..).unwrap_or_default()).i32()?;
        let count = Reader(batch.get(RECORD_COUNT..).unwrap_or_default()).i32()?;
        see(Fetched {
            partition,
            base_offset,
            next_offset: base_offset + i64::from(last_delta) + 1,
            records: u64::try_from(count)?,
            bytes: batch.len() as u64,
        });
        records = rest;
    }
    Ok(())
}

/// Big-endian fields off the front of a message.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Failure> {
        let (taken, rest) = self
            .0
            .split_at_checked(count)
            .ok_or("an answer ends early")?;
        self.0 = rest;
        Ok(taken)
    }

    fn skip(&mut self, count: usize) -> Result<(), Failure> {
        self.take(count).map(drop)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Failure> {
        Ok(self.take(N)?.try_into()?)
    }

    fn i16(&mut self) -> Result<i16, Failure> {
        Ok(i16::from_be_bytes(self.array()?))
    }

    fn i32(&mut self) -> Result<i32, Failure> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    fn i64(&mut self) -> Result<i64, Failure> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    fn string(&mut self) -> Result<(), Failure> {
        let len = self.i16()?;
        self.skip(usize::try_from(len.max(0))?)
    }
}

fn batch(options: &Options, seed: u64) -> Result<tidegate_record::Batch, Failure> {
    let mut builder = BatchBuilder::new(options.codec);
    let mut noise = Noise(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let timestamp = now_ms()?;
    for _ in 0..options.batch_records() {
        let value = value(options, &mut noise);
        builder.push(RecordParts {
            timestamp,
            value: Some(&value),
            ..RecordParts::default()
        })?;
    }
    Ok(builder.build()?)
}

/// A JSON object as services log them, padded with words to its size; lz4 halves it, about.
fn value(options: &Options, noise: &mut Noise) -> Vec<u8> {
    let tag = match noise.below(100) < options.keep as u64 {
        true => "keep",
        false => "drop",
    };
    let mut text = format!(
        r#"{{"id":{},"tag":"{tag}","text":""#,
        noise.below(1_000_000_000)
    );
    while text.len() + 2 < options.record_bytes {
        let word = noise.below(4096).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for letter in 0..3 + word % 6 {
            text.push(char::from(b'a' + (word >> (8 + 7 * letter)) as u8 % 26));
        }
        text.push(' ');
    }
    text.truncate(options.record_bytes.saturating_sub(2));
    text.push_str("\"}");
    text.into_bytes()
}

/// Marsaglia's xorshift: the same values in every run.
struct Noise(u64);

impl Noise {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }
}

fn now_ms() -> Result<i64, Failure> {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    Ok(i64::try_from(since.as_millis())?)
}

#[cfg(test)]
mod tests {
    use tidegate_protocol::messages::FetchResponse;
    use tidegate_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
    use tidegate_protocol::messages::produce_response::{
        PartitionProduceResponse, ProduceResponse, TopicProduceResponse,
    };
    use tidegate_protocol::{DecodeBudget, decode, encode_response, parse_head};

    use super::*;

    /// The length prefix and the correlation id.
    const ANSWER_HEAD: usize = 8;

    fn options(line: &str) -> Options {
        Options::parse(line.split_whitespace().map(str::to_owned)).unwrap()
    }

    #[test]
    fn a_produce_frame_holds_batches_that_a_broker_takes() {
        let options = options("produce --record-bytes 100 --batch-bytes 1000 --codec lz4");
        let frame = produce(&options, 0..3, 1).unwrap();
        let (head, body) = parse_head(&frame[4..].to_vec().into()).unwrap();
        let budget = DecodeBudget::default();
        let request: ProduceRequest = decode(0, head.api_version, body, budget).unwrap();
        let data = &request.topic_data[0].partition_data;
        assert_eq!(data.len(), 3);
        for partition in data {
            let batch = tidegate_record::Batch::check(partition.records.clone().unwrap()).unwrap();
            assert_eq!(batch.header().record_count, 10);
        }
    }

    #[test]
    fn values_have_their_size_and_their_tag() {
        let options = options("produce --record-bytes 100 --keep 50");
        let mut noise = Noise(1);
        let values: Vec<_> = (0..200).map(|_| value(&options, &mut noise)).collect();
        assert!(values.iter().all(|value| value.len() == 100));
        let kept = |value: &&Vec<u8>| value.windows(4).any(|part| part == b"keep");
        let kept = values.iter().filter(kept).count();
        assert!((60..140).contains(&kept), "{kept}");
    }

    #[test]
    fn an_answer_to_fetch_is_followed_to_its_last_whole_batch() {
        let options = options("consume --record-bytes 100 --batch-bytes 300");
        let batch = batch(&options, 1)
            .unwrap()
            .place(40, tidegate_record::LeaderEpoch(1));
        let two_and_a_half = [
            batch.bytes().as_ref(),
            batch.bytes(),
            &batch.bytes()[..batch.bytes().len() / 2],
        ]
        .concat();
        let partition = PartitionData::default()
            .with_partition_index(2)
            .with_records(Some(two_and_a_half.into()));
        let topic = FetchableTopicResponse::default().with_partitions(vec![partition]);
        let response = FetchResponse::default().with_responses(vec![topic]);
        let answer = encode_response(1, FETCH_VERSION, 1, &response).unwrap();
        let mut seen = Vec::new();
        fetched(&answer[ANSWER_HEAD..], |batch| seen.push(batch)).unwrap();
        let expected = Fetched {
            partition: 2,
            base_offset: 40,
            next_offset: 43,
            records: 3,
            bytes: batch.bytes().len() as u64,
        };
        assert_eq!(seen, [expected, expected]);
    }

    #[test]
    fn an_error_of_a_partition_is_told() {
        let partition = PartitionProduceResponse::default()
            .with_index(3)
            .with_error_code(7);
        let topic = TopicProduceResponse::default()
            .with_partition_responses(vec![Default::default(), partition]);
        let response = ProduceResponse::default().with_responses(vec![topic]);
        let answer = encode_response(0, PRODUCE_VERSION, 1, &response).unwrap();
        let told = check_produced(&answer[ANSWER_HEAD..])
            .unwrap_err()
            .to_string();
        assert!(
            told.contains("partition 3") && told.contains("error 7"),
            "{told}"
        );
    }
}
