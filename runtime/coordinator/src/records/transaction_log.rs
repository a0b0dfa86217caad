//! Records of `__transaction_state`, in Kafka's own format (TransactionLogKey, TransactionLogValue).
//!
//! ```text
//! key    i16 version 0, transactional id
//! value  i16 version, producer id i64, producer epoch i16, timeout i32, state i8,
//!        partitions (null in Empty): topic, partition indexes i32,
//!        last update i64, start i64
//! ```
//!
//! Version 1 is flexible and has three tagged fields: 0 the producer id before this one, 1 the one that follows when the
//! transaction is complete (KIP-890, an exhausted epoch), 2 the client's transaction version. Version 1 is written, as
//! Kafka does from transaction.version 1 on; both are read.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::wire::{Reader, RecordError, Writer};
use crate::transaction::{Transaction, TransactionState};

const KEY_VERSION: i16 = 0;
const VERSION: i16 = 1;
const PREVIOUS_PRODUCER_ID: u32 = 0;
const NEXT_PRODUCER_ID: u32 = 1;
const CLIENT_VERSION: u32 = 2;
const NONE: i64 = -1;

/// One record, read. A value of `None` is a tombstone.
#[derive(Clone, Debug, PartialEq)]
pub enum TransactionRecord {
    Transaction {
        transactional_id: String,
        value: Option<Transaction>,
    },
    /// Of a version not known here.
    Unknown,
}

pub fn key(transactional_id: &str) -> Bytes {
    let mut key = Writer::new(KEY_VERSION);
    key.string(transactional_id);
    key.finish()
}

/// As version 1.
pub fn value(transaction: &Transaction) -> Bytes {
    let mut value = Writer::new(VERSION);
    value.i64(transaction.producer_id);
    value.i16(transaction.producer_epoch);
    value.i32(transaction.timeout_ms);
    value.i8(transaction.state.id());
    if transaction.state == TransactionState::Empty {
        // A null array.
        value.varint(0);
    } else {
        value.compact_len(transaction.partitions.len());
        for (topic, indexes) in &transaction.partitions {
            value.compact_string(topic);
            value.compact_len(indexes.len());
            indexes.iter().for_each(|index| value.i32(*index));
            value.no_tags();
        }
    }
    value.i64(transaction.update_ms);
    value.i64(transaction.start_ms);
    let mut tags = Vec::new();
    for (tag, id) in [
        (PREVIOUS_PRODUCER_ID, transaction.previous_producer_id),
        (NEXT_PRODUCER_ID, transaction.next_producer_id),
    ] {
        if id != NONE {
            tags.push((tag, Bytes::copy_from_slice(&id.to_be_bytes())));
        }
    }
    if transaction.client_version != 0 {
        let version = transaction.client_version.to_be_bytes();
        tags.push((CLIENT_VERSION, Bytes::copy_from_slice(&version)));
    }
    value.many_tags(&tags);
    value.finish()
}

/// Reads a record; never panics, and allocates no more than a small multiple of the record's length.
pub fn decode(key: &[u8], value: Option<&[u8]>) -> Result<TransactionRecord, RecordError> {
    let mut key = Reader::new(key);
    if key.i16()? != KEY_VERSION {
        return Ok(TransactionRecord::Unknown);
    }
    let transactional_id = key.string()?;
    let value = match value.map(decode_value).transpose()? {
        Some(None) => return Ok(TransactionRecord::Unknown),
        Some(known) => known,
        None => None,
    };
    Ok(TransactionRecord::Transaction {
        transactional_id,
        value,
    })
}

/// `None`: a version not known here.
fn decode_value(value: &[u8]) -> Result<Option<Transaction>, RecordError> {
    let mut value = Reader::new(value);
    let version = value.i16()?;
    if !(0..=VERSION).contains(&version) {
        return Ok(None);
    }
    let flexible = version >= 1;
    let mut transaction = Transaction {
        producer_id: value.i64()?,
        producer_epoch: value.i16()?,
        last_producer_epoch: -1,
        previous_producer_id: NONE,
        next_producer_id: NONE,
        timeout_ms: value.i32()?,
        state: TransactionState::from_id(value.i8()?).ok_or(RecordError::Meaningless)?,
        partitions: partitions(&mut value, flexible)?,
        update_ms: value.i64()?,
        start_ms: value.i64()?,
        client_version: 0,
    };
    if flexible {
        value.tags(|tag, field| {
            match tag {
                PREVIOUS_PRODUCER_ID => transaction.previous_producer_id = field.i64()?,
                NEXT_PRODUCER_ID => transaction.next_producer_id = field.i64()?,
                CLIENT_VERSION => transaction.client_version = field.i16()?,
                // Of a later Kafka, which promises that it may be left out (KIP-915).
                _ => {}
            }
            Ok(())
        })?;
    }
    Ok(Some(transaction))
}

