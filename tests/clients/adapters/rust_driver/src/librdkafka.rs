//! rdkafka: librdkafka behind Rust.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use serde_json::{Value, json};

use crate::lines::{Asked, Failure, Heard, Send, crashed, heard, say};

const WAIT: Duration = Duration::from_secs(30);

pub struct Rdkafka {
    bootstrap: String,
    admin: AdminClient<DefaultClientContext>,
    members: Mutex<HashMap<String, Arc<Member>>>,
    producers: Mutex<HashMap<String, FutureProducer>>,
}

impl Rdkafka {
    pub fn new(bootstrap: &str) -> Result<Self, Failure> {
        let admin = config(bootstrap).create()?;
        Ok(Self {
            bootstrap: bootstrap.to_owned(),
            admin,
            members: Mutex::default(),
            producers: Mutex::default(),
        })
    }

    async fn carry_out(&self, asked: Asked) -> Result<Value, Failure> {
        match asked.verb.as_str() {
            "produce" => self.produce(asked).await,
            "consume" => self.consume(asked),
            "list_topics" | "describe_topic" | "list_offsets" => self.metadata(asked),
            verb if verb.starts_with("txn_") => self.transaction(asked).await,
            "seek" | "commit" | "position" | "leave" => self.of_member(&asked),
            "exit" => Ok(Value::Null),
            _ => self.administer(asked).await,
        }
    }

    async fn administer(&self, asked: Asked) -> Result<Value, Failure> {
        let options = AdminOptions::new().operation_timeout(Some(WAIT));
        match asked.verb.as_str() {
            "create_topic" => {
                let partitions = asked.partitions.as_i64().unwrap_or(1) as i32;
                let mut topic = NewTopic::new(&asked.topic, partitions, TopicReplication::Fixed(1));
                for (name, value) in &asked.configs {
                    topic = topic.set(name, value);
                }
                refused(self.admin.create_topics([&topic], &options).await?)
            }
            "delete_topic" => refused(self.admin.delete_topics(&[&asked.topic], &options).await?),
            "create_partitions" => {
                let wanted = NewPartitions::new(&asked.topic, asked.total);
                refused(self.admin.create_partitions([&wanted], &options).await?)
            }
            "describe_configs" => self.configs(ResourceSpecifier::Topic(&asked.topic)).await,
            "describe_broker_configs" => {
                self.configs(ResourceSpecifier::Broker(self.any_broker()?))
                    .await
            }
            "set_configs" => {
                let mut edit = AlterConfig::new(ResourceSpecifier::Topic(&asked.topic));
                for (name, value) in &asked.configs {
                    edit = edit.set(name, value);
                }
                for answer in self.admin.alter_configs([&edit], &options).await? {
                    answer.map_err(|(_, code)| code)?;
                }
                Ok(Value::Null)
            }
            "delete_records" => {
                let at = positions(
                    &asked.topic,
                    [(asked.partition, Offset::Offset(asked.offset))],
                )?;
                let found = self.admin.delete_records(&at, &options).await?;
                let low = found
                    .elements()
                    .first()
                    .and_then(|one| one.offset().to_raw());
                Ok(json!(low))
            }
            "delete_group" => {
                let group = asked.group.unwrap_or_default();
                for answer in self.admin.delete_groups(&[&group], &options).await? {
                    answer.map_err(|(_, code)| code)?;
                }
                Ok(Value::Null)
            }
            "list_groups" => {
                let found = self.consumer()?.fetch_group_list(None, WAIT)?;
                Ok(json!(
                    found
                        .groups()
                        .iter()
                        .map(|group| group.name())
                        .collect::<Vec<_>>()
                ))
            }
            "describe_group" => {
                let found = self
                    .consumer()?
                    .fetch_group_list(asked.group.as_deref(), WAIT)?;
                let group = found.groups().first().ok_or("no such group")?;
                Ok(json!({"state": group.state(), "members": group.members().len()}))
            }
            "committed" => self.committed(&asked),
            other => Err(format!("there is no verb {other}").into()),
        }
    }

    async fn configs(&self, resource: ResourceSpecifier<'_>) -> Result<Value, Failure> {
        let mut values = HashMap::new();
        for answer in self
            .admin
            .describe_configs([&resource], &AdminOptions::new())
            .await?
        {
            let found = answer?;
            values.extend(
                found
                    .entries
                    .into_iter()
                    .map(|entry| (entry.name, entry.value)),
            );
        }
        Ok(json!(values))
    }

