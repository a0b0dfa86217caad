//! The contract of the admin port, over a socket.

mod operation;

use std::sync::Arc;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::router;
use crate::broker::Broker;
use crate::config::ServerConfig;
use crate::plugins::testbed::{self, Disks, change, config, create, filter, set};

struct Admin {
    port: u16,
    broker: Arc<Broker>,
}

struct Answer {
    status: u16,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {}", self.text))
    }

    fn error(&self) -> String {
        self.json()["error"]
            .as_str()
            .expect("an error sentence")
            .to_owned()
    }
}

impl Admin {
    async fn start(config: ServerConfig) -> Admin {
        let broker = testbed::start(config, &Disks::default()).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(axum::serve(listener, router(broker.clone())).into_future());
        Admin { port, broker }
    }

    async fn ask(&self, line: &str, headers: &str, body: &[u8]) -> Answer {
        let bytes = self.exchange(line, headers, body).await;
        let text = String::from_utf8(bytes).unwrap();
        let (head, text) = text.split_once("\r\n\r\n").expect("a response");
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer {
            status,
            text: text.to_owned(),
        }
    }

    /// The body of a successful answer.
    async fn bytes(&self, path: &str) -> Vec<u8> {
        let all = self.exchange(&format!("GET {path}"), "", b"").await;
        assert!(all.starts_with(b"HTTP/1.1 200"));
        let end = all.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
        all[end + 4..].to_vec()
    }

