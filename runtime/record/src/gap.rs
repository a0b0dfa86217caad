//! Markers that move a consumer past offsets at which nothing is left for it.
//!
//! A marker is an ordinary COMMIT end-transaction marker in a control batch of its own, of a
//! producer that no client can have. Clients read past it without showing it to anybody.

use crate::{
    Attributes, Batch, BatchHeader, HEADER_LEN, LeaderEpoch, NO_SEQUENCE, Offset,
    header::LENGTH_OVERHEAD, varint::put_i32,
};

/// Producer of gap markers. Brokers hand out ids from 0 up and never come here.
pub const GAP_PRODUCER_ID: i64 = 1 << 62;

/// Key: version 0, type 1 = COMMIT.
const KEY: [u8; 4] = [0, 0, 0, 1];
/// Value: version 0, coordinator epoch 0.
const VALUE: [u8; 6] = [0; 6];

/// A marker at `offset`, the last one that was scanned; a consumer continues behind it.
///
/// `epoch` must be the leader epoch of `offset`: clients take their position's epoch from here,
/// and an old one is reported as truncation. `timestamp` is in milliseconds.
pub fn marker(offset: Offset, epoch: LeaderEpoch, timestamp: i64) -> Batch {
    control_batch(offset, 0, 0, epoch, timestamp)
}

/// A marker for clients that show control records as messages: its range reaches from
/// `fetch_offset` to `hi`, both included, but its one record lies before `fetch_offset`, where
/// every client discards it.
///
/// Only for a response without real records. At `fetch_offset` 0 the record's offset is -1.
pub fn before(fetch_offset: Offset, hi: Offset, epoch: LeaderEpoch, timestamp: i64) -> Batch {
    // A batch ranges over at most 2^31 offsets; the consumer asks again for what is beyond.
    let reach = |from: Offset| {
        i32::try_from(hi.saturating_sub(from))
            .unwrap_or(i32::MAX)
            .max(0)
    };
    match fetch_offset.checked_sub(1) {
        Some(base) if base >= 0 => control_batch(base, reach(base), 0, epoch, timestamp),
        // No batch may start at -1, so the record steps out of the range instead.
        _ => control_batch(fetch_offset, reach(fetch_offset), -1, epoch, timestamp),
    }
}

fn control_batch(
    base_offset: Offset,
    last_offset_delta: i32,
    record_delta: i32,
    epoch: LeaderEpoch,
    timestamp: i64,
) -> Batch {
    let mut bytes = vec![0; HEADER_LEN];
    put_record(&mut bytes, record_delta);
    let header = BatchHeader {
        base_offset,
        batch_length: (bytes.len() - LENGTH_OVERHEAD) as i32,
        leader_epoch: epoch.0,
        magic: 2,
        crc: 0,
        attributes: Attributes::default()
            .with_transactional(true)
            .with_control(true),
        last_offset_delta,
        base_timestamp: timestamp,
        max_timestamp: timestamp,
        producer_id: GAP_PRODUCER_ID,
        producer_epoch: 0,
        base_sequence: NO_SEQUENCE,
        record_count: 1,
    };
    Batch::seal_sized(header, bytes)
}

fn put_record(out: &mut Vec<u8>, offset_delta: i32) {
    let mut body = vec![0, 0]; // attributes, timestamp delta
    put_i32(&mut body, offset_delta);
    put_i32(&mut body, KEY.len() as i32);
    body.extend_from_slice(&KEY);
    put_i32(&mut body, VALUE.len() as i32);
    body.extend_from_slice(&VALUE);
    put_i32(&mut body, 0); // headers
    put_i32(out, body.len() as i32);
    out.extend_from_slice(&body);
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLDEN: &str = "\
        00000000000003f1\
        00000042\
        00000000\
        02\
        d34c9670\
        0030\
        00000000\
        0000018bcfe56800\
        0000018bcfe56800\
        4000000000000000\
        0000\
        ffffffff\
        00000001\
        20000000\
        0800000001\
        0c000000000000\
        00";

    #[test]
    fn marker_is_the_one_the_clients_were_tried_with() {
        let marker = marker(1009, LeaderEpoch(0), 0x018b_cfe5_6800);
        let hex: String = marker
            .bytes()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(hex, GOLDEN);
        assert_eq!(marker.size(), 78);
        Batch::check(marker.into_bytes()).unwrap();
    }

    #[test]
    fn before_ends_at_hi_with_its_record_before_the_fetch_offset() {
        for (fetch, hi) in [(1000, 1009), (1, 1), (1, 0), (0, 9), (0, 0)] {
            let batch = Batch::check(before(fetch, hi, LeaderEpoch(7), 5).into_bytes()).unwrap();
            assert_eq!(batch.last_offset(), hi);
            assert_eq!(batch.leader_epoch(), LeaderEpoch(7));
            assert!(batch.base_offset() >= 0 && batch.base_offset() <= fetch);
            let delta = crate::varint::take_i32(&mut &batch.bytes()[HEADER_LEN + 3..]).unwrap();
            assert_eq!(batch.base_offset() + i64::from(delta), fetch - 1);
        }
    }
}
