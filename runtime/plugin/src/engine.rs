//! The engine: compilation, the cache of plugins, instances and threads.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest as _, Sha256};
use wasmtime::component::Linker;
use wasmtime::{Config, InstanceAllocationStrategy, PoolingAllocationConfig, WasmBacktraceDetails};

use crate::binding::Registry;
use crate::guest::Guest;
use crate::{BindError, Binding, BindingSpec, Digest, LoadError, Plugin, Pool, clock, guest, load};

/// A real component made of one Rust module has three core instances (it, a shim and its fix-up).
const CORE_INSTANCES_EACH: u32 = 4;
const TABLES_EACH: u32 = 3;
const MAX_TABLE_ELEMENTS: usize = 20_000;
const MAX_DEADLINE_MS: u64 = 60_000;
/// The guest's own stack. The threads of the pool have far more.
const WASM_STACK_BYTES: usize = 512 << 10;

#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// 0 = max(4, twice the cores).
    pub pool_threads: usize,
    /// Jobs that may wait, over all keys.
    pub pool_queue: usize,
    /// Instances alive at the same time, over all bindings. Each reserves some GiB of address space, of
    /// which only what the guest touches is memory.
    pub max_instances: usize,
    /// The most that any binding's `memory_bytes` may be.
    pub max_memory_bytes: usize,
    /// Bytes of one uploaded component.
    pub max_upload_bytes: usize,
    /// Where compiled artifacts are to be kept. Not used yet: components are compiled at each start.
    pub cache_dir: Option<PathBuf>,
}

impl Default for EngineOptions {
    fn default() -> Self {
        EngineOptions {
            pool_threads: 0,
            pool_queue: 10_000,
            max_instances: 256,
            max_memory_bytes: 256 << 20,
            max_upload_bytes: 32 << 20,
            cache_dir: None,
        }
    }
}

#[derive(Clone, Debug, thiserror::Error)]
pub enum EngineError {
    #[error("the WebAssembly engine did not start: {0}")]
    Wasm(String),
    #[error("a thread of the plugin engine did not start: {0}")]
    Thread(String),
}

/// Cheap to clone: one inside.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    options: EngineOptions,
    wasm: wasmtime::Engine,
    linker: Linker<Guest>,
    pool: Pool,
    compilations: AtomicU64,
    plugins: Mutex<HashMap<Digest, Arc<Slot>>>,
    bindings: Arc<Registry>,
}

/// Holds a plugin, or the lock that others wait on while the first compiles it.
type Slot = Mutex<Option<Arc<Plugin>>>;

impl Engine {
    pub fn new(options: EngineOptions) -> Result<Engine, EngineError> {
        let wasm_error = |error: wasmtime::Error| EngineError::Wasm(format!("{error:#}"));
        let thread_error = |error: std::io::Error| EngineError::Thread(error.to_string());
        let wasm = wasmtime::Engine::new(&config(&options)).map_err(wasm_error)?;
        let mut linker = Linker::new(&wasm);
        guest::link(&mut linker).map_err(wasm_error)?;
        clock::start_ticker(&wasm).map_err(thread_error)?;
        let pool = Pool::new(options.pool_threads, options.pool_queue).map_err(thread_error)?;
        let inner = Inner {
            options,
            wasm,
            linker,
            pool,
            compilations: AtomicU64::new(0),
            plugins: Mutex::default(),
            bindings: Arc::default(),
        };
        Ok(Engine {
            inner: Arc::new(inner),
        })
    }

    /// Validates, compiles once per sha256 and asks the plugin to describe itself in a dry run. Blocks for
    /// the compilation (tens of milliseconds to seconds): not on an async worker.
    pub fn load(&self, wasm: &[u8]) -> Result<Arc<Plugin>, LoadError> {
        let max = self.inner.options.max_upload_bytes;
        if wasm.len() > max {
            return Err(LoadError::TooLarge {
                size: wasm.len(),
                max,
            });
        }
        let digest = Digest(Sha256::digest(wasm).into());
        let slot = Arc::clone(self.inner.plugins().entry(digest).or_default());
        let mut held = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(plugin) = &*held {
            return Ok(Arc::clone(plugin));
        }
        let inner = &self.inner;
        match load::load(
            &inner.wasm,
            &inner.linker,
            &inner.compilations,
            digest,
            wasm,
        ) {
            Ok(plugin) => Ok(Arc::clone(held.insert(Arc::new(plugin)))),
            Err(error) => {
                // Refused files must not fill the cache.
                inner.plugins().remove(&digest);
                Err(error)
            }
        }
    }

    /// The plugin of this digest, if it is loaded.
    pub fn plugin(&self, digest: &Digest) -> Option<Arc<Plugin>> {
        let slot = Arc::clone(self.inner.plugins().get(digest)?);
        slot.try_lock().ok()?.clone()
    }

    /// Takes a plugin out of the cache; its code goes when the last binding does.
    pub fn forget(&self, digest: &Digest) {
        self.inner.plugins().remove(digest);
    }

    /// Compilations since the engine started.
    pub fn compilations(&self) -> u64 {
        self.inner.compilations.load(Ordering::Relaxed)
    }

    /// Checks the configuration and tries it in an instance. Blocks for up to three deadlines.
    pub fn bind(&self, plugin: &Arc<Plugin>, spec: BindingSpec) -> Result<Arc<Binding>, BindError> {
        self.inner.check_limits(&spec)?;
        Binding::new(plugin, spec, &self.inner.bindings)
    }

    pub fn pool(&self) -> &Pool {
        &self.inner.pool
    }
}

impl Inner {
    fn plugins(&self) -> std::sync::MutexGuard<'_, HashMap<Digest, Arc<Slot>>> {
        self.plugins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_limits(&self, spec: &BindingSpec) -> Result<(), BindError> {
        let limits = &spec.limits;
        let checks = [
            ("deadline_ms", limits.deadline_ms, MAX_DEADLINE_MS),
            (
                "memory_bytes",
                limits.memory_bytes as u64,
                self.options.max_memory_bytes as u64,
            ),
            (
                "table_elements",
                limits.table_elements as u64,
                MAX_TABLE_ELEMENTS as u64,
            ),
        ];
        for (name, value, max) in checks {
            if value == 0 || value > max {
                return Err(BindError::Unsupported(format!(
                    "the limit `{name}` of `{}` is {value}; it must be 1 to {max}",
                    spec.alias
                )));
            }
        }
        Ok(())
    }
}

fn config(options: &EngineOptions) -> Config {
    let instances = u32::try_from(options.max_instances.max(1)).unwrap_or(u32::MAX);
    let mut pooling = PoolingAllocationConfig::new();
    pooling
        .total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(CORE_INSTANCES_EACH))
        .total_memories(instances)
        .total_tables(instances.saturating_mul(TABLES_EACH))
        .max_memory_size(options.max_memory_bytes)
        .table_elements(MAX_TABLE_ELEMENTS);
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .concurrency_support(false)
        .epoch_interruption(true)
        .max_wasm_stack(WASM_STACK_BYTES)
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        // A run can be repeated: the same records give the same verdicts on every machine.
        .relaxed_simd_deterministic(true)
        .cranelift_nan_canonicalization(true)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pooling));
    config
}
