//! What a Tidegate plugin is written against.
//!
//! A plugin is a WebAssembly component that the broker calls once for each batch of records. This
//! crate turns that into one function over one record, and lets a plugin have the whole batch where
//! speed matters. The same code compiles natively, so `cargo test` and a debugger work on it.
//!
//! The shortest filter is a function:
//!
//! ```
//! use tidegate_sdk::prelude::*;
//!
//! fn only_errors(record: &Record<'_>) -> Verdict {
//!     record.value().is_some_and(|value| value.starts_with(b"ERROR")).into()
//! }
//!
//! tidegate_sdk::filter_fn!("only-errors", "0.1.0", Columns::VALUE, only_errors);
//! # fn main() {}
//! ```
//!
//! One with a configuration is a type:
//!
//! ```
//! use serde::Deserialize;
//! use tidegate_sdk::prelude::*;
//! use tidegate_sdk::testing;
//!
//! #[derive(Deserialize)]
//! struct AtMost {
//!     bytes: usize,
//! }
//!
//! impl Filter for AtMost {
//!     type Config = Self;
//!
//!     fn describe() -> Description {
//!         Description::new("at-most", "0.1.0")
//!             .summary("Rejects values that are too long.")
//!             .columns(Columns::VALUE)
//!             .config(ConfigKey::integer("bytes").default("1024").doc("The longest value, in bytes."))
//!     }
//!
//!     fn configure(config: Self) -> Result<Self, String> {
//!         if config.bytes == 0 { Err("`bytes` must be above 0".into()) } else { Ok(config) }
//!     }
//!
//!     fn filter(&mut self, record: &Record<'_>) -> Verdict {
//!         match record.value() {
//!             Some(value) if value.len() > self.bytes => Verdict::reject("the value is too long"),
//!             _ => Verdict::Keep,
//!         }
//!     }
//! }
//!
//! tidegate_sdk::filter!(AtMost);
//!
//! let verdicts = testing::filter::<AtMost>(
//!     &[("bytes", "3")],
//!     &[testing::value("abc"), testing::value("abcd")],
//! );
//! assert_eq!(verdicts, Ok(vec![Verdict::Keep, Verdict::reject("the value is too long")]));
//! ```
//!
//! A [`Router`] is written the same way. See [`field`] for picking a value out of a record by
//! configuration, and [`testing`] for unit tests.
//!
//! What is deliberately absent: a clock, randomness, files and sockets. The only time a plugin
//! knows is [`Batch::append_time_ms`] and the records' timestamps, so that a run can be repeated.

// Lets the doc examples and the generated code name this crate as a plugin does.
extern crate self as tidegate_sdk;

mod batch;
#[doc(hidden)]
pub mod bindings;
pub mod config;
mod description;
pub mod field;
mod filter;
#[doc(hidden)]
pub mod glue;
pub mod host;
pub mod json;
mod number;
mod router;
pub mod testing;

pub use batch::{Batch, Column, Headers, Record, Records};
pub use description::{Columns, ConfigKey, Description, State};
pub use filter::{Filter, Verdict, Verdicts};
pub use number::Number;
pub use router::{Partition, Router, Routes, Target};

/// Everything that most plugins name.
pub mod prelude {
    pub use crate::{
        Batch, Columns, ConfigKey, Description, Filter, Partition, Record, Router, Routes, State,
        Verdict, Verdicts,
    };
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
