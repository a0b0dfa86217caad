//! The broker: connections, dispatch, partitions, tasks, admin HTTP. The only user of tokio.
//!
//! [`start`] brings one up and [`Broker::stop`](Running::stop) takes it down; everything between is in the modules, in
//! the order in which data meets them: `connection`, `dispatch`, `api`, `partition`.

mod admin;
mod admissions;
mod api;
mod broker;
mod clock;
pub mod config;
mod connection;
mod dispatch;
mod fetch_sessions;
mod groups;
mod metadata_log;
mod metrics;
pub mod offline;
mod partition;
mod plugins;
mod scrub;
mod server;
mod tasks;
mod topics;

pub use config::{ConfigError, ServeOptions, ServerConfig};
pub use server::{Running, StartError, start};
