//! Commands against images: what is accepted, what is refused and with which words.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tidegate_metadata::quota::{QuotaEntity, QuotaName};
use tidegate_metadata::{
    BrokerSpec, CodecError, Command, Image, Listener, Outcome, PluginSignature, Refusal, apply,
    decode_command, decode_image, encode_command, encode_image,
};
use tidegate_record::PartitionId;

fn run(image: &mut Image, command: Command) -> Result<Outcome, Refusal> {
    let (next, outcome) = apply(image, &command)?;
    *image = next;
    Ok(outcome)
}

fn broker(id: i32, incarnation: u8) -> Command {
    Command::RegisterBroker(BrokerSpec {
        id,
        listeners: vec![Listener {
            name: "PLAINTEXT".into(),
            host: "localhost".into(),
            port: 9092,
        }],
        rack: None,
        incarnation: [incarnation; 16],
    })
}

fn topic(name: &str, id: u8, partitions: i32, configs: &[(&str, &str)]) -> Command {
    Command::CreateTopic {
        name: name.into(),
        id: [id; 16],
        partitions,
        replication_factor: 1,
        assignments: vec![],
        configs: map(configs),
        internal: name.starts_with("__"),
    }
}

fn plugin(name: &str, version: &str, digest: u8, world: &str) -> Command {
    Command::RegisterPlugin {
        name: name.into(),
        version: version.into(),
        digest: [digest; 32],
        size: 10,
        world: world.into(),
        now_ms: 1,
    }
}

fn signed(name: &str, version: &str, digest: u8, world: &str, signature: u8) -> Command {
    Command::RegisterSignedPlugin {
        name: name.into(),
        version: version.into(),
        digest: [digest; 32],
        size: 10,
        world: world.into(),
        now_ms: 1,
        signature: PluginSignature::new([signature; 32], [signature; 64]),
    }
}

fn set(name: &str, pairs: &[(&str, Option<&str>)]) -> Command {
    Command::SetTopicConfigs {
        name: name.into(),
        set: pairs
            .iter()
            .map(|(k, v)| (k.to_string(), v.map(str::to_owned)))
            .collect(),
    }
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(k, v)| (k.to_string(), v.to_string()))
        .collect()
}

fn one_broker() -> Image {
    let mut image = Image::default();
    run(&mut image, broker(1, 1)).unwrap();
    image
}

#[test]
fn a_topic_is_made_found_grown_and_deleted() {
    let mut image = one_broker();
    let Outcome::Topic(made) = run(&mut image, topic("orders", 7, 2, &[])).unwrap() else {
        panic!()
    };
    assert_eq!(made.partitions.len(), 2);
    assert_eq!(made.partitions[1].id, PartitionId(1));
    assert_eq!(
        (made.partitions[0].leader, made.partitions[0].leader_epoch),
        (1, 0)
    );
    assert_eq!(image.topic_by_id(&[7; 16]).unwrap().name, "orders");

    let again = run(&mut image, topic("orders", 8, 1, &[])).unwrap_err();
    assert_eq!(again, Refusal::TopicExists("orders".into()));

    let grow = |count| Command::CreatePartitions {
        name: "orders".into(),
        count,
        assignments: vec![],
    };
    assert!(matches!(
        run(&mut image, grow(2)),
        Err(Refusal::InvalidPartitions(_))
    ));
    run(&mut image, grow(5)).unwrap();
    assert_eq!(image.partition("orders", 4).unwrap().id, PartitionId(4));

    let Outcome::Deleted(gone) = run(
        &mut image,
        Command::DeleteTopic {
            name: "orders".into(),
        },
    )
    .unwrap() else {
        panic!()
    };
    assert_eq!(gone.partitions.len(), 5);
    assert!(image.topic("orders").is_none() && image.topic_by_id(&[7; 16]).is_none());

    run(&mut image, topic("orders", 9, 1, &[])).unwrap();
    assert_eq!(
        image.partition("orders", 0).unwrap().id,
        PartitionId(5),
        "ids are never reused"
    );
}

