//! Markers that lead a consumer past offsets without records: a fetch offset, how far it was scanned, an epoch, a time.
//!
//! Each is one control batch with a good CRC and the epoch of its last offset; a consumer that follows it moves on from
//! where it asked, never back and never past what was scanned, and is shown nothing.

use tidegate_record::gap::{GAP_PRODUCER_ID, before, marker};
use tidegate_record::{Batch, DecodeLimits, LeaderEpoch, Offset};

use crate::corpus::Seed;
use crate::input::Input;

pub(super) fn run(data: &[u8]) {
    let mut input = Input::new(data);
    // What a fetch has been checked for: an offset of the log, and one at or behind it. The last is for producers.
    let fetch = input.i64() & (i64::MAX >> 1);
    let scanned = fetch.saturating_add(input.i64() & (i64::MAX >> 2));
    let (epoch, time) = (LeaderEpoch(input.i32()), input.i64());

    let at_end = checked(marker(scanned, epoch, time), epoch);
    assert_eq!(
        (at_end.base_offset(), at_end.last_offset()),
        (scanned, scanned)
    );
    let limits = DecodeLimits {
        max_bytes: 100,
        max_records: 1,
    };
    let records = at_end.records(limits).expect("a marker is a record");
    assert_eq!(records.get(0).map(|record| record.timestamp), Some(time));

    let ahead = checked(before(fetch, scanned, epoch, time), epoch);
    let next = ahead.last_offset() + 1;
    assert!(
        fetch < next && next <= scanned + 1,
        "from {fetch} to {next}, scanned to {scanned}"
    );
    assert!((0..=fetch).contains(&ahead.base_offset()));
    let reached = i64::from(ahead.header().last_offset_delta);
    assert!(
        next == scanned + 1 || reached == i64::from(i32::MAX),
        "it stops short of {scanned}"
    );
    assert_eq!(
        record_offset(&ahead),
        fetch - 1,
        "a record that the consumer has passed"
    );
}

fn checked(batch: Batch, epoch: LeaderEpoch) -> Batch {
    let batch = Batch::check(batch.into_bytes()).expect("it has its length and CRC");
    let header = batch.header();
    assert!(header.attributes.is_control() && header.attributes.is_transactional());
    assert_eq!(
        (header.producer_id, header.record_count),
        (GAP_PRODUCER_ID, 1)
    );
    assert_eq!(batch.leader_epoch(), epoch);
    batch
}

/// Behind length, attributes and timestamp delta, a byte each, stands the offset delta: 0 or -1 in zigzag.
fn record_offset(batch: &Batch) -> Offset {
    let delta = match batch.record_bytes()[3] {
        0 => 0,
        1 => -1,
        other => panic!("an offset delta of {other}"),
    };
    batch.base_offset() + delta
}

pub(super) fn seeds() -> Vec<Seed> {
    let seed = |(name, fetch, further): (&str, i64, i64)| {
        let bytes = [
            &fetch.to_be_bytes()[..],
            &further.to_be_bytes(),
            &[0, 0, 0, 5],
            &[0; 8],
        ];
        Seed::made(name, bytes.concat())
    };
    let cases = [
        ("zero", 0, 0),
        ("one", 1, 9),
        ("far", 1000, i64::from(i32::MAX) + 9),
        ("ends", i64::MAX, i64::MAX),
    ];
    cases.into_iter().map(seed).collect()
}
