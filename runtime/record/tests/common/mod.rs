//! Shared by the tests: records to generate, and batches with a broken inside but a good CRC.

#![allow(dead_code)]

use bytes::Bytes;
use proptest::prelude::*;
use tidegate_record::{Batch, BatchBuilder, Codec, DecodeLimits, HEADER_LEN, RecordParts, Records};

pub(crate) const WIDE: DecodeLimits = DecodeLimits {
    max_bytes: 64 << 20,
    max_records: 1_000_000,
};

/// Key and value of a header.
pub(crate) type OwnedHeader = (Vec<u8>, Option<Vec<u8>>);

/// A record that owns its parts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Owned {
    pub(crate) offset_delta: i32,
    pub(crate) timestamp: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<OwnedHeader>,
}

pub(crate) fn codec() -> impl Strategy<Value = Codec> {
    proptest::sample::select(Codec::ALL.to_vec())
}

/// Records with rising offset deltas, dense or with gaps between them.
pub(crate) fn records(max_gap: i32) -> impl Strategy<Value = Vec<Owned>> {
    let part = || proptest::option::of(proptest::collection::vec(any::<u8>(), 0..200));
    let header = (proptest::collection::vec(any::<u8>(), 0..20), part());
    let record = (
        0..=max_gap,
        -1i64..1 << 42,
        part(),
        part(),
        proptest::collection::vec(header, 0..4),
    );
    proptest::collection::vec(record, 1..60).prop_map(|records| {
        let mut next = 0;
        let place = |(gap, timestamp, key, value, headers)| {
            let offset_delta = next + gap;
            next = offset_delta + 1;
            Owned {
                offset_delta,
                timestamp,
                key,
                value,
                headers,
            }
        };
        records.into_iter().map(place).collect()
    })
}

pub(crate) fn build(codec: Codec, records: &[Owned]) -> Batch {
    let mut builder = BatchBuilder::new(codec);
    for record in records {
        let headers: Vec<_> = record
            .headers
            .iter()
            .map(|(k, v)| (k.as_slice(), v.as_deref()))
            .collect();
        builder
            .push(RecordParts {
                offset_delta: Some(record.offset_delta),
                timestamp: record.timestamp,
                key: record.key.as_deref(),
                value: record.value.as_deref(),
                headers: &headers,
            })
            .unwrap();
    }
    builder.build().unwrap()
}

pub(crate) fn own(records: &Records) -> Vec<Owned> {
    let own = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
    records
        .iter()
        .map(|record| Owned {
            offset_delta: record.offset_delta,
            timestamp: record.timestamp,
            key: own(record.key),
            value: own(record.value),
            headers: record
                .headers()
                .map(|(k, v)| (k.to_vec(), own(v)))
                .collect(),
        })
        .collect()
}

/// Writes length and CRC for whatever the bytes say now.
pub(crate) fn reseal(mut bytes: Vec<u8>) -> Bytes {
    let length = (bytes.len() - 12) as i32;
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes.into()
}

/// A batch that claims `count` records in `codec` and carries `payload` for them.
pub(crate) fn batch_of(codec: Codec, count: i32, payload: &[u8]) -> Bytes {
    let mut builder = BatchBuilder::new(Codec::None);
    builder.push(RecordParts::default()).unwrap();
    let mut bytes = builder.build().unwrap().bytes()[..HEADER_LEN].to_vec();
    bytes[22] = codec.code() as u8;
    bytes[23..27].copy_from_slice(&(count - 1).to_be_bytes());
    bytes[57..61].copy_from_slice(&count.to_be_bytes());
    bytes.extend_from_slice(payload);
    reseal(bytes)
}