#[test]
fn bad_topics_are_refused() {
    let mut image = one_broker();
    let mut refuse = |command| run(&mut image, command).unwrap_err();
    assert!(matches!(
        refuse(topic("a b", 1, 1, &[])),
        Refusal::InvalidTopic { .. }
    ));
    assert!(matches!(
        refuse(topic("a", 0, 1, &[])),
        Refusal::InvalidRequest(_)
    ));
    for count in [0, -1, i32::MIN, 10_001, i32::MAX] {
        assert!(matches!(
            refuse(topic("a", 1, count, &[])),
            Refusal::InvalidPartitions(_)
        ));
    }
    assert!(matches!(
        refuse(topic("a", 1, 1, &[("retention.ms", "soon")])),
        Refusal::InvalidConfig { .. }
    ));
    let factor = |factor, assignments: Vec<Vec<i32>>| Command::CreateTopic {
        name: "a".into(),
        id: [1; 16],
        partitions: 1,
        replication_factor: factor,
        assignments,
        configs: map(&[]),
        internal: false,
    };
    assert!(
        refuse(factor(2, vec![]))
            .to_string()
            .contains("only 1 broker(s)")
    );
    assert!(matches!(
        refuse(factor(0, vec![])),
        Refusal::InvalidReplicationFactor(_)
    ));
    for bad in [
        vec![vec![]],
        vec![vec![2]],
        vec![vec![1, 1]],
        vec![vec![1], vec![]],
    ] {
        assert!(matches!(
            refuse(factor(-1, bad)),
            Refusal::InvalidAssignment(_)
        ));
    }
    assert!(matches!(
        refuse(Command::DeleteTopic { name: "a".into() }),
        Refusal::UnknownTopic(_)
    ));
}

#[test]
fn replicas_go_round_the_brokers() {
    let mut image = one_broker();
    run(&mut image, broker(2, 1)).unwrap();
    run(&mut image, broker(5, 1)).unwrap();
    let Outcome::Topic(topic) = run(
        &mut image,
        Command::CreateTopic {
            name: "t".into(),
            id: [1; 16],
            partitions: 3,
            replication_factor: 2,
            assignments: vec![],
            configs: map(&[]),
            internal: false,
        },
    )
    .unwrap() else {
        panic!()
    };
    let replicas: Vec<_> = topic
        .partitions
        .iter()
        .map(|p| p.replicas.clone())
        .collect();
    assert_eq!(replicas, [[1, 2], [2, 5], [5, 1]]);
}

#[test]
fn a_restarted_broker_starts_new_leader_epochs() {
    let mut image = one_broker();
    run(&mut image, topic("t", 1, 2, &[])).unwrap();
    assert_eq!(
        run(&mut image, broker(1, 1)).unwrap(),
        Outcome::BrokerEpoch(1)
    );
    assert_eq!(
        image.partition("t", 0).unwrap().leader_epoch,
        0,
        "same process, same epoch"
    );
    assert_eq!(
        run(&mut image, broker(1, 2)).unwrap(),
        Outcome::BrokerEpoch(2)
    );
    assert_eq!(image.partition("t", 0).unwrap().leader_epoch, 1);
    assert_eq!(image.partition("t", 1).unwrap().leader_epoch, 1);
}

#[test]
fn configs_are_validated_as_the_state_they_lead_to() {
    let mut image = one_broker();
    run(&mut image, topic("t", 1, 1, &[])).unwrap();
    // A plugin's settings may come before the chain that uses them.
    run(
        &mut image,
        set("t", &[("tidegate.plugin.match.field", Some("value"))]),
    )
    .unwrap();
    let missing = run(
        &mut image,
        set("t", &[("tidegate.produce.chain", Some("match"))]),
    );
    let sentence = missing.unwrap_err().to_string();
    assert!(
        sentence.contains("not uploaded") && sentence.contains("plugin push"),
        "{sentence}"
    );

    run(&mut image, plugin("match", "1.0", 1, "filter")).unwrap();
    run(&mut image, plugin("route", "1.0", 2, "router")).unwrap();
    run(
        &mut image,
        set("t", &[("tidegate.produce.chain", Some("[match,route]"))]),
    )
    .unwrap();
    let wrong = run(
        &mut image,
        set("t", &[("tidegate.consume.chain", Some("route"))]),
    );
    assert!(
        wrong
            .unwrap_err()
            .to_string()
            .contains("cannot stand in a consume chain")
    );
    let pinned = run(
        &mut image,
        set("t", &[("tidegate.produce.chain", Some("match@9"))]),
    );
    assert!(pinned.unwrap_err().to_string().contains("it has 1.0"));

    let unchanged = run(&mut image, set("t", &[("no.such.config", None)])).unwrap();
    assert_eq!(
        unchanged,
        Outcome::Unchanged,
        "removing what is not there is harmless"
    );
    run(&mut image, set("t", &[("tidegate.produce.chain", None)])).unwrap();
    assert!(
        !image
            .topic("t")
            .unwrap()
            .configs
            .contains_key("tidegate.produce.chain")
    );
}

