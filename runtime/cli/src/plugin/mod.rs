//! `tidegate plugin`: making plugins here, and keeping them in a broker.

mod build;
mod list;
mod new;
mod push;
mod remove;
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
    Push(push::PushArgs),
    List(list::ListArgs),
    Show(show::ShowArgs),
    Remove(remove::RemoveArgs),
    Keygen(sign::KeygenArgs),
    Sign(sign::SignArgs),
}

pub(crate) fn run(command: PluginCommand, global: &Global) -> Result<()> {
    match command {
        PluginCommand::New(args) => new::run(args),
        PluginCommand::Build(args) => build::run(args),
        PluginCommand::Test(args) => test::run(args),
        PluginCommand::Push(args) => push::run(args, global),
        PluginCommand::List(args) => list::run(args, global),
        PluginCommand::Show(args) => show::run(args, global),
        PluginCommand::Remove(args) => remove::run(args, global),
        PluginCommand::Keygen(args) => sign::keygen(args),
        PluginCommand::Sign(args) => sign::run(args),
    }
}
