//! Routers: say to which other topics a record goes.

use serde::de::DeserializeOwned;

use crate::{Batch, Columns, Description, Record, Verdict, Verdicts, bindings::types};

/// Says to which other topics a record goes. Exported with [`router`](macro@crate::router).
///
/// ```
/// use tidegate_sdk::prelude::*;
/// use tidegate_sdk::testing;
///
/// /// Moves records without a key to a topic of their own.
/// struct Keyless;
///
/// #[tidegate_sdk::router]
/// impl Router for Keyless {
///     type Config = ();
///
///     fn describe() -> Description {
///         Description::new("keyless", "0.1.0").columns(Columns::KEY)
///     }
///
///     fn configure(_: ()) -> Result<Self, String> {
///         Ok(Self)
///     }
///
///     fn targets(&self) -> Vec<String> {
///         vec!["keyless".into()]
///     }
///
///     fn route(&mut self, record: &Record<'_>, routes: &mut Routes) {
///         if record.key().is_none() {
///             routes.send(record, "keyless");
///             routes.set(record, Verdict::Drop);
///         }
///     }
/// }
///
/// let records = [testing::value("a"), testing::value("b").key("k")];
/// let routed = testing::route::<Keyless>(&[], &records).unwrap();
/// assert_eq!(routed[0].topics(), ["keyless"]);
/// assert_eq!(routed[1].verdict, Verdict::Keep);
/// ```
pub trait Router: Sized {
    /// What the binding's keys are read into, see [`config`](crate::config); `()` for none.
    type Config: DeserializeOwned;

    fn describe() -> Description;

    /// Runs once for each instance, before the first batch.
    ///
    /// # Errors
    /// A sentence for whoever binds the plugin; the binding is refused.
    fn configure(config: Self::Config) -> Result<Self, String>;

    /// With this configuration no more than these of the described columns are read, so that the
    /// broker copies no others; `None` for all of them.
    fn columns(&self) -> Option<Columns> {
        None
    }

    /// Every topic that may be named with this configuration, exactly or as `prefix-*`. The broker
    /// checks them when the plugin is bound, and refuses a route to any other.
    fn targets(&self) -> Vec<String>;

    fn route(&mut self, record: &Record<'_>, routes: &mut Routes);

    /// Routes a whole batch. Override it where going by column is faster than going by record.
    ///
    /// # Errors
    /// The batch failed as a whole, and the binding's error policy decides what becomes of it.
    fn route_batch(&mut self, batch: &Batch, routes: &mut Routes) -> Result<(), String> {
        for record in batch.records() {
            self.route(&record, routes);
        }
        Ok(())
    }
}

/// Which partition of the target topic a routed record is appended to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Partition {
    /// By murmur2 of the key, as Kafka's clients do; the source's index where the key is null.
    #[default]
    ByKey,
    /// The source's index, modulo the number of partitions of the target.
    Same,
    Index(u32),
}

impl Partition {
    fn code(self) -> i32 {
        match self {
            Self::ByKey => -1,
            Self::Same => -2,
            Self::Index(index) => index.try_into().unwrap_or(i32::MAX),
        }
    }

    pub(crate) fn from_code(code: i32) -> Self {
        match code {
            -1 => Self::ByKey,
            -2 => Self::Same,
            index => Self::Index(index as u32),
        }
    }
}

/// A topic named in the routes of the batch at hand, see [`Routes::target`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target(u32);

/// Where the records of one batch go. Each also stays in its source topic, unless it is dropped
/// there; the same record may be sent more than once.
pub struct Routes {
    verdicts: Verdicts,
    topics: Vec<String>,
    records: Vec<u32>,
    targets: Vec<u32>,
    partitions: Vec<i32>,
}

impl Routes {
    pub(crate) fn new(count: usize) -> Self {
        Self {
            verdicts: Verdicts::new(count),
            topics: Vec::new(),
            records: Vec::new(),
            targets: Vec::new(),
            partitions: Vec::new(),
        }
    }

