//! What the broker makes of batches, against a model: the input says which records there are, which are kept, and what
//! is changed.
//!
//! What was built is read back; what is retained, rewritten, recoded and cut has exactly the records of the model, in
//! its offset range, with everything that a client computes its next sequence from; and none of it fails.

use tidegate_record::{
    Batch, BatchBuilder, BatchHeader, Codec, DecodeLimits, Producer, RecordEditParts, RecordParts,
    Records, cut, last_kept_delta, last_surviving_delta, recode, retain, rewrite,
};

use crate::corpus::Seed;
use crate::input::Input;

const WIDE: DecodeLimits = DecodeLimits {
    max_bytes: 1 << 20,
    max_records: 10_000,
};
/// Of records, in one input.
const MOST: usize = 64;

type Part = Option<Vec<u8>>;

#[derive(Clone, Debug, PartialEq)]
struct Model {
    delta: i32,
    timestamp: i64,
    key: Part,
    value: Part,
    headers: Vec<(Vec<u8>, Part)>,
}

/// What becomes of a record.
struct Fate {
    keep: bool,
    timestamp: Option<i64>,
    key: Option<Part>,
    value: Option<Part>,
    headers: Option<Vec<(Vec<u8>, Part)>>,
}

pub(super) fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let (from, to) = (codec(&mut input), codec(&mut input));
    let append_time = input.flag().then_some(77);
    let hole = i32::from(input.byte());
    let (models, fates) = records(&mut input);
    let Some(last) = models.last().map(|model| model.delta) else {
        return;
    };
    let batch = build(from, &models, append_time, last + hole);
    let records = batch.records(WIDE).expect("what was built can be read");
    let built = own(&records);
    assert!(
        built
            .iter()
            .zip(&models)
            .all(|(built, model)| same_but_time(built, model, append_time))
    );
    assert_eq!(built.len(), models.len());

    retained(&batch, &records, &built, &fates);
    rewritten(&batch, &records, &built, &fates, to);
    let coded = checked(recode(&batch, &records, to).expect("it fits"));
    assert_eq!(own(&read(&coded)), built);
    assert_eq!(coded.codec(), Ok(to));
    shortened(&batch, last, hole, &built);
}

fn retained(batch: &Batch, records: &Records, built: &[Model], fates: &[Fate]) {
    let keep = |at: usize| fates[at].keep;
    let expected: Vec<Model> = kept(built, fates).map(|(model, _)| model.clone()).collect();
    let found = checked(retain(batch, records, keep).expect("fewer records fit"));
    let survivors = read(&found);
    assert_eq!(own(&survivors), expected);
    assert_eq!(
        last_kept_delta(records, keep),
        last_surviving_delta(&survivors)
    );
    same_place(batch, &found);
}

fn rewritten(batch: &Batch, records: &Records, built: &[Model], fates: &[Fate], to: Codec) {
    let append_time = batch.header().attributes.is_log_append_time();
    let expected: Vec<Model> = kept(built, fates)
        .map(|(model, fate)| fate.apply(model, append_time))
        .collect();
    let edit = |at: usize| Some(fates[at].parts());
    let keep = |at: usize| fates[at].keep;
    let found = rewrite(batch, records, keep, edit, to, WIDE.max_bytes).expect("it fits");
    let found = checked(found);
    assert_eq!(own(&read(&found)), expected);
    same_place(batch, &found);
}

fn shortened(batch: &Batch, last: i32, hole: i32, built: &[Model]) {
    let sent = checked(cut(batch, last));
    let header = BatchHeader {
        last_offset_delta: last,
        crc: sent.header().crc,
        ..*batch.header()
    };
    assert_eq!(*sent.header(), header);
    assert_eq!(own(&read(&sent)), built);
    if hole == 0 {
        assert_eq!(sent.bytes(), batch.bytes());
    }
}

/// The fields that a producer's and a consumer's next position come from.
fn same_place(before: &Batch, after: &Batch) {
    let place = |header: &BatchHeader| {
        let producer = (
            header.producer_id,
            header.producer_epoch,
            header.base_sequence,
        );
        (
            header.base_offset,
            header.leader_epoch,
            header.last_offset_delta,
            producer,
        )
    };
    assert_eq!(place(after.header()), place(before.header()));
}

fn kept<'a>(built: &'a [Model], fates: &'a [Fate]) -> impl Iterator<Item = (&'a Model, &'a Fate)> {
    built.iter().zip(fates).filter(|(_, fate)| fate.keep)
}

fn same_but_time(built: &Model, model: &Model, append_time: Option<i64>) -> bool {
    let timestamp = append_time.unwrap_or(model.timestamp);
    let expected = Model {
        timestamp,
        ..model.clone()
    };
    *built == expected
}

