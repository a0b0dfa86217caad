//! One live instance of a component, and the only way a call is ever made into one.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::{ComponentExportIndex, ComponentNamedList, Func, Lift, Lower, TypedFunc};
use wasmtime::{Store, UpdateDeadline};

use crate::contract::{Version, wire};
use crate::failure::{CallError, classify};
use crate::guest::{Guest, Shared};
use crate::site::{Place, Prepared};
use crate::verdict::{Answer, Terms};
use crate::{Columns, FailureKind, Limits, World, clock};

/// What a component exports, looked up once per component.
#[derive(Clone, Copy)]
pub(crate) struct Exports {
    pub(crate) version: Version,
    pub(crate) world: World,
    pub(crate) describe: ComponentExportIndex,
    pub(crate) configure: ComponentExportIndex,
    /// `filter`, `route` or `apply`.
    pub(crate) run: ComponentExportIndex,
    pub(crate) targets: Option<ComponentExportIndex>,
}

pub(crate) struct Instance {
    store: Store<Guest>,
    instance: wasmtime::component::Instance,
    run: Func,
    world: World,
    version: Version,
    _place: Place,
}

impl Instance {
    /// Instantiates; the guest's start code runs within the deadline too.
    pub(crate) fn new(
        prepared: &Prepared,
        exports: &Exports,
        shared: Arc<Shared>,
        limits: &Limits,
        deadline: Duration,
    ) -> Result<Instance, CallError> {
        let place = prepared.place().ok_or_else(CallError::no_room)?;
        let pre = &prepared.pre;
        let limits = &Limits {
            // What it starts with it was accepted with.
            table_elements: limits.table_elements.max(prepared.table_elements),
            ..limits.clone()
        };
        let mut store = Store::new(pre.engine(), Guest::new(shared, limits));
        store.limiter(|guest| guest);
        store.set_hostcall_fuel(limits.output_bytes);
        store.epoch_deadline_callback(|store| {
            // Ticks come in bursts on a busy machine: only the clock says whether it is time.
            let left = store.data().until.saturating_duration_since(clock::now());
            match left.is_zero() {
                true => Ok(UpdateDeadline::Interrupt),
                false => Ok(UpdateDeadline::Continue(clock::ticks(left))),
            }
        });
        store.data_mut().until = clock::now() + deadline;
        store.set_epoch_deadline(clock::ticks(deadline));
        let instance = pre
            .instantiate(&mut store)
            .map_err(|error| classify(&error, store.data(), deadline))?;
        let run = instance
            .get_func(&mut store, exports.run)
            .ok_or_else(|| CallError::new(FailureKind::BadOutput, "an export is missing"))?;
        Ok(Instance {
            store,
            instance,
            run,
            world: exports.world,
            version: exports.version,
            _place: place,
        })
    }

    pub(crate) fn world(&self) -> World {
        self.world
    }

    /// Linear memory that it has now, all memories together.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.store.data().memory_bytes()
    }

    /// Errors of type in what all versions of the contract have in common.
    pub(crate) fn check_setup_types(&mut self, exports: &Exports) -> Result<(), String> {
        self.has_type::<(&[(&str, &str)],), (Result<(), String>,)>("configure", exports.configure)?;
        match exports.targets {
            Some(index) => self.has_type::<(), (Result<Vec<String>, String>,)>("targets", index),
            None => Ok(()),
        }
    }

    /// The error is a sentence about the export of this name.
    pub(crate) fn has_type<P, R>(
        &mut self,
        name: &str,
        index: ComponentExportIndex,
    ) -> Result<(), String>
    where
        P: ComponentNamedList + Lower,
        R: ComponentNamedList + Lift,
    {
        let found = self.instance.get_typed_func::<P, R>(&mut self.store, index);
        found.map(drop).map_err(|error| {
            format!(
                "the export `{name}` has another type than in tidegate:plugin@{}: {error:#}; build the plugin again \
                 against that version",
                self.version.as_str()
            )
        })
    }

    /// Gives what `narrow` said, if it was called.
    pub(crate) fn configure(
        &mut self,
        exports: &Exports,
        deadline: Duration,
    ) -> Result<Option<Columns>, CallError> {
        let shared = Arc::clone(&self.store.data().shared);
        let config: Vec<(&str, &str)> = shared
            .config
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect();
        self.store.data_mut().configuring = true;
        let said: Result<(Result<(), String>,), CallError> =
            self.call(exports.configure, (config.as_slice(),), deadline);
        self.store.data_mut().configuring = false;
        let (said,) = said?;
        said.map_err(CallError::plugin)?;
        Ok(self.store.data().narrowed)
    }

    pub(crate) fn targets(
        &mut self,
        index: ComponentExportIndex,
        deadline: Duration,
    ) -> Result<Vec<String>, CallError> {
        let (said,): (Result<Vec<String>, String>,) = self.call(index, (), deadline)?;
        said.map_err(CallError::plugin)
    }

    /// One batch, and the check of what comes back.
    pub(crate) fn run(
        &mut self,
        batch: wire::Batch<'_>,
        terms: &Terms<'_>,
        deadline: Duration,
    ) -> Result<Answer, CallError> {
        let guest = self.store.data_mut();
        guest.topic.clear();
        guest.topic.push_str(batch.context.topic);
        guest.partition = i32::try_from(batch.context.partition).unwrap_or(-1);
        self.version.run(self, batch, terms, deadline)
    }

    /// Calls the export that takes batches.
    pub(crate) fn call_run<P, R>(&mut self, params: P, deadline: Duration) -> Result<R, CallError>
    where
        P: ComponentNamedList + Lower,
        R: ComponentNamedList + Lift,
    {
        let func = self.run.typed(&self.store).map_err(mismatch)?;
        self.call_typed(func, params, deadline)
    }

    pub(crate) fn call<P, R>(
        &mut self,
        index: ComponentExportIndex,
        params: P,
        deadline: Duration,
    ) -> Result<R, CallError>
    where
        P: ComponentNamedList + Lower,
        R: ComponentNamedList + Lift,
    {
        let func = self
            .instance
            .get_typed_func(&mut self.store, index)
            .map_err(mismatch)?;
        self.call_typed(func, params, deadline)
    }

    fn call_typed<P, R>(
        &mut self,
        func: TypedFunc<P, R>,
        params: P,
        deadline: Duration,
    ) -> Result<R, CallError>
    where
        P: ComponentNamedList + Lower,
        R: ComponentNamedList + Lift,
    {
        self.store.data_mut().refused = None;
        self.store.data_mut().until = clock::now() + deadline;
        self.store.set_epoch_deadline(clock::ticks(deadline));
        func.call(&mut self.store, params)
            .map_err(|error| classify(&error, self.store.data(), deadline))
    }
}

fn mismatch(error: wasmtime::Error) -> CallError {
    CallError::bad(format!("an export has another type: {error:#}"))
}
