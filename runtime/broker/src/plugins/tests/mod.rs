//! The service over a broker in memory, with guests written by hand.

mod logs;
mod rules;
mod running;
mod trust;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidegate_metadata::Command;

use super::testbed::{
    Disks, chains, change, config, create, filter, propose, push, refuses_configuration, router,
    set, start,
};
use super::{RemoveError, UploadError, store};
use crate::broker::Broker;
use crate::config::{PluginFile, ServerConfig, TopicDeclaration};
use crate::topics::ChainSlot;

const PRODUCE: &str = "tidegate.produce.chain";
const CONSUME: &str = "tidegate.consume.chain";

async fn broker() -> Arc<Broker> {
    start(config(), &Disks::default()).await
}

fn produce_ready(broker: &Broker, topic: &str) -> bool {
    matches!(chains(broker, topic).produce, ChainSlot::Ready(_))
}

/// Waits for what a thread of the broker's own brings about.
async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(30), async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(waited.await.is_ok(), "{what} did not happen");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_is_idempotent_and_versions_are_immutable() {
    let broker = broker().await;
    let upload = async |version: &str, wasm: Vec<u8>| {
        broker
            .plugins
            .upload(&broker, "f", version, Bytes::from(wasm))
            .await
    };
    let first = upload("1", filter()).await.unwrap();
    let again = upload("1", filter()).await.unwrap();
    assert!(!first.already && again.already);
    assert_eq!(first.digest, again.digest);
    assert_eq!(broker.plugins.engine().compilations(), 1);
    let other = upload("1", router("out")).await.unwrap_err();
    assert!(matches!(other, UploadError::Conflict(_)), "{other}");
    for (version, wasm) in [
        ("a b", filter()),
        ("2", b"\0asm".to_vec()),
        ("2", Vec::new()),
    ] {
        let refused = upload(version, wasm).await.unwrap_err();
        assert!(matches!(refused, UploadError::Invalid(_)), "{refused}");
    }
    assert_eq!(broker.image().plugins["f"].versions.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_checked_is_ready_when_the_change_commits() {
    let broker = broker().await;
    push(&broker, "f", "1", &filter()).await;
    change(&broker, create("t", &[])).await.unwrap();
    assert!(matches!(chains(&broker, "t").produce, ChainSlot::None));
    change(
        &broker,
        set("t", &[(PRODUCE, Some("f,again=f@1")), (CONSUME, Some("f"))]),
    )
    .await
    .unwrap();
    let now = chains(&broker, "t");
    let ChainSlot::Ready(produce) = now.produce else {
        panic!("the produce chain is not ready")
    };
    assert_eq!(produce.bindings().len(), 2);
    assert!(matches!(now.consume, ChainSlot::Ready(_)));
    assert_eq!(broker.plugins.engine().compilations(), 1);
    let reports = broker.plugins.bindings(&broker, Some("f"), 10);
    let stands: Vec<_> = reports
        .iter()
        .map(|r| (r.place.name(), r.alias.as_str()))
        .collect();
    assert_eq!(
        stands,
        [("produce", "f"), ("produce", "again"), ("consume", "f")]
    );
    assert!(reports.iter().all(|report| report.stats.is_some()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_brings_the_chains_back() {
    let disks = Disks::default();
    let before = start(config(), &disks).await;
    // More than one chunk.
    let mut large = filter();
    large.extend(custom_section(700 << 10));
    push(&before, "f", "1", &large).await;
    change(&before, create("t", &[(PRODUCE, "f")]))
        .await
        .unwrap();
    before.log.close();
    drop(before);
    let after = start(config(), &disks).await;
    assert!(produce_ready(&after, "t"));
    assert_eq!(after.plugins.engine().compilations(), 1);
    let pushed = after
        .plugins
        .upload(&after, "f", "1", Bytes::from(large))
        .await
        .unwrap();
    assert!(pushed.already);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_checked_is_made_in_the_background() {
    let disks = Disks::default();
    let before = start(config(), &disks).await;
    push(&before, "f", "1", &filter()).await;
    before.log.close();
    drop(before);
    let broker = start(config(), &disks).await;
    assert_eq!(broker.plugins.engine().compilations(), 0);
    propose(&broker, create("t", &[(PRODUCE, "f")])).await;
    eventually("the chain's readiness", || produce_ready(&broker, "t")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_or_not_configurable_is_refused_with_a_sentence() {
    let broker = broker().await;
    push(&broker, "f", "1", &filter()).await;
    push(&broker, "shy", "1", &refuses_configuration()).await;
    change(&broker, create("t", &[])).await.unwrap();
    for (chain, said) in [
        ("nope", "tidegate plugin push FILE --name nope --version"),
        ("f@2", "f@2"),
        ("shy", "A sentence."),
    ] {
        let why = change(&broker, set("t", &[(PRODUCE, Some(chain))]))
            .await
            .unwrap_err();
        assert!(why.contains(said), "{why}");
    }
    let wrong = [
        (PRODUCE, Some("f")),
        ("tidegate.plugin.f.level", Some("high")),
    ];
    let why = change(&broker, set("t", &wrong)).await.unwrap_err();
    assert!(why.contains("level"), "{why}");
    assert!(matches!(chains(&broker, "t").produce, ChainSlot::None));
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_are_created_unless_it_is_only_asked() {
    let broker = broker().await;
    push(&broker, "r", "1", &router("out")).await;
    let command = create("in", &[(PRODUCE, "r")]);
    broker
        .plugins
        .check_command(&broker, &command, true)
        .await
        .unwrap();
    assert!(broker.image().topic("out").is_none());
    change(&broker, command).await.unwrap();
    assert!(broker.image().topic("out").is_some());
    assert!(broker.topics.get("out").is_some());

    let closed = ServerConfig {
        auto_create_topics: false,
        ..config()
    };
    let broker = start(closed, &Disks::default()).await;
    push(&broker, "r", "1", &router("out")).await;
    let why = change(&broker, create("in", &[(PRODUCE, "r")]))
        .await
        .unwrap_err();
    assert!(
        why.contains("`out`") && why.contains("auto.create.topics.enable"),
        "{why}"
    );
    change(&broker, create("out", &[])).await.unwrap();
    change(&broker, create("in", &[(PRODUCE, "r")]))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn routers_never_follow_each_other_whatever_the_order() {
    let broker = broker().await;
    push(&broker, "first", "1", &router("middle")).await;
    push(&broker, "second", "1", &router("end")).await;
    push(&broker, "own", "1", &router("__consumer_offsets")).await;
    change(&broker, create("in", &[(PRODUCE, "first")]))
        .await
        .unwrap();
    let why = change(&broker, set("middle", &[(PRODUCE, Some("second"))]))
        .await
        .unwrap_err();
    assert!(why.contains("is a target of router `first`"), "{why}");

    change(&broker, set("in", &[(PRODUCE, None)]))
        .await
        .unwrap();
    change(&broker, set("middle", &[(PRODUCE, Some("second"))]))
        .await
        .unwrap();
    let why = change(&broker, set("in", &[(PRODUCE, Some("first"))]))
        .await
        .unwrap_err();
    assert!(why.contains("has a router"), "{why}");

    let why = change(&broker, create("x", &[(PRODUCE, "own")]))
        .await
        .unwrap_err();
    assert!(why.contains("broker's own"), "{why}");
    let why = change(&broker, create("end2", &[(CONSUME, "second")])).await;
    // The image refuses it by itself; either sentence will do, but not its acceptance.
    assert!(why.unwrap_err().contains("router"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_latest_moves_only_to_what_every_binding_takes() {
    let broker = broker().await;
    push(&broker, "f", "1", &filter()).await;
    change(&broker, create("t", &[(PRODUCE, "f")]))
        .await
        .unwrap();
    let push = async |wasm: Vec<u8>| {
        broker
            .plugins
            .upload(&broker, "f", "2", Bytes::from(wasm))
            .await
    };
    let refused = push(refuses_configuration()).await.unwrap_err();
    assert!(matches!(refused, UploadError::Conflict(_)), "{refused}");
    assert_eq!(broker.image().plugins["f"].latest, "1");
    // As a router it would route from `t` to `t`.
    assert!(push(router("t")).await.is_err());
    assert!(produce_ready(&broker, "t"));
    push(router("out")).await.unwrap();
    let ChainSlot::Ready(chain) = chains(&broker, "t").produce else {
        panic!("not ready")
    };
    assert!(chain.has_router());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bound_plugin_stays_and_a_removed_one_leaves_nothing() {
    let broker = broker().await;
    push(&broker, "f", "1", &filter()).await;
    change(&broker, create("t", &[(PRODUCE, "f")]))
        .await
        .unwrap();
    let bound = broker.plugins.remove(&broker, "f", None).await.unwrap_err();
    assert!(
        matches!(&bound, RemoveError::Bound(why) if why.contains("`t`")),
        "{bound}"
    );
    change(&broker, set("t", &[(PRODUCE, None)])).await.unwrap();
    let unknown = broker
        .plugins
        .remove(&broker, "f", Some("9"))
        .await
        .unwrap_err();
    assert!(matches!(unknown, RemoveError::Unknown(_)), "{unknown}");
    broker
        .plugins
        .remove(&broker, "f", Some("1"))
        .await
        .unwrap();
    assert!(broker.image().plugins.is_empty());
    assert!(store::complete(&broker).unwrap().is_empty());
    push(&broker, "f", "1", &filter()).await;
    assert_eq!(store::complete(&broker).unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_defaults_of_the_file_bind_every_topic() {
    let disks = Disks::default();
    let before = start(config(), &disks).await;
    push(&before, "f", "1", &filter()).await;
    change(&before, create("t", &[])).await.unwrap();
    before.log.close();
    drop(before);
    let mut with_default = config();
    with_default
        .topic_defaults
        .insert(PRODUCE.to_owned(), "f".to_owned());
    let broker = start(with_default, &disks).await;
    assert!(produce_ready(&broker, "t"));
    let bound = broker.plugins.remove(&broker, "f", None).await.unwrap_err();
    assert!(matches!(bound, RemoveError::Bound(_)), "{bound}");
    let unset = Command::SetBrokerConfigs {
        set: [(PRODUCE.to_owned(), Some("nope".to_owned()))].into(),
    };
    assert!(change(&broker, unset).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn declarations_are_applied_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("r.wasm");
    std::fs::write(&path, router("out")).unwrap();
    let configs = [(PRODUCE.to_owned(), "r".to_owned())];
    let mut config = config();
    config.plugins = vec![PluginFile {
        name: "r".into(),
        version: "1".into(),
        path: path.clone(),
        signature: None,
    }];
    let topic = |partitions, configs| TopicDeclaration {
        partitions: Some(partitions),
        replication_factor: None,
        configs,
    };
    config.topics.insert("in".into(), topic(2, configs.into()));
    config
        .topics
        .insert("out".into(), topic(3, Default::default()));
    let disks = Disks::default();
    let broker = start(config.clone(), &disks).await;
    broker.plugins.apply_declarations(&broker).await.unwrap();
    let image = broker.image();
    assert_eq!(image.topic("in").unwrap().partitions.len(), 2);
    assert_eq!(image.topic("out").unwrap().partitions.len(), 3);
    assert!(produce_ready(&broker, "in"));
    broker.plugins.apply_declarations(&broker).await.unwrap();
    assert!(
        Arc::ptr_eq(&image, &broker.image()),
        "nothing changes the second time"
    );

    std::fs::write(&path, filter()).unwrap();
    let why = broker
        .plugins
        .apply_declarations(&broker)
        .await
        .unwrap_err();
    assert!(why.contains("`r`") && why.contains("immutable"), "{why}");
}

/// Bytes that every parser of Wasm skips.
fn custom_section(len: usize) -> Vec<u8> {
    let mut body = vec![3, b'p', b'a', b'd'];
    body.resize(4 + len, 7);
    let mut section = vec![0];
    let mut size = body.len();
    while size > 127 {
        section.push(u8::try_from(size & 127).unwrap() | 128);
        size >>= 7;
    }
    section.push(u8::try_from(size).unwrap());
    section.extend(body);
    section
}
