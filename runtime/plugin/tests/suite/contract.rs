//! The contract's versions: what was released keeps running, what is frozen stays as it is.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use tidegate_plugin::{
    Columns, Engine, EngineOptions, Limits, LoadError, OnError, Side, State, TargetPattern, World,
};

use crate::guests::{Guest, PREVIEW_WIT};
use crate::{bind, config, done, engine, records, run, run_on, spec, with_policy};

/// sha256 of `wit/plugin.wit` of the released version, as `normalized` gives it.
const FROZEN: (&str, &str) = (
    "0.1.0",
    "fa2affa3d3da9da80455d12f82239c670cf80815a2968b8b56315a8c63cf5cab",
);

#[test]
fn the_released_wit_is_frozen() {
    let wit = include_str!("../../../../wit/plugin.wit");
    let (version, digest) = FROZEN;
    assert_eq!(
        hex(&normalized(wit)),
        digest,
        "wit/plugin.wit is released as {version} and has changed. Plugins out there were built against it, so it must \
         not change: copy it to wit/plugin-{version}.wit, give wit/plugin.wit the next version, add that version to \
         runtime/plugin/src/contract/ (the module's head says how) and fixtures of it beside those of {version}, then \
         put the new version and digest here"
    );
}

/// The text without comments, and without the white space that means nothing.
fn normalized(wit: &str) -> String {
    let code = wit
        .lines()
        .map(|line| line.split_once("//").map_or(line, |(code, _)| code));
    let words: Vec<&str> = code.flat_map(str::split_whitespace).collect();
    words.join(" ")
}

fn hex(text: &str) -> String {
    Sha256::digest(text)
        .iter()
        .fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
}

#[test]
fn comments_are_not_what_is_frozen() {
    let of = |text: &str| hex(&normalized(text));
    assert_eq!(
        of("world a { }"),
        of("/// Says why.\nworld a\n{ // here\n}\n")
    );
    assert_ne!(of("world a { }"), of("world b { }"));
}

fn fixture(engine: &Engine, name: &str) -> Arc<tidegate_plugin::Plugin> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(format!("contract-{name}.wasm"));
    let wasm = std::fs::read(&path).unwrap();
    engine.load(&wasm).unwrap()
}

#[test]
fn a_filter_of_0_1_0_keeps_running() {
    let engine = engine();
    let plugin = fixture(&engine, "0.1.0-filter");
    let description = plugin.description();
    assert_eq!(
        (plugin.world(), description.state, description.name.as_str()),
        (World::Filter, State::None, "guest")
    );
    let binding = engine.bind(&plugin, spec("f")).unwrap();
    let result = done(run(&[&binding], &records(&["a", "d", "r"])));
    assert_eq!(result.keep, [true, false, false]);
    assert_eq!(result.rejected[0].index, 2);
    assert_eq!(binding.stats().counters["mode"], 1);
    // `mode` = `h` and three more letters narrows its columns to the headers.
    let narrowed = tidegate_plugin::BindingSpec {
        config: config(&[("mode", "head")]),
        ..spec("h")
    };
    let narrowed = engine.bind(&plugin, narrowed).unwrap();
    assert_eq!(
        narrowed.columns(),
        Columns {
            headers: true,
            ..Columns::default()
        }
    );
}

#[test]
fn a_router_of_0_1_0_keeps_running() {
    let engine = engine();
    let plugin = fixture(&engine, "0.1.0-router");
    assert_eq!(plugin.world(), World::Router);
    let binding = engine.bind(&plugin, spec("r")).unwrap();
    assert_eq!(binding.targets(), [TargetPattern::Exact("out".into())]);
    assert_eq!(
        done(run(&[&binding], &records(&["a", "b"]))).routes.len(),
        2
    );
}

#[test]
fn a_transform_of_0_1_0_keeps_running() {
    let engine = engine();
    let plugin = fixture(&engine, "0.1.0-transform");
    assert_eq!(plugin.world(), World::Transform);
    assert!(plugin.description().writes.value);
    let binding = engine.bind(&plugin, spec("t")).unwrap();
    let result = done(run(&[&binding], &records(&["a", "e", "d"])));
    assert_eq!(result.keep, [true, true, false]);
    assert_eq!(result.edits.of(1, 1).unwrap().value, Some(Some(&b"E"[..])));
    assert_eq!(result.edits.of(0, 1), None);
}

/// A filter of the version that was never released: what it drops is `d`, as a boolean.
fn preview() -> Guest {
    Guest {
        wit: PREVIEW_WIT.into(),
        ..Guest::filter(
            "(local $n i32) (local $i i32) (local $out i32)
             (local.set $n (i32.load offset=48 (local.get $batch)))
             (local.set $out (call $realloc (i32.const 0) (i32.const 0) (i32.const 1) (local.get $n)))
             (block $done (loop $next
                 (br_if $done (i32.ge_u (local.get $i) (local.get $n)))
                 (i32.store8 (i32.add (local.get $out) (local.get $i))
                     (i32.ne (call $first (local.get $batch) (local.get $i)) (i32.const 100)))
                 (local.set $i (i32.add (local.get $i) (i32.const 1)))
                 (br $next)))
             (call $log (i32.const 2) (i32.const 740) (i32.const 11))
             (call $ok (local.get $out) (local.get $n))",
        )
    }
}

#[test]
fn an_earlier_version_goes_through_the_dispatcher() {
    let engine = Engine::new(EngineOptions {
        preview_contracts: true,
        ..EngineOptions::default()
    })
    .unwrap();
    let old = bind(&engine, &preview(), spec("old"));
    let new = bind(
        &engine,
        &Guest::filter(crate::guests::BY_VALUE),
        spec("new"),
    );
    let result = done(run(&[&old, &new], &records(&["a", "d", "r", "b"])));
    assert_eq!(result.keep, [true, false, false, true]);
    assert_eq!(result.taken_by, [0, 1, 2, 0]);
    let description = old.plugin().description();
    assert_eq!(description.config.len(), 2);
    assert_eq!(description.writes, Columns::default());
    // A wrong number of verdicts is a broken contract there, too.
    let few = Guest {
        run: "(call $ok (i32.const 0) (i32.const 1))".into(),
        ..preview()
    };
    let few = bind(
        &engine,
        &few,
        with_policy(OnError::Reject, Limits::default()),
    );
    let failure = crate::failed(run_on(Side::Produce, &[&few], &records(&["a", "b"])));
    assert!(failure.message.contains("1 codes for 2"), "{failure:?}");
}

#[test]
fn an_unreleased_version_is_refused_with_what_to_do() {
    match engine().load(&preview().build()) {
        Err(LoadError::World(sentence)) => assert_eq!(
            sentence,
            "the plugin is built against tidegate:plugin@0.0.1, which was never released; build it against 0.1.0"
        ),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_version_of_the_future_is_refused_with_what_to_do() {
    let wit = include_str!("../../../../wit/plugin.wit");
    let future = Guest {
        wit: wit.replace("plugin@0.1.0", "plugin@0.7.0"),
        ..Guest::filter("(call $ok (i32.const 0) (i32.const 0))")
    };
    match engine().load(&future.build()) {
        Err(LoadError::World(sentence)) => assert!(
            sentence.contains("tidegate:plugin@0.7.0") && sentence.contains("newer broker"),
            "{sentence}"
        ),
        other => panic!("{other:?}"),
    }
}