#[test]
fn internal_topics_take_no_plugins_and_stay() {
    let mut image = one_broker();
    run(&mut image, plugin("match", "1.0", 1, "filter")).unwrap();
    run(
        &mut image,
        topic("__consumer_offsets", 1, 3, &[("cleanup.policy", "compact")]),
    )
    .unwrap();
    let bind = run(
        &mut image,
        set(
            "__consumer_offsets",
            &[("tidegate.produce.chain", Some("match"))],
        ),
    );
    assert!(bind.unwrap_err().to_string().contains("internal topic"));
    let delete = run(
        &mut image,
        Command::DeleteTopic {
            name: "__consumer_offsets".into(),
        },
    );
    assert!(matches!(delete, Err(Refusal::InternalTopic(_))));
    run(
        &mut image,
        set("__consumer_offsets", &[("segment.bytes", Some("1000000"))]),
    )
    .unwrap();
}

#[test]
fn versions_are_immutable_and_latest_is_the_last_pushed() {
    let mut image = one_broker();
    run(&mut image, topic("t", 1, 1, &[])).unwrap();
    run(&mut image, plugin("m", "2.0", 2, "filter")).unwrap();
    run(&mut image, plugin("m", "1.9", 1, "filter")).unwrap();
    assert_eq!(image.plugins["m"].latest, "1.9");
    assert_eq!(
        run(&mut image, plugin("m", "2.0", 2, "filter")),
        Ok(Outcome::Unchanged)
    );
    let taken = run(&mut image, plugin("m", "2.0", 3, "filter")).unwrap_err();
    assert!(matches!(taken, Refusal::VersionExists { .. }));

    run(
        &mut image,
        set("t", &[("tidegate.produce.chain", Some("m"))]),
    )
    .unwrap();
    let router = run(&mut image, plugin("bad name", "1", 1, "filter")).unwrap_err();
    assert!(matches!(router, Refusal::InvalidPlugin(_)));
    let remove = |version: Option<&str>| Command::RemovePlugin {
        name: "m".into(),
        version: version.map(str::to_owned),
    };
    let bound = run(&mut image, remove(Some("1.9"))).unwrap_err();
    assert!(
        matches!(bound, Refusal::PluginBound { .. }),
        "latest is bound: {bound}"
    );
    run(&mut image, remove(Some("2.0"))).unwrap();
    assert!(matches!(
        run(&mut image, remove(None)),
        Err(Refusal::PluginBound { .. })
    ));
    assert!(matches!(
        run(&mut image, remove(Some("3"))),
        Err(Refusal::UnknownPlugin(_))
    ));
    run(&mut image, set("t", &[("tidegate.produce.chain", None)])).unwrap();
    run(&mut image, remove(None)).unwrap();
    assert!(image.plugins.is_empty());
}

#[test]
fn the_latest_before_is_remembered_while_it_exists() {
    let mut image = one_broker();
    let latest = |version: &str| Command::SetLatestPlugin {
        name: "m".into(),
        version: version.into(),
    };
    let previous = |image: &Image| image.previous_latest.get("m").cloned();
    run(&mut image, plugin("m", "1", 1, "transform")).unwrap();
    assert_eq!(previous(&image), None);
    run(&mut image, plugin("m", "2", 2, "filter")).unwrap();
    assert_eq!(previous(&image).as_deref(), Some("1"));
    run(&mut image, latest("1")).unwrap();
    assert_eq!(previous(&image).as_deref(), Some("2"));
    assert_eq!(run(&mut image, latest("1")), Ok(Outcome::Unchanged));
    assert_eq!(previous(&image).as_deref(), Some("2"));
    let remove = Command::RemovePlugin {
        name: "m".into(),
        version: Some("2".into()),
    };
    run(&mut image, remove).unwrap();
    assert_eq!(previous(&image), None);
}

