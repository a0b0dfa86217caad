//! `tidegate:plugin@0.1.0`: its types as the component ABI moves them, its host functions, its calls.
//!
//! What goes in borrows the chain's columns, so that a column is lowered with one memcpy. What comes out is
//! owned: the host's allowance of bytes (`Store::set_hostcall_fuel`) is charged before each allocation.
//!
//! This is the newest version, so its types are also what the rest of the host works with; the file of an older
//! version converts from and to them.

use std::time::Duration;

use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, Linker, Lower, WasmStr};

use crate::edits::check_edits;
use crate::failure::CallError;
use crate::guest::Guest;
use crate::instance::{Exports, Instance};
use crate::verdict::{Answer, Terms, check_routes, check_verdicts};
use crate::{LogLevel, World};

pub(super) const HOST: &str = "tidegate:plugin/host@0.1.0";
pub(super) const TYPES: &str = "tidegate:plugin/types@0.1.0";

type FilterResult = Result<Verdicts, String>;
type RouteResult = Result<Routes, String>;
type ApplyResult = Result<EditsGiven, String>;

/// Links `tidegate:plugin/host@0.1.0`, and nothing else.
pub(super) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let mut host = linker.instance(HOST)?;
    host.func_wrap(
        "log",
        |store: StoreContextMut<'_, Guest>, (level, message): (Level, WasmStr)| {
            let message = message.to_str(&store)?;
            store.data().log(level.into(), &message);
            Ok(())
        },
    )?;
    host.func_wrap(
        "counter",
        |store: StoreContextMut<'_, Guest>, (name, delta): (WasmStr, u64)| {
            let name = name.to_str(&store)?;
            store.data().shared.count(&name, delta);
            Ok(())
        },
    )?;
    host.func_wrap(
        "config",
        |store: StoreContextMut<'_, Guest>, (key,): (WasmStr,)| {
            let key = key.to_str(&store)?;
            Ok((store.data().shared.value(&key),))
        },
    )?;
    host.func_wrap(
        "narrow",
        |mut store: StoreContextMut<'_, Guest>, (columns,): (Columns,)| {
            store.data_mut().narrow(columns.into());
            Ok(())
        },
    )?;
    Ok(())
}

pub(super) fn check_types(instance: &mut Instance, exports: &Exports) -> Result<(), String> {
    instance.has_type::<(), (Description,)>("describe", exports.describe)?;
    match exports.world {
        World::Filter => instance.has_type::<(Batch<'_>,), (FilterResult,)>("filter", exports.run),
        World::Router => instance.has_type::<(Batch<'_>,), (RouteResult,)>("route", exports.run),
        World::Transform => instance.has_type::<(Batch<'_>,), (ApplyResult,)>("apply", exports.run),
    }
}

pub(super) fn describe(
    instance: &mut Instance,
    exports: &Exports,
    deadline: Duration,
) -> Result<Description, CallError> {
    let (description,) = instance.call(exports.describe, (), deadline)?;
    Ok(description)
}

/// One batch, and the check of what comes back.
pub(super) fn run(
    instance: &mut Instance,
    batch: Batch<'_>,
    terms: &Terms<'_>,
    deadline: Duration,
) -> Result<Answer, CallError> {
    let count = batch.count as usize;
    match instance.world() {
        World::Filter => {
            let (said,): (FilterResult,) = instance.call_run((batch,), deadline)?;
            check_verdicts(said.map_err(CallError::plugin)?, count, terms)
        }
        World::Router => {
            let (said,): (RouteResult,) = instance.call_run((batch,), deadline)?;
            check_routes(said.map_err(CallError::plugin)?, count, terms)
        }
        World::Transform => {
            let (said,): (ApplyResult,) = instance.call_run((batch,), deadline)?;
            check_edits(said.map_err(CallError::plugin)?, count, terms)
        }
    }
}

#[derive(Clone, Copy, ComponentType, Lower)]
#[component(record)]
pub(crate) struct BytesColumn<'a> {
    pub(crate) offsets: &'a [u32],
    pub(crate) data: &'a [u8],
    pub(crate) nulls: &'a [u8],
}

#[derive(Clone, Copy, ComponentType, Lower)]
#[component(record)]
pub(crate) struct HeadersColumn<'a> {
    pub(crate) offsets: &'a [u32],
    pub(crate) keys: BytesColumn<'a>,
    pub(crate) values: BytesColumn<'a>,
}

#[derive(Clone, Copy, ComponentType, Lower)]
#[component(record)]
pub(crate) struct Context<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: u32,
    pub(crate) alias: &'a str,
    #[component(name = "append-time")]
    pub(crate) append_time: i64,
    #[component(name = "base-offset")]
    pub(crate) base_offset: Option<i64>,
}

