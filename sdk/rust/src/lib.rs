//! What a Tidegate plugin is written against.
//!
//! A plugin is a WebAssembly component that the broker calls once for each batch of records. This
//! crate turns that into one function over one record, and lets a plugin have the whole batch where
//! speed matters. The same code compiles natively, so `cargo test` and a debugger work on it.
//!
//! A function is enough. Its parameters say which columns it reads, so that no others are copied
//! into the plugin's memory; its doc comment is what `tidegate plugin list` shows. Crates mostly
//! depend on this one as `tidegate = { package = "tidegate-sdk", … }`:
//!
//! ```
//! # extern crate tidegate_sdk as tidegate;
//! use tidegate::prelude::*;
//!
//! /// Keeps log lines that report an error.
//! #[tidegate::filter]
//! fn only_errors(line: Value<'_>) -> bool {
//!     line.is_some_and(|line| line.starts_with(b"ERROR"))
//! }
//!
//! assert!(only_errors(Some(b"ERROR disk full")));
//! ```
//!
//! With a configuration, whose keys are bound as `tidegate.plugin.<alias>.<key>`:
//!
//! ```
//! # extern crate tidegate_sdk as tidegate;
//! use tidegate::{prelude::*, testing};
//!
//! #[derive(tidegate::Config)]
//! struct Config {
//!     /// The longest value that is taken, in bytes.
//!     #[config(default = 1024)]
//!     max_bytes: usize,
//! }
//!
//! /// Rejects values that are too long.
//! #[tidegate::filter]
//! fn at_most(value: Value<'_>, config: &Config) -> Result<(), String> {
//!     match value {
//!         Some(value) if value.len() > config.max_bytes => {
//!             Err(format!("the value is longer than {} bytes", config.max_bytes))
//!         }
//!         _ => Ok(()),
//!     }
//! }
//!
//! // The plugin is a type of the function's name, to run it as the broker does.
//! let records = [testing::value("abc"), testing::value("abcd")];
//! let verdicts = testing::filter::<at_most>(&[("max.bytes", "3")], &records);
//! let too_long = Verdict::reject("the value is longer than 3 bytes");
//! assert_eq!(verdicts, Ok(vec![Verdict::Keep, too_long]));
//! ```
//!
//! [`router`](macro@router) and [`transform`](macro@transform) work the same way. A plugin that
//! prepares something from its configuration implements the trait [`Filter`], [`Router`] or
//! [`Transform`] itself, and wears the same attribute:
//!
//! ```
//! use serde::Deserialize;
//! use tidegate_sdk::{json::Pointer, prelude::*};
//!
//! #[derive(Deserialize)]
//! struct Config {
//!     field: String,
//! }
//!
//! /// Keeps the records whose value has a JSON field.
//! struct Has(Pointer);
//!
//! #[tidegate_sdk::filter]
//! impl Filter for Has {
//!     type Config = Config;
//!
//!     fn describe() -> Description {
//!         Description::new("has", "0.1.0")
//!             .summary("Keeps the records whose value has a JSON field.")
//!             .columns(Columns::VALUE)
//!             .config(ConfigKey::text("field").required().doc("The field, as a JSON pointer."))
//!     }
//!
//!     fn configure(config: Config) -> Result<Self, String> {
//!         Pointer::parse(&config.field).map(Self)
//!     }
//!
//!     fn filter(&mut self, record: &Record<'_>) -> Verdict {
//!         record.value().is_some_and(|value| self.0.find(value).is_some()).into()
//!     }
//! }
//! ```
//!
//! See [`field`] for picking a value out of a record by configuration, [`json`] for finding and
//! changing values in documents, [`host`] and [`logging`] for logs and counters, and [`testing`] for
//! unit tests.
//!
//! What is deliberately absent: a clock, randomness, files and sockets. The only time a plugin
//! knows is [`Batch::append_time_ms`] and the records' timestamps, so that a run can be repeated.

// Lets the doc examples and the generated code name this crate as a plugin does.
extern crate self as tidegate_sdk;

mod answer;
mod batch;
#[doc(hidden)]
pub mod bindings;
pub mod config;
mod description;
mod edits;
pub mod field;
mod filter;
#[doc(hidden)]
pub mod glue;
pub mod host;
pub mod json;
pub mod logging;
mod number;
mod router;
pub mod testing;
mod transform;

pub use answer::{Destination, IntoRoute, IntoVerdict};
pub use batch::{Batch, Column, Headers, Key, Record, Records, Timestamp, Value};
pub use config::Config;
pub use description::{Columns, ConfigKey, Description, State};
pub use edits::{Edit, Edits};
pub use filter::{Filter, Verdict, Verdicts};
pub use number::Number;
pub use router::{Partition, Router, Routes, Target};
#[doc(hidden)]
pub use serde;
#[doc = include_str!("doc/config.md")]
pub use tidegate_sdk_macros::Config;
#[doc = include_str!("doc/filter.md")]
pub use tidegate_sdk_macros::filter;
#[doc = include_str!("doc/router.md")]
pub use tidegate_sdk_macros::router;
#[doc = include_str!("doc/transform.md")]
pub use tidegate_sdk_macros::transform;
pub use transform::Transform;

/// Everything that most plugins name.
pub mod prelude {
    pub use crate::{
        Batch, Columns, ConfigKey, Description, Destination, Edit, Edits, Filter, Headers, Key,
        Partition, Record, Router, Routes, State, Timestamp, Transform, Value, Verdict, Verdicts,
    };
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
