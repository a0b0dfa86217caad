//! From a core module, as C and Go compilers make it, to a component of the contract.
//!
//! The module exports what its world asks for by the canonical ABI's names, and imports from the host. What its C library
//! or runtime wants of WASI is answered by a module of our own that is linked in: there is no clock, no randomness, no file
//! and nothing to write to, so the plugin stays one whose run can be repeated.

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use super::{BuildError, Kind};

/// What every core module begins with: the magic, then version 1.
const HEAD: &[u8] = b"\0asm\x01\0\0\0";
const WIT: &str = include_str!("../../../../wit/plugin.wit");
/// The only WASI that compilers ask for in core modules.
const WASI: &str = "wasi_snapshot_preview1";

pub(crate) fn is_module(bytes: &[u8]) -> bool {
    bytes.starts_with(HEAD)
}

/// Makes the component.
///
/// # Errors
/// If the module lacks an export of its world, or imports what nobody has.
pub(crate) fn componentize(module: &[u8], kind: Kind) -> Result<Vec<u8>, BuildError> {
    encode(module, kind).map_err(|error| {
        BuildError::NotAComponent(format!(
            "the build made a core module that does not fit the world `{}`: {error:#}",
            kind.as_str()
        ))
    })
}

fn encode(module: &[u8], kind: Kind) -> anyhow::Result<Vec<u8>> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("plugin.wit", WIT)?;
    let world = resolve.select_world(&[package], Some(kind.as_str()))?;
    let mut module = module.to_vec();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)?;
    ComponentEncoder::default()
        .validate(true)
        .module(&module)?
        .adapter(WASI, &wat::parse_str(stub())?)?
        .encode()
}

/// Errors of WASI, as its functions give them back.
const BAD_DESCRIPTOR: u32 = 8;
const NOT_SUPPORTED: u32 = 58;

/// Where every clock stands: one second after the epoch. A plugin's time is the batch's.
const NOW_NANOS: u64 = 1_000_000_000;

/// Functions that succeed, with what they leave in the caller's memory.
const ANSWERED: &[(&str, &str, &str)] = &[
    ("args_get", "i32 i32", ""),
    ("args_sizes_get", "i32 i32", NOTHING_OF_TWO),
    ("environ_get", "i32 i32", ""),
    ("environ_sizes_get", "i32 i32", NOTHING_OF_TWO),
    (
        "clock_res_get",
        "i32 i32",
        "(i64.store (local.get 1) (i64.const 1))",
    ),
    (
        "clock_time_get",
        "i32 i64 i32",
        "(i64.store (local.get 2) (i64.const NOW))",
    ),
    // Seeds of hash tables: any bytes do, and the same bytes give the same run.
    (
        "random_get",
        "i32 i32",
        "(memory.fill (local.get 0) (i32.const 0x5a) (local.get 1))",
    ),
    ("sched_yield", "", ""),
    ("fd_write", "i32 i32 i32 i32", WRITTEN),
    // Standard streams are there, and nothing ever comes of them.
    (
        "fd_fdstat_get",
        "i32 i32",
        "(memory.fill (local.get 1) (i32.const 0) (i32.const 24))
         (i32.store8 (local.get 1) (i32.const 2))
         (i64.store offset=8 (local.get 1) (i64.const 64))",
    ),
    ("fd_close", "i32", ""),
    // Whoever sleeps has slept.
    (
        "poll_oneoff",
        "i32 i32 i32 i32",
        "(memory.fill (local.get 1) (i32.const 0) (i32.const 32))
         (i64.store (local.get 1) (i64.load (local.get 0)))
         (i32.store (local.get 3) (i32.const 1))",
    ),
];

const NOTHING_OF_TWO: &str =
    "(i32.store (local.get 0) (i32.const 0)) (i32.store (local.get 1) (i32.const 0))";

/// Everything is taken and nothing kept: the sum of the lengths of the buffers.
const WRITTEN: &str = "(local i32)
    (block $done (loop $next
        (br_if $done (i32.eqz (local.get 2)))
        (local.set 4 (i32.add (local.get 4) (i32.load offset=4 (local.get 1))))
        (local.set 1 (i32.add (local.get 1) (i32.const 8)))
        (local.set 2 (i32.sub (local.get 2) (i32.const 1)))
        (br $next)))
    (i32.store (local.get 3) (local.get 4))";

