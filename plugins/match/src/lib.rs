//! `match`: keeps the records in which a field matches, and drops the others. See `README.md`.

mod test;

use memchr::memmem::Finder;
use serde::Deserialize;
use tidegate::{
    Batch, Column, Columns, ConfigKey, Description, Filter, Record, Verdict, Verdicts, field::Field,
};

use crate::test::{Op, Test};

/// The configuration, as `Match::describe` tells it.
#[derive(Deserialize)]
pub struct Config {
    field: Field,
    op: Op,
    value: Option<String>,
    negate: bool,
}

/// Keeps a record if its field passes the test; with `negate`, if it does not.
pub struct Match {
    field: Field,
    test: Test,
    negate: bool,
}

#[tidegate::filter]
impl Filter for Match {
    type Config = Config;

    fn describe() -> Description {
        Description::new("match", env!("CARGO_PKG_VERSION"))
            .summary("Keeps the records in which a field matches, and drops the others.")
            .columns(Field::COLUMNS)
            .config(ConfigKey::text("field").default("value").doc(
                "What to look at: value, key, header:<name> (the last of that name) or \
                 json:<pointer> (a place in the value, as RFC 6901 writes it).",
            ))
            .config(ConfigKey::text("op").default("contains").doc(
                "How to compare it: contains, equals, prefix, regex, exists, gt or lt. A field \
                 that is missing or null passes none of them.",
            ))
            .config(ConfigKey::text("value").doc(
                "What to compare it with: a text, a regular expression, or for gt and lt a \
                 number. Not needed for exists.",
            ))
            .config(ConfigKey::boolean("negate").default("false").doc(
                "Keeps the records that do not match instead, those without the field included.",
            ))
    }

    fn configure(config: Config) -> Result<Self, String> {
        let test = Test::new(config.op, config.value)?;
        Ok(Self {
            field: config.field,
            test,
            negate: config.negate,
        })
    }

    fn columns(&self) -> Option<Columns> {
        Some(self.field.columns())
    }

    #[inline]
    fn filter(&mut self, record: &Record<'_>) -> Verdict {
        let passes = self
            .field
            .get(record)
            .is_some_and(|bytes| self.test.passes(&bytes));
        Verdict::from(passes != self.negate)
    }

    fn filter_batch(&mut self, batch: &Batch, verdicts: &mut Verdicts) -> Result<(), String> {
        match (&self.field, &self.test) {
            (Field::Value, Test::Contains(finder)) => {
                self.search_column(batch.values(), finder, verdicts);
            }
            (Field::Key, Test::Contains(finder)) => {
                self.search_column(batch.keys(), finder, verdicts);
            }
            _ => {
                for record in batch.records() {
                    verdicts.set(record.index(), self.filter(&record));
                }
            }
        }
        Ok(())
    }
}

