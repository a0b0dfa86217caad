//! The plugin host against guests that behave and guests that do not.

mod bind;
mod chain;
mod contract;
mod guests;
mod hostile;
mod hostile_edits;
mod load;
mod observe;
mod policies;
mod state;
mod transform;

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_plugin::{
    Binding, BindingSpec, Chain, ChainFailure, ChainInput, ChainOutcome, ChainResult, Engine,
    EngineOptions, Limits, OnError, Side,
};
use tidegate_record::{BatchBuilder, Codec, DecodeLimits, RecordParts, Records};

fn engine() -> Engine {
    Engine::new(EngineOptions {
        max_instances: 16,
        ..EngineOptions::default()
    })
    .unwrap()
}

fn spec(alias: &str) -> BindingSpec {
    BindingSpec {
        alias: alias.into(),
        ..BindingSpec::default()
    }
}

fn config(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn bind(engine: &Engine, guest: &guests::Guest, spec: BindingSpec) -> Arc<Binding> {
    let plugin = engine.load(&guest.build()).unwrap();
    engine.bind(&plugin, spec).unwrap()
}

fn with_policy(on_error: OnError, limits: Limits) -> BindingSpec {
    BindingSpec {
        on_error,
        limits,
        ..spec("guest")
    }
}

/// One record for each value; `None` is a tombstone. Keys are `k0`, `k1` and so on.
fn records_of(values: &[Option<&[u8]>]) -> Records {
    let mut builder = BatchBuilder::new(Codec::None);
    for (number, value) in values.iter().enumerate() {
        let key = format!("k{number}");
        builder
            .push(RecordParts {
                offset_delta: None,
                timestamp: 1_700_000_000_000 + number as i64,
                key: Some(key.as_bytes()),
                value: *value,
                headers: &[(b"h", Some(b"v"))],
            })
            .unwrap();
    }
    let limits = DecodeLimits {
        max_bytes: 64 << 20,
        max_records: 1 << 20,
    };
    builder.build().unwrap().records(limits).unwrap()
}

fn records(values: &[&str]) -> Records {
    records_of(
        &values
            .iter()
            .map(|value| Some(value.as_bytes()))
            .collect::<Vec<_>>(),
    )
}

fn run(bindings: &[&Arc<Binding>], records: &Records) -> ChainOutcome {
    run_on(Side::Produce, bindings, records)
}

fn run_on(side: Side, bindings: &[&Arc<Binding>], records: &Records) -> ChainOutcome {
    let chain = Chain::new(bindings.iter().map(|binding| Arc::clone(binding)).collect());
    chain.run(&ChainInput {
        side,
        ..ChainInput::new("orders", 3, 1_700_000_000_000, records)
    })
}

#[track_caller]
fn done(outcome: ChainOutcome) -> ChainResult {
    match outcome {
        ChainOutcome::Done(result) => result,
        ChainOutcome::Failed(failure) => panic!("failed: {failure:?}"),
    }
}

#[track_caller]
fn failed(outcome: ChainOutcome) -> ChainFailure {
    match outcome {
        ChainOutcome::Done(result) => panic!("done: {result:?}"),
        ChainOutcome::Failed(failure) => failure,
    }
}
