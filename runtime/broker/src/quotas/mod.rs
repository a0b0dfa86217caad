//! Client quotas as this broker holds its clients to them (KIP-13, KIP-124, KIP-219, KIP-599, KIP-612).
//!
//! The image says who may use how much (`tidegate_metadata::quota`), `bucket` adds up who used what, and this is where the
//! two meet a clock. A client that used too much is answered first, with the time it owes, and then not read from for that
//! time (`connection.rs`). Where nobody has a quota of a kind, asking costs one atomic load and a comparison.

mod bucket;

use std::future::Future;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tidegate_metadata::Image;
use tidegate_metadata::quota::{QuotaKey, QuotaRows, QuotaTable};

use self::bucket::{Allowance, Buckets};
use crate::config::ServerConfig;
use crate::metrics::Metrics;

/// Whoever is counted together, by kind of quota.
const MOST_COUNTED: usize = 10_000;
/// Under the whole broker's limit of new connections there is one to count.
const EVERYBODY: &str = "";

/// Who sent a request, as quotas tell clients apart. Without SASL everybody is the same user.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client<'a> {
    pub(crate) user: &'a str,
    pub(crate) client_id: &'a str,
}

pub(crate) struct Quotas {
    tables: ArcSwap<Tables>,
    counted: [Mutex<Buckets>; QuotaKey::ALL.len()],
    /// New connections under `max.connection.creation.rate`.
    connections: Mutex<Buckets>,
    /// Seconds that can be saved up, of rates and of mutations.
    window: Windows,
    started: Instant,
    metrics: Arc<Metrics>,
}

#[derive(Clone, Copy)]
struct Windows {
    /// Kafka's window is not full before all but one of its samples are, so that much may come at once.
    rate_seconds: f64,
    mutation_seconds: f64,
    /// The longest that a request quota holds a client up at once, and a refused connection.
    sample: Duration,
}

struct Tables {
    rows: Arc<QuotaRows>,
    by_key: [QuotaTable; QuotaKey::ALL.len()],
}

/// The partitions that one request creates and deletes.
pub(crate) struct Mutations<'a> {
    quotas: &'a Quotas,
    client: Client<'a>,
    /// Refuse what comes too soon, rather than do it and hold the client up.
    strict: bool,
}

impl Quotas {
    pub(crate) fn new(config: &ServerConfig, metrics: Arc<Metrics>) -> Quotas {
        let quota = &config.quota_windows;
        let sample = f64::from(quota.seconds);
        Quotas {
            tables: ArcSwap::from_pointee(Tables::of(Arc::default())),
            counted: std::array::from_fn(|_| Mutex::new(Buckets::new(MOST_COUNTED))),
            connections: Mutex::new(Buckets::new(1)),
            window: Windows {
                rate_seconds: f64::from(quota.number.saturating_sub(1).max(1)) * sample,
                mutation_seconds: f64::from(quota.mutation_number)
                    * f64::from(quota.mutation_seconds),
                sample: Duration::from_secs(quota.seconds.into()),
            },
            started: Instant::now(),
            metrics,
        }
    }

    /// Takes over what the image says now.
    pub(crate) fn follow(&self, image: &Image) {
        if !Arc::ptr_eq(&self.tables.load().rows, &image.quotas) {
            self.tables
                .store(Arc::new(Tables::of(image.quotas.clone())));
        }
    }

    /// Counts a Produce request's bytes; how long its client is to be held up.
    pub(crate) fn produced(&self, client: Client<'_>, bytes: usize) -> Duration {
        self.take(QuotaKey::ProducerByteRate, client, bytes as f64)
    }

    /// The most bytes that one fetch of this client may come to; `None` where it has no quota.
    pub(crate) fn fetch_window(&self, client: Client<'_>) -> Option<usize> {
        let tables = self.tables.load();
        let limit = tables.of_key(QuotaKey::ConsumerByteRate);
        let limit = limit.limit(client.user, client.client_id)?.limit;
        Some(((limit * self.window.rate_seconds) as usize).max(1))
    }

    /// How long this client owes for what it fetched before. While it does, it gets nothing (as Kafka answers it).
    pub(crate) fn fetch_owed(&self, client: Client<'_>) -> Duration {
        self.owed(QuotaKey::ConsumerByteRate, client)
    }

    /// Counts the bytes that a fetch sent or looked at; how long its client is to be held up.
    pub(crate) fn fetched(&self, client: Client<'_>, bytes: usize) -> Duration {
        self.take(QuotaKey::ConsumerByteRate, client, bytes as f64)
    }

    /// Whether anybody's time is counted.
    pub(crate) fn counts_time(&self) -> bool {
        !self
            .tables
            .load()
            .of_key(QuotaKey::RequestPercentage)
            .is_empty()
    }

    /// Counts the processor time that a request took; how long its client is to be held up.
    pub(crate) fn worked(&self, client: Client<'_>, time: Duration) -> Duration {
        self.take(QuotaKey::RequestPercentage, client, time.as_secs_f64())
            .min(self.window.sample)
    }

    pub(crate) fn mutations<'a>(&'a self, client: Client<'a>, strict: bool) -> Mutations<'a> {
        Mutations {
            quotas: self,
            client,
            strict,
        }
    }

