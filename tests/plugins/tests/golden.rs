//! Each plugin that ships on the cases beside it, `plugins/<name>/golden`, as `tidegate plugin test` runs them.

use std::path::Path;

use tidegate_test::golden;
use tidegate_tests_plugins::harness;

#[track_caller]
fn cases_of(plugin: &str) {
    let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins");
    golden::assert(&harness(plugin), plugins.join(plugin).join("golden"));
}

#[test]
fn dedup() {
    cases_of("dedup");
}

#[test]
fn enrich() {
    cases_of("enrich");
}

#[test]
fn r#match() {
    cases_of("match");
}

#[test]
fn redact() {
    cases_of("redact");
}

#[test]
fn route() {
    cases_of("route");
}

#[test]
fn sample() {
    cases_of("sample");
}

#[test]
fn validate() {
    cases_of("validate");
}
