//! `tidegate:plugin@0.0.1`, which was never released and is accepted in tests only.
//!
//! Filters alone; a verdict is a boolean (true keeps), a description says nothing of `writes`, and there is no `narrow`.
//! The WIT is `tests/wit/plugin-0.0.1.wit`.

use std::time::Duration;

use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Lift, Linker, WasmStr};

use super::v0_1_0 as next;
use crate::World;
use crate::failure::CallError;
use crate::guest::Guest;
use crate::instance::{Exports, Instance};
use crate::verdict::{Answer, DROP, KEEP, Terms, check_verdicts};

pub(super) const HOST: &str = "tidegate:plugin/host@0.0.1";
pub(super) const TYPES: &str = "tidegate:plugin/types@0.0.1";

type FilterResult = Result<Vec<bool>, String>;

#[derive(Debug, ComponentType, Lift)]
#[component(record)]
struct Description {
    name: String,
    version: String,
    summary: String,
    columns: next::Columns,
    state: next::State,
    config: Vec<next::ConfigKey>,
}

impl From<Description> for next::Description {
    fn from(given: Description) -> next::Description {
        next::Description {
            name: given.name,
            version: given.version,
            summary: given.summary,
            columns: given.columns,
            state: given.state,
            config: given.config,
            writes: next::Columns::default(),
        }
    }
}

pub(super) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    let mut host = linker.instance(HOST)?;
    host.func_wrap(
        "log",
        |store: StoreContextMut<'_, Guest>, (level, message): (next::Level, WasmStr)| {
            let message = message.to_str(&store)?;
            store.data().log(level.into(), &message);
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
    Ok(())
}

pub(super) fn check_types(instance: &mut Instance, exports: &Exports) -> Result<(), String> {
    if exports.world != World::Filter {
        return Err("tidegate:plugin@0.0.1 has filters only".to_owned());
    }
    instance.has_type::<(), (Description,)>("describe", exports.describe)?;
    instance.has_type::<(next::Batch<'_>,), (FilterResult,)>("filter", exports.run)
}

pub(super) fn describe(
    instance: &mut Instance,
    exports: &Exports,
    deadline: Duration,
) -> Result<next::Description, CallError> {
    let (description,): (Description,) = instance.call(exports.describe, (), deadline)?;
    Ok(description.into())
}

pub(super) fn run(
    instance: &mut Instance,
    batch: next::Batch<'_>,
    terms: &Terms<'_>,
    deadline: Duration,
) -> Result<Answer, CallError> {
    let count = batch.count as usize;
    let (said,): (FilterResult,) = instance.call_run((batch,), deadline)?;
    let keeps = said.map_err(CallError::plugin)?;
    let codes = keeps
        .into_iter()
        .map(|keep| if keep { KEEP } else { DROP })
        .collect();
    let verdicts = next::Verdicts {
        codes,
        reasons: Vec::new(),
    };
    check_verdicts(verdicts, count, terms)
}
