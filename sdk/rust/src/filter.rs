//! Filters: say of each record whether it stays.

use serde::de::DeserializeOwned;

use crate::{Batch, Columns, Description, Record, bindings::types};

/// Says of each record whether it stays. Exported with [`filter`](macro@crate::filter).
pub trait Filter: Sized {
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

    fn filter(&mut self, record: &Record<'_>) -> Verdict;

    /// Judges a whole batch; every record is kept unless `verdicts` says otherwise. Override it
    /// where going by column is faster than going by record.
    ///
    /// # Errors
    /// The batch failed as a whole, and the binding's error policy decides what becomes of it.
    fn filter_batch(&mut self, batch: &Batch, verdicts: &mut Verdicts) -> Result<(), String> {
        for record in batch.records() {
            verdicts.set(record.index(), self.filter(&record));
        }
        Ok(())
    }
}

/// What becomes of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Keep,
    /// Acknowledged, and not stored (or not delivered).
    Drop,
    /// The produce request fails, with this sentence for whoever sent it.
    Reject(String),
}

impl Verdict {
    pub fn reject(reason: impl Into<String>) -> Self {
        Self::Reject(reason.into())
    }
}

/// `true` keeps.
impl From<bool> for Verdict {
    fn from(keep: bool) -> Self {
        if keep { Self::Keep } else { Self::Drop }
    }
}

const KEEP: u8 = 0;
const DROP: u8 = 1;
const REJECT: u8 = 2;

/// The verdicts of one batch, by the records' indices. All are kept to begin with.
pub struct Verdicts {
    count: usize,
    /// Stays empty, and unallocated, for as long as every record is kept.
    codes: Vec<u8>,
    reasons: Vec<(u32, String)>,
}

impl Verdicts {
    pub(crate) fn new(count: usize) -> Self {
        Self {
            count,
            codes: Vec::new(),
            reasons: Vec::new(),
        }
    }

    #[inline]
    pub fn set(&mut self, index: usize, verdict: Verdict) {
        match verdict {
            Verdict::Keep => self.keep(index),
            Verdict::Drop => self.drop(index),
            Verdict::Reject(reason) => self.reject(index, reason),
        }
    }

    #[inline]
    pub fn keep(&mut self, index: usize) {
        if !self.codes.is_empty() {
            self.write(index, KEEP);
        }
    }

    #[inline]
    pub fn drop(&mut self, index: usize) {
        self.write(index, DROP);
    }

    /// `reason` is a sentence for whoever produced the record.
    pub fn reject(&mut self, index: usize, reason: impl Into<String>) {
        self.write(index, REJECT);
        self.reasons.push((index as u32, reason.into()));
    }

    /// Drops every record; those that stay are then named with [`keep`](Self::keep).
    pub fn drop_all(&mut self) {
        self.codes.clear();
        self.codes.resize(self.count, DROP);
        self.reasons.clear();
    }

    #[inline]
    fn write(&mut self, index: usize, code: u8) {
        if self.codes.is_empty() {
            self.codes.resize(self.count, KEEP);
        }
        if std::mem::replace(&mut self.codes[index], code) == REJECT {
            self.reasons
                .retain(|(rejected, _)| *rejected as usize != index);
        }
    }

    pub(crate) fn into_raw(self) -> types::Verdicts {
        types::Verdicts {
            codes: self.codes,
            reasons: self.reasons,
        }
    }

    pub(crate) fn into_parts(self) -> (Vec<u8>, Vec<(u32, String)>) {
        (self.codes, self.reasons)
    }

    pub(crate) fn into_list(self) -> Vec<Verdict> {
        let mut list: Vec<Verdict> = (0..self.count)
            .map(|index| Verdict::from(self.codes.get(index).is_none_or(|code| *code == KEEP)))
            .collect();
        for (index, reason) in self.reasons {
            list[index as usize] = Verdict::Reject(reason);
        }
        list
    }
}

/// Exports a [`Filter`] as the component's `filter` world. Once in a crate.
#[macro_export]
macro_rules! export_filter {
    ($plugin:ty) => {
        #[cfg(not(target_arch = "wasm32"))]
        const _: fn() = || $crate::glue::is_filter::<$plugin>();

        #[cfg(target_arch = "wasm32")]
        const _: () = {
            struct Component;

            ::std::thread_local! {
                static PLUGIN: $crate::glue::Slot<$plugin> = const { $crate::glue::Slot::new() };
            }

            impl $crate::bindings::filter::Guest for Component {
                fn describe() -> $crate::bindings::types::Description {
                    $crate::glue::describe(<$plugin as $crate::Filter>::describe())
                }

                fn configure(
                    config: ::std::vec::Vec<(::std::string::String, ::std::string::String)>,
                ) -> ::std::result::Result<(), ::std::string::String> {
                    PLUGIN.with(|plugin| $crate::glue::configure_filter(plugin, config))
                }

                fn filter(
                    batch: $crate::bindings::types::Batch,
                ) -> ::std::result::Result<$crate::bindings::types::Verdicts, ::std::string::String>
                {
                    PLUGIN.with(|plugin| $crate::glue::filter(plugin, batch))
                }
            }

            $crate::bindings::filter::export_filter!(
                Component with_types_in $crate::bindings::filter
            );
        };
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_dropped_needs_no_codes() {
        let mut verdicts = Verdicts::new(3);
        verdicts.set(1, Verdict::Keep);
        assert!(verdicts.into_parts().0.is_empty());
    }

    #[test]
    fn the_last_word_on_a_record_counts() {
        let mut verdicts = Verdicts::new(3);
        verdicts.reject(0, "first");
        verdicts.reject(0, "second");
        verdicts.reject(1, "gone");
        verdicts.drop(1);
        let expected = vec![Verdict::reject("second"), Verdict::Drop, Verdict::Keep];
        assert_eq!(verdicts.into_list(), expected);
    }

    #[test]
    fn drop_all_then_keep_some() {
        let mut verdicts = Verdicts::new(3);
        verdicts.reject(2, "forgotten");
        verdicts.drop_all();
        verdicts.keep(1);
        assert_eq!(
            verdicts.into_list(),
            [Verdict::Drop, Verdict::Keep, Verdict::Drop]
        );
    }
}
