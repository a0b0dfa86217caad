//! Transactions by example.

mod transaction_support;

use tidegate_coordinator::transaction::*;
use transaction_support::*;

const CONCURRENT: Option<TransactionError> = Some(TransactionError::ConcurrentTransactions);
const FENCED: Option<TransactionError> = Some(TransactionError::ProducerFenced);
const BAD_STATE: Option<TransactionError> = Some(TransactionError::InvalidTxnState);
const BAD_ID: Option<TransactionError> = Some(TransactionError::InvalidProducerIdMapping);

fn producer(id: i64, epoch: i16) -> Producer {
    Producer { id, epoch }
}

#[test]
fn a_transaction_commits_on_all_its_partitions() {
    let mut host = Host::new();
    let p = host.init("x").unwrap();
    assert_eq!(p, producer(1000, 0));
    host.add("x", p, &[("a", 0), ("b", 2)]).unwrap();
    assert_eq!(host.state("x"), "Ongoing");
    assert_eq!(host.end("x", p, true, 0), Ok(p));
    assert_eq!(
        host.markers,
        [("a".into(), 0, p, true), ("b".into(), 2, p, true)]
    );
    assert_eq!(host.state("x"), "CompleteCommit");
    // The client did not hear the answer, and asks again.
    assert_eq!(host.end("x", p, true, 0), Ok(p));
    assert_eq!(host.end("x", p, false, 0).err(), BAD_STATE);
    assert_eq!(host.markers.len(), 2);
}

#[test]
fn nothing_can_be_ended_before_it_begins_and_strangers_are_told() {
    let mut host = Host::new();
    let p = host.init("x").unwrap();
    assert_eq!(host.end("x", p, true, 0).err(), BAD_STATE);
    assert_eq!(host.end("x", p, true, 2).err(), BAD_STATE);
    assert_eq!(host.end("nobody", p, true, 0).err(), BAD_ID);
    assert_eq!(host.add("nobody", p, &[("a", 0)]).err(), BAD_ID);
    assert_eq!(host.add("x", producer(9, 0), &[("a", 0)]).err(), BAD_ID);
    assert_eq!(host.add("x", producer(p.id, 1), &[("a", 0)]).err(), FENCED);
    let empty = Some(TransactionError::InvalidRequest);
    assert_eq!(host.init("").err(), empty);
    assert_eq!(
        host.init_with("y", 0, None).err(),
        Some(TransactionError::InvalidTransactionTimeout)
    );
    assert_eq!(
        host.init_with("y", 900_001, None).err(),
        Some(TransactionError::InvalidTransactionTimeout)
    );
    assert_eq!(host.coordinator.id_count(), 1);
}

#[test]
fn a_new_producer_fences_the_old_and_aborts_what_it_left() {
    let mut host = Host::new();
    let old = host.init("x").unwrap();
    host.add("x", old, &[("a", 0)]).unwrap();
    assert_eq!(host.init("x").err(), CONCURRENT, "the abort comes first");
    // The abort was under an epoch of its own, which fences at the partition.
    assert_eq!(host.markers, [("a".into(), 0, producer(old.id, 1), false)]);
    let new = host.init("x").unwrap();
    assert_eq!(new, producer(old.id, 2));
    assert_eq!(host.add("x", old, &[("a", 0)]).err(), FENCED);
    assert_eq!(host.end("x", old, true, 0).err(), FENCED);
    host.add("x", new, &[("a", 0)]).unwrap();
    host.end("x", new, true, 0).unwrap();
}

