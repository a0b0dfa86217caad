//! Runs the components in `target/plugins` in the broker's own engine. `make plugins` builds them;
//! `TIDEGATE_PLUGINS_DIR` says if they are elsewhere.

use std::{
    env, fs,
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use tidegate_plugin::{
    Binding, BindingSpec, Chain, ChainInput, ChainOutcome, ChainResult, Engine, EngineOptions,
    Limits, OnError, PartitionChoice, Plugin,
};
use tidegate_record::{BatchBuilder, Codec, DecodeLimits, RecordParts, Records};
use tidegate_test::Harness;

/// A record to run plugins on. Built with [`value`] or [`null`].
#[derive(Clone, Debug, Default)]
pub struct Row {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

/// A record with this value and no key.
pub fn value(value: impl AsRef<[u8]>) -> Row {
    Row {
        value: Some(value.as_ref().to_vec()),
        ..Row::default()
    }
}

/// A record with neither key nor value.
pub fn null() -> Row {
    Row::default()
}

impl Row {
    pub fn key(mut self, key: impl AsRef<[u8]>) -> Self {
        self.key = Some(key.as_ref().to_vec());
        self
    }

    pub fn header(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.headers
            .push((name.as_ref().to_vec(), Some(value.as_ref().to_vec())));
        self
    }

    pub fn null_header(mut self, name: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.as_ref().to_vec(), None));
        self
    }
}

/// The engine of the test process: each component is compiled once in it.
pub fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| Engine::new(EngineOptions::default()).expect("an engine"))
}

/// A plugin that ships, loaded from its component.
///
/// # Panics
/// If it was not built, or is not one that the engine takes.
pub fn plugin(name: &str) -> Arc<Plugin> {
    engine()
        .load(&component(name))
        .expect("a plugin that ships is valid")
}

/// The same in the test harness, with nothing configured.
///
/// # Panics
/// As [`plugin`].
pub fn harness(name: &str) -> Harness {
    Harness::from_bytes(&component(name)).expect("a plugin that ships is valid")
}

fn component(name: &str) -> Vec<u8> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/plugins");
    let folder = env::var_os("TIDEGATE_PLUGINS_DIR").map_or_else(|| beside.into(), PathBuf::from);
    let path = folder.join(name).with_extension("wasm");
    fs::read(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; run `make plugins` first", path.display()))
}

/// # Errors
/// The sentence with which the plugin, or the engine, refuses the configuration.
pub fn bind(name: &str, config: &[(&str, &str)]) -> Result<Arc<Binding>, String> {
    let spec = BindingSpec {
        alias: name.into(),
        config: config
            .iter()
            .map(|(key, value)| (key.to_string(), value.to_string()))
            .collect(),
        limits: Limits::default(),
        on_error: OnError::Reject,
        ..BindingSpec::default()
    };
    engine()
        .bind(&plugin(name), spec)
        .map_err(|error| error.to_string())
}

/// Runs one plugin over one batch of a topic called `source`.
///
/// # Panics
/// If the configuration is refused or the run fails.
pub fn run(name: &str, config: &[(&str, &str)], rows: &[Row]) -> ChainResult {
    let chain = Chain::new(vec![bind(name, config).expect("a good configuration")]);
    run_chain(&chain, &records(rows))
}

/// # Panics
/// If the run fails.
pub fn run_chain(chain: &Chain, records: &Records) -> ChainResult {
    match chain.run(&ChainInput::new("source", 0, 1_700_000_000_000, records)) {
        ChainOutcome::Done(result) => result,
        ChainOutcome::Failed(failure) => panic!("{failure:?}"),
    }
}

/// The topics that each record is sent to, by key.
pub fn routed(result: &ChainResult) -> Vec<Vec<&str>> {
    let mut topics = vec![Vec::new(); result.keep.len()];
    for route in &result.routes {
        assert_eq!(route.partition, PartitionChoice::ByKey);
        topics[route.record].push(route.topic.as_str());
    }
    topics
}

/// The rows as records of a batch that a client might have sent.
pub fn records(rows: &[Row]) -> Records {
    let mut builder = BatchBuilder::new(Codec::None);
    for (row, timestamp) in rows.iter().zip(1_700_000_000_000..) {
        let headers: Vec<_> = row
            .headers
            .iter()
            .map(|(name, value)| (name.as_slice(), value.as_deref()))
            .collect();
        let parts = RecordParts {
            offset_delta: None,
            timestamp,
            key: row.key.as_deref(),
            value: row.value.as_deref(),
            headers: &headers,
        };
        builder.push(parts).expect("a small record");
    }
    let limits = DecodeLimits {
        max_bytes: 64 << 20,
        max_records: 100_000,
    };
    builder
        .build()
        .expect("a batch")
        .records(limits)
        .expect("sound records")
}
