//! Guests that do harm (reliability R11): each costs its own batch, and nothing else.

use std::time::{Duration, Instant};

use tidegate_plugin::{BreakerState, FailureKind, Limits, OnError, PoolKey, Side};

use crate::guests::{BY_VALUE, Guest, KEEP_ALL, ROUTE_ALL};
use crate::{bind, done, engine, failed, records, run, run_on, spec, with_policy};

const LOOP: &str = "(loop $ever (br $ever)) (unreachable)";

/// Memory of 16 MiB, output of 64 KiB, 100 ms: small enough to hit within a test.
fn tight() -> Limits {
    Limits {
        deadline_ms: 100,
        memory_bytes: 16 << 20,
        output_bytes: 64 << 10,
        output_records: 1000,
        ..Limits::default()
    }
}

#[test]
fn each_shape_is_told_as_what_it_is() {
    use FailureKind::{BadOutput, Deadline, Memory, OutputLimit, PluginError, Trap};
    let grow = "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
        (unreachable)";
    let table_bomb = "(loop $more (br_if $more
        (i32.ne (table.grow $t (ref.null func) (i32.const 1000)) (i32.const -1)))) (unreachable)";
    let flood_of_reasons = "
        (drop (call $all (local.get $batch) (i32.const 2)))
        (i32.store (i32.const 524) (i32.const 940)) (i32.store (i32.const 528) (i32.const 3000))
        (i32.const 512)";
    let shapes: &[(&str, &str, FailureKind)] = &[
        ("an endless loop", LOOP, Deadline),
        ("unreachable", "(unreachable)", Trap),
        (
            "division by zero",
            "(i32.div_u (i32.const 1) (i32.const 0))",
            Trap,
        ),
        ("endless recursion", "(call $deep (i32.const 0))", Trap),
        ("a load out of bounds", "(i32.load (i32.const -8))", Trap),
        ("a memory bomb", grow, Memory),
        ("a table bomb", table_bomb, Memory),
        (
            "an indirect call of nothing",
            "(call_indirect $t (result i32) (i32.const 0))",
            Trap,
        ),
        ("a result out of bounds", "(i32.const -16)", BadOutput),
        ("a result not aligned", "(i32.const 513)", BadOutput),
        (
            "a discriminant that is not there",
            "(i32.store8 (i32.const 512) (i32.const 7)) (i32.const 512)",
            BadOutput,
        ),
        (
            "codes out of bounds",
            "(call $ok (i32.const 0) (i32.const -1))",
            BadOutput,
        ),
        (
            "a flood of codes",
            "(call $ok (i32.const 0) (i32.const 100000))",
            OutputLimit,
        ),
        ("a flood of reasons", flood_of_reasons, OutputLimit),
        (
            "too few codes",
            "(call $ok (i32.const 0) (i32.const 1))",
            BadOutput,
        ),
        (
            "too many codes",
            "(call $ok (i32.const 0) (i32.const 4))",
            BadOutput,
        ),
        (
            "an unknown code",
            "(call $all (local.get $batch) (i32.const 3))",
            BadOutput,
        ),
        (
            "an error of its own",
            "(call $fail (i32.const 740) (i32.const 11))",
            PluginError,
        ),
        (
            "an error that is not UTF-8",
            "(call $fail (i32.const 640) (i32.const 4))",
            BadOutput,
        ),
        (
            "a flood as an error",
            "(call $fail (i32.const 0) (i32.const 100000))",
            OutputLimit,
        ),
        (
            "a log flood",
            "(loop $ever (call $log (i32.const 2) (i32.const 0) (i32.const 512)) (br $ever)) (unreachable)",
            Deadline,
        ),
        (
            "a log out of bounds",
            "(call $log (i32.const 2) (i32.const -8) (i32.const 100)) (unreachable)",
            BadOutput,
        ),
        (
            "a log of a level that is not there",
            "(call $log (i32.const 99) (i32.const 0) (i32.const 1)) (unreachable)",
            BadOutput,
        ),
        (
            "a counter flood",
            "(loop $ever (call $counter (i32.const 720) (i32.const 4) (i64.const -1)) (br $ever)) (unreachable)",
            Deadline,
        ),
        (
            "a configuration key that is not UTF-8",
            "(call $config (i32.const 640) (i32.const 4) (i32.const 900)) (unreachable)",
            BadOutput,
        ),
    ];
    let engine = engine();
    let batch = records(&["a", "b", "c"]);
    let good = bind(&engine, &Guest::filter(BY_VALUE), spec("good"));
    for (name, body, kind) in shapes {
        let guest = Guest {
            pages: 4,
            extra: "(table $t 10 funcref)
                (func $deep (param i32) (result i32)
                    (i32.add (call $deep (local.get 0)) (call $deep (local.get 0))))"
                .into(),
            ..Guest::filter(body)
        };
        let hostile = bind(&engine, &guest, with_policy(OnError::Reject, tight()));
        let started = Instant::now();
        // On the consume side, where a poison record is no rejection.
        let failure = failed(run_on(Side::Consume, &[&hostile], &batch));
        let took = started.elapsed();
        assert_eq!(failure.kind, *kind, "{name}: {failure:?}");
        assert_eq!(
            (failure.policy, failure.temporary),
            (OnError::Reject, false),
            "{name}"
        );
        assert!(
            failure.message.starts_with("the plugin `guest` failed: "),
            "{name}: {failure:?}"
        );
        assert!(
            took < Duration::from_millis(100 + 400),
            "{name} took {took:?}"
        );
        let stats = hostile.stats();
        let spared = u64::from(*kind == PluginError);
        assert_eq!(
            stats.instances, spared,
            "{name}: the instance is thrown away"
        );
        assert!(
            done(run(&[&good], &batch)).all_kept,
            "{name} hurt its neighbour"
        );
    }
    assert_eq!(good.stats().instantiations, 1);
}

