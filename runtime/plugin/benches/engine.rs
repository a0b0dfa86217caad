//! What the plugin path costs for each record, beside the same predicate in native Rust.
//!
//! `cargo bench -p tidegate-plugin --bench engine [-- CASE]`, after `make plugins`. Figures are nanoseconds per
//! record of a batch of 1,000: the least and the median of many rounds, since a busy machine only adds.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use memchr::memmem::Finder;
use tidegate_plugin::{BindingSpec, Chain, ChainInput, ChainOutcome, Engine, EngineOptions};
use tidegate_record::{Batch, BatchBuilder, Codec, DecodeLimits, RecordParts, Records, retain};

mod support;

use support::time;

const RECORDS: usize = 1000;
const NEEDLE: &str = "needle";
const LIMITS: DecodeLimits = DecodeLimits {
    max_bytes: 64 << 20,
    max_records: 1 << 20,
};

fn main() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/plugins/match.wasm");
    let Ok(wasm) = fs::read(&path) else {
        println!("no {}: run `make plugins` first", path.display());
        return;
    };
    let engine = Engine::new(EngineOptions::default()).expect("the engine starts");
    let started = Instant::now();
    let plugin = engine.load(&wasm).expect("match loads");
    println!(
        "load {} bytes: {:.1} ms",
        wasm.len(),
        started.elapsed().as_secs_f64() * 1e3
    );
    let config = [("op", "contains"), ("value", NEEDLE)]
        .map(|(key, value)| (key.to_owned(), value.to_owned()));
    let spec = BindingSpec {
        alias: "match".into(),
        config: BTreeMap::from(config),
        ..BindingSpec::default()
    };
    let started = Instant::now();
    let binding = engine.bind(&plugin, spec).expect("match binds");
    println!("bind: {:.1} us", started.elapsed().as_secs_f64() * 1e6);
    let chain = Chain::new(vec![Arc::clone(&binding)]);

    println!(
        "\n{:<32} {:>15} {:>15} {:>15} {:>15} {:>15}",
        "ns per record (least/median)",
        "plugin path",
        "native path",
        "decode",
        "chain",
        "in the call"
    );
    for (bytes, key) in [(100, false), (1024, false), (100, true)] {
        for share in [0, 50, 100] {
            measure(
                &chain,
                &Case {
                    bytes,
                    key,
                    share,
                    codec: Codec::None,
                },
            );
        }
    }
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        for share in [50, 100] {
            measure(
                &chain,
                &Case {
                    bytes: 100,
                    key: false,
                    share,
                    codec,
                },
            );
        }
    }
    let stats = binding.stats();
    println!(
        "\n{} records in {} calls on {} instance(s), {} errors, {} compilation(s)",
        stats.records_in,
        stats.calls,
        stats.instantiations,
        stats.errors,
        engine.compilations()
    );
}

struct Case {
    bytes: usize,
    key: bool,
    /// Percent of the records that stay.
    share: u64,
    codec: Codec,
}

impl Case {
    fn name(&self) -> String {
        let key = if self.key { " + key" } else { "" };
        let codec = self.codec.name();
        format!("{} B{key}, {}% kept, {codec}", self.bytes, self.share)
    }
}

fn measure(chain: &Chain, case: &Case) {
    let only = std::env::args().nth(1).filter(|arg| !arg.starts_with('-'));
    let name = case.name();
    if only.is_some_and(|only| !name.contains(&only)) {
        return;
    }
    let batch = batch(case);
    let finder = Finder::new(NEEDLE);
    let records = batch.records(LIMITS).expect("own batch");
    let expected: Vec<bool> = records.iter().map(|r| matches(&finder, r.value)).collect();
    assert_eq!(
        keep(chain, &records).0,
        expected,
        "the plugin and native code agree"
    );

    let plugin = time(RECORDS, || {
        let records = batch.records(LIMITS).expect("own batch");
        let (keep, _) = keep(chain, &records);
        retain(&batch, &records, |index| keep[index]).expect("own batch")
    });
    let native = time(RECORDS, || {
        let records = batch.records(LIMITS).expect("own batch");
        let keep: Vec<bool> = records.iter().map(|r| matches(&finder, r.value)).collect();
        retain(&batch, &records, |index| keep[index]).expect("own batch")
    });
    let decode = time(RECORDS, || batch.records(LIMITS));
    let run = time(RECORDS, || keep(chain, &records));
    let mut inside = u64::MAX;
    for _ in 0..1000 {
        inside = inside.min(keep(chain, &records).1);
    }
    println!(
        "{:<32} {:>15} {:>15} {:>15} {:>15} {:>15.1}",
        name,
        plugin,
        native,
        decode,
        run,
        inside as f64 / RECORDS as f64
    );
}

fn matches(finder: &Finder<'_>, value: Option<&[u8]>) -> bool {
    value.is_some_and(|value| finder.find(value).is_some())
}

fn keep(chain: &Chain, records: &Records) -> (Vec<bool>, u64) {
    match chain.run(&ChainInput::new("bench", 0, 0, records)) {
        ChainOutcome::Done(result) => (result.keep, result.plugin_nanos),
        ChainOutcome::Failed(failure) => panic!("{failure:?}"),
    }
}

/// Words of lower-case letters, as compressible as text; the needle stands in the middle of some.
fn batch(case: &Case) -> Batch {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let words: Vec<String> = (0..200)
        .map(|_| {
            (0..3 + next() % 6)
                .map(|_| char::from(b'a' + (next() % 26) as u8))
                .collect()
        })
        .collect();
    let mut builder = BatchBuilder::new(case.codec);
    for number in 0..RECORDS {
        let mut value = String::new();
        let kept = next() % 100 < case.share;
        let place = case.bytes / 2;
        while value.len() < case.bytes {
            if kept && value.len() >= place && !value.contains(NEEDLE) {
                value += NEEDLE;
            }
            value += &words[(next() % 200) as usize];
            value.push(' ');
        }
        value.truncate(case.bytes);
        let key = format!("key-{number:06}");
        builder
            .push(RecordParts {
                offset_delta: None,
                timestamp: 1_700_000_000_000 + number as i64,
                key: case.key.then_some(key.as_bytes()),
                value: Some(value.as_bytes()),
                headers: &[],
            })
            .expect("own record");
    }
    builder.build().expect("own batch")
}