    fn committed(&self, asked: &Asked) -> Result<Value, Failure> {
        let consumer: BaseConsumer = config(&self.bootstrap)
            .set("group.id", asked.group.as_deref().unwrap_or_default())
            .create()?;
        let found = consumer.fetch_metadata(Some(&asked.topic), WAIT)?;
        let partitions = found
            .topics()
            .first()
            .map(|topic| topic.partitions().len())
            .unwrap_or_default();
        let wanted = positions(
            &asked.topic,
            (0..partitions as i32).map(|index| (index, Offset::Invalid)),
        )?;
        let mut offsets = HashMap::new();
        for one in consumer.committed_offsets(wanted, WAIT)?.elements() {
            if let Offset::Offset(offset) = one.offset() {
                offsets.insert(one.partition(), offset);
            }
        }
        Ok(json!(offsets))
    }

    fn metadata(&self, asked: Asked) -> Result<Value, Failure> {
        let consumer = self.consumer()?;
        match asked.verb.as_str() {
            "list_topics" => {
                let found = consumer.fetch_metadata(None, WAIT)?;
                Ok(json!(
                    found
                        .topics()
                        .iter()
                        .map(|topic| topic.name())
                        .collect::<Vec<_>>()
                ))
            }
            "describe_topic" => {
                let found = consumer.fetch_metadata(Some(&asked.topic), WAIT)?;
                let rows: HashMap<i32, Value> = found.topics().iter().flat_map(|topic| topic.partitions()).map(|one| {
                    (one.id(), json!({"leader": one.leader(), "replicas": one.replicas(), "isr": one.isr()}))
                }).collect();
                Ok(json!(rows))
            }
            _ => {
                let (low, high) = consumer.fetch_watermarks(&asked.topic, asked.partition, WAIT)?;
                let offset = match (asked.at.as_str(), asked.at.as_i64()) {
                    (Some("earliest"), _) => low,
                    (_, Some(ms)) => offset_at(&consumer, &asked.topic, asked.partition, ms)?,
                    _ => high,
                };
                Ok(json!(offset))
            }
        }
    }

    fn any_broker(&self) -> Result<i32, Failure> {
        let found = self.consumer()?.fetch_metadata(None, WAIT)?;
        Ok(found.brokers().first().ok_or("no broker")?.id())
    }

    fn consumer(&self) -> Result<BaseConsumer, Failure> {
        Ok(config(&self.bootstrap).set("group.id", "driver").create()?)
    }

    async fn produce(&self, asked: Asked) -> Result<Value, Failure> {
        let producer: FutureProducer = config(&self.bootstrap)
            .set("client.id", &asked.client_id)
            .set("acks", &asked.acks)
            .set("compression.type", &asked.codec)
            .set("enable.idempotence", asked.idempotent.to_string())
            .create()?;
        Ok(json!(send(&producer, &asked).await?))
    }

    async fn transaction(&self, asked: Asked) -> Result<Value, Failure> {
        if asked.verb == "txn_open" {
            let producer: FutureProducer = config(&self.bootstrap)
                .set("transactional.id", &asked.transactional_id)
                .set("transaction.timeout.ms", asked.timeout_ms.to_string())
                .create()?;
            self.producers
                .lock()
                .map_err(|_| "poisoned")?
                .insert(asked.producer.clone(), producer.clone());
            return blocking(move || producer.init_transactions(WAIT)).await;
        }
        let found = self
            .producers
            .lock()
            .map_err(|_| "poisoned")?
            .get(&asked.producer)
            .cloned();
        let producer = found.ok_or("there is no such producer")?;
        match asked.verb.as_str() {
            "txn_begin" => blocking(move || producer.begin_transaction()).await,
            "txn_send" => Ok(json!(send(&producer, &asked).await?)),
            "txn_offsets" => {
                let group = asked.group.unwrap_or_default();
                let consumer: BaseConsumer =
                    config(&self.bootstrap).set("group.id", &group).create()?;
                let offsets = positions(
                    &asked.topic,
                    asked
                        .offsets
                        .into_iter()
                        .map(|(at, offset)| (at, Offset::Offset(offset))),
                )?;
                let member = consumer.group_metadata().ok_or("no group metadata")?;
                blocking(move || producer.send_offsets_to_transaction(&offsets, &member, WAIT))
                    .await
            }
            "txn_commit" => blocking(move || producer.commit_transaction(WAIT)).await,
            "txn_abort" => blocking(move || producer.abort_transaction(WAIT)).await,
            _ => {
                self.producers
                    .lock()
                    .map_err(|_| "poisoned")?
                    .remove(&asked.producer);
                Ok(Value::Null)
            }
        }
    }

