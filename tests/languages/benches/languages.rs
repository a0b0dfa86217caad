//! Nanoseconds of processor time per record of one plugin in every language, beside native Rust: columns, call and
//! verdicts included, in batches of 1,000. `make languages` builds what is measured; what is not there is said and left out.

use std::path::Path;
use std::time::{Duration, Instant};

use cpu_time::ThreadTime;
use memchr::memmem::Finder;
use serde::Deserialize;
use tidegate_plugin::{
    BindingSpec, Chain, ChainInput, ChainOutcome, Engine, EngineOptions, Limits,
};
use tidegate_record::{BatchBuilder, Codec, DecodeLimits, RecordParts, Records};
use tidegate_tests_languages::{LANGUAGES, component};

const BATCH: usize = 1_000;
/// A round takes as many batches as fit, and the best of the rounds counts.
const ROUND: Duration = Duration::from_millis(300);
const ROUNDS: usize = 5;

/// The text anywhere in the value; then the JSON member `kind`, which comes second, is the text.
const CASES: [&[(&str, &str)]; 2] = [
    &[("text", "click")],
    &[("text", "click"), ("field", "kind")],
];

fn main() {
    let batches = [records(100), records(1_000)];
    println!(
        "{:<14}{:>16}{:>16}{:>16}{:>16}{:>14}{:>12}",
        "ns per record",
        "text, 100 B",
        "text, 1 KB",
        "JSON, 100 B",
        "JSON, 1 KB",
        "component",
        "compiled in"
    );
    let native = [find_text as fn(&[u8]) -> bool, find_member];
    let figures = native.map(|keeps| batches.each_ref().map(|batch| natively(batch, keeps)));
    print("native Rust", figures, "", "");
    // Python and JavaScript live in the engine's second part, as in the broker.
    let engine = Engine::new(EngineOptions::default()).expect("an engine");
    for (label, language) in LANGUAGES {
        match measure(&engine, &component(language), &batches) {
            Ok((figures, size, compiled)) => print(label, figures, &size, &compiled),
            Err(reason) => println!("{label:<14}not measured: {reason}"),
        }
    }
}

type Figures = [[f64; 2]; 2];

fn print(label: &str, figures: Figures, size: &str, compiled: &str) {
    let [[text, long_text], [json, long_json]] = figures;
    println!(
        "{label:<14}{text:>16.1}{long_text:>16.1}{json:>16.1}{long_json:>16.1}{size:>14}{compiled:>12}"
    );
}

fn measure(
    engine: &Engine,
    path: &Path,
    batches: &[Records; 2],
) -> Result<(Figures, String, String), String> {
    let wasm = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let start = Instant::now();
    let plugin = engine.load(&wasm).map_err(|error| error.to_string())?;
    let compiled = format!("{:.2} s", start.elapsed().as_secs_f64());
    let mut figures = Figures::default();
    for (config, row) in CASES.iter().zip(&mut figures) {
        let spec = BindingSpec {
            alias: "pick".into(),
            config: config
                .iter()
                .map(|(key, value)| (key.to_string(), value.to_string()))
                .collect(),
            limits: limits(),
            ..BindingSpec::default()
        };
        let binding = engine
            .bind(&plugin, spec)
            .map_err(|error| error.to_string())?;
        let chain = Chain::new(vec![binding]);
        for (batch, figure) in batches.iter().zip(row) {
            *figure = best_of(|| {
                let input = ChainInput::new("source", 0, 1_700_000_000_000, batch);
                match chain.run(&input) {
                    ChainOutcome::Done(result) => assert_eq!(kept(&result.keep), BATCH / 2),
                    ChainOutcome::Failed(failure) => panic!("{failure:?}"),
                }
            });
        }
    }
    let size = format!("{:.1} KiB", wasm.len() as f64 / 1024.0);
    Ok((figures, size, compiled))
}

/// JavaScript's collector lets garbage grow to some 130 MiB in batches like these before it works.
fn limits() -> Limits {
    Limits {
        memory_bytes: 256 << 20,
        ..Limits::default()
    }
}

/// What a filter inside the broker would cost: no columns, no call.
fn natively(records: &Records, keeps: fn(&[u8]) -> bool) -> f64 {
    best_of(|| {
        let verdicts: Vec<bool> = records
            .iter()
            .map(|record| record.value.is_some_and(keeps))
            .collect();
        assert_eq!(kept(&verdicts), BATCH / 2);
    })
}

fn find_text(value: &[u8]) -> bool {
    thread_local!(static CLICK: Finder<'static> = Finder::new("click"));
    CLICK.with(|click| click.find(value).is_some())
}

fn find_member(value: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Event<'a> {
        kind: &'a str,
    }
    serde_json::from_slice::<Event<'_>>(value).is_ok_and(|event| event.kind == "click")
}

fn kept(verdicts: &[bool]) -> usize {
    verdicts.iter().filter(|keep| **keep).count()
}

/// Nanoseconds of processor time per record, of the best round: other work on the machine is not in it.
fn best_of(mut batch: impl FnMut()) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        let (start, used, mut batches) = (Instant::now(), ThreadTime::now(), 0);
        while batches == 0 || start.elapsed() < ROUND {
            batch();
            batches += 1;
        }
        best = best.min(used.elapsed().as_nanos() as f64 / (BATCH * batches) as f64);
    }
    best
}

/// Events of this many bytes, every second one a click.
fn records(bytes: usize) -> Records {
    let mut builder = BatchBuilder::new(Codec::None);
    for i in 0..BATCH {
        let kind = if i % 2 == 0 { "click" } else { "view" };
        let open = format!(r#"{{"user": {i}, "kind": "{kind}", "text": ""#);
        let close = "\"}";
        let room = bytes.saturating_sub(open.len() + close.len());
        let text: String = "lorem ipsum dolor sit amet "
            .chars()
            .cycle()
            .take(room)
            .collect();
        let value = format!("{open}{text}{close}");
        let parts = RecordParts {
            offset_delta: None,
            timestamp: 1_700_000_000_000,
            key: None,
            value: Some(value.as_bytes()),
            headers: &[],
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
