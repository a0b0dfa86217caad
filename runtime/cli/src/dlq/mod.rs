//! `tidegate dlq`: dead letters, the records that a chain gave up, in the topic that `tidegate.dead.letter.topic` names.

mod letter;
mod redrive;
mod select;
mod show;

use anyhow::Result;
use clap::Subcommand;

use crate::args::Global;

#[derive(Subcommand, Debug)]
pub(crate) enum DlqCommand {
    Show(show::ShowArgs),
    Redrive(redrive::RedriveArgs),
}

pub(crate) fn run(command: DlqCommand, global: &Global) -> Result<()> {
    match command {
        DlqCommand::Show(args) => show::run(args, global),
        DlqCommand::Redrive(args) => redrive::run(args, global),
    }
}