fn partitions(
    value: &mut Reader<'_>,
    flexible: bool,
) -> Result<BTreeMap<String, BTreeSet<i32>>, RecordError> {
    let count = |value: &mut Reader<'_>| match flexible {
        true => value.compact_nullable_count(),
        false => value.nullable_count(),
    };
    let mut partitions = BTreeMap::<String, BTreeSet<i32>>::new();
    for _ in 0..count(value)?.unwrap_or(0) {
        let topic = match flexible {
            true => value.compact_string()?,
            false => value.string()?,
        };
        let mut indexes = BTreeSet::new();
        for _ in 0..count(value)?.ok_or(RecordError::Null)? {
            indexes.insert(value.i32()?);
        }
        if flexible {
            value.skip_tags()?;
        }
        partitions.entry(topic).or_default().extend(indexes);
    }
    Ok(partitions)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn unhex(text: &str) -> Vec<u8> {
        let text = text.replace(' ', "");
        (0..text.len())
            .step_by(2)
            .map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap())
            .collect()
    }

    fn ongoing() -> Transaction {
        Transaction {
            producer_id: 7,
            producer_epoch: 2,
            last_producer_epoch: -1,
            previous_producer_id: -1,
            next_producer_id: -1,
            timeout_ms: 60_000,
            state: TransactionState::Ongoing,
            partitions: BTreeMap::from([("t".into(), BTreeSet::from([0, 3]))]),
            start_ms: 9,
            update_ms: 10,
            client_version: 0,
        }
    }

    fn read(value: &str) -> Result<Option<Transaction>, RecordError> {
        match decode(&key("x"), Some(&unhex(value)))? {
            TransactionRecord::Transaction { value, .. } => Ok(value),
            TransactionRecord::Unknown => Ok(None),
        }
    }

    #[test]
    fn the_bytes_are_kafkas() {
        assert_eq!(hex(&key("x")), "0000000178");
        let common = "0000000000000007 0002 0000ea60";
        assert_eq!(
            hex(&value(&ongoing())),
            format!(
                "0001 {common} 01 02 02 74 03 00000000 00000003 00 000000000000000a \
                 0000000000000009 00"
            )
            .replace(' ', "")
        );
        let overflowing = Transaction {
            state: TransactionState::PrepareCommit,
            partitions: BTreeMap::new(),
            previous_producer_id: 7,
            next_producer_id: 8,
            client_version: 2,
            ..ongoing()
        };
        assert_eq!(
            hex(&value(&overflowing)),
            format!(
                "0001 {common} 02 01 000000000000000a 0000000000000009 \
                 03 00 08 0000000000000007 01 08 0000000000000008 02 02 0002"
            )
            .replace(' ', "")
        );
        let empty = Transaction {
            state: TransactionState::Empty,
            partitions: BTreeMap::new(),
            start_ms: -1,
            ..ongoing()
        };
        assert_eq!(
            hex(&value(&empty)),
            format!("0001 {common} 00 00 000000000000000a ffffffffffffffff 00").replace(' ', "")
        );
    }

    #[test]
    fn version_0_is_read() {
        let found = read(
            "0000 0000000000000007 0002 0000ea60 01 00000001 0001 74 00000002 00000000 00000003 \
             000000000000000a 0000000000000009",
        );
        assert_eq!(found, Ok(Some(ongoing())));
        let empty = read(
            "0000 0000000000000007 0002 0000ea60 00 ffffffff 000000000000000a ffffffffffffffff",
        );
        assert!(empty.unwrap().unwrap().partitions.is_empty());
    }

    #[test]
    fn later_versions_and_tags_are_left_alone_and_lies_refused() {
        assert_eq!(read("0002 00"), Ok(None));
        assert_eq!(decode(&[0, 1, 0], None), Ok(TransactionRecord::Unknown));
        let plain = hex(&value(&ongoing()));
        let without_tags = plain.strip_suffix("00").unwrap();
        let tagged = format!("{without_tags} 01 09 02 ffff");
        assert_eq!(read(&tagged), Ok(Some(ongoing())));
        let head = "0001 0000000000000007 0002 0000ea60";
        assert_eq!(read(&format!("{head} 08")), Err(RecordError::Meaningless));
        assert_eq!(
            read(&format!("{head} 01 ffffffff0f")),
            Err(RecordError::Short)
        );
        assert_eq!(
            read(&format!("{head} 01 ffffffffff")),
            Err(RecordError::LongVarint)
        );
    }

    prop_compose! {
        fn transaction()(producer_id in any::<i64>(), producer_epoch in any::<i16>(),
            previous_producer_id in any::<i64>(), next_producer_id in -1..5i64,
            timeout_ms in any::<i32>(), state in 0..7i8, start_ms in any::<i64>(),
            update_ms in any::<i64>(), client_version in 0..3i16,
            partitions in proptest::collection::btree_map(".{0,9}",
                proptest::collection::btree_set(any::<i32>(), 0..5), 0..4))
            -> Transaction {
            let state = TransactionState::from_id(state).unwrap();
            let partitions = match state {
                TransactionState::Empty => BTreeMap::new(),
                _ => partitions,
            };
            Transaction { producer_id, producer_epoch, last_producer_epoch: -1,
                previous_producer_id, next_producer_id, timeout_ms, state, partitions, start_ms,
                update_ms, client_version }
        }
    }

    proptest! {
        #[test]
        fn transactions_read_back(transactional_id in ".{0,20}", transaction in transaction()) {
            let bytes = value(&transaction);
            let read = decode(&key(&transactional_id), Some(&bytes));
            let value = Some(transaction);
            prop_assert_eq!(read, Ok(TransactionRecord::Transaction { transactional_id, value }));
            for cut in 2..bytes.len() {
                prop_assert!(decode(&key("x"), Some(&bytes[..cut])).is_err());
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(key_bytes in proptest::collection::vec(any::<u8>(), 0..40),
            mut bytes in proptest::collection::vec(any::<u8>(), 0..200), version in 0..3u8) {
            let _ = decode(&key_bytes, Some(&bytes));
            if bytes.len() > 1 { bytes[0] = 0; bytes[1] = version; }
            let _ = decode(&key("x"), Some(&bytes));
        }
    }
}
