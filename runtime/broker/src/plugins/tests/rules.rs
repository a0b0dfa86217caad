//! What is refused when a topic is set up, and what is stopped when it was set up past every check.

use super::*;
use crate::plugins::testbed::guests;

const SHADOW: &str = "tidegate.shadow.chain";
const ON_ERROR: &str = "tidegate.on.error";
const ON_REJECT: &str = "tidegate.on.reject";
const DEAD_LETTERS: &str = "tidegate.dead.letter.topic";

async fn with_filter() -> Arc<Broker> {
    let broker = broker().await;
    push(&broker, "f", "1", &filter()).await;
    change(&broker, create("t", &[])).await.unwrap();
    broker
}

async fn refused(broker: &Arc<Broker>, command: Command) -> String {
    change(broker, command).await.unwrap_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_need_a_topic_which_is_created() {
    let broker = with_filter().await;
    for policy in [
        ON_ERROR,
        ON_REJECT,
        "tidegate.on.error.f",
        "tidegate.on.reject.f",
    ] {
        let bound = [(PRODUCE, Some("f")), (policy, Some("dead-letter"))];
        let why = refused(&broker, set("t", &bound)).await;
        assert!(why.contains(DEAD_LETTERS), "{why}");
    }
    let itself = [
        (PRODUCE, Some("f")),
        (ON_ERROR, Some("dead-letter")),
        (DEAD_LETTERS, Some("t")),
    ];
    assert!(refused(&broker, set("t", &itself)).await.contains("itself"));
    for own in ["__consumer_offsets", "__tidegate_plugin_logs"] {
        let mut internal = itself;
        internal[2].1 = Some(own);
        let why = refused(&broker, set("t", &internal)).await;
        assert!(why.contains("broker's own"), "{why}");
    }
    // In any order: a policy without a chain has no effect yet.
    change(&broker, set("t", &[(ON_ERROR, Some("dead-letter"))]))
        .await
        .unwrap();
    let why = refused(&broker, set("t", &[(PRODUCE, Some("f"))])).await;
    assert!(why.contains(DEAD_LETTERS), "{why}");
    change(
        &broker,
        set("t", &[(PRODUCE, Some("f")), (DEAD_LETTERS, Some("dlq"))]),
    )
    .await
    .unwrap();
    assert!(broker.topics.get("dlq").is_some());
    assert!(produce_ready(&broker, "t"));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_plugin_gets_between_a_dead_letter_and_its_topic() {
    let broker = with_filter().await;
    let bound = [
        (PRODUCE, "f"),
        (ON_REJECT, "dead-letter"),
        (DEAD_LETTERS, "dlq"),
    ];
    change(&broker, create("in", &bound)).await.unwrap();
    let why = refused(&broker, set("dlq", &[(PRODUCE, Some("f"))])).await;
    assert!(why.contains("dead letters of topic `in`"), "{why}");
    let why = refused(&broker, set("dlq", &[("cleanup.policy", Some("compact"))])).await;
    assert!(why.contains("compacted"), "{why}");
    // The other order.
    change(&broker, create("chained", &[(PRODUCE, "f")]))
        .await
        .unwrap();
    let why = refused(&broker, set("in", &[(DEAD_LETTERS, Some("chained"))])).await;
    assert!(why.contains("`chained`"), "{why}");
    // A consume chain there changes nothing of what is stored.
    change(&broker, set("dlq", &[(CONSUME, Some("f"))]))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_topic_is_not_created_with_a_chain_of_the_defaults() {
    let mut with_default = config();
    let defaults = &mut with_default.topic_defaults;
    defaults.insert(PRODUCE.to_owned(), "f".to_owned());
    defaults.insert(DEAD_LETTERS.to_owned(), "dlq".to_owned());
    let broker = start(with_default, &Disks::default()).await;
    push(&broker, "f", "1", &filter()).await;
    let command = || create("t", &[(ON_ERROR, "dead-letter")]);
    let why = refused(&broker, command()).await;
    assert!(why.contains("create it first"), "{why}");
    change(&broker, create("dlq", &[(PRODUCE, "")]))
        .await
        .unwrap();
    change(&broker, command()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consume_chain_moves_nothing_to_another_topic() {
    let broker = with_filter().await;
    let both = [
        (PRODUCE, Some("f")),
        (CONSUME, Some("late=f")),
        (ON_ERROR, Some("dead-letter")),
        (DEAD_LETTERS, Some("dlq")),
    ];
    let why = refused(&broker, set("t", &both)).await;
    assert!(why.contains("tidegate.on.error.late"), "{why}");
    let mut own = both.to_vec();
    own.push(("tidegate.on.error.late", Some("pass")));
    change(&broker, set("t", &own)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_within_the_engines_and_named_by_their_config() {
    let broker = with_filter().await;
    let too_much = [
        (PRODUCE, Some("f")),
        ("tidegate.limit.f.memory.bytes", Some("2000000000")),
    ];
    let why = refused(&broker, set("t", &too_much)).await;
    assert!(
        why.contains("tidegate.limit.f.memory.bytes")
            && why.contains("tidegate.plugins.max.memory.bytes"),
        "{why}"
    );
    let instances = [
        (PRODUCE, Some("f")),
        ("tidegate.limit.f.instances", Some("1000")),
    ];
    assert!(
        refused(&broker, set("t", &instances))
            .await
            .contains("tidegate.plugins.max.instances")
    );
    let fine = [
        (PRODUCE, Some("f")),
        ("tidegate.limit.f.deadline.ms", Some("7")),
    ];
    change(&broker, set("t", &fine)).await.unwrap();
    let ChainSlot::Ready(chain) = chains(&broker, "t").produce else {
        panic!("not ready")
    };
    assert_eq!(chain.bindings()[0].limits().deadline_ms, 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_policy_or_limit_alone_makes_a_new_binding() {
    let broker = with_filter().await;
    change(&broker, set("t", &[(PRODUCE, Some("f"))]))
        .await
        .unwrap();
    let binding = || {
        let ChainSlot::Ready(chain) = chains(&broker, "t").produce else {
            panic!("not ready")
        };
        chain.bindings()[0].clone()
    };
    let first = binding();
    let chain = || match chains(&broker, "t").produce {
        ChainSlot::Ready(chain) => chain,
        _ => panic!("not ready"),
    };
    let before = chain();
    change(&broker, set("t", &[("retention.ms", Some("5"))]))
        .await
        .unwrap();
    assert!(Arc::ptr_eq(&first, &binding()));
    assert!(
        Arc::ptr_eq(&before, &chain()),
        "what a partition knows of it stays"
    );
    let mut last = first;
    for (name, value) in [
        (ON_ERROR, "pass"),
        ("tidegate.on.error.f", "pause"),
        ("tidegate.on.reject.f", "drop"),
        ("tidegate.limit.f.call.records", "3"),
        ("tidegate.plugin.f.mode", "hard"),
    ] {
        change(&broker, set("t", &[(name, Some(value))]))
            .await
            .unwrap();
        let next = binding();
        assert!(!Arc::ptr_eq(&last, &next), "{name}");
        last = next;
    }
    assert_eq!(last.on_error(), tidegate_plugin::OnError::Pause);
    // The topic's policy is not this alias's any more.
    change(&broker, set("t", &[(ON_ERROR, Some("drop"))]))
        .await
        .unwrap();
    assert!(Arc::ptr_eq(&last, &binding()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_is_bound_beside_the_chain_and_holds_its_plugin() {
    let broker = with_filter().await;
    let why = refused(&broker, set("t", &[(SHADOW, Some("absent"))])).await;
    assert!(why.contains("tidegate plugin push"), "{why}");
    change(
        &broker,
        set("t", &[(PRODUCE, Some("f")), (SHADOW, Some("f"))]),
    )
    .await
    .unwrap();
    let now = chains(&broker, "t");
    let (ChainSlot::Ready(real), Some(shadow)) = (now.produce, now.shadow) else {
        panic!("not ready")
    };
    assert!(!Arc::ptr_eq(
        &real.bindings()[0],
        &shadow.chain().bindings()[0]
    ));
    change(&broker, set("t", &[(PRODUCE, None)])).await.unwrap();
    let bound = broker.plugins.remove(&broker, "f", None).await.unwrap_err();
    assert!(matches!(bound, RemoveError::Bound(_)), "{bound}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_a_rule_past_every_check_does_not_run() {
    let broker = broker().await;
    push(&broker, "first", "1", &router("middle")).await;
    push(&broker, "second", "1", &router("end")).await;
    change(&broker, create("in", &[(PRODUCE, "first")]))
        .await
        .unwrap();
    assert!(produce_ready(&broker, "in"));
    // As a broker of another version might have left it.
    propose(&broker, set("middle", &[(PRODUCE, Some("second"))])).await;
    let barred = || match chains(&broker, "in").produce {
        ChainSlot::Unavailable(why) => why.contains("round in circles"),
        _ => false,
    };
    eventually("the router's stop", barred).await;
    eventually("the other router", || produce_ready(&broker, "middle")).await;
    change(&broker, set("middle", &[(PRODUCE, None)]))
        .await
        .unwrap();
    eventually("the router's return", || produce_ready(&broker, "in")).await;
}

fn transform(writes: u8) -> Vec<u8> {
    let run = "(call $untouched)";
    guests::Guest {
        writes,
        ..guests::Guest::transform(run)
    }
    .build()
}

fn stateful() -> Vec<u8> {
    guests::Guest {
        state: 1,
        ..guests::Guest::filter(guests::DEDUP)
    }
    .build()
}

const KEYS: u8 = 1;
const VALUES: u8 = 2;

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_a_compacted_topic_are_replaced_only_where_that_is_said() {
    let broker = broker().await;
    push(&broker, "rekey", "1", &transform(KEYS | VALUES)).await;
    push(&broker, "redact", "1", &transform(VALUES)).await;
    let compacted = |chain| [(PRODUCE, chain), ("cleanup.policy", "compact")];
    change(&broker, create("fine", &compacted("redact")))
        .await
        .unwrap();
    let why = refused(&broker, create("t", &compacted("rekey"))).await;
    assert!(
        why.contains("tidegate.compaction.rewrite.keys=true"),
        "{why}"
    );
    // The other order.
    change(&broker, create("t", &[(PRODUCE, "rekey")]))
        .await
        .unwrap();
    let compact = [("cleanup.policy", Some("compact"))];
    let why = refused(&broker, set("t", &compact)).await;
    assert!(why.contains("rewrite.keys"), "{why}");
    let allowed = [
        compact[0],
        ("tidegate.compaction.rewrite.keys", Some("true")),
    ];
    change(&broker, set("t", &allowed)).await.unwrap();
    let taken_back = [("tidegate.compaction.rewrite.keys", None)];
    assert!(
        refused(&broker, set("t", &taken_back))
            .await
            .contains("rewrite.keys")
    );
    // Consumers see other keys than are stored; what is compacted stays what it was.
    change(&broker, set("fine", &[(CONSUME, Some("rekey"))]))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn state_stands_in_produce_chains_that_nobody_routes_to() {
    let broker = broker().await;
    push(&broker, "dedup", "1", &stateful()).await;
    push(&broker, "r", "1", &router("out")).await;
    change(&broker, create("t", &[])).await.unwrap();
    for chain in [CONSUME, SHADOW] {
        let why = refused(&broker, set("t", &[(chain, Some("dedup"))])).await;
        assert!(why.contains("keeps state") && why.contains(chain), "{why}");
    }
    change(&broker, set("t", &[(PRODUCE, Some("dedup"))]))
        .await
        .unwrap();
    change(&broker, create("in", &[(PRODUCE, "r")]))
        .await
        .unwrap();
    let why = refused(&broker, set("out", &[(PRODUCE, Some("dedup"))])).await;
    assert!(
        why.contains("is a target of router `r` of topic `in`"),
        "{why}"
    );
    change(&broker, set("in", &[(PRODUCE, None)]))
        .await
        .unwrap();
    change(&broker, set("out", &[(PRODUCE, Some("dedup"))]))
        .await
        .unwrap();
    let why = refused(&broker, set("in", &[(PRODUCE, Some("r"))])).await;
    assert!(why.contains("keeps state (`dedup`)"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_latest_meets_the_rules_of_every_topic() {
    let broker = broker().await;
    push(&broker, "p", "1", &transform(VALUES)).await;
    let compacted = [(PRODUCE, "p"), ("cleanup.policy", "compact")];
    change(&broker, create("t", &compacted)).await.unwrap();
    let pushed = broker
        .plugins
        .upload(&broker, "p", "2", Bytes::from(transform(KEYS)))
        .await;
    let why = pushed.unwrap_err().to_string();
    assert!(why.contains("rewrite.keys") && why.contains("`t`"), "{why}");
    assert_eq!(broker.image().plugins["p"].latest, "1");
}
