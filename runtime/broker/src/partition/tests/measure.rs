//! What chains cost a partition, on a log in memory: `cargo test --release -p tidegate-broker --lib measure -- --ignored
//! --nocapture`.

use std::collections::VecDeque;
use std::time::Instant;

use tidegate_plugin::Chain;
use tidegate_record::{Codec, Producer};
use tidegate_storage::LogOptions;

use super::world::{World, batch, chain_of, checked, filter, spec, transform};
use crate::partition::Acks;
use crate::plugins::testbed::guests;

const BATCHES: usize = 20_000;
const RECORDS: usize = 100;
const IN_FLIGHT: usize = 32;

fn stateful() -> Chain {
    let guest = guests::Guest {
        state: 1,
        ..guests::Guest::filter(guests::BY_VALUE)
    };
    chain_of(&guest.build(), spec("stateful"))
}

#[test]
#[ignore = "prints figures, asserts nothing"]
fn batches_per_second() {
    println!("one partition, batches of {RECORDS} records of 100 bytes, {IN_FLIGHT} in flight");
    println!("| chain | records | batches/s | us a batch |");
    println!("| --- | --- | --- | --- |");
    let (kept, mixed, edited) = (&b"k"[..], &b"kd"[..], &b"e"[..]);
    for (name, letters, chain) in [
        ("none", kept, None),
        ("filter", kept, Some(filter())),
        ("filter that keeps state", kept, Some(stateful())),
        ("filter", mixed, Some(filter())),
        ("filter that keeps state", mixed, Some(stateful())),
        ("transform", edited, Some(transform())),
    ] {
        let mut best = f64::INFINITY;
        for _ in 0..3 {
            best = best.min(run(letters, chain.as_ref()));
        }
        let what = match letters {
            b"k" => "all kept",
            b"kd" => "every other one dropped, a note",
            _ => "all edited, a note",
        };
        let each = best / BATCHES as f64;
        println!(
            "| {name} | {what} | {:.0} | {:.1} |",
            1.0 / each,
            each * 1e6
        );
    }
}

/// Seconds for all batches.
fn run(letters: &[u8], chain: Option<&Chain>) -> f64 {
    let world = World::new(&[("t", 1, &[])], LogOptions::default());
    world.bind("t", chain, None);
    let partition = world.partition("t", 0);
    let values: Vec<Vec<u8>> = (0..RECORDS)
        .map(|n| {
            let mut value = vec![b'.'; 100];
            value[0] = letters[n % letters.len()];
            value
        })
        .collect();
    let sent = checked(&batch(Producer::default(), Codec::None, &values));
    let mut waiting = VecDeque::new();
    let started = Instant::now();
    for _ in 0..BATCHES {
        if waiting.len() == IN_FLIGHT {
            let oldest = waiting.pop_front().expect("it is full");
            world.outcome(oldest).expect("stored");
        }
        waiting.push_back(partition.produce(sent.clone(), Acks::Leader));
    }
    for outcome in waiting {
        world.outcome(outcome).expect("stored");
    }
    started.elapsed().as_secs_f64()
}
