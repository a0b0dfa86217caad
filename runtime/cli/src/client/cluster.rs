//! The cluster as one thing to talk to: who leads what, and connections to each broker.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tidegate_protocol::Request;
use tidegate_protocol::messages::metadata_request::MetadataRequestTopic;
use tidegate_protocol::messages::{
    BrokerId, FindCoordinatorRequest, MetadataRequest, MetadataResponse,
};

use super::connection::Connection;
use super::error::{ClientError, check, check_code, protocol_error};
use super::{bytes, topic_name};

/// How long a command keeps trying what may pass: elections, loading coordinators.
pub(crate) const RETRY_FOR: Duration = Duration::from_secs(30);
const RETRY_EVERY: Duration = Duration::from_millis(100);

pub(crate) struct Client {
    bootstrap: String,
    connections: BTreeMap<String, Connection>,
    brokers: BTreeMap<BrokerId, String>,
    controller: BrokerId,
}

/// One partition of a topic, and the broker to ask about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PartitionView {
    pub(crate) index: i32,
    pub(crate) leader: BrokerId,
}

impl Client {
    /// Connects to the first bootstrap address that answers, and learns the brokers.
    pub(crate) fn connect(bootstrap: &str) -> Result<Client, ClientError> {
        let mut last = ClientError::Address(bootstrap.to_owned());
        for address in bootstrap
            .split(',')
            .map(str::trim)
            .filter(|a| !a.is_empty())
        {
            match Connection::open(address) {
                Ok(connection) => {
                    let mut client = Client {
                        bootstrap: address.to_owned(),
                        connections: BTreeMap::from([(address.to_owned(), connection)]),
                        brokers: BTreeMap::new(),
                        controller: BrokerId(-1),
                    };
                    client.metadata(Some(&[]))?;
                    return Ok(client);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Metadata of these topics, of all topics for `None`; topics are not created by asking.
    pub(crate) fn metadata(
        &mut self,
        topics: Option<&[&str]>,
    ) -> Result<MetadataResponse, ClientError> {
        self.ask_metadata(topics, false)
    }

    fn ask_metadata(
        &mut self,
        topics: Option<&[&str]>,
        create: bool,
    ) -> Result<MetadataResponse, ClientError> {
        let named = |name: &&str| MetadataRequestTopic::default().with_name(Some(topic_name(name)));
        let request = MetadataRequest::default()
            .with_topics(topics.map(|topics| topics.iter().map(named).collect()))
            .with_allow_auto_topic_creation(create);
        let response = self.bootstrap(12, &request)?;
        let address = |host: &str, port: i32| match host.contains(':') {
            true => format!("[{host}]:{port}"),
            false => format!("{host}:{port}"),
        };
        let brokers = response.brokers.iter();
        self.brokers = brokers
            .map(|b| (b.node_id, address(&b.host, b.port)))
            .collect();
        self.controller = response.controller_id;
        Ok(response)
    }

    /// The topic's partitions in order, once all of them have a leader.
    pub(crate) fn partitions(&mut self, topic: &str) -> Result<Vec<PartitionView>, ClientError> {
        self.look_up(topic, false)
    }

    /// As `partitions`; a topic that is not there is created, where the broker does that
    /// (`auto.create.topics.enable`).
    pub(crate) fn partitions_or_create(
        &mut self,
        topic: &str,
    ) -> Result<Vec<PartitionView>, ClientError> {
        self.look_up(topic, true)
    }

    fn look_up(&mut self, topic: &str, create: bool) -> Result<Vec<PartitionView>, ClientError> {
        retry(RETRY_FOR, || {
            let response = self.ask_metadata(Some(&[topic]), create)?;
            let what = format!("topic {topic}");
            let found = response.topics.first();
            let found = found.ok_or_else(|| protocol_error(&self.bootstrap, "no metadata"))?;
            check_code(found.error_code, &what)?;
            let mut partitions = Vec::with_capacity(found.partitions.len());
            for partition in &found.partitions {
                check_code(partition.error_code, &what)?;
                let (index, leader) = (partition.partition_index, partition.leader_id);
                partitions.push(PartitionView { index, leader });
            }
            partitions.sort_unstable_by_key(|p| p.index);
            Ok(partitions)
        })
    }

    /// Every broker of the cluster.
    pub(crate) fn brokers(&self) -> Vec<BrokerId> {
        self.brokers.keys().copied().collect()
    }

    /// A request any broker answers.
    pub(crate) fn bootstrap<R: Request>(
        &mut self,
        wanted: i16,
        request: &R,
    ) -> Result<R::Response, ClientError> {
        let address = self.bootstrap.clone();
        self.with(&address, |connection| connection.call(wanted, request))
    }

    /// A request that changes the cluster.
    pub(crate) fn controller<R: Request>(
        &mut self,
        wanted: i16,
        request: &R,
    ) -> Result<R::Response, ClientError> {
        self.node(self.controller, wanted, request)
    }

    pub(crate) fn node<R: Request>(
        &mut self,
        node: BrokerId,
        wanted: i16,
        request: &R,
    ) -> Result<R::Response, ClientError> {
        let address = self.address(node);
        self.with(&address, |connection| connection.call(wanted, request))
    }

    /// As `node`, for a request that is not answered (acks=0).
    pub(crate) fn tell<R: Request>(
        &mut self,
        node: BrokerId,
        wanted: i16,
        request: &R,
    ) -> Result<(), ClientError> {
        let address = self.address(node);
        self.with(&address, |connection| connection.tell(wanted, request))
    }

    /// The broker that coordinates a consumer group.
    pub(crate) fn coordinator(&mut self, group: &str) -> Result<BrokerId, ClientError> {
        let request = FindCoordinatorRequest::default().with_key(bytes(group));
        retry(RETRY_FOR, || {
            let found = self.bootstrap(3, &request)?;
            check(
                found.error_code,
                found.error_message.as_ref(),
                format!("group {group}"),
            )?;
            self.brokers
                .insert(found.node_id, format!("{}:{}", found.host, found.port));
            Ok(found.node_id)
        })
    }

    /// A broker that is not in the metadata (a single one that has no controller, say) is the
    /// one we are connected to.
    fn address(&self, node: BrokerId) -> String {
        self.brokers.get(&node).unwrap_or(&self.bootstrap).clone()
    }

    /// A broken connection is forgotten, so that the next attempt opens another.
    fn with<T>(
        &mut self,
        address: &str,
        call: impl FnOnce(&mut Connection) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        let mut connection = match self.connections.remove(address) {
            Some(connection) => connection,
            None => Connection::open(address).map_err(is_away)?,
        };
        let result = call(&mut connection);
        if !matches!(
            result,
            Err(ClientError::Broken { .. } | ClientError::Protocol { .. })
        ) {
            self.connections.insert(address.to_owned(), connection);
        }
        result
    }
}

/// A broker that was there and is not: perhaps it restarts, so this may pass.
fn is_away(error: ClientError) -> ClientError {
    match error {
        ClientError::Unreachable { address, cause } => ClientError::Broken { address, cause },
        other => other,
    }
}

/// Repeats what fails for a reason that passes, until `limit` is over; then gives the last reason.
pub(crate) fn retry<T>(
    limit: Duration,
    mut attempt: impl FnMut() -> Result<T, ClientError>,
) -> Result<T, ClientError> {
    let started = Instant::now();
    loop {
        match attempt() {
            Err(error) if error.is_retriable() && started.elapsed() < limit => {
                std::thread::sleep(RETRY_EVERY);
            }
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_what_passes_and_nothing_else() {
        let mut attempts = 0;
        let result = retry(RETRY_FOR, || {
            attempts += 1;
            check_code(if attempts < 3 { 15 } else { 0 }, "group")
        });
        assert!(result.is_ok());
        assert_eq!(attempts, 3);
        let mut attempts = 0;
        let result = retry(RETRY_FOR, || {
            attempts += 1;
            check_code(87, "record")
        });
        assert!(result.is_err());
        assert_eq!(attempts, 1);
    }

    #[test]
    fn names_a_broker_that_is_not_there() {
        let error = Client::connect("127.0.0.1:1").err().unwrap().to_string();
        assert!(error.contains("tidegate serve"), "{error}");
        let error = Client::connect("nonsense").err().unwrap().to_string();
        assert!(error.contains("HOST:PORT"), "{error}");
    }
}