    /// Sends a record to a topic, to the partition its key says.
    ///
    /// # Panics
    /// If a later record of the batch was already sent: routes are in the order of the records.
    pub fn send(&mut self, record: &Record<'_>, topic: &str) {
        let target = self.target(topic);
        self.send_to(record.index(), target, Partition::ByKey);
    }

    /// Names a topic once for many calls of [`send_to`](Self::send_to).
    pub fn target(&mut self, topic: &str) -> Target {
        let known = self.topics.iter().position(|known| known == topic);
        let index = known.unwrap_or_else(|| {
            self.topics.push(topic.into());
            self.topics.len() - 1
        });
        Target(index as u32)
    }

    /// Sends the record at `index` to a topic and partition.
    ///
    /// # Panics
    /// If a later record of the batch was already sent: routes are in the order of the records.
    #[inline]
    pub fn send_to(&mut self, index: usize, target: Target, partition: Partition) {
        let index = index as u32;
        assert!(
            self.records.last().is_none_or(|last| *last <= index),
            "routes out of order"
        );
        self.records.push(index);
        self.targets.push(target.0);
        self.partitions.push(partition.code());
    }

    /// What becomes of a record in its source topic.
    pub fn set(&mut self, record: &Record<'_>, verdict: Verdict) {
        self.verdicts.set(record.index(), verdict);
    }

    /// The same for many records, by index.
    pub fn verdicts(&mut self) -> &mut Verdicts {
        &mut self.verdicts
    }

    pub(crate) fn into_raw(self) -> types::Routes {
        let (codes, reasons) = self.verdicts.into_parts();
        types::Routes {
            codes,
            reasons,
            topics: self.topics,
            records: self.records,
            targets: self.targets,
            partitions: self.partitions,
        }
    }

    /// Verdicts, and (record, topic, partition) of each route.
    pub(crate) fn into_lists(self) -> (Vec<Verdict>, Vec<(usize, String, Partition)>) {
        let Self {
            verdicts,
            topics,
            records,
            targets,
            partitions,
        } = self;
        let routes = records
            .iter()
            .zip(targets)
            .zip(partitions)
            .map(|((record, target), code)| {
                (
                    *record as usize,
                    topics[target as usize].clone(),
                    Partition::from_code(code),
                )
            });
        (verdicts.into_list(), routes.collect())
    }
}

/// Exports a [`Router`] as the component's `router` world. Once in a crate.
#[macro_export]
macro_rules! export_router {
    ($plugin:ty) => {
        #[cfg(not(target_arch = "wasm32"))]
        const _: fn() = || $crate::glue::is_router::<$plugin>();

        #[cfg(target_arch = "wasm32")]
        const _: () = {
            struct Component;

            ::std::thread_local! {
                static PLUGIN: $crate::glue::Slot<$plugin> = const { $crate::glue::Slot::new() };
            }

            impl $crate::bindings::router::Guest for Component {
                fn describe() -> $crate::bindings::types::Description {
                    $crate::glue::describe(<$plugin as $crate::Router>::describe())
                }

                fn configure(
                    config: ::std::vec::Vec<(::std::string::String, ::std::string::String)>,
                ) -> ::std::result::Result<(), ::std::string::String> {
                    PLUGIN.with(|plugin| $crate::glue::configure_router(plugin, config))
                }

                fn targets() -> ::std::result::Result<
                    ::std::vec::Vec<::std::string::String>,
                    ::std::string::String,
                > {
                    PLUGIN.with($crate::glue::targets)
                }

                fn route(
                    batch: $crate::bindings::types::Batch,
                ) -> ::std::result::Result<$crate::bindings::types::Routes, ::std::string::String>
                {
                    PLUGIN.with(|plugin| $crate::glue::route(plugin, batch))
                }
            }

            $crate::bindings::router::export_router!(
                Component with_types_in $crate::bindings::router
            );
        };
    };
}
