//! A load generator that leaves the cores to the broker: blocking sockets, frames that are built once and sent again and
//! again, answers of which only the headers are followed.
//!
//! `tidegate-bench COMMAND --bootstrap HOST:PORT --topic T [--name value ...]`, where the command is
//!
//! - `produce`: batches from `--connections`, `--window` requests in flight on each, flat out or at `--rate` records/s
//! - `consume`: `--consumers` read all that the topic holds
//! - `fanout`: `--consumers` wait at the end while one produces; over when each has it all
//! - `latency`: batches at `--rate` records/s, the time to their ack and to a consumer
//! - `floor`: as `latency`, to a thread of its own instead of a broker, which syncs a file in `--directory` when acks are -1
//!
//! Prints one line of JSON. What is not idempotent, transactional or in a group is left out on purpose: brokers differ in
//! the log, and that is what is measured.

mod connection;
mod consume;
mod fanout;
mod figures;
mod floor;
mod frames;
mod latency;
mod options;
mod produce;

use std::process::ExitCode;

use options::Options;

/// Why a run ended without figures.
type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let run = Options::parse(std::env::args().skip(1)).and_then(|options| {
        match options.command.as_str() {
            "produce" => produce::run(&options),
            "consume" => consume::run(&options),
            "fanout" => fanout::run(&options),
            "floor" => floor::run(&options),
            "latency" => latency::run(&options),
            other => Err(format!("there is no command {other}").into()),
        }
    });
    match run {
        Ok(figures) => {
            println!("{}", figures.json());
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("tidegate-bench: {failure}");
            ExitCode::FAILURE
        }
    }
}
