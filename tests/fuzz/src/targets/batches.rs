//! Bytes that should be record batches, from a client or from the disk: a byte of choices, then the batches.
//!
//! With the first bit of the choices set, length and CRC are made right, so that what is behind them is reached. Checks
//! agree with each other; records stay within their limits in number, bytes and memory; what is made of a batch is a
//! batch; and what is read as records is written as the same records.

use bytes::Bytes;
use tidegate_record::{
    Batch, BatchBuilder, BatchHeader, CheckedBatch, Codec, DecodeLimits, EndMarker, HEADER_LEN,
    LeaderEpoch, RecordEditParts, RecordParts, Records, cut, last_surviving_delta, recode, retain,
    rewrite,
};

use super::decompress;
use crate::corpus::Seed;
use crate::memory::{SLACK, within};

const LIMITS: DecodeLimits = DecodeLimits {
    max_bytes: 64 << 10,
    max_records: 1000,
};
const MAX_MESSAGE: usize = 1 << 20;
/// What decoding documents to take for one record, beside its bytes.
const ROW: usize = 40;

pub(super) fn run(data: &[u8]) {
    let Some((choices, bytes)) = data.split_first() else {
        return;
    };
    let bytes = match choices & 1 {
        1 => sealed(bytes),
        _ => Bytes::copy_from_slice(bytes),
    };
    header(&bytes);
    run_of_batches(bytes.clone());
    produced(&bytes);
    if let Ok(batch) = Batch::stored(bytes.clone()) {
        assert_eq!(batch.header().size(), bytes.len());
        stored(&batch);
    }
}

/// With the length that the batch has, and the CRC of what it says.
fn sealed(bytes: &[u8]) -> Bytes {
    let mut bytes = bytes.to_vec();
    if bytes.len() >= HEADER_LEN {
        let length = (bytes.len() - 12) as i32;
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        bytes[16] = 2;
        let crc = crc32c::crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    }
    bytes.into()
}

fn header(bytes: &[u8]) {
    if let Ok(header) = BatchHeader::parse(bytes) {
        assert_eq!(header.encode(), bytes[..HEADER_LEN]);
        header.last_offset();
        header.last_sequence();
    }
}

fn run_of_batches(bytes: Bytes) {
    let mut rest = bytes.clone();
    let mut taken = 0;
    while let Ok(Some(batch)) = Batch::take(&mut rest) {
        assert_eq!(batch.bytes()[..], bytes[taken..taken + batch.size()]);
        taken += batch.size();
    }
    assert_eq!(rest[..], bytes[taken..]);
}

fn produced(bytes: &Bytes) {
    let Ok(checked) = CheckedBatch::check(bytes.clone(), MAX_MESSAGE) else {
        return;
    };
    assert!(Batch::check(bytes.clone()).is_ok());
    if let Ok(records) = checked.decode(LIMITS) {
        let dense = records.iter().enumerate();
        assert!(
            dense
                .into_iter()
                .all(|(at, record)| record.offset_delta as usize == at)
        );
        assert_eq!(records.len(), checked.batch().record_count());
    }
}

fn stored(batch: &Batch) {
    let codec = batch.codec();
    let decoder = codec.as_ref().map_or(0, |codec| {
        decompress::memory_of(*codec, batch.size(), LIMITS.max_bytes)
    });
    let records = within(decoder + ROW * LIMITS.max_records + SLACK, || {
        batch.records(LIMITS)
    });
    if let Ok(records) = records {
        assert!(records.decoded_bytes() <= LIMITS.max_bytes);
        assert_eq!(records.len(), batch.record_count());
        rebuilt(batch, &records);
    }
    marked(batch);
    let again = batch.clone().place(3, LeaderEpoch(1)).stamp_append_time(9);
    Batch::check(again.into_bytes()).expect("its CRC is new");
    let last = batch.header().last_offset_delta;
    let shorter = cut(batch, last / 2);
    assert!(shorter.header().last_offset_delta <= last);
}

/// What is read as the end of a transaction is written as the same end.
fn marked(batch: &Batch) {
    if let Ok(Some(marker)) = EndMarker::of(batch) {
        let header = batch.header();
        let written = marker.batch(
            header.producer_id,
            header.producer_epoch,
            header.max_timestamp,
        );
        let written = written.expect("a marker fits a batch");
        assert_eq!(EndMarker::of(&written), Ok(Some(marker)));
    }
}

fn rebuilt(batch: &Batch, records: &Records) {
    let whole = retain(batch, records, |_| true).expect("nothing is left out");
    assert_eq!(whole.bytes(), batch.bytes());
    let half = retain(batch, records, |at| at % 2 == 0).expect("fewer records fit");
    let kept = read(&half);
    assert_eq!(kept.len(), records.len().div_ceil(2));
    for (at, record) in kept.iter().enumerate() {
        let before = records.get(2 * at).expect("it was there");
        assert_eq!(
            (record.offset_delta, record.timestamp),
            (before.offset_delta, before.timestamp)
        );
        assert_eq!((record.key, record.value), (before.key, before.value));
        assert!(record.headers().eq(before.headers()));
    }
    assert!(last_surviving_delta(&kept) <= batch.header().last_offset_delta);

    if let Ok(plain) = recode(batch, records, Codec::None) {
        assert_eq!(read(&plain).data(), records.data());
    }
    let value = RecordEditParts {
        value: Some(Some(b"edited")),
        ..RecordEditParts::default()
    };
    let edit = |at: usize| at.is_multiple_of(3).then(|| value.clone());
    if let Ok(edited) = rewrite(
        batch,
        records,
        |_| true,
        edit,
        Codec::None,
        LIMITS.max_bytes,
    ) {
        let found = read(&edited);
        assert_eq!(found.len(), records.len());
        assert!(
            found
                .iter()
                .step_by(3)
                .all(|record| record.value == Some(b"edited"))
        );
    }
}

fn read(batch: &Batch) -> Records {
    let limits = DecodeLimits {
        max_bytes: 2 * LIMITS.max_bytes,
        ..LIMITS
    };
    batch.records(limits).expect("what we make can be read")
}

pub(super) fn seeds() -> Vec<Seed> {
    let mut seeds = Vec::new();
    for codec in Codec::ALL {
        let mut builder = BatchBuilder::new(codec);
        for number in 0..3 {
            let record = RecordParts {
                timestamp: 1000 + number,
                key: (number == 1).then_some(b"key"),
                value: (number != 2).then_some(b"value value value"),
                headers: &[(b"h", Some(b"1")), (b"n", None)],
                ..RecordParts::default()
            };
            builder.push(record).expect("it fits");
        }
        let batch = builder.build().expect("it fits");
        let records = batch.records(LIMITS).expect("it is small");
        let sparse = retain(&batch, &records, |at| at == 1).expect("one fits");
        for (kind, batch) in [("dense", &batch), ("sparse", &sparse)] {
            for choices in [0u8, 1] {
                let bytes = [&[choices], &batch.bytes()[..]].concat();
                seeds.push(Seed::made(
                    format!("{}-{kind}-{choices}", codec.name()),
                    bytes,
                ));
            }
        }
        let run = [&[0], &batch.bytes()[..], &sparse.bytes()[..], b"\0\0"].concat();
        seeds.push(Seed::made(format!("{}-run", codec.name()), run));
    }
    let marker = EndMarker {
        commit: true,
        coordinator_epoch: 3,
    };
    let batch = marker.batch(7, 2, 1000).expect("it fits");
    seeds.push(Seed::made("marker", [&[0], &batch.bytes()[..]].concat()));
    seeds
}
