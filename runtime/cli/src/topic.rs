//! `tidegate topic`: create, list, describe, alter, delete.

use anyhow::{Result, bail, ensure};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tidegate_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use tidegate_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use tidegate_protocol::messages::describe_configs_request::DescribeConfigsResource;
use tidegate_protocol::messages::describe_configs_response::DescribeConfigsResourceResult;
use tidegate_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use tidegate_protocol::messages::metadata_response::MetadataResponseTopic;
use tidegate_protocol::messages::{
    BrokerId, CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest,
    DescribeConfigsRequest, IncrementalAlterConfigsRequest,
};

use crate::args::Global;
use crate::client::{Client, bytes, check, check_code, topic_name};
use crate::output::{Output, OutputArgs, print_json, print_table, say, text};

const TIMEOUT_MS: i32 = 30_000;
/// Kafka's number for a topic among the resources that have configs.
const RESOURCE_TOPIC: i8 = 2;
/// Where a value shown by DescribeConfigs comes from: the topic itself.
const SOURCE_TOPIC: i8 = 1;
const OPERATION_SET: i8 = 0;
const OPERATION_DELETE: i8 = 1;

#[derive(Subcommand, Debug)]
pub(crate) enum TopicCommand {
    Create(CreateArgs),
    List(ListArgs),
    Describe(DescribeArgs),
    Alter(AlterArgs),
    Delete(DeleteArgs),
}

/// Create a topic.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tidegate topic create flights --partitions 6
  tidegate topic create flights -c retention.ms=86400000 -c tidegate.produce.chain=match \\
    -c tidegate.plugin.match.field=json:/dep_delay -c tidegate.plugin.match.op=gt \\
    -c tidegate.plugin.match.value=0")]
pub(crate) struct CreateArgs {
    topic: String,
    /// [default: the broker's num.partitions]
    #[arg(long, short, value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,
    /// [default: the broker's default.replication.factor]
    #[arg(long, value_parser = clap::value_parser!(i16).range(1..))]
    replication_factor: Option<i16>,
    /// A topic config; repeat it for more.
    #[arg(long, short, value_name = "KEY=VALUE", value_parser = key_value)]
    config: Vec<(String, String)>,
    /// Check everything, create nothing.
    #[arg(long)]
    dry_run: bool,
}

/// List the topics.
#[derive(Args, Debug)]
#[command(after_help = "Example:
  tidegate topic list -o json")]