#[test]
fn a_producer_that_says_who_it_was_gets_its_next_epoch() {
    let mut host = Host::new();
    let p = host.init("x").unwrap();
    let next = host.init_with("x", 60_000, Some(p)).unwrap();
    assert_eq!(next, producer(p.id, 1));
    // The same again is a retry of a lost answer.
    assert_eq!(host.init_with("x", 60_000, Some(p)), Ok(next));
    let newer = host.init("x").unwrap();
    assert_eq!(newer.epoch, 2);
    assert_eq!(host.init_with("x", 60_000, Some(next)).err(), FENCED);
    assert_eq!(
        host.init_with("x", 60_000, Some(producer(3, 2))).err(),
        FENCED
    );
    // A zombie does not abort the transaction of its successor.
    host.add("x", newer, &[("a", 0)]).unwrap();
    assert_eq!(host.init_with("x", 60_000, Some(next)).err(), FENCED);
    assert_eq!(host.state("x"), "Ongoing");
    // After transactional.id.expiration.ms, or on a new cluster, whatever it says is believed.
    let stranger = host.init_with("y", 60_000, Some(producer(77, 5))).unwrap();
    assert_eq!(stranger.epoch, 0);
}

#[test]
fn version_2_bumps_the_epoch_with_every_end() {
    let mut host = Host::new();
    let p = host.init("x").unwrap();
    host.add_v2("x", p, &[("a", 0)]).unwrap();
    let next = host.end("x", p, true, 2).unwrap();
    assert_eq!(next, producer(p.id, 1));
    assert_eq!(
        host.markers,
        [("a".into(), 0, next, true)],
        "the marker fences"
    );
    assert_eq!(host.end("x", p, true, 2), Ok(next), "a retry");
    assert_eq!(host.end("x", p, false, 2).err(), BAD_STATE);
    assert_eq!(host.add_v2("x", p, &[("a", 0)]).err(), FENCED);
    host.add_v2("x", next, &[("b", 1)]).unwrap();
    let last = host.end("x", next, false, 2).unwrap();
    assert_eq!(host.state("x"), "CompleteAbort");
    // Nothing was begun, but whoever is in doubt may abort.
    let after = host.end("x", last, false, 2).unwrap();
    assert_eq!(after.epoch, last.epoch + 1);
    assert_eq!(host.end("x", after, true, 2).err(), BAD_STATE);
    assert_eq!(host.markers.len(), 2);
}

#[test]
fn a_retry_before_the_markers_are_written_waits() {
    let mut host = Host::new();
    host.hold_markers = true;
    let p = host.init("x").unwrap();
    host.add("x", p, &[("a", 0)]).unwrap();
    host.end("x", p, true, 0).unwrap();
    assert_eq!(host.state("x"), "PrepareCommit");
    assert_eq!(host.end("x", p, true, 0).err(), CONCURRENT);
    assert_eq!(host.end("x", p, false, 0).err(), CONCURRENT);
    assert_eq!(host.add("x", p, &[("a", 0)]).err(), CONCURRENT);
    assert_eq!(host.init("x").err(), CONCURRENT);
    host.finish_marker(MarkerOutcome::Failed);
    assert_eq!(host.state("x"), "PrepareCommit");
    host.advance(100);
    host.finish_marker(MarkerOutcome::Written);
    assert_eq!(host.state("x"), "CompleteCommit");
    host.add("x", p, &[("a", 0)]).unwrap();
}

#[test]
fn a_deleted_topic_holds_nothing_up() {
    let mut host = Host::new();
    host.hold_markers = true;
    let p = host.init("x").unwrap();
    host.add("x", p, &[("gone", 0)]).unwrap();
    host.end("x", p, true, 0).unwrap();
    host.finish_marker(MarkerOutcome::NoPartition);
    assert_eq!(host.state("x"), "CompleteCommit");
}

#[test]
fn epochs_run_out_and_a_new_producer_id_takes_over() {
    for version in [0, 2] {
        let mut host = Host::new();
        let mut p = host.init("x").unwrap();
        let first = p.id;
        while p.epoch < i16::MAX - 1 {
            p = host.init_with("x", 60_000, Some(p)).unwrap();
        }
        assert_eq!(p.id, first);
        host.add("x", p, &[("a", 0)]).unwrap();
        let ended = host.end("x", p, true, version).unwrap();
        if version == 2 {
            assert_eq!(host.markers[0].2, producer(first, i16::MAX));
            assert!(ended.id != first && ended.epoch == 0);
            assert_eq!(
                host.end("x", p, true, 2),
                Ok(ended),
                "a retry over the overflow"
            );
            assert_eq!(
                host.init_with("x", 60_000, Some(p)),
                Ok(ended),
                "another one"
            );
            host.add_v2("x", ended, &[("a", 0)]).unwrap();
        } else {
            assert_eq!(ended, p);
            let next = host.init("x").unwrap();
            assert!(next.id != first && next.epoch == 0);
            assert_eq!(host.end("x", p, true, 0).err(), BAD_ID);
        }
    }
}

