//! Groups whose coordinator assigns (KIP-848).

use anyhow::Result;
use serde_json::{Value, json};
use tidegate_protocol::error::ErrorCode;
use tidegate_protocol::messages::ConsumerGroupDescribeRequest;
use tidegate_protocol::messages::consumer_group_describe_response::{
    Assignment, DescribedGroup, Member,
};

use super::Description;
use crate::client::{Client, RETRY_FOR, check, group_id, retry};

/// Version 1 of the API's member types.
const CLASSIC: i8 = 0;

/// `None`: the group is a classic one, or there is none.
pub(super) fn described(client: &mut Client, group: &str) -> Result<Option<DescribedGroup>> {
    let request = ConsumerGroupDescribeRequest::default().with_group_ids(vec![group_id(group)]);
    let what = format!("group {group}");
    let response = retry(RETRY_FOR, || {
        let node = client.coordinator(group)?;
        let response = client.node(node, 1, &request)?;
        for group in response.groups.iter().filter(|group| !is_other(group)) {
            check(group.error_code, group.error_message.as_ref(), &what)?;
        }
        Ok(response)
    })?;
    let group = response.groups.into_iter().next();
    Ok(group.filter(|group| !is_other(group)))
}

fn is_other(group: &DescribedGroup) -> bool {
    group.error_code == ErrorCode::GroupIdNotFound.code()
}

pub(super) fn description(group: &DescribedGroup) -> Description {
    let (state, assignor) = (group.group_state.as_str(), group.assignor_name.as_str());
    let (epoch, assignment_epoch) = (group.group_epoch, group.assignment_epoch);
    Description {
        line: format!("{state}  {assignor}  epoch {epoch}, assigned for epoch {assignment_epoch}"),
        facts: json!({
            "type": "consumer",
            "state": state,
            "assignor": assignor,
            "epoch": epoch,
            "assignment_epoch": assignment_epoch,
        }),
        columns: &[
            "member",
            "instance",
            "client",
            "host",
            "protocol",
            "epoch",
            "subscription",
            "assignment",
            "target",
        ],
        members: group.members.iter().map(member_json).collect(),
    }
}

fn member_json(member: &Member) -> Value {
    let names = member.subscribed_topic_names.iter();
    let mut subscription: Vec<String> = names.map(|name| name.to_string()).collect();
    let regex = member.subscribed_topic_regex.as_ref();
    subscription.extend(
        regex
            .filter(|r| !r.is_empty())
            .map(|r| format!("/{}/", r.as_str())),
    );
    let protocol = match member.member_type {
        CLASSIC => "classic",
        _ => "consumer",
    };
    json!({
        "member": member.member_id.as_str(),
        "instance": member.instance_id.as_ref().map(|id| id.as_str()),
        "client": member.client_id.as_str(),
        "host": member.client_host.as_str(),
        "protocol": protocol,
        "epoch": member.member_epoch,
        "subscription": subscription,
        "assignment": partitions(&member.assignment),
        "target": partitions(&member.target_assignment),
    })
}

/// `topic:0,1` for each topic.
fn partitions(assignment: &Assignment) -> Vec<String> {
    let topics = assignment.topic_partitions.iter();
    topics
        .map(|topic| {
            let indexes: Vec<_> = topic.partitions.iter().map(i32::to_string).collect();
            format!("{}:{}", topic.topic_name.as_str(), indexes.join(","))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use tidegate_protocol::messages::TopicName;
    use tidegate_protocol::messages::consumer_group_describe_response::TopicPartitions;

    use super::*;
    use crate::client::bytes;

    #[test]
    fn a_member_shows_what_it_has_and_what_it_shall_have() {
        let share = |partitions| {
            let topic = TopicPartitions::default()
                .with_topic_name(TopicName(bytes("t")))
                .with_partitions(partitions);
            Assignment::default().with_topic_partitions(vec![topic])
        };
        let member = Member::default()
            .with_member_id(bytes("m"))
            .with_member_epoch(3)
            .with_member_type(1)
            .with_subscribed_topic_names(vec![TopicName(bytes("t"))])
            .with_subscribed_topic_regex(Some(bytes("u.*")))
            .with_assignment(share(vec![0]))
            .with_target_assignment(share(vec![0, 1]));
        let shown = member_json(&member);
        assert_eq!(shown["protocol"], "consumer");
        assert_eq!(shown["subscription"], json!(["t", "/u.*/"]));
        assert_eq!(
            (&shown["assignment"], &shown["target"]),
            (&json!(["t:0"]), &json!(["t:0,1"]))
        );
        let group = DescribedGroup::default()
            .with_group_state(bytes("Stable"))
            .with_assignor_name(bytes("range"))
            .with_group_epoch(4)
            .with_assignment_epoch(4);
        let line = description(&group).line;
        assert_eq!(line, "Stable  range  epoch 4, assigned for epoch 4");
    }
}
