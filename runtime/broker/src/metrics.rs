//! What the broker counts. On the hot path a count is an atomic add; everything that can be asked is asked at the scrape.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use kafka_protocol::messages::ApiKey;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// API keys with a counter of their own; a request of a higher key is counted with the last.
const API_KEYS: usize = 96;
/// Error codes of Kafka end far below; the bound keeps a made-up code from making a label.
const MAX_ERROR_CODE: i16 = 200;

pub(crate) struct Metrics {
    registry: Registry,
    requests: Requests,
    errors: Family<[(&'static str, String); 2], Counter>,
    produce_seconds: Histogram,
    fetch_seconds: Histogram,
    bytes_in: Counter,
    bytes_out: Counter,
    connections: Gauge,
    connections_total: Counter,
    connections_refused: Counter,
    produced_records: Counter,
    produced_bytes: Counter,
    fetched_records: Counter,
    fetched_bytes: Counter,
    throttled: Family<[(&'static str, &'static str); 1], Counter>,
    throttled_ms: Family<[(&'static str, &'static str); 1], Counter>,
}

impl Metrics {
    pub(crate) fn new() -> Metrics {
        let mut registry = Registry::with_prefix("tidegate");
        let requests = Requests::default();
        registry.register_collector(Box::new(requests.clone()));
        let metrics = Metrics {
            requests,
            errors: Family::default(),
            // 50 us to 26 s.
            produce_seconds: Histogram::new(exponential_buckets(0.00005, 2.0, 20)),
            fetch_seconds: Histogram::new(exponential_buckets(0.00005, 2.0, 20)),
            bytes_in: Counter::default(),
            bytes_out: Counter::default(),
            connections: Gauge::default(),
            connections_total: Counter::default(),
            connections_refused: Counter::default(),
            produced_records: Counter::default(),
            produced_bytes: Counter::default(),
            fetched_records: Counter::default(),
            fetched_bytes: Counter::default(),
            throttled: Family::default(),
            throttled_ms: Family::default(),
            registry: Registry::default(),
        };
        metrics.register(&mut registry);
        Metrics {
            registry,
            ..metrics
        }
    }

    /// A request came in, in a frame of so many bytes.
    pub(crate) fn request(&self, api_key: i16, bytes: usize) {
        self.requests.count(api_key);
        self.bytes_in.inc_by(bytes as u64);
    }

    /// It was answered this long after its frame was read.
    pub(crate) fn answered(&self, api_key: i16, took: Duration) {
        match api_key {
            0 => self.produce_seconds.observe(took.as_secs_f64()),
            1 => self.fetch_seconds.observe(took.as_secs_f64()),
            _ => {}
        }
    }

    /// An error in a response: its own, or one of a partition or topic in it.
    pub(crate) fn failed(&self, api_key: i16, error: i16) {
        let code = error.clamp(-1, MAX_ERROR_CODE).to_string();
        let labels = [("api", api_name(slot(api_key)).to_owned()), ("code", code)];
        self.errors.get_or_create(&labels).inc();
    }

    /// Bytes of response frames.
    pub(crate) fn sent(&self, bytes: usize) {
        self.bytes_out.inc_by(bytes as u64);
    }

    pub(crate) fn connection_opened(&self) {
        self.connections.inc();
        self.connections_total.inc();
    }

    pub(crate) fn connection_closed(&self) {
        self.connections.dec();
    }

    /// Over a limit of connections, or a frame that was no request.
    pub(crate) fn connection_refused(&self) {
        self.connections_refused.inc();
    }

    /// Records of acknowledged batches, as the client sent them.
    pub(crate) fn produced(&self, records: usize, bytes: usize) {
        self.produced_records.inc_by(records as u64);
        self.produced_bytes.inc_by(bytes as u64);
    }

    pub(crate) fn fetched(&self, records: usize, bytes: usize) {
        self.fetched_records.inc_by(records as u64);
        self.fetched_bytes.inc_by(bytes as u64);
    }

    /// A client was over a quota of this kind, and is held up for so long.
    pub(crate) fn throttled(&self, quota: &'static str, owed: Duration) {
        let labels = [("quota", quota)];
        self.throttled.get_or_create(&labels).inc();
        let ms = u64::try_from(owed.as_millis()).unwrap_or(u64::MAX);
        self.throttled_ms.get_or_create(&labels).inc_by(ms);
    }

    /// The exposition text; `now` is asked here for what other parts of the broker know.
    pub(crate) fn render(&self, now: impl Collector) -> Result<String, fmt::Error> {
        let mut others = Registry::with_prefix("tidegate");
        others.register_collector(Box::new(now));
        let mut text = String::with_capacity(16 << 10);
        encode_registry(&mut text, &self.registry)?;
        encode_registry(&mut text, &others)?;
        encode_eof(&mut text)?;
        Ok(text)
    }

    fn register(&self, to: &mut Registry) {
        let mut counter = |name: &str, help: &str, counter: &Counter| {
            to.register(name, help, counter.clone());
        };
        counter(
            "network_in_bytes",
            "Bytes of request frames",
            &self.bytes_in,
        );
        counter(
            "network_out_bytes",
            "Bytes of response frames",
            &self.bytes_out,
        );
        counter(
            "connections_opened",
            "Connections accepted",
            &self.connections_total,
        );
        counter(
            "connections_refused",
            "Connections closed for a limit or a broken frame",
            &self.connections_refused,
        );
        counter(
            "produced_records",
            "Records of acknowledged batches",
            &self.produced_records,
        );
        counter(
            "produced_bytes",
            "Bytes of acknowledged batches",
            &self.produced_bytes,
        );
        counter(
            "fetched_records",
            "Records sent to consumers",
            &self.fetched_records,
        );
        counter(
            "fetched_bytes",
            "Bytes of batches sent to consumers",
            &self.fetched_bytes,
        );
        to.register(
            "connections",
            "Connections open now",
            self.connections.clone(),
        );
        to.register(
            "request_errors",
            "Errors in responses, by API and Kafka's error code",
            self.errors.clone(),
        );
        to.register(
            "quota_throttled",
            "Requests and connections of clients over a quota, by its key",
            self.throttled.clone(),
        );
        to.register(
            "quota_throttle_milliseconds",
            "Throttle times given to clients, added up, by the key of the quota",
            self.throttled_ms.clone(),
        );
        to.register(
            "produce_seconds",
            "From a Produce request's frame to its answer",
            self.produce_seconds.clone(),
        );
        to.register(
            "fetch_seconds",
            "From a Fetch request's frame to its answer, waiting included",
            self.fetch_seconds.clone(),
        );
    }
}

/// A counter for each API key, found without a lock or a hash.
#[derive(Clone, Debug)]
struct Requests(std::sync::Arc<[Counter<u64, AtomicU64>]>);

impl Default for Requests {
    fn default() -> Requests {
        Requests((0..API_KEYS).map(|_| Counter::default()).collect())
    }
}

impl Requests {
    fn count(&self, api_key: i16) {
        self.0[slot(api_key)].inc();
    }
}

impl Collector for Requests {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut family =
            encoder.encode_descriptor("requests", "Requests by API", None, MetricType::Counter)?;
        for (key, counter) in self.0.iter().enumerate().filter(|(_, c)| c.get() > 0) {
            let labels = [("api", api_name(key))];
            ConstCounter::new(counter.get()).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

fn slot(api_key: i16) -> usize {
    usize::try_from(api_key)
        .unwrap_or(API_KEYS - 1)
        .min(API_KEYS - 1)
}

fn api_name(slot: usize) -> &'static str {
    static NAMES: OnceLock<Vec<String>> = OnceLock::new();
    let name = |key: usize| match i16::try_from(key).map(ApiKey::try_from) {
        Ok(Ok(api)) => format!("{api:?}"),
        _ => "other".to_owned(),
    };
    &NAMES.get_or_init(|| (0..API_KEYS).map(name).collect())[slot]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Nothing;

    impl Collector for Nothing {
        fn encode(&self, _: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
            Ok(())
        }
    }

    #[test]
    fn requests_and_errors_are_told_apart_by_api() {
        let metrics = Metrics::new();
        metrics.request(0, 10);
        metrics.request(0, 5);
        metrics.request(3, 1);
        metrics.request(-7, 0);
        metrics.request(i16::MAX, 0);
        metrics.failed(0, 2);
        metrics.failed(i16::MAX, i16::MAX);
        metrics.answered(0, Duration::from_millis(1));
        metrics.answered(0, Duration::from_millis(2));
        metrics.produced(10, 100);
        let text = metrics.render(Nothing).unwrap();
        for line in [
            r#"tidegate_requests_total{api="Produce"} 2"#,
            r#"tidegate_requests_total{api="Metadata"} 1"#,
            r#"tidegate_requests_total{api="other"} 2"#,
            r#"tidegate_request_errors_total{api="Produce",code="2"} 1"#,
            r#"tidegate_request_errors_total{api="other",code="200"} 1"#,
            "tidegate_network_in_bytes_total 16",
            "tidegate_produced_records_total 10",
            "tidegate_produce_seconds_count 2",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn connections_go_up_and_down() {
        let metrics = Metrics::new();
        metrics.connection_opened();
        metrics.connection_opened();
        metrics.connection_closed();
        let text = metrics.render(Nothing).unwrap();
        assert!(text.contains("\ntidegate_connections 1\n"), "{text}");
        assert!(
            text.contains("\ntidegate_connections_opened_total 2\n"),
            "{text}"
        );
    }
}