    fn consume(&self, asked: Asked) -> Result<Value, Failure> {
        let mut settings = config(&self.bootstrap);
        settings
            .set("group.id", asked.group.as_deref().unwrap_or("readers"))
            .set("enable.auto.commit", asked.auto_commit.to_string())
            .set("auto.commit.interval.ms", "200")
            .set("auto.offset.reset", "earliest")
            .set("fetch.wait.max.ms", "100")
            .set("isolation.level", &asked.isolation)
            .set("group.protocol", &asked.protocol);
        if asked.protocol == "classic" {
            settings
                .set("session.timeout.ms", asked.session_ms.to_string())
                .set("heartbeat.interval.ms", "500")
                .set("partition.assignment.strategy", &asked.assignor);
        }
        for (name, value) in [
            ("group.instance.id", &asked.instance),
            ("group.remote.assignor", &asked.remote_assignor),
        ] {
            if let Some(value) = value {
                settings.set(name, value);
            }
        }
        let context = Telling {
            member: asked.member.clone(),
            held: Mutex::default(),
        };
        let consumer: BaseConsumer<Telling> = settings.create_with_context(context)?;
        let topics: Vec<&str> = asked.topics.iter().map(String::as_str).collect();
        match asked.start {
            None => consumer.subscribe(&topics)?,
            Some((partition, at)) => {
                let topic = topics.first().ok_or("no topic")?;
                let offset = start(&consumer, topic, partition, &at)?;
                consumer.assign(&positions(topic, [(partition, offset)])?)?;
            }
        }
        let member = Arc::new(Member {
            name: asked.member.clone(),
            consumer,
            leaving: AtomicBool::new(false),
        });
        self.members
            .lock()
            .map_err(|_| "poisoned")?
            .insert(asked.member, member.clone());
        std::thread::spawn(move || member.poll());
        Ok(Value::Null)
    }

    fn of_member(&self, asked: &Asked) -> Result<Value, Failure> {
        let mut members = self.members.lock().map_err(|_| "poisoned")?;
        let member = members
            .get(&asked.member)
            .cloned()
            .ok_or("there is no such member")?;
        match asked.verb.as_str() {
            "seek" => member.consumer.seek(
                &asked.topic,
                asked.partition,
                Offset::Offset(asked.offset),
                WAIT,
            )?,
            "commit" => member.consumer.commit_consumer_state(CommitMode::Sync)?,
            "position" => {
                let found = member.consumer.position()?;
                let at = found.find_partition(&asked.topic, asked.partition);
                return Ok(json!(at.and_then(|at| at.offset().to_raw()).unwrap_or(-1)));
            }
            _ => {
                members.remove(&asked.member);
                drop(members);
                member.leave();
            }
        }
        Ok(Value::Null)
    }
}

impl crate::Client for Rdkafka {
    fn run(self: Arc<Self>, asked: Asked) -> BoxFuture<'static, Result<Value, Failure>> {
        async move { self.carry_out(asked).await }.boxed()
    }
}

/// A consumer, polled by a thread of its own.
struct Member {
    name: String,
    consumer: BaseConsumer<Telling>,
    leaving: AtomicBool,
}

