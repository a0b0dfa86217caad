//! One command applied to one image.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_record::PartitionId;

use crate::command::{BrokerSpec, Command, Outcome, Refusal};
use crate::config::{self, CHAINS, DEAD_LETTER_TOPIC, MAX_CONFIGS};
use crate::image::{Broker, Image, Partition, Topic};
use crate::placement::{check_assignments, check_count, place};
use crate::plugins;
use crate::quota;
use crate::topic_name::validate_topic_name;

/// Most listeners one broker may announce.
const MAX_LISTENERS: usize = 32;
/// Most brokers with dynamic configs of their own.
const MAX_CONFIGURED_BROKERS: usize = 1_000;

/// Gives the image after the command, or says why there is none. The image passed in is unchanged, so
/// `validate_only` is an `apply` whose result is thrown away.
pub fn apply(image: &Image, command: &Command) -> Result<(Image, Outcome), Refusal> {
    let mut next = image.clone();
    let outcome = match command {
        Command::SetClusterId { id } => set_cluster_id(&mut next, id),
        Command::RegisterBroker(spec) => register_broker(&mut next, spec),
        Command::CreateTopic {
            name,
            id,
            partitions,
            replication_factor,
            assignments,
            configs,
            internal,
        } => {
            let layout = Layout {
                count: *partitions,
                factor: *replication_factor,
                assignments,
            };
            create_topic(&mut next, name, *id, &layout, configs, *internal)
        }
        Command::DeleteTopic { name } => delete_topic(&mut next, name),
        Command::CreatePartitions {
            name,
            count,
            assignments,
        } => create_partitions(&mut next, name, *count, assignments),
        Command::SetTopicConfigs { name, set } => set_topic_configs(&mut next, name, set),
        Command::SetBrokerConfigs { set } => set_broker_configs(&mut next, set),
        Command::SetOneBrokerConfigs { broker, set } => {
            set_one_broker_configs(&mut next, *broker, set)
        }
        Command::SetQuotas { entity, set } => quota::set(&mut next, entity, set),
        Command::RegisterPlugin {
            name,
            version,
            digest,
            size,
            world,
            now_ms,
        } => {
            let upload = plugins::Upload {
                digest: *digest,
                size: *size,
                world: world.clone(),
                uploaded_ms: *now_ms,
                signature: None,
            };
            plugins::register(&mut next, name, version, upload)
        }
        Command::RegisterSignedPlugin {
            name,
            version,
            digest,
            size,
            world,
            now_ms,
            signature,
        } => {
            let upload = plugins::Upload {
                digest: *digest,
                size: *size,
                world: world.clone(),
                uploaded_ms: *now_ms,
                signature: Some(*signature),
            };
            plugins::register(&mut next, name, version, upload)
        }
        Command::RemovePlugin { name, version } => {
            plugins::remove(&mut next, name, version.as_deref())
        }
        Command::SetLatestPlugin { name, version } => plugins::set_latest(&mut next, name, version),
        Command::AllocateProducerIds { count } => allocate_producer_ids(&mut next, *count),
        Command::SetIsr {
            topic,
            partition,
            leader_epoch,
            partition_epoch,
            isr,
        } => {
            let known = (*leader_epoch, *partition_epoch);
            set_isr(&mut next, topic, *partition, known, isr)
        }
        Command::ElectLeader {
            topic,
            partition,
            leader,
        } => elect_leader(&mut next, topic, *partition, *leader),
    }?;
    Ok((next, outcome))
}

fn set_cluster_id(image: &mut Image, id: &str) -> Result<Outcome, Refusal> {
    if image.cluster_id == id {
        return Ok(Outcome::Unchanged);
    }
    if !image.cluster_id.is_empty() {
        return Err(Refusal::InvalidRequest(format!(
            "this data belongs to cluster `{}`, not `{id}`",
            image.cluster_id
        )));
    }
    if id.is_empty() || id.len() > 64 {
        return Err(Refusal::InvalidRequest(
            "a cluster id has 1 to 64 bytes".to_owned(),
        ));
    }
    image.cluster_id = id.to_owned();
    Ok(Outcome::Done)
}

