//! One live instance of a component, and the only calls ever made into one.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::{ComponentExportIndex, ComponentNamedList, Func, Lift, Lower, TypedFunc};
use wasmtime::{PoolConcurrencyLimitError, Store, Trap, UpdateDeadline};

use crate::guest::{Guest, Shared};
use crate::site::{Place, Prepared};
use crate::verdict::{Answer, check_routes, check_verdicts, excerpt, routes_within};
use crate::{FailureKind, Limits, TargetPattern, World, clock, wire};

/// What a component exports, looked up once per component.
#[derive(Clone, Copy)]
pub(crate) struct Exports {
    pub(crate) world: World,
    pub(crate) describe: ComponentExportIndex,
    pub(crate) configure: ComponentExportIndex,
    /// `filter` or `route`.
    pub(crate) run: ComponentExportIndex,
    pub(crate) targets: Option<ComponentExportIndex>,
}

/// Why a call gave nothing.
#[derive(Clone, Debug)]
pub(crate) struct CallError {
    pub(crate) kind: FailureKind,
    pub(crate) message: String,
}

impl CallError {
    pub(crate) fn new(kind: FailureKind, message: impl Into<String>) -> CallError {
        CallError {
            kind,
            message: message.into(),
        }
    }

    /// Whether the instance can be trusted with another call.
    pub(crate) fn spares_instance(&self) -> bool {
        self.kind == FailureKind::PluginError
    }
}

pub(crate) struct Instance {
    store: Store<Guest>,
    instance: wasmtime::component::Instance,
    run: Func,
    world: World,
    _place: Place,
}

type FilterResult = Result<wire::Verdicts, String>;
type RouteResult = Result<wire::Routes, String>;

