//! What an operator is told: counters, limits by name, where a failure happened, logs.

use std::sync::{Arc, Mutex};

use tidegate_plugin::{
    BindingSpec, Chain, ChainInput, ChainOutcome, Columns, FailureKind, Limits, LogLevel, LogSink,
    OnError, Side,
};
use tidegate_record::{BatchBuilder, Codec, DecodeLimits, RecordParts, Records};

use crate::guests::{BY_HEADER, BY_VALUE, DEDUP, Guest, KEEP_ALL, MARK_ALL};
use crate::{bind, config, done, engine, failed, records, run, run_on, spec, with_policy};

const LOOP: &str = "(loop $ever (br $ever)) (unreachable)";

/// Records with one header each and values of this many bytes.
fn with_headers(value_bytes: usize) -> Records {
    let value = vec![b'v'; value_bytes];
    let mut builder = BatchBuilder::new(Codec::None);
    for _ in 0..100 {
        builder
            .push(RecordParts {
                offset_delta: None,
                timestamp: 0,
                key: None,
                value: Some(&value),
                headers: &[(b"level", Some(b"info"))],
            })
            .unwrap();
    }
    let limits = DecodeLimits {
        max_bytes: 64 << 20,
        max_records: 1 << 20,
    };
    builder.build().unwrap().records(limits).unwrap()
}

#[test]
fn a_header_filter_costs_the_same_whatever_the_values() {
    let engine = engine();
    let guest = Guest {
        columns: 4,
        ..Guest::filter(BY_HEADER)
    };
    let lowered = |value_bytes: usize| {
        let filter = bind(&engine, &guest, spec("h"));
        let result = done(run(&[&filter], &with_headers(value_bytes)));
        let stats = filter.stats();
        (result.column_bytes, stats.lowered_bytes, stats.memory_bytes)
    };
    let small = lowered(1);
    assert_eq!(lowered(10_000), small);
    assert_eq!(small.0, 100 * "levelinfo".len() as u64);
    // One that reads values has them in its memory.
    let filter = bind(&engine, &Guest::filter(KEEP_ALL), spec("v"));
    done(run(&[&filter], &with_headers(10_000)));
    assert!(filter.stats().lowered_bytes > 1_000_000);
    assert!(filter.stats().memory_bytes > 1_000_000);
}

#[test]
fn a_configuration_narrows_what_is_lowered() {
    // With `mode=h...` it needs headers only. A call in `filter` comes too late.
    let guest = Guest {
        columns: 6,
        configure: "
            (call $config (i32.const 720) (i32.const 4) (i32.const 900))
            (if (i32.eq (i32.load8_u (i32.load (i32.const 904))) (i32.const 104))
                (then (call $narrow (i32.const 0)) (call $narrow (i32.const 5))))
            (call $ok (i32.const 0) (i32.const 0))"
            .into(),
        ..Guest::filter(&format!("(call $narrow (i32.const 2)) {KEEP_ALL}"))
    };
    let engine = engine();
    let plugin = engine.load(&guest.build()).unwrap();
    let bound = |mode: &str| {
        let spec = BindingSpec {
            config: config(&[("mode", mode)]),
            ..spec(mode)
        };
        engine.bind(&plugin, spec).unwrap()
    };
    let (wide, narrow) = (bound("soft"), bound("head"));
    assert!(wide.columns().value && wide.columns().headers);
    let headers = Columns {
        headers: true,
        ..Columns::default()
    };
    assert_eq!(narrow.columns(), headers, "keys were not described");
    let batch = with_headers(1000);
    for _ in 0..2 {
        let result = done(run(&[&narrow], &batch));
        assert_eq!(result.column_bytes, 900, "the values are not even copied");
    }
    assert!(narrow.stats().lowered_bytes < 20_000);
    assert_eq!(done(run(&[&wide], &batch)).column_bytes, 100_900);
}

#[test]
fn columns_are_decoded_once_for_the_whole_chain() {
    let engine = engine();
    let filters: Vec<_> = (0..3)
        .map(|n| bind(&engine, &Guest::filter(BY_VALUE), spec(&format!("f{n}"))))
        .collect();
    let batch = records(&["one", "two", "three"]);
    let single = done(run(&[&filters[0]], &batch)).column_bytes;
    let chained = done(run(&[&filters[0], &filters[1], &filters[2]], &batch)).column_bytes;
    assert_eq!((single, chained), (11, 11));
    // A transform's edits are written into them; nothing is taken out of the batch again.
    let mark = bind(&engine, &Guest::transform(MARK_ALL), spec("m"));
    let behind = done(run(&[&mark, &filters[0]], &batch)).column_bytes;
    assert_eq!(behind, single);
}