fn register_broker(image: &mut Image, spec: &BrokerSpec) -> Result<Outcome, Refusal> {
    if spec.id < 0 || spec.listeners.is_empty() || spec.listeners.len() > MAX_LISTENERS {
        return Err(Refusal::InvalidRequest(format!(
            "a broker has an id of 0 or more and 1 to {MAX_LISTENERS} listeners"
        )));
    }
    let previous = image.brokers.get(&spec.id);
    let restarted = previous.is_some_and(|broker| broker.incarnation != spec.incarnation);
    let epoch = match previous {
        Some(broker) if !restarted => broker.epoch,
        _ => {
            image.next_broker_epoch += 1;
            image.next_broker_epoch
        }
    };
    image.brokers.insert(
        spec.id,
        Broker {
            id: spec.id,
            listeners: spec.listeners.clone(),
            rack: spec.rack.clone(),
            incarnation: spec.incarnation,
            epoch,
            fenced: false,
        },
    );
    if restarted {
        raise_leader_epochs(image, spec.id);
    }
    Ok(Outcome::BrokerEpoch(epoch))
}

/// A restarted leader starts a new epoch in every partition it leads: what its predecessor had
/// admitted but not written must not be appended as if it were still the same leader.
fn raise_leader_epochs(image: &mut Image, broker: i32) {
    for topic in Arc::make_mut(&mut image.topics).values_mut() {
        if topic
            .partitions
            .iter()
            .all(|partition| partition.leader != broker)
        {
            continue;
        }
        let led = Arc::make_mut(topic)
            .partitions
            .iter_mut()
            .filter(|p| p.leader == broker);
        for partition in led {
            partition.leader_epoch = partition.leader_epoch.saturating_add(1);
            partition.partition_epoch = partition.partition_epoch.saturating_add(1);
        }
    }
}

struct Layout<'a> {
    count: i32,
    factor: i16,
    assignments: &'a [Vec<i32>],
}

fn create_topic(
    image: &mut Image,
    name: &str,
    id: [u8; 16],
    layout: &Layout<'_>,
    configs: &BTreeMap<String, String>,
    internal: bool,
) -> Result<Outcome, Refusal> {
    validate_topic_name(name).map_err(|why| Refusal::InvalidTopic {
        name: shorten(name),
        why,
    })?;
    if image.topics.contains_key(name) {
        return Err(Refusal::TopicExists(name.to_owned()));
    }
    if id == [0; 16] || image.names_by_id.contains_key(&id) {
        return Err(Refusal::InvalidRequest(
            "a topic's id must be new and not zero".to_owned(),
        ));
    }
    check_configs(image, internal, configs)?;
    let replicas = replicas_for(image, layout.count, layout.factor, layout.assignments)?;
    let partitions = take_partitions(image, replicas)?;
    let topic = Arc::new(Topic {
        id,
        name: name.to_owned(),
        internal,
        configs: configs.clone(),
        partitions,
    });
    Arc::make_mut(&mut image.topics).insert(name.to_owned(), Arc::clone(&topic));
    Arc::make_mut(&mut image.names_by_id).insert(id, name.to_owned());
    Ok(Outcome::Topic(topic))
}

fn replicas_for(
    image: &Image,
    count: i32,
    factor: i16,
    assignments: &[Vec<i32>],
) -> Result<Vec<Vec<i32>>, Refusal> {
    if assignments.is_empty() {
        let count = check_count(count)?;
        return place(&image.brokers, image.next_partition_id, count, factor);
    }
    check_count(i32::try_from(assignments.len()).unwrap_or(i32::MAX))?;
    check_assignments(&image.brokers, assignments)?;
    Ok(assignments.to_vec())
}

/// Makes the rows of new partitions and uses up their ids.
fn take_partitions(image: &mut Image, all: Vec<Vec<i32>>) -> Result<Vec<Partition>, Refusal> {
    let first = image.next_partition_id;
    let end = u32::try_from(all.len())
        .ok()
        .and_then(|count| first.checked_add(count));
    image.next_partition_id =
        end.ok_or_else(|| Refusal::InvalidPartitions("all partition ids are used up".to_owned()))?;
    let row = |(id, replicas): (u32, Vec<i32>)| Partition {
        id: PartitionId(id),
        leader: replicas.first().copied().unwrap_or(-1),
        isr: replicas.clone(),
        replicas,
        leader_epoch: 0,
        partition_epoch: 0,
    };
    Ok((first..).zip(all).map(row).collect())
}

fn delete_topic(image: &mut Image, name: &str) -> Result<Outcome, Refusal> {
    if user_topic(image, name)?.internal {
        return Err(Refusal::InternalTopic(name.to_owned()));
    }
    let topic = Arc::make_mut(&mut image.topics)
        .remove(name)
        .ok_or_else(|| Refusal::UnknownTopic(shorten(name)))?;
    Arc::make_mut(&mut image.names_by_id).remove(&topic.id);
    Ok(Outcome::Deleted(topic))
}