#[test]
fn a_version_keeps_its_signature_and_may_get_one_later() {
    let mut image = one_broker();
    let by = |image: &Image, version| image.plugin_signature("m", version).map(|s| s.key[0]);
    run(&mut image, plugin("m", "1", 1, "filter")).unwrap();
    assert_eq!(by(&image, "1"), None);
    assert_eq!(
        run(&mut image, signed("m", "1", 1, "filter", 8)),
        Ok(Outcome::Done)
    );
    assert_eq!(by(&image, "1"), Some(8));
    assert_eq!(
        run(&mut image, plugin("m", "1", 1, "filter")),
        Ok(Outcome::Unchanged)
    );
    assert_eq!(
        by(&image, "1"),
        Some(8),
        "a push without one takes nothing away"
    );
    assert_eq!(
        run(&mut image, signed("m", "1", 1, "filter", 9)),
        Ok(Outcome::Done)
    );
    assert_eq!(by(&image, "1"), Some(9));
    let other = run(&mut image, signed("m", "1", 2, "filter", 9)).unwrap_err();
    assert!(matches!(other, Refusal::VersionExists { .. }));
    run(&mut image, signed("m", "2", 2, "filter", 7)).unwrap();
    assert_eq!(
        (image.plugins["m"].latest.as_str(), by(&image, "2")),
        ("2", Some(7))
    );
    let remove = Command::RemovePlugin {
        name: "m".into(),
        version: Some("2".into()),
    };
    run(&mut image, remove).unwrap();
    assert_eq!((by(&image, "1"), by(&image, "2")), (Some(9), None));
}

