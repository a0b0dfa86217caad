//! What chains of well-behaved guests give.

use std::sync::Arc;

use tidegate_plugin::{
    BindingSpec, Chain, ChainInput, ChainOutcome, Limits, PartitionChoice, Side,
};

use crate::guests::{BY_VALUE, Guest, KEEP_ALL, ROUTE_ALL};
use crate::{bind, config, done, engine, records, records_of, run, run_on, spec};

fn keep(outcome: ChainOutcome) -> Vec<bool> {
    done(outcome).keep
}

#[test]
fn an_empty_chain_keeps_everything() {
    let result = done(run(&[], &records(&["a", "b"])));
    assert!(result.all_kept);
    assert_eq!(result.keep, [true, true]);
}

#[test]
fn verdicts_reach_the_clients_indices() {
    let engine = engine();
    let filter = bind(&engine, &Guest::filter(BY_VALUE), spec("f"));
    let result = done(run(&[&filter], &records(&["a", "d", "", "r", "b"])));
    assert_eq!(result.keep, [true, false, true, false, true]);
    assert!(!result.all_kept);
    assert_eq!(result.rejected.len(), 1);
    assert_eq!(
        (result.rejected[0].index, result.rejected[0].alias.as_str()),
        (3, "f")
    );
    let stats = filter.stats();
    assert_eq!(
        (
            stats.records_in,
            stats.kept,
            stats.dropped,
            stats.rejected,
            stats.calls
        ),
        (5, 3, 1, 1, 1)
    );
    assert!(done(run(&[&filter], &records(&["a", "b"]))).all_kept);
    assert_eq!(
        filter.stats().instantiations,
        1,
        "the instance is used again"
    );
}

#[test]
fn a_later_plugin_sees_only_survivors() {
    let engine = engine();
    let filter = bind(&engine, &Guest::filter(BY_VALUE), spec("f"));
    let router = bind(&engine, &Guest::router(ROUTE_ALL), spec("r"));
    let result = done(run(
        &[&filter, &router],
        &records(&["d", "a", "d", "b", "c"]),
    ));
    let routed: Vec<usize> = result.routes.iter().map(|route| route.record).collect();
    assert_eq!(routed, [1, 3, 4]);
    assert!(
        result
            .routes
            .iter()
            .all(|r| r.topic == "out" && r.partition == PartitionChoice::ByKey)
    );
    assert_eq!(router.stats().records_in, 3);
    // The other way round the router sees everything, and its routes outlive the drop.
    let result = done(run(&[&router, &filter], &records(&["d", "a"])));
    assert_eq!(result.routes.len(), 2);
    assert_eq!(result.keep, [false, true]);
}

#[test]
fn a_rejection_ends_the_chain_on_produce_and_drops_on_consume() {
    let engine = engine();
    let filter = bind(&engine, &Guest::filter(BY_VALUE), spec("f"));
    let router = bind(&engine, &Guest::router(ROUTE_ALL), spec("r"));
    let batch = records(&["r", "a"]);
    let result = done(run(&[&filter, &router], &batch));
    assert_eq!(result.rejected.len(), 1);
    assert!(result.routes.is_empty());
    let result = done(run_on(Side::Consume, &[&filter], &batch));
    assert!(result.rejected.is_empty());
    assert_eq!(result.keep, [false, true]);
}

#[test]
fn reasons_are_the_plugins_words() {
    // Rejects record 0 with the sentence at 740.
    let guest = Guest::filter(
        "(drop (call $all (local.get $batch) (i32.const 2)))
         (i32.store (i32.const 524) (i32.const 940)) (i32.store (i32.const 528) (i32.const 1))
         (i32.store (i32.const 940) (i32.const 0)) (i32.store (i32.const 944) (i32.const 740))
         (i32.store (i32.const 948) (i32.const 11)) (i32.const 512)",
    );
    let filter = bind(&engine(), &guest, spec("f"));
    let result = done(run(&[&filter], &records(&["a", "b"])));
    assert_eq!(result.rejected[0].reason, "A sentence.");
    assert_eq!(result.rejected[1].reason, "the plugin rejected the record");
}

