//! What becomes of records that a plugin fails on or rejects: `tidegate.on.error`, `tidegate.on.reject`.

use std::sync::Arc;

use tidegate_plugin::{Binding, BindingSpec, Engine, FailureKind, Limits, OnError, OnReject, Side};

use crate::guests::{BY_VALUE, Guest, ROUTE_ALL};
use crate::{bind, done, engine, failed, records, run, run_on, spec, with_policy};

fn by_value(engine: &Engine, on_error: OnError) -> Arc<Binding> {
    bind(
        engine,
        &Guest::filter(BY_VALUE),
        with_policy(on_error, Limits::default()),
    )
}

fn on_reject(engine: &Engine, on_reject: OnReject) -> Arc<Binding> {
    let spec = BindingSpec {
        on_reject,
        ..spec("guest")
    };
    bind(engine, &Guest::filter(BY_VALUE), spec)
}

/// Every record that traps is found, and what each policy makes of them is on record.
#[test]
fn each_policy_says_what_it_did() {
    let engine = engine();
    let batch = records(&["a", "t", "b", "d", "t"]);
    for (policy, keep, taken_by) in [
        (
            OnError::Drop,
            [true, false, true, false, false],
            [0, 1, 0, 1, 1],
        ),
        (
            OnError::Pass,
            [true, true, true, false, true],
            [0, 0, 0, 1, 0],
        ),
        (
            OnError::DeadLetter,
            [true, false, true, false, false],
            [0, 1, 0, 1, 1],
        ),
    ] {
        let binding = by_value(&engine, policy);
        let result = done(run(&[&binding], &batch));
        assert_eq!(result.keep, keep, "{policy:?}");
        assert_eq!(result.taken_by, taken_by, "{policy:?}");
        let failed: Vec<_> = result
            .failures
            .iter()
            .map(|f| (f.binding, f.kind, f.policy, f.records.as_slice()))
            .collect();
        assert_eq!(
            failed,
            [
                (0, FailureKind::Trap, policy, &[1][..]),
                (0, FailureKind::Trap, policy, &[4][..])
            ]
        );
        let dead: Vec<_> = result
            .dead
            .iter()
            .map(|d| (d.index, d.binding, d.kind))
            .collect();
        let stats = binding.stats();
        let counted = (stats.dropped, stats.passed, stats.dead_lettered);
        match policy {
            OnError::Drop => assert_eq!((dead.len(), counted), (0, (3, 0, 0))),
            OnError::Pass => assert_eq!((dead.len(), counted), (0, (1, 2, 0))),
            _ => {
                let trap = Some(FailureKind::Trap);
                assert_eq!(dead, [(1, 0, trap), (4, 0, trap)]);
                assert_eq!(counted, (1, 0, 2));
            }
        }
        assert_eq!(stats.records_in, 5);
    }
}

#[test]
fn undecided_records_go_to_the_dead_letters_together() {
    let engine = engine();
    let limits = Limits {
        deadline_ms: 50,
        ..Limits::default()
    };
    let binding = bind(
        &engine,
        &Guest::filter(BY_VALUE),
        with_policy(OnError::DeadLetter, limits),
    );
    let result = done(run(&[&binding], &records(&["a", "l", "b"])));
    assert_eq!(result.keep, [false; 3]);
    let dead: Vec<usize> = result.dead.iter().map(|dead| dead.index).collect();
    assert_eq!(dead, [0, 1, 2]);
    assert!(result.dead.iter().all(|d| {
        d.kind == Some(FailureKind::Deadline) && d.message.contains("ran longer than 50 ms")
    }));
    assert_eq!(binding.stats().calls, 1, "a deadline is not bisected");
}

#[test]
fn a_dead_letter_is_routed_nowhere() {
    let engine = engine();
    let router = bind(&engine, &Guest::router(ROUTE_ALL), spec("r"));
    let filter = by_value(&engine, OnError::DeadLetter);
    let result = done(run(&[&router, &filter], &records(&["a", "t", "d"])));
    let routed: Vec<usize> = result.routes.iter().map(|route| route.record).collect();
    assert_eq!(routed, [0, 2], "redriving record 1 will route it");
    assert_eq!(result.dead[0].index, 1);
}

