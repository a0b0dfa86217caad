//! The broker: connections, dispatch, partitions, tasks, admin HTTP. The only user of tokio.
//!
//! [`start`] brings one up and [`Broker::stop`](Running::stop) takes it down; everything between is in the modules, in
//! the order in which data meets them: `connection`, `dispatch`, `api`, `partition`.

mod admin;
mod admissions;
mod answer_memory;
mod api;
mod broker;
mod clock;
pub mod config;
mod connection;
mod decoding;
mod dispatch;
mod fetch_sessions;
mod groups;
mod live;
mod loggers;
mod metadata_log;
mod metrics;
pub mod offline;
mod partition;
mod plugins;
mod quotas;
mod scrub;
mod server;
mod tasks;
mod topics;
mod transactional_produce;
mod transactions;

pub use config::{ConfigError, ServeOptions, ServerConfig};
pub use loggers::{LogLevel, Loggers, ROOT_LOGGER};
pub use server::{Running, StartError, start};