impl Member {
    fn poll(&self) {
        while !self.leaving.load(Ordering::SeqCst) {
            match self.consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => tell(&self.name, &message),
                Some(Err(error)) if is_news(&error) => {}
                Some(Err(error)) => crashed(&self.name, error),
                None => {}
            }
        }
    }

    fn leave(self: Arc<Self>) {
        self.leaving.store(true, Ordering::SeqCst);
        // The last one to let go of the consumer closes it, which leaves the group.
        while Arc::strong_count(&self) > 1 {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Tells of assignments.
struct Telling {
    member: String,
    held: Mutex<BTreeSet<(String, i32)>>,
}

impl ClientContext for Telling {}

impl ConsumerContext for Telling {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let Ok(mut held) = self.held.lock() else {
            return;
        };
        match rebalance {
            Rebalance::Assign(list) => held.extend(named(list)),
            Rebalance::Revoke(list) => named(list).iter().for_each(|one| {
                held.remove(one);
            }),
            Rebalance::Error(error) => crashed(&self.member, error),
        }
        let partitions: Vec<i32> = held.iter().map(|(_, index)| *index).collect();
        say(&json!({"event": "assigned", "member": self.member, "partitions": partitions}));
    }
}

fn named(list: &TopicPartitionList) -> Vec<(String, i32)> {
    list.elements()
        .iter()
        .map(|one| (one.topic().to_owned(), one.partition()))
        .collect()
}

fn config(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        .set("message.max.bytes", "10000000")
        .set("reconnect.backoff.max.ms", "500")
        .set("linger.ms", "5")
        .set("log_level", "2");
    config
}

fn positions(
    topic: &str,
    offsets: impl IntoIterator<Item = (i32, Offset)>,
) -> Result<TopicPartitionList, Failure> {
    let mut list = TopicPartitionList::new();
    for (partition, offset) in offsets {
        list.add_partition_offset(topic, partition, offset)?;
    }
    Ok(list)
}

fn start<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    partition: i32,
    at: &Value,
) -> Result<Offset, Failure> {
    let (low, high) = consumer.fetch_watermarks(topic, partition, WAIT)?;
    Ok(Offset::Offset(
        match (
            at.as_i64(),
            at.as_str(),
            at.as_array().and_then(|pair| pair.get(1)?.as_i64()),
        ) {
            (Some(offset), _, _) => offset,
            (_, _, Some(ms)) => offset_at(consumer, topic, partition, ms)?,
            (_, Some("end"), _) => high,
            _ => low,
        },
    ))
}

fn offset_at<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    partition: i32,
    ms: i64,
) -> Result<i64, Failure> {
    let found =
        consumer.offsets_for_times(positions(topic, [(partition, Offset::Offset(ms))])?, WAIT)?;
    Ok(found
        .elements()
        .first()
        .and_then(|one| one.offset().to_raw())
        .unwrap_or(-1))
}

/// A broker that is away: librdkafka connects again by itself.
fn is_news(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{AllBrokersDown, BrokerTransportFailure};
    matches!(
        error.rdkafka_error_code(),
        Some(AllBrokersDown | BrokerTransportFailure)
    )
}

fn refused(answers: Vec<rdkafka::admin::TopicResult>) -> Result<Value, Failure> {
    for answer in answers {
        answer.map_err(|(_, code)| code)?;
    }
    Ok(Value::Null)
}

async fn blocking(
    work: impl FnOnce() -> rdkafka::error::KafkaResult<()> + std::marker::Send + 'static,
) -> Result<Value, Failure> {
    tokio::task::spawn_blocking(work).await??;
    Ok(Value::Null)
}

/// The offsets of all of it, once it is acknowledged.
async fn send(producer: &FutureProducer, asked: &Asked) -> Result<Vec<i64>, Failure> {
    let mut waiting = Vec::new();
    let mut offsets = Vec::new();
    for one in &asked.sends {
        let sent = producer
            .send_result(record(&asked.topic, one))
            .map_err(|(error, _)| error)?;
        if asked.one_by_one {
            offsets.push(sent.await?.map_err(|(error, _)| error)?.offset);
        } else {
            waiting.push(sent);
        }
    }
    for sent in waiting {
        offsets.push(sent.await?.map_err(|(error, _)| error)?.offset);
    }
    Ok(offsets)
}

fn record<'a>(topic: &'a str, send: &'a Send) -> FutureRecord<'a, Vec<u8>, Vec<u8>> {
    let mut headers = OwnedHeaders::new();
    for (name, value) in send.headers() {
        headers = headers.insert(Header {
            key: &name,
            value: Some(&value),
        });
    }
    FutureRecord {
        topic,
        partition: send.partition,
        payload: send.value.as_ref(),
        key: send.key.as_ref(),
        timestamp: send.timestamp_ms(),
        headers: Some(headers),
    }
}

fn tell(member: &str, message: &impl Message) {
    let headers = message.headers().map(|found| {
        found
            .iter()
            .map(|header| (header.key.to_owned(), header.value))
            .collect()
    });
    heard(&Heard {
        member,
        topic: message.topic(),
        partition: message.partition(),
        offset: message.offset(),
        timestamp_ms: message.timestamp().to_millis().unwrap_or(-1),
        key: message.key(),
        value: message.payload(),
        headers: headers.unwrap_or_default(),
    });
}