#[test]
fn every_limit_names_itself_and_its_value() {
    let engine = engine();
    let limits = Limits {
        deadline_ms: 60,
        memory_bytes: 4 << 20,
        table_elements: 100,
        output_bytes: 64 << 10,
        output_records: 10,
        ..Limits::default()
    };
    let grow = "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
        (unreachable)";
    let table = "(drop (table.grow $t (ref.null func) (i32.const 1000))) (unreachable)";
    let reasons = "
        (drop (call $all (local.get $batch) (i32.const 2)))
        (i32.store (i32.const 524) (i32.const 940)) (i32.store (i32.const 528) (i32.const 11))
        (memory.fill (i32.const 940) (i32.const 0) (i32.const 132))
        (i32.const 512)";
    for (body, limit, said) in [
        (LOOP, "deadline", "(limit `deadline.ms`: 60)"),
        (grow, "memory", "(limit `memory.bytes`: 4194304)"),
        (table, "table.elements", "(limit `table.elements`: 100)"),
        (
            "(call $ok (i32.const 0) (i32.const 100000))",
            "output.bytes",
            "(limit `output.bytes`: 65536)",
        ),
        (reasons, "output.records", "(limit `output.records`: 10)"),
    ] {
        let guest = Guest {
            extra: "(table $t 10 funcref)".into(),
            ..Guest::filter(body)
        };
        let hostile = bind(
            &engine,
            &guest,
            with_policy(OnError::Reject, limits.clone()),
        );
        let batch = records(&["a"; 20]);
        let failure = failed(run_on(Side::Consume, &[&hostile], &batch));
        assert!(failure.message.contains(said), "{limit}: {failure:?}");
        let stats = hostile.stats();
        assert_eq!(
            stats.limit_hits.iter().collect::<Vec<_>>(),
            [(&limit, &1)],
            "{limit}"
        );
        assert!(stats.last_error.unwrap().contains(said), "{limit}");
    }
}

#[test]
fn rates_and_counter_names_are_limits_too() {
    let chatty = "
        (call $log (i32.const 2) (i32.const 740) (i32.const 11))
        (call $log (i32.const 2) (i32.const 740) (i32.const 11))
        (call $counter (i32.const 720) (i32.const 4) (i64.const 1))
        (call $counter (i32.const 700) (i32.const 5) (i64.const 1))";
    let limits = Limits {
        log_bytes_per_sec: 15,
        counters: 1,
        ..Limits::default()
    };
    let guest = Guest::filter(&format!("{chatty} {KEEP_ALL}"));
    let filter = bind(&engine(), &guest, with_policy(OnError::Reject, limits));
    done(run(&[&filter], &records(&["a"])));
    let hits = filter.stats().limit_hits;
    assert_eq!(
        hits.into_iter().collect::<Vec<_>>(),
        [("counters", 1), ("log.rate", 1)]
    );
}

#[test]
fn too_few_instances_are_a_limit() {
    let limits = Limits {
        deadline_ms: 100,
        instances: 1,
        breaker_failures: 100,
        ..Limits::default()
    };
    let busy = bind(
        &engine(),
        &Guest::filter(LOOP),
        with_policy(OnError::Drop, limits),
    );
    // One after the other they would take half a second, and each waits for twice its deadline.
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..5)
            .map(|_| scope.spawn(|| run(&[&busy], &records(&["a"]))))
            .collect();
        let unavailable = runs
            .into_iter()
            .filter_map(|run| match run.join().unwrap() {
                ChainOutcome::Failed(failure) => Some(failure),
                ChainOutcome::Done(_) => None,
            })
            .inspect(|failure| {
                assert_eq!(
                    (failure.kind, failure.temporary),
                    (FailureKind::Unavailable, true)
                );
                assert!(
                    failure.message.contains("(limit `instances`: 1)"),
                    "{failure:?}"
                );
            })
            .count() as u64;
        assert!(unavailable > 0);
        assert_eq!(busy.stats().limit_hits["instances"], unavailable);
    });
}

#[test]
fn a_trap_says_where_in_the_guest_and_on_which_record() {
    let guest = Guest {
        extra: "(func $parse_amount (param $batch i32) (result i32) (unreachable))".into(),
        ..Guest::filter(&BY_VALUE.replace(
            "(unreachable)",
            "(drop (call $parse_amount (local.get $batch)))",
        ))
    };
    let engine = engine();
    let consume = bind(&engine, &guest, spec("billing"));
    let batch = records(&["a", "b", "t", "c"]);
    let chain = Chain::new(vec![Arc::clone(&consume)]);
    let failure = failed(chain.run(&ChainInput {
        side: Side::Consume,
        base_offset: Some(1000),
        ..ChainInput::new("orders", 3, 0, &batch)
    }));
    assert_eq!(
        failure.message,
        "the plugin `billing` failed: it trapped: wasm `unreachable` instruction executed, in parse_amount < run \
         (topic `orders`, partition 3, record 2 of its batch, offset 1002)"
    );
    let said = consume.stats().last_error.unwrap();
    assert!(failure.message.ends_with(&said), "{said}");
    // A loop is found the same way.
    let limits = Limits {
        deadline_ms: 50,
        ..Limits::default()
    };
    let spinning = Guest {
        extra: format!("(func $wait_for_ever (result i32) {LOOP})"),
        ..Guest::filter("(call $wait_for_ever)")
    };
    let spinning = bind(&engine, &spinning, with_policy(OnError::Reject, limits));
    let failure = failed(run(&[&spinning], &batch));
    assert_eq!(failure.kind, FailureKind::Deadline);
    assert!(
        failure.message.contains("in wait_for_ever < run"),
        "{failure:?}"
    );
}

