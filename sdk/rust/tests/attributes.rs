//! The attributes on functions of every shape, run as plugins.

use tidegate_sdk::{
    Partition,
    testing::{self, Outcome, null, value},
};

/// Each plugin in a module of its own, as each is in a crate of its own.
mod of_records {
    use tidegate_sdk::prelude::*;

    #[derive(tidegate_sdk::Config)]
    pub(crate) struct Regions {
        /// The regions that have a topic, comma-separated.
        pub(crate) known: Vec<String>,
        /// What their topics begin with.
        #[config(default = "orders-")]
        pub(crate) prefix: String,
    }

    fn topics(config: &Regions) -> Vec<String> {
        let known = config.known.iter();
        known
            .map(|region| format!("{}{region}", config.prefix))
            .collect()
    }

    /// Sends orders to the topics of their regions.
    #[tidegate_sdk::router(name = "regions", version = "9", targets = topics, columns())]
    pub(crate) fn regions(
        key: Key<'_>,
        _record: &Record<'_>,
        config: &Regions,
    ) -> Result<Destination<String>, &'static str> {
        let Some(region) = key else {
            return Ok(Destination::Stay);
        };
        let region = str::from_utf8(region).map_err(|_| "the key is no text")?;
        match region {
            "test" => Ok(Destination::Drop),
            _ if config.known.iter().all(|known| known != region) => Ok(Destination::Stay),
            "eu" => Ok(Destination::Copy(format!("{}{region}", config.prefix))),
            _ => Ok(Destination::Move(format!("{}{region}", config.prefix))),
        }
    }
}

mod of_batches {
    use tidegate_sdk::prelude::*;

    /// Sends every record everywhere.
    #[tidegate_sdk::router(targets = ["a", "b-*"], columns())]
    pub(crate) fn everywhere(batch: &Batch, routes: &mut Routes) {
        let (one, two) = (routes.target("a"), routes.target("b-1"));
        for index in 0..batch.len() {
            routes.send_to(index, one, Partition::Same);
            routes.send_to(index, two, Partition::Index(3));
        }
    }
}

mod of_columns {
    use tidegate_sdk::prelude::*;

    /// How many batches an instance saw.
    #[derive(Default)]
    pub(crate) struct Seen(u64);

    /// Numbers what has no key, by batch.
    #[tidegate_sdk::transform(columns(key), writes(key, timestamp), state = partition)]
    pub(crate) fn number(batch: &Batch, seen: &mut Seen, edits: &mut Edits) -> Result<(), String> {
        seen.0 += 1;
        let keys = batch.keys().ok_or("there are no keys")?;
        for index in 0..batch.len() {
            match keys.get(index) {
                None => edits.set_key(index, Some(format!("{}-{index}", seen.0).as_bytes())),
                Some(b"drop") => edits.verdicts().drop(index),
                Some(b"fail") => return Err("it was told to".into()),
                Some(_) => edits.set_timestamp_ms(index, 7),
            }
        }
        Ok(())
    }
}

/// Under the name that most crates give the SDK.
mod renamed {
    use tidegate_sdk as sdk;

    use sdk::prelude::*;

    /// Keeps what has a header.
    #[sdk::filter(crate = sdk)]
    pub(crate) fn headed(headers: Headers<'_>, timestamp: Timestamp) -> bool {
        headers.len() > 0 && timestamp > 0
    }
}

#[test]
fn a_router_takes_its_targets_from_its_configuration() {
    use of_records::regions;

    let config = [("known", "eu, us")];
    let targets = testing::targets::<regions>(&config).unwrap();
    assert_eq!(targets, ["orders-eu", "orders-us"]);

    let keys: [&[u8]; 5] = [b"eu", b"us", b"asia", b"test", b"\xff"];
    let records = keys.map(|key| null().key(key));
    let routed = testing::route::<regions>(&config, &records).unwrap();
    let told: Vec<_> = routed
        .iter()
        .map(|routed| (routed.topics().join(""), format!("{:?}", routed.verdict)))
        .collect();
    let expected = [
        ("orders-eu", "Keep"),
        ("orders-us", "Drop"),
        ("", "Keep"),
        ("", "Drop"),
        ("", "Reject(\"the key is no text\")"),
    ];
    assert_eq!(
        told,
        expected.map(|(topic, verdict)| (topic.into(), verdict.into()))
    );
}

#[test]
fn a_router_over_batches_says_partitions() {
    use of_batches::everywhere;

    let routed = testing::route::<everywhere>(&[], &[value("x")]).unwrap();
    let expected = [
        ("a".into(), Partition::Same),
        ("b-1".into(), Partition::Index(3)),
    ];
    assert_eq!(routed[0].routes, expected);
}

#[test]
fn a_transform_over_batches() {
    use of_columns::number;

    let records = [value("a"), value("b").key("k"), value("c").key("drop")];
    let outcomes = testing::transform::<number>(&[], &records).unwrap();
    let expected = [
        Outcome::Kept(value("a").key("1-0")),
        Outcome::Kept(value("b").key("k").timestamp_ms(7)),
        Outcome::Dropped,
    ];
    assert_eq!(outcomes, expected);
    let failed = testing::transform::<number>(&[], &[null().key("fail")]);
    assert_eq!(failed, Err("it was told to".into()));
}

#[test]
fn columns_are_parameters() {
    use renamed::headed;
    use tidegate_sdk::Verdict;

    let records = [
        null().header("a", "").timestamp_ms(1),
        null().header("a", ""),
        null(),
    ];
    let verdicts = testing::filter::<headed>(&[], &records).unwrap();
    assert_eq!(verdicts, [Verdict::Keep, Verdict::Drop, Verdict::Drop]);
}

#[test]
fn an_edit_that_was_not_announced_is_an_error() {
    mod sly {
        use tidegate_sdk::prelude::*;

        #[tidegate_sdk::transform(writes(key))]
        pub(crate) fn sly(value: Value<'_>, edit: &mut Edit<'_>) {
            edit.set_value(value.unwrap_or_default());
        }
    }
    let error = testing::transform::<sly::sly>(&[], &[null()]).unwrap_err();
    assert!(error.contains("does not say that it writes it"), "{error}");
}
