//! The engine: compilation, the cache of plugins, instances and threads.

use std::collections::HashMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use wasmtime::component::Component;
use wasmtime::{Config, WasmBacktraceDetails};

use crate::artifact::Artifact;
use crate::binding::Registry;
use crate::cache::Cache;
use crate::compile::{Bounds, Workshop};
use crate::site::{Site, Sites};
use crate::{BindError, Binding, BindingSpec, Compiler, Digest, LoadError, Plugin, Pool, load};

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
    /// Instances alive at the same time of components that do not fit the pool's slots (JavaScript, Python).
    pub max_large_instances: usize,
    /// Where compiled plugins are kept across restarts; `None` compiles them at each start. The directory becomes
    /// the engine's own: mode 0700, and what it does not need goes.
    pub cache_dir: Option<PathBuf>,
    /// Files there, together; what was not used for longest goes first.
    pub cache_bytes: u64,
    pub compiler: Compiler,
    /// Of one compilation, where `compiler` is a child process.
    pub compile_timeout_ms: u64,
    pub compile_memory_bytes: u64,
    /// Accepts versions of `tidegate:plugin` that were never released. For tests of the dispatcher.
    pub preview_contracts: bool,
}

impl Default for EngineOptions {
    fn default() -> Self {
        EngineOptions {
            pool_threads: 0,
            pool_queue: 10_000,
            max_instances: 256,
            max_memory_bytes: 256 << 20,
            max_upload_bytes: 32 << 20,
            max_large_instances: 16,
            cache_dir: None,
            cache_bytes: 1 << 30,
            compiler: Compiler::InProcess,
            compile_timeout_ms: 60_000,
            compile_memory_bytes: 1 << 30,
            preview_contracts: false,
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
    sites: Sites,
    workshop: Workshop,
    cache: Option<Cache>,
    pool: Pool,
    compilations: AtomicU64,
    cache_hits: AtomicU64,
    plugins: Mutex<HashMap<Digest, Arc<Slot>>>,
    bindings: Arc<Registry>,
}

/// Holds a plugin, or the lock that others wait on while the first compiles it.
type Slot = Mutex<Option<Arc<Plugin>>>;

impl Engine {
    pub fn new(options: EngineOptions) -> Result<Engine, EngineError> {
        let wasm_error = |error: wasmtime::Error| EngineError::Wasm(format!("{error:#}"));
        let thread_error = |error: std::io::Error| EngineError::Thread(error.to_string());
        let sites = Sites::new(&options, &config()).map_err(wasm_error)?;
        sites.start_tickers().map_err(thread_error)?;
        let pool = Pool::new(options.pool_threads, options.pool_queue).map_err(thread_error)?;
        let bounds = Bounds {
            timeout: Duration::from_millis(options.compile_timeout_ms),
            memory_bytes: options.compile_memory_bytes,
        };
        let inner = Inner {
            workshop: Workshop::new(options.compiler.clone(), bounds),
            cache: open_cache(&options, &sites),
            bindings: Arc::new(Registry::new(options.max_instances)),
            options,
            sites,
            pool,
            compilations: AtomicU64::new(0),
            cache_hits: AtomicU64::new(0),
            plugins: Mutex::default(),
        };
        Ok(Engine {
            inner: Arc::new(inner),
        })
    }

    /// Validates, compiles once per sha256 (unless an earlier run left its code in the cache) and asks the plugin to
    /// describe itself in a dry run. Blocks for the compilation (tens of milliseconds to seconds): not on an async
    /// worker.
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
        match inner.make(digest, wasm) {
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

    /// Forgets a plugin, on disk too; its code goes when the last binding does.
    pub fn forget(&self, digest: &Digest) {
        self.inner.plugins().remove(digest);
        if let Some(cache) = &self.inner.cache {
            cache.remove(*digest);
        }
    }

    /// Compilations since the engine started.
    pub fn compilations(&self) -> u64 {
        self.inner.compilations.load(Ordering::Relaxed)
    }

    /// Plugins since the engine started whose code was in the cache.
    pub fn cache_hits(&self) -> u64 {
        self.inner.cache_hits.load(Ordering::Relaxed)
    }

    /// Checks the configuration and tries it in an instance. Blocks for up to three deadlines.
    pub fn bind(&self, plugin: &Arc<Plugin>, spec: BindingSpec) -> Result<Arc<Binding>, BindError> {
        self.inner.check_limits(plugin, &spec)?;
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

    fn make(&self, digest: Digest, wasm: &[u8]) -> Result<Plugin, LoadError> {
        load::check_preamble(wasm)?;
        if let Some((site, component)) = self.cached(digest) {
            self.cache_hits.fetch_add(1, Ordering::Relaxed);
            return self.plugin(site, &component, digest, wasm.len());
        }
        self.compilations.fetch_add(1, Ordering::Relaxed);
        let (engine, compatibility) = (self.sites.compiler(), self.sites.compatibility());
        let code = self.workshop.compile(engine, compatibility, wasm)?;
        let artifact = Artifact::compiled(digest, code);
        let (site, component) = self.sites.load(&artifact)?;
        let plugin = self.plugin(site, &component, digest, wasm.len())?;
        // Only what passed every check is kept: refused files must not fill the disk.
        if let Some(cache) = &self.cache
            && let Err(error) = cache.write(&artifact)
        {
            tracing::warn!(target: "tidegate::plugin", %digest, %error, "compiled code cannot be kept");
        }
        Ok(plugin)
    }

    fn plugin(
        &self,
        site: &Site,
        component: &Component,
        digest: Digest,
        size: usize,
    ) -> Result<Plugin, LoadError> {
        let preview = self.options.preview_contracts;
        load::load(site, component, digest, size, preview)
    }

    fn cached(&self, digest: Digest) -> Option<(&Site, Component)> {
        let why = match self.cache.as_ref()?.read(digest) {
            Ok(None) => return None,
            Ok(Some(artifact)) => match self.sites.load(&artifact) {
                Ok(loaded) => return Some(loaded),
                Err(error) => error.to_string(),
            },
            Err(why) => why,
        };
        tracing::warn!(
            target: "tidegate::plugin", %digest, why,
            "a compiled plugin in the cache cannot be used and is compiled again"
        );
        None
    }

    fn check_limits(&self, plugin: &Plugin, spec: &BindingSpec) -> Result<(), BindError> {
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
                plugin.pre.max_table_elements() as u64,
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

/// A cache that cannot be had costs time at starts, nothing else.
fn open_cache(options: &EngineOptions, sites: &Sites) -> Option<Cache> {
    let root = options.cache_dir.as_ref()?;
    let engine = sites
        .compatibility()
        .iter()
        .take(16)
        .fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        });
    match Cache::open(root, &engine, options.cache_bytes) {
        Ok(cache) => Some(cache),
        Err(error) => {
            tracing::warn!(
                target: "tidegate::plugin", path = %root.display(), %error,
                "compiled plugins are not kept across restarts"
            );
            None
        }
    }
}

/// What decides how guests are compiled and run, for every engine of this crate and for the child that compiles. Where
/// instances live is added by `site`.
pub(crate) fn config() -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .concurrency_support(false)
        .epoch_interruption(true)
        .max_wasm_stack(WASM_STACK_BYTES)
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        // A run can be repeated: the same records give the same verdicts on every machine.
        .relaxed_simd_deterministic(true)
        .cranelift_nan_canonicalization(true);
    config
}
