//! A record of `__transaction_state`: a key behind a byte with its length, a byte that says whether there is a value, and
//! one like the key.
//!
//! It is refused, unknown, or means something that is written as a record that means the same. Memory follows from the
//! bytes, not from what they claim.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_coordinator::records::transaction_log::{TransactionRecord, decode, key, value};
use tidegate_coordinator::transaction::{Transaction, TransactionState};

use crate::corpus::Seed;
use crate::input::Input;
use crate::memory::{SLACK, within};

/// A topic of one letter without partitions, in a map.
const MOST_GROWTH: usize = 128;

pub(super) fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let (stored_key, stored_value) = (input.bytes(255), input.part());
    let bytes = stored_key.len() + stored_value.map_or(0, <[u8]>::len);
    let read = within(MOST_GROWTH * bytes + SLACK, || {
        decode(stored_key, stored_value)
    });
    let Ok(TransactionRecord::Transaction {
        transactional_id,
        value: found,
    }) = read
    else {
        return;
    };
    let written = found.as_ref().map(value);
    let again = decode(&key(&transactional_id), written.as_deref());
    // An empty one has no partitions, whatever somebody wrote.
    let expected = found.map(|found| match found.state {
        TransactionState::Empty => Transaction {
            partitions: BTreeMap::new(),
            ..found
        },
        _ => found,
    });
    assert_eq!(
        again,
        Ok(TransactionRecord::Transaction {
            transactional_id,
            value: expected
        })
    );
}

pub(super) fn seeds() -> Vec<Seed> {
    let of = |state| Transaction {
        producer_id: 7,
        producer_epoch: 2,
        last_producer_epoch: -1,
        previous_producer_id: 6,
        next_producer_id: 8,
        timeout_ms: 60_000,
        state,
        partitions: BTreeMap::from([
            ("t".to_owned(), BTreeSet::from([0, 3])),
            ("u".to_owned(), BTreeSet::new()),
        ]),
        start_ms: 5,
        update_ms: 9,
        client_version: 2,
    };
    let seed = |name: &str, value: Option<&[u8]>| {
        let key = key("id");
        let value = match value {
            Some(value) => [&[1, value.len() as u8], value].concat(),
            None => vec![0],
        };
        Seed::made(name, [&[key.len() as u8], &key[..], &value].concat())
    };
    let old = b"\0\0\0\0\0\0\0\0\0\x07\0\x02\0\0\x03\xe8\x01\0\0\0\x01\0\x01t\0\0\0\x01\0\0\0\x02\0\0\0\0\0\0\0\x09\0\0\0\0\0\0\0\x05";
    vec![
        seed("ongoing", Some(&value(&of(TransactionState::Ongoing)))),
        seed("empty", Some(&value(&of(TransactionState::Empty)))),
        seed("v0", Some(old)),
        seed("tombstone", None),
    ]
}
