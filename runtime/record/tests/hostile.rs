//! Bytes made to hurt: bombs, false claims, and the framings that real clients send.

mod common;

use std::io::Write;

use common::{WIDE, batch_of, build, own, records, reseal};
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use tidegate_record::{
    Batch, BatchError, Codec, CompressionError, DecodeLimits, HEADER_LEN, ProduceError, compress,
    decompress,
};

const MIB: usize = 1 << 20;
const COMPRESSING: [Codec; 4] = [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

#[test]
fn bombs_stop_at_the_limit() {
    for codec in COMPRESSING {
        // Joined frames are one stream to every codec, so this is a gigabyte.
        let bomb = compress(codec, &vec![0; 8 * MIB]).unwrap().repeat(128);
        let error = decompress(codec, &bomb, MIB).unwrap_err();
        assert_eq!(
            error,
            CompressionError::TooLarge { limit: MIB },
            "{codec:?}"
        );

        let batch = Batch::check(batch_of(codec, 1, &bomb)).unwrap();
        let error = batch
            .records(DecodeLimits {
                max_bytes: MIB,
                max_records: 10,
            })
            .unwrap_err();
        assert!(
            matches!(error, BatchError::Compression(_)),
            "{codec:?}: {error}"
        );
    }
}

#[test]
fn the_limit_itself_still_fits() {
    let data: Vec<u8> = (0..100_000u32)
        .flat_map(|i| (i / 7).to_le_bytes())
        .collect();
    for codec in Codec::ALL {
        let packed = compress(codec, &data).unwrap();
        assert_eq!(
            decompress(codec, &packed, data.len()).unwrap(),
            data,
            "{codec:?}"
        );
        assert!(
            decompress(codec, &packed, data.len() - 1).is_err(),
            "{codec:?}"
        );
        assert_eq!(
            decompress(codec, &compress(codec, &[]).unwrap(), 0).unwrap(),
            []
        );
    }
}

#[test]
fn joined_frames_are_one_stream() {
    for codec in COMPRESSING {
        let mut packed = compress(codec, b"one ").unwrap();
        packed.extend(compress(codec, b"two").unwrap());
        assert_eq!(
            decompress(codec, &packed, 100).unwrap(),
            b"one two",
            "{codec:?}"
        );
    }
}

#[test]
fn garbage_and_cut_frames_are_errors_or_short_never_panics() {
    let data = b"some data that repeats, some data that repeats".repeat(50);
    for codec in COMPRESSING {
        let packed = compress(codec, &data).unwrap();
        for end in 0..packed.len() {
            if let Ok(out) = decompress(codec, &packed[..end], WIDE.max_bytes) {
                assert!(data.starts_with(&out), "{codec:?} cut at {end}");
            }
        }
        assert!(
            decompress(codec, b"not compressed at all", 1000).is_err(),
            "{codec:?}"
        );
    }
}

#[test]
fn raw_snappy_as_librdkafka_sends_it() {
    let data = b"abcabcabcabc".repeat(100);
    let raw = snap::raw::Encoder::new().compress_vec(&data).unwrap();
    assert_eq!(decompress(Codec::Snappy, &raw, 10_000).unwrap(), data);
    assert!(
        compress(Codec::Snappy, &data)
            .unwrap()
            .starts_with(b"\x82SNAPPY\0\0\0\0\x01")
    );
}

#[test]
fn snappy_claims_are_not_believed() {
    // A length of almost 4 GiB with nothing behind it, and one within the limit.
    for claim in [&[0xff, 0xff, 0xff, 0xff, 0x0f][..], &[0x80, 0x80, 0x40]] {
        assert!(decompress(Codec::Snappy, claim, usize::MAX).is_err());
        let mut framed = compress(Codec::Snappy, &[]).unwrap();
        framed.extend_from_slice(&(claim.len() as u32).to_be_bytes());
        framed.extend_from_slice(claim);
        assert!(decompress(Codec::Snappy, &framed, usize::MAX).is_err());
    }
}

#[test]
fn lz4_with_linked_blocks_and_checksums_is_read() {
    use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
    let data: Vec<u8> = (0..300_000u32)
        .flat_map(|i| (i / 13).to_le_bytes())
        .collect();
    for (mode, size) in [
        (BlockMode::Linked, BlockSize::Max64KB),
        (BlockMode::Linked, BlockSize::Max4MB),
        (BlockMode::Independent, BlockSize::Max1MB),
    ] {
        let info = FrameInfo::new()
            .block_mode(mode)
            .block_size(size)
            .block_checksums(true)
            .content_checksum(true);
        let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
        encoder.write_all(&data).unwrap();
        let packed = encoder.finish().unwrap();
        assert_eq!(decompress(Codec::Lz4, &packed, data.len()).unwrap(), data);
        assert!(decompress(Codec::Lz4, &packed, data.len() - 1).is_err());
    }
}

#[test]
fn thousands_of_empty_lz4_frames_are_refused() {
    let frame = compress(Codec::Lz4, &[]).unwrap();
    let frame = [&frame[..], &compress(Codec::Lz4, b"x").unwrap()].concat();
    assert_eq!(
        decompress(Codec::Lz4, &frame.repeat(8), 100).unwrap(),
        b"xxxxxxxx"
    );
    assert!(decompress(Codec::Lz4, &frame.repeat(1000), 10_000).is_err());
}

#[test]
fn zstd_windows_are_bounded_by_the_limit() {
    // One raw block of three bytes behind a window of 2^log bytes.
    let frame = |log: u8| {
        let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, (log - 10) << 3];
        frame.extend_from_slice(&[3 << 3 | 1, 0, 0]);
        frame.extend_from_slice(b"abc");
        frame
    };
    assert_eq!(decompress(Codec::Zstd, &frame(23), 3).unwrap(), b"abc");
    assert!(decompress(Codec::Zstd, &frame(24), 3).is_err());
    assert_eq!(
        decompress(Codec::Zstd, &frame(27), 128 * MIB).unwrap(),
        b"abc"
    );
    assert!(decompress(Codec::Zstd, &frame(28), usize::MAX).is_err());
}

