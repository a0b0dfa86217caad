//! Where instances live: in the pool, or in memory taken on demand.
//!
//! The pool makes an instance in microseconds, but each of its slots is as large as the largest instance may be. A
//! component that does not fit a slot (JavaScript and Python engines: many core instances, large tables) goes to a
//! second engine that takes memory as it needs it, with fewer instances. Both run the same code: what decides about
//! compiling is the same, so there is one artifact for both. What is too much even for the second is measured by a
//! third engine, which never runs anything: wasmtime checks sizes only for pools.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sha2::{Digest as _, Sha256};
use wasmtime::component::{Component, InstancePre, Linker};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::artifact::Artifact;
use crate::guest::Guest;
use crate::verdict::excerpt;
use crate::{EngineOptions, LoadError, clock, contract};

/// A component made of one Rust module has three core instances (it, a shim and its fix-up), one of C or Go five.
const CORE_INSTANCES: u32 = 8;
const TABLES: u32 = 3;
const TABLE_ELEMENTS: usize = 20_000;

/// The same for one component in the second engine.
const LARGE_CORE_INSTANCES: u32 = 64;
const LARGE_MEMORIES: u32 = 8;
const LARGE_TABLES: u32 = 32;
const LARGE_TABLE_ELEMENTS: usize = 100_000;
/// What the engine itself keeps for one module instance, and for all of one component.
const LARGE_INSTANCE_BYTES: usize = 4 << 20;
const LARGE_COMPONENT_BYTES: usize = 32 << 20;

/// Which engine a plugin's instances live in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Allocation {
    Pooled,
    OnDemand,
}

impl Allocation {
    pub fn as_str(self) -> &'static str {
        match self {
            Allocation::Pooled => "pooled",
            Allocation::OnDemand => "on-demand",
        }
    }
}

pub(crate) struct Sites {
    pooled: Site,
    large: Site,
    gauge: Engine,
}

pub(crate) struct Site {
    pub(crate) engine: Engine,
    pub(crate) linker: Linker<Guest>,
    pub(crate) places: Places,
}

/// What instances of one component take their place from.
#[derive(Clone)]
pub(crate) struct Places {
    allocation: Allocation,
    live: Arc<AtomicUsize>,
    max: usize,
}

/// One instance's place, given back when dropped.
pub(crate) struct Place(Arc<AtomicUsize>);

/// A component ready to be instantiated where it belongs.
pub(crate) struct Prepared {
    pub(crate) pre: InstancePre<Guest>,
    places: Places,
    /// Elements of its largest table at its start, which it was accepted with.
    pub(crate) table_elements: usize,
}

impl Sites {
    pub(crate) fn new(options: &EngineOptions, base: &Config) -> wasmtime::Result<Sites> {
        let pooled = Site::new(
            with(base, pool(options)),
            Allocation::Pooled,
            options.max_instances,
        )?;
        let large = Site::new(
            on_demand(base),
            Allocation::OnDemand,
            options.max_large_instances,
        )?;
        let gauge = Engine::new(&with(base, largest(options)))?;
        Ok(Sites {
            pooled,
            large,
            gauge,
        })
    }

    pub(crate) fn start_tickers(&self) -> std::io::Result<()> {
        clock::start_ticker(&self.pooled.engine)?;
        clock::start_ticker(&self.large.engine)
    }

    /// What code must have been compiled for.
    pub(crate) fn compatibility(&self) -> [u8; 32] {
        compatibility(&self.pooled.engine)
    }

    /// Compiles here, as the child process does there.
    pub(crate) fn compiler(&self) -> &Engine {
        &self.large.engine
    }

    /// Loads the code where it fits. An error is a sentence.
    pub(crate) fn load(&self, artifact: &Artifact) -> Result<(&Site, Component), LoadError> {
        if let Ok(component) = artifact.component(&self.pooled.engine) {
            return Ok((&self.pooled, component));
        }
        let refused = |error: wasmtime::Error| {
            LoadError::Compile(format!(
                "the plugin needs more than an instance may have: {}",
                excerpt(&error.root_cause().to_string())
            ))
        };
        artifact.component(&self.gauge).map_err(refused)?;
        let component = artifact.component(&self.large.engine).map_err(refused)?;
        Ok((&self.large, component))
    }
}

impl Site {
    fn new(config: Config, allocation: Allocation, max: usize) -> wasmtime::Result<Site> {
        let engine = Engine::new(&config)?;
        let mut linker = Linker::new(&engine);
        contract::link(&mut linker)?;
        let places = Places {
            allocation,
            live: Arc::default(),
            max,
        };
        Ok(Site {
            engine,
            linker,
            places,
        })
    }

