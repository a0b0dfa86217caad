//! The plugin host: the only user of wasmtime.
