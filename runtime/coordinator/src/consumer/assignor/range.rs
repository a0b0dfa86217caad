//! For each topic by itself, a run of neighbouring partitions for each subscriber, in a fixed order of subscribers.

use std::collections::BTreeMap;

use crate::consumer::Partitions;
use crate::consumer::assignor::{PartitionCounts, Subscriber};

pub(super) fn assign(
    subscribers: &BTreeMap<String, Subscriber>,
    counts: &PartitionCounts,
) -> BTreeMap<String, Partitions> {
    let mut shares: BTreeMap<String, Partitions> = subscribers
        .keys()
        .map(|id| (id.clone(), Partitions::new()))
        .collect();
    // Static members first, by their instance: a restart changes their ids but must not move ranges.
    let mut order: Vec<(&String, &Subscriber)> = subscribers.iter().collect();
    order.sort_by_key(|(id, member)| {
        let instance = member.instance_id.as_deref();
        (instance.is_none(), instance, *id)
    });
    for (topic, count) in counts {
        let of_topic: Vec<&String> = order
            .iter()
            .filter(|(_, member)| member.topics.contains(topic))
            .map(|(id, _)| *id)
            .collect();
        let Ok(members) = i32::try_from(of_topic.len()) else {
            continue;
        };
        let (Some(quota), Some(extra)) = (count.checked_div(members), count.checked_rem(members))
        else {
            continue;
        };
        let mut start = 0;
        for (place, id) in (0..members).zip(of_topic) {
            let end = start + quota + i32::from(place < extra);
            if let Some(share) = shares.get_mut(id).filter(|_| start < end) {
                share.insert(*topic, (start..end).collect());
            }
            start = end;
        }
    }
    shares
}