    pub(crate) fn prepare(&self, component: &Component) -> wasmtime::Result<Prepared> {
        let needs = component.resources_required();
        let elements = needs.and_then(|needs| needs.max_initial_table_size);
        Ok(Prepared {
            pre: self.linker.instantiate_pre(component)?,
            places: self.places.clone(),
            table_elements: usize::try_from(elements.unwrap_or(0)).unwrap_or(usize::MAX),
        })
    }
}

impl Prepared {
    pub(crate) fn allocation(&self) -> Allocation {
        self.places.allocation
    }

    /// The most table elements that a binding may allow.
    pub(crate) fn max_table_elements(&self) -> usize {
        match self.places.allocation {
            Allocation::Pooled => TABLE_ELEMENTS,
            Allocation::OnDemand => LARGE_TABLE_ELEMENTS,
        }
    }

    /// `None` when as many instances live as may.
    pub(crate) fn place(&self) -> Option<Place> {
        let taken = self
            .places
            .live
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |live| {
                (live < self.places.max).then_some(live + 1)
            });
        taken.ok().map(|_| Place(Arc::clone(&self.places.live)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The engine that compiles and takes memory as it needs it: all that the child process has.
pub(crate) fn on_demand(base: &Config) -> Config {
    with(base, InstanceAllocationStrategy::OnDemand)
}

/// Everything that decides whether code fits: version, settings, processor.
pub(crate) fn compatibility(engine: &Engine) -> [u8; 32] {
    struct Sum(Sha256);
    impl Hasher for Sum {
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }

        fn finish(&self) -> u64 {
            0
        }
    }
    let mut sum = Sum(Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut sum);
    sum.0.finalize().into()
}

fn with(base: &Config, strategy: InstanceAllocationStrategy) -> Config {
    let mut config = base.clone();
    config.allocation_strategy(strategy);
    config
}

fn pool(options: &EngineOptions) -> InstanceAllocationStrategy {
    let instances = u32::try_from(options.max_instances.max(1)).unwrap_or(u32::MAX);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .max_core_instances_per_component(CORE_INSTANCES)
        .max_memories_per_component(1)
        .max_tables_per_component(TABLES)
        .total_core_instances(instances.saturating_mul(CORE_INSTANCES))
        .total_memories(instances)
        .total_tables(instances.saturating_mul(TABLES))
        .max_memory_size(options.max_memory_bytes)
        .table_elements(TABLE_ELEMENTS);
    InstanceAllocationStrategy::Pooling(pool)
}

/// One component of the largest size that the second engine takes.
fn largest(options: &EngineOptions) -> InstanceAllocationStrategy {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(1)
        .max_core_instances_per_component(LARGE_CORE_INSTANCES)
        .max_memories_per_component(LARGE_MEMORIES)
        .max_tables_per_component(LARGE_TABLES)
        .max_memories_per_module(LARGE_MEMORIES)
        .max_tables_per_module(LARGE_TABLES)
        .max_core_instance_size(LARGE_INSTANCE_BYTES)
        .max_component_instance_size(LARGE_COMPONENT_BYTES)
        .total_core_instances(LARGE_CORE_INSTANCES)
        .total_memories(LARGE_MEMORIES)
        .total_tables(LARGE_TABLES)
        .max_memory_size(options.max_memory_bytes)
        .table_elements(LARGE_TABLE_ELEMENTS);
    InstanceAllocationStrategy::Pooling(pool)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_artifact_serves_every_engine() {
        let sites = Sites::new(&EngineOptions::default(), &crate::engine::config()).unwrap();
        let of = compatibility(&sites.pooled.engine);
        assert_eq!(compatibility(&sites.large.engine), of);
        assert_eq!(compatibility(&sites.gauge), of);
        let mut other = crate::engine::config();
        other.epoch_interruption(false);
        assert_ne!(compatibility(&Engine::new(&other).unwrap()), of);
    }

    #[test]
    fn places_are_bounded_and_come_back() {
        let options = EngineOptions {
            max_large_instances: 2,
            ..EngineOptions::default()
        };
        let sites = Sites::new(&options, &crate::engine::config()).unwrap();
        let component = Component::new(&sites.large.engine, b"\0asm\x0d\0\x01\0").unwrap();
        let prepared = sites.large.prepare(&component).unwrap();
        let first = prepared.place().unwrap();
        let _second = prepared.place().unwrap();
        assert!(prepared.place().is_none());
        drop(first);
        assert!(prepared.place().is_some());
    }
}