#[test]
fn counts_are_not_believed() {
    let one = build(Codec::None, &records_once()[..1]);
    for (at, claim) in [(57, i32::MAX), (57, 2), (57, 0), (57, 1000)] {
        let mut bytes = one.bytes().to_vec();
        bytes[at..at + 4].copy_from_slice(&claim.to_be_bytes());
        let batch = Batch::check(reseal(bytes)).unwrap();
        assert!(batch.records(WIDE).is_err(), "{claim}");
    }
    let two = build(Codec::None, &records_once()[..2]);
    let limits = DecodeLimits {
        max_records: 1,
        ..WIDE
    };
    assert_eq!(
        two.records(limits).unwrap_err(),
        BatchError::TooManyRecords { count: 2, max: 1 }
    );
    let limits = DecodeLimits {
        max_bytes: 3,
        ..WIDE
    };
    assert!(two.records(limits).is_err());
}

#[test]
fn broken_records_are_named() {
    // length, attributes, timestamp delta, offset delta, key, value, headers
    let good = [12, 0, 0, 0, 1, 1, 0];
    Batch::check(batch_of(Codec::None, 1, &good))
        .unwrap()
        .records(WIDE)
        .unwrap();
    let broken: [(&str, &[u8]); 10] = [
        ("negative length", &[1, 0, 0, 0, 1, 1, 0]),
        ("length beyond the batch", &[14, 0, 0, 0, 1, 1, 0]),
        ("bytes left over in the record", &[14, 0, 0, 0, 1, 1, 0, 0]),
        ("offset delta 1 of 1", &[12, 0, 0, 2, 1, 1, 0]),
        ("offset delta -1", &[12, 0, 0, 1, 1, 1, 0]),
        ("key beyond the record", &[12, 0, 0, 0, 8, 1, 0]),
        ("value beyond the record", &[12, 0, 0, 0, 1, 8, 0]),
        ("negative header count", &[12, 0, 0, 0, 1, 1, 1]),
        ("headers that are not there", &[12, 0, 0, 0, 1, 1, 100]),
        ("null header key", &[16, 0, 0, 0, 1, 1, 2, 1, 1]),
    ];
    for (name, record) in broken {
        let batch = Batch::check(batch_of(Codec::None, 1, record)).unwrap();
        let error = batch.records(WIDE).unwrap_err();
        let named = matches!(error, BatchError::Record { index: 0, .. });
        assert!(named, "{name}: {error}");
        assert!(matches!(
            ProduceError::from(error),
            ProduceError::InvalidRecord(_)
        ));
    }
    // A second record with the same delta, and one more record than the count.
    let twice = Batch::check(batch_of(Codec::None, 2, &good.repeat(2))).unwrap();
    assert!(matches!(
        twice.records(WIDE).unwrap_err(),
        BatchError::Record { index: 1, .. }
    ));
    let more = Batch::check(batch_of(Codec::None, 1, &good.repeat(2))).unwrap();
    assert!(matches!(
        more.records(WIDE).unwrap_err(),
        BatchError::RecordCount { .. }
    ));
}

#[test]
fn records_share_the_bytes_of_an_uncompressed_batch() {
    let model = records_once();
    let batch = build(Codec::None, &model);
    let records = batch.records(WIDE).unwrap();
    assert_eq!(
        records.data().as_ptr(),
        batch.bytes()[HEADER_LEN..].as_ptr()
    );
    assert_eq!(own(&records), model);
}

fn records_once() -> Vec<common::Owned> {
    let mut runner = TestRunner::deterministic();
    let strategy = records(0).prop_filter("two at least", |records| records.len() > 1);
    strategy.new_tree(&mut runner).unwrap().current()
}
