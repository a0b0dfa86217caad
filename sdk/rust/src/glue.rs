//! What the export macros expand to calls of. Not for plugin authors.

#![allow(missing_docs)]

use std::{cell::RefCell, panic};

use crate::{
    Batch, Description, Filter, Router, Routes, Verdicts,
    bindings::types,
    config,
    host::{self, Level},
};

/// The one configured plugin of a component instance.
pub struct Slot<P>(RefCell<Option<P>>);

impl<P> Slot<P> {
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Self(RefCell::new(None))
    }

    fn run<T>(&self, f: impl FnOnce(&mut P) -> Result<T, String>) -> Result<T, String> {
        match self.0.borrow_mut().as_mut() {
            Some(plugin) => f(plugin),
            None => Err("the plugin was called before it was configured".into()),
        }
    }
}

pub fn is_filter<F: Filter>() {}

pub fn is_router<R: Router>() {}

pub fn describe(description: Description) -> types::Description {
    description.raw
}

pub fn configure_filter<F: Filter>(
    slot: &Slot<F>,
    pairs: Vec<(String, String)>,
) -> Result<(), String> {
    log_panics();
    let config = read_config(&F::describe(), pairs)?;
    slot.0.replace(Some(F::configure(config)?));
    Ok(())
}

pub fn configure_router<R: Router>(
    slot: &Slot<R>,
    pairs: Vec<(String, String)>,
) -> Result<(), String> {
    log_panics();
    let config = read_config(&R::describe(), pairs)?;
    slot.0.replace(Some(R::configure(config)?));
    Ok(())
}

pub fn filter<F: Filter>(slot: &Slot<F>, batch: types::Batch) -> Result<types::Verdicts, String> {
    let batch = Batch::new(batch);
    let mut verdicts = Verdicts::new(batch.len());
    slot.run(|plugin| plugin.filter_batch(&batch, &mut verdicts))?;
    Ok(verdicts.into_raw())
}

pub fn targets<R: Router>(slot: &Slot<R>) -> Result<Vec<String>, String> {
    slot.run(|plugin| Ok(plugin.targets()))
}

pub fn route<R: Router>(slot: &Slot<R>, batch: types::Batch) -> Result<types::Routes, String> {
    let batch = Batch::new(batch);
    let mut routes = Routes::new(batch.len());
    slot.run(|plugin| plugin.route_batch(&batch, &mut routes))?;
    Ok(routes.into_raw())
}

/// Defaults are filled in here too, so that a plugin works the same in a host that does not.
pub(crate) fn read_config<C: serde::de::DeserializeOwned>(
    description: &Description,
    mut pairs: Vec<(String, String)>,
) -> Result<C, String> {
    for (name, value) in description.defaults() {
        if pairs.iter().all(|(known, _)| known != name) {
            pairs.push((name.into(), value.into()));
        }
    }
    config::from_pairs(&pairs).map_err(|error| error.to_string())
}

/// A panic becomes a trap, which says nothing: the message goes to the host's log first.
fn log_panics() {
    if cfg!(target_arch = "wasm32") {
        panic::set_hook(Box::new(|info| host::log(Level::Error, &info.to_string())));
    }
}
