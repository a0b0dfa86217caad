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
const GIB: usize = 1 << 30;
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
        assert_eq!(
            ProduceError::from(error),
            ProduceError::Inflated { max: MIB },
            "{codec:?}"
        );
    }
}

/// One frame, not many that were joined: what a decoder that sizes its output by the frame would take.
#[test]
fn a_frame_of_a_gigabyte_stops_at_the_limit() {
    for codec in COMPRESSING {
        let bomb = gigabyte(codec);
        assert!(bomb.len() < GIB / 20, "{codec:?}: {} bytes", bomb.len());
        for limit in [0, MIB - 1, 16 * MIB] {
            let error = decompress(codec, &bomb, limit).unwrap_err();
            assert_eq!(error, CompressionError::TooLarge { limit }, "{codec:?}");
        }
    }
}

/// A gibibyte of zeros as one frame of the codec, made by hand: encoders would take long for it.
fn gigabyte(codec: Codec) -> Vec<u8> {
    match codec {
        Codec::None => unreachable!("it cannot expand"),
        // Blocks that were flushed stand for themselves. No trailer: nobody gets that far.
        Codec::Gzip => {
            let mut block = Vec::with_capacity(MIB);
            flate2::Compress::new(flate2::Compression::best(), false)
                .compress_vec(&vec![0; MIB], &mut block, flate2::FlushCompress::Full)
                .unwrap();
            [&GZIP_HEAD[..], &block.repeat(GIB / MIB)].concat()
        }
        // Its length, a literal zero, then copies of 64 bytes from one byte back, the last of 63.
        Codec::Snappy => {
            let copies = [63 << 2 | 2, 1, 0].repeat(GIB / 64 - 1);
            let head = [0x80, 0x80, 0x80, 0x80, 0x04, 0, 0];
            [&head[..], &copies, &[62 << 2 | 2, 1, 0]].concat()
        }
        // Blocks of a literal zero and a match of the rest, but for five literals, which must end each.
        Codec::Lz4 => {
            let mut block = vec![0x1f, 0, 1, 0];
            let match_len = 4 * MIB - 1 - 5 - 4 - 15;
            block.extend(vec![255; match_len / 255]);
            block.push((match_len % 255) as u8);
            block.extend([0x50, 0, 0, 0, 0, 0]);
            let mut blocks = (block.len() as u32).to_le_bytes().to_vec();
            blocks.extend(block);
            [&lz4_head()[..], &blocks.repeat(GIB / (4 * MIB))].concat()
        }
        // Behind a window of 1 MiB, blocks of 128 KiB that repeat one byte (RFC 8878).
        Codec::Zstd => {
            let block = (128u32 << 13 | 2).to_le_bytes();
            let head = [0x28, 0xb5, 0x2f, 0xfd, 0, 0x50];
            let blocks = [block[0], block[1], block[2], 0].repeat(GIB / (128 << 10));
            [&head[..], &blocks].concat()
        }
    }
}

const GZIP_HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// The head of a frame with independent blocks of at most 4 MiB.
fn lz4_head() -> Vec<u8> {
    use lz4_flex::frame::{BlockSize, FrameEncoder, FrameInfo};
    let info = FrameInfo::new().block_size(BlockSize::Max4MB);
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(b"x").unwrap();
    encoder.finish().unwrap()[..7].to_vec()
}

/// Parts that hold next to nothing and each cost something: a mebibyte of them must not cost seconds.
#[test]
fn many_parts_of_nothing_are_gone_through_in_time() {
    let xerial = compress(Codec::Snappy, &[]).unwrap();
    let empty = |codec| compress(codec, &[]).unwrap();
    let shapes = [
        ("gzip members", Codec::Gzip, Vec::new(), empty(Codec::Gzip)),
        (
            "lz4 frames",
            Codec::Lz4,
            Vec::new(),
            [&lz4_head()[..], &[0; 4]].concat(),
        ),
        (
            "lz4 blocks of one byte",
            Codec::Lz4,
            lz4_head(),
            vec![2, 0, 0, 0, 0x10, b'x'],
        ),
        (
            "snappy blocks of nothing",
            Codec::Snappy,
            xerial,
            vec![0, 0, 0, 1, 0],
        ),
        ("zstd frames", Codec::Zstd, Vec::new(), empty(Codec::Zstd)),
    ];
    for (name, codec, head, part) in shapes {
        let mut packed = head;
        packed.extend(part.repeat(MIB / part.len()));
        let started = std::time::Instant::now();
        let _ = decompress(codec, &packed, MIB);
        let took = started.elapsed();
        // Tens of milliseconds in release, and some more without optimisation.
        assert!(took.as_secs() < 5, "{name}: {took:?}");
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

/// Its blocks are 8 MiB, whatever the frame says: a few bytes cost 16 MiB.
#[test]
fn lz4_in_its_first_format_is_refused_as_in_kafka() {
    let mut packed = vec![0x02, 0x21, 0x4c, 0x18, 3, 0, 0, 0, 0x20];
    packed.extend(b"ab");
    let whole = compress(Codec::Lz4, b"c").unwrap();
    for packed in [packed.clone(), [whole, packed].concat()] {
        let error = decompress(Codec::Lz4, &packed, 100).unwrap_err();
        let refused = matches!(error, CompressionError::Corrupt { .. });
        assert!(refused, "{error}");
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
    let error = two.records(limits).unwrap_err();
    assert_eq!(ProduceError::from(error), ProduceError::Inflated { max: 3 });
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
