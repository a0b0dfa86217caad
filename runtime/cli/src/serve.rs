//! `tidegate serve`: the broker itself, in this process.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use tidegate_broker::{ServeOptions, ServerConfig};
use tokio::signal::unix::{SignalKind, signal};

use crate::log::{self, LogFormat};

/// Run a broker until it is told to stop (SIGINT or SIGTERM).
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  tidegate serve                                     # data in ./tidegate-data, loopback only
  tidegate serve --config tidegate.toml
  tidegate serve --data-dir /var/lib/tidegate --listen 127.0.0.1:19092 --admin 127.0.0.1:19644

A Kafka server.properties is taken as --config too. The log goes to standard error; TIDEGATE_LOG=debug
says more.")]
pub(crate) struct ServeArgs {
    /// TOML or a Kafka server.properties; the other options win over it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the log, the metadata and the plugins live.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The Kafka listener.
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// The admin HTTP listener.
    #[arg(long, value_name = "HOST:PORT")]
    admin: Option<String>,
    /// How the log is written.
    #[arg(long, value_enum, default_value = "text")]
    log: LogFormat,
}

pub(crate) fn run(args: ServeArgs) -> Result<()> {
    let loggers = log::start(args.log);
    let mut config = ServerConfig::load(&ServeOptions {
        config: args.config,
        data_dir: args.data_dir,
        listen: args.listen,
        admin: args.admin,
        compiler: Some(own_program()?),
    })?;
    config.loggers = Some(loggers);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    runtime
        .context("starting the threads of the broker")?
        .block_on(serve(config))
}

async fn serve(config: ServerConfig) -> Result<()> {
    // Before the start, so that a signal during a long recovery is not lost.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let data = config.data_dir.clone();
    let broker = tokio::select! {
        broker = tidegate_broker::start(config) => broker?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    let kafka: Vec<_> = broker
        .kafka_addresses()
        .iter()
        .map(ToString::to_string)
        .collect();
    // Standard output has this one line, for whoever started us and waits; a closed one is no
    // reason to stop.
    drop(writeln!(
        std::io::stdout(),
        "ready: Kafka on {}, admin on http://{}, data in {}",
        kafka.join(", "),
        broker.admin_address(),
        data.display()
    ));
    let name = tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    };
    tracing::info!("{name}: stopping");
    broker.stop().await;
    tracing::info!("stopped");
    Ok(())
}

/// This program, to be started again as the compiler of plugins. Where the system can name the file that runs now, an
/// upgrade that replaces it on disk does no harm.
fn own_program() -> Result<PathBuf> {
    let running = PathBuf::from("/proc/self/exe");
    match running.exists() {
        true => Ok(running),
        false => std::env::current_exe().context("finding this program's own file"),
    }
}
