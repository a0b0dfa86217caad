//! Runs a plugin natively, in its crate's own unit tests.
//!
//! A plugin sees only the columns it described, as in the broker: a forgotten one shows here.

use crate::{
    Batch, Columns, Description, Filter, Partition, Router, Routes, Verdict, Verdicts,
    bindings::types, glue,
};

/// A record to test with, from [`value`] or [`null`].
#[derive(Clone, Debug, Default)]
pub struct TestRecord {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    timestamp_ms: i64,
}

/// A record with this value and no key.
pub fn value(value: impl AsRef<[u8]>) -> TestRecord {
    TestRecord {
        value: Some(value.as_ref().to_vec()),
        ..TestRecord::default()
    }
}

/// A record with neither key nor value.
pub fn null() -> TestRecord {
    TestRecord::default()
}

impl TestRecord {
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

    pub fn timestamp_ms(mut self, timestamp_ms: i64) -> Self {
        self.timestamp_ms = timestamp_ms;
        self
    }
}

/// Configures a filter and gives its verdict on each record.
///
/// # Errors
/// What the plugin said of its configuration or of the batch.
pub fn filter<F: Filter>(
    config: &[(&str, &str)],
    records: &[TestRecord],
) -> Result<Vec<Verdict>, String> {
    let description = F::describe();
    let mut plugin = F::configure(read_config(&description, config)?)?;
    let mut verdicts = Verdicts::new(records.len());
    plugin.filter_batch(&columns(records, description.raw.columns), &mut verdicts)?;
    Ok(verdicts.into_list())
}

/// What a router said of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routed {
    /// About the source topic.
    pub verdict: Verdict,
    pub routes: Vec<(String, Partition)>,
}

impl Routed {
    pub fn topics(&self) -> Vec<&str> {
        self.routes
            .iter()
            .map(|(topic, _)| topic.as_str())
            .collect()
    }
}

/// Configures a router and gives what it says of each record.
///
/// # Errors
/// What the plugin said of its configuration or of the batch, or a route to a topic that is not
/// among its targets.
pub fn route<R: Router>(
    config: &[(&str, &str)],
    records: &[TestRecord],
) -> Result<Vec<Routed>, String> {
    let description = R::describe();
    let mut plugin = R::configure(read_config(&description, config)?)?;
    let mut routes = Routes::new(records.len());
    plugin.route_batch(&columns(records, description.raw.columns), &mut routes)?;

    let targets = plugin.targets();
    let (verdicts, sent) = routes.into_lists();
    let mut routed: Vec<Routed> = verdicts
        .into_iter()
        .map(|verdict| Routed {
            verdict,
            routes: Vec::new(),
        })
        .collect();
    for (record, topic, partition) in sent {
        if !targets.iter().any(|target| names(target, &topic)) {
            return Err(format!("`{topic}` is not among the targets"));
        }
        routed[record].routes.push((topic, partition));
    }
    Ok(routed)
}

/// Configures a router and gives its targets.
///
/// # Errors
/// What the plugin said of its configuration.
pub fn targets<R: Router>(config: &[(&str, &str)]) -> Result<Vec<String>, String> {
    Ok(R::configure(read_config(&R::describe(), config)?)?.targets())
}

/// A batch with every column, for tests of what is not a plugin.
pub fn batch(records: &[TestRecord]) -> Batch {
    columns(records, Columns::EVERY)
}

/// What [`host::counter`](crate::host::counter) added up to on this thread.
#[cfg(not(target_arch = "wasm32"))]
pub fn counter(name: &str) -> u64 {
    crate::host::outside::counted(name)
}

fn read_config<C: serde::de::DeserializeOwned>(
    description: &Description,
    config: &[(&str, &str)],
) -> Result<C, String> {
    let pairs = config
        .iter()
        .map(|(key, value)| (key.to_string(), value.to_string()))
        .collect();
    glue::read_config(description, pairs)
}

fn names(target: &str, topic: &str) -> bool {
    match target.strip_suffix('*') {
        Some(prefix) => topic.starts_with(prefix),
        None => target == topic,
    }
}

fn columns(records: &[TestRecord], wanted: Columns) -> Batch {
    let has = |column| wanted.contains(column);
    Batch::new(types::Batch {
        context: types::Context {
            topic: "test".into(),
            partition: 0,
            alias: "test".into(),
            append_time: 0,
            base_offset: None,
        },
        count: records.len() as u32,
        offset_deltas: (0..records.len() as u32).collect(),
        timestamps: if has(Columns::TIMESTAMP) {
            records.iter().map(|record| record.timestamp_ms).collect()
        } else {
            Vec::new()
        },
        keys: has(Columns::KEY).then(|| bytes(records.iter().map(|record| record.key.as_deref()))),
        values: has(Columns::VALUE)
            .then(|| bytes(records.iter().map(|record| record.value.as_deref()))),
        headers: has(Columns::HEADERS).then(|| headers(records)),
    })
}

fn headers(records: &[TestRecord]) -> types::HeadersColumn {
    let mut offsets = vec![0];
    for record in records {
        offsets.push(offsets[offsets.len() - 1] + record.headers.len() as u32);
    }
    let all = || records.iter().flat_map(|record| &record.headers);
    types::HeadersColumn {
        offsets,
        keys: bytes(all().map(|(name, _)| Some(name.as_slice()))),
        values: bytes(all().map(|(_, value)| value.as_deref())),
    }
}

fn bytes<'a>(items: impl Iterator<Item = Option<&'a [u8]>>) -> types::BytesColumn {
    let mut column = types::BytesColumn {
        offsets: vec![0],
        data: Vec::new(),
        nulls: Vec::new(),
    };
    for (index, item) in items.enumerate() {
        match item {
            Some(item) => column.data.extend_from_slice(item),
            None => {
                column.nulls.resize(index / 8 + 1, 0);
                column.nulls[index / 8] |= 1 << (index % 8);
            }
        }
        column.offsets.push(column.data.len() as u32);
    }
    column
}