#[test]
fn the_last_epoch_can_still_be_fenced() {
    let mut host = Host::new();
    let mut p = host.init("x").unwrap();
    while p.epoch < i16::MAX - 1 {
        p = host.init_with("x", 60_000, Some(p)).unwrap();
    }
    host.add("x", p, &[("a", 0)]).unwrap();
    assert_eq!(host.init("x").err(), CONCURRENT);
    assert_eq!(host.markers[0].2.epoch, i16::MAX);
    let next = host.init("x").unwrap();
    assert!(next.id != p.id && next.epoch == 0);
}

#[test]
fn an_open_transaction_is_aborted_after_its_timeout() {
    let mut host = Host::new();
    let p = host.init_with("x", 5_000, None).unwrap();
    host.add("x", p, &[("a", 0)]).unwrap();
    host.now += 5_000;
    host.abort_timed_out();
    assert_eq!(host.state("x"), "Ongoing");
    // More partitions do not make it longer.
    host.add("x", p, &[("a", 1)]).unwrap();
    host.now += 1;
    host.abort_timed_out();
    assert_eq!(host.state("x"), "CompleteAbort");
    let fencing = producer(p.id, 1);
    assert_eq!(
        host.markers,
        [
            ("a".into(), 0, fencing, false),
            ("a".into(), 1, fencing, false)
        ]
    );
    assert_eq!(host.end("x", p, true, 0).err(), FENCED);
    assert_eq!(host.end("x", p, true, 2).err(), FENCED);
    assert_eq!(host.init_with("x", 5_000, Some(p)).err(), FENCED);
}

#[test]
fn verification_says_what_is_in_the_transaction() {
    let mut host = Host::new();
    let p = host.init("x").unwrap();
    let abortable = Some(TransactionError::TransactionAbortable);
    assert_eq!(host.verify("x", p, &[("a", 0)]).err(), abortable);
    host.add("x", p, &[("a", 0)]).unwrap();
    assert_eq!(host.verify("x", p, &[("a", 0)]), Ok(()));
    assert_eq!(host.verify("x", p, &[("a", 0), ("a", 1)]).err(), abortable);
    assert_eq!(
        host.verify("x", producer(p.id, 9), &[("a", 0)]).err(),
        FENCED
    );
    assert_eq!(host.verify("y", p, &[("a", 0)]).err(), BAD_ID);
    host.end("x", p, true, 0).unwrap();
    assert_eq!(host.verify("x", p, &[("a", 0)]).err(), abortable);
}

#[test]
fn additions_wait_for_the_one_before_and_ends_do_not() {
    let mut host = Host::new();
    let p = host.init("x").unwrap();
    host.prompt = false;
    let first = host.send_add("x", p, &[("a", 0)], 2);
    let second = host.send_add("x", p, &[("a", 1)], 2);
    let end = host.send(TransactionRequest::End(EndRequest {
        transactional_id: "x".into(),
        producer: p,
        commit: true,
        client_version: 2,
    }));
    assert_eq!(
        host.take(end),
        Some(TransactionReply::End(Err(
            TransactionError::ConcurrentTransactions
        )))
    );
    assert_eq!((host.take(first), host.take(second)), (None, None));
    host.finish_append(true);
    assert_eq!(host.take(first), Some(TransactionReply::Add(Ok(()))));
    assert_eq!(host.take(second), None);
    host.finish_append(false);
    assert_eq!(
        host.take(second),
        Some(TransactionReply::Add(Err(
            TransactionError::CoordinatorNotAvailable
        )))
    );
    let third = host.send_add("x", p, &[("a", 0)], 2);
    assert_eq!(host.take(third), Some(TransactionReply::Add(Ok(()))));
}