type Lines = Arc<Mutex<Vec<(String, i32, LogLevel, String)>>>;

#[test]
fn log_lines_carry_their_topic_and_partition() {
    let lines = Lines::default();
    let sink = Arc::clone(&lines);
    let log = LogSink::new(move |line| {
        assert_eq!(line.alias, "f");
        sink.lock().unwrap().push((
            line.topic.to_owned(),
            line.partition,
            line.level,
            line.message.to_owned(),
        ));
    });
    // `A sentence.` with its space made a line break, which would forge a line.
    let guest = Guest {
        configure: format!("(call $log (i32.const 3) (i32.const 740) (i32.const 11)) {KEEP_ALL}"),
        ..Guest::filter(&BY_VALUE.replacen(
            "(local.set $n",
            "(i32.store8 (i32.const 741) (i32.const 10))
             (call $log (i32.const 1) (i32.const 740) (i32.const 11)) (local.set $n",
            1,
        ))
    };
    let filter = bind(&engine(), &guest, BindingSpec { log, ..spec("f") });
    done(run(&[&filter], &records(&["a"])));
    failed(run_on(Side::Consume, &[&filter], &records(&["t"])));
    let lines = lines.lock().unwrap();
    let expected = [
        (String::new(), -1, LogLevel::Warn, "A sentence.".to_owned()),
        ("orders".into(), 3, LogLevel::Debug, "A sentence.".into()),
        ("orders".into(), 3, LogLevel::Debug, "A sentence.".into()),
    ];
    assert_eq!(lines[..3], expected);
    // What went wrong stands among what the plugin said before.
    let (topic, partition, level, message) = &lines[3];
    assert_eq!(
        (topic.as_str(), *partition, *level),
        ("orders", 3, LogLevel::Error)
    );
    assert!(message.contains("it trapped"), "{message}");
}

#[test]
fn time_and_memory_are_counted() {
    let busy = "
        (local $i i64)
        (loop $burn
            (local.set $i (i64.add (local.get $i) (i64.const 1)))
            (br_if $burn (i64.lt_u (local.get $i) (i64.const 3000000))))
        (drop (memory.grow (i32.const 10)))";
    let filter = bind(
        &engine(),
        &Guest::filter(&format!("{busy} {KEEP_ALL}")),
        spec("f"),
    );
    for _ in 0..5 {
        done(run(&[&filter], &records(&["a"])));
    }
    let stats = filter.stats();
    assert!(stats.cpu_nanos > 100_000, "{stats:?}");
    assert!(stats.cpu_nanos <= stats.nanos + 5_000_000, "{stats:?}");
    assert_eq!(stats.latency.count(), 5);
    assert!(stats.latency.sum_nanos >= stats.nanos);
    assert_eq!(stats.memory_bytes, (2 + 5 * 10) << 16);
    // It goes with the instance.
    let trapping = bind(
        &engine(),
        &Guest::filter("(drop (memory.grow (i32.const 10))) (unreachable)"),
        with_policy(OnError::Pass, Limits::default()),
    );
    done(run(&[&trapping], &records(&["a"])));
    assert_eq!(trapping.stats().memory_bytes, 0);
}

#[test]
fn a_dry_run_leaves_no_trace() {
    let engine = engine();
    let filter = bind(
        &engine,
        &Guest::filter(BY_VALUE),
        with_policy(OnError::Pause, Limits::default()),
    );
    let chain = Chain::new(vec![Arc::clone(&filter)]);
    let try_out = |chain: &Chain, values: &[&str]| {
        chain.dry_run(&ChainInput::new("orders", 0, 0, &records(values)))
    };
    assert_eq!(done(try_out(&chain, &["a", "d"])).keep, [true, false]);
    failed(try_out(&chain, &["t"]));
    let stats = filter.stats();
    assert_eq!((stats.records_in, stats.errors, stats.paused), (0, 0, None));
    // State would remember the batch, so a chain that keeps some cannot be tried.
    let dedup = Guest {
        state: 1,
        ..Guest::filter(DEDUP)
    };
    let dedup = bind(&engine, &dedup, spec("dedup"));
    assert!(done(run(&[&dedup], &records(&["a"]))).all_kept);
    let failure = failed(try_out(&Chain::new(vec![Arc::clone(&dedup)]), &["b"]));
    assert!(failure.message.contains("keeps state"), "{failure:?}");
    let result = done(run(&[&dedup], &records(&["a", "b"])));
    assert_eq!(result.keep, [false, true]);
}
