//! The `tidegate` binary: a table of commands over the crates beside it.

mod admin;
mod args;
mod client;
mod cluster;
mod completions;
mod consume;
mod dlq;
mod group;
mod log;
mod offsets;
mod output;
mod plugin;
mod produce;
mod progress;
mod quota;
mod serve;
mod store;
mod topic;

use std::io::ErrorKind;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use crate::args::{Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Command::CompilePlugin = cli.command {
        return tidegate_plugin::compile_child();
    }
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        // `tidegate consume ... | head` is how people work.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", told(&error));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<()> {
    let global = &cli.global;
    match cli.command {
        Command::Serve(args) => serve::run(args),
        Command::Topic(command) => topic::run(command, global),
        Command::Produce(args) => produce::run(args, global),
        Command::Consume(args) => consume::run(args, global),
        Command::Plugin(command) => plugin::run(command, global),
        Command::Dlq(command) => dlq::run(command, global),
        Command::Store(command) => store::run(command),
        Command::Cluster(command) => cluster::run(command, global),
        Command::Group(command) => group::run(command, global),
        Command::Quota(command) => quota::run(command, global),
        Command::Completions(args) => completions::run(args),
        // `main` has served it: it says nothing to people.
        Command::CompilePlugin => Ok(()),
    }
}

/// The error and its causes in one line. A cause that is already in the words before it (many errors
/// quote theirs) is not said twice.
fn told(error: &anyhow::Error) -> String {
    let mut told = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !told.contains(&cause) {
            told = format!("{told}: {cause}");
        }
    }
    told
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<std::io::Error>());
    io.is_some_and(|io| io.kind() == ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn a_quoted_cause_is_told_once() {
        let quoted = anyhow!("in use").context("cannot listen: in use; stop the other");
        assert_eq!(told(&quoted), "cannot listen: in use; stop the other");
        let plain = anyhow!("not found").context("reading x.wasm");
        assert_eq!(told(&plain), "reading x.wasm: not found");
    }
}
