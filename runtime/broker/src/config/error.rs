//! Why a configuration cannot be used.

use std::path::PathBuf;

use super::HostPort;

/// Why the broker does not start. Each is a sentence for the person who wrote the configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read {path}: {why}")]
    Read { path: PathBuf, why: String },
    #[error("{path}: {why}")]
    Syntax { path: PathBuf, why: String },
    #[error("{key} = `{value}` (from {origin}): {expected}")]
    Value {
        key: String,
        value: String,
        origin: String,
        expected: String,
    },
    #[error(
        "the admin port runs code that is uploaded to it, so it listens on {address}, beyond this machine, only with a \
         token: set admin.token, or keep it on 127.0.0.1"
    )]
    OpenAdmin { address: HostPort },
}