#[test]
fn a_deadline_is_overrun_by_little() {
    let engine = engine();
    let limits = Limits {
        deadline_ms: 50,
        breaker_failures: 100,
        ..Limits::default()
    };
    let hostile = bind(
        &engine,
        &Guest::filter(LOOP),
        with_policy(OnError::Reject, limits),
    );
    let mut took: Vec<Duration> = (0..9)
        .map(|_| {
            let started = Instant::now();
            assert_eq!(
                failed(run(&[&hostile], &records(&["a"]))).kind,
                FailureKind::Deadline
            );
            started.elapsed()
        })
        .collect();
    took.sort();
    println!("deadline of 50 ms: {took:?}");
    // The least, since other tests share the machine; the bench prints what it is on a quiet one.
    assert!(took[0] < Duration::from_millis(50 + 50), "{took:?}");
    assert!(took[0] >= Duration::from_millis(50), "{took:?}");
    assert_eq!(hostile.stats().deadline_hits, 9);
}

#[test]
fn a_lying_allocator_harms_only_itself() {
    let engine = engine();
    for (realloc, kind) in [
        ("(i32.const -64)", FailureKind::BadOutput),
        ("(i32.const 1025)", FailureKind::BadOutput),
        ("(unreachable)", FailureKind::Trap),
        (LOOP, FailureKind::Deadline),
    ] {
        // `configure` gets its list through the same allocator, so it lies from the first batch on.
        let guest = Guest {
            realloc: format!(
                "(if (global.get $calls) (then (return (block (result i32) {realloc}))))
                 (global.set $free (i32.add (global.get $free) (i32.const 1024)))
                 (i32.sub (global.get $free) (i32.const 1024))"
            ),
            configure: format!("(global.set $calls (i32.const 1)) {KEEP_ALL}"),
            ..Guest::filter(KEEP_ALL)
        };
        let hostile = bind(&engine, &guest, with_policy(OnError::Reject, tight()));
        let failure = run_on(Side::Consume, &[&hostile], &records(&["a"]));
        assert_eq!(failed(failure).kind, kind, "{realloc}");
    }
}

