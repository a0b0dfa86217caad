//! The corpus, replayed: every seed holds, and every API and version has one.

use std::collections::BTreeSet;
use std::path::Path;

use tidegate_tests_fuzz::{ALL, Seed, parse};

fn corpus(target: &str) -> Vec<Seed> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target)
        .with_extension("hex");
    let text = std::fs::read_to_string(&path);
    let text = text
        .unwrap_or_else(|error| panic!("{}: {error}; `make fuzz-seeds` writes it", path.display()));
    parse(&text).unwrap_or_else(|why| panic!("{}: {why}", path.display()))
}

/// A target's seeds are one test of that name; a panic names the seed that it ran.
macro_rules! replay {
    ($($target:ident),* $(,)?) => {
        $(#[test]
        fn $target() {
            let target = ALL.iter().find(|target| target.name == stringify!($target)).expect("it is in the table");
            let seeds = corpus(target.name);
            assert!(!seeds.is_empty());
            for seed in seeds {
                println!("{}", seed.name);
                (target.run)(&seed.bytes);
            }
        })*

        #[test]
        fn every_target_is_replayed() {
            let replayed: Vec<&str> = vec![$(stringify!($target)),*];
            let known: Vec<&str> = ALL.iter().map(|target| target.name).collect();
            assert_eq!(replayed, known);
        }
    };
}

replay![
    frames,
    requests,
    batches,
    transforms,
    gaps,
    decompress,
    codecs,
    stored_keys,
    notes,
    group_records,
    transaction_records,
    metadata,
    properties,
    config_files,
    topic_configs,
];

#[test]
fn every_api_and_version_has_a_seed_and_a_check() {
    let seeds = corpus("requests");
    let seen: BTreeSet<(i16, i16)> = seeds
        .iter()
        .map(|seed| (seed.bytes[0].into(), seed.bytes[1].into()))
        .collect();
    for (key, lowest, highest) in tidegate_tests_fuzz::served() {
        assert!(
            tidegate_tests_fuzz::is_checked(key),
            "API {key} is not in the table of src/apis.rs"
        );
        for version in lowest..=highest {
            assert!(
                seen.contains(&(key, version)),
                "API {key} version {version}: run `make fuzz-seeds`"
            );
        }
    }
}
