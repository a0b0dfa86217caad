//! `explain`: what an operator is told of an offset is what happened to it.

use tidegate_plugin::{BindingSpec, Chain, OnError, OnReject};
use tidegate_record::{Codec, Producer};
use tidegate_storage::LogStore;

use super::world::{
    World, batch, filter, filter_under, in_groups, joined, router_under, spec, transform,
};
use crate::partition::Acks;
use crate::partition::explain::{Explanation, Fate};

fn world() -> World {
    let configs = [("tidegate.dead.letter.topic", "dlq")];
    let topics = [("t", 1, &configs[..]), ("out", 1, &[]), ("dlq", 1, &[])];
    World::new(&topics, in_groups())
}

fn send(world: &World, values: &[&[u8]]) {
    let values: Vec<_> = values.iter().map(|value| value.to_vec()).collect();
    let sent = batch(Producer::default(), Codec::Zstd, &values);
    world.produce(&sent, Acks::All).expect("acknowledged");
    world.log_barrier();
}

fn explain(world: &World, offset: i64) -> Explanation {
    let partition = world.partition("t", 0);
    world
        .block_on(partition.explain(offset))
        .expect("it is known")
}

/// Who did what, and where to.
fn steps(explanation: &Explanation) -> Vec<(&str, &str, Option<&str>)> {
    let steps = explanation.steps.iter();
    steps
        .map(|step| (step.alias.as_str(), step.action, step.to.as_deref()))
        .collect()
}

fn forgiving() -> Chain {
    filter_under(BindingSpec {
        on_error: OnError::DeadLetter,
        on_reject: OnReject::Drop,
        ..spec("guest")
    })
}

#[test]
fn every_record_of_a_batch_has_its_own_story() {
    let world = world();
    let chain = joined(&[forgiving(), transform(), router_under(OnError::Drop)]);
    world.bind("t", Some(&chain), None);
    world.bind("out", Some(&filter()), None);
    send(&world, &[b"k", b"d", b"e", b"r", b"t"]);
    let to_out = ("guest", "routed", Some("out-0"));
    let told = explain(&world, 0);
    assert_eq!((told.fate, told.stored), (Fate::Kept, true));
    assert_eq!(steps(&told), [to_out]);
    let told = explain(&world, 1);
    assert_eq!((told.fate, told.stored), (Fate::Dropped, false));
    assert_eq!(steps(&told), [("guest", "dropped", None)]);
    let told = explain(&world, 2);
    assert_eq!((told.fate, told.stored), (Fate::Edited, true));
    assert_eq!(steps(&told), [("editor", "edited", None), to_out]);
    let step = &told.steps[0];
    assert_eq!(
        (step.plugin.as_str(), step.version.as_str()),
        ("guest", "1.0.0")
    );
    let digest = format!("sha256:{}", transform().bindings()[0].plugin().digest());
    assert!(digest.starts_with(&step.digest) && step.digest.len() == 23);
    let told = explain(&world, 3);
    assert_eq!(told.fate, Fate::Dropped);
    assert_eq!(steps(&told), [("guest", "rejected, and dropped", None)]);
    assert_eq!(
        told.steps[0].reason.as_deref(),
        Some("the plugin rejected the record")
    );
    let told = explain(&world, 4);
    assert_eq!((told.fate, told.stored), (Fate::DeadLettered, false));
    assert_eq!(steps(&told), [("guest", "dead-lettered", Some("dlq"))]);
    let reason = told.steps[0].reason.as_deref().expect("a trap says why");
    assert!(reason.starts_with("trap: "), "{reason}");
    let told = explain(&world, 5);
    assert_eq!((told.fate, told.stored), (Fate::Ahead, false));
}

#[test]
fn a_target_that_does_not_keep_or_take_a_record_is_named() {
    let world = world();
    world.bind("t", Some(&router_under(OnError::Drop)), None);
    world.bind("out", Some(&filter()), None);
    send(&world, &[b"d", b"r"]);
    let told = explain(&world, 0);
    let action = "routed, and dropped by the target's own chain";
    assert_eq!(steps(&told), [("guest", action, Some("out-0"))]);
    assert_eq!(told.fate, Fate::Kept);
    let told = explain(&world, 1);
    assert_eq!(
        steps(&told),
        [("guest", "failed, and dropped", Some("out-0"))]
    );
    assert_eq!(told.fate, Fate::Dropped);
}

#[test]
fn what_the_chain_left_alone_costs_no_note() {
    let world = world();
    world.bind("t", Some(&joined(&[filter(), transform()])), None);
    send(&world, &[b"k", b"k"]);
    let partition = world.partition("t", 0);
    assert_eq!(world.log.note(partition.id, 0).expect("memory reads"), None);
    let told = explain(&world, 1);
    assert_eq!((told.fate, told.steps.len()), (Fate::Kept, 0));
}

#[test]
fn a_hole_without_a_note_is_called_that() {
    let world = world();
    let sparse = super::read::sparse(&[(0, Some(b"a".to_vec())), (1, None)], Codec::None);
    world.append_raw(sparse, 0);
    assert_eq!(explain(&world, 0).fate, Fate::Kept);
    let told = explain(&world, 1);
    assert_eq!((told.fate, told.stored), (Fate::Unknown, false));
    assert!(
        told.note.contains("before notes were kept"),
        "{}",
        told.note
    );
    // Deleted with its batch.
    world.bind("t", Some(&filter()), None);
    send(&world, &[b"d", b"k"]);
    send(&world, &[b"k"]);
    assert_eq!(explain(&world, 2).fate, Fate::Dropped);
    world.partition("t", 0).delete_below(4).expect("it moves");
    assert_eq!(explain(&world, 2).fate, Fate::Deleted);
    let partition = world.partition("t", 0);
    assert_eq!(
        world.store.note(partition.id, 2).expect("memory reads"),
        None
    );
}

#[test]
fn consumers_are_told_apart_from_the_log_and_no_counter_moves() {
    let world = world();
    send(&world, &[b"k", b"d", b"e", b"t", b"k"]);
    let chain = joined(&[filter(), transform()]);
    world.bind("t", None, Some(&chain));
    let consume = |offset| {
        let told = explain(&world, offset);
        assert_eq!(
            (told.fate, told.stored, told.steps.len()),
            (Fate::Kept, true, 0)
        );
        let steps = told.consume.into_iter();
        steps
            .map(|step| (step.alias, step.action))
            .collect::<Vec<_>>()
    };
    let said = |alias: &str, action| vec![(alias.to_owned(), action)];
    assert_eq!(consume(0), []);
    assert_eq!(consume(1), said("guest", "dropped"));
    assert_eq!(consume(2), said("editor", "edited"));
    assert_eq!(consume(3), said("guest", "stops here"));
    assert_eq!(consume(4), said("guest", "stops before"));
    for binding in chain.bindings() {
        let stats = binding.stats();
        assert_eq!((stats.calls, stats.records_in, stats.dropped), (0, 0, 0));
    }
}
