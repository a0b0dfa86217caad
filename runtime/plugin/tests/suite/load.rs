//! What may be uploaded.

use std::thread;

use tidegate_plugin::{
    Allocation, ConfigKind, Engine, EngineOptions, Limits, LoadError, OnError, State, World,
};

use crate::guests::{Guest, KEEP_ALL, ROUTE_ALL};
use crate::{engine, spec};

fn refused(engine: &Engine, wasm: &[u8]) -> LoadError {
    match engine.load(wasm) {
        Ok(plugin) => panic!("accepted: {plugin:?}"),
        Err(error) => error,
    }
}

#[test]
fn compiles_once_per_digest() {
    let engine = engine();
    let wasm = Guest::filter(KEEP_ALL).build();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| engine.load(&wasm).unwrap());
        }
    });
    let plugin = engine.load(&wasm).unwrap();
    assert_eq!(engine.compilations(), 1);
    assert_eq!(
        engine.plugin(&plugin.digest()).unwrap().digest(),
        plugin.digest()
    );
    engine.load(&Guest::router(ROUTE_ALL).build()).unwrap();
    assert_eq!(engine.compilations(), 2);
}

#[test]
fn reads_the_description() {
    let plugin = engine()
        .load(
            &Guest {
                columns: 9,
                ..Guest::filter(KEEP_ALL)
            }
            .build(),
        )
        .unwrap();
    let description = plugin.description();
    assert_eq!(plugin.world(), World::Filter);
    assert_eq!(
        (description.name.as_str(), description.version.as_str()),
        ("guest", "1.0.0")
    );
    assert_eq!(description.state, State::None);
    let columns = description.columns;
    assert!(columns.key && columns.timestamp && !columns.value && !columns.headers);
    assert_eq!(description.config.len(), 2);
    assert_eq!(description.config[0].default.as_deref(), Some("soft"));
    assert_eq!(description.config[1].kind, ConfigKind::Integer);
    assert!(!description.config[1].required);
}

#[test]
fn refuses_what_is_not_a_component() {
    let engine = engine();
    let good = Guest::filter(KEEP_ALL).build();
    assert!(matches!(refused(&engine, b""), LoadError::NotAComponent(_)));
    assert!(matches!(
        refused(&engine, b"\x7fELF"),
        LoadError::NotAComponent(_)
    ));
    let module = refused(&engine, &wat::parse_str("(module)").unwrap()).to_string();
    assert!(module.contains("core Wasm module"), "{module}");
    assert_eq!(engine.compilations(), 0);
    for length in [8, 20, good.len() / 2, good.len() - 1] {
        let error = refused(&engine, &good[..length]);
        assert!(
            matches!(error, LoadError::Compile(_) | LoadError::World(_)),
            "{length}: {error}"
        );
    }
    let error = refused(&engine, &vec![0; (32 << 20) + 1]);
    assert!(matches!(error, LoadError::TooLarge { .. }));
}

#[test]
fn refuses_flipped_bytes_without_harm() {
    let engine = engine();
    let good = Guest::filter(KEEP_ALL).build();
    for at in (8..good.len()).step_by(good.len() / 40) {
        let mut bad = good.clone();
        bad[at] ^= 0xff;
        // Some flips land in names or custom sections and change nothing.
        let _ = engine.load(&bad);
    }
}

#[test]
fn refuses_other_imports_by_name() {
    let engine = engine();
    let wasi = "(component (import \"wasi:clocks/monotonic-clock@0.2.0\" (instance)))";
    let error = refused(&engine, &wat::parse_str(wasi).unwrap());
    assert!(
        matches!(&error, LoadError::Import(s) if s.contains("`wasi:clocks/monotonic-clock@0.2.0`")
        && s.contains("no WASI")),
        "{error}"
    );
    let func = "(component (import \"exit\" (func)))";
    let error = refused(&engine, &wat::parse_str(func).unwrap());
    assert!(
        matches!(&error, LoadError::Import(s) if s.contains("`exit`")),
        "{error}"
    );
}