#[test]
fn routers_cannot_lie_about_their_routes() {
    let engine = engine();
    let patched = |patch: &str| {
        let body = ROUTE_ALL.rsplit_once("(i32.const 512)").unwrap().0;
        Guest::router(&format!("{body} {patch} (i32.const 512)"))
    };
    let word = |at: u32, value: &str| format!("(i32.store (i32.const {at}) (i32.const {value}))");
    let first =
        |list: &str, value: &str| format!("(i32.store (local.get ${list}) (i32.const {value}))");
    for (name, patch, kind) in [
        (
            "fewer targets than records",
            word(552, "1"),
            FailureKind::BadOutput,
        ),
        (
            "fewer partitions than records",
            word(560, "0"),
            FailureKind::BadOutput,
        ),
        ("no topics", word(536, "0"), FailureKind::BadOutput),
        (
            "a record out of range",
            first("records", "3"),
            FailureKind::BadOutput,
        ),
        (
            "records that fall",
            first("records", "2"),
            FailureKind::BadOutput,
        ),
        (
            "a target out of range",
            first("targets", "1"),
            FailureKind::BadOutput,
        ),
        (
            "a partition out of range",
            first("partitions", "-3"),
            FailureKind::BadOutput,
        ),
        ("another topic", word(640, "700"), FailureKind::BadOutput),
        (
            "codes for other records",
            word(520, "2"),
            FailureKind::BadOutput,
        ),
        (
            "a thousand routes for a record",
            format!(
                "{} {} {}",
                word(544, "1001"),
                word(552, "1001"),
                word(560, "1001")
            ),
            FailureKind::OutputLimit,
        ),
        (
            "a flood of routes",
            word(544, "100000"),
            FailureKind::OutputLimit,
        ),
        (
            "a flood of topics",
            word(536, "100000"),
            FailureKind::OutputLimit,
        ),
    ] {
        let hostile = bind(
            &engine,
            &Guest {
                pages: 32,
                ..patched(&patch)
            },
            with_policy(OnError::Reject, tight()),
        );
        let failure = failed(run(&[&hostile], &records(&["a", "b", "c"])));
        assert_eq!(failure.kind, kind, "{name}: {failure:?}");
    }
    let honest = bind(&engine, &patched(""), spec("r"));
    assert_eq!(
        done(run(&[&honest], &records(&["a", "b", "c"])))
            .routes
            .len(),
        3
    );
}

#[test]
fn a_trap_is_bisected_to_the_poison_record() {
    let engine = engine();
    let values: Vec<&str> = (0..64)
        .map(|n| {
            if n == 13 || n == 40 {
                "t"
            } else if n == 20 {
                "d"
            } else {
                "a"
            }
        })
        .collect();
    let batch = records(&values);
    let bound = |policy| {
        bind(
            &engine,
            &Guest::filter(BY_VALUE),
            with_policy(policy, Limits::default()),
        )
    };

    let result = done(run(&[&bound(OnError::Drop)], &batch));
    let dropped: Vec<usize> = (0..64).filter(|n| !result.keep[*n]).collect();
    assert_eq!(dropped, [13, 20, 40]);

    let pass = bound(OnError::Pass);
    let result = done(run(&[&pass], &batch));
    assert_eq!(
        (0..64).filter(|n| !result.keep[*n]).collect::<Vec<_>>(),
        [20]
    );
    assert_eq!(pass.stats().breaker, BreakerState::Closed);
    assert!(pass.stats().traps >= 2);

    let result = done(run(&[&bound(OnError::Reject)], &batch));
    assert_eq!(result.rejected.len(), 1);
    assert_eq!(result.rejected[0].index, 13);
    assert!(
        result.rejected[0].reason.contains("trapped"),
        "{:?}",
        result.rejected
    );

    let failure = failed(run_on(Side::Consume, &[&bound(OnError::Reject)], &batch));
    assert_eq!(
        (failure.kind, failure.record),
        (FailureKind::Trap, Some(13))
    );
    let result = done(run(&[&bound(OnError::DeadLetter)], &batch));
    let dead: Vec<usize> = result.dead.iter().map(|dead| dead.index).collect();
    assert_eq!(dead, [13, 40]);
}

#[test]
fn bisection_ends_with_its_budget() {
    let engine = engine();
    // Every record traps, each after burning much of the deadline.
    let slow_trap = "(local $i i64)
        (loop $burn
            (local.set $i (i64.add (local.get $i) (i64.const 1)))
            (br_if $burn (i64.lt_u (local.get $i) (i64.const 20000000))))
        (unreachable)";
    let limits = Limits {
        deadline_ms: 100,
        ..Limits::default()
    };
    let hostile = bind(
        &engine,
        &Guest::filter(slow_trap),
        with_policy(OnError::Drop, limits),
    );
    let batch = records(&["a"; 1000]);
    let started = Instant::now();
    let result = done(run(&[&hostile], &batch));
    assert!(
        started.elapsed() < Duration::from_millis(200 + 400),
        "{:?}",
        started.elapsed()
    );
    assert!(
        result.keep.iter().all(|keep| !keep),
        "undecided records meet the policy together"
    );
}