fn checked(batch: Batch) -> Batch {
    Batch::check(batch.into_bytes()).expect("what we make has its length and CRC")
}

fn read(batch: &Batch) -> Records {
    batch.records(WIDE).expect("what we make can be read")
}

fn records(input: &mut Input<'_>) -> (Vec<Model>, Vec<Fate>) {
    let (mut models, mut fates) = (Vec::new(), Vec::new());
    let mut delta = 0;
    while !input.is_empty() && models.len() < MOST {
        let choices = input.byte();
        delta += i32::from(choices >> 4);
        models.push(Model {
            delta,
            timestamp: if choices & 1 == 1 {
                input.i64()
            } else {
                i64::from(choices)
            },
            key: owned(input.part()),
            value: owned(input.part()),
            headers: headers(input, usize::from(choices >> 2 & 3)),
        });
        let changes = input.byte();
        let changed = |bit: u8| changes & bit != 0;
        fates.push(Fate {
            keep: !changed(1),
            timestamp: changed(2).then(|| input.i64()),
            key: changed(4).then(|| owned(input.part())),
            value: changed(8).then(|| owned(input.part())),
            headers: changed(16).then(|| headers(input, usize::from(changes >> 5))),
        });
        delta += 1;
    }
    (models, fates)
}

fn headers(input: &mut Input<'_>, count: usize) -> Vec<(Vec<u8>, Part)> {
    let header = |_| (input.bytes(255).to_vec(), owned(input.part()));
    (0..count).map(header).collect()
}

fn owned(part: Option<&[u8]>) -> Part {
    part.map(<[u8]>::to_vec)
}

fn codec(input: &mut Input<'_>) -> Codec {
    Codec::ALL[usize::from(input.byte()) % Codec::ALL.len()]
}

fn build(codec: Codec, models: &[Model], append_time_ms: Option<i64>, last: i32) -> Batch {
    let mut builder = BatchBuilder::new(codec);
    builder.base_offset = 1000;
    builder.leader_epoch = 7;
    builder.producer = Producer {
        id: 5,
        epoch: 2,
        base_sequence: 40,
    };
    builder.append_time_ms = append_time_ms;
    builder.last_offset_delta = Some(last);
    for model in models {
        let headers: Vec<_> = borrowed(&model.headers).collect();
        let record = RecordParts {
            offset_delta: Some(model.delta),
            timestamp: model.timestamp,
            key: model.key.as_deref(),
            value: model.value.as_deref(),
            headers: &headers,
        };
        builder
            .push(record)
            .expect("deltas rise and parts are short");
    }
    builder.build().expect("it is small")
}

fn borrowed(headers: &[(Vec<u8>, Part)]) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
    headers
        .iter()
        .map(|(key, value)| (key.as_slice(), value.as_deref()))
}

fn own(records: &Records) -> Vec<Model> {
    let model = |record: tidegate_record::RecordView<'_>| Model {
        delta: record.offset_delta,
        timestamp: record.timestamp,
        key: owned(record.key),
        value: owned(record.value),
        headers: record
            .headers()
            .map(|(key, value)| (key.to_vec(), owned(value)))
            .collect(),
    };
    records.iter().map(model).collect()
}

impl Fate {
    fn parts(&self) -> RecordEditParts<'_> {
        RecordEditParts {
            key: self.key.as_ref().map(Option::as_deref),
            value: self.value.as_ref().map(Option::as_deref),
            headers: self
                .headers
                .as_ref()
                .map(|headers| borrowed(headers).collect()),
            timestamp: self.timestamp,
        }
    }

    fn apply(&self, model: &Model, append_time: bool) -> Model {
        let timestamp = self.timestamp.filter(|_| !append_time);
        Model {
            delta: model.delta,
            timestamp: timestamp.unwrap_or(model.timestamp),
            key: self.key.clone().unwrap_or_else(|| model.key.clone()),
            value: self.value.clone().unwrap_or_else(|| model.value.clone()),
            headers: self
                .headers
                .clone()
                .unwrap_or_else(|| model.headers.clone()),
        }
    }
}

pub(super) fn seeds() -> Vec<Seed> {
    let record = [
        0x16, 1, 3, b'k', b'e', b'y', 1, 2, b'v', b'v', 1, b'h', 1, 1, b'x', 0x0c, 0, 1, 1, b'e',
    ];
    let seed = |(at, codec): (usize, Codec)| {
        let head = [at as u8, (at + 1) as u8, at as u8, 2];
        Seed::made(codec.name(), [&head[..], &record.repeat(3)].concat())
    };
    Codec::ALL.into_iter().enumerate().map(seed).collect()
}
