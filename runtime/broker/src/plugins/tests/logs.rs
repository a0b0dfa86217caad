//! What plugins log, read back from its topic.

use serde_json::Value;
use tidegate_plugin::{ChainInput, ChainOutcome};
use tidegate_record::{BatchBuilder, Codec, DecodeLimits, RecordParts, Records};
use tokio::sync::watch;

use super::super::testbed::guests;
use super::*;
use crate::plugins::{LOGS_TOPIC, PluginLogs};

/// A filter that logs a sentence in each call, and keeps everything.
fn chatty(lines: u32) -> Vec<u8> {
    let run = format!(
        "(local $i i32)
        (loop $next
            (call $log (i32.const 3) (i32.const 740) (i32.const 11))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $next (i32.lt_u (local.get $i) (i32.const {lines}))))
        {}",
        guests::KEEP_ALL
    );
    guests::Guest::filter(&run).build()
}

fn one_record() -> Records {
    let mut builder = BatchBuilder::new(Codec::None);
    builder.push(RecordParts::default()).unwrap();
    let limits = DecodeLimits {
        max_bytes: 1 << 20,
        max_records: 10,
    };
    builder.build().unwrap().records(limits).unwrap()
}

fn run_chain(broker: &Broker, topic: &str) {
    let ChainSlot::Ready(chain) = chains(broker, topic).produce else {
        panic!("not ready")
    };
    let records = one_record();
    let outcome = chain.run(&ChainInput::new(topic, 3, 0, &records));
    assert!(matches!(outcome, ChainOutcome::Done(_)), "{outcome:?}");
}

fn logged(broker: &Broker) -> Vec<(Vec<u8>, Value)> {
    let mut lines = Vec::new();
    let partition = broker.topics.get(LOGS_TOPIC).and_then(|t| t.partition(0));
    if let Some(partition) = partition {
        partition
            .read_all(&mut |_, record| {
                let value = serde_json::from_slice(record.value.unwrap()).unwrap();
                lines.push((record.key.unwrap().to_vec(), value));
            })
            .unwrap();
    }
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_says_where_it_comes_from() {
    let broker = broker().await;
    push(&broker, "chatty", "1.2", &chatty(2)).await;
    change(&broker, create("t", &[(PRODUCE, "x=chatty")]))
        .await
        .unwrap();
    let (_stop, stopping) = watch::channel(false);
    tokio::spawn(PluginLogs::run(broker.clone(), stopping));
    run_chain(&broker, "t");
    eventually("two lines in the topic", || logged(&broker).len() == 2).await;
    let (key, mut line) = logged(&broker).remove(0);
    assert_eq!(key, b"x");
    assert!(line["time_ms"].as_i64() > Some(1_600_000_000_000));
    line["time_ms"].take();
    let expected = serde_json::json!({
        "time_ms": null, "topic": "t", "partition": 3, "alias": "x", "plugin": "chatty",
        "version": "1.2", "level": "warn", "message": "A sentence.",
    });
    assert_eq!(line, expected);
    let image = broker.image();
    let topic = image.topic(LOGS_TOPIC).unwrap();
    assert!(topic.internal);
    assert_eq!(topic.configs["retention.ms"], "604800000");
    let bound = set(LOGS_TOPIC, &[(PRODUCE, Some("chatty"))]);
    let why = change(&broker, bound).await.unwrap_err();
    assert!(why.contains("internal"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_never_waits_for_its_log() {
    let broker = broker().await;
    push(&broker, "chatty", "1", &chatty(5000)).await;
    let unlimited = [
        (PRODUCE, "chatty"),
        ("tidegate.limit.chatty.log.bytes.per.sec", "2000000000"),
    ];
    change(&broker, create("t", &unlimited)).await.unwrap();
    // Nobody reads the queue yet: what it cannot hold is gone, and the run ends all the same.
    run_chain(&broker, "t");
    let lost = broker.plugins.logs().lost();
    assert!(lost > 0 && lost < 5000, "{lost}");
    let (stop, stopping) = watch::channel(false);
    let task = tokio::spawn(PluginLogs::run(broker.clone(), stopping));
    let kept = usize::try_from(5000 - lost).unwrap();
    eventually("the rest in the topic", || logged(&broker).len() == kept).await;
    stop.send_replace(true);
    task.await.unwrap();
}
