//! Runs a plugin natively, in its crate's own unit tests.
//!
//! A plugin sees only the columns it described, as in the broker: a forgotten one shows here.

use crate::{
    Batch, Column, Columns, Description, Edits, Filter, Partition, Router, Routes, Transform,
    Verdict, Verdicts, bindings::types, edits::ColumnBuilder, glue,
};

/// A record to test with, from [`value`] or [`null`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    let columns = read_columns(&description, plugin.columns());
    plugin.filter_batch(&batch_of(records, columns), &mut verdicts)?;
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
    let columns = read_columns(&description, plugin.columns());
    plugin.route_batch(&batch_of(records, columns), &mut routes)?;

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

/// What a transform made of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The record as it is then.
    Kept(TestRecord),
    Dropped,
    Rejected(String),
}

/// Configures a transform and gives what it makes of each record.
///
/// # Errors
/// What the plugin said of its configuration or of the batch, or an edit of a column that is not
/// among those it [`writes`](Description::writes).
pub fn transform<T: Transform>(
    config: &[(&str, &str)],
    records: &[TestRecord],
) -> Result<Vec<Outcome>, String> {
    let description = T::describe();
    let mut plugin = T::configure(read_config(&description, config)?)?;
    let mut edits = Edits::new(records.len());
    let columns = read_columns(&description, plugin.columns());
    plugin.transform_batch(&batch_of(records, columns), &mut edits)?;

    let verdicts = std::mem::replace(edits.verdicts(), Verdicts::new(0)).into_list();
    let mut edited = records.to_vec();
    let writes = description.raw.writes;
    apply(edits.into_raw(), &mut edited, |column| {
        if writes.contains(column) {
            Ok(())
        } else {
            Err(format!(
                "it edits {column:?} and does not say that it writes it"
            ))
        }
    })?;
    let outcomes = verdicts.into_iter().zip(edited);
    let outcomes = outcomes.map(|(verdict, record)| match verdict {
        Verdict::Keep => Outcome::Kept(record),
        Verdict::Drop => Outcome::Dropped,
        Verdict::Reject(reason) => Outcome::Rejected(reason),
    });
    Ok(outcomes.collect())
}

/// Configures a filter and gives what shows it these records once more each time it is called: for
/// benchmarks.
///
/// # Errors
/// What the plugin said of its configuration. What it says of the batch is not looked at.
pub fn filter_runs<F: Filter>(
    config: &[(&str, &str)],
    records: &[TestRecord],
) -> Result<impl FnMut() + use<F>, String> {
    let description = F::describe();
    let mut plugin = F::configure(read_config(&description, config)?)?;
    let batch = batch_of(records, read_columns(&description, plugin.columns()));
    Ok(move || {
        let mut verdicts = Verdicts::new(batch.len());
        let _ = plugin.filter_batch(&batch, &mut verdicts);
        std::hint::black_box(verdicts.into_raw());
    })
}

/// As [`filter_runs`].
///
/// # Errors
/// As [`filter_runs`].
pub fn route_runs<R: Router>(
    config: &[(&str, &str)],
    records: &[TestRecord],
) -> Result<impl FnMut() + use<R>, String> {
    let description = R::describe();
    let mut plugin = R::configure(read_config(&description, config)?)?;
    let batch = batch_of(records, read_columns(&description, plugin.columns()));
    Ok(move || {
        let mut routes = Routes::new(batch.len());
        let _ = plugin.route_batch(&batch, &mut routes);
        std::hint::black_box(routes.into_raw());
    })
}

/// As [`filter_runs`].
///
/// # Errors
/// As [`filter_runs`].
pub fn transform_runs<T: Transform>(
    config: &[(&str, &str)],
    records: &[TestRecord],
) -> Result<impl FnMut() + use<T>, String> {
    let description = T::describe();
    let mut plugin = T::configure(read_config(&description, config)?)?;
    let batch = batch_of(records, read_columns(&description, plugin.columns()));
    Ok(move || {
        let mut edits = Edits::new(batch.len());
        let _ = plugin.transform_batch(&batch, &mut edits);
        std::hint::black_box(edits.into_raw());
    })
}

/// A batch with every column, for tests of what is not a plugin.
pub fn batch(records: &[TestRecord]) -> Batch {
    batch_of(records, Columns::EVERY)
}

/// What was logged on this thread while `run` ran, by [`host::log`](crate::host::log) or a
/// [facade](crate::logging).
#[cfg(not(target_arch = "wasm32"))]
pub fn logged(run: impl FnOnce()) -> Vec<(crate::host::Level, String)> {
    crate::host::outside::logged(run)
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

/// What the broker would lower: no more than the plugin's `columns` left of what it described.
fn read_columns(description: &Description, narrowed: Option<Columns>) -> Columns {
    description.raw.columns & narrowed.unwrap_or(Columns::EVERY)
}

fn apply(
    edits: types::Edits,
    records: &mut [TestRecord],
    may_write: impl Fn(Columns) -> Result<(), String>,
) -> Result<(), String> {
    let own = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
    let count = records.len();
    if let Some(edit) = edits.keys {
        may_write(Columns::KEY)?;
        let column = Column::new(&edit.column);
        for (at, row) in rows(edit.rows, count) {
            records[row].key = own(column.get(at));
        }
    }
    if let Some(edit) = edits.values {
        may_write(Columns::VALUE)?;
        let column = Column::new(&edit.column);
        for (at, row) in rows(edit.rows, count) {
            records[row].value = own(column.get(at));
        }
    }
    if let Some(edit) = edits.headers {
        may_write(Columns::HEADERS)?;
        let (names, values) = (
            Column::new(&edit.column.keys),
            Column::new(&edit.column.values),
        );
        for (at, row) in rows(edit.rows, count) {
            let range = edit.column.offsets[at]..edit.column.offsets[at + 1];
            records[row].headers = range
                .map(|at| at as usize)
                .map(|at| (own(names.get(at)).unwrap_or_default(), own(values.get(at))))
                .collect();
        }
    }
    if let Some(edit) = edits.timestamps {
        may_write(Columns::TIMESTAMP)?;
        for (at, row) in rows(edit.rows, count) {
            records[row].timestamp_ms = edit.values[at];
        }
    }
    Ok(())
}

/// (place in the edit, record) of each entry.
fn rows(rows: Vec<u32>, count: usize) -> impl Iterator<Item = (usize, usize)> {
    let rows = if rows.is_empty() {
        (0..count as u32).collect()
    } else {
        rows
    };
    rows.into_iter().map(|row| row as usize).enumerate()
}

fn names(target: &str, topic: &str) -> bool {
    match target.strip_suffix('*') {
        Some(prefix) => topic.starts_with(prefix),
        None => target == topic,
    }
}

fn batch_of(records: &[TestRecord], wanted: Columns) -> Batch {
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
    let mut column = ColumnBuilder::default();
    items.for_each(|item| column.push(item));
    column.into_raw()
}
