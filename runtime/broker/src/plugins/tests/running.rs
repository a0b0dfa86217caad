//! What operators see of plugins while batches run through them.

use tidegate_record::{BatchBuilder, CheckedBatch, Codec, RecordParts};

use super::*;
use crate::partition::{Acks, ProduceFailure};
use crate::plugins::testbed::guests;
use crate::plugins::{BindingReport, ShadowReport};

const SHADOW: &str = "tidegate.shadow.chain";

/// Drops, rejects, traps or loops by the first byte of each value.
fn by_value() -> Vec<u8> {
    guests::Guest::filter(guests::BY_VALUE).build()
}

async fn produce(broker: &Broker, values: &[&str]) -> Result<(), ProduceFailure> {
    let mut builder = BatchBuilder::new(Codec::None);
    for value in values {
        let value = Some(value.as_bytes());
        builder
            .push(RecordParts {
                value,
                ..RecordParts::default()
            })
            .unwrap();
    }
    let bytes = builder.build().unwrap().into_bytes();
    let batch = CheckedBatch::check(bytes, usize::MAX).unwrap();
    let partition = broker.topics.get("t").unwrap().partition(0).unwrap();
    let outcome = partition.produce(batch, Acks::All).await.unwrap();
    outcome.map(drop)
}

fn shadow(broker: &Broker) -> ShadowReport {
    let report = broker.plugins.topic_report(&broker.image(), "t");
    report.unwrap().unwrap().shadow.expect("a shadow")
}

fn binding(broker: &Broker) -> BindingReport {
    let report = broker.plugins.topic_report(&broker.image(), "t");
    report.unwrap().unwrap().bindings.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_is_compared_and_changes_nothing() {
    let broker = broker().await;
    push(&broker, "f", "1", &by_value()).await;
    push(&broker, "keep", "1", &filter()).await;
    change(&broker, create("t", &[(SHADOW, "f")]))
        .await
        .unwrap();
    produce(&broker, &["a", "drop", "reject", "b"])
        .await
        .unwrap();
    let expected = ShadowReport {
        records: 4,
        agree: 2,
        would_drop: 2,
        ..ShadowReport::default()
    };
    eventually("a comparison with no chain at all", || {
        shadow(&broker) == expected
    })
    .await;
    let partition = broker.topics.get("t").unwrap().partition(0).unwrap();
    let mut stored = 0;
    partition.read_all(&mut |_, _| stored += 1).unwrap();
    assert_eq!(stored, 4);

    // Another shadow starts from nothing; a real chain that drops what it keeps.
    change(
        &broker,
        set("t", &[(PRODUCE, Some("f")), (SHADOW, Some("keep"))]),
    )
    .await
    .unwrap();
    assert_eq!(shadow(&broker), ShadowReport::default());
    produce(&broker, &["a", "drop"]).await.unwrap();
    let expected = ShadowReport {
        records: 2,
        agree: 1,
        would_keep: 1,
        ..ShadowReport::default()
    };
    eventually("a comparison with a chain", || shadow(&broker) == expected).await;
    change(&broker, set("t", &[(SHADOW, None)])).await.unwrap();
    let report = broker.plugins.topic_report(&broker.image(), "t");
    assert!(report.unwrap().unwrap().shadow.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_a_shadow() {
    let broker = broker().await;
    push(&broker, "f", "1", &by_value()).await;
    let bound = [(SHADOW, "f"), ("tidegate.limit.f.deadline.ms", "3000")];
    change(&broker, create("t", &bound)).await.unwrap();
    produce(&broker, &["loop"]).await.unwrap();
    assert_eq!(
        shadow(&broker).errors,
        0,
        "the reply came before the shadow's end"
    );
    // One place for all shadows on this small pool: what comes now is skipped, not queued.
    produce(&broker, &["a", "b"]).await.unwrap();
    eventually("the shadow's deadline", || shadow(&broker).errors == 1).await;
    let after = shadow(&broker);
    assert!(after.skipped + after.records >= 3, "{after:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_plugin_says_so_until_it_is_resumed() {
    let broker = broker().await;
    push(&broker, "f", "1", &by_value()).await;
    let bound = [(PRODUCE, "x=f"), ("tidegate.on.error.x", "pause")];
    change(&broker, create("t", &bound)).await.unwrap();
    let failed = produce(&broker, &["a", "trap"]).await.unwrap_err();
    assert_eq!(failed.code.code(), 19, "{}", failed.message);
    let paused = || binding(&broker).stats.and_then(|stats| stats.paused);
    assert!(
        paused().is_some_and(|why| why.contains("trap")),
        "{:?}",
        paused()
    );
    let failed = produce(&broker, &["a"]).await.unwrap_err();
    assert_eq!(failed.code.code(), 19);
    let resumed = broker.plugins.resume(&broker, "t", None).unwrap();
    assert_eq!(resumed, ["x"]);
    assert_eq!(paused(), None);
    produce(&broker, &["a"]).await.unwrap();

    // A new binding starts afresh too.
    produce(&broker, &["trap"]).await.unwrap_err();
    assert!(paused().is_some());
    change(
        &broker,
        set("t", &[("tidegate.limit.x.deadline.ms", Some("900"))]),
    )
    .await
    .unwrap();
    assert_eq!(paused(), None);
    produce(&broker, &["a"]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_is_hit_is_named() {
    let broker = broker().await;
    push(&broker, "f", "1", &by_value()).await;
    let bound = [(PRODUCE, "f"), ("tidegate.limit.f.deadline.ms", "50")];
    change(&broker, create("t", &bound)).await.unwrap();
    let failed = produce(&broker, &["loop"]).await.unwrap_err();
    assert!(
        failed.message.contains("limit `deadline.ms`: 50"),
        "{}",
        failed.message
    );
    let stats = binding(&broker).stats.unwrap();
    assert_eq!(
        stats.limit_hits.get("deadline"),
        Some(&1),
        "{:?}",
        stats.limit_hits
    );
}