#[test]
fn large_batches_are_split_by_records_and_by_bytes() {
    let engine = engine();
    let values: Vec<&str> = (0..100)
        .map(|n| if n % 3 == 0 { "d" } else { "keep me" })
        .collect();
    let batch = records(&values);
    let expected: Vec<bool> = (0..100).map(|n| n % 3 != 0).collect();
    for (limits, calls) in [
        (
            Limits {
                call_records: 7,
                ..Limits::default()
            },
            15,
        ),
        (
            Limits {
                call_bytes: 1000,
                ..Limits::default()
            },
            4,
        ),
        (Limits::default(), 1),
    ] {
        let filter = bind(
            &engine,
            &Guest::filter(BY_VALUE),
            BindingSpec {
                limits,
                ..spec("f")
            },
        );
        assert_eq!(keep(run(&[&filter], &batch)), expected);
        let made = filter.stats().calls;
        assert!((calls..calls + 2).contains(&made), "{made} calls");
        // Behind another filter the rows are a selection of the batch's.
        let first = bind(&engine, &Guest::filter(BY_VALUE), spec("first"));
        assert_eq!(keep(run(&[&first, &filter], &batch)), expected);
        let router = BindingSpec {
            limits: filter.limits().clone(),
            ..spec("r")
        };
        let router = bind(&engine, &Guest::router(ROUTE_ALL), router);
        let routes = done(run(&[&first, &router], &batch)).routes;
        let routed: Vec<usize> = routes.iter().map(|route| route.record).collect();
        assert_eq!(routed, (0..100).filter(|n| n % 3 != 0).collect::<Vec<_>>());
    }
}

#[test]
fn tombstones_bypass_filters_where_asked_and_routers_never() {
    let engine = engine();
    let drop_all = bind(
        &engine,
        &Guest::filter("(call $all (local.get $batch) (i32.const 1))"),
        spec("f"),
    );
    let router = bind(&engine, &Guest::router(ROUTE_ALL), spec("r"));
    let batch = records_of(&[Some(b"a"), None, Some(b"")]);
    let chain = Chain::new(vec![Arc::clone(&drop_all), router]);
    let input = ChainInput::new("orders", 0, 0, &batch);
    assert_eq!(keep(chain.run(&input)), [false, false, false]);
    let result = done(chain.run(&ChainInput {
        keep_tombstones: true,
        ..input
    }));
    assert_eq!(result.keep, [false, true, false]);
    assert_eq!(
        result.routes.iter().map(|r| r.record).collect::<Vec<_>>(),
        [1]
    );
}

/// The guest checks the columns it gets against what `records_of` makes, and traps on a difference.
#[test]
fn every_column_is_lowered_as_the_contract_says() {
    let engine = engine();
    let word = |at: u32| format!("(i32.load offset={at} (local.get $batch))");
    let deref = |at: u32, plus: u32| format!("(i32.load offset={plus} {})", word(at));
    let byte = |at: u32, plus: u32| format!("(i32.load8_u offset={plus} {})", word(at));
    let long = |at: u32, plus: u32| format!("(i32.wrap_i64 (i64.load offset={plus} {}))", word(at));
    let time = |plus: i64| ((1_700_000_000_000_i64 + plus) as u32).to_string();
    let checks = [
        (word(8), "3".to_owned()),      // partition
        (word(4), "6".to_owned()),      // the topic's length
        (word(16), "1".to_owned()),     // the alias's length
        (word(48), "3".to_owned()),     // count
        (word(56), "3".to_owned()),     // offset deltas
        (deref(52, 8), "2".to_owned()), // the last one
        (word(64), "3".to_owned()),     // timestamps
        (long(60, 16), time(2)),
        (word(76), "4".to_owned()), // key offsets
        (deref(72, 12), "6".to_owned()),
        (byte(80, 3), u32::from(b'1').to_string()),
        (word(92), "0".to_owned()),  // no null key
        (word(104), "4".to_owned()), // value offsets
        (deref(100, 12), "5".to_owned()),
        (word(120), "1".to_owned()),    // one byte of null bits
        (byte(116, 0), "2".to_owned()), // the second value is null
        (word(132), "4".to_owned()),    // headers: rows
        (deref(128, 12), "3".to_owned()),
        (word(140), "4".to_owned()), // header keys
        (byte(144, 2), u32::from(b'h').to_string()),
        (byte(168, 1), u32::from(b'v').to_string()),
    ];
    let mut body = String::new();
    for (number, (got, wanted)) in checks.iter().enumerate() {
        // A wrong entry is told by how many bytes of the alphabet the failure has.
        body += &format!(
            "(if (i32.ne {got} (i32.const {wanted}))
                (then (return (call $fail (i32.const 65408) (i32.const {})))))\n",
            number + 1
        );
    }
    let guest = Guest {
        columns: 15,
        extra: format!("(data (i32.const 65408) \"{}\")", "x".repeat(40)),
        ..Guest::filter(&format!("{body} {KEEP_ALL}"))
    };
    let filter = bind(&engine, &guest, spec("f"));
    let batch = records_of(&[Some(b"ab"), None, Some(b"cde")]);
    assert!(done(run(&[&filter], &batch)).all_kept);
    // The same rows gathered from a larger batch.
    let only_x = "(local $out i32)
        (local.set $out (call $all (local.get $batch) (i32.const 0)))
        (i32.store8 offset=3 (i32.load (i32.const 516)) (i32.const 1)) (local.get $out)";
    let first = bind(&engine, &Guest::filter(only_x), spec("x"));
    let batch = records_of(&[Some(b"ab"), None, Some(b"cde"), Some(b"fgh")]);
    assert_eq!(
        keep(run(&[&first, &filter], &batch)),
        [true, true, true, false]
    );
}

