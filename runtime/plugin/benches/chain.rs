//! What a chain saves: columns that nobody wants are not copied, and those that several want are copied once.
//!
//! `cargo bench --workspace --bench chain`; needs no plugins, since its guests are a few lines of WAT. Figures are
//! nanoseconds per record of a batch, the least and the median of many rounds.

use std::sync::Arc;

use tidegate_plugin::{
    Binding, BindingSpec, Chain, ChainInput, ChainOutcome, ChainResult, Engine, EngineOptions,
};
use tidegate_record::{BatchBuilder, Codec, DecodeLimits, RecordParts, Records};

#[path = "../tests/suite/guests.rs"]
#[allow(dead_code, reason = "the tests use all of it")]
mod guests;
mod support;

use guests::{BY_HEADER, BY_VALUE, EDIT_BY_VALUE, Guest, MARK_ALL};
use support::{Figure, time};

const RECORDS: usize = 1000;
const LIMITS: DecodeLimits = DecodeLimits {
    max_bytes: 64 << 20,
    max_records: 1 << 20,
};

fn main() {
    let engine = Engine::new(EngineOptions::default()).expect("the engine starts");
    let header = Guest {
        columns: 4,
        ..Guest::filter(BY_HEADER)
    };
    let bind = |guest: &Guest| {
        let plugin = engine.load(&guest.build()).expect("the guest loads");
        let spec = BindingSpec {
            alias: "bench".into(),
            ..BindingSpec::default()
        };
        engine.bind(&plugin, spec).expect("the guest binds")
    };
    println!(
        "A filter on a header, beside the same on the value (ns per record, bytes lowered per record)\n"
    );
    println!(
        "{:<12} {:>18} {:>10} {:>18} {:>10}",
        "value", "by header", "bytes", "by value", "bytes"
    );
    for bytes in [100, 1024, 10 << 10] {
        let records = batch(bytes);
        let columns: Vec<String> = [&header, &Guest::filter(BY_VALUE)]
            .iter()
            .map(|guest| {
                let binding = bind(guest);
                let took = measure(&[&binding], &records);
                let stats = binding.stats();
                let lowered = stats.lowered_bytes as f64 / stats.records_in as f64;
                format!("{took:>18} {lowered:>10.0}")
            })
            .collect();
        println!("{:<12} {}", format!("{bytes} B"), columns.join(" "));
    }

    println!("\nA chain of three filters by value, beside three chains of one (ns per record)\n");
    println!(
        "{:<12} {:>18} {:>18} {:>8}",
        "value", "chain of three", "three single", "ratio"
    );
    for bytes in [100, 1024, 10 << 10] {
        let records = batch(bytes);
        let three: Vec<_> = (0..3).map(|_| bind(&Guest::filter(BY_VALUE))).collect();
        let three: Vec<&Arc<Binding>> = three.iter().collect();
        let chained = measure(&three, &records);
        let single = three
            .iter()
            .map(|binding| measure(&[binding], &records))
            .fold(
                Figure {
                    least: 0.0,
                    median: 0.0,
                },
                |sum, figure| Figure {
                    least: sum.least + figure.least,
                    median: sum.median + figure.median,
                },
            );
        println!(
            "{:<12} {chained:>18} {single:>18} {:>8.2}",
            format!("{bytes} B"),
            chained.median / single.median
        );
    }

    println!("\nTransforms (ns per record)\n");
    println!(
        "{:<12} {:>18} {:>18} {:>24}",
        "value", "every value", "every tenth", "every value + a filter"
    );
    for bytes in [100, 1024] {
        let records = batch(bytes);
        let (all, some) = (
            bind(&Guest::transform(MARK_ALL)),
            bind(&Guest::transform(EDIT_BY_VALUE)),
        );
        let filter = bind(&Guest::filter(BY_VALUE));
        println!(
            "{:<12} {:>18} {:>18} {:>24}",
            format!("{bytes} B"),
            measure(&[&all], &records),
            measure(&[&some], &records),
            measure(&[&all, &filter], &records)
        );
    }
}

fn measure(bindings: &[&Arc<Binding>], records: &Records) -> Figure {
    let chain = Chain::new(bindings.iter().map(|binding| Arc::clone(binding)).collect());
    time(RECORDS, || run(&chain, records))
}

fn run(chain: &Chain, records: &Records) -> ChainResult {
    match chain.run(&ChainInput::new("bench", 0, 0, records)) {
        ChainOutcome::Done(result) => result,
        ChainOutcome::Failed(failure) => panic!("{failure:?}"),
    }
}

/// A tenth of the values start with `e`; one header each, whose value starts with `i`.
fn batch(bytes: usize) -> Records {
    let mut builder = BatchBuilder::new(Codec::None);
    for number in 0..RECORDS {
        let mut value = vec![b'a' + (number % 10) as u8 * 2; bytes];
        value[0] = if number % 10 == 0 { b'e' } else { b'a' };
        builder
            .push(RecordParts {
                offset_delta: None,
                timestamp: 1_700_000_000_000 + number as i64,
                key: None,
                value: Some(&value),
                headers: &[(b"level", Some(b"info"))],
            })
            .expect("own record");
    }
    let batch = builder.build().expect("own batch");
    batch.records(LIMITS).expect("own batch")
}