    async fn exchange(&self, line: &str, headers: &str, body: &[u8]) -> Vec<u8> {
        let mut socket = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let length = body.len();
        let head = format!(
            "{line} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\
             Content-Length: {length}\r\n{headers}\r\n"
        );
        socket.write_all(head.as_bytes()).await.unwrap();
        // The answer to a body that is too large comes before its end.
        let _ = socket.write_all(body).await;
        let mut bytes = Vec::new();
        let _ = socket.read_to_end(&mut bytes).await;
        bytes
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path}"), "", b"").await
    }

    async fn status(&self, line: &str, body: &[u8]) -> u16 {
        self.ask(line, "", body).await.status
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plugins_are_pushed_listed_shown_and_removed() {
    let admin = Admin::start(config()).await;
    let wasm = filter();
    let pushed = admin.ask("PUT /v1/plugins/f/1.0.0", "", &wasm).await;
    assert_eq!(pushed.status, 201);
    assert_eq!(pushed.json()["size"], wasm.len());
    assert_eq!(admin.status("PUT /v1/plugins/f/1.0.0", &wasm).await, 201);
    let wrong = admin.get("/v1/plugins/f/9").await;
    assert_eq!(wrong.status, 404);
    assert_eq!(
        admin.bytes("/v1/plugins/f/1.0.0").await,
        wasm,
        "the component comes back as it was pushed"
    );
    let other = admin
        .ask("PUT /v1/plugins/f/1.0.0", "", &testbed::router("out"))
        .await;
    assert_eq!(other.status, 409);
    assert!(other.error().contains("immutable"));
    let garbage = admin.ask("PUT /v1/plugins/f/2", "", b"\0asm").await;
    assert_eq!(garbage.status, 400);
    assert!(!garbage.error().is_empty());

    change(
        &admin.broker,
        create("t", &[("tidegate.produce.chain", "x=f")]),
    )
    .await
    .unwrap();
    let list = admin.get("/v1/plugins").await.json();
    let row = &list["plugins"][0];
    assert_eq!(
        (row["name"].as_str(), row["world"].as_str()),
        (Some("f"), Some("filter"))
    );
    assert_eq!(
        (&row["latest"], &row["version"]),
        (&Value::Bool(true), &Value::from("1.0.0"))
    );
    assert_eq!(row["sha256"].as_str().map(str::len), Some(64));

    let shown = admin.get("/v1/plugins/f").await.json();
    assert_eq!(shown["description"]["world"], "filter");
    assert_eq!(shown["description"]["config"][0]["name"], "mode");
    assert_eq!(shown["description"]["config"][0]["default"], "soft");
    let binding = &shown["bindings"][0];
    assert_eq!(
        (binding["topic"].as_str(), binding["side"].as_str()),
        (Some("t"), Some("produce"))
    );
    assert_eq!(
        (binding["alias"].as_str(), &binding["ready"]),
        (Some("x"), &Value::Bool(true))
    );
    assert_eq!(binding["stats"]["records_in"], 0);

    assert_eq!(admin.status("DELETE /v1/plugins/f", b"").await, 409);
    change(&admin.broker, set("t", &[("tidegate.produce.chain", None)]))
        .await
        .unwrap();
    assert_eq!(admin.status("DELETE /v1/plugins/f/9", b"").await, 404);
    assert_eq!(admin.status("DELETE /v1/plugins/f/1.0.0", b"").await, 204);
    assert_eq!(admin.get("/v1/plugins/f").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn signatures_come_in_headers_and_are_shown() {
    use sha2::Digest as _;
    let key = tidegate_plugin::PrivateKey::from_seed(&[1; 32]);
    let mut config = config();
    config.trusted_keys = vec![key.public()];
    let admin = Admin::start(config).await;
    let wasm = filter();
    let unsigned = admin.ask("PUT /v1/plugins/f/1", "", &wasm).await;
    assert_eq!(unsigned.status, 403);
    assert!(unsigned.error().contains("--sign-key"));
    let digest = tidegate_plugin::Digest(sha2::Sha256::digest(&wasm).into());
    let signed = key.sign("f", "1", digest);
    let signature = format!("x-tidegate-signature: {}\r\n", signed.signature);
    let elsewhere = admin.ask("PUT /v1/plugins/f/2", &signature, &wasm).await;
    assert_eq!(elsewhere.status, 403);
    let garbled = "x-tidegate-signature: abc\r\n";
    let garbled = admin.ask("PUT /v1/plugins/f/1", garbled, &wasm).await;
    assert_eq!(garbled.status, 400);
    assert!(garbled.error().contains("x-tidegate-signature"));
    let both = format!("{signature}x-tidegate-key: {}\r\n", signed.key);
    for headers in [signature.as_str(), &both] {
        let pushed = admin.ask("PUT /v1/plugins/f/1", headers, &wasm).await;
        assert_eq!(pushed.status, 201, "{}", pushed.text);
        assert_eq!(pushed.json()["signed_by"], key.public().to_string());
    }
    let list = admin.get("/v1/plugins").await.json();
    assert_eq!(list["plugins"][0]["signed_by"], key.public().to_string());
    let shown = admin.get("/v1/plugins/f").await.json();
    assert_eq!(shown["versions"][0]["signed_by"], key.public().to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_come_gives_its_place_back() {
    let mut config = config();
    config.plugin_engine.upload_timeout_ms = 1000;
    let admin = Admin::start(config).await;
    let mut slow = Vec::new();
    for _ in 0..4 {
        let mut socket = TcpStream::connect(("127.0.0.1", admin.port)).await.unwrap();
        let head = "PUT /v1/plugins/f/1 HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\
                    Content-Length: 1000\r\n\r\nstart";
        socket.write_all(head.as_bytes()).await.unwrap();
        slow.push(socket);
    }
    // Two were received for their whole time, two waited as long for a place.
    let mut statuses = Vec::new();
    for mut socket in slow {
        let mut bytes = Vec::new();
        socket.read_to_end(&mut bytes).await.unwrap();
        let text = String::from_utf8(bytes).unwrap();
        statuses.push(text.split(' ').nth(1).unwrap().to_owned());
    }
    assert!(
        statuses
            .iter()
            .all(|status| status == "408" || status == "503"),
        "{statuses:?}"
    );
    assert!(
        statuses.iter().any(|status| status == "408"),
        "{statuses:?}"
    );
    assert_eq!(admin.status("PUT /v1/plugins/f/1", &filter()).await, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_bounded_before_it_is_read() {
    let mut config = config();
    config.plugin_engine.max_upload_bytes = 2048;
    let admin = Admin::start(config).await;
    let large = admin
        .ask("PUT /v1/plugins/f/1", "", &vec![0; 1 << 20])
        .await;
    assert_eq!(large.status, 413);
    assert!(large.error().contains("2048"));
    let chunked = "Transfer-Encoding: chunked\r\n";
    let mut socket = TcpStream::connect(("127.0.0.1", admin.port)).await.unwrap();
    let head =
        format!("PUT /v1/plugins/f/1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{chunked}\r\n");
    socket.write_all(head.as_bytes()).await.unwrap();
    let chunk = [b"1000\r\n".as_slice(), &[0; 4096], b"\r\n0\r\n\r\n"].concat();
    let _ = socket.write_all(&chunk).await;
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer).await;
    assert!(
        answer.starts_with(b"HTTP/1.1 413"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_guards_all_but_health() {
    let config = ServerConfig {
        admin_token: Some("secret".to_owned()),
        ..config()
    };
    let admin = Admin::start(config).await;
    for path in [
        "/metrics",
        "/v1/plugins",
        "/v1/status",
        "/v1/plugins/f",
        "/nothing",
    ] {
        let refused = admin.get(path).await;
        assert_eq!(refused.status, 401, "{path}");
        assert!(refused.error().contains("admin.token"));
    }
    assert_eq!(admin.status("PUT /v1/plugins/f/1", &filter()).await, 401);
    assert_eq!(admin.get("/healthz").await.status, 200);
    assert_eq!(admin.get("/readyz").await.status, 200);
    let bearer = "Authorization: Bearer secret\r\n";
    assert_eq!(admin.ask("GET /v1/plugins", bearer, b"").await.status, 200);
    assert!(admin.broker.image().plugins.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn status_metrics_and_errors() {
    let admin = Admin::start(config()).await;
    change(&admin.broker, create("t", &[])).await.unwrap();
    let status = admin.get("/v1/status").await.json();
    assert_eq!(status["cluster_id"], "test");
    assert_eq!(
        (status["topics"].as_u64(), status["partitions"].as_u64()),
        (Some(1), Some(1))
    );
    assert_eq!(status["store"]["online"], true);

    testbed::push(&admin.broker, "f", "1", &filter()).await;
    change(
        &admin.broker,
        set(
            "t",
            &[
                ("tidegate.produce.chain", Some("f")),
                ("tidegate.shadow.chain", Some("f")),
            ],
        ),
    )
    .await
    .unwrap();
    let text = admin.get("/metrics").await.text;
    for line in [
        "tidegate_store_online 1",
        "tidegate_plugin_compilations_total 1",
        r#"tidegate_topic_offsets{topic="t"} 0"#,
        r#"tidegate_plugin_dropped_total{topic="t",side="produce",alias="f",plugin="f",version="1"} 0"#,
        r#"tidegate_plugin_run_seconds_bucket{le="+Inf",topic="t",side="produce",alias="f",plugin="f",version="1"} 0"#,
        r#"tidegate_plugin_breaker_state{topic="t",side="produce",alias="f",plugin="f",version="1"} 0"#,
        r#"tidegate_plugin_shadow_records_total{topic="t",result="would_drop"} 0"#,
        "tidegate_plugin_log_lines_lost_total 0",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
    }
    assert_eq!(admin.get("/nothing").await.status, 404);
    assert!(admin.get("/nothing").await.error().contains("/v1/plugins"));
    let wrong = admin.ask("POST /v1/plugins", "", b"").await;
    assert_eq!(wrong.status, 405);
    assert!(!wrong.error().is_empty());
}
