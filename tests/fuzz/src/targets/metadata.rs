//! Stored metadata: a byte that says whether an image or a run of commands, then its bytes. Each command stands behind
//! two bytes with its length.
//!
//! What is read is written as something that reads as the same; a command is applied or refused, and leaves an image
//! that can be stored. Lengths that are only claimed reserve no more than serde's caution of one megabyte each.

use std::collections::BTreeMap;

use tidegate_metadata::{
    BrokerSpec, Command, Image, Listener, apply, decode_command, decode_image, encode_command,
    encode_image,
};

use crate::corpus::Seed;
use crate::memory::within;

/// Of lengths that lie within each other; what is claimed and not there ends the decoding.
const CLAIMED: usize = 4 << 20;
const MOST_GROWTH: usize = 256;
/// More partitions than this make an input slow, and nothing else.
const MANY: i32 = 100;

pub(super) fn run(data: &[u8]) {
    match data.split_first() {
        Some((0, bytes)) => image(bytes),
        Some((_, bytes)) => commands(bytes),
        None => {}
    }
}

fn image(bytes: &[u8]) {
    if let Ok(image) = within(CLAIMED + MOST_GROWTH * bytes.len(), || decode_image(bytes)) {
        reads_back(&image);
    }
}

fn commands(mut bytes: &[u8]) {
    let mut image = Image::default();
    while let Some((length, rest)) = bytes.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
        let (command, rest) = rest.split_at(length);
        bytes = rest;
        let decoded = within(CLAIMED + MOST_GROWTH * command.len(), || {
            decode_command(command)
        });
        let Ok(command) = decoded else {
            continue;
        };
        let written = encode_command(&command).expect("what was read can be written");
        let again = decode_command(&written).expect("what was written can be read");
        // Compared as bytes: a quota that is not a number is not equal to itself.
        assert_eq!(encode_command(&again).as_ref(), Ok(&written));
        if is_small(&command)
            && let Ok((next, _)) = apply(&image, &command)
        {
            image = next;
        }
    }
    for topic in image.topics.values() {
        assert_eq!(image.topic_by_id(&topic.id), Some(topic));
    }
    reads_back(&image);
}

fn is_small(command: &Command) -> bool {
    match command {
        Command::CreateTopic { partitions, .. } => *partitions <= MANY,
        Command::CreatePartitions { count, .. } => *count <= MANY,
        _ => true,
    }
}

fn reads_back(image: &Image) {
    let written = encode_image(image).expect("an image can be stored");
    let again = decode_image(&written).expect("what was stored can be read");
    assert_eq!(encode_image(&again), Ok(written));
}

pub(super) fn seeds() -> Vec<Seed> {
    let configs = BTreeMap::from([("tidegate.produce.chain".to_owned(), "late=match".to_owned())]);
    let broker = BrokerSpec {
        id: 1,
        listeners: vec![Listener {
            name: "PLAINTEXT".to_owned(),
            host: "h".to_owned(),
            port: 9092,
        }],
        rack: Some("r".to_owned()),
        incarnation: [3; 16],
    };
    let name = || "t".to_owned();
    let all = [
        Command::SetClusterId { id: "c".to_owned() },
        Command::RegisterBroker(broker),
        Command::RegisterPlugin {
            name: "match".to_owned(),
            version: "0.1.0".to_owned(),
            digest: [7; 32],
            size: 100,
            world: "filter".to_owned(),
            now_ms: 5,
        },
        Command::CreateTopic {
            name: name(),
            id: [9; 16],
            partitions: 2,
            replication_factor: 1,
            assignments: Vec::new(),
            configs,
            internal: false,
        },
        Command::CreatePartitions {
            name: name(),
            count: 3,
            assignments: vec![vec![1]],
        },
        Command::SetTopicConfigs {
            name: name(),
            set: BTreeMap::from([("retention.ms".to_owned(), Some("5".to_owned()))]),
        },
        Command::SetBrokerConfigs {
            set: BTreeMap::from([("log.retention.ms".to_owned(), None)]),
        },
        Command::AllocateProducerIds { count: 1000 },
        Command::SetIsr {
            topic: name(),
            partition: 0,
            leader_epoch: 0,
            partition_epoch: 0,
            isr: vec![1],
        },
        Command::ElectLeader {
            topic: name(),
            partition: 0,
            leader: 1,
        },
        Command::DeleteTopic { name: name() },
        Command::RemovePlugin {
            name: "match".to_owned(),
            version: None,
        },
    ];
    let mut image = Image::default();
    let mut seeds = Vec::new();
    let mut run = vec![1];
    for (at, command) in all.iter().enumerate() {
        let bytes = encode_command(command).expect("it can be stored");
        let entry = [&(bytes.len() as u16).to_be_bytes()[..], &bytes].concat();
        run.extend_from_slice(&entry);
        seeds.push(Seed::made(
            format!("command-{at}"),
            [&[1], &entry[..]].concat(),
        ));
        if let Ok((next, _)) = apply(&image, command) {
            image = next;
        }
        if at == 5 {
            let stored = encode_image(&image).expect("it can be stored");
            seeds.push(Seed::made("image", [&[0], &stored[..]].concat()));
        }
    }
    seeds.push(Seed::made("life", run));
    seeds
}
