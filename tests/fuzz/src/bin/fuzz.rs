//! Hands what libFuzzer makes up to the target that `TIDEGATE_FUZZ_TARGET` names. One program for all of them: linking
//! is most of what a further one would cost.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use tidegate_tests_fuzz::{ALL, Target};

static TARGET: OnceLock<&Target> = OnceLock::new();

fuzz_target!(init: (), |data: &[u8]| {
    (TARGET.get_or_init(named).run)(data);
});

fn named() -> &'static Target {
    let name = std::env::var("TIDEGATE_FUZZ_TARGET").unwrap_or_default();
    let known = ALL.iter().find(|target| target.name == name);
    known.unwrap_or_else(|| panic!("TIDEGATE_FUZZ_TARGET is `{name}`, which is no target"))
}
