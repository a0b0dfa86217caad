//! The types of `wit/plugin.wit` as the component ABI moves them.
//!
//! What goes in borrows the chain's columns, so that a column is lowered with one memcpy. What comes out is
//! owned: the host's allowance of bytes (`Store::set_hostcall_fuel`) is charged before each allocation.

use wasmtime::component::{ComponentType, Lift, Lower};

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
