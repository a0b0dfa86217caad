//! The command line: one tree of commands, and what all of them share.

use clap::{Args, Parser, Subcommand};

use crate::cluster::ClusterCommand;
use crate::completions::CompletionsArgs;
use crate::consume::ConsumeArgs;
use crate::dlq::DlqCommand;
use crate::group::GroupCommand;
use crate::plugin::PluginCommand;
use crate::produce::ProduceArgs;
use crate::quota::QuotaCommand;
use crate::serve::ServeArgs;
use crate::store::StoreCommand;
use crate::topic::TopicCommand;

/// A Kafka broker that runs your WebAssembly filters, routers and transforms on produce and consume.
#[derive(Parser, Debug)]
#[command(
    name = "tidegate",
    version,
    propagate_version = true,
    disable_help_subcommand = true
)]
#[command(after_help = "Start here:
  tidegate serve                                        a broker on 127.0.0.1:9092
  tidegate topic create flights --partitions 3
  tidegate plugin new only-errors                       a filter of your own, in Rust
  tidegate plugin build plugins/match --out match.wasm
  tidegate plugin push match.wasm --name match --version 0.1.0
  tidegate topic alter flights -c tidegate.produce.chain=match \\
    -c tidegate.plugin.match.field=json:/origin -c tidegate.plugin.match.op=equals \\
    -c tidegate.plugin.match.value=JFK
  tidegate produce flights < flights.ndjson
  tidegate consume flights --from-beginning --until-end

Every command has --help with examples, and any Kafka client works as well.")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) global: Global,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    Serve(ServeArgs),
    /// Create and change topics; plugins are attached to them as configs.
    #[command(subcommand)]
    Topic(TopicCommand),
    Produce(ProduceArgs),
    Consume(ConsumeArgs),
    /// Make, test and measure plugins; keep them in a broker, and see how they do.
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// Look at dead letters, and send them again.
    #[command(subcommand)]
    Dlq(DlqCommand),
    /// Look at the broker as a whole.
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// Check and show the data of a broker that does not run.
    #[command(subcommand)]
    Store(StoreCommand),
    /// Look at consumer groups.
    #[command(subcommand)]
    Group(GroupCommand),
    /// Limit how much clients may use.
    #[command(subcommand)]
    Quota(QuotaCommand),
    Completions(CompletionsArgs),
    /// Compile one plugin for the broker that started this process.
    #[command(hide = true)]
    CompilePlugin,
}

/// Where the broker is.
#[derive(Args, Debug)]
pub(crate) struct Global {
    /// The broker's Kafka address; several may be given, separated by commas.
    #[arg(
        long,
        global = true,
        env = "TIDEGATE_BOOTSTRAP",
        default_value = "127.0.0.1:9092"
    )]
    #[arg(
        value_name = "HOST:PORT",
        hide_env_values = true,
        help_heading = "Broker"
    )]
    pub(crate) bootstrap: String,
    /// The broker's admin address, for plugins.
    #[arg(
        long,
        global = true,
        env = "TIDEGATE_ADMIN",
        default_value = "http://127.0.0.1:9644"
    )]
    #[arg(value_name = "URL", hide_env_values = true, help_heading = "Broker")]
    pub(crate) admin_url: String,
    /// The admin token, where the broker asks for one.
    #[arg(
        long,
        global = true,
        env = "TIDEGATE_ADMIN_TOKEN",
        hide_env_values = true
    )]
    #[arg(value_name = "TOKEN", help_heading = "Broker")]
    pub(crate) admin_token: Option<String>,
}
