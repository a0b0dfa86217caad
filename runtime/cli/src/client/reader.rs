//! Reads a topic: every partition from a position on, across brokers, through holes and aborted transactions.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use tidegate_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use tidegate_protocol::messages::fetch_response::PartitionData;
use tidegate_protocol::messages::{BrokerId, FetchRequest};
use tidegate_record::{Batch, DecodeLimits, RecordView};

use super::{Client, ClientError, check_code, topic_name};
use crate::offsets::{self, EARLIEST, LATEST};

const FETCH_BYTES: i32 = 16 << 20;
const PARTITION_BYTES: i32 = 2 << 20;
const MAX_WAIT_MS: i32 = 500;
/// A batch of a broker we chose; still bounded, since its sizes come from whoever produced it.
const LIMITS: DecodeLimits = DecodeLimits {
    max_bytes: 256 << 20,
    max_records: 10_000_000,
};

/// Where a reader begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    Beginning,
    End,
    At(i64),
}

/// What [`Reader::poll`] calls for each record, with its partition and offset. False leaves it, and what follows it in
/// its partition, for the next poll.
pub(crate) type Each<'a> = &'a mut dyn FnMut(i32, i64, &RecordView<'_>) -> Result<bool>;

pub(crate) struct Reader {
    pub(crate) client: Client,
    topic: String,
    leaders: BTreeMap<i32, BrokerId>,
    /// The offset at which each partition is read next.
    pub(crate) positions: BTreeMap<i32, i64>,
    /// Where each partition's reading ends, if it does.
    ends: Option<BTreeMap<i32, i64>>,
    read_committed: bool,
}

impl Reader {
    /// Reads the named partitions, all for none, from the beginning on.
    pub(crate) fn open(mut client: Client, topic: &str, partitions: &[i32]) -> Result<Reader> {
        let mut leaders: BTreeMap<i32, BrokerId> = BTreeMap::new();
        for partition in client.partitions(topic)? {
            leaders.insert(partition.index, partition.leader);
        }
        for wanted in partitions {
            ensure!(
                leaders.contains_key(wanted),
                "topic {topic} has no partition {wanted}"
            );
        }
        leaders.retain(|index, _| partitions.is_empty() || partitions.contains(index));
        let mut reader = Reader {
            client,
            topic: topic.to_owned(),
            leaders,
            positions: BTreeMap::new(),
            ends: None,
            read_committed: false,
        };
        reader.seek(Start::Beginning)?;
        Ok(reader)
    }

    /// Leaves out the records of transactions that are open or were aborted.
    pub(crate) fn read_committed(&mut self) {
        self.read_committed = true;
    }

    pub(crate) fn seek(&mut self, start: Start) -> Result<()> {
        self.positions = match start {
            Start::Beginning => self.list(EARLIEST)?,
            Start::End => self.list(LATEST)?,
            Start::At(offset) => self.leaders.keys().map(|index| (*index, offset)).collect(),
        };
        Ok(())
    }

    /// Begins where the group's committed offsets are, where it has any.
    pub(crate) fn seek_to_group(&mut self, group: &str) -> Result<()> {
        for committed in offsets::committed(&mut self.client, group)? {
            if committed.topic == self.topic
                && let Some(position) = self.positions.get_mut(&committed.partition)
            {
                *position = committed.offset;
            }
        }
        Ok(())
    }

    /// Begins `count` offsets before the end of each partition.
    pub(crate) fn seek_before_end(&mut self, count: i64) -> Result<()> {
        let first = self.list(EARLIEST)?;
        for (index, end) in self.list(LATEST)? {
            let start = first.get(&index).copied().unwrap_or(0);
            self.positions
                .insert(index, end.saturating_sub(count).max(start));
        }
        Ok(())
    }

    /// Reads no further than to what is the end of each partition now.
    pub(crate) fn until_end(&mut self) -> Result<()> {
        self.ends = Some(self.list(LATEST)?);
        Ok(())
    }

    /// Offsets that are still to be read, holes included; 0 for a reader without an end.
    pub(crate) fn left(&self) -> u64 {
        let ends = self.ends.iter().flatten();
        let left = ends.map(|(index, end)| {
            let position = self.positions.get(index).copied().unwrap_or(*end);
            u64::try_from(end - position).unwrap_or(0)
        });
        left.sum()
    }

    /// Everything up to the ends was read. Never for a reader without an end.
    pub(crate) fn is_done(&self) -> bool {
        self.ends.is_some() && self.leaders.keys().all(|index| self.at_end(*index))
    }

    /// Reads on in every partition that is not at its end, waiting a moment where nothing is there.
    pub(crate) fn poll(&mut self, each: Each<'_>) -> Result<()> {
        let mut nodes: BTreeMap<BrokerId, Vec<i32>> = BTreeMap::new();
        for (index, leader) in &self.leaders {
            if !self.at_end(*index) {
                nodes.entry(*leader).or_default().push(*index);
            }
        }
        for (node, partitions) in nodes {
            match self.fetch(node, &partitions, each) {
                Err(error) if is_retriable(&error) => self.refresh(&error)?,
                result => result?,
            }
        }
        Ok(())
    }

    pub(crate) fn commit(&mut self, group: &str) -> Result<(), ClientError> {
        offsets::commit(&mut self.client, group, &self.topic, &self.positions)
    }

    fn list(&mut self, timestamp: i64) -> Result<BTreeMap<i32, i64>, ClientError> {
        offsets::list(&mut self.client, &self.topic, &self.leaders, timestamp)
    }

    fn at_end(&self, index: i32) -> bool {
        let end = self.ends.as_ref().and_then(|ends| ends.get(&index));
        end.is_some_and(|end| self.positions.get(&index).is_some_and(|at| at >= end))
    }

    fn fetch(&mut self, node: BrokerId, partitions: &[i32], each: Each<'_>) -> Result<()> {
        let asked = partitions.iter().map(|index| {
            FetchPartition::default()
                .with_partition(*index)
                .with_fetch_offset(self.positions.get(index).copied().unwrap_or(0))
                .with_partition_max_bytes(PARTITION_BYTES)
        });
        let topic = FetchTopic::default()
            .with_topic(topic_name(&self.topic))
            .with_partitions(asked.collect());
        let request = FetchRequest::default()
            .with_max_wait_ms(MAX_WAIT_MS)
            .with_min_bytes(1)
            .with_max_bytes(FETCH_BYTES)
            .with_isolation_level(i8::from(self.read_committed))
            .with_topics(vec![topic]);
        let response = self.client.node(node, 11, &request)?;
        check_code(response.error_code, "fetch")?;
        let mut failed = Ok(());
        for data in response
            .responses
            .into_iter()
            .flat_map(|topic| topic.partitions)
        {
            let what = format!("{} partition {}", self.topic, data.partition_index);
            match check_code(data.error_code, &what) {
                Ok(()) => self.read_partition(data, each)?,
                Err(error) => failed = Err(error.into()),
            }
        }
        failed
    }

    fn read_partition(&mut self, data: PartitionData, each: Each<'_>) -> Result<()> {
        let index = data.partition_index;
        let mut aborted = Aborted::new(&data);
        let mut bytes = data.records.unwrap_or_default();
        while let Some(batch) = Batch::take(&mut bytes)? {
            let batch = checked(batch.into_bytes(), index)?;
            if batch.header().attributes.is_control() || aborted.contains(&batch) {
                aborted.pass(&batch)?;
            } else if !self.read_batch(index, &batch, each)? {
                return Ok(());
            }
            self.move_to(index, batch.last_offset() + 1);
        }
        Ok(())
    }

    /// False when it was stopped before a record.
    fn read_batch(&mut self, index: i32, batch: &Batch, each: Each<'_>) -> Result<bool> {
        let position = self.positions.get(&index).copied().unwrap_or(0);
        let ends = self.ends.as_ref();
        let end = ends.and_then(|ends| ends.get(&index)).copied();
        let records = batch
            .records(LIMITS)
            .with_context(|| describe(index, batch))?;
        for record in records.iter() {
            let offset = batch.base_offset() + i64::from(record.offset_delta);
            if offset < position || end.is_some_and(|end| offset >= end) {
                continue;
            }
            if !each(index, offset, &record)? {
                return Ok(false);
            }
            self.move_to(index, offset + 1);
        }
        Ok(true)
    }

    fn move_to(&mut self, index: i32, offset: i64) {
        let position = self.positions.entry(index).or_insert(offset);
        *position = offset.max(*position);
    }

    fn refresh(&mut self, error: &anyhow::Error) -> Result<()> {
        eprintln!("trying again: {error}");
        std::thread::sleep(Duration::from_millis(500));
        for partition in self.client.partitions(&self.topic)? {
            if let Some(leader) = self.leaders.get_mut(&partition.index) {
                *leader = partition.leader;
            }
        }
        Ok(())
    }
}

/// Which producers' records a fetch under read_committed has to leave out, and from where on
/// (KIP-98): from the first offset of an aborted transaction to its marker.
struct Aborted {
    starts: Vec<(i64, i64)>,
    open: Vec<i64>,
}

impl Aborted {
    fn new(data: &PartitionData) -> Aborted {
        let listed = data.aborted_transactions.iter().flatten();
        let mut starts: Vec<_> = listed.map(|t| (t.first_offset, t.producer_id.0)).collect();
        starts.sort_unstable_by(|a, b| b.cmp(a));
        Aborted {
            starts,
            open: Vec::new(),
        }
    }

    fn contains(&mut self, batch: &Batch) -> bool {
        while self
            .starts
            .last()
            .is_some_and(|(first, _)| *first <= batch.last_offset())
        {
            self.open
                .extend(self.starts.pop().map(|(_, producer)| producer));
        }
        let header = batch.header();
        header.attributes.is_transactional() && self.open.contains(&header.producer_id)
    }

    /// An abort marker (control type 0) ends its producer's aborted transaction.
    fn pass(&mut self, batch: &Batch) -> Result<()> {
        if !batch.header().attributes.is_control() {
            return Ok(());
        }
        let records = batch.records(LIMITS)?;
        let key = records
            .get(0)
            .and_then(|record| record.key)
            .unwrap_or_default();
        if key.get(2..4) == Some(&[0, 0]) {
            self.open
                .retain(|producer| *producer != batch.header().producer_id);
        }
        Ok(())
    }
}

fn checked(bytes: Bytes, index: i32) -> Result<Batch> {
    Batch::check(bytes).with_context(|| format!("a batch of partition {index}"))
}

fn describe(index: i32, batch: &Batch) -> String {
    format!("partition {index}, batch at offset {}", batch.base_offset())
}

fn is_retriable(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<ClientError>()
        .is_some_and(ClientError::is_retriable)
}
