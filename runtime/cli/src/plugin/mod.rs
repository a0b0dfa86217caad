//! `tidegate plugin`: building plugins here, and keeping them in a broker.

mod build;
mod store;

use anyhow::Result;
use clap::Subcommand;

use crate::args::Global;

#[derive(Subcommand, Debug)]
pub(crate) enum PluginCommand {
    Build(build::BuildArgs),
    Push(store::PushArgs),
    List(store::ListArgs),
    Show(store::ShowArgs),
    Remove(store::RemoveArgs),
}

pub(crate) fn run(command: PluginCommand, global: &Global) -> Result<()> {
    match command {
        PluginCommand::Build(args) => build::run(args),
        PluginCommand::Push(args) => store::push(args, global),
        PluginCommand::List(args) => store::list(args, global),
        PluginCommand::Show(args) => store::show(args, global),
        PluginCommand::Remove(args) => store::remove(args, global),
    }
}
