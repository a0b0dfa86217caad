//! Prints nanoseconds per record of the plugins that ship, compiled natively, one line for each case
//! of `tests/plugins/benches/guests/cases.rs`: small records, large records. The columns are filled once,
//! outside of what is timed. `cargo bench --bench guests` runs it.

#[path = "../../../tests/plugins/benches/guests/cases.rs"]
mod cases;

use cases::{BATCH, CASES, Config, LARGE, SMALL, Sample};
use tidegate::testing::{self, TestRecord};

fn main() -> Result<(), String> {
    let (small, large) = (records(SMALL), records(LARGE));
    for (name, config) in CASES {
        let small = cases::nanos(runs(name, config, &small)?);
        let large = cases::nanos(runs(name, config, &large)?);
        println!("{small} {large}");
    }
    Ok(())
}

fn records(bytes: usize) -> Vec<TestRecord> {
    let record = |index| {
        let Sample { key, value, header } = cases::sample(index, bytes);
        testing::value(value).key(key).header("trace", header)
    };
    (0..BATCH).map(record).collect()
}

fn runs(
    name: &str,
    config: Config<'_>,
    records: &[TestRecord],
) -> Result<Box<dyn FnMut()>, String> {
    Ok(match name {
        "match" => Box::new(testing::filter_runs::<tidegate_match::Match>(
            config, records,
        )?),
        "route" => Box::new(testing::route_runs::<tidegate_route::Route>(
            config, records,
        )?),
        "redact" => Box::new(testing::transform_runs::<tidegate_redact::Redact>(
            config, records,
        )?),
        "validate" => Box::new(testing::filter_runs::<tidegate_validate::Validate>(
            config, records,
        )?),
        "sample" => Box::new(testing::filter_runs::<tidegate_sample::sample>(
            config, records,
        )?),
        "dedup" => Box::new(testing::filter_runs::<tidegate_dedup::dedup>(
            config, records,
        )?),
        "enrich" => Box::new(testing::transform_runs::<tidegate_enrich::Enrich>(
            config, records,
        )?),
        _ => return Err(format!("no plugin is called `{name}`")),
    })
}