#[derive(Clone, Copy, ComponentType, Lower)]
#[component(record)]
pub(crate) struct Batch<'a> {
    pub(crate) context: Context<'a>,
    pub(crate) count: u32,
    #[component(name = "offset-deltas")]
    pub(crate) offset_deltas: &'a [u32],
    pub(crate) timestamps: &'a [i64],
    pub(crate) keys: Option<BytesColumn<'a>>,
    pub(crate) values: Option<BytesColumn<'a>>,
    pub(crate) headers: Option<HeadersColumn<'a>>,
}

#[derive(Debug, Default, ComponentType, Lift)]
#[component(record)]
pub(crate) struct Verdicts {
    pub(crate) codes: Vec<u8>,
    pub(crate) reasons: Vec<(u32, String)>,
}

#[derive(Debug, Default, ComponentType, Lift)]
#[component(record)]
pub(crate) struct Routes {
    pub(crate) codes: Vec<u8>,
    pub(crate) reasons: Vec<(u32, String)>,
    pub(crate) topics: Vec<String>,
    pub(crate) records: Vec<u32>,
    pub(crate) targets: Vec<u32>,
    pub(crate) partitions: Vec<i32>,
}

#[derive(Debug, Default, ComponentType, Lift)]
#[component(record)]
pub(crate) struct BytesGiven {
    pub(crate) offsets: Vec<u32>,
    pub(crate) data: Vec<u8>,
    pub(crate) nulls: Vec<u8>,
}

#[derive(Debug, Default, ComponentType, Lift)]
#[component(record)]
pub(crate) struct HeadersGiven {
    pub(crate) offsets: Vec<u32>,
    pub(crate) keys: BytesGiven,
    pub(crate) values: BytesGiven,
}

#[derive(Debug, Default, ComponentType, Lift)]
#[component(record)]
pub(crate) struct BytesEdit {
    pub(crate) rows: Vec<u32>,
    pub(crate) column: BytesGiven,
}

#[derive(Debug, Default, ComponentType, Lift)]
#[component(record)]
pub(crate) struct HeadersEdit {
    pub(crate) rows: Vec<u32>,
    pub(crate) column: HeadersGiven,
}

#[derive(Debug, Default, ComponentType, Lift)]
#[component(record)]
pub(crate) struct TimestampsEdit {
    pub(crate) rows: Vec<u32>,
    pub(crate) values: Vec<i64>,
}

/// `edits` of the WIT.
#[derive(Debug, Default, ComponentType, Lift)]
#[component(record)]
pub(crate) struct EditsGiven {
    pub(crate) codes: Vec<u8>,
    pub(crate) reasons: Vec<(u32, String)>,
    pub(crate) keys: Option<BytesEdit>,
    pub(crate) values: Option<BytesEdit>,
    pub(crate) headers: Option<HeadersEdit>,
    pub(crate) timestamps: Option<TimestampsEdit>,
}

wasmtime::component::flags! {
    Columns {
        #[component(name = "key")]
        const KEY;
        #[component(name = "value")]
        const VALUE;
        #[component(name = "headers")]
        const HEADERS;
        #[component(name = "timestamp")]
        const TIMESTAMP;
    }
}

#[derive(Clone, Copy, Debug, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "made by lifting")]
pub(crate) enum State {
    #[component(name = "none")]
    None,
    #[component(name = "partition")]
    Partition,
}

#[derive(Clone, Copy, Debug, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "made by lifting")]
pub(crate) enum ConfigType {
    #[component(name = "text")]
    Text,
    #[component(name = "integer")]
    Integer,
    #[component(name = "float")]
    Float,
    #[component(name = "boolean")]
    Boolean,
}

#[derive(Clone, Copy, Debug, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "made by lifting")]
pub(crate) enum Level {
    #[component(name = "trace")]
    Trace,
    #[component(name = "debug")]
    Debug,
    #[component(name = "info")]
    Info,
    #[component(name = "warn")]
    Warn,
    #[component(name = "error")]
    Error,
}

#[derive(Debug, ComponentType, Lift)]
#[component(record)]
pub(crate) struct ConfigKey {
    pub(crate) name: String,
    pub(crate) kind: ConfigType,
    pub(crate) required: bool,
    pub(crate) default: Option<String>,
    pub(crate) doc: String,
    pub(crate) secret: bool,
}

#[derive(Debug, ComponentType, Lift)]
#[component(record)]
pub(crate) struct Description {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) summary: String,
    pub(crate) columns: Columns,
    pub(crate) state: State,
    pub(crate) config: Vec<ConfigKey>,
    pub(crate) writes: Columns,
}

impl From<Level> for LogLevel {
    fn from(given: Level) -> LogLevel {
        match given {
            Level::Trace => LogLevel::Trace,
            Level::Debug => LogLevel::Debug,
            Level::Info => LogLevel::Info,
            Level::Warn => LogLevel::Warn,
            Level::Error => LogLevel::Error,
        }
    }
}
