//! rdkafka and rskafka behind lines of JSON; what they say is in driven.py.
//!
//!     rust-driver rdkafka|rskafka HOST:PORT

mod librdkafka;
mod lines;
mod rskafka_client;

use std::sync::Arc;

use futures::future::BoxFuture;
use serde_json::Value;

use lines::{Asked, Failure, say};

/// A client library: carries out a verb.
trait Client: Send + Sync + 'static {
    fn run(self: Arc<Self>, asked: Asked) -> BoxFuture<'static, Result<Value, Failure>>;
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let library = arguments.next().ok_or("which client?")?;
    let bootstrap = arguments.next().ok_or("where is the broker?")?;
    match library.as_str() {
        "rdkafka" => serve(Arc::new(librdkafka::Rdkafka::new(&bootstrap)?)).await,
        "rskafka" => serve(Arc::new(rskafka_client::Rskafka::new(&bootstrap).await?)).await,
        other => Err(format!("there is no client {other}").into()),
    }
}

async fn serve<C: Client>(client: Arc<C>) -> Result<(), Failure> {
    let mut lines = lines::read();
    while let Some(line) = lines.recv().await {
        let asked: Asked = serde_json::from_str(&line)?;
        let (id, leaving) = (asked.id, asked.verb == "exit");
        let client = client.clone();
        tokio::spawn(async move {
            match client.run(asked).await {
                Ok(value) => say(&serde_json::json!({"id": id, "value": value})),
                Err(error) => say(&serde_json::json!({"id": id, "error": error.to_string()})),
            }
            if leaving {
                std::process::exit(0);
            }
        });
    }
    Ok(())
}
