//! `tidegate group`: consumer groups, their members and their lag.

mod consumer_group;

use std::collections::BTreeMap;

use anyhow::Result;
use bytes::{Buf, Bytes};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tidegate_protocol::Decodable;
use tidegate_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use tidegate_protocol::messages::{
    ConsumerProtocolAssignment, DescribeGroupsRequest, ListGroupsRequest,
};

use crate::args::Global;
use crate::client::{Client, RETRY_FOR, check, check_code, group_id, retry};
use crate::offsets::{self, Committed, LATEST};
use crate::output::{Output, OutputArgs, print_json, print_table, say, text};

#[derive(Subcommand, Debug)]
pub(crate) enum GroupCommand {
    List(ListArgs),
    Describe(DescribeArgs),
}

/// List the consumer groups.
#[derive(Args, Debug)]
#[command(after_help = "Example:
  tidegate group list")]
pub(crate) struct ListArgs {
    #[command(flatten)]
    output: OutputArgs,
}

/// Show a group's members and how far it is behind.
#[derive(Args, Debug)]
#[command(after_help = "Example:
  tidegate group describe report -o json")]
pub(crate) struct DescribeArgs {
    group: String,
    #[command(flatten)]
    output: OutputArgs,
}

pub(crate) fn run(command: GroupCommand, global: &Global) -> Result<()> {
    let client = &mut Client::connect(&global.bootstrap)?;
    match command {
        GroupCommand::List(args) => list(client, args),
        GroupCommand::Describe(args) => describe(client, args),
    }
}

/// Each broker lists the groups it coordinates.
fn list(client: &mut Client, args: ListArgs) -> Result<()> {
    let mut groups = Vec::new();
    for node in client.brokers() {
        let response = client.node(node, 5, &ListGroupsRequest::default())?;
        check_code(response.error_code, format!("groups of broker {}", node.0))?;
        groups.extend(response.groups);
    }
    groups.sort_by(|a, b| a.group_id.cmp(&b.group_id));
    let rows: Vec<Value> = groups
        .iter()
        .map(|group| {
            json!({
                "group": group.group_id.as_str(),
                "type": group.group_type.as_str(),
                "state": group.group_state.as_str(),
                "protocol_type": group.protocol_type.as_str(),
            })
        })
        .collect();
    if args.output.output == Output::Json {
        return print_json(&rows.into());
    }
    if rows.is_empty() {
        eprintln!("no consumer groups");
        return Ok(());
    }
    table(
        &["GROUP", "TYPE", "STATE", "PROTOCOL TYPE"],
        &["group", "type", "state", "protocol_type"],
        &rows,
    )
}

fn describe(client: &mut Client, args: DescribeArgs) -> Result<()> {
    let group = match consumer_group::described(client, &args.group)? {
        Some(group) => consumer_group::description(&group),
        None => description(&described(client, &args.group)?),
    };
    let committed = offsets::committed(client, &args.group)?;
    let offsets = lag(client, &committed)?;
    if args.output.output == Output::Json {
        let mut all = group.facts;
        all["group"] = args.group.into();
        all["members"] = group.members.into();
        all["offsets"] = offsets.into();
        return print_json(&all);
    }
    say!("{}  {}", args.group, group.line)?;
    if !group.members.is_empty() {
        say!()?;
        let columns = group.columns;
        let header: Vec<String> = columns.iter().map(|name| name.to_uppercase()).collect();
        let header: Vec<&str> = header.iter().map(String::as_str).collect();
        table(&header, columns, &group.members)?;
    }
    if !offsets.is_empty() {
        say!()?;
        let columns = ["topic", "partition", "offset", "end", "lag"];
        table(
            &["TOPIC", "PARTITION", "OFFSET", "END", "LAG"],
            &columns,
            &offsets,
        )?;
    }
    Ok(())
}

/// A group of either type, ready to be shown.
struct Description {
    /// What stands behind the name, in the table.
    line: String,
    facts: Value,
    columns: &'static [&'static str],
    members: Vec<Value>,
}

