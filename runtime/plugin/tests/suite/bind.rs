//! What may be bound, and what the sentences say.

use std::sync::Arc;

use tidegate_plugin::{BindError, BindingSpec, Limits, Side, TargetPattern};

use crate::guests::{Guest, KEEP_ALL, ROUTE_ALL};
use crate::{bind, config, done, engine, records, run, spec};

fn refused(guest: &Guest, spec: BindingSpec) -> BindError {
    let engine = engine();
    let plugin = engine.load(&guest.build()).unwrap();
    match engine.bind(&plugin, spec) {
        Ok(binding) => panic!("bound: {binding:?}"),
        Err(error) => error,
    }
}

#[test]
fn checks_the_configuration_before_the_guest_runs() {
    let guest = Guest {
        configure: "(unreachable)".into(),
        ..Guest::filter(KEEP_ALL)
    };
    for pairs in [&[("oops", "1")], &[("level", "high")]] {
        let error = refused(
            &guest,
            BindingSpec {
                config: config(pairs),
                ..spec("g")
            },
        );
        assert!(matches!(error, BindError::Config(_)), "{error}");
    }
}

#[test]
fn the_guest_sees_its_values_and_defaults() {
    // `configure` fails unless it gets exactly one pair, and `config("mode")` gives four bytes.
    let guest = Guest {
        configure: "
            (call $config (i32.const 720) (i32.const 4) (i32.const 900))
            (if (i32.or (i32.ne (local.get $count) (i32.const 1))
                    (i32.ne (i32.load offset=8 (i32.const 900)) (i32.const 4)))
                (then (return (call $fail (i32.const 740) (i32.const 11)))))
            (call $ok (i32.const 0) (i32.const 0))"
            .into(),
        ..Guest::filter(KEEP_ALL)
    };
    let binding = bind(&engine(), &guest, spec("g"));
    assert_eq!(binding.alias(), "g");
    let refusal = refused(
        &guest,
        BindingSpec {
            config: config(&[("mode", "harder")]),
            ..spec("g")
        },
    );
    assert_eq!(
        refusal,
        BindError::Refused("`guest` refuses its configuration: A sentence.".into())
    );
}

#[test]
fn a_broken_configure_is_a_failure_of_the_trial() {
    for (configure, said) in [
        ("(unreachable)", "trapped"),
        ("(loop $ever (br $ever)) (unreachable)", "100 ms"),
        (
            "(drop (memory.grow (i32.const 2000))) (unreachable)",
            "more memory",
        ),
        ("(i32.const 7)", "contract"),
    ] {
        let guest = Guest {
            configure: configure.into(),
            ..Guest::filter(KEEP_ALL)
        };
        let limits = Limits {
            deadline_ms: 100,
            ..Limits::default()
        };
        let error = refused(
            &guest,
            BindingSpec {
                limits,
                ..spec("g")
            },
        );
        assert!(
            matches!(&error, BindError::Failed(s) if s.contains(said)),
            "{configure}: {error}"
        );
    }
}

#[test]
fn plugins_that_keep_state_are_for_produce_chains() {
    let guest = Guest {
        state: 1,
        ..Guest::filter(KEEP_ALL)
    };
    let error = refused(
        &guest,
        BindingSpec {
            side: Side::Consume,
            ..spec("g")
        },
    );
    assert!(
        matches!(&error, BindError::Unsupported(s) if s.contains("tidegate.produce.chain")),
        "{error}"
    );
    assert!(bind(&engine(), &guest, spec("g")).keeps_state());
}

#[test]
fn limits_beyond_the_engines_are_refused() {
    for limits in [
        Limits {
            memory_bytes: 1 << 40,
            ..Limits::default()
        },
        Limits {
            deadline_ms: 0,
            ..Limits::default()
        },
        Limits {
            table_elements: 1 << 30,
            ..Limits::default()
        },
    ] {
        let error = refused(
            &Guest::filter(KEEP_ALL),
            BindingSpec {
                limits,
                ..spec("g")
            },
        );
        assert!(matches!(error, BindError::Unsupported(_)), "{error}");
    }
}

#[test]
fn a_router_says_where_it_writes() {
    let binding = bind(&engine(), &Guest::router(ROUTE_ALL), spec("r"));
    assert_eq!(binding.targets(), [TargetPattern::Exact("out".into())]);
    for (targets, said) in [
        ("(call $fail (i32.const 740) (i32.const 11))", "A sentence."),
        ("(call $ok (i32.const 0) (i32.const 0))", "no topic"),
        ("(unreachable)", "trapped"),
        // The list has one string of no bytes.
        (
            "(i32.store (i32.const 644) (i32.const 0)) (call $ok (i32.const 640) (i32.const 1))",
            "neither a topic",
        ),
        (
            "(call $ok (i32.const 640) (i32.const 100000000))",
            "contract",
        ),
    ] {
        let guest = Guest {
            targets: targets.into(),
            ..Guest::router(ROUTE_ALL)
        };
        let error = refused(&guest, spec("r")).to_string();
        assert!(error.contains(said), "{targets}: {error}");
    }
}

#[test]
fn bindings_share_the_engines_instances() {
    let engine = engine();
    let plugin = engine.load(&Guest::filter(KEEP_ALL).build()).unwrap();
    // One idle instance each, and twice as many bindings as the engine has instances.
    let bindings: Vec<_> = (0..32)
        .map(|n| engine.bind(&plugin, spec(&format!("g{n}"))).unwrap())
        .collect();
    let batch = records(&["a"]);
    for binding in bindings.iter().chain(&bindings) {
        assert!(done(run(&[&Arc::clone(binding)], &batch)).all_kept);
    }
    assert_eq!(engine.compilations(), 1);
}
