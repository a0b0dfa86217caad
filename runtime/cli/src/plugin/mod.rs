//! `tidegate plugin`: making plugins here, and keeping them in a broker.

mod bench;
mod build;
mod explain;
mod list;
mod logs;
mod new;
mod push;
mod remove;
mod replay;
mod resume;
mod rollback;
mod show;
mod sign;
mod template;
mod test;

use anyhow::Result;
use clap::Subcommand;

use crate::args::Global;

#[derive(Subcommand, Debug)]
pub(crate) enum PluginCommand {
    New(new::NewArgs),
    Build(build::BuildArgs),
    Test(test::TestArgs),
    Bench(bench::BenchArgs),
    Replay(replay::ReplayArgs),
    Push(push::PushArgs),
    List(list::ListArgs),
    Show(show::ShowArgs),
    Rollback(rollback::RollbackArgs),
    Remove(remove::RemoveArgs),
    Resume(resume::ResumeArgs),
    Explain(explain::ExplainArgs),
    Logs(logs::LogsArgs),
    Keygen(sign::KeygenArgs),
    Sign(sign::SignArgs),
}

pub(crate) fn run(command: PluginCommand, global: &Global) -> Result<()> {
    match command {
        PluginCommand::New(args) => new::run(args),
        PluginCommand::Build(args) => build::run(args),
        PluginCommand::Test(args) => test::run(args),
        PluginCommand::Bench(args) => bench::run(args),
        PluginCommand::Replay(args) => replay::run(args, global),
        PluginCommand::Push(args) => push::run(args, global),
        PluginCommand::List(args) => list::run(args, global),
        PluginCommand::Show(args) => show::run(args, global),
        PluginCommand::Rollback(args) => rollback::run(args, global),
        PluginCommand::Remove(args) => remove::run(args, global),
        PluginCommand::Resume(args) => resume::run(args, global),
        PluginCommand::Explain(args) => explain::run(args, global),
        PluginCommand::Logs(args) => logs::run(args, global),
        PluginCommand::Keygen(args) => sign::keygen(args),
        PluginCommand::Sign(args) => sign::run(args),
    }
}