fn description(group: &DescribedGroup) -> Description {
    let (state, protocol) = (group.group_state.as_str(), group.protocol_data.as_str());
    Description {
        line: format!("{state}  {protocol}"),
        facts: json!({"type": "classic", "state": state, "protocol": protocol}),
        columns: &["member", "instance", "client", "host", "assignment"],
        members: group.members.iter().map(member_json).collect(),
    }
}

fn described(client: &mut Client, group: &str) -> Result<DescribedGroup> {
    let request = DescribeGroupsRequest::default().with_groups(vec![group_id(group)]);
    let what = format!("group {group}");
    let response = retry(RETRY_FOR, || {
        let node = client.coordinator(group)?;
        let response = client.node(node, 5, &request)?;
        for group in &response.groups {
            check(group.error_code, group.error_message.as_ref(), &what)?;
        }
        Ok(response)
    })?;
    Ok(response.groups.into_iter().next().unwrap_or_default())
}

/// Committed offsets beside the ends of their partitions; a topic that is gone has no end.
fn lag(client: &mut Client, committed: &[Committed]) -> Result<Vec<Value>> {
    let mut ends: BTreeMap<&str, BTreeMap<i32, i64>> = BTreeMap::new();
    for row in committed {
        if !ends.contains_key(row.topic.as_str()) {
            ends.insert(
                &row.topic,
                topic_ends(client, &row.topic).unwrap_or_default(),
            );
        }
    }
    let row = |row: &Committed| {
        let end = ends
            .get(row.topic.as_str())
            .and_then(|ends| ends.get(&row.partition));
        json!({
            "topic": row.topic,
            "partition": row.partition,
            "offset": row.offset,
            "end": end,
            "lag": end.map(|end| (end - row.offset).max(0)),
        })
    };
    Ok(committed.iter().map(row).collect())
}

fn topic_ends(client: &mut Client, topic: &str) -> Result<BTreeMap<i32, i64>> {
    let leaders = client
        .partitions(topic)?
        .iter()
        .map(|p| (p.index, p.leader))
        .collect();
    Ok(offsets::list(client, topic, &leaders, LATEST)?)
}

fn member_json(member: &DescribedGroupMember) -> Value {
    json!({
        "member": member.member_id.as_str(),
        "instance": member.group_instance_id.as_ref().map(|id| id.as_str()),
        "client": member.client_id.as_str(),
        "host": member.client_host.as_str(),
        "assignment": assignment(member.member_assignment.clone()),
    })
}

/// `topic:0,1` for each topic; nothing for a protocol that is not the consumers' own.
fn assignment(mut bytes: Bytes) -> Vec<String> {
    let Ok(version) = bytes.try_get_i16() else {
        return Vec::new();
    };
    // Versions differ in what a subscription says; an assignment reads alike in all of them.
    let Ok(assignment) = ConsumerProtocolAssignment::decode(&mut bytes, version.clamp(0, 3)) else {
        return Vec::new();
    };
    let topics = assignment.assigned_partitions.iter();
    topics
        .map(|topic| {
            let partitions: Vec<_> = topic.partitions.iter().map(i32::to_string).collect();
            format!("{}:{}", topic.topic.as_str(), partitions.join(","))
        })
        .collect()
}

fn table(header: &[&str], columns: &[&str], rows: &[Value]) -> Result<()> {
    let row = |row: &Value| columns.iter().map(|column| text(&row[*column])).collect();
    print_table(header, rows.iter().map(row).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_an_assignment() {
        let bytes = b"\0\0\0\0\0\x01\0\x01t\0\0\0\x02\0\0\0\0\0\0\0\x03\xff\xff\xff\xff";
        assert_eq!(assignment(Bytes::from_static(bytes)), vec!["t:0,3"]);
        assert_eq!(assignment(Bytes::new()), Vec::<String>::new());
        assert_eq!(
            assignment(Bytes::from_static(b"\0\0\x01")),
            Vec::<String>::new()
        );
    }
}
