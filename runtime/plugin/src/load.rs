//! From uploaded bytes to a plugin that was seen to run.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::Engine;
use wasmtime::component::types::{ComponentInstance, ComponentItem};
use wasmtime::component::{Component, ComponentExportIndex};

use crate::contract::Version;
use crate::failure::CallError;
use crate::guest::Shared;
use crate::instance::{Exports, Instance};
use crate::site::Site;
use crate::verdict::excerpt;
use crate::{Description, Digest, Limits, LoadError, LogSink, Plugin, World};

/// What a description may hold, as the host copies it.
const DESCRIPTION_BYTES: usize = 1 << 20;
/// First bytes of every Wasm binary, then a version that tells modules from components.
const MAGIC: &[u8] = b"\0asm";
/// How compiled code starts: it is an ELF file.
const ELF: &[u8] = b"\x7fELF";
const MODULE: &[u8] = &[1, 0, 0, 0];
const COMPONENT: &[u8] = &[0x0d, 0, 1, 0];

/// Checks a compiled component and tries it.
pub(crate) fn load(
    site: &Site,
    component: &Component,
    digest: Digest,
    size: usize,
    preview_contracts: bool,
) -> Result<Plugin, LoadError> {
    let version =
        Version::of(&site.engine, component, preview_contracts).map_err(LoadError::World)?;
    check_imports(&site.engine, component, version)?;
    let exports = find_exports(component, version)?;
    let pre = site.prepare(component).map_err(|error| {
        LoadError::Import(format!(
            "the plugin imports {} in another shape than this broker's: {}",
            version.host(),
            excerpt(&format!("{error:#}"))
        ))
    })?;
    let limits = Limits {
        output_bytes: DESCRIPTION_BYTES,
        ..Limits::default()
    };
    let deadline = Duration::from_millis(limits.deadline_ms);
    let failed = |error: CallError| {
        LoadError::Describe(format!(
            "the plugin failed in its dry run: {}",
            error.message
        ))
    };
    let shared = Arc::new(Shared::new("", Vec::new(), &limits, LogSink::default()));
    let mut instance = Instance::new(&pre, &exports, shared, &limits, deadline).map_err(failed)?;
    version
        .check_types(&mut instance, &exports)
        .map_err(LoadError::World)?;
    let given = version
        .describe(&mut instance, &exports, deadline)
        .map_err(failed)?;
    let description = Description::check(given, exports.world).map_err(|sentence| {
        LoadError::Describe(format!("the plugin cannot be used: {sentence}"))
    })?;
    Ok(Plugin {
        digest,
        description,
        size,
        pre,
        exports,
    })
}

/// The only look at an upload that the process of the broker takes.
pub(crate) fn check_preamble(wasm: &[u8]) -> Result<(), LoadError> {
    let refuse = |sentence: &str| Err(LoadError::NotAComponent(sentence.to_owned()));
    match wasm.strip_prefix(MAGIC) {
        Some(rest) if rest.starts_with(COMPONENT) => Ok(()),
        Some(rest) if rest.starts_with(MODULE) => refuse(
            "the file is a core Wasm module, not a component; build it with `tidegate plugin build`",
        ),
        Some(_) => refuse("the file is Wasm of a version that is not known"),
        None if wasm.starts_with(ELF) => refuse(
            "the file is compiled code (a .cwasm?), which cannot be checked; give the component that it was made of",
        ),
        None => refuse("the file is not Wasm: it does not start with the bytes `\\0asm`"),
    }
}

/// Anything beyond the one host interface is refused by name, so that the author knows what to remove.
fn check_imports(
    engine: &Engine,
    component: &Component,
    version: Version,
) -> Result<(), LoadError> {
    let host = version.host();
    for (name, import) in component.component_type().imports(engine) {
        let known = match &import.ty {
            ComponentItem::ComponentInstance(instance) if name == version.types() => {
                only_types(engine, instance)
            }
            ComponentItem::ComponentInstance(_) => name == host,
            ComponentItem::Type(_) => true,
            _ => false,
        };
        if !known {
            let hint = if name.starts_with("wasi:") {
                "; there is no WASI here: build for wasm32-unknown-unknown, or stub it"
            } else {
                ""
            };
            return Err(LoadError::Import(format!(
                "the plugin imports `{}`, and only `{host}` is there{hint}",
                excerpt(name)
            )));
        }
    }
    Ok(())
}

fn only_types(engine: &Engine, instance: &ComponentInstance) -> bool {
    instance
        .exports(engine)
        .all(|(_, item)| matches!(item.ty, ComponentItem::Type(_)))
}

fn find_exports(component: &Component, version: Version) -> Result<Exports, LoadError> {
    let find = |name: &str| component.get_export_index(None, name);
    let need = |name: &str| -> Result<ComponentExportIndex, LoadError> {
        find(name).ok_or_else(|| {
            LoadError::World(format!(
                "the plugin does not export `{name}`, which its world has"
            ))
        })
    };
    let (world, run) = match (find("filter"), find("route"), find("apply")) {
        (Some(run), None, None) => (World::Filter, run),
        (None, Some(run), None) => (World::Router, run),
        (None, None, Some(run)) => (World::Transform, run),
        (None, None, None) => {
            return Err(LoadError::World(
                "the plugin exports neither `filter` nor `route` nor `apply` of tidegate:plugin"
                    .to_owned(),
            ));
        }
        _ => {
            return Err(LoadError::World(
                "the plugin exports more than one of `filter`, `route` and `apply`; it must be of one world"
                    .to_owned(),
            ));
        }
    };
    let targets = match world {
        World::Router => Some(need("targets")?),
        World::Filter | World::Transform => None,
    };
    Ok(Exports {
        version,
        world,
        describe: need("describe")?,
        configure: need("configure")?,
        run,
        targets,
    })
}