fn create_partitions(
    image: &mut Image,
    name: &str,
    count: i32,
    assignments: &[Vec<i32>],
) -> Result<Outcome, Refusal> {
    let topic = user_topic(image, name)?;
    let wanted = check_count(count)?;
    let present = topic.partitions.len();
    if topic.internal {
        return Err(Refusal::InternalTopic(name.to_owned()));
    }
    if wanted <= present {
        return Err(Refusal::InvalidPartitions(format!(
            "topic `{name}` has {present} partition(s); the count can only grow, not become {wanted}"
        )));
    }
    let added = wanted - present;
    if !assignments.is_empty() && assignments.len() != added {
        return Err(Refusal::InvalidAssignment(format!(
            "{added} partition(s) are added, but {} are assigned",
            assignments.len()
        )));
    }
    let factor = topic
        .partitions
        .first()
        .map_or(1, |partition| partition.replicas.len());
    let factor = i16::try_from(factor).unwrap_or(i16::MAX);
    let replicas = replicas_for(
        image,
        i32::try_from(added).unwrap_or(i32::MAX),
        factor,
        assignments,
    )?;
    let new = take_partitions(image, replicas)?;
    change_topic(image, name, |topic| topic.partitions.extend(new))
}

fn set_topic_configs(
    image: &mut Image,
    name: &str,
    set: &BTreeMap<String, Option<String>>,
) -> Result<Outcome, Refusal> {
    let topic = user_topic(image, name)?;
    let configs = laid_over(&topic.configs, set);
    check_names(set, config::validate_topic_config)?;
    if configs == topic.configs {
        return Ok(Outcome::Unchanged);
    }
    check_configs(image, topic.internal, &configs)?;
    change_topic(image, name, |topic| topic.configs = configs)
}

fn set_broker_configs(
    image: &mut Image,
    set: &BTreeMap<String, Option<String>>,
) -> Result<Outcome, Refusal> {
    let configs = laid_over(&image.broker_configs, set);
    check_names(set, config::validate_dynamic_broker_config)?;
    if configs == image.broker_configs {
        return Ok(Outcome::Unchanged);
    }
    check_number(&configs)?;
    plugins::check_chains(image, &configs)?;
    image.broker_configs = configs;
    Ok(Outcome::Done)
}

/// A broker that is not there yet may have configs already.
fn set_one_broker_configs(
    image: &mut Image,
    broker: i32,
    set: &BTreeMap<String, Option<String>>,
) -> Result<Outcome, Refusal> {
    if broker < 0 {
        return Err(Refusal::InvalidRequest(format!(
            "{broker} is not the id of a broker"
        )));
    }
    let before = image.own_broker_configs.get(&broker);
    let configs = laid_over(before.unwrap_or(&BTreeMap::new()), set);
    check_names(set, config::validate_own_broker_config)?;
    if before.map_or(configs.is_empty(), |before| *before == configs) {
        return Ok(Outcome::Unchanged);
    }
    check_number(&configs)?;
    if configs.is_empty() {
        image.own_broker_configs.remove(&broker);
        return Ok(Outcome::Done);
    }
    if before.is_none() && image.own_broker_configs.len() >= MAX_CONFIGURED_BROKERS {
        return Err(Refusal::InvalidRequest(format!(
            "at most {MAX_CONFIGURED_BROKERS} brokers can have configs of their own"
        )));
    }
    image.own_broker_configs.insert(broker, configs);
    Ok(Outcome::Done)
}

fn laid_over(
    current: &BTreeMap<String, String>,
    set: &BTreeMap<String, Option<String>>,
) -> BTreeMap<String, String> {
    let mut configs = current.clone();
    for (name, value) in set {
        match value {
            Some(value) => configs.insert(name.clone(), value.clone()),
            None => configs.remove(name),
        };
    }
    configs
}

/// Checks what the command sets; what it removes may have any name, so that a value stored by
/// another version can always be taken back.
fn check_names(
    set: &BTreeMap<String, Option<String>>,
    validate: fn(&str, &str) -> Result<(), String>,
) -> Result<(), Refusal> {
    for (name, value) in set {
        if let Some(value) = value {
            validate(name, value).map_err(|why| Refusal::InvalidConfig {
                name: shorten(name),
                why,
            })?;
        }
    }
    Ok(())
}