    /// Counts a new connection; how long it is to be held before it is closed. Zero: it may stay.
    pub(crate) fn connected(&self, ip: IpAddr) -> Duration {
        let key = QuotaKey::ConnectionCreationRate;
        let Some(limit) = self.tables.load().of_key(key).limit_of_ip(ip) else {
            return Duration::ZERO;
        };
        let (who, allowance) = (ip.to_string(), self.allowance(key, limit));
        let now_us = self.now_us();
        let mut counted = self.lock(key);
        let owed = counted.owed(&who, allowance, now_us);
        if owed == 0 {
            // One that is refused is not counted: it would keep the address out for good.
            counted.take(&who, allowance, 1.0, now_us);
        }
        drop(counted);
        self.throttled(key, owed).min(self.window.sample)
    }

    /// Counts a new connection of anybody's under a limit per second; how long to wait before the next is taken.
    pub(crate) fn accepted(&self, per_second: u32) -> Duration {
        let allowance = Allowance {
            per_second: f64::from(per_second),
            burst: f64::from(per_second),
        };
        let mut counted = lock(&self.connections);
        let owed = counted.take(EVERYBODY, allowance, 1.0, self.now_us());
        Duration::from_micros(owed)
    }

    /// Forgets whoever has used nothing for long.
    pub(crate) fn forget_idle(&self) {
        let now_us = self.now_us();
        for counted in &self.counted {
            lock(counted).forget_idle(now_us);
        }
    }

    /// How many are counted by themselves, by kind of quota.
    pub(crate) fn counted(&self) -> impl Iterator<Item = (&'static str, usize)> + '_ {
        QuotaKey::ALL
            .into_iter()
            .map(|key| (key.name(), self.lock(key).len()))
    }

    fn take(&self, key: QuotaKey, client: Client<'_>, units: f64) -> Duration {
        let tables = self.tables.load();
        let Some(limit) = tables.of_key(key).limit(client.user, client.client_id) else {
            return Duration::ZERO;
        };
        let allowance = self.allowance(key, limit.limit);
        let who = name(limit.user, limit.client_id);
        let owed = self.lock(key).take(&who, allowance, units, self.now_us());
        self.throttled(key, owed)
    }

    fn owed(&self, key: QuotaKey, client: Client<'_>) -> Duration {
        let tables = self.tables.load();
        let Some(limit) = tables.of_key(key).limit(client.user, client.client_id) else {
            return Duration::ZERO;
        };
        let allowance = self.allowance(key, limit.limit);
        let who = name(limit.user, limit.client_id);
        let owed = self.lock(key).owed(&who, allowance, self.now_us());
        self.throttled(key, owed)
    }

    fn throttled(&self, key: QuotaKey, owed_us: u64) -> Duration {
        let owed = Duration::from_micros(owed_us);
        if !owed.is_zero() {
            self.metrics.throttled(key.name(), owed);
        }
        owed
    }

    fn allowance(&self, key: QuotaKey, limit: f64) -> Allowance {
        let (per_second, seconds) = match key {
            // A percent of one processor is ten milliseconds of each second.
            QuotaKey::RequestPercentage => (limit / 100.0, self.window.rate_seconds),
            QuotaKey::ControllerMutationRate => (limit, self.window.mutation_seconds),
            QuotaKey::ProducerByteRate
            | QuotaKey::ConsumerByteRate
            | QuotaKey::ConnectionCreationRate => (limit, self.window.rate_seconds),
        };
        Allowance {
            per_second,
            burst: per_second * seconds,
        }
    }

    fn lock(&self, key: QuotaKey) -> MutexGuard<'_, Buckets> {
        lock(&self.counted[index(key)])
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

impl Mutations<'_> {
    /// Before a change: a strict client that owes is refused, and told for how long.
    pub(crate) fn check(&self) -> Result<(), Duration> {
        if !self.strict {
            return Ok(());
        }
        let key = QuotaKey::ControllerMutationRate;
        match self.quotas.owed(key, self.client) {
            owed if owed.is_zero() => Ok(()),
            owed => Err(owed),
        }
    }

    /// After a change of so many partitions: how long the client is to be held up, unless it will be refused instead.
    pub(crate) fn count(&self, partitions: usize) -> Duration {
        let key = QuotaKey::ControllerMutationRate;
        let owed = self.quotas.take(key, self.client, partitions as f64);
        match self.strict {
            true => Duration::ZERO,
            false => owed,
        }
    }
}

impl Tables {
    fn of(rows: Arc<QuotaRows>) -> Tables {
        Tables {
            by_key: QuotaKey::ALL.map(|key| QuotaTable::of(&rows, key)),
            rows,
        }
    }

    fn of_key(&self, key: QuotaKey) -> &QuotaTable {
        &self.by_key[index(key)]
    }
}

fn index(key: QuotaKey) -> usize {
    key as usize
}

fn lock(counted: &Mutex<Buckets>) -> MutexGuard<'_, Buckets> {
    // Every change behind the lock is one call.
    counted.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Told apart by the first one's length, because both are whatever clients say.
fn name(user: &str, client_id: &str) -> String {
    format!("{} {user}{client_id}", user.len())
}

/// Runs a future, and adds up how long it was busy rather than waiting, if anybody wants to know.
///
/// What it has done on other threads, disk reads and plugins, is not in it.
pub(crate) async fn timed<F: Future>(counts: bool, future: F) -> (F::Output, Duration) {
    let mut future = pin!(future);
    let mut busy = Duration::ZERO;
    let output = std::future::poll_fn(|context| {
        if !counts {
            return future.as_mut().poll(context);
        }
        let started = Instant::now();
        let polled = future.as_mut().poll(context);
        busy += started.elapsed();
        polled
    });
    let output = output.await;
    (output, busy)
}

#[cfg(test)]
mod tests;