#[test]
fn columns_not_asked_for_are_not_lowered() {
    // All three options are `none`, and there are no timestamps.
    let body = "
        (if (i32.or (i32.or (i32.load8_u offset=68 (local.get $batch))
                (i32.load8_u offset=96 (local.get $batch)))
            (i32.or (i32.load8_u offset=124 (local.get $batch)) (i32.load offset=64 (local.get $batch))))
            (then (unreachable)))";
    let guest = Guest {
        columns: 0,
        ..Guest::filter(&format!("{body} {KEEP_ALL}"))
    };
    let engine = engine();
    let bare = bind(&engine, &guest, spec("bare"));
    let values = bind(&engine, &Guest::filter(BY_VALUE), spec("values"));
    assert_eq!(
        keep(run(&[&values, &bare], &records(&["a", "d", "b"]))),
        [true, false, true]
    );
}

#[test]
fn counters_and_logs_are_bounded() {
    let log = "(call $log (i32.const 2) (i32.const 740) (i32.const 11))
        (call $counter (i32.const 720) (i32.const 4) (i64.const 5))";
    let limits = Limits {
        log_bytes_per_sec: 30,
        counters: 1,
        ..Limits::default()
    };
    let guest = Guest::filter(&format!(
        "{log} (call $counter (i32.const 700) (i32.const 5) (i64.const 1)) {KEEP_ALL}"
    ));
    let filter = bind(
        &engine(),
        &guest,
        BindingSpec {
            limits,
            ..spec("f")
        },
    );
    for _ in 0..5 {
        done(run(&[&filter], &records(&["a"])));
    }
    let stats = filter.stats();
    assert_eq!(
        stats.counters.iter().collect::<Vec<_>>(),
        [(&"mode".to_owned(), &25)]
    );
    assert!(stats.log_dropped >= 1, "{stats:?}");
}

#[test]
fn the_digest_tells_configurations_and_orders_apart() {
    let engine = engine();
    let plugin = engine.load(&Guest::filter(KEEP_ALL).build()).unwrap();
    let bound = |alias: &str, pairs: &[(&str, &str)]| {
        engine
            .bind(
                &plugin,
                BindingSpec {
                    config: config(pairs),
                    ..spec(alias)
                },
            )
            .unwrap()
    };
    let (a, b) = (bound("a", &[]), bound("b", &[("level", "1")]));
    let digest = |bindings: &[&Arc<tidegate_plugin::Binding>]| {
        Chain::new(bindings.iter().map(|b| Arc::clone(b)).collect()).digest()
    };
    assert_eq!(digest(&[&a, &b]), digest(&[&bound("a", &[]), &b]));
    assert_ne!(digest(&[&a, &b]), digest(&[&b, &a]));
    assert_ne!(digest(&[&a]), digest(&[&bound("a", &[("level", "1")])]));
}
