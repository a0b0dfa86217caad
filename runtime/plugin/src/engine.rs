//! The engine: compilation, the cache of plugins, instances and threads.

use std::path::PathBuf;
use std::sync::Arc;

use crate::{BindError, Binding, BindingSpec, LoadError, Plugin, Pool};

#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// 0 = max(4, twice the cores).
    pub pool_threads: usize,
    /// Jobs that may wait, over all keys.
    pub pool_queue: usize,
    /// Instances alive at the same time, over all bindings.
    pub max_instances: usize,
    /// The most that any binding's `memory_bytes` may be.
    pub max_memory_bytes: usize,
    /// Bytes of one uploaded component.
    pub max_upload_bytes: usize,
    /// Where compiled artifacts are kept; not used yet.
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
    pool: Pool,
}

impl Engine {
    pub fn new(options: EngineOptions) -> Result<Engine, EngineError> {
        let pool = Pool::new(options.pool_threads, options.pool_queue)
            .map_err(|e| EngineError::Thread(e.to_string()))?;
        Ok(Engine {
            inner: Arc::new(Inner { pool }),
        })
    }

    /// Validates, compiles once per sha256 and asks the plugin to describe itself in a dry run. Blocks for
    /// the compilation (tens of milliseconds to seconds).
    pub fn load(&self, _wasm: &[u8]) -> Result<Arc<Plugin>, LoadError> {
        Err(LoadError::Compile("not built yet".into()))
    }

    /// Compilations since the engine started.
    pub fn compilations(&self) -> u64 {
        0
    }

    /// Checks the configuration and tries it in an instance. Blocks for up to two deadlines.
    pub fn bind(
        &self,
        _plugin: &Arc<Plugin>,
        _spec: BindingSpec,
    ) -> Result<Arc<Binding>, BindError> {
        Err(BindError::Unsupported("not built yet".into()))
    }

    pub fn pool(&self) -> &Pool {
        &self.inner.pool
    }
}
