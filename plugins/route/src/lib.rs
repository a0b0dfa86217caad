//! `route`: sends each record to the topic that a table gives for a field. See `README.md`.

mod table;

use serde::Deserialize;
use tidegate::{
    Batch, Columns, ConfigKey, Description, Partition, Record, Router, Routes, Target, Verdict,
    field::Field,
};

use crate::table::{Fallback, Table};

/// The configuration, as `Route::describe` tells it.
#[derive(Deserialize)]
pub struct Config {
    field: Field,
    table: Table,
    default: Fallback,
    mode: Mode,
}

#[derive(Clone, Copy, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Mode {
    Move,
    Copy,
}

/// Sends a record to the topic that the table gives for its field, and any other where `default`
/// says.
pub struct Route {
    field: Field,
    table: Table,
    /// Every topic that may be named, once. The last is the default's, if it has one.
    topics: Vec<String>,
    fallback: Outcome,
    mode: Mode,
}

/// What becomes of a record.
#[derive(Clone, Copy)]
enum Outcome {
    /// Sent to `topics[i]`.
    Sent(usize),
    Kept,
    Dropped,
}

#[tidegate::router]
impl Router for Route {
    type Config = Config;

    fn describe() -> Description {
        Description::new("route", env!("CARGO_PKG_VERSION"))
            .summary("Sends each record to the topic that a table gives for a field.")
            .columns(Field::COLUMNS)
            .config(ConfigKey::text("field").default("key").doc(
                "What to look up: value, key, header:<name> (the last of that name) or \
                 json:<pointer> (a place in the value, as RFC 6901 writes it).",
            ))
            .config(ConfigKey::text("table").required().doc(
                "Which topic each value of the field goes to, as in eu=orders-eu;us=orders-us.",
            ))
            .config(ConfigKey::text("default").default("keep").doc(
                "What becomes of a record whose field is not in the table, is missing or is null: \
                 keep, drop or topic:<name>.",
            ))
            .config(ConfigKey::text("mode").default("move").doc(
                "Whether a record that is routed leaves its own topic (move) or stays there too \
                 (copy).",
            ))
    }

    fn configure(config: Config) -> Result<Self, String> {
        let Config {
            field,
            mut table,
            default,
            mode,
        } = config;
        let fallback = match default {
            Fallback::Keep => Outcome::Kept,
            Fallback::Drop => Outcome::Dropped,
            Fallback::Topic(topic) => Outcome::Sent(table.add_topic(topic)),
        };
        let topics = table.take_topics();
        Ok(Self {
            field,
            table,
            topics,
            fallback,
            mode,
        })
    }

    fn columns(&self) -> Option<Columns> {
        Some(self.field.columns())
    }

    fn targets(&self) -> Vec<String> {
        self.topics.clone()
    }

    fn route(&mut self, record: &Record<'_>, routes: &mut Routes) {
        match self.outcome(record) {
            Outcome::Sent(topic) => {
                routes.send(record, &self.topics[topic]);
                routes.set(record, Verdict::from(self.mode == Mode::Copy));
            }
            Outcome::Kept => {}
            Outcome::Dropped => routes.set(record, Verdict::Drop),
        }
    }

    /// As `route`, but each topic is looked for among the batch's only once.
    fn route_batch(&mut self, batch: &Batch, routes: &mut Routes) -> Result<(), String> {
        let mut targets: Vec<Option<Target>> = vec![None; self.topics.len()];
        for record in batch.records() {
            match self.outcome(&record) {
                Outcome::Sent(topic) => {
                    let named = || routes.target(&self.topics[topic]);
                    let target = *targets[topic].get_or_insert_with(named);
                    routes.send_to(record.index(), target, Partition::ByKey);
                    if self.mode == Mode::Move {
                        routes.verdicts().drop(record.index());
                    }
                }
                Outcome::Kept => {}
                Outcome::Dropped => routes.verdicts().drop(record.index()),
            }
        }
        Ok(())
    }
}

impl Route {
    #[inline]
    fn outcome(&self, record: &Record<'_>) -> Outcome {
        let found = self
            .field
            .get(record)
            .and_then(|bytes| self.table.get(&bytes));
        found.map_or(self.fallback, Outcome::Sent)
    }
}

