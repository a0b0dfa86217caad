//! `tidegate store`: a data directory that no broker runs on.

mod dump;
mod verify;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};
use tidegate_broker::offline::DataDir;
use tidegate_broker::{ServeOptions, ServerConfig};

#[derive(Subcommand, Debug)]
pub(crate) enum StoreCommand {
    Verify(verify::VerifyArgs),
    Dump(dump::DumpArgs),
}

/// Which data directory.
#[derive(Args, Debug)]
pub(crate) struct Where {
    /// The broker's data directory.
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    data_dir: Option<PathBuf>,
    /// The broker's configuration file, which names it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Where {
    fn open(&self) -> Result<DataDir> {
        let config = ServerConfig::load(&ServeOptions {
            config: self.config.clone(),
            data_dir: self.data_dir.clone(),
            ..ServeOptions::default()
        })?;
        Ok(DataDir::open(&config.data_dir)?)
    }
}

pub(crate) fn run(command: StoreCommand) -> Result<()> {
    match command {
        StoreCommand::Verify(args) => verify::run(&args),
        StoreCommand::Dump(args) => dump::run(&args),
    }
}
