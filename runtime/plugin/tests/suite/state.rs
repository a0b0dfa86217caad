//! Plugins that keep state: one instance for each partition, thrown away with every batch that was not stored.

use std::sync::Arc;

use tidegate_plugin::{
    Binding, BindingSpec, Chain, ChainInput, ChainOutcome, Engine, EngineOptions, FailureKind,
    Limits, OnError, OnReject,
};

use crate::guests::{BY_VALUE, DEDUP, Guest};
use crate::{bind, done, engine, failed, records, spec, with_policy};

fn dedup() -> Guest {
    Guest {
        state: 1,
        ..Guest::filter(DEDUP)
    }
}

fn chain(bindings: &[&Arc<Binding>]) -> Chain {
    Chain::new(bindings.iter().map(|binding| Arc::clone(binding)).collect())
}

fn run_in(chain: &Chain, partition: i32, values: &[&str]) -> ChainOutcome {
    chain.run(&ChainInput::new("orders", partition, 0, &records(values)))
}

fn keep(chain: &Chain, partition: i32, values: &[&str]) -> Vec<bool> {
    done(run_in(chain, partition, values)).keep
}

/// What a filter that remembers is for, and the loss that it must never cause: the producer sends again what was not
/// stored, and the plugin must not take it for something it has seen.
#[test]
fn a_dedup_whose_append_failed_does_not_drop_the_retry() {
    let chain = chain(&[&bind(&engine(), &dedup(), spec("dedup"))]);
    assert!(chain.keeps_state());
    assert_eq!(keep(&chain, 0, &["a", "b"]), [true, true]);
    chain.settle(0, true);
    assert_eq!(keep(&chain, 0, &["b", "c"]), [false, true]);
    chain.settle(0, false);
    // The retry: nothing of it was stored. What came before is forgotten too, which costs a duplicate, never a record.
    assert_eq!(keep(&chain, 0, &["b", "c"]), [true, true]);
    chain.settle(0, true);
    assert_eq!(keep(&chain, 0, &["c"]), [false]);
}

#[test]
fn partitions_remember_apart_and_forget_apart() {
    let binding = bind(&engine(), &dedup(), spec("dedup"));
    let chain = chain(&[&binding]);
    for partition in 0..3 {
        assert_eq!(keep(&chain, partition, &["a", "a"]), [true, false]);
        chain.settle(partition, true);
    }
    assert_eq!(binding.stats().instances, 3);
    chain.forget_state(1);
    assert_eq!(binding.stats().instances, 2);
    let again: Vec<bool> = (0..3).flat_map(|p| keep(&chain, p, &["a"])).collect();
    assert_eq!(again, [false, true, false]);
    let stats = binding.stats();
    assert_eq!((stats.instances, stats.instantiations), (3, 4));
    assert!(stats.memory_bytes >= 2 << 16);
}

#[test]
fn a_trap_is_not_run_again_and_costs_the_partitions_memory() {
    let binding = bind(
        &engine(),
        &dedup(),
        with_policy(OnError::Pass, Limits::default()),
    );
    let chain = chain(&[&binding]);
    assert_eq!(keep(&chain, 0, &["a"]), [true]);
    assert_eq!(keep(&chain, 7, &["a"]), [true]);
    let result = done(run_in(&chain, 0, &["b", "t", "a"]));
    assert_eq!(result.keep, [true; 3], "all of it is undecided together");
    assert_eq!(result.failures[0].records, [0, 1, 2]);
    assert_eq!(binding.stats().calls, 3, "no bisection");
    assert_eq!(keep(&chain, 0, &["a", "b"]), [true, true], "a new instance");
    assert_eq!(keep(&chain, 7, &["a"]), [false], "nobody else's business");
}