#[cfg(test)]
mod tests {
    use tidegate::testing::{self, Routed, TestRecord, null, value};

    use super::*;

    const TABLE: (&str, &str) = ("table", "eu=orders-eu;us=orders-us;uk=orders-eu");

    fn routed(config: &[(&str, &str)], records: &[TestRecord]) -> Vec<Routed> {
        testing::route::<Route>(config, records).unwrap()
    }

    fn refused(config: &[(&str, &str)]) -> String {
        testing::route::<Route>(config, &[]).unwrap_err()
    }

    fn kept() -> Routed {
        Routed {
            verdict: Verdict::Keep,
            routes: vec![],
        }
    }

    fn dropped() -> Routed {
        Routed {
            verdict: Verdict::Drop,
            routes: vec![],
        }
    }

    fn sent(topic: &str, verdict: Verdict) -> Routed {
        Routed {
            verdict,
            routes: vec![(topic.into(), Partition::ByKey)],
        }
    }

    fn records() -> [TestRecord; 4] {
        [
            value("1").key("eu"),
            value("2").key("us"),
            value("3").key("asia"),
            null(),
        ]
    }

    #[test]
    fn moves_by_key_and_keeps_the_rest() {
        let expected = [
            sent("orders-eu", Verdict::Drop),
            sent("orders-us", Verdict::Drop),
            kept(),
            kept(),
        ];
        assert_eq!(routed(&[TABLE], &records()), expected);
    }

    #[test]
    fn copies_and_drops_the_rest() {
        let expected = [
            sent("orders-eu", Verdict::Keep),
            sent("orders-us", Verdict::Keep),
            dropped(),
            dropped(),
        ];
        assert_eq!(
            routed(&[TABLE, ("mode", "copy"), ("default", "drop")], &records()),
            expected
        );
    }

    #[test]
    fn sends_the_rest_to_a_topic() {
        let config = [TABLE, ("default", "topic:orders-other")];
        assert_eq!(
            routed(&config, &records())[3],
            sent("orders-other", Verdict::Drop)
        );
        let targets = testing::targets::<Route>(&config).unwrap();
        assert_eq!(targets, ["orders-eu", "orders-us", "orders-other"]);
        let known = testing::targets::<Route>(&[TABLE, ("default", "topic:orders-us")]).unwrap();
        assert_eq!(known, ["orders-eu", "orders-us"]);
    }

    #[test]
    fn one_by_one_as_by_batch() {
        let batch = testing::batch(&records());
        for (default, mode) in [("keep", "move"), ("drop", "copy"), ("topic:x", "move")] {
            let config = [TABLE, ("default", default), ("mode", mode)];
            let expected = routed(&config, &records());
            let single = records().map(|record| routed(&config, &[record]).remove(0));
            assert_eq!(single.to_vec(), expected);
        }
        assert_eq!(batch.len(), 4);
    }

    #[test]
    fn fields() {
        let record = || {
            value(r#"{"region": "us", "code": 7}"#)
                .header("r", "us")
                .header("r", "eu")
        };
        let topic = |field: &str, table: &str| {
            let routed = routed(&[("field", field), ("table", table)], &[record()]);
            routed[0].topics().concat()
        };
        assert_eq!(topic("json:/region", "us=a"), "a");
        assert_eq!(topic("json:/code", "7=a"), "a");
        assert_eq!(topic("header:r", "us=a;eu=b"), "b");
        assert_eq!(topic("value", "us=a"), "");
    }

    #[test]
    fn bad_configurations_are_refused() {
        assert_eq!(refused(&[]), "config key `table` is not set");
        assert_eq!(
            refused(&[TABLE, ("mode", "clone")]),
            "config key `mode`: `clone` is not one of move, copy"
        );
        assert_eq!(
            refused(&[TABLE, ("default", "reject")]),
            "config key `default`: `reject` is none of keep, drop and topic:<name>"
        );
        assert_eq!(
            refused(&[("table", "eu:orders")]),
            "config key `table`: `eu:orders` is not of the form value=topic"
        );
    }
}
