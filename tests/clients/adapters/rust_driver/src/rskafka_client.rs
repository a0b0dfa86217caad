//! rskafka: one partition at a time, without groups.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use chrono::{DateTime, Utc};
use futures::FutureExt;
use futures::future::BoxFuture;
use rskafka::client::partition::{Compression, OffsetAt, PartitionClient, UnknownTopicHandling};
use rskafka::client::{Client, ClientBuilder};
use rskafka::record::Record;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::lines::{Asked, Failure, Heard, Send, crashed, heard};

const WAIT_MS: i32 = 30_000;

pub struct Rskafka {
    bootstrap: String,
    // With the library's own client id, by which a broker can know it.
    client: Client,
    readers: Mutex<HashMap<String, JoinHandle<()>>>,
}

impl Rskafka {
    pub async fn new(bootstrap: &str) -> Result<Self, Failure> {
        let client = ClientBuilder::new(vec![bootstrap.to_owned()])
            .build()
            .await?;
        Ok(Self {
            bootstrap: bootstrap.to_owned(),
            client,
            readers: Mutex::default(),
        })
    }

    async fn partition(&self, topic: &str, partition: i32) -> Result<PartitionClient, Failure> {
        partition_of(&self.client, topic, partition).await
    }

    async fn produce(&self, asked: Asked) -> Result<Value, Failure> {
        let codec = match asked.codec.as_str() {
            "gzip" => Compression::Gzip,
            "snappy" => Compression::Snappy,
            "lz4" => Compression::Lz4,
            "zstd" => Compression::Zstd,
            _ => Compression::NoCompression,
        };
        let producer = ClientBuilder::new(vec![self.bootstrap.clone()])
            .client_id(asked.client_id)
            .build()
            .await?;
        let index_of = |send: &Send| send.partition.unwrap_or_default();
        let mut offsets = Vec::new();
        let most = if asked.one_by_one { 1 } else { usize::MAX };
        let runs = asked
            .sends
            .chunk_by(|one, next| index_of(one) == index_of(next));
        for run in runs.flat_map(|run| run.chunks(most.min(run.len()))) {
            let index = run.first().map(index_of).unwrap_or_default();
            let client = partition_of(&producer, &asked.topic, index).await?;
            offsets.extend(
                client
                    .produce(run.iter().map(record).collect(), codec)
                    .await?,
            );
        }
        Ok(json!(offsets))
    }

    async fn consume(&self, asked: Asked) -> Result<Value, Failure> {
        let (partition, at) = asked.start.ok_or("there are no groups in rskafka")?;
        let topic = asked.topics.into_iter().next().ok_or("no topic")?;
        let client = self.partition(&topic, partition).await?;
        let mut next = match (
            at.as_i64(),
            at.as_str(),
            at.as_array().and_then(|pair| pair.get(1)?.as_i64()),
        ) {
            (Some(offset), _, _) => offset,
            (_, _, Some(ms)) => client.get_offset(time(ms)).await?,
            (_, Some("end"), _) => client.get_offset(OffsetAt::Latest).await?,
            _ => client.get_offset(OffsetAt::Earliest).await?,
        };
        let member = asked.member.clone();
        let reading = tokio::spawn(async move {
            loop {
                match client.fetch_records(next, 1..10_000_000, 100).await {
                    Ok((records, _)) => {
                        for found in records {
                            next = found.offset + 1;
                            tell(&member, &topic, partition, found.offset, &found.record);
                        }
                    }
                    Err(error) => return crashed(&member, error),
                }
            }
        });
        self.readers
            .lock()
            .map_err(|_| "poisoned")?
            .insert(asked.member, reading);
        Ok(Value::Null)
    }

    async fn carry_out(&self, asked: Asked) -> Result<Value, Failure> {
        match asked.verb.as_str() {
            "create_topic" => {
                let partitions = asked.partitions.as_i64().unwrap_or(1) as i32;
                self.client
                    .controller_client()?
                    .create_topic(asked.topic, partitions, 1, WAIT_MS)
                    .await?;
            }
            "delete_topic" => {
                self.client
                    .controller_client()?
                    .delete_topic(asked.topic, WAIT_MS)
                    .await?
            }
            "list_topics" => {
                let topics = self.client.list_topics().await?;
                return Ok(json!(
                    topics
                        .into_iter()
                        .map(|topic| topic.name)
                        .collect::<Vec<_>>()
                ));
            }
            "list_offsets" => {
                let at = match (asked.at.as_str(), asked.at.as_i64()) {
                    (Some("latest"), _) => OffsetAt::Latest,
                    (_, Some(ms)) => time(ms),
                    _ => OffsetAt::Earliest,
                };
                return Ok(json!(
                    self.partition(&asked.topic, asked.partition)
                        .await?
                        .get_offset(at)
                        .await?
                ));
            }
            "delete_records" => {
                self.partition(&asked.topic, asked.partition)
                    .await?
                    .delete_records(asked.offset, WAIT_MS)
                    .await?;
            }
            "produce" => return self.produce(asked).await,
            "consume" => return self.consume(asked).await,
            "leave" => {
                if let Some(reading) = self
                    .readers
                    .lock()
                    .map_err(|_| "poisoned")?
                    .remove(&asked.member)
                {
                    reading.abort();
                }
            }
            "exit" => {}
            other => return Err(format!("there is no verb {other}").into()),
        }
        Ok(Value::Null)
    }
}

impl crate::Client for Rskafka {
    fn run(self: Arc<Self>, asked: Asked) -> BoxFuture<'static, Result<Value, Failure>> {
        async move { self.carry_out(asked).await }.boxed()
    }
}

async fn partition_of(
    client: &Client,
    topic: &str,
    partition: i32,
) -> Result<PartitionClient, Failure> {
    Ok(client
        .partition_client(topic, partition, UnknownTopicHandling::Retry)
        .await?)
}

fn time(ms: i64) -> OffsetAt {
    OffsetAt::Timestamp(DateTime::from_timestamp_millis(ms).unwrap_or_default())
}

fn record(send: &Send) -> Record {
    Record {
        key: send.key.clone(),
        value: send.value.clone(),
        headers: send.headers().into_iter().collect(),
        timestamp: send
            .timestamp_ms()
            .and_then(DateTime::from_timestamp_millis)
            .unwrap_or_else(Utc::now),
    }
}

fn tell(member: &str, topic: &str, partition: i32, offset: i64, record: &Record) {
    heard(&Heard {
        member,
        topic,
        partition,
        offset,
        timestamp_ms: record.timestamp.timestamp_millis(),
        key: record.key.as_deref(),
        value: record.value.as_deref(),
        headers: record
            .headers
            .iter()
            .map(|(name, value)| (name.clone(), Some(value.as_slice())))
            .collect(),
    });
}