pub(crate) struct ListArgs {
    /// Show the broker's own topics too.
    #[arg(long)]
    internal: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// Show a topic's partitions and configs.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tidegate topic describe flights
  tidegate topic describe flights --all      # configs at their defaults too")]
pub(crate) struct DescribeArgs {
    topic: String,
    /// Show the configs that are at their defaults too.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// Change a topic: configs (plugins are attached this way) or more partitions.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tidegate topic alter flights -c tidegate.produce.chain=match,route
  tidegate topic alter flights -c tidegate.plugin.match.value=30
  tidegate topic alter flights --delete-config tidegate.produce.chain
  tidegate topic alter flights --partitions 12

All configs of one command are checked and applied together.")]
pub(crate) struct AlterArgs {
    topic: String,
    /// Set a topic config; repeat it for more.
    #[arg(long, short, value_name = "KEY=VALUE", value_parser = key_value)]
    config: Vec<(String, String)>,
    /// Put a config back to its default; repeat it for more.
    #[arg(long, value_name = "KEY")]
    delete_config: Vec<String>,
    /// Raise the number of partitions to N. Keys may then go to other partitions than before.
    #[arg(long, short, value_name = "N")]
    partitions: Option<i32>,
    /// Check everything, change nothing.
    #[arg(long)]
    dry_run: bool,
}

/// Delete a topic and all its records.
#[derive(Args, Debug)]
#[command(after_help = "Example:
  tidegate topic delete flights")]
pub(crate) struct DeleteArgs {
    #[arg(required = true)]
    topics: Vec<String>,
}

pub(crate) fn run(command: TopicCommand, global: &Global) -> Result<()> {
    let client = &mut Client::connect(&global.bootstrap)?;
    match command {
        TopicCommand::Create(args) => create(client, args),
        TopicCommand::List(args) => list(client, args),
        TopicCommand::Describe(args) => describe(client, args),
        TopicCommand::Alter(args) => alter(client, args),
        TopicCommand::Delete(args) => delete(client, args),
    }
}

fn create(client: &mut Client, args: CreateArgs) -> Result<()> {
    let config = |(name, value): &(String, String)| {
        CreatableTopicConfig::default()
            .with_name(bytes(name))
            .with_value(Some(bytes(value)))
    };
    let topic = CreatableTopic::default()
        .with_name(topic_name(&args.topic))
        .with_num_partitions(args.partitions.unwrap_or(-1))
        .with_replication_factor(args.replication_factor.unwrap_or(-1))
        .with_configs(args.config.iter().map(config).collect());
    let request = CreateTopicsRequest::default()
        .with_topics(vec![topic])
        .with_timeout_ms(TIMEOUT_MS)
        .with_validate_only(args.dry_run);
    let response = client.controller(6, &request)?;
    for result in &response.topics {
        let what = format!("topic {}", args.topic);
        check(result.error_code, result.error_message.as_ref(), what)?;
        let verb = if args.dry_run {
            "would create"
        } else {
            "created"
        };
        eprintln!(
            "{verb} topic {}, {}",
            args.topic,
            counted(result.num_partitions, "partition")
        );
    }
    Ok(())
}

fn list(client: &mut Client, args: ListArgs) -> Result<()> {
    let mut topics = client.metadata(None)?.topics;
    topics.retain(|topic| args.internal || !topic.is_internal);
    topics.sort_by(|a, b| a.name.cmp(&b.name));
    if args.output.output == Output::Json {
        return print_json(&topics.iter().map(topic_json).collect());
    }
    if topics.is_empty() {
        eprintln!("no topics yet; `tidegate topic create NAME` makes one");
        return Ok(());
    }
    let row = |topic: &MetadataResponseTopic| {
        let replicas = topic
            .partitions
            .first()
            .map_or(0, |p| p.replica_nodes.len());
        vec![
            name_of(topic),
            topic.partitions.len().to_string(),
            replicas.to_string(),
        ]
    };
    print_table(
        &["TOPIC", "PARTITIONS", "REPLICAS"],
        topics.iter().map(row).collect(),
    )
}

fn describe(client: &mut Client, args: DescribeArgs) -> Result<()> {
    let response = client.metadata(Some(&[&args.topic]))?;
    let Some(topic) = response.topics.first() else {
        bail!("no answer about {}", args.topic)
    };
    check_code(topic.error_code, format!("topic {}", args.topic))?;
    let mut configs = configs(client, &args.topic)?;
    configs.retain(|config| args.all || config.config_source == SOURCE_TOPIC);
    configs.sort_by(|a, b| a.name.cmp(&b.name));
    let mut whole = topic_json(topic);
    whole["configs"] = configs.iter().map(config_json).collect();
    if args.output.output == Output::Json {
        return print_json(&whole);
    }
    let id = text(&whole["id"]);
    say!(
        "{}  {}  id {id}",
        args.topic,
        counted(topic.partitions.len() as i32, "partition")
    )?;
    say!()?;
    let partitions = whole["partitions"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let columns = ["index", "leader", "leader_epoch", "replicas", "isr"];
    let row = |p: &Value| columns.iter().map(|column| text(&p[*column])).collect();
    print_table(
        &["PARTITION", "LEADER", "EPOCH", "REPLICAS", "IN SYNC"],
        partitions.iter().map(row).collect(),
    )?;
    if configs.is_empty() {
        say!("\nNo configs of its own (--all shows the defaults).")?;
        return Ok(());
    }
    say!()?;
    let value = |c: &DescribeConfigsResourceResult| match c.is_sensitive {
        true => "(secret)".to_owned(),
        false => c.value.as_ref().map(|v| v.to_string()).unwrap_or_default(),
    };
    let row = |c: &DescribeConfigsResourceResult| vec![c.name.to_string(), value(c)];
    print_table(&["CONFIG", "VALUE"], configs.iter().map(row).collect())
}

fn alter(client: &mut Client, args: AlterArgs) -> Result<()> {
    let changes = args.config.len() + args.delete_config.len();
    ensure!(
        changes > 0 || args.partitions.is_some(),
        "nothing to change; give -c KEY=VALUE, --delete-config KEY or --partitions N"
    );
    if changes > 0 {
        alter_configs(client, &args)?;
        eprintln!(
            "{} of topic {} {}",
            counted(changes as i32, "config"),
            args.topic,
            done(&args)
        );
    }
    if let Some(count) = args.partitions {
        add_partitions(client, &args, count)?;
        eprintln!(
            "topic {} {} to {}",
            args.topic,
            done(&args),
            counted(count, "partition")
        );
    }
    Ok(())
}

fn done(args: &AlterArgs) -> &'static str {
    if args.dry_run {
        "could be changed"
    } else {
        "changed"
    }
}

fn alter_configs(client: &mut Client, args: &AlterArgs) -> Result<()> {
    let set = args.config.iter().map(|(name, value)| {
        AlterableConfig::default()
            .with_name(bytes(name))
            .with_config_operation(OPERATION_SET)
            .with_value(Some(bytes(value)))
    });
    let delete = args.delete_config.iter().map(|name| {
        AlterableConfig::default()
            .with_name(bytes(name))
            .with_config_operation(OPERATION_DELETE)
            .with_value(None)
    });
    let resource = AlterConfigsResource::default()
        .with_resource_type(RESOURCE_TOPIC)
        .with_resource_name(bytes(&args.topic))
        .with_configs(set.chain(delete).collect());
    let request = IncrementalAlterConfigsRequest::default()
        .with_resources(vec![resource])
        .with_validate_only(args.dry_run);
    for result in client.controller(1, &request)?.responses {
        let what = format!("topic {}", args.topic);
        check(result.error_code, result.error_message.as_ref(), what)?;
    }
    Ok(())
}

fn add_partitions(client: &mut Client, args: &AlterArgs, count: i32) -> Result<()> {
    let topic = CreatePartitionsTopic::default()
        .with_name(topic_name(&args.topic))
        .with_count(count)
        .with_assignments(None);
    let request = CreatePartitionsRequest::default()
        .with_topics(vec![topic])
        .with_timeout_ms(TIMEOUT_MS)
        .with_validate_only(args.dry_run);
    for result in client.controller(3, &request)?.results {
        let what = format!("topic {}", args.topic);
        check(result.error_code, result.error_message.as_ref(), what)?;
    }
    Ok(())
}

fn delete(client: &mut Client, args: DeleteArgs) -> Result<()> {
    let request = DeleteTopicsRequest::default()
        .with_topic_names(args.topics.iter().map(|name| topic_name(name)).collect())
        .with_timeout_ms(TIMEOUT_MS);
    for result in client.controller(5, &request)?.responses {
        let name = result.name.map(|name| name.to_string()).unwrap_or_default();
        check(
            result.error_code,
            result.error_message.as_ref(),
            format!("topic {name}"),
        )?;
        eprintln!("deleted topic {name}");
    }
    Ok(())
}

fn configs(client: &mut Client, topic: &str) -> Result<Vec<DescribeConfigsResourceResult>> {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(RESOURCE_TOPIC)
        .with_resource_name(bytes(topic))
        .with_configuration_keys(None);
    let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
    let response = client.bootstrap(4, &request)?;
    let Some(result) = response.results.into_iter().next() else {
        return Ok(Vec::new());
    };
    check(
        result.error_code,
        result.error_message.as_ref(),
        format!("configs of {topic}"),
    )?;
    Ok(result.configs)
}

fn topic_json(topic: &MetadataResponseTopic) -> Value {
    let ids = |nodes: &[BrokerId]| nodes.iter().map(|node| node.0).collect::<Vec<_>>();
    let mut partitions: Vec<_> = topic.partitions.iter().collect();
    partitions.sort_unstable_by_key(|p| p.partition_index);
    let partition =
        |p: &&tidegate_protocol::messages::metadata_response::MetadataResponsePartition| {
            json!({
                "index": p.partition_index,
                "leader": p.leader_id.0,
                "leader_epoch": p.leader_epoch,
                "replicas": ids(&p.replica_nodes),
                "isr": ids(&p.isr_nodes),
            })
        };
    json!({
        "name": name_of(topic),
        "id": topic.topic_id.to_string(),
        "internal": topic.is_internal,
        "partitions": partitions.iter().map(partition).collect::<Vec<_>>(),
    })
}

fn config_json(config: &DescribeConfigsResourceResult) -> Value {
    json!({
        "name": config.name.as_str(),
        "value": config.value.as_ref().map(|value| value.as_str()),
        "default": config.config_source != SOURCE_TOPIC,
        "secret": config.is_sensitive,
        "doc": config.documentation.as_ref().map(|doc| doc.as_str()),
    })
}

fn name_of(topic: &MetadataResponseTopic) -> String {
    topic
        .name
        .as_ref()
        .map(|name| name.to_string())
        .unwrap_or_default()
}

fn counted(count: i32, noun: &str) -> String {
    if count == 1 {
        format!("1 {noun}")
    } else {
        format!("{count} {noun}s")
    }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("a config is KEY=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_may_hold_equals_signs() {
        let pair = key_value("tidegate.plugin.route.table=eu=orders-eu").unwrap();
        assert_eq!(
            pair,
            ("tidegate.plugin.route.table".into(), "eu=orders-eu".into())
        );
        assert_eq!(key_value("a=").unwrap().1, "");
        assert!(key_value("=b").is_err() && key_value("ab").is_err());
    }
}
