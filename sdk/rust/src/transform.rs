//! Transforms: replace what is in a record.

use serde::de::DeserializeOwned;

use crate::{Batch, Columns, Description, Edit, Edits, Record, Verdict};

/// Replaces keys, values, headers or timestamps in place. One record becomes one or none; sending
/// copies elsewhere is a [`Router`](crate::Router)'s.
///
/// ```
/// use tidegate_sdk::{prelude::*, testing::{self, Outcome}};
///
/// /// Writes values in capitals, and says so in a header.
/// struct Shout;
///
/// #[tidegate_sdk::transform]
/// impl Transform for Shout {
///     type Config = ();
///
///     fn describe() -> Description {
///         Description::new("shout", "0.1.0")
///             .columns(Columns::VALUE | Columns::HEADERS)
///             .writes(Columns::VALUE | Columns::HEADERS)
///     }
///
///     fn configure(_: ()) -> Result<Self, String> {
///         Ok(Self)
///     }
///
///     fn transform(&mut self, record: &Record<'_>, edit: &mut Edit<'_>) -> Verdict {
///         let Some(value) = record.value() else { return Verdict::Drop };
///         edit.set_value(value.to_ascii_uppercase()).add_header("loud", "yes");
///         Verdict::Keep
///     }
/// }
///
/// let outcomes = testing::transform::<Shout>(&[], &[testing::value("hey").key("k"), testing::null()]);
/// let hey = testing::value("HEY").key("k").header("loud", "yes");
/// assert_eq!(outcomes, Ok(vec![Outcome::Kept(hey), Outcome::Dropped]));
/// ```
pub trait Transform: Sized {
    /// What the binding's keys are read into, see [`config`](crate::config); `()` for none.
    type Config: DeserializeOwned;

    /// Names what may be replaced with [`Description::writes`].
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

    /// An edit of a record that is then dropped or rejected is ignored.
    fn transform(&mut self, record: &Record<'_>, edit: &mut Edit<'_>) -> Verdict;

    /// Transforms a whole batch. Override it where going by column is faster than going by record.
    ///
    /// # Errors
    /// The batch failed as a whole, and the binding's error policy decides what becomes of it.
    fn transform_batch(&mut self, batch: &Batch, edits: &mut Edits) -> Result<(), String> {
        for record in batch.records() {
            let verdict = self.transform(&record, &mut edits.record(&record));
            edits.verdicts().set(record.index(), verdict);
        }
        Ok(())
    }
}

/// Exports a [`Transform`] as the component's `transform` world. Once in a crate.
#[macro_export]
macro_rules! export_transform {
    ($plugin:ty) => {
        #[cfg(not(target_arch = "wasm32"))]
        const _: fn() = || $crate::glue::is_transform::<$plugin>();

        #[cfg(target_arch = "wasm32")]
        const _: () = {
            struct Component;

            ::std::thread_local! {
                static PLUGIN: $crate::glue::Slot<$plugin> = const { $crate::glue::Slot::new() };
            }

            impl $crate::bindings::transform::Guest for Component {
                fn describe() -> $crate::bindings::types::Description {
                    $crate::glue::describe(<$plugin as $crate::Transform>::describe())
                }

                fn configure(
                    config: ::std::vec::Vec<(::std::string::String, ::std::string::String)>,
                ) -> ::std::result::Result<(), ::std::string::String> {
                    PLUGIN.with(|plugin| $crate::glue::configure_transform(plugin, config))
                }

                fn apply(
                    batch: $crate::bindings::types::Batch,
                ) -> ::std::result::Result<$crate::bindings::types::Edits, ::std::string::String>
                {
                    PLUGIN.with(|plugin| $crate::glue::apply(plugin, batch))
                }
            }

            $crate::bindings::transform::export_transform!(
                Component with_types_in $crate::bindings::transform
            );
        };
    };
}
