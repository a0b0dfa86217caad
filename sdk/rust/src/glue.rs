//! What the export macros expand to calls of. Not for plugin authors.

#![allow(missing_docs)]

use std::{cell::RefCell, fmt, panic};

use crate::{
    Batch, Columns, Description, Edits, Filter, Router, Routes, Transform, Verdicts,
    bindings::types,
    config,
    host::{self, Level},
    logging,
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

pub fn is_transform<T: Transform>() {}

/// What a function over a batch may give back: nothing, or the error with which the batch failed.
pub trait Done {
    fn done(self) -> Result<(), String>;
}

impl Done for () {
    fn done(self) -> Result<(), String> {
        Ok(())
    }
}

impl<E: fmt::Display> Done for Result<(), E> {
    fn done(self) -> Result<(), String> {
        self.map_err(|error| error.to_string())
    }
}

pub fn describe(description: Description) -> types::Description {
    description.raw
}

pub fn configure_filter<F: Filter>(
    slot: &Slot<F>,
    pairs: Vec<(String, String)>,
) -> Result<(), String> {
    begin();
    let plugin = F::configure(read_config(&F::describe(), pairs)?)?;
    narrow(plugin.columns());
    slot.0.replace(Some(plugin));
    Ok(())
}

pub fn configure_router<R: Router>(
    slot: &Slot<R>,
    pairs: Vec<(String, String)>,
) -> Result<(), String> {
    begin();
    let plugin = R::configure(read_config(&R::describe(), pairs)?)?;
    narrow(plugin.columns());
    slot.0.replace(Some(plugin));
    Ok(())
}

pub fn configure_transform<T: Transform>(
    slot: &Slot<T>,
    pairs: Vec<(String, String)>,
) -> Result<(), String> {
    begin();
    let plugin = T::configure(read_config(&T::describe(), pairs)?)?;
    narrow(plugin.columns());
    slot.0.replace(Some(plugin));
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

pub fn apply<T: Transform>(slot: &Slot<T>, batch: types::Batch) -> Result<types::Edits, String> {
    let batch = Batch::new(batch);
    let mut edits = Edits::new(batch.len());
    slot.run(|plugin| plugin.transform_batch(&batch, &mut edits))?;
    Ok(edits.into_raw())
}

/// Where no plugin of a component narrows, this is optimised away and with it the import.
#[inline]
fn narrow(columns: Option<Columns>) {
    if let Some(columns) = columns {
        host::narrow(columns);
    }
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
fn begin() {
    logging::install();
    if cfg!(target_arch = "wasm32") {
        panic::set_hook(Box::new(|info| host::log(Level::Error, &info.to_string())));
    }
}