impl Match {
    /// Searches the column as one text instead of each value by itself: where few values match,
    /// the rest cost no more than being read over.
    fn search_column(&self, column: Option<Column<'_>>, finder: &Finder, verdicts: &mut Verdicts) {
        if !self.negate {
            verdicts.drop_all();
        }
        let Some(column) = column else { return };
        let (ends, data) = (&column.offsets()[1..], column.data());
        let (mut index, mut from) = (0, 0);
        while let Some(hit) = finder.find(&data[from..]) {
            let start = from + hit;
            while ends[index] as usize <= start {
                index += 1;
            }
            let end = ends[index] as usize;
            // A hit that runs over the end of its value is none, and any later one in this value
            // would run over it too.
            if start + finder.needle().len() <= end {
                if self.negate {
                    verdicts.drop(index)
                } else {
                    verdicts.keep(index)
                }
            }
            from = end;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};
    use tidegate::testing::{self, TestRecord, null, value};

    use super::*;

    /// Which of the records stay.
    fn kept(config: &[(&str, &str)], records: &[TestRecord]) -> Vec<bool> {
        let verdicts = testing::filter::<Match>(config, records).unwrap();
        verdicts
            .iter()
            .map(|verdict| *verdict == Verdict::Keep)
            .collect()
    }

    fn refused(config: &[(&str, &str)]) -> String {
        testing::filter::<Match>(config, &[]).unwrap_err()
    }

    #[test]
    fn contains_is_the_default() {
        let records = [value("an error"), value("fine"), null(), value("error")];
        assert_eq!(
            kept(&[("value", "error")], &records),
            [true, false, false, true]
        );
        let negated = [("value", "error"), ("negate", "true")];
        assert_eq!(kept(&negated, &records), [false, true, true, false]);
    }

    #[test]
    fn a_hit_across_two_records_is_none() {
        let records = [
            value("xab"),
            value("cx"),
            value("abc"),
            value("a"),
            value("bc"),
        ];
        assert_eq!(
            kept(&[("value", "abc")], &records),
            [false, false, true, false, false]
        );
    }

    #[test]
    fn fields() {
        let records = [
            value(r#"{"origin": "JFK", "delay": 12}"#)
                .key("UA")
                .header("h", "no")
                .header("h", "yes"),
            value("not json").key(""),
            null(),
        ];
        let first =
            |config: &[(&str, &str)]| assert_eq!(kept(config, &records), [true, false, false]);
        first(&[("field", "key"), ("op", "equals"), ("value", "UA")]);
        first(&[("field", "key"), ("op", "contains"), ("value", "A")]);
        first(&[("field", "header:h"), ("op", "equals"), ("value", "yes")]);
        first(&[("field", "header:h"), ("op", "exists")]);
        first(&[("field", "json:/origin"), ("op", "prefix"), ("value", "J")]);
        first(&[("field", "json:/delay"), ("op", "gt"), ("value", "11.5")]);
        first(&[
            ("field", "value"),
            ("op", "regex"),
            ("value", r#""delay": \d+"#),
        ]);
        assert_eq!(
            kept(&[("field", "key"), ("op", "exists")], &records),
            [true, true, false]
        );
    }

    #[test]
    fn bad_configurations_are_refused() {
        assert_eq!(refused(&[]), "`op = contains` needs a `value`");
        assert_eq!(
            refused(&[("value", "")]),
            "`op = contains` with an empty `value` would match everything"
        );
        assert_eq!(
            refused(&[("op", "like"), ("value", "x")]),
            "config key `op`: `like` is not one of contains, equals, prefix, regex, exists, gt, lt"
        );
        assert_eq!(
            refused(&[("op", "gt"), ("value", "soon")]),
            "`op = gt` needs a number as its `value`, and `soon` is none"
        );
        assert_eq!(
            refused(&[("field", "body"), ("value", "x")]),
            "config key `field`: `body` is none of value, key, header:<name> and json:<pointer>"
        );
        assert_eq!(
            refused(&[("negate", "yes"), ("value", "x")]),
            "config key `negate`: `yes` is neither `true` nor `false`"
        );
        assert_eq!(
            refused(&[("op", "regex"), ("value", "(")]),
            "`value` cannot be used as a regular expression: unclosed group"
        );
        assert_eq!(
            refused(&[("op", "regex"), ("value", r"\w{1000}{1000}")]),
            "`value` cannot be used as a regular expression: \
             it takes more than 1048576 bytes when compiled"
        );
    }

    proptest! {
        #[test]
        fn the_column_search_agrees_with_one_by_one(
            values in vec(proptest::option::of("[ab]{0,6}"), 0..40),
            needle in "[ab]{1,3}",
            negate: bool,
        ) {
            let records: Vec<_> = values.iter().map(|v| v.as_ref().map_or_else(null, value)).collect();
            let negated = negate.to_string();
            let kept = kept(&[("value", &needle), ("negate", &negated)], &records);
            let expected: Vec<_> = values
                .iter()
                .map(|v| v.as_ref().is_some_and(|v| v.contains(&needle)) != negate)
                .collect();
            prop_assert_eq!(kept, expected);
        }
    }
}
