//! A partition against independent models: what stream semantics promise of produces and of fetches.

mod dead_letters;
mod explain;
mod faults;
mod measure;
mod model;
mod policies;
mod produce;
mod read;
mod routes;
mod sequences;
mod state;
mod transactions;
mod world;

use proptest::prelude::ProptestConfig;

/// At least so many; `PROPTEST_CASES` asks for more.
fn cases(least: u32) -> ProptestConfig {
    let config = ProptestConfig::default();
    ProptestConfig {
        cases: config.cases.max(least),
        ..config
    }
}
