//! The admin port of a running broker.
// Each test binary compiles this file for itself.
#![allow(unreachable_pub)]

use serde_json::Value;
use tidegate_broker::Running;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The JSON of an answer that is a success.
pub async fn admin(running: &Running, line: &str, body: &[u8]) -> Value {
    let text = exchange(running, line, body).await;
    let (head, json) = text.split_once("\r\n\r\n").expect("a response");
    assert!(head.starts_with("HTTP/1.1 2"), "{line}: {text}");
    serde_json::from_str(json).expect("JSON")
}

/// The whole answer, head and body.
pub async fn exchange(running: &Running, line: &str, body: &[u8]) -> String {
    let mut socket = TcpStream::connect(running.admin_address()).await.unwrap();
    let length = body.len();
    let head = format!(
        "{line} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    socket.write_all(body).await.unwrap();
    let mut text = String::new();
    socket.read_to_string(&mut text).await.unwrap();
    text
}
