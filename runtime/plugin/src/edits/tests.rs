//! Edits against a simple model: a map from record to value.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tidegate_record::{BatchBuilder, Codec, DecodeLimits, RecordParts, Records};

use super::*;
use crate::Limits;
use crate::columns::Table;
use crate::contract::wire;
use crate::verdict::{Answer, Terms};

type Value = Option<Vec<u8>>;

const ALL: Columns = Columns {
    key: true,
    value: true,
    headers: true,
    timestamp: true,
};

fn check(given: wire::EditsGiven, count: usize) -> Option<Answer> {
    let limits = Limits::default();
    let terms = Terms {
        limits: &limits,
        targets: &[],
        writes: ALL,
        fixed_keys: false,
    };
    check_edits(given, count, &terms).ok()
}

fn column(values: &[&Value]) -> wire::BytesGiven {
    let mut given = wire::BytesGiven {
        offsets: vec![0],
        ..wire::BytesGiven::default()
    };
    if values.iter().any(|value| value.is_none()) {
        given.nulls = vec![0; values.len().div_ceil(8)];
    }
    for (row, value) in values.iter().enumerate() {
        match value {
            Some(bytes) => given.data.extend_from_slice(bytes),
            None => given.nulls[row / 8] |= 1 << (row % 8),
        }
        given.offsets.push(given.data.len() as u32);
    }
    given
}

fn sparse(edits: &BTreeMap<u32, Value>) -> wire::BytesEdit {
    wire::BytesEdit {
        rows: edits.keys().copied().collect(),
        column: column(&edits.values().collect::<Vec<_>>()),
    }
}

fn value() -> impl Strategy<Value = Value> {
    proptest::option::weighted(0.8, proptest::collection::vec(any::<u8>(), 0..6))
}

/// Edits of some of `count` records.
fn some(count: u32) -> impl Strategy<Value = BTreeMap<u32, Value>> {
    proptest::collection::btree_map(0..count, value(), 0..count as usize + 1)
}

fn codes(count: usize) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(Vec::new()),
        proptest::collection::vec(0_u8..2, count..=count)
    ]
}

/// One call: how many records, which were edited, what became of them, and how far the next record is from each (a
/// selection, where an earlier plugin dropped some).
type Call = (BTreeMap<u32, Value>, Vec<u8>, Vec<u32>, bool);

fn call() -> impl Strategy<Value = Call> {
    (1_u32..20).prop_flat_map(|count| {
        let size = count as usize;
        let dense = proptest::collection::vec(value(), size..=size)
            .prop_map(|values| (0..).zip(values).collect::<BTreeMap<u32, Value>>());
        let edits = prop_oneof![some(count), dense];
        let gaps = prop_oneof![
            Just(vec![1; size]),
            proptest::collection::vec(1_u32..4, size..=size)
        ];
        (edits, codes(size), gaps, any::<bool>())
    })
}

/// The layer of these calls, and what it should say of each record.
fn layer(calls: Vec<Call>) -> (Layer, BTreeMap<u32, Value>, u32) {
    let mut layer = Layer::new(0);
    let mut model = BTreeMap::new();
    let mut next = 0;
    for (edits, codes, gaps, as_dense) in calls {
        let count = gaps.len();
        let records: Vec<u32> = gaps
            .iter()
            .map(|gap| {
                let record = next;
                next += gap;
                record
            })
            .collect();
        let kept = |at: usize| codes.get(at).is_none_or(|code| *code == KEEP);
        let expected: Vec<_> = edits
            .iter()
            .filter(|(at, _)| kept(**at as usize))
            .map(|(at, value)| (records[*at as usize], value.clone()))
            .collect();
        let mut given = sparse(&edits);
        if edits.len() == count && as_dense {
            given.rows.clear();
        }
        let answer = check(
            wire::EditsGiven {
                codes: codes.clone(),
                values: Some(given),
                ..wire::EditsGiven::default()
            },
            count,
        )
        .expect("honest edits pass");
        assert_eq!(answer.edits.edited(&codes, count), expected.len());
        model.extend(expected);
        let whole = records.windows(2).all(|pair| pair[1] == pair[0] + 1);
        let first = records[0];
        layer.push(Chunk {
            records: match whole {
                true => Selection::Range(first..first + count as u32),
                false => Selection::Rows(records),
            },
            codes,
            columns: answer.edits,
        });
    }
    (layer, model, next)
}

fn records_of(values: &[Value]) -> Records {
    let mut builder = BatchBuilder::new(Codec::None);
    for value in values {
        builder
            .push(RecordParts {
                offset_delta: None,
                timestamp: 7,
                key: None,
                value: value.as_deref(),
                headers: &[],
            })
            .unwrap();
    }
    let limits = DecodeLimits {
        max_bytes: 1 << 20,
        max_records: 1 << 20,
    };
    builder.build().unwrap().records(limits).unwrap()
}