#[test]
fn consumers_stop_where_producers_have_dead_letters() {
    let engine = engine();
    let binding = by_value(&engine, OnError::DeadLetter);
    let failure = failed(run_on(Side::Consume, &[&binding], &records(&["a", "t"])));
    assert_eq!(
        (failure.policy, failure.record, failure.temporary),
        (OnError::DeadLetter, Some(1), false)
    );
}

#[test]
fn a_paused_plugin_waits_for_whoever_resumes_it() {
    let engine = engine();
    let binding = by_value(&engine, OnError::Pause);
    assert_eq!(binding.paused(), None);
    let first = failed(run(&[&binding], &records(&["a", "t"])));
    assert_eq!((first.kind, first.temporary), (FailureKind::Trap, true));
    assert!(
        first
            .message
            .contains("`tidegate plugin resume --topic orders guest`"),
        "{first:?}"
    );
    let reason = binding.paused().unwrap();
    assert!(reason.contains("record 1"), "{reason}");
    for side in [Side::Produce, Side::Consume] {
        let later = failed(run_on(side, &[&binding], &records(&["a"])));
        assert_eq!((later.kind, later.temporary), (FailureKind::Paused, true));
        assert!(
            later.message.contains("plugin resume") && later.message.contains("it trapped"),
            "{later:?}"
        );
    }
    let stats = binding.stats();
    assert_eq!(stats.paused.as_deref(), Some(reason.as_str()));
    assert!(
        stats.last_error.unwrap().contains("it trapped"),
        "the reason is not hidden by its echo"
    );
    binding.resume();
    assert_eq!(binding.paused(), None);
    assert!(done(run(&[&binding], &records(&["a"]))).all_kept);
}

#[test]
fn rejected_records_meet_their_own_policy_on_the_produce_side() {
    let engine = engine();
    let batch = records(&["a", "r", "d", "r"]);
    let refuse = on_reject(&engine, OnReject::Refuse);
    let result = done(run(&[&refuse], &batch));
    assert_eq!(result.rejected.len(), 2);
    assert!(result.dead.is_empty());

    let dead = on_reject(&engine, OnReject::DeadLetter);
    let result = done(run(&[&dead], &batch));
    assert!(result.rejected.is_empty());
    assert_eq!(result.keep, [true, false, false, false]);
    assert_eq!(result.taken_by, [0, 1, 1, 1]);
    let letters: Vec<_> = result
        .dead
        .iter()
        .map(|d| (d.index, d.kind, d.message.as_str()))
        .collect();
    let said = "the plugin rejected the record";
    assert_eq!(letters, [(1, None, said), (3, None, said)]);
    let stats = dead.stats();
    assert_eq!(
        (stats.dead_lettered, stats.rejected, stats.dropped),
        (2, 0, 1)
    );

    let discard = on_reject(&engine, OnReject::Drop);
    let result = done(run(&[&discard], &batch));
    assert!(result.rejected.is_empty() && result.dead.is_empty());
    assert_eq!(result.keep, [true, false, false, false]);
    let discarded: Vec<usize> = result.discarded.iter().map(|r| r.index).collect();
    assert_eq!(discarded, [1, 3]);
    assert_eq!(discard.stats().rejected, 2);

    // Consumers are told nothing whatever the policy is.
    for binding in [&refuse, &dead, &discard] {
        let result = done(run_on(Side::Consume, &[binding], &batch));
        assert_eq!(result.keep, [true, false, false, false]);
        assert!(result.rejected.is_empty() && result.dead.is_empty());
    }
}

#[test]
fn the_rest_of_the_chain_runs_behind_a_dead_letter() {
    let engine = engine();
    let first = on_reject(&engine, OnReject::DeadLetter);
    let second = bind(
        &engine,
        // Traps on `a`.
        &Guest::filter(&BY_VALUE.replace("(i32.const 116)", "(i32.const 97)")),
        with_policy(OnError::DeadLetter, Limits::default()),
    );
    let result = done(run(&[&first, &second], &records(&["a", "r", "b", "d"])));
    let dead: Vec<_> = result.dead.iter().map(|d| (d.index, d.binding)).collect();
    assert_eq!(dead, [(0, 1), (1, 0)]);
    assert_eq!(result.taken_by, [2, 1, 0, 1]);
    assert_eq!(result.keep, [false, false, true, false]);
}