/// A client of transaction.version 2 goes on when the end is prepared, and may end the next transaction before the markers of
/// this one are written.
#[test]
fn who_ends_the_next_transaction_too_soon_is_told_to_wait() {
    let mut host = Host::new();
    host.hold_markers = true;
    let p = host.init("x").unwrap();
    host.add_v2("x", p, &[("a", 0)]).unwrap();
    let next = host.end("x", p, true, 2).unwrap();
    for (producer, commit) in [(next, false), (next, true), (p, true)] {
        assert_eq!(host.end("x", producer, commit, 2).err(), CONCURRENT);
    }
    host.finish_marker(MarkerOutcome::Written);
    assert!(host.end("x", next, false, 2).is_ok());
}

#[test]
fn a_crash_between_prepare_and_complete_writes_the_markers_again() {
    let mut host = Host::new();
    host.hold_markers = true;
    let p = host.init("x").unwrap();
    host.add_v2("x", p, &[("a", 0), ("a", 1)]).unwrap();
    let next = host.end("x", p, false, 2).unwrap();
    host.finish_marker(MarkerOutcome::Written);
    host.crash();
    host.hold_markers = false;
    host.load();
    assert_eq!(host.state("x"), "CompleteAbort");
    let again: Vec<_> = host.markers[1..].to_vec();
    assert_eq!(
        again,
        [("a".into(), 0, next, false), ("a".into(), 1, next, false)]
    );
    assert_eq!(host.end("x", p, false, 2), Ok(next));
}

#[test]
fn an_open_transaction_survives_a_crash_and_a_loading_coordinator_says_so() {
    let mut host = Host::new();
    let p = host.init("x").unwrap();
    host.add("x", p, &[("a", 0)]).unwrap();
    host.crash();
    let loading = Some(TransactionError::CoordinatorLoadInProgress);
    assert_eq!(host.end("x", p, true, 0).err(), loading);
    host.load();
    assert_eq!(host.end("x", p, true, 0), Ok(p));
}

#[test]
fn idle_ids_are_forgotten_and_open_ones_are_not() {
    let mut host = Host::new();
    let idle = host.init("idle").unwrap();
    let open = host.init_with("open", 900_000, None).unwrap();
    host.add("open", open, &[("a", 0)]).unwrap();
    host.now += 7 * 24 * 3_600_000;
    host.expire_ids();
    assert_eq!(host.coordinator.id_count(), 1);
    assert_eq!(host.add("idle", idle, &[("a", 0)]).err(), BAD_ID);
    host.crash();
    host.load();
    assert_eq!(host.coordinator.id_count(), 1);
}

#[test]
fn a_full_coordinator_and_a_full_transaction_take_no_more() {
    let mut host = Host::with(TransactionOptions {
        max_ids: 1,
        max_partitions: 2,
        ..TransactionOptions::default()
    });
    let p = host.init("x").unwrap();
    assert_eq!(
        host.init("y").err(),
        Some(TransactionError::CoordinatorNotAvailable)
    );
    host.add("x", p, &[("a", 0), ("a", 1)]).unwrap();
    assert_eq!(
        host.add("x", p, &[("a", 2)]).err(),
        Some(TransactionError::InvalidRequest)
    );
    host.add("x", p, &[("a", 1)]).unwrap();
}

#[test]
fn a_first_record_that_is_lost_leaves_nothing() {
    let mut host = Host::new();
    host.prompt = false;
    let token = host.send_init("x", 60_000, None);
    host.finish_append(false);
    assert_eq!(
        host.take(token),
        Some(TransactionReply::Init(Err(
            TransactionError::CoordinatorNotAvailable
        )))
    );
    assert_eq!(host.coordinator.id_count(), 0);
}