impl Instance {
    /// Instantiates; the guest's start code runs within the deadline too.
    pub(crate) fn new(
        prepared: &Prepared,
        exports: &Exports,
        shared: Arc<Shared>,
        limits: &Limits,
        deadline: Duration,
    ) -> Result<Instance, CallError> {
        let place = prepared.place().ok_or_else(no_room)?;
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
            _place: place,
        })
    }

    /// Errors of type, found in the dry run instead of at the first batch.
    pub(crate) fn check_types(&mut self, exports: &Exports) -> Result<(), String> {
        let wrong = |name: &str, error: wasmtime::Error| {
            format!("the export `{name}` has another type than in tidegate:plugin: {error:#}")
        };
        self.export::<(), (wire::Description,)>(exports.describe)
            .map_err(|error| wrong("describe", error))?;
        self.export::<(&[(&str, &str)],), (Result<(), String>,)>(exports.configure)
            .map_err(|error| wrong("configure", error))?;
        match self.world {
            World::Filter => self
                .run
                .typed::<(wire::Batch<'_>,), (FilterResult,)>(&self.store)
                .map(drop)
                .map_err(|error| wrong("filter", error)),
            World::Router => self
                .run
                .typed::<(wire::Batch<'_>,), (RouteResult,)>(&self.store)
                .map(drop)
                .map_err(|error| wrong("route", error)),
            World::Transform => Err("transforms are not served yet".to_owned()),
        }?;
        match exports.targets {
            Some(index) => self
                .export::<(), (Result<Vec<String>, String>,)>(index)
                .map(drop)
                .map_err(|error| wrong("targets", error)),
            None => Ok(()),
        }
    }

    pub(crate) fn describe(
        &mut self,
        exports: &Exports,
        deadline: Duration,
    ) -> Result<wire::Description, CallError> {
        let func = self.typed::<(), (wire::Description,)>(exports.describe)?;
        self.call(func, (), deadline)
            .map(|(description,)| description)
    }

    pub(crate) fn configure(
        &mut self,
        exports: &Exports,
        deadline: Duration,
    ) -> Result<(), CallError> {
        let shared = Arc::clone(&self.store.data().shared);
        let config: Vec<(&str, &str)> = shared
            .config
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect();
        let func = self.typed::<(&[(&str, &str)],), (Result<(), String>,)>(exports.configure)?;
        let (said,) = self.call(func, (config.as_slice(),), deadline)?;
        said.map_err(|sentence| plugin_error(&sentence))
    }

    pub(crate) fn targets(
        &mut self,
        index: ComponentExportIndex,
        deadline: Duration,
    ) -> Result<Vec<String>, CallError> {
        let func = self.typed::<(), (Result<Vec<String>, String>,)>(index)?;
        let (said,) = self.call(func, (), deadline)?;
        said.map_err(|sentence| plugin_error(&sentence))
    }

    /// One batch, and the check of what comes back.
    pub(crate) fn run(
        &mut self,
        batch: wire::Batch<'_>,
        limits: &Limits,
        patterns: &[TargetPattern],
        deadline: Duration,
    ) -> Result<Answer, CallError> {
        let count = batch.count as usize;
        self.store.data_mut().topic.clear();
        self.store.data_mut().topic.push_str(batch.context.topic);
        let bad = |message| CallError::new(FailureKind::BadOutput, message);
        match self.world {
            World::Filter => {
                let func = self.run.typed(&self.store).map_err(mismatch)?;
                let (said,): (FilterResult,) = self.call(func, (batch,), deadline)?;
                let verdicts = said.map_err(|sentence| plugin_error(&sentence))?;
                check_verdicts(verdicts, count, limits.output_records).map_err(bad)
            }
            World::Router => {
                let func = self.run.typed(&self.store).map_err(mismatch)?;
                let (said,): (RouteResult,) = self.call(func, (batch,), deadline)?;
                let routes = said.map_err(|sentence| plugin_error(&sentence))?;
                if !routes_within(&routes, limits.output_records) {
                    let message = format!("it gave more than {} routes", limits.output_records);
                    return Err(CallError::new(FailureKind::OutputLimit, message));
                }
                check_routes(routes, count, limits.output_records, patterns).map_err(bad)
            }
            World::Transform => Err(bad("transforms are not served yet".to_owned())),
        }
    }

    fn call<P, R>(
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

    fn typed<P, R>(&mut self, index: ComponentExportIndex) -> Result<TypedFunc<P, R>, CallError>
    where
        P: ComponentNamedList + Lower,
        R: ComponentNamedList + Lift,
    {
        self.export(index).map_err(mismatch)
    }

    fn export<P, R>(&mut self, index: ComponentExportIndex) -> wasmtime::Result<TypedFunc<P, R>>
    where
        P: ComponentNamedList + Lower,
        R: ComponentNamedList + Lift,
    {
        self.instance.get_typed_func(&mut self.store, index)
    }
}

fn mismatch(error: wasmtime::Error) -> CallError {
    CallError::new(
        FailureKind::BadOutput,
        format!("an export has another type: {error:#}"),
    )
}

fn plugin_error(sentence: &str) -> CallError {
    CallError::new(FailureKind::PluginError, excerpt(sentence))
}

fn no_room() -> CallError {
    CallError::new(
        FailureKind::Unavailable,
        "the broker runs all the instances it may",
    )
}

/// Says which limit, if any, stands behind an error of the engine.
fn classify(error: &wasmtime::Error, guest: &Guest, deadline: Duration) -> CallError {
    if error.downcast_ref::<PoolConcurrencyLimitError>().is_some() {
        return no_room();
    }
    if let Some(what) = guest.refused {
        return CallError::new(
            FailureKind::Memory,
            format!("it asked for more {what} than it may"),
        );
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => CallError::new(
            FailureKind::Deadline,
            format!("it ran longer than {} ms", deadline.as_millis()),
        ),
        Some(trap) => CallError::new(FailureKind::Trap, format!("it trapped: {trap}")),
        None if format!("{error:#}").contains("fuel allocated for hostcalls") => CallError::new(
            FailureKind::OutputLimit,
            "it gave back more bytes than it may",
        ),
        None => CallError::new(
            FailureKind::BadOutput,
            format!(
                "what it gave breaks the contract: {}",
                excerpt(&error.root_cause().to_string())
            ),
        ),
    }
}