/// A snapshot that the first version of the image's format wrote.
#[test]
fn an_image_of_version_1_is_read() {
    let bytes = hex(concat!(
        "01",
        "0474657374", // version, cluster id "test"
        "00",
        "00",
        "00", // no topics, brokers, broker configs
        "01",
        "016d",
        "01",
        "0131", // plugin m, one version: 1
        "0000000000000000000000000000000000000000000000000000000000000000",
        "05",
        "0666696c746572",
        "02",
        "00",   // size, world, uploaded, order
        "0131", // latest
        "03",
        "04",
        "06",
        "01", // next ids
    ));
    let image = decode_image(&bytes).unwrap();
    assert_eq!(image.plugins["m"].latest, "1");
    assert_eq!((image.next_partition_id, image.next_producer_id), (3, 2));
    assert!(image.previous_latest.is_empty());
    assert!(image.plugin_signatures.is_empty());
    assert!(image.quotas.is_empty() && image.own_broker_configs.is_empty());
    // Version 2 has two maps more.
    let second = [&[2], &bytes[1..], &[0, 0]].concat();
    assert_eq!(decode_image(&second).as_ref(), Ok(&image));
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

#[test]
fn a_router_cannot_become_the_latest_of_a_consume_chain() {
    let mut image = one_broker();
    run(&mut image, plugin("m", "1", 1, "filter")).unwrap();
    run(
        &mut image,
        topic("t", 1, 1, &[("tidegate.consume.chain", "m")]),
    )
    .unwrap();
    assert!(run(&mut image, plugin("m", "2", 2, "router")).is_err());
    assert_eq!(image.plugins["m"].latest, "1");
    assert_eq!(image.chains_naming("m").len(), 1);
}

#[test]
fn digests_pin_whatever_latest_does() {
    let mut image = one_broker();
    run(&mut image, plugin("m", "1", 0xab, "filter")).unwrap();
    run(&mut image, plugin("m", "2", 2, "filter")).unwrap();
    let chain = format!("m@sha256:{}", "ab".repeat(32));
    run(
        &mut image,
        topic("t", 1, 1, &[("tidegate.produce.chain", &chain)]),
    )
    .unwrap();
    let spec = tidegate_metadata::binding::parse_chain(&chain).unwrap();
    assert_eq!(
        image.resolve_plugin(&spec.0[0].plugin).unwrap().version,
        "1"
    );
    run(
        &mut image,
        Command::SetLatestPlugin {
            name: "m".into(),
            version: "1".into(),
        },
    )
    .unwrap();
    assert_eq!(image.plugins["m"].latest, "1");
}

#[test]
fn broker_wide_configs_take_dynamic_names_only() {
    let mut image = one_broker();
    let set = |name: &str, value: &str| Command::SetBrokerConfigs {
        set: [(name.to_owned(), Some(value.to_owned()))].into(),
    };
    run(&mut image, set("log.retention.ms", "1000")).unwrap();
    assert_eq!(image.broker_configs["log.retention.ms"], "1000");
    assert!(run(&mut image, set("log.dirs", "/x")).is_err());
    assert!(
        run(&mut image, set("tidegate.produce.chain", "m")).is_err(),
        "not uploaded"
    );
}

#[test]
fn one_brokers_configs_are_laid_over_those_of_all() {
    let mut image = one_broker();
    let all = |name: &str, value: &str| Command::SetBrokerConfigs {
        set: [(name.to_owned(), Some(value.to_owned()))].into(),
    };
    let one = |name: &str, value: Option<&str>| Command::SetOneBrokerConfigs {
        broker: 1,
        set: [(name.to_owned(), value.map(str::to_owned))].into(),
    };
    run(&mut image, all("log.retention.ms", "1000")).unwrap();
    run(&mut image, one("log.retention.ms", Some("2000"))).unwrap();
    let file = map(&[("log.retention.ms", "1"), ("num.partitions", "3")]);
    let layered = image.broker_defaults(1, &file);
    assert_eq!(layered["log.retention.ms"], "2000");
    assert_eq!(layered["num.partitions"], "3");
    assert_eq!(image.broker_defaults(2, &file)["log.retention.ms"], "1000");
    for (name, value) in [
        ("log.dirs", "/x"),
        ("no.such", "1"),
        ("tidegate.produce.chain", ""),
    ] {
        assert!(run(&mut image, one(name, Some(value))).is_err(), "{name}");
    }
    run(&mut image, one("log.retention.ms", None)).unwrap();
    assert!(image.own_broker_configs.is_empty());
    assert_eq!(
        run(&mut image, one("log.retention.ms", None)),
        Ok(Outcome::Unchanged)
    );
}

#[test]
fn isr_and_leaders_are_fenced_by_epochs() {
    let mut image = one_broker();
    run(&mut image, broker(2, 1)).unwrap();
    run(
        &mut image,
        Command::CreateTopic {
            name: "t".into(),
            id: [1; 16],
            partitions: 0,
            replication_factor: 0,
            assignments: vec![vec![1, 2]],
            configs: map(&[]),
            internal: false,
        },
    )
    .unwrap();
    let isr = |partition_epoch, isr: &[i32]| Command::SetIsr {
        topic: "t".into(),
        partition: 0,
        leader_epoch: 0,
        partition_epoch,
        isr: isr.to_vec(),
    };
    assert!(matches!(
        run(&mut image, isr(3, &[1])),
        Err(Refusal::StaleEpoch(_))
    ));
    assert!(matches!(
        run(&mut image, isr(0, &[2])),
        Err(Refusal::InvalidRequest(_))
    ));
    assert!(matches!(
        run(&mut image, isr(0, &[1, 9])),
        Err(Refusal::InvalidRequest(_))
    ));
    run(&mut image, isr(0, &[1])).unwrap();
    assert_eq!(image.partition("t", 0).unwrap().partition_epoch, 1);
    let elect = |leader| Command::ElectLeader {
        topic: "t".into(),
        partition: 0,
        leader,
    };
    assert!(run(&mut image, elect(2)).is_err(), "not in sync");
    run(&mut image, isr(1, &[1, 2])).unwrap();
    run(&mut image, elect(2)).unwrap();
    let partition = image.partition("t", 0).unwrap();
    assert_eq!((partition.leader, partition.leader_epoch), (2, 1));
}

#[test]
fn cluster_and_producer_ids() {
    let mut image = Image::default();
    let id = |id: &str| Command::SetClusterId { id: id.into() };
    run(&mut image, id("abc")).unwrap();
    assert_eq!(run(&mut image, id("abc")), Ok(Outcome::Unchanged));
    assert!(run(&mut image, id("other")).is_err());
    let ids = Command::AllocateProducerIds { count: 1000 };
    assert_eq!(
        run(&mut image, ids.clone()),
        Ok(Outcome::ProducerIds(0..1000))
    );
    assert_eq!(run(&mut image, ids), Ok(Outcome::ProducerIds(1000..2000)));
}

#[test]
fn other_versions_and_trailing_bytes_are_errors() {
    let mut bytes = encode_command(&broker(1, 1)).unwrap();
    bytes.push(0);
    assert!(matches!(
        decode_command(&bytes),
        Err(CodecError::Trailing { bytes: 1, .. })
    ));
    bytes[0] = 9;
    assert!(matches!(
        decode_command(&bytes),
        Err(CodecError::Version { found: 9, .. })
    ));
    assert!(matches!(decode_image(&[]), Err(CodecError::Empty(_))));
    // A claimed length far beyond the bytes is an error, not an allocation.
    assert!(decode_command(&[1, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]).is_err());
}

/// Logs outlive programs: a variant or field that moves makes old logs unreadable. A failure here
/// means a new command version, not a new expectation.
#[test]
fn the_stored_bytes_do_not_change() {
    let stored = |command: &Command| {
        let bytes = encode_command(command).unwrap();
        bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    let name = || "t".to_owned();
    let zeros = "00".repeat(16);
    for (command, bytes) in [
        (Command::SetClusterId { id: name() }, "01000174".to_owned()),
        (
            broker(1, 0),
            format!("01010201 09504c41494e54455854 096c6f63616c686f7374 8447 00 {zeros}"),
        ),
        (
            topic("t", 0, 3, &[("a", "b")]),
            format!("01020174 {zeros} 06 02 00 01 0161 0162 00"),
        ),
        (Command::DeleteTopic { name: name() }, "01030174".to_owned()),
        (
            Command::CreatePartitions {
                name: name(),
                count: 2,
                assignments: vec![vec![1]],
            },
            "01040174 04 01 01 02".to_owned(),
        ),
        (set("t", &[("a", None)]), "01050174 01 0161 00".to_owned()),
        (
            Command::SetBrokerConfigs {
                set: [(name(), Some(name()))].into(),
            },
            "010601 0174 01 0174".to_owned(),
        ),
        (
            plugin("m", "1", 0, "filter"),
            format!("0107016d 0131 {zeros}{zeros} 0a 0666696c746572 02"),
        ),
        (
            Command::RemovePlugin {
                name: name(),
                version: None,
            },
            "01080174 00".to_owned(),
        ),
        (
            Command::AllocateProducerIds { count: 300 },
            "0109ac02".to_owned(),
        ),
        (
            Command::SetIsr {
                topic: name(),
                partition: 1,
                leader_epoch: 2,
                partition_epoch: 3,
                isr: vec![1],
            },
            "010a0174 02 04 06 01 02".to_owned(),
        ),
        (
            Command::ElectLeader {
                topic: name(),
                partition: 0,
                leader: 1,
            },
            "010b0174 00 02".to_owned(),
        ),
        (
            Command::SetLatestPlugin {
                name: name(),
                version: name(),
            },
            "010c0174 0174".to_owned(),
        ),
        (
            signed("t", "t", 7, "filter", 8),
            format!(
                "010d0174 0174 {} 0a 0666696c746572 02 {}",
                "07".repeat(32),
                "08".repeat(96)
            ),
        ),
        (
            Command::SetQuotas {
                entity: QuotaEntity {
                    user: Some(QuotaName::Default),
                    client_id: Some(QuotaName::Named(name())),
                    ip: None,
                },
                set: [(name(), Some(1.0)), ("u".to_owned(), None)].into(),
            },
            "010e 0100 01010174 00 02 0174 01 000000000000f03f 0175 00".to_owned(),
        ),
        (
            Command::SetOneBrokerConfigs {
                broker: 1,
                set: [(name(), None)].into(),
            },
            "010f 02 01 0174 00".to_owned(),
        ),
    ] {
        assert_eq!(stored(&command), bytes.replace(' ', ""), "{command:?}");
    }
}

fn commands() -> impl Strategy<Value = Command> {
    let name = prop_oneof![Just("a"), Just("b"), Just("c.d"), Just("__i")];
    let chain = prop_oneof![Just("m"), Just("r"), Just("m@1,x=r"), Just("")];
    prop_oneof![
        (0..3i32, 0..3u8).prop_map(|(id, n)| broker(id, n)),
        (name.clone(), 1..9u8, 0..4i32).prop_map(|(name, id, n)| topic(name, id, n, &[])),
        name.clone()
            .prop_map(|name| Command::DeleteTopic { name: name.into() }),
        (name.clone(), 0..6i32).prop_map(|(name, count)| Command::CreatePartitions {
            name: name.into(),
            count,
            assignments: vec![]
        }),
        (name.clone(), proptest::option::of(chain), any::<bool>()).prop_map(|(name, chain, c)| {
            let key = if c {
                "tidegate.consume.chain"
            } else {
                "tidegate.produce.chain"
            };
            set(name, &[(key, chain)])
        }),
        (0..3u8, any::<bool>()).prop_map(|(v, r)| {
            let (name, world) = if r { ("r", "router") } else { ("m", "filter") };
            plugin(name, &v.to_string(), v, world)
        }),
        (0..3u8, 0..3u8).prop_map(|(v, by)| signed("m", &v.to_string(), v, "filter", by)),
        (any::<bool>(), proptest::option::of(0..3u8)).prop_map(|(r, v)| Command::RemovePlugin {
            name: if r { "r".into() } else { "m".into() },
            version: v.map(|v| v.to_string()),
        }),
        (name, 0..4i32, 0..3i32).prop_map(|(topic, partition, leader)| Command::ElectLeader {
            topic: topic.into(),
            partition,
            leader
        }),
        (1..5u32).prop_map(|count| Command::AllocateProducerIds { count }),
        (0..2u8, proptest::option::of(0..3u8)).prop_map(|(user, limit)| Command::SetQuotas {
            entity: QuotaEntity {
                user: Some(QuotaName::Named(user.to_string())),
                ..QuotaEntity::default()
            },
            set: [("producer_byte_rate".to_owned(), limit.map(f64::from))].into(),
        }),
        (0..2i32, proptest::option::of(0..3u8)).prop_map(|(broker, ms)| {
            let set = [("log.retention.ms".to_owned(), ms.map(|ms| ms.to_string()))].into();
            Command::SetOneBrokerConfigs { broker, set }
        }),
    ]
}

proptest! {
    /// What holds in every image that commands can lead to; and images and commands survive their
    /// bytes.
    #[test]
    fn images_stay_whole(commands in proptest::collection::vec(commands(), 1..60)) {
        let mut image = Image::default();
        let mut used = std::collections::BTreeSet::new();
        for command in commands {
            prop_assert_eq!(&decode_command(&encode_command(&command).unwrap()).unwrap(), &command);
            let before = image.clone();
            let Ok(outcome) = run(&mut image, command.clone()) else {
                prop_assert_eq!(&image, &before);
                continue;
            };
            if let (Outcome::Topic(topic), Command::CreateTopic { .. }) = (&outcome, &command) {
                for partition in &topic.partitions {
                    prop_assert!(used.insert(partition.id), "a partition id was used again");
                }
            }
            for (name, topic) in image.topics.iter() {
                prop_assert_eq!(name, &topic.name);
                prop_assert_eq!(&image.topic_by_id(&topic.id).unwrap().name, name);
                prop_assert!(!topic.partitions.is_empty());
                for (index, partition) in topic.partitions.iter().enumerate() {
                    prop_assert!(partition.id.0 < image.next_partition_id);
                    prop_assert!(partition.isr.contains(&partition.leader));
                    prop_assert!(partition.isr.iter().all(|id| partition.replicas.contains(id)));
                    if let Some(old) = before.partition(name, index as i32)
                        && before.topics[name].id == topic.id
                    {
                        prop_assert!(partition.leader_epoch >= old.leader_epoch);
                    }
                }
                for key in ["tidegate.produce.chain", "tidegate.consume.chain"] {
                    let chain = topic.configs.get(key).map_or("", String::as_str);
                    for entry in tidegate_metadata::binding::parse_chain(chain).unwrap().iter() {
                        prop_assert!(image.resolve_plugin(&entry.plugin).is_some(), "{key} {chain}");
                    }
                }
            }
            for plugin in image.plugins.values() {
                prop_assert!(plugin.versions.contains_key(&plugin.latest));
            }
            for (name, signed) in &image.plugin_signatures {
                let versions = &image.plugins[name].versions;
                prop_assert!(!signed.is_empty());
                prop_assert!(signed.keys().all(|version| versions.contains_key(version)));
            }
            prop_assert!(image.quotas.values().all(|limits| !limits.is_empty()));
            prop_assert!(image.own_broker_configs.values().all(|configs| !configs.is_empty()));
            for (name, previous) in &image.previous_latest {
                prop_assert!(image.plugins[name].versions.contains_key(previous));
                prop_assert_ne!(&image.plugins[name].latest, previous);
            }
            prop_assert_eq!(&decode_image(&encode_image(&image).unwrap()).unwrap(), &image);
        }
    }

    #[test]
    fn any_bytes_decode_or_err(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode_command(&bytes);
        let _ = decode_image(&bytes);
    }
}