/// The values of a table, as the next plugin gets them.
fn lowered(table: &Table) -> Vec<Value> {
    let context = wire::Context {
        topic: "t",
        partition: 0,
        alias: "a",
        append_time: 0,
        base_offset: None,
    };
    let batch = table.lower(ALL, context);
    let column = batch.values.expect("values are wanted");
    let column = BytesColumn::from_parts(
        column.offsets.to_vec(),
        column.data.to_vec(),
        column.nulls.to_vec(),
    );
    (0..batch.count as usize)
        .map(|row| column.get(row).map(<[u8]>::to_vec))
        .collect()
}

proptest! {
    #[test]
    fn a_layer_is_a_map(calls in proptest::collection::vec(call(), 0..4)) {
        let (layer, model, end) = layer(calls);
        let mut edits = Edits::default();
        edits.push(layer);
        for record in 0..end + 3 {
            let expected = model.get(&record).map(|value| value.as_deref());
            let edit = edits.of(record as usize, 1);
            prop_assert_eq!(edit.as_ref().and_then(|edit| edit.value), expected);
            prop_assert_eq!(edit.is_some(), expected.is_some());
            prop_assert_eq!(edits.touches(0, record as usize), expected.is_some());
            prop_assert_eq!(edits.of(record as usize, 0), None);
        }
    }

    #[test]
    fn patched_columns_are_what_the_records_became(
        calls in proptest::collection::vec(call(), 1..3),
        seed in proptest::collection::vec(value(), 1..8),
    ) {
        let (layer, model, end) = layer(calls);
        let before: Vec<Value> = (0..end as usize).map(|row| seed[row % seed.len()].clone()).collect();
        let records = records_of(&before);
        let (mut table, mut scratch) = (Table::default(), Table::default());
        table.fill(&records, ALL).unwrap();
        prop_assert_eq!(&lowered(&table), &before);
        table.patch(&layer, ALL, &mut scratch).unwrap();
        let after: Vec<Value> = (0_u32..)
            .zip(before)
            .map(|(row, value)| model.get(&row).cloned().unwrap_or(value))
            .collect();
        prop_assert_eq!(lowered(&table), after);
    }

    /// Whatever passes the checks can be read to its end; nothing panics on what does not.
    #[test]
    fn what_is_accepted_can_be_read(
        count in 1_usize..12,
        rows in proptest::collection::vec(0_u32..14, 0..6),
        offsets in proptest::collection::vec(0_u32..10, 0..14),
        data in proptest::collection::vec(any::<u8>(), 0..10),
        nulls in proptest::collection::vec(any::<u8>(), 0..3),
        sorted in any::<bool>(),
    ) {
        let (mut rows, mut offsets) = (rows, offsets);
        if sorted {
            rows.sort_unstable();
            rows.dedup();
            offsets.sort_unstable();
            if let Some(first) = offsets.first_mut() {
                *first = 0;
            }
            if let Some(last) = offsets.last_mut() {
                *last = data.len() as u32;
            }
        }
        let column = || wire::BytesGiven {
            offsets: offsets.clone(),
            data: data.clone(),
            nulls: nulls.clone(),
        };
        let entries = offsets.len().saturating_sub(1);
        let sound = offsets.first() == Some(&0)
            && offsets.last() == Some(&(data.len() as u32))
            && offsets.windows(2).all(|pair| pair[0] <= pair[1])
            && (nulls.is_empty() || nulls.len() == entries.div_ceil(8));
        let rising = rows.windows(2).all(|pair| pair[0] < pair[1])
            && rows.last().is_none_or(|last| (*last as usize) < count);
        let wanted = if rows.is_empty() { count } else { rows.len() };
        let nothing = rows.is_empty() && entries == 0;
        let given = wire::EditsGiven {
            values: Some(wire::BytesEdit { rows: rows.clone(), column: column() }),
            ..wire::EditsGiven::default()
        };
        let answer = check(given, count);
        prop_assert_eq!(answer.is_some(), nothing || (sound && rising && entries == wanted));
        let headers = wire::HeadersEdit {
            rows,
            column: wire::HeadersGiven { offsets: offsets.clone(), keys: column(), values: column() },
        };
        let with_headers = check(
            wire::EditsGiven { headers: Some(headers), ..wire::EditsGiven::default() },
            count,
        );
        for answer in [answer, with_headers].into_iter().flatten() {
            let mut layer = Layer::new(0);
            layer.push(Chunk {
                records: Selection::Range(0..count as u32),
                codes: answer.codes,
                columns: answer.edits,
            });
            let mut edits = Edits::default();
            edits.push(layer);
            for record in 0..count {
                let edit = edits.of(record, 1).unwrap_or_default();
                let read = edit.value.flatten().map_or(0, <[u8]>::len);
                prop_assert!(read <= data.len());
            }
        }
    }
}
