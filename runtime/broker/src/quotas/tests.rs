use std::collections::BTreeMap;

use tidegate_metadata::quota::{QuotaEntity, QuotaName};
use tidegate_metadata::{Command, apply};

use super::*;
use crate::plugins::testbed;

const A: Client<'_> = Client {
    user: "ANONYMOUS",
    client_id: "a",
};
const B: Client<'_> = Client {
    user: "ANONYMOUS",
    client_id: "b",
};

fn quotas(limits: &[(&str, &str, f64)]) -> Quotas {
    let mut image = Image::default();
    for (client, key, limit) in limits {
        let named = || Some(QuotaName::Named((*client).to_owned()));
        let ip = client.parse::<IpAddr>().is_ok();
        let entity = QuotaEntity {
            client_id: named().filter(|_| !ip),
            ip: named().filter(|_| ip),
            user: None,
        };
        let set = BTreeMap::from([((*key).to_owned(), Some(*limit))]);
        image = apply(&image, &Command::SetQuotas { entity, set })
            .unwrap()
            .0;
    }
    let quotas = Quotas::new(&testbed::config(), Arc::new(Metrics::new()));
    quotas.follow(&image);
    quotas
}

#[test]
fn who_has_no_quota_is_never_held_up_nor_counted() {
    let quotas = quotas(&[("a", "producer_byte_rate", 1.0)]);
    assert_eq!(quotas.produced(B, 1 << 40), Duration::ZERO);
    assert_eq!(quotas.fetched(A, 1 << 40), Duration::ZERO);
    assert_eq!(quotas.fetch_window(A), None);
    assert!(!quotas.counts_time());
    assert_eq!(quotas.worked(A, Duration::from_secs(9)), Duration::ZERO);
    assert_eq!(quotas.connected([127, 0, 0, 1].into()), Duration::ZERO);
    assert!(quotas.counted().all(|(_, counted)| counted == 0));
}

#[test]
fn bytes_beyond_the_window_are_owed_at_the_rate() {
    let quotas = quotas(&[
        ("a", "producer_byte_rate", 1000.0),
        ("a", "consumer_byte_rate", 1000.0),
    ]);
    assert_eq!(quotas.produced(A, 10_000), Duration::ZERO);
    let held = quotas.produced(A, 5_000);
    assert!((4.0..=5.0).contains(&held.as_secs_f64()), "{held:?}");
    // Reading and writing are counted apart.
    assert_eq!(quotas.fetch_window(A), Some(10_000));
    assert_eq!(quotas.fetch_owed(A), Duration::ZERO);
    assert!(quotas.fetched(A, 20_000) > Duration::from_secs(5));
    assert!(quotas.fetch_owed(A) > Duration::from_secs(5));
}

#[test]
fn a_change_of_quotas_holds_at_once() {
    let limited = quotas(&[("a", "producer_byte_rate", 1.0)]);
    assert!(limited.produced(A, 1_000) > Duration::from_secs(100));
    limited.follow(&Image::default());
    assert_eq!(limited.produced(A, 1_000), Duration::ZERO);
}

#[test]
fn time_is_counted_in_percent_of_a_processor_and_held_up_for_a_window_at_most() {
    let quotas = quotas(&[("a", "request_percentage", 50.0)]);
    assert!(quotas.counts_time());
    assert_eq!(quotas.worked(A, Duration::from_secs(5)), Duration::ZERO);
    let held = quotas.worked(A, Duration::from_millis(100));
    assert!((100..=200).contains(&held.as_millis()), "{held:?}");
    assert_eq!(
        quotas.worked(A, Duration::from_secs(60)),
        Duration::from_secs(1)
    );
}

#[test]
fn strict_clients_are_refused_and_others_held_up() {
    let quotas = quotas(&[("a", "controller_mutation_rate", 1.0)]);
    let strict = quotas.mutations(A, true);
    assert_eq!(strict.check(), Ok(()));
    assert_eq!(strict.count(15), Duration::ZERO);
    let owed = strict.check().unwrap_err();
    assert!((3.0..=4.0).contains(&owed.as_secs_f64()), "{owed:?}");
    let lenient = quotas.mutations(A, false);
    assert_eq!(lenient.check(), Ok(()));
    assert!(lenient.count(1) > Duration::from_secs(4));
    assert_eq!(quotas.mutations(B, true).check(), Ok(()));
}

#[test]
fn connections_beyond_an_addresss_rate_are_refused() {
    let quotas = quotas(&[("127.0.0.1", "connection_creation_rate", 1.0)]);
    let ip: IpAddr = [127, 0, 0, 1].into();
    let taken = (0..100).filter(|_| quotas.connected(ip).is_zero()).count();
    assert!((10..=12).contains(&taken), "{taken}");
    assert!(quotas.connected(ip) <= Duration::from_secs(1));
    assert!(quotas.connected([127, 0, 0, 2].into()).is_zero());
}

#[test]
fn only_busy_time_is_counted() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let work = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let until = Instant::now() + Duration::from_millis(5);
        while Instant::now() < until {}
    };
    let ((), busy) = runtime.block_on(timed(true, work));
    assert!(busy >= Duration::from_millis(5), "{busy:?}");
    assert!(busy < Duration::from_millis(50), "{busy:?}");
    let ((), unasked) = runtime.block_on(timed(false, async {}));
    assert_eq!(unasked, Duration::ZERO);
}