/// Functions on files and sockets, of which there are none.
const REFUSED: &[(&str, &str, u32)] = &[
    ("fd_prestat_get", "i32 i32", BAD_DESCRIPTOR),
    ("fd_prestat_dir_name", "i32 i32 i32", BAD_DESCRIPTOR),
    ("fd_advise", "i32 i64 i64 i32", BAD_DESCRIPTOR),
    ("fd_allocate", "i32 i64 i64", BAD_DESCRIPTOR),
    ("fd_datasync", "i32", BAD_DESCRIPTOR),
    ("fd_fdstat_set_flags", "i32 i32", BAD_DESCRIPTOR),
    ("fd_fdstat_set_rights", "i32 i64 i64", BAD_DESCRIPTOR),
    ("fd_filestat_get", "i32 i32", BAD_DESCRIPTOR),
    ("fd_filestat_set_size", "i32 i64", BAD_DESCRIPTOR),
    ("fd_filestat_set_times", "i32 i64 i64 i32", BAD_DESCRIPTOR),
    ("fd_pread", "i32 i32 i32 i64 i32", BAD_DESCRIPTOR),
    ("fd_pwrite", "i32 i32 i32 i64 i32", BAD_DESCRIPTOR),
    ("fd_read", "i32 i32 i32 i32", BAD_DESCRIPTOR),
    ("fd_readdir", "i32 i32 i32 i64 i32", BAD_DESCRIPTOR),
    ("fd_renumber", "i32 i32", BAD_DESCRIPTOR),
    ("fd_seek", "i32 i64 i32 i32", BAD_DESCRIPTOR),
    ("fd_sync", "i32", BAD_DESCRIPTOR),
    ("fd_tell", "i32 i32", BAD_DESCRIPTOR),
    ("path_create_directory", "i32 i32 i32", NOT_SUPPORTED),
    ("path_filestat_get", "i32 i32 i32 i32 i32", NOT_SUPPORTED),
    (
        "path_filestat_set_times",
        "i32 i32 i32 i32 i64 i64 i32",
        NOT_SUPPORTED,
    ),
    ("path_link", "i32 i32 i32 i32 i32 i32 i32", NOT_SUPPORTED),
    (
        "path_open",
        "i32 i32 i32 i32 i32 i64 i64 i32 i32",
        NOT_SUPPORTED,
    ),
    ("path_readlink", "i32 i32 i32 i32 i32 i32", NOT_SUPPORTED),
    ("path_remove_directory", "i32 i32 i32", NOT_SUPPORTED),
    ("path_rename", "i32 i32 i32 i32 i32 i32", NOT_SUPPORTED),
    ("path_symlink", "i32 i32 i32 i32 i32", NOT_SUPPORTED),
    ("path_unlink_file", "i32 i32 i32", NOT_SUPPORTED),
    ("proc_raise", "i32", NOT_SUPPORTED),
    ("sock_accept", "i32 i32 i32", BAD_DESCRIPTOR),
    ("sock_recv", "i32 i32 i32 i32 i32 i32", BAD_DESCRIPTOR),
    ("sock_send", "i32 i32 i32 i32 i32", BAD_DESCRIPTOR),
    ("sock_shutdown", "i32 i32", BAD_DESCRIPTOR),
];

/// The module that answers. What the plugin does not import is left out when the two are linked.
fn stub() -> String {
    let mut text = String::from("(module (import \"env\" \"memory\" (memory 0))\n");
    let mut function = |name: &str, params: &str, body: &str, result: u32| {
        text.push_str(&format!(
            "(func (export \"{name}\") (param {params}) (result i32) {body} (i32.const {result}))\n"
        ));
    };
    for (name, params, body) in ANSWERED {
        function(
            name,
            params,
            &body.replace("NOW", &NOW_NANOS.to_string()),
            0,
        );
    }
    for (name, params, result) in REFUSED {
        function(name, params, "", *result);
    }
    text.push_str("(func (export \"proc_exit\") (param i32) unreachable))");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A filter that says nothing worth hearing, and imports this.
    fn module(imports: &str) -> Vec<u8> {
        let text = format!(
            r#"(module {imports} (memory (export "memory") 1)
                (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 64))
                (func (export "describe") (result i32) (i32.const 0))
                (func (export "configure") (param i32 i32) (result i32) (i32.const 0))
                (func (export "filter") (param i32) (result i32) (i32.const 0)))"#
        );
        wat::parse_str(text).unwrap()
    }

    fn names(component: &[u8], name: &str) -> bool {
        component
            .windows(name.len())
            .any(|part| part == name.as_bytes())
    }

    #[test]
    fn a_module_becomes_a_component_of_its_world() {
        let component = componentize(&module(""), Kind::Filter).unwrap();
        assert!(is_module(&module("")) && !is_module(&component));
        let error = componentize(&module(""), Kind::Router).unwrap_err();
        let error = error.to_string();
        assert!(
            error.contains("world `router`") && error.contains("targets"),
            "{error}"
        );
    }

    /// Each function of WASI is one that a module may import, of the type that it has there.
    #[test]
    fn wasi_is_answered_inside_the_component() {
        let mut imports = String::new();
        let refused = REFUSED.iter().map(|(name, params, _)| (*name, *params));
        let answered = ANSWERED.iter().map(|(name, params, _)| (*name, *params));
        for (name, params) in answered.chain(refused) {
            imports.push_str(&format!(
                "(import \"{WASI}\" \"{name}\" (func (param {params}) (result i32)))"
            ));
        }
        let component = componentize(&module(&imports), Kind::Filter).unwrap();
        assert!(!names(&component, "wasi:"));
        let harness = crate::Harness::from_bytes(&component);
        // It describes itself badly, which is further than a plugin gets whose imports are not met.
        let error = harness.err().unwrap().to_string();
        assert!(error.contains("description"), "{error}");
    }

    #[test]
    fn any_other_import_is_refused_by_name() {
        let module = module("(import \"env\" \"gettimeofday\" (func (param i32) (result i32)))");
        let error = componentize(&module, Kind::Filter).unwrap_err().to_string();
        assert!(
            error.contains("gettimeofday") || error.contains("env"),
            "{error}"
        );
    }
}