#[test]
fn deadlines_are_not_bisected_and_meet_the_policy() {
    let engine = engine();
    let limits = Limits {
        deadline_ms: 50,
        ..Limits::default()
    };
    let batch = records(&["a", "l", "b"]);
    for (policy, kept) in [(OnError::Drop, false), (OnError::Pass, true)] {
        let hostile = bind(
            &engine,
            &Guest::filter(BY_VALUE),
            with_policy(policy, limits.clone()),
        );
        let result = done(run(&[&hostile], &batch));
        assert_eq!(result.keep, [kept; 3]);
        assert_eq!(hostile.stats().calls, 1);
    }
}

#[test]
fn a_record_larger_than_a_call_is_a_failure() {
    let limits = Limits {
        call_bytes: 1000,
        ..Limits::default()
    };
    let filter = bind(
        &engine(),
        &Guest::filter(BY_VALUE),
        with_policy(OnError::Reject, limits),
    );
    let large = "x".repeat(2000);
    let failure = failed(run(&[&filter], &records(&["a", &large, "b"])));
    assert_eq!(failure.kind, FailureKind::Memory);
    assert!(!failure.temporary);
}

#[test]
fn the_breaker_opens_and_closes_by_itself() {
    let engine = engine();
    let limits = Limits {
        breaker_failures: 3,
        breaker_delay_ms: 300,
        ..tight()
    };
    let bound = |policy| {
        bind(
            &engine,
            &Guest::filter(BY_VALUE),
            with_policy(policy, limits.clone()),
        )
    };
    let filter = bound(OnError::Reject);
    let (bad, good) = (records(&["l"]), records(&["a"]));
    for _ in 0..3 {
        assert_eq!(failed(run(&[&filter], &bad)).kind, FailureKind::Deadline);
    }
    let failure = failed(run(&[&filter], &good));
    assert_eq!(
        (failure.kind, failure.temporary),
        (FailureKind::BreakerOpen, true)
    );
    assert_eq!(filter.stats().breaker, BreakerState::Open);
    assert_eq!(filter.stats().calls, 3);
    let until = Instant::now() + Duration::from_secs(20);
    while filter.stats().breaker != BreakerState::HalfOpen {
        assert!(Instant::now() < until);
        std::thread::yield_now();
    }
    assert!(done(run(&[&filter], &good)).all_kept);
    assert_eq!(filter.stats().breaker, BreakerState::Closed);

    // An open breaker means for `pass` what a failure would: the records go by.
    let pass = bound(OnError::Pass);
    for _ in 0..4 {
        assert!(done(run(&[&pass], &bad)).all_kept);
    }
    assert_eq!(pass.stats().calls, 3);
    pass.resume();
    assert_eq!(pass.stats().breaker, BreakerState::Closed);
}

#[test]
fn busy_instances_are_waited_for() {
    let engine = engine();
    let limits = Limits {
        instances: 1,
        ..Limits::default()
    };
    let filter = bind(
        &engine,
        &Guest::filter(BY_VALUE),
        with_policy(OnError::Reject, limits),
    );
    let batch = records(&["a", "d"]);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    assert_eq!(done(run(&[&filter], &batch)).keep, [true, false]);
                }
            });
        }
    });
    let stats = filter.stats();
    assert_eq!((stats.instantiations, stats.calls), (1, 200));
}

#[test]
fn a_looping_plugin_leaves_the_pool_to_others() {
    let engine = engine();
    let limits = Limits {
        deadline_ms: 300,
        breaker_failures: 1000,
        ..Limits::default()
    };
    let hostile = bind(
        &engine,
        &Guest::filter(LOOP),
        with_policy(OnError::Reject, limits),
    );
    let good = bind(&engine, &Guest::filter(BY_VALUE), spec("good"));
    for _ in 0..8 {
        let hostile = hostile.clone();
        let job = move || drop(run(&[&hostile], &records(&["a"])));
        engine.pool().submit(PoolKey(1), Box::new(job)).unwrap();
    }
    let (send, receive) = std::sync::mpsc::channel();
    let started = Instant::now();
    for _ in 0..20 {
        let (good, send) = (good.clone(), send.clone());
        let job = move || {
            send.send(done(run(&[&good], &records(&["a"]))).all_kept)
                .unwrap()
        };
        engine.pool().submit(PoolKey(2), Box::new(job)).unwrap();
    }
    for _ in 0..20 {
        assert!(receive.recv_timeout(Duration::from_secs(20)).unwrap());
    }
    // Serially behind the loops it would be more than two seconds.
    assert!(
        started.elapsed() < Duration::from_millis(1500),
        "{:?}",
        started.elapsed()
    );
}
