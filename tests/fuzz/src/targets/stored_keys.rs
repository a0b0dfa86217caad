//! Keys and values of the store, as a disk gives them back: a byte that says which, then its bytes.
//!
//! Each is an error, or means something that is written as the same bytes again: what a store holds has one form.

use tidegate_record::PartitionId;

use crate::corpus::Seed;
use crate::keys::{
    aborted, batch, cleaned, command, format, index_row, note, partition, producers, snapshot,
};
use crate::memory::{SLACK, within};
use crate::types::{AbortedTransaction, IndexRow, PartitionEntry, ProducerSnapshot};

pub(super) fn run(data: &[u8]) {
    let Some((kind, bytes)) = data.split_first() else {
        return;
    };
    within(3 * bytes.len() + SLACK, || match kind % 10 {
        0 => batch_key(bytes),
        1 => row(bytes),
        2 => noted(bytes),
        3 => entry(bytes),
        4 => compacted(bytes),
        5 => command_key(bytes),
        6 => image(bytes),
        7 => version(bytes),
        8 => ended(bytes),
        _ => producers_of(bytes),
    });
}

fn batch_key(bytes: &[u8]) {
    if let Ok((id, offset)) = batch::decode(bytes) {
        assert_eq!(batch::encode(id, offset), bytes);
        assert!(bytes < batch::behind(id).as_slice());
    }
}

fn row(bytes: &[u8]) {
    let Some((base, value)) = bytes.split_first_chunk::<8>() else {
        return;
    };
    let base = i64::from_be_bytes(*base);
    if let Ok(row) = index_row::decode(base, value) {
        assert_eq!(index_row::encode(&row).as_ref(), value);
        assert!(row.base_offset <= row.last_offset);
        assert!(
            row.last_surviving_offset()
                .is_none_or(|offset| offset <= row.last_offset)
        );
        row.end_position();
    }
}

fn version(bytes: &[u8]) {
    if format::check(bytes).is_ok() {
        assert!(bytes.len() == 4 && bytes <= format::encode(format::CURRENT).as_slice());
    }
}

fn ended(bytes: &[u8]) {
    let Some((marker, value)) = bytes.split_first_chunk::<8>() else {
        return;
    };
    if let Ok(found) = aborted::decode(i64::from_be_bytes(*marker), value) {
        assert_eq!(aborted::encode(&found), value);
        assert!(found.first_offset <= found.last_offset);
    }
}

fn producers_of(bytes: &[u8]) {
    if let Ok(found) = producers::decode(bytes) {
        assert!(found.below >= 0);
        assert_eq!(producers::encode(&found), bytes);
    }
}

fn noted(bytes: &[u8]) {
    if let Ok(note) = note::decode(bytes) {
        assert!(note.len() <= note::MAX_LEN);
        assert_eq!(note::encode(&note), bytes);
    }
}

fn entry(bytes: &[u8]) {
    let Some((key, value)) = bytes.split_at_checked(4) else {
        return;
    };
    if let Ok(entry) = partition::decode(key, value) {
        assert_eq!(partition::encode_key(entry.id), key);
        assert_eq!(partition::encode(&entry), value);
    }
}

fn compacted(bytes: &[u8]) {
    if let Ok(offset) = cleaned::decode(bytes) {
        assert!(offset >= 0);
        assert_eq!(cleaned::encode(offset), bytes);
    }
}

fn command_key(bytes: &[u8]) {
    if let Ok(index) = command::decode_key(bytes) {
        assert_eq!(command::encode_key(index), bytes);
        assert!(bytes < command::behind().as_slice());
    }
}

fn image(bytes: &[u8]) {
    if let Ok((index, image)) = snapshot::decode(bytes) {
        assert_eq!(snapshot::encode(index, image), bytes);
    }
}

pub(super) fn seeds() -> Vec<Seed> {
    let row = IndexRow {
        base_offset: 5,
        last_offset: 9,
        last_surviving_delta: 3,
        max_timestamp: 1000,
        max_timestamp_so_far: 2000,
        leader_epoch: 1,
        producer_id: 7,
        producer_epoch: 0,
        base_sequence: 3,
        size: 100,
        attributes: 4,
        append_time: 1001,
        position: 4096,
        delete_horizon: 0,
    };
    let dated = IndexRow {
        delete_horizon: 77,
        ..row
    };
    let of_row = |row: &IndexRow| {
        [
            &row.base_offset.to_be_bytes()[..],
            index_row::encode(row).as_ref(),
        ]
        .concat()
    };
    let entry = PartitionEntry {
        id: PartitionId(3),
        topic_id: [7; 16],
        index: 2,
        log_start: 40,
    };
    let transaction = AbortedTransaction {
        producer_id: 7,
        first_offset: 3,
        last_offset: 9,
        stable_offset: 2,
    };
    let marker = [&9i64.to_be_bytes()[..], &aborted::encode(&transaction)].concat();
    let known = ProducerSnapshot {
        below: 12,
        state: b"state"[..].into(),
    };
    let parts: [(&str, u8, Vec<u8>); 11] = [
        ("producers", 9, producers::encode(&known)),
        ("aborted", 8, marker),
        ("batch", 0, batch::encode(PartitionId(3), 258).to_vec()),
        ("row", 1, of_row(&row)),
        ("row-with-horizon", 1, of_row(&dated)),
        ("note", 2, note::encode(b"a note")),
        (
            "partition",
            3,
            [
                &partition::encode_key(entry.id)[..],
                &partition::encode(&entry),
            ]
            .concat(),
        ),
        ("cleaned", 4, cleaned::encode(12)),
        ("command", 5, command::encode_key(12).to_vec()),
        ("snapshot", 6, snapshot::encode(12, b"image")),
        ("format", 7, format::encode(format::CURRENT).to_vec()),
    ];
    let seed =
        |(name, kind, bytes): (&str, u8, Vec<u8>)| Seed::made(name, [vec![kind], bytes].concat());
    parts.into_iter().map(seed).collect()
}
