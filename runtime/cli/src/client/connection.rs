//! One connection: a request, its response, in turn.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use bytes::Bytes;
use tidegate_protocol::messages::{ApiKey, ApiVersionsRequest};
use tidegate_protocol::{
    PREFIX_LEN, Request, check_len, decode_response, encode_request, versions,
};

use super::bytes;
use super::error::{ClientError, check_code, protocol_error};

/// A fetch asks for far less; what claims more than this is no Kafka broker.
const MAX_RESPONSE_BYTES: usize = 256 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longer than any wait we ask the broker for.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
const CLIENT_ID: &str = "tidegate-cli";

pub(crate) struct Connection {
    address: String,
    stream: TcpStream,
    /// What the broker serves: key to lowest and highest version.
    served: BTreeMap<i16, (i16, i16)>,
    correlation_id: i32,
}

impl Connection {
    pub(crate) fn open(address: &str) -> Result<Connection, ClientError> {
        let stream = connect(address)?;
        let broken = |cause| ClientError::Broken {
            address: address.to_owned(),
            cause,
        };
        stream.set_nodelay(true).map_err(broken)?;
        stream
            .set_read_timeout(Some(ANSWER_TIMEOUT))
            .map_err(broken)?;
        stream
            .set_write_timeout(Some(ANSWER_TIMEOUT))
            .map_err(broken)?;
        let mut connection = Connection {
            address: address.to_owned(),
            stream,
            served: BTreeMap::new(),
            correlation_id: 0,
        };
        connection.learn_versions()?;
        Ok(connection)
    }

    /// Sends at `wanted` or the highest version both sides have below it.
    pub(crate) fn call<R: Request>(
        &mut self,
        wanted: i16,
        request: &R,
    ) -> Result<R::Response, ClientError> {
        let version = self.version::<R>(wanted)?;
        self.call_at(version, request)
    }

    /// Sends without waiting, for acks=0: the broker does not answer it.
    pub(crate) fn tell<R: Request>(&mut self, wanted: i16, request: &R) -> Result<(), ClientError> {
        let version = self.version::<R>(wanted)?;
        self.send(version, request).map(|_| ())
    }

    fn learn_versions(&mut self) -> Result<(), ClientError> {
        let request = ApiVersionsRequest::default()
            .with_client_software_name(bytes(CLIENT_ID))
            .with_client_software_version(bytes(env!("CARGO_PKG_VERSION")));
        let response = self.call_at(3, &request)?;
        check_code(response.error_code, format!("versions of {}", self.address))?;
        let rows = response.api_keys.iter();
        self.served = rows
            .map(|r| (r.api_key, (r.min_version, r.max_version)))
            .collect();
        Ok(())
    }

    fn version<R: Request>(&self, wanted: i16) -> Result<i16, ClientError> {
        let (min, max) = self.served.get(&R::KEY).copied().unwrap_or((0, -1));
        let ours = versions::supported(R::KEY).map_or(0, |(min, _)| min);
        let version = wanted.min(max);
        if version < min.max(ours) {
            let api = ApiKey::try_from(R::KEY)
                .map(|key| format!("{key:?}"))
                .unwrap_or_default();
            let address = self.address.clone();
            return Err(ClientError::Version {
                address,
                api,
                min,
                max,
                wanted,
            });
        }
        Ok(version)
    }

    fn call_at<R: Request>(
        &mut self,
        version: i16,
        request: &R,
    ) -> Result<R::Response, ClientError> {
        let sent = self.send(version, request)?;
        let frame = self.receive()?;
        let (id, response) = decode_response::<R>(version, frame)
            .map_err(|error| protocol_error(&self.address, error))?;
        match id == sent {
            true => Ok(response),
            false => Err(protocol_error(
                &self.address,
                format!("answer {id} to request {sent}"),
            )),
        }
    }

    fn send<R: Request>(&mut self, version: i16, request: &R) -> Result<i32, ClientError> {
        self.correlation_id = self.correlation_id.wrapping_add(1);
        let frame = encode_request(version, self.correlation_id, CLIENT_ID, request)
            .map_err(|error| protocol_error(&self.address, error))?;
        self.stream
            .write_all(&frame)
            .map_err(|cause| self.broken(cause))?;
        Ok(self.correlation_id)
    }

    fn receive(&mut self) -> Result<Bytes, ClientError> {
        let mut prefix = [0; PREFIX_LEN];
        self.stream
            .read_exact(&mut prefix)
            .map_err(|cause| self.broken(cause))?;
        let len = check_len(prefix, MAX_RESPONSE_BYTES)
            .map_err(|error| protocol_error(&self.address, error))?;
        // Grows with what arrives, not with what was claimed.
        let mut frame = Vec::new();
        let read = (&mut self.stream).take(len as u64).read_to_end(&mut frame);
        read.map_err(|cause| self.broken(cause))?;
        if frame.len() < len {
            return Err(self.broken(std::io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(frame.into())
    }

    fn broken(&self, cause: std::io::Error) -> ClientError {
        ClientError::Broken {
            address: self.address.clone(),
            cause,
        }
    }
}

/// Tries every address the name has (`localhost` is often two, one of them refused).
fn connect(address: &str) -> Result<TcpStream, ClientError> {
    let no_address = || ClientError::Address(address.to_owned());
    let candidates = match address.to_socket_addrs() {
        Ok(candidates) => candidates,
        Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => return Err(no_address()),
        Err(cause) => {
            return Err(ClientError::Unreachable {
                address: address.into(),
                cause,
            });
        }
    };
    let mut last = no_address();
    for candidate in candidates {
        match TcpStream::connect_timeout(&candidate, CONNECT_TIMEOUT) {
            Ok(stream) => return Ok(stream),
            Err(cause) => {
                last = ClientError::Unreachable {
                    address: address.into(),
                    cause,
                }
            }
        }
    }
    Err(last)
}