#[test]
fn refuses_a_host_function_that_is_not_there() {
    let mut guest = Guest::filter(KEEP_ALL);
    guest.wit = guest.wit.replace(
        "interface host {",
        "interface host {\n    open-file: func(path: string) -> bool;\n",
    );
    guest.imports = "(import \"tidegate:plugin/host@0.1.0\" \"open-file\"
        (func $open (param i32 i32) (result i32)))"
        .into();
    let error = refused(&engine(), &guest.build());
    assert!(
        matches!(&error, LoadError::Import(s) if s.contains("open-file")),
        "{error}"
    );
}

#[test]
fn refuses_a_component_of_no_world() {
    let error = refused(&engine(), &wat::parse_str("(component)").unwrap());
    assert!(
        matches!(&error, LoadError::World(s) if s.contains("neither")),
        "{error}"
    );
    let wrong = "(component
        (core module $m (func (export \"f\")))
        (core instance $i (instantiate $m))
        (func $f (canon lift (core func $i \"f\")))
        (export \"filter\" (func $f)) (export \"describe\" (func $f))
        (export \"configure\" (func $f)))";
    let error = refused(&engine(), &wat::parse_str(wrong).unwrap());
    assert!(
        matches!(&error, LoadError::World(s) if s.contains("another type")),
        "{error}"
    );
}

#[test]
fn the_dry_run_survives_hostile_descriptions() {
    let engine = engine();
    let looped = "(loop $ever (br $ever)) (unreachable)";
    let flood = "(i32.store (i32.const 772) (i32.const 2000000))";
    for (describe, said) in [
        ("(unreachable)", "trapped"),
        (looped, "1000 ms"),
        (
            &*format!("(drop (call $description)) {flood} (i32.const 768)"),
            "more bytes",
        ),
        ("(i32.const -4)", "breaks the contract"),
        ("(i32.const 1025)", "breaks the contract"),
        // A name that is not UTF-8: the string points at its own pointers.
        (
            "(drop (call $description)) (i32.store (i32.const 768) (i32.const 640))
             (i32.store (i32.const 772) (i32.const 4)) (i32.const 768)",
            "breaks the contract",
        ),
        (
            "(drop (call $description)) (i32.store (i32.const 772) (i32.const 0)) (i32.const 768)",
            "no name",
        ),
        // A default of the wrong type.
        (
            "(drop (call $description)) (i32.store8 (i32.const 840) (i32.const 1)) (i32.const 768)",
            "not an integer",
        ),
        // A discriminant that the enum does not have.
        (
            "(drop (call $description)) (i32.store8 (i32.const 793) (i32.const 9)) (i32.const 768)",
            "breaks the contract",
        ),
    ] {
        let guest = Guest {
            describe: describe.into(),
            pages: 64,
            ..Guest::filter(KEEP_ALL)
        };
        let error = refused(&engine, &guest.build());
        assert!(
            matches!(&error, LoadError::Describe(s) if s.contains(said)),
            "{describe}: {error}"
        );
    }
}

#[test]
fn the_dry_run_survives_hostile_starts() {
    let engine = engine();
    for (extra, pages, said) in [
        ("(start $s) (func $s (unreachable))", 2, "trapped"),
        ("(start $s) (func $s (loop $ever (br $ever)))", 2, "1000 ms"),
        ("", 1100, "more memory"),
    ] {
        let guest = Guest {
            extra: extra.into(),
            pages,
            ..Guest::filter(KEEP_ALL)
        };
        let error = refused(&engine, &guest.build());
        assert!(
            matches!(&error, LoadError::Describe(s) if s.contains(said)),
            "{extra}: {error}"
        );
    }
}

/// A table that a pool's slot cannot hold.
fn with_table(elements: usize) -> Vec<u8> {
    Guest {
        extra: format!(
            "(table $big {elements} funcref)
             (func (export \"grow\") (result i32)
                (table.grow $big (ref.null func) (i32.const 1000000)))"
        ),
        ..Guest::filter(KEEP_ALL)
    }
    .build()
}

#[test]
fn what_does_not_fit_the_pool_lives_in_the_second_engine() {
    let engine = engine();
    let small = engine.load(&Guest::filter(KEEP_ALL).build()).unwrap();
    assert_eq!(small.allocation(), Allocation::Pooled);
    let large = engine.load(&with_table(50_000)).unwrap();
    assert_eq!(large.allocation(), Allocation::OnDemand);
    let memories = Guest {
        extra: "(memory 1) (memory 1) (memory 1)".into(),
        ..Guest::filter(KEEP_ALL)
    };
    let several = engine.load(&memories.build()).unwrap();
    assert_eq!(several.allocation(), Allocation::OnDemand);
    let error = refused(&engine, &with_table(100_001));
    assert!(
        matches!(&error, LoadError::Compile(s) if s.contains("100000")),
        "{error}"
    );
}

#[test]
fn what_no_engine_holds_is_refused_with_its_measure() {
    let engine = engine();
    let instances = |count: usize| {
        let many = "(core instance (instantiate $m))".repeat(count);
        wat::parse_str(format!("(component (core module $m) {many})")).unwrap()
    };
    // As many as a Python component has: it gets past its size, to what it exports.
    let error = refused(&engine, &instances(40));
    assert!(matches!(error, LoadError::World(_)), "{error}");
    let error = refused(&engine, &instances(65));
    assert!(
        matches!(&error, LoadError::Compile(s) if s.contains("65") && s.contains("64")),
        "{error}"
    );
    for extra in [
        "(memory 1)".repeat(8),
        "(table 1 funcref)".repeat(33),
        "(memory 5000)".to_owned(),
        // What the host keeps for an instance grows with its globals.
        "(global (mut i64) (i64.const 0))".repeat(300_000),
    ] {
        let guest = Guest {
            extra,
            ..Guest::filter(KEEP_ALL)
        };
        let error = refused(&engine, &guest.build());
        assert!(
            matches!(&error, LoadError::Compile(s) if s.contains("needs more than")),
            "{error}"
        );
    }
}

#[test]
fn the_second_engine_has_its_own_bound_on_instances() {
    let engine = Engine::new(EngineOptions {
        max_instances: 4,
        max_large_instances: 1,
        ..EngineOptions::default()
    })
    .unwrap();
    let large = engine.load(&with_table(50_000)).unwrap();
    let first = engine.bind(&large, spec("first")).unwrap();
    assert_eq!(first.stats().instances, 1);
    // The idle instance of the first makes room for the second's.
    let second = engine.bind(&large, spec("second")).unwrap();
    assert_eq!((first.stats().instances, second.stats().instances), (0, 1));
    let none = Engine::new(EngineOptions {
        max_large_instances: 0,
        ..EngineOptions::default()
    })
    .unwrap();
    let error = refused(&none, &with_table(50_000)).to_string();
    assert!(error.contains("all the instances"), "{error}");
}

#[test]
fn limits_hold_in_the_second_engine_too() {
    let engine = engine();
    let run = |run: &str, limits: Limits| {
        let guest = Guest {
            extra: "(table $big 50000 funcref)".into(),
            ..Guest::filter(run)
        };
        let plugin = engine.load(&guest.build()).unwrap();
        assert_eq!(plugin.allocation(), Allocation::OnDemand);
        let bound = engine
            .bind(&plugin, crate::with_policy(OnError::Reject, limits))
            .unwrap();
        crate::failed(crate::run(&[&bound], &crate::records(&["a"])));
        bound.stats()
    };
    let quick = Limits {
        deadline_ms: 50,
        ..Limits::default()
    };
    let looped = run("(loop $ever (br $ever)) (unreachable)", quick);
    assert!(looped.deadline_hits > 0);
    let grows = "(if (i32.eq (memory.grow (i32.const 2000)) (i32.const -1)) (then (unreachable)))
        (call $ok (i32.const 0) (i32.const 0))";
    assert!(run(grows, Limits::default()).memory_hits > 0);
    let tables = "(if (i32.eq (table.grow $big (ref.null func) (i32.const 1)) (i32.const -1))
            (then (unreachable)))
        (call $ok (i32.const 0) (i32.const 0))";
    assert!(run(tables, Limits::default()).memory_hits > 0);
}