/// Checks the configs a topic would have, as a whole.
fn check_configs(
    image: &Image,
    internal: bool,
    configs: &BTreeMap<String, String>,
) -> Result<(), Refusal> {
    check_number(configs)?;
    for (name, value) in configs {
        config::validate_topic_config(name, value).map_err(|why| Refusal::InvalidConfig {
            name: shorten(name),
            why,
        })?;
    }
    let bound = CHAINS
        .into_iter()
        .chain([DEAD_LETTER_TOPIC])
        .find(|name| configs.contains_key(*name));
    if let (true, Some(name)) = (internal, bound) {
        return Err(Refusal::InvalidConfig {
            name: name.to_owned(),
            why: "plugins cannot be bound to an internal topic".to_owned(),
        });
    }
    plugins::check_chains(image, configs)
}

fn check_number(configs: &BTreeMap<String, String>) -> Result<(), Refusal> {
    if configs.len() > MAX_CONFIGS {
        return Err(Refusal::InvalidRequest(format!(
            "at most {MAX_CONFIGS} configs can be set"
        )));
    }
    Ok(())
}

fn allocate_producer_ids(image: &mut Image, count: u32) -> Result<Outcome, Refusal> {
    // Ids from 2^62 on are the broker's own: gap markers carry one.
    const END: i64 = 1 << 62;
    let first = image.next_producer_id;
    let end = first.saturating_add(i64::from(count));
    if count == 0 || end > END {
        return Err(Refusal::InvalidRequest(format!(
            "{count} producer ids cannot be allocated"
        )));
    }
    image.next_producer_id = end;
    Ok(Outcome::ProducerIds(first..end))
}

fn set_isr(
    image: &mut Image,
    topic: &str,
    index: i32,
    (leader_epoch, partition_epoch): (i32, i32),
    isr: &[i32],
) -> Result<Outcome, Refusal> {
    let partition = partition(image, topic, index)?;
    if (partition.leader_epoch, partition.partition_epoch) != (leader_epoch, partition_epoch) {
        return Err(Refusal::StaleEpoch(format!(
            "partition {topic}-{index} is at leader epoch {} and partition epoch {}",
            partition.leader_epoch, partition.partition_epoch
        )));
    }
    let members = isr.iter().all(|id| partition.replicas.contains(id));
    if !members || !isr.contains(&partition.leader) || isr.len() > partition.replicas.len() {
        return Err(Refusal::InvalidRequest(format!(
            "the in-sync set of {topic}-{index} holds its leader and replicas only"
        )));
    }
    change_partition(image, topic, index, |partition| {
        partition.isr = isr.to_vec()
    })
}

fn elect_leader(
    image: &mut Image,
    topic: &str,
    index: i32,
    leader: i32,
) -> Result<Outcome, Refusal> {
    if !partition(image, topic, index)?.isr.contains(&leader) {
        return Err(Refusal::InvalidRequest(format!(
            "broker {leader} is not in sync with {topic}-{index}, so it cannot lead it"
        )));
    }
    change_partition(image, topic, index, |partition| {
        partition.leader = leader;
        partition.leader_epoch = partition.leader_epoch.saturating_add(1);
    })
}

fn user_topic<'a>(image: &'a Image, name: &str) -> Result<&'a Arc<Topic>, Refusal> {
    image
        .topics
        .get(name)
        .ok_or_else(|| Refusal::UnknownTopic(shorten(name)))
}

fn partition<'a>(image: &'a Image, topic: &str, index: i32) -> Result<&'a Partition, Refusal> {
    user_topic(image, topic)?
        .partition(index)
        .ok_or_else(|| Refusal::UnknownPartition {
            topic: topic.to_owned(),
            partition: index,
        })
}

fn change_topic(
    image: &mut Image,
    name: &str,
    change: impl FnOnce(&mut Topic),
) -> Result<Outcome, Refusal> {
    let topic = Arc::make_mut(&mut image.topics)
        .get_mut(name)
        .ok_or_else(|| Refusal::UnknownTopic(shorten(name)))?;
    change(Arc::make_mut(topic));
    Ok(Outcome::Topic(Arc::clone(topic)))
}

fn change_partition(
    image: &mut Image,
    topic: &str,
    index: i32,
    change: impl FnOnce(&mut Partition),
) -> Result<Outcome, Refusal> {
    change_topic(image, topic, |topic| {
        if let Some(row) = usize::try_from(index)
            .ok()
            .and_then(|i| topic.partitions.get_mut(i))
        {
            change(row);
            row.partition_epoch = row.partition_epoch.saturating_add(1);
        }
    })
}

/// A name as a refusal may repeat it.
fn shorten(name: &str) -> String {
    name.chars().take(255).collect()
}
