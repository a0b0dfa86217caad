//! A filter that does harm: `mode` says which kind, and a value that begins with `harm` sets it off.
//! tests/hostile/attack.py binds it and looks at what is left of the broker.

use std::hint::black_box;

use serde::Deserialize;
use tidegate_sdk::host::{self, Level};
use tidegate_sdk::prelude::*;

tidegate_sdk::export_filter!(Hostile);

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    Loop,
    Trap,
    Memory,
    Flood,
    Recursion,
    Logs,
}

#[derive(Deserialize)]
pub struct Config {
    mode: Mode,
}

pub struct Hostile {
    mode: Mode,
}

impl Filter for Hostile {
    type Config = Config;

    fn describe() -> Description {
        Description::new("hostile", "0.1.0")
            .summary("Does harm of a chosen kind.")
            .columns(Columns::VALUE)
            .config(
                ConfigKey::text("mode")
                    .required()
                    .doc("loop, trap, memory, flood, recursion or logs."),
            )
    }

    fn configure(config: Config) -> Result<Self, String> {
        Ok(Self { mode: config.mode })
    }

    fn filter(&mut self, record: &Record<'_>) -> Verdict {
        let harmless = !record.value().is_some_and(|v| v.starts_with(b"harm"));
        if harmless {
            return Verdict::Keep;
        }
        match self.mode {
            Mode::Loop => spin(),
            Mode::Trap => panic!("trapped on purpose"),
            Mode::Memory => hoard(),
            // One reason is already twice what a call may answer.
            Mode::Flood => return Verdict::reject("flood ".repeat(6 << 20)),
            Mode::Recursion => {
                black_box(descend(1));
            }
            Mode::Logs => (0..20_000).for_each(|_| host::log(Level::Error, "a line of no use at all")),
        }
        Verdict::Keep
    }
}

fn spin() {
    let mut turns = 0_u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

fn hoard() {
    let mut kept: Vec<Vec<u8>> = Vec::new();
    loop {
        kept.push(black_box(vec![1; 1 << 20]));
    }
}

#[allow(unconditional_recursion, reason = "the stack is what is to be used up")]
fn descend(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    descend(depth + 1) + frame[63]
}