#[test]
fn a_refused_batch_was_not_stored_whoever_refuses_it() {
    let engine = engine();
    let dedup = bind(&engine, &dedup(), spec("dedup"));
    let rejecting = bind(&engine, &Guest::filter(BY_VALUE), spec("f"));
    let chain = chain(&[&dedup, &rejecting]);
    assert_eq!(done(run_in(&chain, 0, &["a", "r"])).rejected.len(), 1);
    assert_eq!(keep(&chain, 0, &["a"]), [true]);
    // A failure behind it, without a rejected record.
    let limits = Limits {
        deadline_ms: 50,
        ..Limits::default()
    };
    let looping = bind(
        &engine,
        &Guest::filter(BY_VALUE),
        with_policy(OnError::Reject, limits),
    );
    let chain = self::chain(&[&dedup, &looping]);
    assert_eq!(
        failed(run_in(&chain, 0, &["b", "l"])).kind,
        FailureKind::Deadline
    );
    assert_eq!(keep(&chain, 0, &["b"]), [true]);
}

/// A dead letter was not stored here, and redriving it produces it again.
#[test]
fn a_redriven_dead_letter_is_no_duplicate() {
    let engine = engine();
    let dedup = bind(&engine, &dedup(), spec("dedup"));
    let strict = bind(
        &engine,
        &Guest::filter(BY_VALUE),
        BindingSpec {
            on_reject: OnReject::DeadLetter,
            ..spec("strict")
        },
    );
    let chain = chain(&[&dedup, &strict]);
    let result = done(run_in(&chain, 0, &["a", "r"]));
    assert_eq!((result.keep, result.dead.len()), (vec![true, false], 1));
    chain.settle(0, true);
    // It gets past the dedup again, this time to a plugin that takes it.
    let mended = self::chain(&[&dedup]);
    assert_eq!(keep(&mended, 0, &["r"]), [true]);
    // What the later plugin drops is dropped for good, and remembered.
    assert_eq!(keep(&chain, 0, &["d"]), [false]);
    assert_eq!(keep(&mended, 0, &["d", "r"]), [false, false]);
}

#[test]
fn a_large_batch_is_split_and_still_seen_in_order() {
    let limits = Limits {
        call_records: 2,
        ..Limits::default()
    };
    let binding = bind(&engine(), &dedup(), with_policy(OnError::Reject, limits));
    let chain = chain(&[&binding]);
    assert_eq!(
        keep(&chain, 0, &["a", "b", "a", "c", "b"]),
        [true, true, false, true, false]
    );
    assert_eq!((binding.stats().calls, binding.stats().instances), (3, 1));
}

/// Instances with state cannot make room for others, so there is a bound; what is beyond it waits and says so.
#[test]
fn state_is_held_for_a_bounded_number_of_partitions() {
    let engine = Engine::new(EngineOptions {
        max_instances: 8,
        ..EngineOptions::default()
    })
    .unwrap();
    let binding = bind(&engine, &dedup(), spec("dedup"));
    let chain = chain(&[&binding]);
    for partition in 0..4 {
        assert_eq!(keep(&chain, partition, &["a"]), [true]);
    }
    let failure = failed(run_in(&chain, 4, &["a"]));
    assert_eq!(
        (failure.kind, failure.temporary),
        (FailureKind::Unavailable, true)
    );
    assert!(
        failure.message.contains("tidegate.plugins.max.instances"),
        "{failure:?}"
    );
    assert_eq!(keep(&chain, 3, &["a"]), [false]);
    // A partition that goes elsewhere makes room.
    chain.forget_state(0);
    assert_eq!(keep(&chain, 4, &["a"]), [true]);
    // Plugins without state have their instances all the same.
    let plain: Vec<_> = (0..12)
        .map(|n| bind(&engine, &Guest::filter(BY_VALUE), spec(&format!("f{n}"))))
        .collect();
    for binding in &plain {
        assert!(done(crate::run(&[binding], &records(&["a"]))).all_kept);
    }
}

#[test]
fn partitions_run_beside_each_other() {
    let limits = Limits {
        instances: 2,
        ..Limits::default()
    };
    let binding = bind(
        &engine(),
        &dedup(),
        BindingSpec {
            limits,
            ..spec("dedup")
        },
    );
    let chain = chain(&[&binding]);
    std::thread::scope(|scope| {
        for partition in 0..4 {
            let chain = &chain;
            scope.spawn(move || {
                assert_eq!(keep(chain, partition, &["a"]), [true]);
                for _ in 0..50 {
                    assert_eq!(keep(chain, partition, &["a"]), [false]);
                }
            });
        }
    });
    assert_eq!(binding.stats().instantiations, 4);
}
