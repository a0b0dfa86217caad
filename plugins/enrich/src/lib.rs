//! `enrich`: adds headers told by the configuration. See `README.md`.

mod source;

use std::borrow::Cow;

use serde::Deserialize;
use tidegate::{Batch, Columns, Config as _, Description, Edit, Edits, Record, Transform, Verdict};

use crate::source::{Additions, Source};

#[derive(tidegate::Config)]
pub struct Config {
    /// The headers and where their values are from, as in region=text:eu;source=topic;user=json:/user/id.
    headers: Additions,
    /// What becomes of headers of such a name that a record has already: replace, keep (then none is
    /// added) or append.
    #[config(default = "replace")]
    existing: Existing,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Existing {
    Replace,
    Keep,
    Append,
}

/// Adds headers to records.
pub struct Enrich {
    additions: Vec<(String, Source)>,
    existing: Existing,
    /// The value of each addition, where it is the same for the whole batch at hand.
    of_batch: Vec<Option<Vec<u8>>>,
}

#[tidegate::transform]
impl Transform for Enrich {
    type Config = Config;

    fn describe() -> Description {
        let description = Description::new("enrich", env!("CARGO_PKG_VERSION"))
            .summary("Adds headers told by the configuration.")
            .columns(Columns::KEY | Columns::VALUE | Columns::HEADERS)
            .writes(Columns::HEADERS);
        Config::keys()
            .into_iter()
            .fold(description, Description::config)
    }

    fn configure(config: Config) -> Result<Self, String> {
        Ok(Self {
            additions: config.headers.0,
            existing: config.existing,
            of_batch: Vec::new(),
        })
    }

    /// Headers always: an edit is all the headers that a record then has.
    fn columns(&self) -> Option<Columns> {
        let read = self.additions.iter().map(|(_, source)| source.columns());
        Some(read.fold(Columns::HEADERS, Columns::union))
    }

    fn transform(&mut self, record: &Record<'_>, edit: &mut Edit<'_>) -> Verdict {
        self.learn(record.batch());
        self.add(record, edit);
        Verdict::Keep
    }

    fn transform_batch(&mut self, batch: &Batch, edits: &mut Edits) -> Result<(), String> {
        self.learn(batch);
        for record in batch.records() {
            self.add(&record, &mut edits.record(&record));
        }
        Ok(())
    }
}

impl Enrich {
    fn learn(&mut self, batch: &Batch) {
        let sources = self.additions.iter();
        self.of_batch = sources.map(|(_, source)| source.of_batch(batch)).collect();
    }

    fn add(&self, record: &Record<'_>, edit: &mut Edit<'_>) {
        for ((name, source), of_batch) in self.additions.iter().zip(&self.of_batch) {
            match self.existing {
                // Also where there is nothing to put: a value that a client made up must not pass
                // for one of ours.
                Existing::Replace => {
                    edit.remove_header(name);
                }
                Existing::Keep if has(record, name) => continue,
                Existing::Keep | Existing::Append => {}
            }
            let value = match of_batch {
                Some(value) => Some(Cow::Borrowed(&value[..])),
                None => source.of_record(record),
            };
            if let Some(value) = value {
                edit.add_header(name, value);
            }
        }
    }
}

fn has(record: &Record<'_>, name: &str) -> bool {
    record.headers().any(|(known, _)| known == name.as_bytes())
}

#[cfg(test)]
mod tests {
    use tidegate::testing::{self, Outcome, TestRecord, null, value};

    use super::*;

    fn enriched(config: &[(&str, &str)], record: TestRecord) -> TestRecord {
        match testing::transform::<Enrich>(config, &[record])
            .unwrap()
            .remove(0)
        {
            Outcome::Kept(record) => record,
            other => panic!("{other:?}"),
        }
    }

    fn refused(headers: &str) -> String {
        testing::transform::<Enrich>(&[("headers", headers)], &[]).unwrap_err()
    }

    #[test]
    fn every_source() {
        let headers = "r=text:eu\\;west;t=topic;p=partition;at=append-time;by=alias;k=key;\
                       u=json:/user/id;h=header:x";
        let record = || value(r#"{"user": {"id": 7}}"#).key("k1").header("x", "1");
        let expected = record()
            .header("r", "eu;west")
            .header("t", "test")
            .header("p", "0")
            .header("at", "0")
            .header("by", "test")
            .header("k", "k1")
            .header("u", "7")
            .header("h", "1");
        assert_eq!(enriched(&[("headers", headers)], record()), expected);
    }

    #[test]
    fn what_is_not_there_is_not_added() {
        let config = [("headers", "k=key;u=json:/id;h=header:x")];
        assert_eq!(enriched(&config, null()), null());
        assert_eq!(enriched(&config, value("no json")), value("no json"));
    }

    #[test]
    fn existing_headers() {
        let record = || {
            value("{}")
                .header("a", "1")
                .header("b", "2")
                .header("a", "3")
        };
        let with =
            |existing, headers| enriched(&[("headers", headers), ("existing", existing)], record());
        let replaced = value("{}").header("b", "2").header("a", "new");
        assert_eq!(with("replace", "a=text:new"), replaced);
        assert_eq!(with("keep", "a=text:new"), record());
        assert_eq!(with("append", "a=text:new"), record().header("a", "new"));
        let gone = value("{}").header("b", "2");
        assert_eq!(with("replace", "a=json:/none"), gone);
    }

    #[test]
    fn bad_configurations_are_refused() {
        let key = "config key `headers`: ";
        assert_eq!(refused(""), format!("{key}it names no header"));
        assert_eq!(
            refused("a"),
            format!("{key}`a` is not written <header>=<source>")
        );
        assert_eq!(refused("=topic"), format!("{key}`=topic` names no header"));
        assert_eq!(
            refused("a=time"),
            format!(
                "{key}`time` is none of text:<text>, topic, partition, append-time, alias, key, \
                 header:<name> and json:<pointer>"
            )
        );
        assert_eq!(refused("a=topic;a=key"), format!("{key}`a` is given twice"));
        assert!(refused("a=json:x").contains("does not begin with `/`"));
    }
}
