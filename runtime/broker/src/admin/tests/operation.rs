//! What an operator does to plugins that are in use.

use tidegate_record::{Batch, BatchBuilder, Codec, RecordParts};

use super::*;
use crate::plugins::testbed::{push, refuses_configuration};

async fn bound(configs: &[(&str, &str)]) -> Admin {
    let admin = Admin::start(config()).await;
    push(&admin.broker, "f", "1", &filter()).await;
    change(&admin.broker, create("t", configs)).await.unwrap();
    admin
}

fn batch(values: &[Option<&[u8]>]) -> Batch {
    let mut builder = BatchBuilder::new(Codec::None);
    for value in values {
        builder
            .push(RecordParts {
                offset_delta: None,
                timestamp: 5,
                key: None,
                value: *value,
                headers: &[(b"h".as_slice(), Some(b"\xff".as_slice()))],
            })
            .unwrap();
    }
    builder.build().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_latest_goes_back_and_forth() {
    let admin = bound(&[("tidegate.produce.chain", "f")]).await;
    let post = async |path: &str, body: &[u8]| admin.ask(&format!("POST {path}"), "", body).await;
    let nothing = post("/v1/plugins/f/rollback", b"").await;
    assert_eq!(nothing.status, 409);
    assert!(nothing.error().contains("before 1"), "{}", nothing.text);
    push(&admin.broker, "f", "2", &testbed::router("out")).await;
    let shown = admin.get("/v1/plugins/f").await.json();
    assert_eq!(
        (&shown["latest"], &shown["previous"]),
        (&"2".into(), &"1".into())
    );
    assert_eq!(shown["bindings"][0]["version"], "2");

    let back = post("/v1/plugins/f/rollback", b"{}").await;
    assert_eq!(back.status, 200);
    assert_eq!(
        back.json(),
        serde_json::json!({ "name": "f", "latest": "1", "previous": "2" })
    );
    let bindings = admin.get("/v1/topics/t/plugins").await.json();
    assert_eq!(bindings["bindings"][0]["version"], "1");
    assert_eq!(bindings["bindings"][0]["ready"], true);
    let forth = post("/v1/plugins/f/rollback", br#"{"version": null}"#).await;
    assert_eq!(forth.json()["latest"], "2");
    let named = post("/v1/plugins/f/rollback", br#"{"version": "1"}"#).await;
    assert_eq!(named.json()["latest"], "1");

    for (path, body, status) in [
        ("/v1/plugins/f/rollback", r#"{"version": "9"}"#, 404),
        ("/v1/plugins/g/rollback", "{}", 404),
        ("/v1/plugins/f/rollback", r#"{"version": 1}"#, 400),
        ("/v1/plugins/f/rollback", r#"{"to": "1"}"#, 400),
        ("/v1/plugins/f/rollback", "[", 400),
    ] {
        let refused = post(path, body.as_bytes()).await;
        assert_eq!(refused.status, status, "{body}: {}", refused.text);
        assert!(!refused.error().is_empty());
    }
    let large = post("/v1/plugins/f/rollback", &vec![b' '; 1 << 20]).await;
    assert_eq!(large.status, 413);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_that_a_binding_would_not_take_leaves_everything() {
    let admin = Admin::start(config()).await;
    push(&admin.broker, "f", "1", &refuses_configuration()).await;
    push(&admin.broker, "f", "2", &filter()).await;
    change(
        &admin.broker,
        create("t", &[("tidegate.produce.chain", "f")]),
    )
    .await
    .unwrap();
    let refused = admin.ask("POST /v1/plugins/f/rollback", "", b"{}").await;
    assert_eq!(refused.status, 409);
    assert!(refused.error().contains("A sentence."), "{}", refused.text);
    assert_eq!(admin.broker.image().plugins["f"].latest, "2");
    let shown = admin.get("/v1/topics/t/plugins").await.json();
    assert_eq!(shown["bindings"][0]["ready"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_shows_its_chains_policies_and_limits() {
    let admin = bound(&[
        ("tidegate.produce.chain", "x=f@1"),
        ("tidegate.shadow.chain", "f"),
        ("tidegate.on.error", "pass"),
        ("tidegate.on.error.x", "dead-letter"),
        ("tidegate.dead.letter.topic", "dlq"),
        ("tidegate.limit.x.deadline.ms", "77"),
        ("tidegate.plugin.x.mode", "hard"),
    ])
    .await;
    let shown = admin.get("/v1/topics/t/plugins").await.json();
    assert_eq!(shown["produce_chain"], "x=f@1");
    assert_eq!(
        (&shown["consume_chain"], &shown["shadow_chain"]),
        (&"".into(), &"f".into())
    );
    assert_eq!(shown["dead_letter_topic"], "dlq");
    let [real, shadow] = [&shown["bindings"][0], &shown["bindings"][1]];
    assert_eq!(
        (&real["side"], &real["alias"]),
        (&"produce".into(), &"x".into())
    );
    assert_eq!(
        (&real["plugin"], &real["reference"]),
        (&"f".into(), &"f@1".into())
    );
    assert_eq!(real["on_error"], "dead-letter");
    assert_eq!(
        (&shadow["side"], &shadow["on_error"]),
        (&"shadow".into(), &"pass".into())
    );
    assert_eq!(real["limits"]["deadline.ms"], 77);
    assert_eq!(shadow["limits"]["deadline.ms"], 1000);
    assert_eq!(
        (&real["config"]["mode"], &shadow["config"]["mode"]),
        (&"hard".into(), &"soft".into())
    );
    assert_eq!(shown["shadow"]["records"], 0);
    assert_eq!(admin.get("/v1/topics/nope/plugins").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn resume_names_what_it_let_run() {
    let admin = bound(&[("tidegate.produce.chain", "x=f")]).await;
    let resume = async |body: &str| {
        let line = "POST /v1/topics/t/plugins/resume";
        admin.ask(line, "", body.as_bytes()).await
    };
    let none = resume("").await;
    assert_eq!(
        (none.status, &none.json()["resumed"]),
        (200, &serde_json::json!([]))
    );
    let named = resume(r#"{"alias": "x"}"#).await;
    assert_eq!(named.json()["resumed"], serde_json::json!(["x"]));
    let unknown = resume(r#"{"alias": "y"}"#).await;
    assert_eq!(unknown.status, 404);
    assert!(unknown.error().contains("there is x"), "{}", unknown.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_read_past_the_consume_chain_in_bounded_answers() {
    let admin = bound(&[("tidegate.consume.chain", "f")]).await;
    let partition = admin.broker.topics.get("t").unwrap().partition(0).unwrap();
    let values: [Option<&[u8]>; 3] = [Some(b"a"), None, Some(b"\xff\0")];
    for _ in 0..2 {
        partition
            .append_internal(batch(&values), None)
            .await
            .unwrap()
            .unwrap();
    }
    let all = admin.get("/v1/topics/t/records").await.json();
    let offsets: Vec<_> = all["records"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| &r["offset"])
        .collect();
    assert_eq!(offsets, [0, 1, 2, 3, 4, 5]);
    assert_eq!(all["next"], 6);
    assert_eq!(
        all["records"][2],
        serde_json::json!({
            "offset": 2, "timestamp": 5, "key": null, "value": "/wA=", "headers": [["aA==", "/w=="]],
        })
    );
    assert_eq!(all["records"][1]["value"], Value::Null);
    let some = admin
        .get("/v1/topics/t/records?partition=0&from=1&to=4")
        .await
        .json();
    assert_eq!(
        (&some["records"][0]["offset"], &some["next"]),
        (&1.into(), &4.into())
    );
    // The first record always comes, whatever its size.
    let one = admin
        .get("/v1/topics/t/records?from=2&max_bytes=1")
        .await
        .json();
    assert_eq!(one["records"].as_array().map(Vec::len), Some(1));
    assert_eq!(one["next"], 3);
    for (path, status) in [
        ("/v1/topics/t/records?partition=1", 404),
        ("/v1/topics/nope/records", 404),
        ("/v1/topics/t/records?from=99", 404),
        ("/v1/topics/t/records?from=x", 400),
        ("/v1/topics/t/records?form=1", 400),
    ] {
        let refused = admin.get(path).await;
        assert_eq!(refused.status, status, "{path}: {}", refused.text);
        assert!(!refused.error().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offset_is_explained() {
    let admin = bound(&[]).await;
    let partition = admin.broker.topics.get("t").unwrap().partition(0).unwrap();
    partition
        .append_internal(batch(&[Some(b"a")]), None)
        .await
        .unwrap()
        .unwrap();
    let told = admin
        .get("/v1/topics/t/explain?partition=0&offset=0")
        .await
        .json();
    assert_eq!(
        (&told["stored"], &told["fate"]),
        (&true.into(), &"kept".into())
    );
    assert_eq!(
        (&told["topic"], &told["partition"], &told["offset"]),
        (&"t".into(), &0.into(), &0.into())
    );
    assert_eq!(
        (&told["steps"], &told["consume"]),
        (&serde_json::json!([]), &serde_json::json!([]))
    );
    let ahead = admin.get("/v1/topics/t/explain?offset=7").await.json();
    assert_eq!(
        (&ahead["stored"], &ahead["fate"]),
        (&false.into(), &"ahead".into())
    );
    assert!(ahead["note"].as_str().unwrap().contains("ends at 1"));
    for (query, status) in [
        ("", 400),
        ("?offset=-1", 400),
        ("?offset=0&partition=9", 404),
    ] {
        let refused = admin.get(&format!("/v1/topics/t/explain{query}")).await;
        assert_eq!(refused.status, status, "{query}: {}", refused.text);
    }
}
