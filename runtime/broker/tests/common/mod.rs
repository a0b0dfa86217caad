//! A running broker and a bare client on its socket.
// Each test binary compiles this file for itself.
#![allow(unreachable_pub, dead_code)]

use bytes::{Bytes, BytesMut};
use tidegate_broker::{Running, ServeOptions, ServerConfig, start};
use tidegate_protocol::{Request, decode_response, encode_request, take_frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub struct Client {
    connection: Connection,
    #[allow(
        dead_code,
        reason = "dropping it stops the broker; some tests ask it for more"
    )]
    pub running: Running,
    _data: Option<tempfile::TempDir>,
}

/// One more client of a broker.
pub struct Connection {
    socket: TcpStream,
    client_id: String,
}

impl Client {
    pub async fn start() -> Client {
        Client::start_with("").await
    }

    /// With these lines as its `server.properties`.
    pub async fn start_with(properties: &str) -> Client {
        let data = tempfile::tempdir().unwrap();
        let file = data.path().join("server.properties");
        std::fs::write(&file, properties).unwrap();
        let config = ServerConfig::load(&ServeOptions {
            config: Some(file),
            data_dir: Some(data.path().join("data")),
            listen: Some("127.0.0.1:0".into()),
            admin: Some("127.0.0.1:0".into()),
            compiler: None,
        });
        let client = Client::of(config.unwrap()).await;
        Client {
            _data: Some(data),
            ..client
        }
    }

    /// On whatever the configuration says.
    pub async fn of(config: ServerConfig) -> Client {
        let running = start(config).await.unwrap();
        Client {
            connection: Connection::open(&running).await,
            running,
            _data: None,
        }
    }

    pub async fn call<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        self.connection.call(version, request).await
    }
}

impl Connection {
    pub async fn open(running: &Running) -> Connection {
        Connection::open_as(running, "test").await
    }

    /// With a client id of its own.
    pub async fn open_as(running: &Running, client_id: &str) -> Connection {
        let socket = TcpStream::connect(running.kafka_addresses()[0]).await;
        Connection {
            socket: socket.unwrap(),
            client_id: client_id.to_owned(),
        }
    }

    pub async fn call<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        let answer = self.try_call(version, request).await;
        answer.unwrap_or_else(|| panic!("API {} version {version} closed the connection", R::KEY))
    }

    /// `None` when the broker closes the connection instead.
    pub async fn try_call<R: Request>(&mut self, version: i16, request: &R) -> Option<R::Response> {
        let frame = encode_request(version, 7, &self.client_id, request).unwrap();
        self.socket.write_all(&frame).await.ok()?;
        let mut buffer = BytesMut::new();
        let frame: Bytes = loop {
            if let Some(frame) = take_frame(&mut buffer, 100 << 20).unwrap() {
                break frame;
            }
            match self.socket.read_buf(&mut buffer).await {
                Ok(read) if read > 0 => {}
                _ => return None,
            }
        };
        let (correlation, response) = decode_response::<R>(version, frame).unwrap();
        assert_eq!(correlation, 7);
        Some(response)
    }
}
